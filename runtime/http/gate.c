#include "http/gate.h"

#include "http/chars.h"

#include <string.h>

/* The part of a head that may be looked at. */
typedef struct {
  const char *end; /* behind the last byte that lines may use */
  bool cut;        /* there are bytes behind `end`: lines may not reach them */
} window_t;

void weft_gate_begin(weft_parser_t *parser)
{
  parser->line = 0;
  parser->line_count = 0;
  parser->tabs = false;
}

weft_gate_t
weft_gate_refuse(weft_parser_t *parser, uint16_t status, const char *reason)
{
  parser->status = parser->type == HTTP_REQUEST ? status : 0;
  parser->reason = reason;
  return WEFT_GATE_REFUSED;
}

/* The bytes that are there ended inside a line. */
static weft_gate_t starved(weft_parser_t *parser, const window_t *window)
{
  return window->cut
             ? weft_gate_refuse(parser, 431, "the headers are too large")
             : WEFT_GATE_MORE;
}

/* The first byte of [p, end) that is special in a value: a control byte, HTAB
 * too. Eight at a time: a borrow can mark only bytes above one that is marked
 * rightly, so a word without a mark is clean. */
static const char *skip_value(const char *p, const char *end)
{
  const uint64_t ones = 0x0101010101010101;
  while (end - p >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    uint64_t control = (word - ones * 0x20) & ~word;
    uint64_t del = word ^ (ones * 0x7f);
    del = (del - ones) & ~del;
    if ((control | del) & (ones * 0x80))
      break;
    p += 8;
  }
  while (p < end && WEFT_CHAR_IS(*p, WEFT_CHAR_VALUE))
    p++;
  return p;
}

static weft_gate_t
check_line_end(weft_parser_t *parser, const char **at, const window_t *window)
{
  const char *p = *at;
  if (p == window->end)
    return starved(parser, window);
  if (*p != '\r')
    return weft_gate_refuse(parser, 400,
                            *p == '\n' ? "a line ends with LF alone"
                                       : "a control byte in a line");
  if (p + 1 == window->end)
    return starved(parser, window);
  if (p[1] != '\n')
    return weft_gate_refuse(parser, 400, "a CR without LF");
  *at = p + 2;
  return WEFT_GATE_PASSED;
}

/* A header's value or a reason phrase, and the end of its line. */
static weft_gate_t
check_value(weft_parser_t *parser, const char **at, const window_t *window)
{
  const char *p = skip_value(*at, window->end);
  while (p < window->end && *p == '\t') {
    parser->tabs = true;
    p = skip_value(p + 1, window->end);
  }
  *at = p;
  return check_line_end(parser, at, window);
}

static weft_gate_t
check_header(weft_parser_t *parser, const char **at, const window_t *window)
{
  const char *name = *at;
  const char *p = weft_chars_skip(name, window->end, WEFT_CHAR_TOKEN);
  if (p == window->end)
    return starved(parser, window);
  if (p == name)
    return weft_gate_refuse(parser, 400,
                            *p == ' ' || *p == '\t'
                                ? "a header line begins with white space"
                                : "a header without a name");
  if (*p != ':')
    return weft_gate_refuse(parser, 400,
                            *p == ' ' || *p == '\t'
                                ? "white space behind a header name"
                                : "a header name that is not a token");
  *at = p + 1;
  return check_value(parser, at, window);
}

/* "HTTP/d.d". Only the form: which version it is decides check_major, once the
 * line is whole. */
static weft_gate_t check_version(weft_parser_t *parser,
                                 const char *bytes,
                                 const char **at,
                                 const window_t *window)
{
  static const char form[] = "HTTP/0.0";
  const char *p = *at;
  for (unsigned i = 0; i < sizeof(form) - 1; i++, p++) {
    if (p == window->end)
      return starved(parser, window);
    if (form[i] == '0' ? !WEFT_CHAR_IS(*p, WEFT_CHAR_DIGIT) : *p != form[i])
      return weft_gate_refuse(parser, 400, "the protocol is not HTTP/1");
  }
  parser->minor_at = (uint16_t)(p - 1 - bytes);
  *at = p;
  return WEFT_GATE_PASSED;
}

static weft_gate_t check_major(weft_parser_t *parser, const char *bytes)
{
  if (bytes[parser->minor_at - 2] == '1')
    return WEFT_GATE_PASSED;
  if (!memcmp(bytes, "PRI * HTTP/2", 12))
    return weft_gate_refuse(parser, 400, "HTTP/2 on a listener without TLS");
  return weft_gate_refuse(parser, 505, "the version is not HTTP/1");
}

static weft_gate_t
check_target(weft_parser_t *parser, const char **at, const window_t *window)
{
  const char *target = *at, *end = window->end;
  size_t max = parser->limits->target_size;
  if ((size_t)(end - target) > max)
    end = target + max;
  const char *p = weft_chars_skip(target, end, WEFT_CHAR_TARGET);
  if (p == window->end)
    return starved(parser, window);
  if (WEFT_CHAR_IS(*p, WEFT_CHAR_TARGET))
    return weft_gate_refuse(parser, 414, "the target is too long");
  if (*p == '\r' || *p == '\n')
    return weft_gate_refuse(parser, 400, "a request line without a version");
  if (*p != ' ')
    return weft_gate_refuse(parser, 400,
                            "a byte that is not visible ASCII in the target");
  if (p == target)
    return weft_gate_refuse(parser, 400, "a request line without a target");
  *at = p + 1;
  return WEFT_GATE_PASSED;
}

static weft_gate_t check_request_line(weft_parser_t *parser,
                                      const char *bytes,
                                      const char **at,
                                      const window_t *window)
{
  enum { TLS_HANDSHAKE = 0x16 };
  const char *p = weft_chars_skip(bytes, window->end, WEFT_CHAR_TOKEN);
  if (p == window->end)
    return starved(parser, window);
  if (p == bytes || *p != ' ')
    return weft_gate_refuse(parser, 400,
                            p == bytes && *p == TLS_HANDSHAKE
                                ? "TLS on a listener without TLS"
                                : "the method is not a token");
  *at = p + 1;
  weft_gate_t gate = check_target(parser, at, window);
  if (gate == WEFT_GATE_PASSED)
    gate = check_version(parser, bytes, at, window);
  if (gate == WEFT_GATE_PASSED)
    gate = check_line_end(parser, at, window);
  return gate == WEFT_GATE_PASSED ? check_major(parser, bytes) : gate;
}

/* "HTTP/1.1 200 OK"; servers are known to leave out the reason phrase together
 * with the space before it, which nobody can misread. */
static weft_gate_t check_status_line(weft_parser_t *parser,
                                     const char *bytes,
                                     const char **at,
                                     const window_t *window)
{
  static const char form[] = " 100";
  weft_gate_t gate = check_version(parser, bytes, at, window);
  if (gate != WEFT_GATE_PASSED)
    return gate;
  const char *p = *at;
  for (unsigned i = 0; i < sizeof(form) - 1; i++, p++) {
    if (p == window->end)
      return starved(parser, window);
    if (i == 0 ? *p != ' ' : !WEFT_CHAR_IS(*p, WEFT_CHAR_DIGIT) || *p < form[i])
      return weft_gate_refuse(parser, 400, "a status that is not a number");
  }
  if (p < window->end && *p != ' ' && *p != '\r')
    return weft_gate_refuse(parser, 400, "a status that is not a number");
  *at = p;
  gate = check_value(parser, at, window);
  return gate == WEFT_GATE_PASSED ? check_major(parser, bytes) : gate;
}

weft_gate_t weft_gate_check(weft_parser_t *parser,
                            const char *bytes,
                            size_t len,
                            size_t *head_len)
{
  const char *p = bytes + parser->line, *end = bytes + len;
  window_t window = {end, len > parser->limits->head_size};
  if (window.cut)
    window.end = bytes + parser->limits->head_size;
  for (;;) {
    weft_gate_t gate;
    if (p == bytes) {
      gate = parser->type == HTTP_REQUEST
                 ? check_request_line(parser, bytes, &p, &window)
                 : check_status_line(parser, bytes, &p, &window);
    } else if (p < end && *p == '\r') {
      /* the empty line; it does not count as part of the head's size */
      if (p + 1 == end)
        return WEFT_GATE_MORE;
      if (p[1] != '\n')
        return weft_gate_refuse(parser, 400, "a CR without LF");
      *head_len = (size_t)(p + 2 - bytes);
      return WEFT_GATE_PASSED;
    } else if (p < end && parser->line_count == parser->limits->header_count) {
      gate = weft_gate_refuse(parser, 431, "too many headers");
    } else {
      gate = check_header(parser, &p, &window);
      parser->line_count += gate == WEFT_GATE_PASSED;
    }
    if (gate != WEFT_GATE_PASSED)
      return gate;
    parser->line = (uint32_t)(p - bytes);
  }
}

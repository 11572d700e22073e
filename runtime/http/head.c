#include "http/head.h"

#include "base/alloc.h"
#include "http/chars.h"
#include "http/gate.h"
#include "http/target.h"

#include <string.h>
#include <strings.h>

/* What the headers of one head say, before it is weighed. */
typedef struct {
  unsigned hosts, lengths, codings;
  const char *host; /* value of the last Host */
  size_t host_len;
  bool chunked;        /* Transfer-Encoding: chunked, and nothing else */
  bool upgrade;        /* an Upgrade header */
  bool wants_upgrade;  /* Connection: upgrade */
  bool wants_close;    /* Connection: close */
  bool wants_to_stay;  /* Connection: keep-alive */
  bool expects;        /* Expect: 100-continue */
  bool expects_others; /* any other Expect */
} claims_t;

#define EQUALS(s, len, literal)                                                \
  ((len) == sizeof(literal) - 1 && weft_chars_equal((s), (literal), (len)))

/* llhttp's part. It sees the whole head in one piece, so that every span comes
 * as a whole too. */

static uint16_t offset_of(const weft_head_t *head, const char *at)
{
  return (uint16_t)(at - weft_buf_bytes(&head->bytes));
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
  weft_head_t *head = llhttp->data;
  head->target = offset_of(head, at);
  head->target_len = (uint16_t)len;
  return 0;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
  enum { FIRST_CAP = 16 };
  weft_head_t *head = llhttp->data;
  if (head->header_count == head->header_cap) {
    head->header_cap = head->header_cap ? head->header_cap * 2 : FIRST_CAP;
    head->headers =
        weft_realloc(head->headers, head->header_cap * sizeof(*head->headers));
  }
  uint16_t name = offset_of(head, at), name_len = (uint16_t)len;
  /* the value is empty unless one is reported */
  head->headers[head->header_count++] =
      (weft_header_t){name, name_len, (uint16_t)(name + name_len + 1), 0};
  return 0;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
  weft_head_t *head = llhttp->data;
  weft_header_t *header = &head->headers[head->header_count - 1];
  for (; len && is_blank(*at); at++)
    len--;
  while (len && is_blank(at[len - 1]))
    len--;
  header->value = offset_of(head, at);
  header->value_len = (uint16_t)len;
  return 0;
}

/* llhttp's work ends here: bodies are read by parser.c and chunks.c. */
static int on_headers_complete(llhttp_t *llhttp)
{
  (void)llhttp;
  return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static bool refuse(weft_parser_t *parser, uint16_t status, const char *reason)
{
  weft_gate_refuse(parser, status, reason);
  return false;
}

static bool refuse_llhttp(weft_parser_t *parser, const llhttp_t *llhttp)
{
  if (llhttp->method == HTTP_PRI) /* not an error to it, but HTTP/2 to come */
    return refuse(parser, 501, "a method that is not known");
  switch (llhttp_get_errno(llhttp)) {
  case HPE_INVALID_METHOD:
  case HPE_INVALID_CONSTANT: /* a method of RTSP, say */
    return refuse(parser, 501, "a method that is not known");
  case HPE_INVALID_URL:
    return refuse(parser, 400, "a malformed target");
  case HPE_INVALID_CONTENT_LENGTH:
    return refuse(parser, 400, "a Content-Length that is not one number");
  case HPE_UNEXPECTED_CONTENT_LENGTH:
    return refuse(parser, 400, "two headers that both say the length");
  case HPE_INVALID_TRANSFER_ENCODING:
    return refuse(parser, 400, "chunked is not the last transfer coding");
  default:
    return refuse(parser, 400, "a malformed head");
  }
}

/* llhttp takes a HTAB at the end of a Content-Length for a part of it. White
 * space around a value is not part of it: here it becomes spaces. */
static void blank_tabs(char *p, char *end)
{
  while (p < end) {
    char *line_end = memchr(p, '\r', (size_t)(end - p));
    char *colon = memchr(p, ':', (size_t)(line_end - p));
    if (colon) {
      for (char *q = colon + 1; is_blank(*q); q++)
        *q = ' ';
      for (char *q = line_end - 1; is_blank(*q); q--)
        *q = ' ';
    }
    p = line_end + 2;
  }
}

/* llhttp knows no minor version above 1, which we treat as 1: it is shown one.
 */
static bool run_llhttp(weft_parser_t *parser, llhttp_t *llhttp)
{
  weft_head_t *head = &parser->head;
  char *bytes = weft_buf_bytes(&head->bytes), *minor = bytes + parser->minor_at;
  if (parser->tabs)
    blank_tabs(bytes, bytes + head->bytes.len);
  char received = *minor;
  *minor = received == '0' ? '0' : '1';
  llhttp_init(llhttp, parser->type, &settings);
  llhttp->data = head;
  llhttp_errno_t error = llhttp_execute(llhttp, bytes, head->bytes.len);
  *minor = received;
  return error == HPE_PAUSED || refuse_llhttp(parser, llhttp);
}

/* Our part: the headers that decide about framing and addressing. */

static bool read_length(weft_parser_t *parser, const char *p, size_t len)
{
  uint64_t length = 0;
  const char *end = p + len;
  if (!len || weft_chars_skip(p, end, WEFT_CHAR_DIGIT) != end)
    return refuse(parser, 400, "a Content-Length that is not a number");
  for (; p < end; p++) {
    unsigned digit = (unsigned)(*p - '0');
    if (length > ((uint64_t)INT64_MAX - digit) / 10)
      return refuse(parser, 400, "a Content-Length above 2^63-1");
    length = length * 10 + digit;
  }
  parser->head.content_length = length;
  return true;
}

/* The next element of a comma-separated list, without the white space around
 * it; false when there is none. Moves `*at` behind it. */
static bool next_element(const char **at,
                         const char *end,
                         const char **element,
                         size_t *len)
{
  if (*at > end)
    return false;
  const char *p = *at, *comma = memchr(p, ',', (size_t)(end - p));
  const char *stop = comma ? comma : end;
  *at = stop + 1;
  while (p < stop && is_blank(*p))
    p++;
  while (stop > p && is_blank(stop[-1]))
    stop--;
  *element = p;
  *len = (size_t)(stop - p);
  return true;
}

static void read_connection(claims_t *claims, const char *value, size_t len)
{
  const char *element;
  const char *end = value + len;
  while (next_element(&value, end, &element, &len)) {
    claims->wants_close |= EQUALS(element, len, "close");
    claims->wants_to_stay |= EQUALS(element, len, "keep-alive");
    claims->wants_upgrade |= EQUALS(element, len, "upgrade");
  }
}

static bool read_coding(weft_parser_t *parser,
                        claims_t *claims,
                        const char *value,
                        size_t len)
{
  const char *element;
  const char *end = value + len;
  bool others = false;
  claims->chunked = false;
  while (next_element(&value, end, &element, &len)) {
    if (claims->chunked)
      return refuse(parser, 400, "chunked is not the last transfer coding");
    const char *stop = weft_chars_skip(element, element + len, WEFT_CHAR_TOKEN);
    if (stop == element || (stop < element + len && *stop != ';'))
      return refuse(parser, 400, "a malformed Transfer-Encoding");
    if (EQUALS(element, len, "chunked"))
      claims->chunked = true;
    else
      others = true;
  }
  return !others || refuse(parser, 501, "a transfer coding other than chunked");
}

static bool read_header(weft_parser_t *parser,
                        claims_t *claims,
                        const weft_header_t *header)
{
  const char *bytes = weft_buf_bytes(&parser->head.bytes);
  const char *name = bytes + header->name, *value = bytes + header->value;
  size_t name_len = header->name_len, len = header->value_len;
  switch (name_len) { /* most headers are ruled out by this alone */
  case sizeof("host") - 1:
    if (EQUALS(name, name_len, "host")) {
      claims->hosts++;
      claims->host = value;
      claims->host_len = len;
    }
    return true;
  case sizeof("expect") - 1:
    if (EQUALS(name, name_len, "expect"))
      *(EQUALS(value, len, "100-continue") ? &claims->expects
                                           : &claims->expects_others) = true;
    return true;
  case sizeof("upgrade") - 1:
    claims->upgrade |= EQUALS(name, name_len, "upgrade");
    return true;
  case sizeof("connection") - 1:
    if (EQUALS(name, name_len, "connection"))
      read_connection(claims, value, len);
    return true;
  case sizeof("content-length") - 1:
    if (!EQUALS(name, name_len, "content-length"))
      return true;
    claims->lengths++;
    return read_length(parser, value, len);
  case sizeof("transfer-encoding") - 1:
    if (!EQUALS(name, name_len, "transfer-encoding"))
      return true;
    /* asked before the codings are: none of them could be right */
    if (parser->head.minor == 0)
      return refuse(parser, 400, "a Transfer-Encoding in HTTP/1.0");
    claims->codings++;
    return read_coding(parser, claims, value, len);
  default:
    return true;
  }
}

/* llhttp has read the same headers for the same end. Where it came to another
 * one, so may others: refused, although we know of no such bytes. */
static bool weigh_framing(weft_parser_t *parser,
                          const claims_t *claims,
                          const llhttp_t *llhttp)
{
  weft_head_t *head = &parser->head;
  if (claims->lengths > 1)
    return refuse(parser, 400, "more than one Content-Length");
  if (claims->codings > 1)
    return refuse(parser, 400, "more than one Transfer-Encoding");
  if (claims->codings && claims->lengths)
    return refuse(parser, 400, "both Content-Length and Transfer-Encoding");
  if (claims->chunked != !!(llhttp->flags & F_CHUNKED) ||
      head->content_length != llhttp->content_length)
    return refuse(parser, 400, "a length that can be read in two ways");
  head->body = claims->chunked   ? WEFT_BODY_CHUNKED
               : claims->lengths ? WEFT_BODY_SIZED
                                 : WEFT_BODY_NONE;
  head->keep_alive =
      !claims->wants_close && (head->minor || claims->wants_to_stay);
  head->upgrade = head->minor && claims->upgrade && claims->wants_upgrade;
  return true;
}

static bool weigh_request(weft_parser_t *parser, const claims_t *claims)
{
  weft_head_t *head = &parser->head;
  if (claims->hosts > 1)
    return refuse(parser, 400, "more than one Host");
  if (!claims->hosts && head->minor)
    return refuse(parser, 400, "no Host");
  if (claims->host_len &&
      !weft_target_authority_ok(claims->host, claims->host_len))
    return refuse(parser, 400, "a malformed Host");
  weft_target_t target;
  const char *wrong =
      weft_target_split(weft_buf_bytes(&head->bytes) + head->target,
                        head->target_len, head->method, &target);
  if (wrong)
    return refuse(parser, 400, wrong);
  if (target.authority && claims->hosts &&
      (target.authority_len != claims->host_len ||
       strncasecmp(target.authority, claims->host, claims->host_len)))
    return refuse(parser, 400, "a Host other than the one in the target");
  if (claims->expects_others)
    return refuse(parser, 417, "an expectation other than 100-continue");
  head->expect_continue =
      claims->expects && head->minor &&
      (head->body == WEFT_BODY_CHUNKED || head->content_length);
  return true;
}

/* Without a body are 1xx, 204, 304 and what answers HEAD, whatever the headers
 * say. The last two may announce the body they leave out; the others may not,
 * and parsers exist that then read one. */
static bool weigh_response(weft_parser_t *parser)
{
  weft_head_t *head = &parser->head;
  bool interim = head->status < 200 && head->status != 101;
  bool bodiless = head->status < 200 || head->status == 204;
  if (bodiless && (head->body == WEFT_BODY_CHUNKED || head->content_length)) {
    if (head->status < 200)
      return refuse(parser, 400, "an interim response with a body");
    head->keep_alive = false; /* in case that a body follows */
  }
  if (bodiless || head->status == 304 || parser->no_body) {
    head->body = WEFT_BODY_NONE;
  } else if (head->body == WEFT_BODY_NONE) {
    head->body = WEFT_BODY_UNTIL_CLOSE;
    head->keep_alive = false;
  }
  if (!interim)
    parser->no_body = false;
  return true;
}

bool weft_head_read(weft_parser_t *parser)
{
  weft_head_t *head = &parser->head;
  llhttp_t llhttp;
  head->header_count = 0;
  if (!run_llhttp(parser, &llhttp))
    return false;
  head->method = llhttp.method;
  head->status = llhttp.status_code;
  head->minor = llhttp.http_minor;
  head->content_length = 0;
  head->expect_continue = false;

  claims_t claims = {0};
  for (unsigned i = 0; i < head->header_count; i++)
    if (!read_header(parser, &claims, &head->headers[i]))
      return false;
  if (!weigh_framing(parser, &claims, &llhttp))
    return false;
  return parser->type == HTTP_REQUEST ? weigh_request(parser, &claims)
                                      : weigh_response(parser);
}

const char *weft_head_find(const weft_head_t *head,
                           const char *name,
                           size_t name_len,
                           size_t *value_len)
{
  const char *bytes = weft_buf_bytes(&head->bytes);
  for (unsigned i = 0; i < head->header_count; i++) {
    const weft_header_t *header = &head->headers[i];
    if (header->name_len == name_len &&
        weft_chars_equal(bytes + header->name, name, name_len)) {
      *value_len = header->value_len;
      return bytes + header->value;
    }
  }
  return NULL;
}

unsigned
weft_head_count(const weft_head_t *head, const char *name, size_t name_len)
{
  const char *bytes = weft_buf_bytes(&head->bytes);
  unsigned count = 0;
  for (unsigned i = 0; i < head->header_count; i++)
    count += head->headers[i].name_len == name_len &&
             weft_chars_equal(bytes + head->headers[i].name, name, name_len);
  return count;
}

#include "http/parser.h"

#include "http/chunks.h"
#include "http/gate.h"
#include "http/head.h"

#include <assert.h>
#include <stdlib.h>

/*        BETWEEN <----------------------------------+
 *        |  ^  \                                    |
 *    BLANK_LF   \---> HEAD ---> SIZED, CHUNKED -----+
 *                       |  \--> UNTIL_CLOSE (to the end of the connection)
 *                       v
 *                     FAILED, from everywhere
 *
 * A message without a body is SIZED with nothing remaining. */
typedef enum {
  BETWEEN,  /* no byte of a message was seen */
  BLANK_LF, /* the CR of an empty line before a request */
  HEAD,     /* head.bytes holds an incomplete head */
  SIZED,
  CHUNKED,
  UNTIL_CLOSE,
  FAILED
} state_t;

void weft_parser_init(weft_parser_t *parser,
                      llhttp_type_t type,
                      const weft_parser_limits_t *limits)
{
  assert(limits->head_size <= UINT16_MAX); /* offsets have 16 bits */
  *parser = (weft_parser_t){.limits = limits, .type = (uint8_t)type};
}

void weft_parser_deinit(weft_parser_t *parser)
{
  weft_buf_deinit(&parser->head.bytes);
  free(parser->head.headers);
  parser->head = (weft_head_t){0};
}

bool weft_parser_idle(const weft_parser_t *parser)
{
  return parser->state == BETWEEN || parser->state == BLANK_LF;
}

void weft_parser_trim(weft_parser_t *parser)
{
  assert(weft_parser_idle(parser));
  weft_parser_deinit(parser);
}

void weft_parser_expect_no_body(weft_parser_t *parser)
{
  assert(parser->type == HTTP_RESPONSE && weft_parser_idle(parser));
  parser->no_body = true;
}

static weft_parsed_t fail(weft_parser_t *parser)
{
  parser->state = FAILED;
  return WEFT_PARSED_ERROR;
}

static weft_parsed_t refuse(weft_parser_t *parser, const char *reason)
{
  weft_gate_refuse(parser, 400, reason);
  return fail(parser);
}

/* head.bytes holds a whole head. */
static weft_parsed_t end_head(weft_parser_t *parser)
{
  if (!weft_head_read(parser))
    return fail(parser);
  parser->remaining = 0;
  parser->blank_skipped = false;
  switch ((weft_body_kind_t)parser->head.body) {
  case WEFT_BODY_NONE:
    parser->state = SIZED;
    break;
  case WEFT_BODY_SIZED:
    parser->state = SIZED;
    parser->remaining = parser->head.content_length;
    break;
  case WEFT_BODY_CHUNKED:
    parser->state = CHUNKED;
    weft_chunks_begin(parser);
    break;
  case WEFT_BODY_UNTIL_CLOSE:
    parser->state = UNTIL_CLOSE;
    break;
  }
  return WEFT_PARSED_HEAD;
}

/* A head that may well be whole already: it is checked where it lies, and
 * copied once. */
static weft_parsed_t
begin_head(weft_parser_t *parser, const char *bytes, size_t len, size_t *used)
{
  size_t head_len;
  weft_buf_clear(&parser->head.bytes);
  weft_gate_begin(parser);
  switch (weft_gate_check(parser, bytes, len, &head_len)) {
  case WEFT_GATE_PASSED:
    weft_buf_append(&parser->head.bytes, bytes, head_len);
    *used = head_len;
    return end_head(parser);
  case WEFT_GATE_MORE:
    weft_buf_append(&parser->head.bytes, bytes, len);
    parser->state = HEAD;
    *used = len;
    return WEFT_PARSED_MORE;
  case WEFT_GATE_REFUSED:
    break;
  }
  return fail(parser);
}

/* The rest of a head, copied piece by piece: what follows it may be long. */
static weft_parsed_t
resume_head(weft_parser_t *parser, const char *bytes, size_t len, size_t *used)
{
  enum { PIECE = 1024 };
  weft_buf_t *head = &parser->head.bytes;
  for (size_t done = 0; done < len;) {
    size_t piece = len - done < PIECE ? len - done : PIECE, head_len;
    weft_buf_append(head, bytes + done, piece);
    done += piece;
    switch (
        weft_gate_check(parser, weft_buf_bytes(head), head->len, &head_len)) {
    case WEFT_GATE_PASSED:
      *used = done - (head->len - head_len);
      head->len = (uint32_t)head_len;
      return end_head(parser);
    case WEFT_GATE_MORE:
      break;
    case WEFT_GATE_REFUSED:
      return fail(parser);
    }
  }
  *used = len;
  return WEFT_PARSED_MORE;
}

/* The first bytes of a message. Some clients send an empty line behind a body:
 * one is skipped, without making the connection busy. */
static weft_parsed_t begin_message(weft_parser_t *parser,
                                   const char *bytes,
                                   size_t len,
                                   size_t *used)
{
  size_t skipped = 0;
  if (parser->state == BETWEEN && len && *bytes == '\r' &&
      parser->type == HTTP_REQUEST && !parser->blank_skipped) {
    parser->state = BLANK_LF;
    skipped++;
  }
  if (parser->state == BLANK_LF && skipped < len) {
    if (bytes[skipped] != '\n')
      return refuse(parser, "a CR without LF");
    parser->state = BETWEEN;
    parser->blank_skipped = true;
    skipped++;
  }
  if (skipped == len) {
    *used = len;
    return WEFT_PARSED_MORE;
  }
  weft_parsed_t parsed =
      begin_head(parser, bytes + skipped, len - skipped, used);
  *used += skipped;
  return parsed;
}

static weft_parsed_t
feed_sized(weft_parser_t *parser, const char *bytes, size_t len, size_t *used)
{
  if (!parser->remaining) {
    parser->state = BETWEEN;
    return WEFT_PARSED_END;
  }
  if (!len)
    return WEFT_PARSED_MORE;
  parser->body = bytes;
  parser->body_len = len < parser->remaining ? len : parser->remaining;
  parser->remaining -= parser->body_len;
  *used = parser->body_len;
  return WEFT_PARSED_BODY;
}

weft_parsed_t weft_parser_feed(weft_parser_t *parser,
                               const char *bytes,
                               size_t len,
                               size_t *used)
{
  *used = 0;
  switch ((state_t)parser->state) {
  case BETWEEN:
  case BLANK_LF:
    return begin_message(parser, bytes, len, used);
  case HEAD:
    return resume_head(parser, bytes, len, used);
  case SIZED:
    return feed_sized(parser, bytes, len, used);
  case CHUNKED: {
    weft_parsed_t parsed = weft_chunks_feed(parser, bytes, len, used);
    if (parsed == WEFT_PARSED_END)
      parser->state = BETWEEN;
    else if (parsed == WEFT_PARSED_ERROR)
      parser->state = FAILED;
    return parsed;
  }
  case UNTIL_CLOSE:
    parser->body = bytes;
    parser->body_len = *used = len;
    return len ? WEFT_PARSED_BODY : WEFT_PARSED_MORE;
  case FAILED:
    break;
  }
  return WEFT_PARSED_ERROR;
}

weft_parsed_t weft_parser_finish(weft_parser_t *parser)
{
  switch ((state_t)parser->state) {
  case BETWEEN:
  case BLANK_LF:
    return WEFT_PARSED_MORE;
  case SIZED:
    if (parser->remaining)
      break;
    parser->state = BETWEEN;
    return WEFT_PARSED_END;
  case UNTIL_CLOSE:
    parser->state = BETWEEN;
    return WEFT_PARSED_END;
  case FAILED:
    return WEFT_PARSED_ERROR;
  default:
    break;
  }
  return refuse(parser, "the connection ended inside a message");
}

/* One HTTP/1.x message after another, out of bytes: llhttp in strict mode, and
 * in front of it a gate that refuses what llhttp leaves open (RFC 9112, and
 * every case in which two readers of the same bytes could disagree).
 *
 * Pull style: the caller feeds bytes, the parser consumes some of them and
 * reports one event. It reads no socket, knows no Lua, allocates only the
 * memory of the head, and treats bytes alike however they are split. */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* llhttp is loose unless every unit that sees its header says this. */
#ifndef LLHTTP_STRICT_MODE
#define LLHTTP_STRICT_MODE 1
#endif
#include <llhttp.h>

/* One header line: offsets into the bytes of its head. White space around the
 * value is not part of it. */
typedef struct {
  uint16_t name, name_len;
  uint16_t value, value_len;
} weft_header_t;

typedef enum {
  WEFT_BODY_NONE,       /* the message ends with its head */
  WEFT_BODY_SIZED,      /* Content-Length */
  WEFT_BODY_CHUNKED,    /* Transfer-Encoding: chunked */
  WEFT_BODY_UNTIL_CLOSE /* responses only */
} weft_body_kind_t;

/* A whole message head. Filled by the parser; good until the next message's
 * first byte is fed, or weft_parser_deinit. */
typedef struct {
  weft_buf_t
      bytes; /* first line and header lines as received, from buf start */
  weft_header_t *headers; /* in the order of arrival */
  uint16_t header_count, header_cap;
  uint16_t target, target_len; /* requests: offsets into bytes */
  uint16_t status;             /* responses */
  uint8_t method;              /* requests: llhttp's HTTP_GET ... */
  uint8_t minor;               /* 0 or 1: HTTP/1.minor */
  uint8_t body;                /* weft_body_kind_t */
  bool keep_alive;             /* the peer lets the connection stay */
  bool expect_continue;        /* requests: Expect: 100-continue */
  bool upgrade;                /* an Upgrade header and Connection: upgrade */
  uint64_t content_length;     /* of WEFT_BODY_SIZED */
} weft_head_t;

/* Sizes a peer may not pass. All counts of bytes are inclusive maxima. */
typedef struct {
  uint32_t head_size;   /* first line and header lines; at most 65,535 */
  uint32_t target_size; /* requests: the target alone */
  uint32_t header_count;
} weft_parser_limits_t;

typedef enum {
  WEFT_PARSED_MORE, /* all bytes consumed, nothing to report: feed more */
  WEFT_PARSED_HEAD, /* parser->head is whole and accepted */
  WEFT_PARSED_BODY, /* bytes of the body: parser->body, parser->body_len */
  WEFT_PARSED_END,  /* the message is complete; the next byte is another's */
  WEFT_PARSED_ERROR /* parser->status and parser->reason; feed no more */
} weft_parsed_t;

typedef struct {
  const weft_parser_limits_t *limits; /* borrowed */
  weft_head_t head;
  /* what the last event reports */
  const char *body; /* WEFT_PARSED_BODY: points into the bytes fed */
  size_t body_len;
  uint16_t status;    /* WEFT_PARSED_ERROR, requests: 400, 414, 431, 501, 505,
                         417; 0 for a bad response */
  const char *reason; /* WEFT_PARSED_ERROR: a static English sentence */
  /* private: where we are in the message; llhttp itself needs no memory here,
   * since it is shown whole heads only */
  uint8_t state;      /* of parser.c */
  uint8_t type;       /* llhttp_type_t */
  bool blank_skipped; /* the one empty line before a request came already */
  bool tabs;          /* a header value of this head contains a HTAB */
  bool no_body;       /* the next final response answers HEAD */
  /* private: the gate, while a head is incomplete */
  uint16_t minor_at;   /* where the minor digit of the version stands */
  uint16_t line_count; /* whole header lines checked */
  uint32_t line;       /* where the first line not yet checked begins */
  /* private: the body */
  uint64_t remaining;   /* of a sized body, or of one chunk */
  uint8_t chunk_state;  /* of chunks.c */
  uint8_t chunk_digits; /* of the size that is being read */
  uint16_t extension_len;
  uint32_t extensions_len; /* of all chunks so far */
  uint32_t trailer_len;
  uint16_t trailer_count;
} weft_parser_t;

/* `type` is HTTP_REQUEST or HTTP_RESPONSE. `limits` must outlive the parser. */
void weft_parser_init(weft_parser_t *parser,
                      llhttp_type_t type,
                      const weft_parser_limits_t *limits);
/* Frees the memory of the head. */
void weft_parser_deinit(weft_parser_t *parser);

/* Consumes bytes up to the next event, and says how many in `used`. With
 * WEFT_PARSED_MORE all were consumed; every other event may leave bytes, which
 * the caller feeds again from there. A message without a body reports HEAD and,
 * on the next call (even with len 0), END. */
weft_parsed_t weft_parser_feed(weft_parser_t *parser,
                               const char *bytes,
                               size_t len,
                               size_t *used);
/* The peer closed its side: WEFT_PARSED_END if that is how this response's body
 * ends, WEFT_PARSED_MORE between two messages, else WEFT_PARSED_ERROR. */
weft_parsed_t weft_parser_finish(weft_parser_t *parser);
/* True while no byte of a next message was seen: the connection is idle. */
bool weft_parser_idle(const weft_parser_t *parser);
/* Gives the memory of the head back, for a connection that goes idle; only
 * while weft_parser_idle. The next message allocates it afresh. */
void weft_parser_trim(weft_parser_t *parser);
/* Responses: the message that comes answers a HEAD request, so it has no body
 * whatever its headers say. To be called before its first byte. */
void weft_parser_expect_no_body(weft_parser_t *parser);

/* The value of the first header with this name (compared without case, `name`
 * in lower case), or NULL. */
const char *weft_head_find(const weft_head_t *head,
                           const char *name,
                           size_t name_len,
                           size_t *value_len);
/* How many headers have this name. */
unsigned
weft_head_count(const weft_head_t *head, const char *name, size_t name_len);

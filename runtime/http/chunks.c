#include "http/chunks.h"

#include "http/chars.h"
#include "http/gate.h"

enum {
  SIZE_DIGITS = 16,        /* of a size: what fits 64 bits */
  EXTENSION_SIZE = 1024,   /* bytes of extensions in one line */
  EXTENSIONS_SIZE = 16384, /* in one message: nobody needs any */
};

/*    SIZE -> EXTENSION -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                            | (size 0)
 *                         TRAILER -> NAME -> VALUE -> VALUE_LF -> TRAILER ...
 *                            |
 *                         LAST_LF, and the body ends */
typedef enum {
  SIZE,
  EXTENSION,
  SIZE_LF,
  DATA,
  DATA_CR,
  DATA_LF,
  TRAILER, /* at the first byte of a line */
  NAME,
  VALUE,
  VALUE_LF,
  LAST_LF
} chunk_state_t;

static void begin_chunk(weft_parser_t *parser)
{
  parser->chunk_state = SIZE;
  parser->chunk_digits = 0;
  parser->remaining = 0;
  parser->extension_len = 0;
}

void weft_chunks_begin(weft_parser_t *parser)
{
  begin_chunk(parser);
  parser->extensions_len = 0;
  parser->trailer_len = 0;
  parser->trailer_count = 0;
}

static const char *read_extension(weft_parser_t *parser, char c)
{
  if (c == '\r') {
    parser->chunk_state = SIZE_LF;
    return NULL;
  }
  if (!WEFT_CHAR_IS(c, WEFT_CHAR_VALUE))
    return "a control byte in a chunk extension";
  if (++parser->extension_len > EXTENSION_SIZE ||
      ++parser->extensions_len > EXTENSIONS_SIZE)
    return "too many chunk extensions";
  return NULL;
}

static const char *read_size(weft_parser_t *parser, char c)
{
  if (WEFT_CHAR_IS(c, WEFT_CHAR_HEX)) {
    if (++parser->chunk_digits > SIZE_DIGITS)
      return "a chunk size of more than 16 digits";
    parser->remaining = parser->remaining << 4 | weft_char_hex(c);
    return NULL;
  }
  if (!parser->chunk_digits)
    return "a chunk without a size";
  if (c != '\r' && c != ';')
    return "a chunk size that is not a hexadecimal number";
  parser->chunk_state = EXTENSION;
  return read_extension(parser, c);
}

static const char *begin_trailer(weft_parser_t *parser, char c)
{
  if (c == '\r') {
    parser->chunk_state = LAST_LF;
    return NULL;
  }
  if (!WEFT_CHAR_IS(c, WEFT_CHAR_TOKEN))
    return "a trailer without a name";
  if (parser->trailer_count == parser->limits->header_count)
    return "too many trailers";
  parser->trailer_count++;
  parser->chunk_state = NAME;
  return NULL;
}

static const char *read_name(weft_parser_t *parser, char c)
{
  if (c == ':')
    parser->chunk_state = VALUE;
  else if (!WEFT_CHAR_IS(c, WEFT_CHAR_TOKEN))
    return "a trailer name that is not a token";
  return NULL;
}

static const char *read_value(weft_parser_t *parser, char c)
{
  if (c == '\r')
    parser->chunk_state = VALUE_LF;
  else if (!WEFT_CHAR_IS(c, WEFT_CHAR_VALUE) && c != '\t')
    return "a control byte in a trailer";
  return NULL;
}

/* Takes one byte that is not data; returns what is wrong with it, or NULL. */
static const char *read_byte(weft_parser_t *parser, char c)
{
  chunk_state_t state = parser->chunk_state;
  if (state >= TRAILER && state < LAST_LF && !(state == TRAILER && c == '\r') &&
      ++parser->trailer_len > parser->limits->head_size)
    return "the trailers are too large";
  switch (state) {
  case SIZE:
    return read_size(parser, c);
  case EXTENSION:
    return read_extension(parser, c);
  case SIZE_LF:
    parser->chunk_state = parser->remaining ? DATA : TRAILER;
    return c == '\n' ? NULL : "a chunk size that does not end with CRLF";
  case DATA_CR:
    parser->chunk_state = DATA_LF;
    return c == '\r' ? NULL : "a chunk longer than its size";
  case DATA_LF:
    begin_chunk(parser);
    return c == '\n' ? NULL : "a chunk that does not end with CRLF";
  case TRAILER:
    return begin_trailer(parser, c);
  case NAME:
    return read_name(parser, c);
  case VALUE:
    return read_value(parser, c);
  case VALUE_LF:
    parser->chunk_state = TRAILER;
    return c == '\n' ? NULL : "a CR without LF in a trailer";
  case LAST_LF:
    return c == '\n' ? NULL : "a chunked body that does not end with CRLF";
  case DATA:
    break;
  }
  return NULL;
}

weft_parsed_t weft_chunks_feed(weft_parser_t *parser,
                               const char *bytes,
                               size_t len,
                               size_t *used)
{
  for (size_t i = 0; i < len; i++) {
    if (parser->chunk_state == DATA) {
      size_t left = len - i;
      parser->body = bytes + i;
      parser->body_len = left < parser->remaining ? left : parser->remaining;
      parser->remaining -= parser->body_len;
      if (!parser->remaining)
        parser->chunk_state = DATA_CR;
      *used = i + parser->body_len;
      return WEFT_PARSED_BODY;
    }
    bool last = parser->chunk_state == LAST_LF;
    const char *wrong = read_byte(parser, bytes[i]);
    if (wrong) {
      weft_gate_refuse(parser, 400, wrong);
      *used = i;
      return WEFT_PARSED_ERROR;
    }
    if (last) {
      *used = i + 1;
      return WEFT_PARSED_END;
    }
  }
  *used = len;
  return WEFT_PARSED_MORE;
}

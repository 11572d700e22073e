/* A chunked body, byte by byte (RFC 9112 section 7.1): sizes, extensions, data,
 * trailers. Extensions and trailers are checked and dropped. It owns its own
 * limits on overhead; the size of the body is not its business. */
#pragma once

#include "http/parser.h"

/* The next byte is the first of a chunked body. */
void weft_chunks_begin(weft_parser_t *parser);
/* weft_parser_feed for such a body: WEFT_PARSED_MORE, BODY, END or ERROR. */
weft_parsed_t weft_chunks_feed(weft_parser_t *parser,
                               const char *bytes,
                               size_t len,
                               size_t *used);

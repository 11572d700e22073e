/* The gate in front of llhttp: looks at the lines of a head byte by byte and
 * refuses what llhttp would let pass. It owns the form of lines and the limits;
 * what the headers say together is checked in head.c.
 *
 * Whether bytes are refused, and how, depends on the shortest refused prefix
 * alone, so it never depends on how they were split. */
#pragma once

#include "http/parser.h"

typedef enum {
  WEFT_GATE_MORE,   /* fine so far; the head is not complete */
  WEFT_GATE_PASSED, /* the head is complete and well-formed */
  WEFT_GATE_REFUSED /* parser->status and parser->reason say why */
} weft_gate_t;

/* Forgets the previous head. */
void weft_gate_begin(weft_parser_t *parser);
/* Checks what is there of a head: `bytes` always begin with its first byte, so
 * they are those of the last call and some more. Lines that were complete then
 * are not looked at again. With WEFT_GATE_PASSED, `head_len` is the length of
 * the head with the empty line that ends it. */
weft_gate_t weft_gate_check(weft_parser_t *parser,
                            const char *bytes,
                            size_t len,
                            size_t *head_len);
/* Notes why a message is refused. Only a client is told a status: for responses
 * it stays 0. Always WEFT_GATE_REFUSED. */
weft_gate_t
weft_gate_refuse(weft_parser_t *parser, uint16_t status, const char *reason);

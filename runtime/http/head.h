/* From the bytes of a head that passed the gate to a weft_head_t: llhttp finds
 * its parts, then the headers that say where the message ends and whom it is
 * for are read strictly. It owns what headers mean for the parser, and nothing
 * of their form. */
#pragma once

#include "http/parser.h"

/* Fills parser->head from parser->head.bytes. Returns false when the message is
 * refused: parser->status and parser->reason say why. */
bool weft_head_read(weft_parser_t *parser);

/* Which byte may stand where in a message: one table, one look-up. It knows
 * single bytes only; what they form together is checked by its users. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
  WEFT_CHAR_TOKEN = 1,  /* methods, header names (RFC 9110 section 5.6.2) */
  WEFT_CHAR_TARGET = 2, /* visible ASCII: a request's target */
  WEFT_CHAR_VALUE = 4,  /* header values: all but control bytes. A HTAB may be
                           there as well, but is always a case of its own */
  WEFT_CHAR_HOST = 8,   /* a registered name (RFC 3986), escapes aside */
  WEFT_CHAR_HEX = 16,
  WEFT_CHAR_DIGIT = 32
};

extern const uint8_t weft_chars[256];

#define WEFT_CHAR_IS(c, kind) (weft_chars[(unsigned char)(c)] & (kind))

/* The value of a hexadecimal digit, which `c` must be. */
unsigned weft_char_hex(char c);
/* The first byte of [p, end) that is not of this kind, or `end`. */
const char *weft_chars_skip(const char *p, const char *end, unsigned kind);
/* Whether `s` is `lower`, which is in lower case, when ASCII case is ignored.
 */
int weft_chars_equal(const char *s, const char *lower, size_t len);

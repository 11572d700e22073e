#include "http/chars.h"

enum {
  TOKEN = WEFT_CHAR_TOKEN,
  VALUE = WEFT_CHAR_VALUE,
  SEEN = WEFT_CHAR_VALUE | WEFT_CHAR_TARGET,
  HOST = SEEN | WEFT_CHAR_HOST,
  NAME = HOST | TOKEN,
  LETTER_HEX = NAME | WEFT_CHAR_HEX,
  DIGIT = LETTER_HEX | WEFT_CHAR_DIGIT
};

const uint8_t weft_chars[256] = {
    [' '] = VALUE,
    ['!'] = NAME,
    ['"'] = SEEN,
    ['#'] = SEEN | TOKEN,
    ['$'] = NAME,
    ['%'] = SEEN | TOKEN,
    ['&'] = NAME,
    ['\''] = NAME,
    ['('] = HOST,
    [')'] = HOST,
    ['*'] = NAME,
    ['+'] = NAME,
    [','] = HOST,
    ['-'] = NAME,
    ['.'] = NAME,
    ['/'] = SEEN,
    ['0' ... '9'] = DIGIT,
    [':'] = SEEN,
    [';'] = HOST,
    ['<'] = SEEN,
    ['='] = HOST,
    ['>'] = SEEN,
    ['?'] = SEEN,
    ['@'] = SEEN,
    ['A' ... 'F'] = LETTER_HEX,
    ['G' ... 'Z'] = NAME,
    ['['] = SEEN,
    ['\\'] = SEEN,
    [']'] = SEEN,
    ['^'] = SEEN | TOKEN,
    ['_'] = NAME,
    ['`'] = SEEN | TOKEN,
    ['a' ... 'f'] = LETTER_HEX,
    ['g' ... 'z'] = NAME,
    ['{'] = SEEN,
    ['|'] = SEEN | TOKEN,
    ['}'] = SEEN,
    ['~'] = NAME,
    [0x80 ... 0xff] = VALUE,
};

unsigned weft_char_hex(char c)
{
  return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

const char *weft_chars_skip(const char *p, const char *end, unsigned kind)
{
  while (p < end && WEFT_CHAR_IS(*p, kind))
    p++;
  return p;
}

int weft_chars_equal(const char *s, const char *lower, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c >= 'A' && c <= 'Z')
      c |= 0x20;
    if (c != (unsigned char)lower[i])
      return 0;
  }
  return 1;
}

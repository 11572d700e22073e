/* The bytes of strings, and scratch memory: what decoding and encoding both
 * need. It knows nothing of escapes. */
#include "vm/json_parts.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Marks, by its high bit, each byte that is not a string's plain ASCII. A quote
 * and a backslash are turned into 0, and a control byte is below 0x20: there
 * the subtraction borrows from the high bit. The byte above pays for that and
 * may be marked wrongly, so only the lowest mark counts. */
static inline uint64_t find_special(uint64_t word)
{
  const uint64_t ones = 0x0101010101010101;
  uint64_t quote = (word ^ ones * '"') - ones;
  uint64_t backslash = (word ^ ones * '\\') - ones;
  uint64_t control = word - ones * 0x20;
  return (quote | backslash | control | word) & ones * 0x80;
}

static inline uint64_t load_word(const char *p)
{
  uint64_t word;
  memcpy(&word, p, sizeof(word));
  return le64toh(word); /* so that the first byte is the lowest */
}

/* The bytes of the UTF-8 sequence at `p`, which begins with a byte from 0x80
 * on; 0 when it is not valid. These are the ranges of RFC 3629: the second
 * byte's exclude overlong forms, surrogates and what is above U+10FFFF. */
static size_t sequence_len(const char *p, const char *end)
{
  const unsigned char *byte = (const unsigned char *)p;
  unsigned char lead = byte[0], low = 0x80, high = 0xbf;
  size_t len;
  if (lead < 0xc2) {
    return 0;
  } else if (lead < 0xe0) {
    len = 2;
  } else if (lead < 0xf0) {
    len = 3;
    if (lead == 0xe0)
      low = 0xa0;
    else if (lead == 0xed)
      high = 0x9f;
  } else if (lead < 0xf5) {
    len = 4;
    if (lead == 0xf0)
      low = 0x90;
    else if (lead == 0xf4)
      high = 0x8f;
  } else {
    return 0;
  }
  if ((size_t)(end - p) < len || byte[1] < low || byte[1] > high)
    return 0;
  for (size_t i = 2; i < len; i++)
    if ((byte[i] & 0xc0) != 0x80)
      return 0;
  return len;
}

const char *weft_json_skip_plain(const char *p, const char *end)
{
  while (p < end) {
    if (end - p >= 8) { /* eight bytes at once */
      uint64_t special = find_special(load_word(p));
      if (!special) {
        p += 8;
        continue;
      }
      p += __builtin_ctzll(special) / 8;
    }
    unsigned char byte = (unsigned char)*p;
    if (byte < 0x20 || byte == '"' || byte == '\\')
      return p;
    if (byte < 0x80) {
      p++;
      continue;
    }
    do { /* such bytes rarely come alone */
      size_t len = sequence_len(p, end);
      if (!len)
        return p;
      p += len;
    } while (p < end && (unsigned char)*p >= 0x80);
  }
  return p;
}

void weft_json_scratch_init(weft_json_scratch_t *scratch,
                            lua_State *L,
                            int slot)
{
  /* `first` stays uninitialised: clearing it costs more than a small body */
  scratch->L = L;
  scratch->slot = slot;
  scratch->data = scratch->first;
  scratch->len = 0;
  scratch->cap = sizeof(scratch->first);
}

void weft_json_scratch_grow(weft_json_scratch_t *scratch, size_t len)
{
  /* by four: each step leaves the last one to the collector */
  size_t cap = scratch->cap * 4;
  if (cap < scratch->len + len)
    cap = scratch->len + len;
  char *data = lua_newuserdata(scratch->L, cap);
  memcpy(data, scratch->data, scratch->len);
  lua_replace(scratch->L, scratch->slot); /* anchors it, drops the last one */
  scratch->data = data;
  scratch->cap = cap;
}

/* What the json*.c files share; nobody else includes it. */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* --- the Lua functions: json_decode.c, json_encode.c --- */

/* Both are closures over the two metatables that are the marks. */
enum { WEFT_JSON_ARRAY_UPVALUE = 1, WEFT_JSON_OBJECT_UPVALUE = 2 };

int weft_json_decode(lua_State *L);
int weft_json_encode(lua_State *L);

/* The optional second argument of both; raises when it is no sensible depth. */
int weft_json_check_depth(lua_State *L);

/* --- the bytes of strings: json_text.c --- */

/* The first byte from `p` on that cannot stand in a JSON string as it is: a
 * quote, a backslash, a control byte, the start of what is not UTF-8; or `end`.
 * Reads nothing from `end` on. */
const char *weft_json_skip_plain(const char *p, const char *end);

/* Growing scratch memory. It starts on the C stack and moves to a userdata,
 * anchored in a slot of the Lua stack, when it outgrows that: an error that is
 * raised anywhere leaks nothing. */
typedef struct {
  lua_State *L;
  int slot;         /* the stack index that the userdata is kept at */
  char *data;       /* `first`, or the userdata's memory */
  size_t len, cap;  /* bytes written at `data`, bytes that fit there */
  char first[2048]; /* enough for most bodies; no allocation at all then */
} weft_json_scratch_t;

void weft_json_scratch_init(weft_json_scratch_t *scratch,
                            lua_State *L,
                            int slot);
/* Makes room for `len` more bytes; raises when there is no memory. Needs one
 * free slot on the Lua stack. */
void weft_json_scratch_grow(weft_json_scratch_t *scratch, size_t len);

/* Where the next `len` bytes may be written; whoever does adds to `len`. */
static inline char *weft_json_scratch_reserve(weft_json_scratch_t *scratch,
                                              size_t len)
{
  if (scratch->cap - scratch->len < len)
    weft_json_scratch_grow(scratch, len);
  return scratch->data + scratch->len;
}

/* --- numbers: json_number.c --- */

/* Reads the number that starts at `p`, in memory that ends with a NUL; returns
 * where it ends. When that is no number by JSON's grammar, `ok` is false and
 * the byte that is wrong is returned. Rounds correctly; infinity when the
 * number is too large for a double. */
const char *weft_json_read_number(const char *p, double *value, bool *ok);

enum { WEFT_JSON_NUMBER_LEN = 32 };

/* Writes a finite number in the shortest form that reads back as the same
 * double; returns how many of WEFT_JSON_NUMBER_LEN bytes it took. */
size_t weft_json_write_number(char *out, double value);

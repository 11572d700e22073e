/* JSON text -> Lua values, in one pass. Most of the time goes into building
 * tables, so they are made at their size: the items of a container wait on the
 * Lua stack until it ends, or until there are many. */
#include "vm/json_parts.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  lua_State *L;
  const char *text, *end; /* borrowed from the argument; a NUL is at `end` */
  int max_depth;
  weft_json_scratch_t scratch; /* strings with escapes, one at a time */

  /* the first thing that is wrong, once a reader has returned NULL */
  const char *wrong_at;
  const char *wrong; /* NULL: the byte there is not expected */
} decoder_t;

/* The stack of decode(text, max_depth), in fixed slots. */
enum { TEXT_SLOT = 1, SCRATCH_SLOT = 3 };

/* How many stack slots the items of one container may take. A C function has
 * 8000 (LUAI_MAXCSTACK), so deep containers do not collect any: with the 3
 * slots that each needs, all 1000 levels fit. */
enum { MOST_WAITING = 32, WAITING_ENDS_AT = 4000 };

/* Readers take the place to read from and return where they stopped, with the
 * value pushed; or NULL, with whatever was pushed left there. */
static const char *read_value(decoder_t *d, const char *p, int depth);

static const char *fail(decoder_t *d, const char *at, const char *what)
{
  d->wrong_at = at;
  d->wrong = what;
  return NULL;
}

static const char *fail_unexpected(decoder_t *d, const char *at)
{
  return fail(d, at, NULL);
}

/* nil, message */
static int push_failure(const decoder_t *d)
{
  char byte = *d->wrong_at;
  char what[64];
  if (d->wrong)
    snprintf(what, sizeof(what), "%s", d->wrong);
  else if (d->wrong_at == d->end)
    snprintf(what, sizeof(what), "unexpected end");
  else if (byte == '"')
    snprintf(what, sizeof(what), "unexpected string");
  else if (byte > ' ' && byte <= '~')
    snprintf(what, sizeof(what), "unexpected \"%c\"", byte);
  else
    snprintf(what, sizeof(what), "unexpected byte 0x%02X", (unsigned char)byte);
  lua_settop(d->L, SCRATCH_SLOT); /* whatever was built is dropped */
  lua_pushnil(d->L);
  lua_pushfstring(d->L, "%s at byte %d", what,
                  (int)(d->wrong_at - d->text) + 1);
  return 2;
}

static inline const char *skip_space(const char *p)
{
  while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
    p++;
  return p;
}

/* --- strings --- */

/* The four hex digits at `p`, or -1. Stops at the NUL behind the text. */
static int read_hex4(const char *p)
{
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    int digit;
    if (c >= '0' && c <= '9')
      digit = c - '0';
    else if (c >= 'a' && c <= 'f')
      digit = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F')
      digit = c - 'A' + 10;
    else
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

static size_t write_utf8(char *out, unsigned code)
{
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3f));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
  }
  out[0] = (char)(0xf0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 0x3f));
  out[2] = (char)(0x80 | (code >> 6 & 0x3f));
  out[3] = (char)(0x80 | (code & 0x3f));
  return 4;
}

/* `p` is at the backslash of \uXXXX, which may begin a surrogate pair. */
static const char *read_unicode_escape(decoder_t *d, const char *p)
{
  int code = read_hex4(p + 2);
  if (code < 0)
    return fail(d, p, "invalid escape");
  const char *next = p + 6;
  if (code >= 0xd800 && code <= 0xdfff) {
    int low = code < 0xdc00 && next[0] == '\\' && next[1] == 'u'
                  ? read_hex4(next + 2)
                  : -1;
    if (low < 0xdc00 || low > 0xdfff)
      return fail(d, p, "lone surrogate");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    next += 6;
  }
  char *out = weft_json_scratch_reserve(&d->scratch, 4);
  d->scratch.len += write_utf8(out, (unsigned)code);
  return next;
}

/* `p` is at a backslash: appends what the escape stands for. */
static const char *read_escape(decoder_t *d, const char *p)
{
  static const char NAMES[] = "\"\\/bfnrt", BYTES[] = "\"\\/\b\f\n\r\t";
  if (p[1] == 'u')
    return read_unicode_escape(d, p);
  const char *name = memchr(NAMES, p[1], sizeof(NAMES) - 1);
  if (!name)
    return fail(d, p, "invalid escape");
  *weft_json_scratch_reserve(&d->scratch, 1) = BYTES[name - NAMES];
  d->scratch.len++;
  return p + 2;
}

/* The plain bytes of a string that began at `p` end at `stop`, with no quote:
 * the string goes on there, or is wrong. */
static const char *
read_string_rest(decoder_t *d, const char *p, const char *stop)
{
  weft_json_scratch_t *scratch = &d->scratch;
  scratch->len = 0;
  for (;;) {
    size_t len = (size_t)(stop - p);
    memcpy(weft_json_scratch_reserve(scratch, len), p, len);
    scratch->len += len;
    if (*stop == '"') {
      lua_pushlstring(d->L, scratch->data, scratch->len);
      return stop + 1;
    }
    if (stop == d->end)
      return fail_unexpected(d, stop);
    if ((unsigned char)*stop >= 0x80)
      return fail(d, stop, "invalid UTF-8");
    if (*stop != '\\')
      return fail(d, stop, "control byte in a string");
    p = read_escape(d, stop);
    if (!p)
      return NULL;
    stop = weft_json_skip_plain(p, d->end);
  }
}

/* `p` is behind the opening quote. */
static const char *read_string(decoder_t *d, const char *p)
{
  const char *stop = weft_json_skip_plain(p, d->end);
  if (*stop != '"')
    return read_string_rest(d, p, stop);
  lua_pushlstring(d->L, p, (size_t)(stop - p));
  return stop + 1;
}

/* --- numbers and words --- */

static const char *read_number(decoder_t *d, const char *p)
{
  double value = 0;
  bool ok;
  const char *stop = weft_json_read_number(p, &value, &ok);
  if (!ok)
    return fail_unexpected(d, stop);
  if (isinf(value)) /* it could not be encoded again */
    return fail(d, p, "number too large");
  lua_pushnumber(d->L, value);
  return stop;
}

static bool has_word(const decoder_t *d, const char *p, const char *word)
{
  size_t len = strlen(word);
  return (size_t)(d->end - p) >= len && !memcmp(p, word, len);
}

/* --- arrays and objects --- */

/* Begins a container: an empty slot for its table, the index of which it
 * returns, and how many slots its items may wait in. */
static int begin_table(decoder_t *d, int *room)
{
  lua_State *L = d->L;
  luaL_checkstack(L, MOST_WAITING + 8, "JSON");
  lua_pushnil(L);
  int slot = lua_gettop(L);
  *room = slot < WAITING_ENDS_AT ? MOST_WAITING : 0;
  return slot;
}

/* Puts the array of the `count` items on top into `slot`. */
static void build_array(decoder_t *d, int slot, int count, int size)
{
  lua_State *L = d->L;
  lua_createtable(L, size, 0);
  lua_pushvalue(L, lua_upvalueindex(WEFT_JSON_ARRAY_UPVALUE));
  lua_setmetatable(L, -2);
  lua_replace(L, slot);
  for (int i = count; i > 0; i--)
    lua_rawseti(L, slot, i);
}

static const char *read_array(decoder_t *d, const char *p, int depth)
{
  int room, count = 0;
  int slot = begin_table(d, &room);
  bool built = false;
  p = skip_space(p);
  if (*p == ']') {
    build_array(d, slot, 0, 0);
    return p + 1;
  }
  for (;;) {
    if (!built && count == room) {
      build_array(d, slot, count, count * 2);
      built = true;
    }
    p = read_value(d, p, depth);
    if (!p)
      return NULL;
    count++;
    if (built)
      lua_rawseti(d->L, slot, count);
    p = skip_space(p);
    if (*p == ']')
      break;
    if (*p != ',')
      return fail_unexpected(d, p);
    p = skip_space(p + 1);
  }
  if (!built)
    build_array(d, slot, count, count);
  return p + 1;
}

/* Puts the object of all keys and values above `slot` into it, in their order:
 * of equal keys the last wins. */
static void build_object(decoder_t *d, int slot, int size)
{
  lua_State *L = d->L;
  int top = lua_gettop(L);
  lua_createtable(L, 0, size);
  lua_replace(L, slot);
  for (int key = slot + 1; key < top; key += 2) {
    lua_pushvalue(L, key);
    lua_pushvalue(L, key + 1);
    lua_rawset(L, slot);
  }
  lua_settop(L, slot);
}

static const char *read_object(decoder_t *d, const char *p, int depth)
{
  int room, slots = 0; /* those that wait: a key and a value each */
  int slot = begin_table(d, &room);
  bool built = false;
  p = skip_space(p);
  if (*p == '}') {
    build_object(d, slot, 0);
    return p + 1;
  }
  for (;;) {
    if (!built && slots == room) {
      build_object(d, slot, slots); /* room for as many again */
      built = true;
    }
    if (*p != '"')
      return fail_unexpected(d, p);
    p = read_string(d, p + 1);
    if (!p)
      return NULL;
    p = skip_space(p);
    if (*p != ':')
      return fail_unexpected(d, p);
    p = read_value(d, skip_space(p + 1), depth);
    if (!p)
      return NULL;
    slots += 2;
    if (built)
      lua_rawset(d->L, slot);
    p = skip_space(p);
    if (*p == '}')
      break;
    if (*p != ',')
      return fail_unexpected(d, p);
    p = skip_space(p + 1);
  }
  if (!built)
    build_object(d, slot, slots / 2);
  return p + 1;
}

static const char *read_container(decoder_t *d, const char *p, int depth)
{
  if (depth == d->max_depth)
    return fail(d, p, "nested too deep");
  return *p == '{' ? read_object(d, p + 1, depth + 1)
                   : read_array(d, p + 1, depth + 1);
}

/* `depth` counts the containers around the value; `p` is at no space. */
static const char *read_value(decoder_t *d, const char *p, int depth)
{
  switch (*p) {
  case '"':
    return read_string(d, p + 1);
  case '{':
  case '[':
    return read_container(d, p, depth);
  case 't':
    if (!has_word(d, p, "true"))
      return fail_unexpected(d, p);
    lua_pushboolean(d->L, 1);
    return p + 4;
  case 'f':
    if (!has_word(d, p, "false"))
      return fail_unexpected(d, p);
    lua_pushboolean(d->L, 0);
    return p + 5;
  case 'n':
    if (!has_word(d, p, "null"))
      return fail_unexpected(d, p);
    lua_pushlightuserdata(d->L, NULL);
    return p + 4;
  default:
    if (*p != '-' && (*p < '0' || *p > '9'))
      return fail_unexpected(d, p);
    return read_number(d, p);
  }
}

int weft_json_decode(lua_State *L)
{
  /* not luaL_checklstring: it would take a number for its text */
  luaL_checktype(L, TEXT_SLOT, LUA_TSTRING);
  decoder_t d; /* not cleared as a whole, because of the scratch */
  size_t len;
  d.L = L;
  d.text = lua_tolstring(L, TEXT_SLOT, &len);
  d.end = d.text + len;
  d.max_depth = weft_json_check_depth(L);
  lua_settop(L, SCRATCH_SLOT);
  weft_json_scratch_init(&d.scratch, L, SCRATCH_SLOT);

  const char *p = read_value(&d, skip_space(d.text), 0);
  if (p) {
    p = skip_space(p);
    if (p != d.end)
      p = fail_unexpected(&d, p);
  }
  return p ? 1 : push_failure(&d);
}

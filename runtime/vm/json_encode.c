/* Lua values -> JSON text. Tables are walked with lua_next alone: it finds a
 * key that an array must not have in the same pass that writes the items. */
#include "vm/json_parts.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  lua_State *L;
  weft_json_scratch_t out;
  const void *array_mark, *object_mark;
  int max_depth;
} encoder_t;

/* One table that is being written; they form the way back to the root. */
typedef struct frame {
  const struct frame *parent; /* NULL for the root */
  int table;                  /* its stack index; the current key is above */
  int depth;                  /* 1 for the root */
} frame_t;

/* The stack of encode(value, max_depth), in fixed slots. */
enum { VALUE_SLOT = 1, SCRATCH_SLOT = 3 };

/* Writes the value on top of the stack and leaves it there; `frame` is the
 * table it is in. Like all below, raises when it cannot. */
static void write_value(encoder_t *e, const frame_t *frame);

/* --- what cannot be encoded --- */

/* The place of a value as text, cut when it is too long. */
typedef struct {
  char text[200];
  size_t len;
} path_t;

__attribute__((format(printf, 2, 3))) static void
path_printf(path_t *path, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  size_t room = sizeof(path->text) - path->len;
  int len = vsnprintf(path->text + path->len, room, format, args);
  va_end(args);
  if (len >= 0 && (size_t)len < room) {
    path->len += (size_t)len;
  } else { /* full: no more fits, not even what is shorter */
    memcpy(path->text + sizeof(path->text) - 4, "...", 4);
    path->len = sizeof(path->text) - 1;
  }
}

/* .name, or ["any key"] with a "?" for each byte that a log should not see. */
static void path_add_name(path_t *path, const char *name, size_t len)
{
  static const char WORD[] = "abcdefghijklmnopqrstuvwxyz_"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  bool word = len && strspn(name, WORD) == len && (*name < '0' || *name > '9');
  path_printf(path, word ? "." : "[\"");
  for (size_t i = 0; i < len && path->len < sizeof(path->text) - 1; i++)
    path_printf(path, "%c", name[i] >= ' ' && name[i] <= '~' ? name[i] : '?');
  if (!word)
    path_printf(path, "\"]");
}

/* Writes the way to the current key of `frame`; NULL is the root. */
static void path_add_frame(path_t *path, lua_State *L, const frame_t *frame)
{
  if (!frame) {
    path_printf(path, "$");
    return;
  }
  path_add_frame(path, L, frame->parent);
  int key = frame->table + 1;
  size_t len;
  if (lua_type(L, key) == LUA_TNUMBER) {
    path_printf(path, "[%.14g]", lua_tonumber(L, key));
  } else {
    const char *name = lua_tolstring(L, key, &len);
    path_add_name(path, name, len);
  }
}

__attribute__((noreturn, format(printf, 3, 4))) static void
refuse(encoder_t *e, const frame_t *frame, const char *format, ...)
{
  char what[100];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof(what), format, args);
  va_end(args);
  path_t path = {.len = 0};
  path_add_frame(&path, e->L, frame);
  luaL_error(e->L, "cannot encode %s at %s", what, path.text);
  __builtin_unreachable();
}

/* The name of the type of the value at `index`, with its article. */
static const char *type_name(lua_State *L, int index)
{
  switch (lua_type(L, index)) {
  case LUA_TBOOLEAN:
    return "a boolean";
  case LUA_TTABLE:
    return "a table";
  case LUA_TFUNCTION:
    return "a function";
  case LUA_TTHREAD:
    return "a coroutine";
  case LUA_TUSERDATA:
  case LUA_TLIGHTUSERDATA:
    return "a userdata";
  default:
    return "a cdata value"; /* LuaJIT's FFI: the only type that is left */
  }
}

/* The table on top, in `frame`, would be too deep. If it is there because a
 * table is inside itself, the place where it first is so explains more. */
__attribute__((noreturn)) static void refuse_depth(encoder_t *e,
                                                   const frame_t *frame)
{
  lua_State *L = e->L;
  const frame_t *first = NULL; /* the outermost frame that holds an ancestor */
  int inner = lua_gettop(L);
  for (const frame_t *f = frame; f; f = f->parent) {
    for (const frame_t *outer = f; outer; outer = outer->parent)
      if (lua_rawequal(L, outer->table, inner))
        first = f;
    inner = f->table;
  }
  if (first)
    refuse(e, first, "a table that is inside itself");
  refuse(e, frame, "more than %d nested tables", e->max_depth);
}

/* --- strings and numbers --- */

static inline void put(encoder_t *e, char c)
{
  *weft_json_scratch_reserve(&e->out, 1) = c;
  e->out.len++;
}

static inline void put_bytes(encoder_t *e, const char *bytes, size_t len)
{
  memcpy(weft_json_scratch_reserve(&e->out, len), bytes, len);
  e->out.len += len;
}

static void put_escape(encoder_t *e, unsigned char byte)
{
  static const char BYTES[] = "\"\\\b\f\n\r\t", NAMES[] = "\"\\bfnrt";
  static const char HEX[] = "0123456789abcdef";
  const char *found = byte ? strchr(BYTES, byte) : NULL;
  if (found) {
    char escape[] = {'\\', NAMES[found - BYTES]};
    put_bytes(e, escape, sizeof(escape));
  } else {
    char escape[] = {'\\', 'u', '0', '0', HEX[byte >> 4], HEX[byte & 15]};
    put_bytes(e, escape, sizeof(escape));
  }
}

/* Writes the string at `index`: the value, or the current key. */
static void write_string(encoder_t *e, const frame_t *frame, int index)
{
  size_t len;
  const char *p = lua_tolstring(e->L, index, &len);
  const char *end = p + len;
  /* room for all of it, when nothing has to be escaped */
  *weft_json_scratch_reserve(&e->out, len + 2) = '"';
  e->out.len++;
  for (;;) {
    const char *stop = weft_json_skip_plain(p, end);
    put_bytes(e, p, (size_t)(stop - p));
    if (stop == end)
      break;
    if ((unsigned char)*stop >= 0x80)
      refuse(e, frame, "a string that is not UTF-8");
    put_escape(e, (unsigned char)*stop);
    p = stop + 1;
  }
  put(e, '"');
}

static void write_number(encoder_t *e, const frame_t *frame, double value)
{
  if (isnan(value))
    refuse(e, frame, "a number that is NaN");
  if (isinf(value))
    refuse(e, frame, "an infinite number");
  char *out = weft_json_scratch_reserve(&e->out, WEFT_JSON_NUMBER_LEN);
  e->out.len += weft_json_write_number(out, value);
}

/* --- arrays --- */

/* Checks that the keys of the table are 1..n and returns n. The slow way, for
 * tables that lua_next does not walk in that order; the key's slot is free. */
static int check_items(encoder_t *e, const frame_t *frame)
{
  lua_State *L = e->L;
  int key = frame->table + 1, count = 0;
  double last = 0;
  lua_pushnil(L);
  for (; lua_next(L, frame->table); lua_pop(L, 1)) {
    /* stack: table, key, value */
    if (lua_type(L, key) == LUA_TSTRING)
      refuse(e, frame, "a string as a key of an array");
    if (lua_type(L, key) != LUA_TNUMBER)
      refuse(e, frame->parent, "%s as a key of an array", type_name(L, key));
    double number = lua_tonumber(L, key);
    if (number < 1 || number != floor(number))
      refuse(e, frame, "a number below 1 or a fraction as a key of an array");
    if (number > last)
      last = number;
    count++;
  }
  if (last == count)
    return count;
  for (int i = 1;; i++) { /* ends: a key of 1..count is missing */
    lua_rawgeti(L, frame->table, i);
    if (lua_isnil(L, -1))
      refuse(e, frame->parent, "a sparse array (its [%d] is missing)", i);
    lua_pop(L, 1);
  }
}

/* Writes the items from `i` on of an array that check_items looks at. */
static void write_items_by_index(encoder_t *e, const frame_t *frame, int i)
{
  lua_State *L = e->L;
  int count = check_items(e, frame);
  for (; i <= count; i++) {
    lua_pushinteger(L, i);
    lua_rawgeti(L, frame->table, i);
    if (i > 1)
      put(e, ',');
    write_value(e, frame);
    lua_pop(L, 2);
  }
}

/* stack: table, first key, first value. Pops key and value. */
static void write_array(encoder_t *e, const frame_t *frame)
{
  lua_State *L = e->L;
  put(e, '[');
  for (int i = 1;; i++) {
    if (lua_type(L, -2) != LUA_TNUMBER || lua_tonumber(L, -2) != i) {
      lua_pop(L, 2);
      write_items_by_index(e, frame, i);
      break;
    }
    write_value(e, frame);
    lua_pop(L, 1);
    if (!lua_next(L, frame->table))
      break;
    put(e, ',');
  }
  put(e, ']');
}

/* --- objects --- */

/* Writes the number that is the current key as a string. Not by converting it
 * in place: lua_next needs the key as it is. */
static void write_number_key(encoder_t *e, const frame_t *frame, int key)
{
  lua_State *L = e->L;
  put(e, '"');
  size_t start = e->out.len;
  write_number(e, frame, lua_tonumber(L, key));
  lua_pushlstring(L, e->out.data + start, e->out.len - start);
  lua_rawget(L, frame->table);
  if (!lua_isnil(L, -1))
    refuse(e, frame, "a key that is there as a number and as a string");
  lua_pop(L, 1);
  put(e, '"');
}

/* stack: table, first key, first value. Pops key and value. */
static void write_object(encoder_t *e, const frame_t *frame)
{
  lua_State *L = e->L;
  int key = frame->table + 1;
  put(e, '{');
  for (;;) {
    int type = lua_type(L, key);
    if (type == LUA_TSTRING)
      write_string(e, frame, key);
    else if (type == LUA_TNUMBER)
      write_number_key(e, frame, key);
    else
      refuse(e, frame->parent, "%s as a key", type_name(L, key));
    put(e, ':');
    write_value(e, frame);
    lua_pop(L, 1);
    if (!lua_next(L, frame->table))
      break;
    put(e, ',');
  }
  put(e, '}');
}

static bool has_first_item(lua_State *L, int table)
{
  lua_rawgeti(L, table, 1);
  bool has = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return has;
}

/* Writes the table on top. */
static void write_table(encoder_t *e, const frame_t *parent)
{
  lua_State *L = e->L;
  int depth = parent ? parent->depth + 1 : 1;
  if (depth > e->max_depth)
    refuse_depth(e, parent);
  luaL_checkstack(L, 10, "JSON");
  const void *mark = NULL;
  if (lua_getmetatable(L, -1)) {
    mark = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
  frame_t frame = {parent, lua_gettop(L), depth};
  lua_pushnil(L);
  if (!lua_next(L, frame.table))
    put_bytes(e, mark == e->array_mark ? "[]" : "{}", 2);
  else if (mark == e->array_mark ||
           (mark != e->object_mark && has_first_item(L, frame.table)))
    write_array(e, &frame);
  else
    write_object(e, &frame);
}

static void write_value(encoder_t *e, const frame_t *frame)
{
  lua_State *L = e->L;
  switch (lua_type(L, -1)) {
  case LUA_TNIL:
    put_bytes(e, "null", 4);
    break;
  case LUA_TBOOLEAN:
    if (lua_toboolean(L, -1))
      put_bytes(e, "true", 4);
    else
      put_bytes(e, "false", 5);
    break;
  case LUA_TNUMBER:
    write_number(e, frame, lua_tonumber(L, -1));
    break;
  case LUA_TSTRING:
    write_string(e, frame, -1);
    break;
  case LUA_TTABLE:
    write_table(e, frame);
    break;
  default:
    if (lua_type(L, -1) != LUA_TLIGHTUSERDATA || lua_touserdata(L, -1))
      refuse(e, frame, "%s", type_name(L, -1));
    put_bytes(e, "null", 4);
  }
}

int weft_json_encode(lua_State *L)
{
  luaL_checkany(L, VALUE_SLOT);
  encoder_t e; /* not cleared as a whole, because of the scratch */
  e.L = L;
  e.array_mark = lua_topointer(L, lua_upvalueindex(WEFT_JSON_ARRAY_UPVALUE));
  e.object_mark = lua_topointer(L, lua_upvalueindex(WEFT_JSON_OBJECT_UPVALUE));
  e.max_depth = weft_json_check_depth(L);
  lua_settop(L, SCRATCH_SLOT);
  weft_json_scratch_init(&e.out, L, SCRATCH_SLOT);
  lua_pushvalue(L, VALUE_SLOT);
  write_value(&e, NULL);
  lua_pushlstring(L, e.out.data, e.out.len);
  return 1;
}

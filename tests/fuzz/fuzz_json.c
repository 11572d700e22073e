/* Fuzzes the JSON codec. Whatever the bytes are, decoding must not raise; what
 * it accepts must encode and decode to the same value again; and a string that
 * can be encoded must come back. Lua's memory is malloc's here, so that the
 * address sanitizer sees reads beyond a string. */
#include "vm/json.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  const char *data;
  size_t len;
} input_t;

/* The codec's table, in the stack of `run`. */
enum { JSON_SLOT = 2 };

static void require(bool holds, const char *what)
{
  if (holds)
    return;
  fprintf(stderr, "failed: %s\n", what);
  abort();
}

static void *
allocate(void *unused, void *memory, size_t old_len, size_t new_len)
{
  (void)unused;
  (void)old_len;
  if (new_len)
    return realloc(memory, new_len);
  free(memory);
  return NULL;
}

static bool same(lua_State *L, int a, int b);

/* Whether each pair of table `a` is in table `b`. */
static bool has_all(lua_State *L, int a, int b)
{
  for (lua_pushnil(L); lua_next(L, a); lua_settop(L, -2)) {
    int value = lua_gettop(L);
    lua_pushvalue(L, value - 1);
    lua_rawget(L, b);
    bool equal = same(L, value, value + 1);
    lua_settop(L, value);
    if (!equal)
      return false;
  }
  return true;
}

static bool same(lua_State *L, int a, int b)
{
  luaL_checkstack(L, 10, "comparing");
  if (lua_rawequal(L, a, b))
    return true;
  if (!lua_istable(L, a) || !lua_istable(L, b))
    return false;
  return has_all(L, a, b) && has_all(L, b, a);
}

/* Calls decode or encode with the value on top, which it replaces by the one
 * result; returns whether that is good: neither raised nor nil, message. */
static bool call(lua_State *L, const char *name)
{
  lua_getfield(L, JSON_SLOT, name);
  lua_insert(L, -2);
  bool raised = lua_pcall(L, 1, 1, 0) != 0;
  require(!raised || *name == 'e', "decode does not raise");
  return !raised && !lua_isnil(L, -1);
}

/* The bytes as a text. */
static void try_text(lua_State *L, const input_t *input)
{
  lua_pushlstring(L, input->data, input->len);
  if (!call(L, "decode"))
    return;
  int value = lua_gettop(L);
  lua_pushvalue(L, value);
  require(call(L, "encode"), "what was decoded can be encoded");
  require(call(L, "decode"), "what was encoded can be decoded");
  require(same(L, value, value + 1), "the value comes back");
}

/* The bytes as a string, which cannot be encoded when it is not UTF-8. */
static void try_string(lua_State *L, const input_t *input)
{
  lua_pushlstring(L, input->data, input->len);
  int value = lua_gettop(L);
  lua_pushvalue(L, value);
  if (!call(L, "encode"))
    return;
  require(call(L, "decode"), "an encoded string can be decoded");
  require(lua_rawequal(L, value, value + 1), "the string comes back");
}

/* The bytes as a number, which any eight are. */
static void try_number(lua_State *L, const input_t *input)
{
  union {
    char bytes[sizeof(lua_Number)];
    lua_Number number;
  } value = {{0}};
  for (size_t i = 0; i < input->len && i < sizeof(value.bytes); i++)
    value.bytes[i] = input->data[i];
  if (value.number - value.number != 0) /* NaN or infinite */
    return;
  lua_pushnumber(L, value.number);
  require(call(L, "encode"), "a finite number can be encoded");
  require(call(L, "decode"), "an encoded number can be decoded");
  require(lua_tonumber(L, -1) == value.number, "the number comes back");
}

static int run(lua_State *L)
{
  const input_t *input = lua_touserdata(L, 1);
  weft_json_open(L);
  try_text(L, input);
  lua_settop(L, JSON_SLOT);
  try_string(L, input);
  lua_settop(L, JSON_SLOT);
  try_number(L, input);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  lua_State *L = lua_newstate(allocate, NULL);
  require(L != NULL, "there is a Lua state");
  input_t input = {(const char *)data, len};
  require(lua_cpcall(L, run, &input) == 0, "nothing else raises");
  lua_close(L);
  return 0;
}

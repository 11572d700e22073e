/* The table that Lua sees, and the marks on arrays and objects. A mark is one
 * metatable per Lua state, kept in the registry and empty: it only says what
 * the table is. */
#include "vm/json.h"

#include "vm/json_parts.h"

#include <lauxlib.h>

static const char ARRAY_MARK[] = "weft.json.array";
static const char OBJECT_MARK[] = "weft.json.object";

enum { DEFAULT_DEPTH = 100, MOST_DEPTH = 1000 };

int weft_json_check_depth(lua_State *L)
{
  lua_Integer depth = luaL_optinteger(L, 2, DEFAULT_DEPTH);
  luaL_argcheck(L, depth >= 1 && depth <= MOST_DEPTH, 2,
                "the depth must be from 1 to 1000");
  return (int)depth;
}

/* array(t) and object(t): closures over the mark to set and the other one. A
 * table of a class keeps its metatable: replacing it would break its methods
 * far away from here. */
static int l_mark(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_getmetatable(L, 1)) {
    bool marked = lua_rawequal(L, -1, lua_upvalueindex(1)) ||
                  lua_rawequal(L, -1, lua_upvalueindex(2));
    luaL_argcheck(L, marked, 1, "the table has a metatable of its own");
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setmetatable(L, 1);
  lua_settop(L, 1);
  return 1;
}

/* Sets `name` in the table on top to a closure over two marks. */
static void set_function(lua_State *L,
                         const char *name,
                         lua_CFunction function,
                         const char *first,
                         const char *second)
{
  luaL_newmetatable(L, first);
  luaL_newmetatable(L, second);
  lua_pushcclosure(L, function, 2);
  lua_setfield(L, -2, name);
}

int weft_json_open(lua_State *L)
{
  lua_createtable(L, 0, 5);
  set_function(L, "decode", weft_json_decode, ARRAY_MARK, OBJECT_MARK);
  set_function(L, "encode", weft_json_encode, ARRAY_MARK, OBJECT_MARK);
  set_function(L, "array", l_mark, ARRAY_MARK, OBJECT_MARK);
  set_function(L, "object", l_mark, OBJECT_MARK, ARRAY_MARK);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  return 1;
}

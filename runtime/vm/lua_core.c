#include "vm/lua_core.h"

#include "base/log.h"
#include "http/writer.h"
#include "net/tls.h"
#include "vm/embedded.h"
#include "vm/generation.h"
#include "vm/json.h"

#include <lauxlib.h>

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* log(level, message [, fields]): fields are strings, numbers or booleans; what
 * else a script puts there was made a string before. */
static int l_log(lua_State *L)
{
  int level = weft_log_level(luaL_checkstring(L, 1));
  size_t len, key_len, value_len;
  const char *message = luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, level >= 0, 1, "no such level");
  if (!weft_log_enabled(level))
    return 0;
  weft_log_begin(level, message, len);
  if (lua_istable(L, 3)) {
    lua_pushnil(L);
    while (lua_next(L, 3)) {
      lua_pushvalue(L, -2); /* a copy: tolstring would change a number key */
      const char *key = lua_tolstring(L, -1, &key_len);
      bool bare = lua_type(L, -2) == LUA_TNUMBER;
      char number[40];
      const char *value = NULL;
      if (lua_isboolean(L, -2)) {
        bare = true;
        value = lua_toboolean(L, -2) ? "true" : "false";
        value_len = strlen(value);
      } else if (bare) { /* not by LuaJIT's own %g, which has known faults */
        double n = lua_tonumber(L, -2);
        bare = n - n == 0; /* JSON knows no infinity */
        value_len = (size_t)snprintf(number, sizeof(number), "%.14g", n);
        value = number;
      } else {
        value = lua_tolstring(L, -2, &value_len);
      }
      if (key && value)
        weft_log_field(key, key_len, value, value_len, bare);
      lua_pop(L, 2);
    }
  }
  weft_log_end();
  return 0;
}

static int l_log_enabled(lua_State *L)
{
  int level = weft_log_level(luaL_checkstring(L, 1));
  lua_pushboolean(L, level >= 0 && weft_log_enabled(level));
  return 1;
}

/* log_setup(level, json): what the command line or the app asks for. */
static int l_log_setup(lua_State *L)
{
  int level = weft_log_level(luaL_checkstring(L, 1));
  luaL_argcheck(L, level >= 0, 1, "no such level");
  weft_log_setup(level, lua_toboolean(L, 2));
  return 0;
}

/* error_name(status) -> "ETIMEDOUT", "connection timed out" */
static int l_error_name(lua_State *L)
{
  int status = (int)luaL_checkinteger(L, 1);
  char name[64], text[128];
  if (status == WEFT_ETLS || status == WEFT_ETRUNCATED) {
    bool broken = status == WEFT_ETLS;
    lua_pushstring(L, broken ? "ETLS" : "ETRUNCATED");
    lua_pushstring(L, broken ? "TLS failed"
                             : "the connection ended without TLS's "
                               "close_notify: what came may be cut short");
    return 2;
  }
  lua_pushstring(L, uv_err_name_r(status, name, sizeof(name)));
  lua_pushstring(L, uv_strerror_r(status, text, sizeof(text)));
  return 2;
}

/* clock() -> seconds of a precise clock that only goes forward */
static int l_clock(lua_State *L)
{
  lua_pushnumber(L, (double)uv_hrtime() / 1e9);
  return 1;
}

static int l_status_reason(lua_State *L)
{
  lua_pushstring(L, weft_status_reason((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* set_exit(code): what the process ends with when its command is done */
static int l_set_exit(lua_State *L)
{
  weft_generation_of(L)->exit_code = (int)luaL_checkinteger(L, 1);
  return 0;
}

/* memory() -> bytes in use by Lua */
static int l_memory(lua_State *L)
{
  lua_pushnumber(L, (double)weft_generation_of(L)->memory);
  return 1;
}

/* random_hex(bytes) -> so many random bytes, in hex */
static int l_random_hex(lua_State *L)
{
  unsigned char bytes[32];
  char hex[2 * sizeof(bytes) + 1];
  lua_Integer count = luaL_checkinteger(L, 1);
  luaL_argcheck(L, count > 0 && count <= 32, 1, "1 to 32 bytes");
  if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
    return luaL_error(L, "the system gives no random bytes");
  for (lua_Integer i = 0; i < count; i++)
    snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
  lua_pushlstring(L, hex, 2 * (size_t)count);
  return 1;
}

/* modules() -> the names of all modules of the library */
static int l_modules(lua_State *L)
{
  lua_newtable(L);
  int count = 0;
  for (const weft_embedded_t *it = weft_embedded; it->module; it++) {
    lua_pushstring(L, it->module);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

int weft_core_open(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"log", l_log},
      {"log_enabled", l_log_enabled},
      {"log_setup", l_log_setup},
      {"error_name", l_error_name},
      {"clock", l_clock},
      {"status_reason", l_status_reason},
      {"set_exit", l_set_exit},
      {"memory", l_memory},
      {"random_hex", l_random_hex},
      {"modules", l_modules},
      {NULL, NULL},
  };
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_pushlightuserdata(L, weft_generation_of(L));
  lua_setfield(L, -2, "generation");
  weft_json_open(L);
  lua_setfield(L, -2, "json");
  weft_core_add_clock(L);
  weft_core_add_task(L);
  weft_core_add_exchange(L);
  weft_core_add_listen(L);
  weft_core_add_fetch(L);
  weft_core_add_stream(L);
  weft_core_add_tcp(L);
  weft_core_add_exec(L);
  weft_core_add_tls(L);
  return 1;
}

#include "vm/lua_tls.h"

#include "net/pool.h"
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/lua_stream.h"

#include <lauxlib.h>

#include <string.h>

static const char box_name[] = "weft TLS context";

weft_tls_context_t *weft_lua_tls_context(lua_State *L, int index)
{
  if (lua_isnoneornil(L, index))
    return NULL;
  return *(weft_tls_context_t **)luaL_checkudata(L, index, box_name);
}

static const char *check_source(lua_State *L, int index)
{
  size_t len;
  if (lua_isnil(L, index))
    return NULL;
  const char *source = luaL_checklstring(L, index, &len);
  luaL_argcheck(L, strlen(source) == len, index, "PEM text contains no NUL");
  return source;
}

/* tls_context(server, verify, ca, cert, key, alpn) -> context; nil, message.
 * As in net/tls_context.h; equal options give the same one. */
static int l_context(lua_State *L)
{
  weft_tls_options_t options = {.server = lua_toboolean(L, 1),
                                .verify = lua_toboolean(L, 2),
                                .ca = check_source(L, 3),
                                .cert = check_source(L, 4),
                                .key = check_source(L, 5)};
  options.alpn = luaL_optlstring(L, 6, "", &options.alpn_len);
  char error[WEFT_TLS_REASON];
  weft_tls_context_t **box = lua_newuserdata(L, sizeof(*box));
  *box = NULL;
  luaL_getmetatable(L, box_name);
  lua_setmetatable(L, -2);
  *box = weft_tls_cache_get(weft_pool_tls(weft_generation_of(L)->pool),
                            &options, error);
  if (*box)
    return 1;
  lua_pushnil(L);
  lua_pushstring(L, error);
  return 2;
}

static int l_collected(lua_State *L)
{
  weft_tls_context_t **box = lua_touserdata(L, 1);
  weft_tls_context_release(*box);
  *box = NULL;
  return 0;
}

static void set_string(lua_State *L, const char *field, const char *value)
{
  if (value && *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, field);
  }
}

/* stream_tls(box) -> what there is to know of its TLS; nil if it has none */
static int l_describe(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  if (!it || !it->stream.tls || !it->stream.tls->secure)
    return 0;
  weft_tls_facts_t facts;
  weft_tls_describe(it->stream.tls, &facts);
  lua_createtable(L, 0, 6);
  set_string(L, "version", facts.version);
  set_string(L, "cipher", facts.cipher);
  set_string(L, "server_name", facts.server_name);
  set_string(L, "subject", facts.subject);
  if (facts.protocol_len) {
    lua_pushlstring(L, facts.protocol, facts.protocol_len);
    lua_setfield(L, -2, "alpn");
  }
  lua_pushboolean(L, facts.reused);
  lua_setfield(L, -2, "resumed");
  return 1;
}

/* stream_reason(box) -> what is wrong with it, if its status does not say */
static int l_reason(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  if (!it)
    return 0;
  lua_pushstring(L, weft_stream_reason(&it->stream));
  return 1;
}

void weft_core_add_tls(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"tls_context", l_context},
      {"stream_tls", l_describe},
      {"stream_reason", l_reason},
      {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  luaL_newmetatable(L, box_name);
  lua_pushcfunction(L, l_collected);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

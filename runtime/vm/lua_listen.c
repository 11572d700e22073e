#include "vm/lua_listen.h"

#include "base/alloc.h"
#include "net/server.h"
#include "vm/lua_core.h"
#include "vm/lua_exchange.h"

#include <lauxlib.h>

#include <stdlib.h>

/* A server of a script, in a userdata-free box: scripts hold its handle. */
typedef struct {
  weft_server_t server;
  weft_service_t *service;
  weft_generation_t *generation;
  weft_list_t node; /* in generation->listening */
  double handle;
  bool draining;
} listening_t;

/* serve(serve, limits): what `weft run` is to serve, once this task is done */
static int l_serve(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  weft_service_t *service = weft_service_new(L, 1, 2);
  weft_service_free(generation->service);
  generation->service = service;
  return 0;
}

static void on_empty(weft_server_t *server)
{
  listening_t *it = server->data;
  weft_generation_t *generation = it->generation;
  weft_list_remove(&it->node);
  weft_handles_close(&generation->servers, it->handle);
  luaL_unref(generation->L, LUA_REGISTRYINDEX, it->service->serve_ref);
  weft_service_free(it->service);
  free(it);
  if (generation->closing)
    uv_idle_start(&generation->idle, weft_task_on_ready);
}

/* listen(address, serve, limits) -> handle, url; or nil, message */
static int l_listen(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  const char *address = luaL_checkstring(L, 1);
  weft_service_t *service = weft_service_new(L, 2, 3);
  listening_t *it = weft_calloc(sizeof(*it));
  it->service = service;
  it->generation = generation;
  weft_handler_t handler = weft_service_handler(service);
  weft_server_init(&it->server, generation->loop, &service->limits, &handler);
  it->server.data = it;
  it->server.on_empty = on_empty;
  it->handle = weft_handles_open(&generation->servers, it);
  weft_list_push(&generation->listening, &it->node);
  weft_listener_t *listener;
  char error[256];
  if (weft_server_listen(&it->server, address, &listener, error,
                         sizeof(error)) != 0) {
    on_empty(&it->server);
    lua_pushnil(L);
    lua_pushstring(L, error);
    return 2;
  }
  lua_pushnumber(L, it->handle);
  lua_pushstring(L, listener->name);
  return 2;
}

static void drain(listening_t *it)
{
  if (it->draining)
    return;
  it->draining = true;
  weft_server_drain(&it->server);
}

/* unlisten(handle): lets running requests finish and closes the rest */
static int l_unlisten(lua_State *L)
{
  listening_t *it =
      weft_handles_get(&weft_generation_of(L)->servers, luaL_checknumber(L, 1));
  if (it)
    drain(it);
  return 0;
}

/* connection_count(handle) -> connections that are open */
static int l_connection_count(lua_State *L)
{
  listening_t *it =
      weft_handles_get(&weft_generation_of(L)->servers, luaL_checknumber(L, 1));
  lua_pushinteger(L, it ? it->server.conn_count : 0);
  return 1;
}

void weft_listen_close_all(weft_generation_t *generation)
{
  weft_list_t *next;
  for (weft_list_t *node = generation->listening.next;
       node != &generation->listening; node = next) {
    next = node->next;
    listening_t *it = WEFT_LIST_ENTRY(node, listening_t, node);
    if (it->server.conn_count)
      weft_server_close_all(&it->server);
    drain(it);
  }
}

void weft_core_add_listen(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"serve", l_serve},
      {"listen", l_listen},
      {"unlisten", l_unlisten},
      {"connection_count", l_connection_count},
      {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
}

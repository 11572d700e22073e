#include "vm/generation.h"

#include "base/alloc.h"
#include "base/log.h"
#include "vm/embedded.h"
#include "vm/lua_core.h"
#include "vm/lua_exchange.h"
#include "vm/lua_listen.h"

#include <lauxlib.h>
#include <lualib.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LuaJIT's archive picks a string hash by what the CPU can do; the SSE4.2 one
 * can be flooded with colliding keys that need no knowledge of a seed
 * (CVE-2024-39702). Defining its initialiser here keeps that object out. */
void str_hash_init_sse42(void);
void str_hash_init_sse42(void) {}

/* Counts; LuaJIT's own allocator does the work. Its `data` is also how a
 * state finds its generation, faster than through the registry. */
static void *count_alloc(void *data, void *p, size_t old_len, size_t len)
{
  weft_generation_t *generation = data;
  void *moved = generation->alloc(generation->alloc_data, p, old_len, len);
  if (moved || !len)
    generation->memory += len - (p ? old_len : 0);
  return moved;
}

/* A collection marks everything that lives, which for most apps is a few MiB of
 * library and scripts. While the heap is that small, waiting until it is four
 * times as large saves 5 % of the CPU of a request for little memory; then
 * LuaJIT's own pace, twice as large, holds. */
enum { ROOMY_HEAP = 16 * 1024 * 1024, ROOMY_PAUSE = 400, PAUSE = 200 };

void weft_generation_tune(weft_generation_t *generation)
{
  bool roomy = generation->memory < ROOMY_HEAP;
  if (roomy == generation->roomy)
    return;
  generation->roomy = roomy;
  lua_gc(generation->L, LUA_GCSETPAUSE, roomy ? ROOMY_PAUSE : PAUSE);
}

weft_generation_t *weft_generation_of(lua_State *L)
{
  void *data;
  lua_getallocf(L, &data);
  return data;
}

static int on_panic(lua_State *L)
{
  weft_log(WEFT_LOG_ERROR, "Lua gave up outside of a protected call: %s",
           lua_tostring(L, -1));
  return 0; /* LuaJIT ends the process */
}

/* package.loaders: finds a module of the library in the binary. */
static int l_embedded(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  for (const weft_embedded_t *it = weft_embedded; it->module; it++) {
    if (strcmp(it->module, name) == 0) {
      if (luaL_loadbufferx(L, it->text, it->len, it->chunk, "t") != 0)
        return lua_error(L);
      return 1;
    }
  }
  lua_pushfstring(L, "\n\tno module '%s' in weft's library", name);
  return 1;
}

/* Puts l_embedded into package.loaders in front of the others: nothing on disk
 * can pass for a module of the library. */
static void add_loader(lua_State *L)
{
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaders");
  for (int i = (int)lua_objlen(L, -1); i >= 1; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, l_embedded);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 2);
}

static int take_entry(lua_State *L, const char *name)
{
  lua_getfield(L, -1, name);
  assert(lua_isfunction(L, -1));
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Everything that may raise while a state is set up. */
static int l_set_up(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  luaL_openlibs(L);
  /* the set of coroutines that tasks run in, by weak keys */
  lua_pushlightuserdata(L, generation);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, weft_core_open);
  lua_setfield(L, -2, "weft.core");
  lua_pop(L, 2);
  add_loader(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "weft.boot");
  lua_call(L, 1, 1);
  generation->entries.main = take_entry(L, "main");
  generation->entries.finish = take_entry(L, "finish");
  return 0;
}

weft_generation_t *weft_generation_open(weft_loop_t *loop, void *data)
{
  weft_generation_t *generation = weft_calloc(sizeof(*generation));
  generation->loop = loop;
  generation->data = data;
  generation->defer_time = WEFT_DEFER_TIME;
  generation->close_time = WEFT_CLOSE_TIME;
  weft_list_init(&generation->ready);
  weft_list_init(&generation->spare);
  weft_list_init(&generation->roots);
  weft_list_init(&generation->spare_exchanges);
  weft_list_init(&generation->listening);
  weft_list_init(&generation->resources);
  uv_idle_init(&loop->uv, &generation->idle);
  generation->idle.data = generation;

  lua_State *L = luaL_newstate();
  assert(L);
  generation->L = L;
  generation->alloc = lua_getallocf(L, &generation->alloc_data);
  lua_setallocf(L, count_alloc, generation);
  lua_atpanic(L, on_panic);
  if (lua_cpcall(L, l_set_up, NULL) != 0) {
    fprintf(stderr, "weft: its library: %s\n", lua_tostring(L, -1));
    abort(); /* the library is part of the binary: this is our mistake */
  }
  return generation;
}

void weft_generation_start(weft_generation_t *generation,
                           const char *command,
                           int argc,
                           char *const *argv,
                           void (*on_done)(weft_task_t *task, void *data),
                           void *data)
{
  weft_task_t *task = weft_task_new(generation, NULL);
  task->on_done = on_done;
  task->data = data;
  lua_State *co = task->co;
  luaL_checkstack(co, argc + 2, "too many arguments");
  lua_rawgeti(co, LUA_REGISTRYINDEX, generation->entries.main);
  lua_pushstring(co, command);
  for (int i = 0; i < argc; i++)
    lua_pushstring(co, argv[i]);
  weft_task_schedule(task);
}

static void on_idle_closed(uv_handle_t *idle)
{
  weft_generation_t *generation = idle->data;
  generation->on_closed(generation);
  free(generation);
}

void weft_resource_open(weft_generation_t *generation,
                        weft_resource_t *resource,
                        void (*close)(weft_resource_t *resource))
{
  resource->close = close;
  weft_list_push(&generation->resources, &resource->node);
}

void weft_resource_closed(weft_generation_t *generation,
                          weft_resource_t *resource)
{
  weft_list_remove(&resource->node);
  if (generation->closing)
    uv_idle_start(&generation->idle, weft_task_on_ready);
}

static void close_resources(weft_generation_t *generation)
{
  weft_list_t *next;
  for (weft_list_t *it = generation->resources.next;
       it != &generation->resources; it = next) {
    next = it->next;
    weft_resource_t *resource = WEFT_LIST_ENTRY(it, weft_resource_t, node);
    resource->close(resource);
  }
}

void weft_generation_check_end(weft_generation_t *generation)
{
  if (generation->task_count || uv_is_closing((uv_handle_t *)&generation->idle))
    return;
  if (!generation->closing && generation->on_quiet) {
    void (*on_quiet)(weft_generation_t *) = generation->on_quiet;
    generation->on_quiet = NULL;
    on_quiet(generation);
  }
  if (!generation->closing)
    return;
  weft_timer_clear(generation->loop, &generation->patience);
  close_resources(generation);
  if (!weft_list_empty(&generation->listening) ||
      !weft_list_empty(&generation->resources))
    return;
  lua_close(generation->L);
  weft_service_free(generation->service);
  weft_task_free_spare(generation);
  weft_exchanges_free(generation);
  weft_handles_deinit(&generation->tasks);
  weft_handles_deinit(&generation->exchanges);
  weft_handles_deinit(&generation->servers);
  uv_close((uv_handle_t *)&generation->idle, on_idle_closed);
}

void weft_generation_close(weft_generation_t *generation,
                           void (*on_closed)(weft_generation_t *generation))
{
  generation->closing = true;
  generation->on_closed = on_closed;
  weft_task_close_all(generation);
  weft_listen_close_all(generation);
  uv_idle_start(&generation->idle, weft_task_on_ready);
}

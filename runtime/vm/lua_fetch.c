/* An outgoing exchange as Lua sees it: one call that waits. What is asked and
 * what comes back are strings; lua/weft/fetch.lua makes sense of them. */
#include "net/client.h"
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/lua_tls.h"
#include "vm/task.h"

#include <lauxlib.h>

/* What a client has to remember of the task that waits for it. */
typedef struct {
  weft_await_t await;
  int body_ref; /* pins a body that is being sent; LUA_NOREF if none */
} waiter_t;

_Static_assert(sizeof(waiter_t) <= WEFT_CLIENT_OWNER, "no room for the waiter");

static waiter_t *waiter_of(weft_client_t *client)
{
  return (waiter_t *)&client->owner;
}

static void release(weft_client_t *client)
{
  waiter_t *waiter = waiter_of(client);
  lua_State *L = waiter->await.task->generation->L;
  luaL_unref(L, LUA_REGISTRYINDEX, waiter->body_ref);
  weft_client_free(client);
}

static void cancel(void *operation, weft_await_t await)
{
  weft_client_t *client = operation;
  weft_client_cancel(client);
  release(client);
  weft_await_finish(await, UV_ECANCELED);
}

static void on_done(weft_client_t *client, const weft_client_result_t *result)
{
  weft_await_t await = waiter_of(client)->await;
  lua_State *co = weft_await_push(await, result->status);
  if (result->status == 0) {
    lua_pushinteger(co, result->head->status);
    lua_pushlstring(co, weft_buf_bytes(&result->head->bytes),
                    result->head->bytes.len);
    lua_pushlstring(co, result->body, result->body_len);
  } else {
    lua_pushstring(co, result->detail);
    lua_pushstring(co, result->limit);
  }
  release(client);
  weft_await_end(await);
}

static uint32_t check_number(lua_State *L, int index)
{
  lua_Number number = luaL_checknumber(L, index);
  luaL_argcheck(L, number >= 0 && number <= INT32_MAX, index, "out of range");
  return (uint32_t)number;
}

/* fetch(key, head, body, idempotent, head_only, timeout, connect_timeout,
 *       read_timeout, max_body, TLS context or nil)
 *    -> 0, HTTP status, head, body
 *    or status, detail or nil, limit or nil
 * as in net/client.h; times in ms. */
static int l_fetch(lua_State *L)
{
  weft_task_t *task;
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  weft_client_request_t request = {
      .idempotent = lua_toboolean(L, 4),
      .head_only = lua_toboolean(L, 5),
      .timeout = check_number(L, 6),
      .connect_timeout = check_number(L, 7),
      .read_timeout = check_number(L, 8),
      .max_body = check_number(L, 9),
      .tls = weft_lua_tls_context(L, 10),
  };
  request.key = luaL_checklstring(L, 1, &request.key_len);
  request.head = luaL_checklstring(L, 2, &request.head_len);
  request.body = luaL_checklstring(L, 3, &request.body_len);
  int body_ref = LUA_NOREF;
  if (request.body_len > WEFT_CLIENT_COPIED) {
    lua_pushvalue(L, 3);
    body_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  /* from here on, nothing raises */
  weft_client_t *client = weft_client_new(task->generation->pool);
  client->on_done = on_done;
  waiter_t *waiter = waiter_of(client);
  waiter->body_ref = body_ref;
  weft_client_start(client, &request);
  waiter->await = weft_await_begin(task, cancel, client);
  return weft_await_yield(L);
}

void weft_core_add_fetch(lua_State *L)
{
  lua_pushcfunction(L, l_fetch);
  lua_setfield(L, -2, "fetch");
}

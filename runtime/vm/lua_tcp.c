/* Sockets of scripts: connecting, and listening with one task for each
 * connection. What happens on a socket then is lua_stream.c's business. */
#include "base/alloc.h"
#include "net/dial.h"
#include "net/pool.h"
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/lua_stream.h"
#include "vm/lua_tls.h"
#include "vm/task.h"

#include <lauxlib.h>

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { BACKLOG = 1024 };

static const char box_name[] = "weft listener";

/* A server of a script. It owns itself, until it is closed and the last of its
 * tasks has ended. */
typedef struct listener {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv;
  weft_generation_t *generation;
  weft_resource_t resource;
  struct listener **box; /* NULL once it is closed */
  int box_ref;           /* it serves on, even if the script forgets it */
  int serve_ref;
  weft_tls_context_t *tls; /* held; NULL if it does not speak TLS */
  unsigned open, most;     /* connections whose tasks run, and how many may */
  bool paused;             /* the kernel holds back the next one */
  bool closed;             /* its handle is */
} listener_t;

/* One attempt to connect. */
typedef struct {
  weft_dial_t dial;     /* by name and port */
  uv_connect_t request; /* to a unix socket */
  weft_generation_t *generation;
  weft_lua_stream_t **box;
  int box_ref;
  weft_await_t await;
} connect_t;

static int push_status(lua_State *L, int status)
{
  lua_pushinteger(L, status);
  return 1;
}

/* ---- connecting -----------------------------------------------------------
 */

/* Resumes the task, with the box if it is connected, else with what is wrong,
 * if the status does not say it all. */
static void finish(connect_t *it, int status)
{
  lua_State *L = it->generation->L;
  weft_await_t await = it->await;
  lua_State *co = weft_await_push(await, status);
  if (co && status == 0)
    lua_rawgeti(co, LUA_REGISTRYINDEX, it->box_ref);
  else if (co)
    lua_pushstring(co, it->dial.detail);
  luaL_unref(L, LUA_REGISTRYINDEX, it->box_ref);
  free(it);
  if (co)
    weft_await_end(await);
}

static void on_dialled(weft_dial_t *dial, int status, weft_stream_t *stream)
{
  connect_t *it = WEFT_LIST_ENTRY(dial, connect_t, dial);
  if (stream) {
    weft_lua_stream_adopt((weft_lua_stream_t *)stream, it->generation, it->box);
    weft_lua_stream_start(*it->box);
  }
  finish(it, status);
}

static void cancel_dial(void *operation, weft_await_t await)
{
  (void)await;
  connect_t *it = operation;
  weft_dial_cancel(&it->dial);
  finish(it, UV_ECANCELED);
}

/* What is connected to a unix socket is so at once; the task hears of it at the
 * loop's next turn, if it still waits. */
static void on_connected(uv_connect_t *request, int status)
{
  connect_t *it = request->data;
  if (status == 0 && *it->box)
    weft_lua_stream_start(*it->box);
  else if (*it->box)
    weft_lua_stream_close(*it->box, false, 0);
  finish(it, status);
}

/* on_connected still comes, and frees. */
static void cancel_connect(void *operation, weft_await_t await)
{
  connect_t *it = operation;
  weft_lua_stream_close(*it->box, false, 0);
  weft_await_finish(await, UV_ECANCELED);
}

/* The host and the port at stack places 1 and 2. Without a port, which is -1
 * then, the host is the path of a unix socket. */
static const char *check_address(lua_State *L, int *port)
{
  size_t len;
  const char *host = luaL_checklstring(L, 1, &len);
  bool unix_socket = lua_isnil(L, 2);
  *port = unix_socket ? -1 : (int)luaL_checkinteger(L, 2);
  luaL_argcheck(L, unix_socket || (*port >= 0 && *port <= 65535), 2,
                "a port is 0 to 65535");
  luaL_argcheck(L, len && strlen(host) == len, 1, "this is no host or path");
  luaL_argcheck(
      L, !unix_socket || len < sizeof(((struct sockaddr_un *)0)->sun_path), 1,
      "the path of a unix socket has 1 to 107 bytes");
  return host;
}

/* tcp_connect(host, port, seconds, TLS context or nil, server_name or nil)
 *    -> 0, box; or status, detail or nil */
static int l_connect(lua_State *L)
{
  weft_task_t *task;
  int port;
  const char *host = check_address(L, &port);
  bool unix_socket = port < 0;
  uint64_t ms = weft_lua_check_ms(L, 3);
  weft_tls_context_t *context = weft_lua_tls_context(L, 4);
  const char *server_name = luaL_optstring(L, 5, host);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  weft_lua_stream_t **box =
      unix_socket ? weft_lua_stream_open(L, true)->box : weft_lua_stream_box(L);
  int box_ref = luaL_ref(L, LUA_REGISTRYINDEX);

  connect_t *it = weft_calloc(sizeof(*it));
  it->generation = task->generation;
  it->box = box;
  it->box_ref = box_ref;
  if (unix_socket) {
    it->await = weft_await_begin(task, cancel_connect, it);
    it->request.data = it;
    uv_pipe_connect(&it->request, &(*box)->stream.uv.pipe, host, on_connected);
    return weft_await_yield(L);
  }
  it->await = weft_await_begin(task, cancel_dial, it);
  weft_loop_t *loop = task->generation->loop;
  uv_update_time(&loop->uv);
  weft_tls_t *tls =
      context ? weft_tls_new(context, loop, server_name, port) : NULL;
  weft_dial_start(&it->dial, loop, weft_pool_resolver(task->generation->pool),
                  host, (uint16_t)port, weft_loop_now(loop) + ms,
                  sizeof(weft_lua_stream_t), tls, on_dialled);
  return weft_await_yield(L);
}

static int push_address(lua_State *L, const struct sockaddr_storage *address)
{
  char host[46];
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
  bool is_v4 = address->ss_family == AF_INET;
  if (is_v4)
    uv_ip4_name(v4, host, sizeof(host));
  else
    uv_ip6_name(v6, host, sizeof(host));
  lua_pushstring(L, host);
  lua_pushinteger(L, ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
  return 2;
}

/* tcp_peer(box) -> address, port of the peer; nothing for a unix socket */
static int l_peer(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  struct sockaddr_storage peer;
  int len = sizeof(peer);
  if (!it || it->stream.uv.handle.type != UV_TCP ||
      uv_tcp_getpeername(&it->stream.uv.tcp, (struct sockaddr *)&peer, &len) !=
          0)
    return 0;
  return push_address(L, &peer);
}

/* ---- listening ------------------------------------------------------------
 */

static void free_if_over(listener_t *it)
{
  if (!it->closed || it->open)
    return;
  luaL_unref(it->generation->L, LUA_REGISTRYINDEX, it->serve_ref);
  weft_tls_context_release(it->tls);
  weft_resource_closed(it->generation, &it->resource);
  free(it);
}

static void on_closed(uv_handle_t *handle)
{
  listener_t *it = handle->data;
  it->closed = true;
  free_if_over(it);
}

static void close_listener(listener_t *it)
{
  if (!it->box)
    return;
  *it->box = NULL;
  it->box = NULL;
  luaL_unref(it->generation->L, LUA_REGISTRYINDEX, it->box_ref);
  uv_close(&it->uv.handle, on_closed);
}

static void close_resource(weft_resource_t *resource)
{
  close_listener(WEFT_LIST_ENTRY(resource, listener_t, resource));
}

static void accept_one(listener_t *it);

static void on_task_done(weft_task_t *task, void *data)
{
  (void)task;
  listener_t *it = data;
  it->open--;
  if (it->paused && it->box) {
    it->paused = false;
    accept_one(it);
  }
  free_if_over(it);
}

/* Starts serve(box) in a task of its own. */
static void accept_one(listener_t *it)
{
  weft_generation_t *generation = it->generation;
  bool unix_socket = it->uv.handle.type == UV_NAMED_PIPE;
  weft_task_t *task = weft_task_new(generation, NULL);
  lua_rawgeti(task->co, LUA_REGISTRYINDEX, it->serve_ref);
  weft_lua_stream_t *stream = weft_lua_stream_open(task->co, unix_socket);
  if (uv_accept(&it->uv.stream, &stream->stream.uv.stream) != 0) {
    weft_lua_stream_close(stream, false, 0);
    weft_task_discard(task);
    return;
  }
  if (!unix_socket)
    uv_tcp_nodelay(&stream->stream.uv.tcp, 1);
  if (it->tls)
    weft_lua_stream_secure(stream,
                           weft_tls_new(it->tls, generation->loop, NULL, 0));
  else
    weft_lua_stream_start(stream);
  it->open++;
  task->on_done = on_task_done;
  task->data = it;
  weft_task_schedule(task);
}

/* libuv holds a connection back, and asks for no further one, until uv_accept
 * is called. */
static void on_connection(uv_stream_t *handle, int status)
{
  listener_t *it = handle->data;
  if (status < 0)
    return; /* out of descriptors, say: libuv asks again */
  if (it->open >= it->most || it->generation->closing)
    it->paused = true;
  else
    accept_one(it);
}

static int bind_tcp(listener_t *it, const char *host, int port)
{
  weft_address_t address;
  if (strcmp(host, "localhost") == 0)
    host = "127.0.0.1";
  int status = uv_ip4_addr(host, port, &address.v4);
  if (status != 0)
    status = uv_ip6_addr(host, port, &address.v6);
  return status ? status : uv_tcp_bind(&it->uv.tcp, &address.any, 0);
}

static void open_handle(listener_t *it, bool unix_socket)
{
  uv_loop_t *loop = &it->generation->loop->uv;
  if (unix_socket)
    uv_pipe_init(loop, &it->uv.pipe, 0);
  else
    uv_tcp_init(loop, &it->uv.tcp);
  it->uv.handle.data = it;
}

/* tcp_listen(host, port, serve, most, TLS context or nil) -> status, box, port:
 * calls serve(box of the socket) in a task for each connection, `most` at a
 * time; with TLS it shakes hands first, see stream_secured */
static int l_listen(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  int port;
  const char *host = check_address(L, &port);
  bool unix_socket = port < 0;
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_Number most = luaL_checknumber(L, 4);
  luaL_argcheck(L, most >= 1 && most <= 1e6, 4, "at least one connection");
  weft_tls_context_t *tls = weft_lua_tls_context(L, 5);
  lua_settop(L, 5);
  listener_t **box = lua_newuserdata(L, sizeof(*box));
  *box = NULL;
  luaL_getmetatable(L, box_name);
  lua_setmetatable(L, 6);
  lua_pushvalue(L, 3);
  int serve_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, 6);
  int box_ref = luaL_ref(L, LUA_REGISTRYINDEX);

  listener_t *it = weft_calloc(sizeof(*it));
  it->generation = generation;
  it->box = box;
  it->box_ref = box_ref;
  it->serve_ref = serve_ref;
  it->most = (unsigned)most;
  it->tls = tls ? weft_tls_context_hold(tls) : NULL;
  *box = it;
  weft_resource_open(generation, &it->resource, close_resource);
  open_handle(it, unix_socket);
  int status =
      unix_socket ? uv_pipe_bind(&it->uv.pipe, host) : bind_tcp(it, host, port);
  if (status == 0)
    status = uv_listen(&it->uv.stream, BACKLOG, on_connection);
  if (status != 0) {
    close_listener(it);
    return push_status(L, status);
  }
  push_status(L, 0);
  lua_pushvalue(L, 6);
  struct sockaddr_storage bound;
  int len = sizeof(bound);
  if (unix_socket ||
      uv_tcp_getsockname(&it->uv.tcp, (struct sockaddr *)&bound, &len) != 0)
    return 2;
  push_address(L, &bound);
  lua_remove(L, -2);
  return 3;
}

/* tcp_unlisten(box): takes no more connections; fine twice */
static int l_unlisten(lua_State *L)
{
  listener_t *it = *(listener_t **)luaL_checkudata(L, 1, box_name);
  if (it)
    close_listener(it);
  return 0;
}

void weft_core_add_tcp(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"tcp_connect", l_connect},
      {"tcp_peer", l_peer},
      {"tcp_listen", l_listen},
      {"tcp_unlisten", l_unlisten},
      {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  luaL_newmetatable(L, box_name);
  lua_pop(L, 1);
}

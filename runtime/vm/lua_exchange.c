#include "vm/lua_exchange.h"

#include "base/alloc.h"
#include "base/log.h"
#include "http/target.h"
#include "net/conn.h"
#include "vm/lua_core.h"
#include "vm/task.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An exchange on the Lua side. It outlives the exchange by nothing: both end
 * in `release`, and what scripts hold is its handle. */
typedef struct {
  weft_exchange_t *exchange;
  weft_generation_t *generation;
  weft_task_t *task; /* runs the serve function */
  double handle;
  weft_await_t reader; /* waits for the request's body */
  weft_await_t writer; /* waits until a response has gone out */
  bool complete;       /* the response was written whole */
  weft_list_t spare;   /* in generation->spare_exchanges */
} lua_exchange_t;

static lua_exchange_t *acquire(weft_generation_t *generation)
{
  lua_exchange_t *it;
  if (weft_list_empty(&generation->spare_exchanges)) {
    it = weft_alloc(sizeof(*it));
    weft_list_init(&it->spare);
  } else {
    it = WEFT_LIST_ENTRY(generation->spare_exchanges.prev, lua_exchange_t,
                         spare);
    weft_list_remove(&it->spare);
  }
  weft_list_t spare = it->spare;
  *it = (lua_exchange_t){.generation = generation};
  it->spare = spare;
  weft_list_init(&it->spare);
  it->handle = weft_handles_open(&generation->exchanges, it);
  return it;
}

/* The one end: the handle finds nothing from here on, and who waits is told. */
static void release(lua_exchange_t *it, int status)
{
  weft_generation_t *generation = it->generation;
  weft_await_t reader = it->reader, writer = it->writer;
  it->exchange->owner = NULL;
  it->exchange = NULL;
  if (it->task) {
    it->task->on_done = NULL;
    it->task = NULL;
  }
  weft_handles_close(&generation->exchanges, it->handle);
  weft_list_push(&generation->spare_exchanges, &it->spare);
  weft_await_finish(reader, status);
  weft_await_finish(writer, status);
}

void weft_exchanges_free(weft_generation_t *generation)
{
  while (!weft_list_empty(&generation->spare_exchanges)) {
    lua_exchange_t *it = WEFT_LIST_ENTRY(generation->spare_exchanges.next,
                                         lua_exchange_t, spare);
    weft_list_remove(&it->spare);
    free(it);
  }
}

/* ---- responses ------------------------------------------------------------
 */

/* Headers that say how a message is framed are weft's own. `small` is a name in
 * lower case. */
static bool is_framing(const char *small)
{
  switch (*small) {
  case 'c':
    return strcmp(small, "content-length") == 0 ||
           strcmp(small, "connection") == 0;
  case 'd':
    return strcmp(small, "date") == 0;
  case 'k':
    return strcmp(small, "keep-alive") == 0;
  case 't':
    return strcmp(small, "transfer-encoding") == 0;
  default:
    return false;
  }
}

static void warn_of_framing(lua_exchange_t *it, const char *name)
{
  weft_slice_t target;
  weft_lua_part(it->generation, it->handle, WEFT_PART_TARGET, &target);
  weft_log(WEFT_LOG_WARN,
           "a script set the header %s in the response to %.*s; "
           "weft's own framing is sent instead",
           name, (int)target.len, target.bytes);
}

/* Writes the first line and the headers; `len` is the body's, or -1. The table
 * at `headers` is laid out as lua/weft/headers.lua says: a count, then three
 * slots a field (name, the same in lower case, value), all checked there. */
static void write_head(
    lua_exchange_t *it, lua_State *L, int status, int headers, int64_t len)
{
  weft_exchange_begin_head(it->exchange, status);
  lua_rawgeti(L, headers, 1);
  int count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  for (int i = 1; i <= count; i++) {
    size_t name_len, value_len;
    lua_rawgeti(L, headers, 3 * i - 1);
    lua_rawgeti(L, headers, 3 * i);
    lua_rawgeti(L, headers, 3 * i + 1);
    const char *name = lua_tolstring(L, -3, &name_len);
    const char *small = lua_tostring(L, -2);
    const char *value = lua_tolstring(L, -1, &value_len);
    if (!is_framing(small))
      weft_exchange_header(it->exchange, name, name_len, value, value_len);
    else if (strcmp(small, "content-length") != 0 ||
             strtoll(value, NULL, 10) != len)
      warn_of_framing(it, name);
    lua_pop(L, 3);
  }
}

static void write_response(
    lua_exchange_t *it, lua_State *L, int status, int headers, int body)
{
  size_t len;
  const char *bytes = lua_tolstring(L, body, &len);
  it->complete = true;
  write_head(it, L, status, headers, (int64_t)len);
  weft_exchange_body(it->exchange, bytes, len);
}

/* ---- what the exchange tells --------------------------------------------- */

/* The serve function has ended, however: it returned the response, or has
 * written it, whole or torn, or there is none. */
static void on_task_done(weft_task_t *task, void *data)
{
  lua_exchange_t *it = data;
  weft_exchange_t *exchange = it->exchange;
  if (task->co && lua_gettop(task->co) == 3 && !exchange->answered) {
    /* stack: status, headers, body */
    write_response(it, task->co, (int)lua_tointeger(task->co, 1), 2, 3);
    if (!it->exchange)
      return; /* writing found the client gone */
  }
  bool complete = it->complete;
  int status = task->overdue ? 504 : 500;
  it->task = NULL;
  release(it, UV_ECANCELED);
  if (complete)
    weft_exchange_end(exchange);
  else if (exchange->answered)
    weft_exchange_abort(exchange);
  else
    weft_exchange_answer(exchange, status);
}

/* Writes the normalised path of the request to co's stack; false when it has
 * none that routes may see. */
static bool push_path(lua_State *co, const weft_head_t *head)
{
  weft_target_t target;
  const char *reason =
      weft_target_split(weft_buf_bytes(&head->bytes) + head->target,
                        head->target_len, head->method, &target);
  assert(!reason); /* the parser has seen to it */
  (void)reason;
  if (!memchr(target.raw_path, '%', target.raw_path_len) &&
      !memmem(target.raw_path, target.raw_path_len, "/.", 2)) {
    lua_pushlstring(co, target.raw_path, target.raw_path_len);
    return true;
  }
  char *path = weft_alloc(target.raw_path_len);
  size_t len = weft_target_normalise(target.raw_path, target.raw_path_len, path,
                                     &reason);
  if (len)
    lua_pushlstring(co, path, len);
  free(path);
  return len > 0;
}

static void refuse_path(weft_handler_t *handler, weft_exchange_t *exchange)
{
  handler->on_refused(handler->data, weft_exchange_conn(exchange), 400,
                      "The path cannot be decoded.");
  exchange->close = true;
  weft_exchange_answer(exchange, 400);
}

static void on_request(void *data, weft_exchange_t *exchange)
{
  weft_service_t *service = data;
  weft_generation_t *generation = service->generation;
  const weft_head_t *head = weft_exchange_head(exchange);
  weft_task_t *task = weft_task_new(generation, NULL);
  lua_State *co = task->co;
  lua_exchange_t *it = acquire(generation);
  it->exchange = exchange;
  exchange->owner = it;
  lua_rawgeti(co, LUA_REGISTRYINDEX, service->serve_ref);
  lua_pushnumber(co, it->handle);
  lua_pushinteger(co, head->method);
  if (!push_path(co, head)) {
    weft_handler_t handler = weft_service_handler(service);
    release(it, 0);
    refuse_path(&handler, exchange);
    weft_task_discard(task);
    return;
  }
  it->task = task;
  task->on_done = on_task_done;
  task->data = it;
  weft_task_run(task);
}

static void on_body(void *data, weft_exchange_t *exchange)
{
  (void)data;
  lua_exchange_t *it = exchange->owner;
  weft_await_finish(it->reader, 0);
}

static void on_drain(void *data, weft_exchange_t *exchange)
{
  (void)data;
  lua_exchange_t *it = exchange->owner;
  weft_await_finish(it->writer, 0);
}

static void on_deadline(void *data, weft_exchange_t *exchange)
{
  (void)data;
  lua_exchange_t *it = exchange->owner;
  weft_task_cancel(it->task, true);
}

static void on_gone(void *data, weft_exchange_t *exchange, int status)
{
  (void)data;
  lua_exchange_t *it = exchange->owner;
  weft_task_t *task = it->task;
  weft_task_cancel(task, status == UV_ETIMEDOUT);
  release(it, UV_ECANCELED);
}

static void
on_refused(void *data, weft_conn_t *conn, int status, const char *reason)
{
  (void)data;
  char peer[46], number[16];
  int port;
  if (!weft_log_enabled(WEFT_LOG_INFO))
    return;
  weft_conn_peer(conn, peer, &port);
  weft_log_begin(WEFT_LOG_INFO, "request refused", 15);
  int len = snprintf(number, sizeof(number), "%d", status);
  weft_log_field("status", 6, number, (size_t)len, true);
  weft_log_field("reason", 6, reason, strlen(reason), false);
  weft_log_field("peer", 4, peer, strlen(peer), false);
  weft_log_end();
}

weft_handler_t weft_service_handler(weft_service_t *service)
{
  return (weft_handler_t){.data = service,
                          .on_request = on_request,
                          .on_body = on_body,
                          .on_drain = on_drain,
                          .on_deadline = on_deadline,
                          .on_gone = on_gone,
                          .on_refused = on_refused};
}

/* ---- services ------------------------------------------------------------ */

static double number_field(lua_State *L,
                           int table,
                           const char *name,
                           double value,
                           double min,
                           double max)
{
  lua_getfield(L, table, name);
  if (!lua_isnil(L, -1)) {
    if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= min) ||
        !(lua_tonumber(L, -1) <= max))
      luaL_error(L, "%s must be a number from %d to %d", name, (int)min,
                 (int)max);
    value = lua_tonumber(L, -1);
  }
  lua_pop(L, 1);
  return value;
}

static uint64_t ms_field(lua_State *L, int table, const char *name, uint64_t ms)
{
  double max = 365 * 24 * 3600;
  return (uint64_t)(1e3 *
                    number_field(L, table, name, (double)ms / 1e3, 0, max));
}

weft_service_t *weft_service_new(lua_State *L, int serve, int limits)
{
  weft_server_limits_t values;
  weft_server_defaults(&values);
  luaL_checktype(L, serve, LUA_TFUNCTION);
  luaL_checktype(L, limits, LUA_TTABLE);
  weft_parser_limits_t *parser = &values.parser;
  parser->head_size = (uint32_t)number_field(L, limits, "max_header_size",
                                             parser->head_size, 256, 65535);
  parser->target_size = (uint32_t)number_field(L, limits, "max_target_size",
                                               parser->target_size, 1, 65535);
  parser->header_count = (uint32_t)number_field(L, limits, "max_header_count",
                                                parser->header_count, 1, 10000);
  values.connections = (uint32_t)number_field(L, limits, "max_connections",
                                              values.connections, 1, 1 << 20);
  values.header_timeout =
      ms_field(L, limits, "header_timeout", values.header_timeout);
  values.body_timeout =
      ms_field(L, limits, "body_timeout", values.body_timeout);
  values.write_timeout =
      ms_field(L, limits, "write_timeout", values.write_timeout);
  values.idle_timeout =
      ms_field(L, limits, "idle_timeout", values.idle_timeout);
  values.request_timeout =
      ms_field(L, limits, "request_timeout", values.request_timeout);
  lua_getfield(L, limits, "disconnect");
  const char *disconnect = luaL_optstring(L, -1, "reset");
  values.end_is_gone = strcmp(disconnect, "eof") == 0;
  if (!values.end_is_gone && strcmp(disconnect, "reset") != 0)
    luaL_error(L, "disconnect must be \"reset\" or \"eof\"");
  lua_pop(L, 1);

  lua_pushvalue(L, serve);
  int serve_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  weft_service_t *service = weft_alloc(sizeof(*service));
  *service = (weft_service_t){.generation = weft_generation_of(L),
                              .serve_ref = serve_ref,
                              .limits = values};
  return service;
}

void weft_service_free(weft_service_t *service) { free(service); }

/* ---- for Lua's FFI --------------------------------------------------------
 */

static lua_exchange_t *find(void *generation, double handle)
{
  return weft_handles_get(&((weft_generation_t *)generation)->exchanges,
                          handle);
}

bool weft_lua_part(void *generation, double handle, int part, weft_slice_t *out)
{
  lua_exchange_t *it = find(generation, handle);
  *out = (weft_slice_t){"", 0};
  if (!it)
    return false;
  const weft_head_t *head = weft_exchange_head(it->exchange);
  const char *target = weft_buf_bytes(&head->bytes) + head->target;
  weft_target_t parts;
  if (part == WEFT_PART_TARGET ||
      weft_target_split(target, head->target_len, head->method, &parts))
    *out = (weft_slice_t){target, head->target_len};
  else if (part == WEFT_PART_RAW_PATH)
    *out = (weft_slice_t){parts.raw_path, parts.raw_path_len};
  else if (part == WEFT_PART_QUERY)
    *out = (weft_slice_t){parts.query, parts.query_len};
  else
    *out = (weft_slice_t){parts.authority, parts.authority_len};
  return true;
}

int weft_lua_header(void *generation,
                    double handle,
                    const char *name,
                    size_t len,
                    weft_slice_t *out)
{
  lua_exchange_t *it = find(generation, handle);
  *out = (weft_slice_t){"", 0};
  if (!it)
    return -1;
  const weft_head_t *head = weft_exchange_head(it->exchange);
  const char *value = weft_head_find(head, name, len, &out->len);
  if (!value)
    return 0;
  out->bytes = value;
  return (int)weft_head_count(head, name, len);
}

/* ---- for Lua's C API: what waits, or makes tables -------------------------
 */

static lua_exchange_t *check_exchange(lua_State *L)
{
  return find(weft_generation_of(L), luaL_checknumber(L, 1));
}

static int push_status(lua_State *L, int status)
{
  lua_pushinteger(L, status);
  return 1;
}

/* exchange_headers(handle) -> { name, value, name, value ... } as received; nil
 * when the exchange has ended */
static int l_headers(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  if (!it)
    return 0;
  const weft_head_t *head = weft_exchange_head(it->exchange);
  const char *bytes = weft_buf_bytes(&head->bytes);
  lua_createtable(L, 2 * head->header_count, 0);
  for (int i = 0; i < head->header_count; i++) {
    const weft_header_t *header = &head->headers[i];
    lua_pushlstring(L, bytes + header->name, header->name_len);
    lua_rawseti(L, -2, 2 * i + 1);
    lua_pushlstring(L, bytes + header->value, header->value_len);
    lua_rawseti(L, -2, 2 * i + 2);
  }
  return 1;
}

/* exchange_info(handle) -> minor version, peer address, peer port, announced
 * length of the body (-1: chunked) */
static int l_info(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  if (!it)
    return 0;
  const weft_head_t *head = weft_exchange_head(it->exchange);
  char address[46];
  int port;
  weft_conn_peer(weft_exchange_conn(it->exchange), address, &port);
  lua_pushinteger(L, head->minor);
  lua_pushstring(L, address);
  lua_pushinteger(L, port);
  if (head->body == WEFT_BODY_CHUNKED)
    lua_pushinteger(L, -1);
  else
    lua_pushnumber(
        L, head->body == WEFT_BODY_SIZED ? (double)head->content_length : 0);
  return 4;
}

static int l_alive(lua_State *L)
{
  lua_pushboolean(L, check_exchange(L) != NULL);
  return 1;
}

static void cancel_read(void *operation, weft_await_t await)
{
  lua_exchange_t *it = operation;
  weft_exchange_unwant_body(it->exchange);
  weft_await_finish(await, UV_ECANCELED);
}

/* exchange_read(handle) -> status: 0 when exchange_take has something */
static int l_read(lua_State *L)
{
  weft_task_t *task;
  lua_exchange_t *it = check_exchange(L);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (!it)
    return push_status(L, UV_ECONNRESET);
  if (weft_exchange_body_ready(it->exchange))
    return push_status(L, 0);
  if (weft_await_live(it->reader))
    return push_status(L, UV_EBUSY);
  it->reader = weft_await_begin(task, cancel_read, it);
  weft_exchange_want_body(it->exchange);
  return weft_await_yield(L);
}

/* exchange_take(handle) -> the body's bytes that are there, nil at its end;
 * or nil and the HTTP status that refuses it */
static int l_take(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  if (!it)
    return 0;
  weft_exchange_t *exchange = it->exchange;
  if (exchange->body.len) {
    weft_buf_t *body = &exchange->body;
    lua_pushlstring(L, weft_buf_bytes(body), body->len);
    weft_buf_consume(body, body->len);
    weft_exchange_body_taken(exchange);
    return 1;
  }
  lua_pushnil(L);
  if (!exchange->body_status)
    return 1;
  lua_pushinteger(L, exchange->body_status);
  return 2;
}

/* exchange_respond(handle, status, headers, body) -> whether it was written:
 * not when the exchange has ended or was answered before */
static int l_respond(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  bool open = it && !it->exchange->answered;
  int status = (int)luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_checktype(L, 4, LUA_TSTRING);
  if (open)
    write_response(it, L, status, 3, 4);
  lua_pushboolean(L, open);
  return 1;
}

/* exchange_stream(handle, status, headers, length or nil) -> the same, for the
 * head of a response whose body follows in pieces */
static int l_stream(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  bool open = it && !it->exchange->answered;
  int status = (int)luaL_checkinteger(L, 2);
  double len = luaL_optnumber(L, 4, -1);
  luaL_checktype(L, 3, LUA_TTABLE);
  if (open) {
    write_head(it, L, status, 3, (int64_t)len);
    weft_exchange_stream(it->exchange, (int64_t)len);
  }
  lua_pushboolean(L, open);
  return 1;
}

static void cancel_write(void *operation, weft_await_t await)
{
  lua_exchange_t *it = operation;
  it->exchange->drain_wanted = false;
  weft_await_finish(await, UV_ECANCELED);
}

/* Waits until nothing is unsent; the status of that is what it returns. */
static int await_drain(lua_State *L, weft_task_t *task, lua_exchange_t *it)
{
  if (weft_await_live(it->writer))
    return push_status(L, UV_EBUSY);
  double handle = it->handle;
  bool wait = weft_exchange_want_drain(it->exchange);
  if (!find(task->generation, handle))
    return push_status(L, UV_ECONNRESET); /* writing found it gone */
  if (!wait)
    return push_status(L, 0);
  it->writer = weft_await_begin(task, cancel_write, it);
  return weft_await_yield(L);
}

/* exchange_write(handle, chunk) -> status; waits while the client is slow */
static int l_write(lua_State *L)
{
  weft_task_t *task;
  size_t len;
  lua_exchange_t *it = check_exchange(L);
  const char *chunk = luaL_checklstring(L, 2, &len);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (!it || it->complete)
    return push_status(L, UV_ECONNRESET);
  if (weft_exchange_write(it->exchange, chunk, len))
    return push_status(L, 0);
  return await_drain(L, task, it);
}

/* exchange_sent(handle) -> status; waits until all was handed to the kernel */
static int l_sent(lua_State *L)
{
  weft_task_t *task;
  lua_exchange_t *it = check_exchange(L);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (!it)
    return push_status(L, UV_ECONNRESET);
  return await_drain(L, task, it);
}

/* exchange_complete(handle): a streamed response was written whole */
static int l_complete(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  if (it) {
    it->complete = true;
    weft_exchange_complete(it->exchange);
  }
  return 0;
}

/* exchange_written(handle) -> bytes of the response's body; nil if ended */
static int l_written(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  if (!it)
    return 0;
  lua_pushnumber(L, (double)it->exchange->sent);
  return 1;
}

/* exchange_answered(handle) -> whether a response's head was written; true when
 * the exchange has ended */
static int l_answered(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  lua_pushboolean(L, !it || it->exchange->answered);
  return 1;
}

/* exchange_close(handle): the connection closes after this response */
static int l_close(lua_State *L)
{
  lua_exchange_t *it = check_exchange(L);
  if (it)
    it->exchange->close = true;
  return 0;
}

void weft_core_add_exchange(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"exchange_headers", l_headers}, {"exchange_info", l_info},
      {"exchange_alive", l_alive},     {"exchange_read", l_read},
      {"exchange_take", l_take},       {"exchange_respond", l_respond},
      {"exchange_stream", l_stream},   {"exchange_write", l_write},
      {"exchange_sent", l_sent},       {"exchange_complete", l_complete},
      {"exchange_written", l_written}, {"exchange_answered", l_answered},
      {"exchange_close", l_close},     {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  lua_newtable(L); /* methods: llhttp's numbers -> names */
#define METHOD(number, name, string)                                           \
  lua_pushliteral(L, #string);                                                 \
  lua_rawseti(L, -2, number);
  HTTP_METHOD_MAP(METHOD)
#undef METHOD
  lua_setfield(L, -2, "methods");
}

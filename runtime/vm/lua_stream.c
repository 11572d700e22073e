#include "vm/lua_stream.h"

#include "base/alloc.h"
#include "base/log.h"
#include "vm/lua_core.h"

#include <lauxlib.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  UNSENT_MAX = 64 * 1024,        /* more makes a writer wait */
  READ_MAX = 64 * 1024 * 1024,   /* bytes of one read */
  WRITE_MAX = 1024 * 1024 * 1024 /* bytes of one write: what a buffer holds */
};

static const char box_name[] = "weft stream";
static const double max_seconds = 100 * 365 * 86400.0; /* a century */

static const weft_stream_events_t events;

uint64_t weft_lua_check_ms(lua_State *L, int index)
{
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "seconds must not be negative");
  return (uint64_t)ceil(1e3 * (seconds < max_seconds ? seconds : max_seconds));
}

void weft_lua_set_timer(weft_loop_t *loop, weft_timer_t *timer, uint64_t ms)
{
  uv_update_time(&loop->uv); /* the script may have computed for a while */
  weft_timer_set(loop, timer, weft_loop_now(loop) + ms);
}

/* ---- waiting ------------------------------------------------------------- */

/* Keeps the box from being collected while a task waits: the task may have
 * nothing but its wait. The box is at stack place 1. May raise. */
static void pin(lua_State *L, weft_lua_stream_t *it)
{
  if (it->waiting == 0) {
    lua_pushvalue(L, 1);
    it->pin = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  it->waiting++;
}

static void unpin(weft_lua_stream_t *it)
{
  if (--it->waiting == 0)
    luaL_unref(it->generation->L, LUA_REGISTRYINDEX, it->pin);
}

/* Resumes the reader with a status and a number of bytes. */
static void finish_reader(weft_lua_stream_t *it, int status, size_t len)
{
  lua_State *co = weft_await_push(it->reader, status);
  if (!co)
    return;
  weft_timer_clear(it->stream.loop, &it->read_timer);
  unpin(it);
  lua_pushnumber(co, (double)len);
  weft_await_end(it->reader);
}

static void finish_writer(weft_lua_stream_t *it, int status)
{
  if (!weft_await_live(it->writer))
    return;
  weft_timer_clear(it->stream.loop, &it->write_timer);
  unpin(it);
  weft_await_finish(it->writer, status);
}

/* ---- reading ------------------------------------------------------------- */

/* Reads ahead once, so that the end of an idle stream is noticed; beyond that
 * only for a reader. That bounds `in` to a reader's limit and one read more. */
static void update_reading(weft_lua_stream_t *it)
{
  if (it->readable && !it->status && !it->lingering &&
      (!it->in.len || weft_await_live(it->reader)))
    weft_stream_read_start(&it->stream);
  else
    weft_stream_read_stop(&it->stream);
}

/* The bytes up to and with the delimiter; 0 if it has not arrived. */
static size_t find_delimiter(weft_lua_stream_t *it)
{
  if (it->in.len < it->delimiter_len)
    return 0;
  const char *bytes = weft_buf_bytes(&it->in);
  const char *found = memmem(bytes + it->scanned, it->in.len - it->scanned,
                             it->delimiter, it->delimiter_len);
  if (found)
    return (size_t)(found - bytes) + it->delimiter_len;
  it->scanned = it->in.len - (it->delimiter_len - 1);
  return 0;
}

/* Whether there is an answer for who wants what `it` says: 0 with what he may
 * take, UV_EAGAIN, or an error with what arrived before it. */
static int check_wanted(weft_lua_stream_t *it, size_t *len)
{
  size_t there = it->in.len;
  *len = 0;
  switch (it->want) {
  case WEFT_WANT_SOME:
    *len = there < it->limit ? there : it->limit;
    break;
  case WEFT_WANT_COUNT:
    *len = there >= it->limit ? it->limit : 0;
    break;
  case WEFT_WANT_DELIMITER:
    *len = find_delimiter(it);
    if (*len > it->limit || (!*len && there > it->limit))
      return UV_EMSGSIZE;
    break;
  case WEFT_WANT_SECURE:
    return it->status ? it->status : it->readable ? 0 : UV_EAGAIN;
  case WEFT_WANT_ALL:
    if (there > it->limit)
      return UV_EMSGSIZE;
    if (it->status == UV_EOF) {
      *len = there;
      return 0;
    }
    break;
  }
  if (*len)
    return 0;
  *len = there;
  return it->status ? it->status : UV_EAGAIN;
}

/* Something arrived, or the end did: the reader may have his answer. */
static void answer_reader(weft_lua_stream_t *it)
{
  size_t len;
  if (weft_await_live(it->reader)) {
    int status = check_wanted(it, &len);
    if (status != UV_EAGAIN)
      finish_reader(it, status, len);
  }
  update_reading(it);
}

static void on_read(weft_stream_t *stream, const char *bytes, size_t len)
{
  weft_lua_stream_t *it = (weft_lua_stream_t *)stream;
  if (!it->in.data)
    weft_loop_lend(stream->loop, &it->in);
  weft_buf_append(&it->in, bytes, len);
  answer_reader(it);
}

static void on_end(weft_stream_t *stream)
{
  weft_lua_stream_t *it = (weft_lua_stream_t *)stream;
  it->status = UV_EOF;
  answer_reader(it);
}

/* What the peer sent before a write failed is still in the kernel: a server
 * that refuses a request answers and closes while we are writing. */
static void read_rest(weft_lua_stream_t *it)
{
  while (it->readable && it->in.len < WEFT_READ_SIZE) {
    size_t len = weft_stream_read_rest(
        &it->stream, weft_buf_reserve(&it->in, WEFT_READ_SIZE), WEFT_READ_SIZE);
    if (!len)
      return;
    weft_buf_commit(&it->in, len);
  }
}

static void on_error(weft_stream_t *stream, int status)
{
  weft_lua_stream_t *it = (weft_lua_stream_t *)stream;
  if (it->lingering) {
    weft_lua_stream_close(it, false, 0);
    return;
  }
  it->write_status = status;
  if (!it->status) {
    read_rest(it);
    it->status = status;
  }
  answer_reader(it);
  finish_writer(it, status);
}

static void on_read_timer(weft_timer_t *timer)
{
  finish_reader(WEFT_LIST_ENTRY(timer, weft_lua_stream_t, read_timer),
                UV_ETIMEDOUT, 0);
}

static void cancel_read(void *operation, weft_await_t await)
{
  (void)await;
  finish_reader(operation, UV_ECANCELED, 0);
}

/* ---- writing ------------------------------------------------------------- */

static void on_drain(weft_stream_t *stream)
{
  weft_lua_stream_t *it = (weft_lua_stream_t *)stream;
  if (it->lingering)
    weft_lua_stream_close(it, false, 0);
  else
    finish_writer(it, 0);
}

static void on_turn(weft_stream_t *stream) { weft_stream_flush(stream); }

static void on_write_timer(weft_timer_t *timer)
{
  weft_lua_stream_t *it =
      WEFT_LIST_ENTRY(timer, weft_lua_stream_t, write_timer);
  if (it->lingering)
    weft_lua_stream_close(it, false, 0);
  else
    finish_writer(it, UV_ETIMEDOUT);
}

static void cancel_write(void *operation, weft_await_t await)
{
  (void)await;
  finish_writer(operation, UV_ECANCELED);
}

/* ---- the beginning and the end ------------------------------------------- */

static void close_resource(weft_resource_t *resource)
{
  weft_lua_stream_close(WEFT_LIST_ENTRY(resource, weft_lua_stream_t, resource),
                        false, 0);
}

weft_lua_stream_t **weft_lua_stream_box(lua_State *L)
{
  weft_lua_stream_t **box = lua_newuserdata(L, sizeof(*box));
  *box = NULL;
  luaL_getmetatable(L, box_name);
  lua_setmetatable(L, -2);
  return box;
}

void weft_lua_stream_adopt(weft_lua_stream_t *it,
                           weft_generation_t *generation,
                           weft_lua_stream_t **box)
{
  it->stream.events = &events;
  it->generation = generation;
  it->box = box;
  *box = it;
  weft_timer_init(&it->read_timer, on_read_timer);
  weft_timer_init(&it->write_timer, on_write_timer);
  weft_resource_open(generation, &it->resource, close_resource);
}

weft_lua_stream_t *weft_lua_stream_open(lua_State *L, bool unix_socket)
{
  weft_generation_t *generation = weft_generation_of(L);
  weft_lua_stream_t **box = weft_lua_stream_box(L);
  weft_lua_stream_t *it = weft_calloc(sizeof(*it));
  weft_stream_open(&it->stream, generation->loop, unix_socket, &events);
  weft_lua_stream_adopt(it, generation, box);
  return it;
}

void weft_lua_stream_start(weft_lua_stream_t *it)
{
  it->readable = true;
  update_reading(it);
}

static void on_secured(void *data, int status)
{
  weft_lua_stream_t *it = data;
  it->status = it->write_status = status;
  it->readable = status == 0;
  answer_reader(it);
}

void weft_lua_stream_secure(weft_lua_stream_t *it, weft_tls_t *tls)
{
  weft_stream_secure(&it->stream, tls, on_secured, it);
}

void weft_lua_stream_close(weft_lua_stream_t *it, bool reset, uint64_t linger)
{
  if (it->stream.closing)
    return;
  if (it->box) {
    *it->box = NULL;
    it->box = NULL;
  }
  bool unsent = !it->write_status && weft_stream_unsent(&it->stream);
  it->lingering = unsent && linger && !reset;
  if (it->lingering) {
    weft_stream_read_stop(&it->stream);
  } else {
    weft_timer_clear(it->stream.loop, &it->read_timer);
    weft_timer_clear(it->stream.loop, &it->write_timer);
    weft_stream_close(&it->stream, reset);
  }
  /* tasks that are resumed here find it closed */
  finish_reader(it, UV_ECONNABORTED, 0);
  finish_writer(it, UV_ECONNABORTED);
  if (it->lingering && !it->stream.closing)
    weft_lua_set_timer(it->stream.loop, &it->write_timer, linger);
}

static void on_closed(weft_stream_t *stream)
{
  weft_lua_stream_t *it = (weft_lua_stream_t *)stream;
  if (it->collected && !it->of_program)
    weft_log(WEFT_LOG_WARN, "a script forgot to close a socket");
  weft_buf_deinit(&it->in);
  weft_resource_closed(it->generation, &it->resource);
  free(it);
}

static const weft_stream_events_t events = {.on_read = on_read,
                                            .on_end = on_end,
                                            .on_error = on_error,
                                            .on_drain = on_drain,
                                            .on_turn = on_turn,
                                            .on_closed = on_closed};

/* ---- for Lua --------------------------------------------------------------
 */

/* __gc: a safety net. It may run in the middle of anything, so it logs later.
 */
static int l_collected(lua_State *L)
{
  weft_lua_stream_t **box = lua_touserdata(L, 1);
  if (*box) {
    (*box)->collected = true;
    weft_lua_stream_close(*box, false, 0);
  }
  return 0;
}

weft_lua_stream_t *weft_lua_stream_check(lua_State *L)
{
  return *(weft_lua_stream_t **)luaL_checkudata(L, 1, box_name);
}

static int push_status(lua_State *L, int status)
{
  lua_pushinteger(L, status);
  return 1;
}

/* Notes in the stream what is wanted: a number of bytes, a delimiter, true for
 * all, nil for whatever there is. */
static void set_wanted(weft_lua_stream_t *it,
                       int type,
                       const char *delimiter,
                       size_t delimiter_len,
                       size_t limit)
{
  it->limit = limit;
  it->scanned = 0;
  it->want = type == LUA_TNUMBER   ? WEFT_WANT_COUNT
             : type == LUA_TSTRING ? WEFT_WANT_DELIMITER
             : type == LUA_TNIL    ? WEFT_WANT_SOME
                                   : WEFT_WANT_ALL;
  if (delimiter) {
    memcpy(it->delimiter, delimiter, delimiter_len);
    it->delimiter_len = delimiter_len;
  }
}

/* stream_await(box, want, limit, seconds) -> status, len: 0 when `len` bytes
 * can be taken that are what is wanted: a number of bytes, a string that they
 * end with, true for all until the end, nil for whatever there is. With an
 * error, `len` bytes arrived before it. */
static int l_await(lua_State *L)
{
  weft_task_t *task;
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  int type = lua_type(L, 2);
  size_t delimiter_len = 0, len;
  const char *delimiter = NULL;
  if (type == LUA_TSTRING) {
    delimiter = lua_tolstring(L, 2, &delimiter_len);
    luaL_argcheck(L, delimiter_len >= 1 && delimiter_len <= WEFT_DELIMITER_MAX,
                  2, "a delimiter has 1 to 128 bytes");
  }
  double limit = luaL_checknumber(L, type == LUA_TNUMBER ? 2 : 3);
  luaL_argcheck(L, limit >= 1 && limit <= READ_MAX, type == LUA_TNUMBER ? 2 : 3,
                "one read is 1 byte to 64 MiB");
  uint64_t ms = weft_lua_check_ms(L, 4);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (!it)
    return push_status(L, UV_ECONNABORTED);
  if (weft_await_live(it->reader))
    return push_status(L, UV_EBUSY);
  set_wanted(it, type, delimiter, delimiter_len, (size_t)limit);
  int status = check_wanted(it, &len);
  if (status != UV_EAGAIN) {
    push_status(L, status);
    lua_pushnumber(L, (double)len);
    return 2;
  }
  pin(L, it);
  it->reader = weft_await_begin(task, cancel_read, it);
  weft_lua_set_timer(it->stream.loop, &it->read_timer, ms);
  update_reading(it);
  return weft_await_yield(L);
}

/* stream_secured(box, seconds) -> status: waits for the end of the handshake */
static int l_secured(lua_State *L)
{
  weft_task_t *task;
  size_t len;
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  uint64_t ms = weft_lua_check_ms(L, 2);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (!it)
    return push_status(L, UV_ECONNABORTED);
  set_wanted(it, LUA_TNIL, NULL, 0, 0);
  it->want = WEFT_WANT_SECURE;
  int status = check_wanted(it, &len);
  if (status != UV_EAGAIN)
    return push_status(L, status);
  pin(L, it);
  it->reader = weft_await_begin(task, cancel_read, it);
  weft_lua_set_timer(it->stream.loop, &it->read_timer, ms);
  return weft_await_yield(L);
}

/* stream_take(box, len [, strip]) -> the first `len` bytes that arrived,
 * without the last `strip` of them; nil if it is closed */
static int l_take(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  size_t len = (size_t)luaL_checknumber(L, 2);
  size_t strip = (size_t)luaL_optnumber(L, 3, 0);
  if (!it)
    return 0;
  if (len > it->in.len)
    len = it->in.len;
  lua_pushlstring(L, weft_buf_bytes(&it->in), strip < len ? len - strip : 0);
  weft_buf_consume(&it->in, len);
  if (!it->in.len)
    weft_loop_take_back(it->stream.loop, &it->in);
  update_reading(it);
  return 1;
}

/* stream_write(box, bytes or nil, seconds or nil) -> status: writes, and waits
 * while more than a little is unsent; without bytes, until nothing is unsent;
 * without seconds not at all */
static int l_write(lua_State *L)
{
  weft_task_t *task;
  size_t len = 0;
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  const char *bytes = lua_isnil(L, 2) ? NULL : luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, len <= WRITE_MAX, 2, "one write is at most 1 GiB");
  bool wait = !lua_isnil(L, 3);
  uint64_t ms = wait ? weft_lua_check_ms(L, 3) : 0;
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (!it)
    return push_status(L, UV_ECONNABORTED);
  if (it->shut && bytes)
    return push_status(L, UV_EPIPE);
  if (weft_await_live(it->writer))
    return push_status(L, UV_EBUSY);
  if (bytes)
    weft_stream_flush_with(&it->stream, bytes, len);
  if (it->write_status)
    return push_status(L, it->write_status);
  if (!wait || weft_stream_unsent(&it->stream) <= (bytes ? UNSENT_MAX : 0))
    return push_status(L, 0);
  pin(L, it);
  it->writer = weft_await_begin(task, cancel_write, it);
  weft_lua_set_timer(it->stream.loop, &it->write_timer, ms);
  return weft_await_yield(L);
}

/* stream_shutdown(box) -> status */
static int l_shutdown(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  if (!it)
    return push_status(L, UV_ECONNABORTED);
  if (!it->shut && !it->write_status) {
    it->shut = true;
    weft_stream_shutdown(&it->stream);
  }
  return push_status(L, it->write_status);
}

/* stream_close(box, reset, linger seconds): fine twice */
static int l_close(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  uint64_t linger = weft_lua_check_ms(L, 3);
  if (it)
    weft_lua_stream_close(it, lua_toboolean(L, 2), linger);
  return 0;
}

/* stream_status(box) -> what is known without waiting: 0, UV_EOF or the error
 * that it ended with */
static int l_status(lua_State *L)
{
  weft_lua_stream_t *it = weft_lua_stream_check(L);
  if (!it)
    return push_status(L, UV_ECONNABORTED);
  return push_status(L, it->write_status ? it->write_status : it->status);
}

void weft_core_add_stream(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"stream_await", l_await},       {"stream_secured", l_secured},
      {"stream_take", l_take},         {"stream_write", l_write},
      {"stream_shutdown", l_shutdown}, {"stream_close", l_close},
      {"stream_status", l_status},     {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  luaL_newmetatable(L, box_name);
  lua_pushcfunction(L, l_collected);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

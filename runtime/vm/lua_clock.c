/* The loop's clock for scripts, and virtual time for specs: while the clock is
 * frozen, no time passes but by `clock_advance`, which fires every timer on its
 * way at the moment it is due, and lets what that starts come to rest before
 * the next one. */
#include "base/alloc.h"
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/task.h"

#include <lauxlib.h>

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

enum {
  QUIET_TURNS = 3,         /* turns of the loop without anything to do */
  BUSY_TURNS = 200 * 1000, /* then a write or look-up is waited for no longer */
};

/* A clock_advance that is not done. Made by l_advance, freed by on_closed. */
typedef struct {
  uv_idle_t idle; /* turns the loop without waiting */
  weft_generation_t *generation;
  weft_await_t await;
  uint64_t until;
  unsigned quiet, busy; /* turns in a row */
  bool reached;
} advance_t;

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void finish(advance_t *it, int status)
{
  uv_close((uv_handle_t *)&it->idle, on_closed);
  weft_await_finish(it->await, status);
}

/* Whether something is still to happen without any time passing. On loopback
 * what one end writes is at the other end at once, so an empty poll says that
 * nothing is under way. */
static bool is_busy(advance_t *it)
{
  weft_loop_t *loop = it->generation->loop;
  struct pollfd poller = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
  if (!weft_list_empty(&it->generation->ready) ||
      !weft_list_empty(&loop->touched) || poll(&poller, 1, 0) > 0)
    return true;
  return loop->uv.active_reqs.count > 0 && ++it->busy < BUSY_TURNS;
}

static void on_turn(uv_idle_t *idle)
{
  advance_t *it = idle->data;
  if (is_busy(it)) {
    it->quiet = 0;
    return;
  }
  if (++it->quiet < QUIET_TURNS)
    return;
  it->quiet = it->busy = 0;
  if (it->reached)
    finish(it, 0);
  else
    it->reached = weft_loop_advance(it->generation->loop, it->until);
}

static void cancel_advance(void *operation, weft_await_t await)
{
  (void)await;
  finish(operation, UV_ECANCELED);
}

/* clock_advance(seconds) -> status; only while the clock is frozen */
static int l_advance(lua_State *L)
{
  weft_task_t *task;
  double seconds = luaL_checknumber(L, 1);
  weft_generation_t *generation = weft_generation_of(L);
  weft_loop_t *loop = generation->loop;
  luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds, not negative");
  if (!loop->frozen)
    return luaL_error(L, "the clock is not frozen: call freeze first");
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  advance_t *it = weft_calloc(sizeof(*it));
  it->generation = generation;
  it->until = weft_loop_now(loop) + (uint64_t)ceil(seconds * 1e3);
  uv_idle_init(&loop->uv, &it->idle);
  it->idle.data = it;
  uv_idle_start(&it->idle, on_turn);
  it->await = weft_await_begin(task, cancel_advance, it);
  return weft_await_yield(L);
}

/* clock_freeze(frozen) */
static int l_freeze(lua_State *L)
{
  weft_loop_freeze(weft_generation_of(L)->loop, lua_toboolean(L, 1));
  return 0;
}

/* now() -> seconds of the loop's clock, constant within one turn */
static int l_now(lua_State *L)
{
  lua_pushnumber(L, (double)weft_loop_now(weft_generation_of(L)->loop) / 1e3);
  return 1;
}

/* time() -> seconds since 1970, with fractions; virtual time counts */
static int l_time(lua_State *L)
{
  weft_loop_t *loop = weft_generation_of(L)->loop;
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  int64_t ahead = (int64_t)(weft_loop_now(loop) - uv_now(&loop->uv));
  lua_pushnumber(L, (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 +
                        (double)ahead / 1e3);
  return 1;
}

void weft_core_add_clock(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"clock_advance", l_advance},
      {"clock_freeze", l_freeze},
      {"now", l_now},
      {"time", l_time},
      {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
}

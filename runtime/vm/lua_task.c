/* Tasks as Lua sees them: start one, wait, wake, cancel. Everything that tasks
 * use among themselves (await, channels, semaphores) is Lua on top of `park`
 * and `wake`; a sleep is a park that nobody can wake. */
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/task.h"

#include <lauxlib.h>

#include <math.h>

static const double max_seconds = 100 * 365 * 86400.0; /* a century */

/* Many may be due at once: they take turns with what sockets have to say. */
static void on_timer(weft_timer_t *timer)
{
  weft_task_t *task = WEFT_LIST_ENTRY(timer, weft_task_t, timer);
  weft_await_t await = {task, task->stamp};
  if (weft_await_push(await, UV_ETIMEDOUT))
    weft_await_end_later(await);
}

static void cancel_sleep(void *operation, weft_await_t await)
{
  weft_task_t *task = operation;
  weft_timer_clear(task->generation->loop, &task->timer);
  weft_await_finish(await, UV_ECANCELED);
}

/* The same; that it is another function tells wake what it may end. */
static void cancel_park(void *operation, weft_await_t await)
{
  cancel_sleep(operation, await);
}

static int
wait(lua_State *L, weft_task_t *task, weft_cancel_cb cancel, double seconds)
{
  weft_await_begin(task, cancel, task);
  if (seconds >= 0) {
    weft_loop_t *loop = task->generation->loop;
    weft_loop_update(loop); /* the script may have computed for a while */
    weft_timer_init(&task->timer, on_timer);
    weft_timer_set(loop, &task->timer,
                   weft_loop_now(loop) + (uint64_t)ceil(seconds * 1e3));
  }
  return weft_await_yield(L);
}

static double check_seconds(lua_State *L, int index)
{
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "seconds must not be negative");
  return seconds < max_seconds ? seconds : max_seconds;
}

/* yield_once() -> status: lets whoever else is ready have a turn, and sockets
 * and timers too */
static int l_yield_once(lua_State *L)
{
  weft_task_t *task;
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  task->turn = true;
  return wait(L, task, cancel_sleep, -1);
}

/* sleep(seconds) -> status: ETIMEDOUT when the time is over */
static int l_sleep(lua_State *L)
{
  weft_task_t *task;
  double seconds = check_seconds(L, 1);
  if (seconds == 0)
    return l_yield_once(L);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  return wait(L, task, cancel_sleep, seconds);
}

/* ticket() -> handle, stamp: what wake needs to end this task's next park. The
 * tickets before are void. Raises where no wait is possible. */
static int l_ticket(lua_State *L)
{
  weft_task_t *task = weft_await_check(L);
  task->stamp += 2;
  task->woken = false;
  lua_pushnumber(L, task->handle);
  lua_pushnumber(L, (double)task->stamp);
  return 2;
}

/* park([seconds]) -> status: 0 when somebody called wake with the ticket that
 * this task took last, ETIMEDOUT when the time is over. Any other wait between
 * the two makes the ticket void. */
static int l_park(lua_State *L)
{
  weft_task_t *task;
  double seconds = lua_isnoneornil(L, 1) ? -1 : check_seconds(L, 1);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  if (task->woken) {
    task->woken = false;
    lua_pushinteger(L, 0);
    return 1;
  }
  return wait(L, task, cancel_park, seconds);
}

/* wake(handle, stamp) -> whether it was still waiting for that: then its park
 * returns 0, in spite of a cancellation that comes in between. Once for each
 * ticket. */
static int l_wake(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  weft_task_t *task = weft_task_get(generation, luaL_checknumber(L, 1));
  uint64_t ticket = (uint64_t)luaL_checknumber(L, 2);
  bool live = false;
  if (task && task->state == WEFT_TASK_PARKED) {
    live = task->cancel == cancel_park && task->stamp == ticket + 1;
    if (live) {
      weft_timer_clear(generation->loop, &task->timer);
      weft_await_finish((weft_await_t){task, task->stamp}, 0);
    }
  } else if (task) { /* it has not parked yet */
    live = task->stamp == ticket && !task->woken;
    task->woken = task->woken || live;
  }
  lua_pushboolean(L, live);
  return 1;
}

/* spawn(background, record, fn, ...) -> handle: starts fn(...) at the loop's
 * next turn, as a child of the running task unless it is a background task.
 * `record` is the task's table, which `finish` gets at its end. */
static int l_spawn(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  bool background = lua_toboolean(L, 1);
  int count = lua_gettop(L) - 2;
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  if (!background && !generation->current)
    return luaL_error(L, "cannot spawn here: no task is running");
  if (generation->task_count >= WEFT_TASKS_MAX)
    return luaL_error(L, "too many tasks: %d are alive", WEFT_TASKS_MAX);
  lua_pushvalue(L, 2);
  int record_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  weft_task_t *task =
      weft_task_new(generation, background ? NULL : generation->current);
  if (!lua_checkstack(task->co, count)) {
    weft_task_discard(task);
    luaL_unref(L, LUA_REGISTRYINDEX, record_ref);
    return luaL_error(L, "too many arguments");
  }
  lua_xmove(L, task->co, count);
  task->record_ref = record_ref;
  weft_task_schedule(task);
  lua_pushnumber(L, task->handle);
  return 1;
}

/* record() -> the running task's table, made when first asked for; nil outside
 * of a task. record(false) does not make one. */
static int l_record(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  if (!task)
    return 0;
  if (task->record_ref == LUA_NOREF) {
    if (lua_isboolean(L, 1) && !lua_toboolean(L, 1))
      return 0;
    lua_newtable(L);
    task->record_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, task->record_ref);
  return 1;
}

/* cancel(handle) */
static int l_cancel(lua_State *L)
{
  weft_task_t *task =
      weft_task_get(weft_generation_of(L), luaL_checknumber(L, 1));
  if (task)
    weft_task_cancel(task, false);
  return 0;
}

/* cancelled() -> whether the running task's next wait raises; whether a
 * deadline is the reason, even while that is held up by a mask */
static int l_cancelled(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  lua_pushboolean(L, task && weft_task_is_interrupted(task));
  lua_pushboolean(L, task && task->overdue);
  return 2;
}

/* mask(on): while masked, cancellation waits. Calls nest. */
static int l_mask(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  if (task && lua_toboolean(L, 1))
    weft_task_mask(task);
  else if (task && task->masked)
    weft_task_unmask(task);
  return 0;
}

/* set_no_await(reason or nil): makes every wait raise this until it is nil. The
 * caller keeps the string. */
static int l_set_no_await(lua_State *L)
{
  weft_generation_of(L)->no_await = lua_tostring(L, 1);
  return 0;
}

/* set_patience(defer, close): seconds that deferred functions may wait, and
 * that shields hold up the end of the generation: so that specs need not wait
 */
static int l_set_patience(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  generation->defer_time = (uint32_t)(1e3 * luaL_checknumber(L, 1));
  generation->close_time = (uint32_t)(1e3 * luaL_checknumber(L, 2));
  return 0;
}

static int l_is_task_thread(lua_State *L)
{
  lua_pushlightuserdata(L, weft_generation_of(L));
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  lua_pushboolean(L, lua_toboolean(L, -1));
  return 1;
}

/* task_thread() -> the running task's coroutine, nil outside of a task */
static int l_task_thread(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  if (!task)
    return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, task->co_ref);
  return 1;
}

/* task_count() -> tasks of this generation that have not ended */
static int l_task_count(lua_State *L)
{
  lua_pushinteger(L, weft_generation_of(L)->task_count);
  return 1;
}

void weft_core_add_task(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"sleep", l_sleep},
      {"park", l_park},
      {"ticket", l_ticket},
      {"wake", l_wake},
      {"spawn", l_spawn},
      {"record", l_record},
      {"cancel", l_cancel},
      {"cancelled", l_cancelled},
      {"mask", l_mask},
      {"set_no_await", l_set_no_await},
      {"yield_once", l_yield_once},
      {"set_patience", l_set_patience},
      {"is_task_thread", l_is_task_thread},
      {"task_thread", l_task_thread},
      {"task_count", l_task_count},
      {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  lua_pushlightuserdata(L, weft_await_mark());
  lua_setfield(L, -2, "AWAIT");
}

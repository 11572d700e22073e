/* Tasks as Lua sees them: start one, wait, wake, cancel. Everything that tasks
 * use among themselves (await, channels, semaphores) is Lua on top of `park`
 * and `wake`; a sleep is a park that nobody can wake. */
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/task.h"

#include <lauxlib.h>

#include <math.h>

static const double max_seconds = 100 * 365 * 86400.0; /* a century */

static void on_timer(weft_timer_t *timer)
{
  weft_task_t *task = WEFT_LIST_ENTRY(timer, weft_task_t, timer);
  weft_await_finish((weft_await_t){task, task->stamp}, UV_ETIMEDOUT);
}

static void cancel_park(void *operation, weft_await_t await)
{
  weft_task_t *task = operation;
  weft_timer_clear(task->generation->loop, &task->timer);
  weft_await_finish(await, UV_ECANCELED);
}

static int park(lua_State *L, weft_task_t *task, double seconds)
{
  weft_await_begin(task, cancel_park, task);
  if (seconds >= 0) {
    weft_loop_t *loop = task->generation->loop;
    uv_update_time(&loop->uv); /* the script may have computed for a while */
    weft_timer_init(&task->timer, on_timer);
    weft_timer_set(
        loop, &task->timer, weft_loop_now(loop) + (uint64_t)ceil(seconds * 1e3));
  }
  return weft_await_yield(L);
}

static double check_seconds(lua_State *L, int index)
{
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "seconds must not be negative");
  return seconds < max_seconds ? seconds : max_seconds;
}

/* sleep(seconds) -> status: ETIMEDOUT when the time is over */
static int l_sleep(lua_State *L)
{
  weft_task_t *task;
  double seconds = check_seconds(L, 1);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  task->woken = false;
  return park(L, task, seconds);
}

/* park([seconds]) -> status: 0 when somebody called wake with a ticket that
 * this task took since its last park, ETIMEDOUT when the time is over. */
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
  return park(L, task, seconds);
}

/* ticket() -> handle, stamp: what wake needs to end this task's next park */
static int l_ticket(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  if (!task)
    return luaL_error(L, "cannot wait here: no task is running");
  task->woken = false;
  lua_pushnumber(L, task->handle);
  lua_pushinteger(L, (lua_Integer)(task->stamp & 0x7fffffff));
  return 2;
}

/* wake(handle, stamp) -> whether it was still waiting for that */
static int l_wake(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  weft_task_t *task = weft_task_get(generation, luaL_checknumber(L, 1));
  uint32_t ticket = (uint32_t)luaL_checkinteger(L, 2);
  bool live = false;
  if (task && task->state == WEFT_TASK_PARKED) {
    /* a park that began after the ticket has the next stamp */
    live = task->cancel == cancel_park &&
           (task->stamp & 0x7fffffff) == ((ticket + 1) & 0x7fffffff);
    if (live) {
      weft_timer_clear(generation->loop, &task->timer);
      weft_await_finish((weft_await_t){task, task->stamp}, 0);
    }
  } else if (task) { /* it has not parked yet */
    live = (task->stamp & 0x7fffffff) == ticket;
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
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  if (!background && !generation->current)
    return luaL_error(L, "cannot spawn here: no task is running");
  weft_task_t *task =
      weft_task_new(generation, background ? NULL : generation->current);
  double handle = task->handle;
  int count = lua_gettop(L) - 2;
  if (!lua_checkstack(task->co, count))
    return luaL_error(L, "too many arguments");
  lua_xmove(L, task->co, count);
  task->record_ref = luaL_ref(L, LUA_REGISTRYINDEX); /* pops the record */
  weft_task_schedule(task);
  lua_pushnumber(L, handle);
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

/* cancelled() -> whether the running task is, and whether by a deadline */
static int l_cancelled(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  lua_pushboolean(L, task && task->cancelled && !task->masked);
  lua_pushboolean(L, task && task->overdue);
  return 2;
}

/* mask(on): while masked, cancellation waits. Calls nest. */
static int l_mask(lua_State *L)
{
  weft_task_t *task = weft_task_current(L);
  if (task && lua_toboolean(L, 1))
    task->masked++;
  else if (task && task->masked)
    task->masked--;
  return 0;
}

/* set_no_await(reason or nil): makes every wait raise this until it is nil */
static int l_set_no_await(lua_State *L)
{
  weft_generation_of(L)->no_await = lua_tostring(L, 1);
  return 0;
}

/* yield_once() -> status: resumes at the loop's next turn */
static int l_yield_once(lua_State *L)
{
  weft_task_t *task;
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  task->woken = false;
  return park(L, task, 0);
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
      {"is_task_thread", l_is_task_thread},
      {"task_thread", l_task_thread},
      {"task_count", l_task_count},
      {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  lua_pushlightuserdata(L, weft_await_mark());
  lua_setfield(L, -2, "AWAIT");
}

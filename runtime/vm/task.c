#include "vm/task.h"

#include "base/alloc.h"
#include "base/log.h"
#include "vm/generation.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdlib.h>

enum {
  SPARE_MAX = 1024, /* ended tasks that keep their coroutine */
  IGNORED_MAX = 100 /* cancellations a script may swallow */
};

/* What a coroutine yields so that the loop, and our coroutine.resume on the
 * way, knows a wait from a script's own yield: an address nobody else has. */
static char await_mark;

static void finished(weft_task_t *task);

static void wake_loop(weft_generation_t *generation)
{
  if (!uv_is_active((uv_handle_t *)&generation->idle))
    uv_idle_start(&generation->idle, weft_task_on_ready);
}

static void enqueue(weft_task_t *task)
{
  if (weft_list_empty(&task->ready))
    weft_list_push(&task->generation->ready, &task->ready);
  wake_loop(task->generation);
}

/* ---- coroutines ---------------------------------------------------------- */

static void give_coroutine(weft_task_t *task)
{
  if (task->co)
    return;
  lua_State *L = task->generation->L;
  task->co = lua_newthread(L);
  lua_pushlightuserdata(L, task->generation); /* the set of task threads */
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  task->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void drop_coroutine(weft_task_t *task)
{
  if (!task->co)
    return;
  luaL_unref(task->generation->L, LUA_REGISTRYINDEX, task->co_ref);
  task->co = NULL;
}

weft_task_t *weft_task_new(weft_generation_t *generation, weft_task_t *parent)
{
  weft_task_t *task;
  if (weft_list_empty(&generation->spare)) {
    task = weft_calloc(sizeof(*task));
    task->generation = generation;
    task->record_ref = LUA_NOREF;
    weft_list_init(&task->ready);
  } else { /* the one that ended last: its memory is still in the cache */
    task = WEFT_LIST_ENTRY(generation->spare.prev, weft_task_t, ready);
    weft_list_remove(&task->ready);
    generation->spare_count--;
  }
  task->parent = parent;
  task->handle = weft_handles_open(&generation->tasks, task);
  weft_list_init(&task->children);
  weft_list_push(parent ? &parent->children : &generation->roots,
                 &task->sibling);
  generation->task_count++;
  give_coroutine(task);
  return task;
}

weft_task_t *weft_task_get(weft_generation_t *generation, double handle)
{
  return weft_handles_get(&generation->tasks, handle);
}

weft_task_t *weft_task_current(lua_State *L)
{
  return weft_generation_of(L)->current;
}

/* ---- running ------------------------------------------------------------- */

/* Its coroutine ended by an error, or by yielding what is no await: neither
 * can happen to a function of the library, so it is logged as ours. */
static void log_death(weft_task_t *task, const char *what)
{
  lua_State *L = task->generation->L, *co = task->co;
  const char *message = lua_tostring(co, -1);
  luaL_traceback(L, co, message ? message : what, 0);
  weft_log(WEFT_LOG_ERROR, "%s: %s", what, lua_tostring(L, -1));
  lua_pop(L, 1);
}

void weft_task_run(weft_task_t *task)
{
  weft_generation_t *generation = task->generation;
  assert(!generation->current);
  int count = lua_gettop(task->co);
  if (!task->started) { /* the function itself is not an argument */
    task->started = true;
    count--;
  }
  task->state = WEFT_TASK_RUNNING;
  generation->current = task;
  int status = lua_resume(task->co, count);
  generation->current = NULL;
  bool waits =
      status == LUA_YIELD && lua_touserdata(task->co, -1) == &await_mark;
  if (waits && !task->abandoned) {
    lua_settop(task->co, 0);
    task->state = WEFT_TASK_PARKED;
    if (task->cancelled && !task->masked)
      enqueue(task);
    return;
  }
  if (status != 0) {
    if (status != LUA_YIELD)
      log_death(task, "a task died");
    else if (waits)
      weft_log(WEFT_LOG_WARN,
               "a task that ignored its cancellation %d times was ended",
               IGNORED_MAX);
    else
      log_death(task, "a task yielded from a C function");
    drop_coroutine(task);
  }
  finished(task);
}

void weft_task_schedule(weft_task_t *task)
{
  task->state = WEFT_TASK_READY;
  enqueue(task);
}

static void cancel_await(weft_task_t *task)
{
  task->cancel(task->operation, (weft_await_t){task, task->stamp});
}

void weft_task_on_ready(uv_idle_t *idle)
{
  weft_generation_t *generation = idle->data;
  weft_list_t batch;
  weft_list_move(&generation->ready, &batch);
  while (!weft_list_empty(&batch)) {
    weft_task_t *task = WEFT_LIST_ENTRY(batch.next, weft_task_t, ready);
    weft_list_remove(&task->ready);
    if (task->state == WEFT_TASK_READY)
      weft_task_run(task);
    else if (task->state == WEFT_TASK_PARKED && task->cancelled &&
             !task->masked)
      cancel_await(task);
  }
  if (weft_list_empty(&generation->ready))
    uv_idle_stop(&generation->idle);
  weft_generation_check_end(generation);
}

void weft_task_cancel(weft_task_t *task, bool overdue)
{
  if (task->state == WEFT_TASK_FREE || task->cancelled)
    return;
  task->cancelled = true;
  task->overdue = overdue;
  if (task->state == WEFT_TASK_PARKED && !task->masked)
    enqueue(task);
  for (weft_list_t *it = task->children.next; it != &task->children;
       it = it->next)
    weft_task_cancel(WEFT_LIST_ENTRY(it, weft_task_t, sibling), overdue);
}

/* ---- the end: children, then deferred functions, then the task ----------- */

static void recycle(weft_task_t *task)
{
  weft_generation_t *generation = task->generation;
  weft_task_t *parent = task->parent;
  lua_State *L = generation->L;
  if (task->record_ref != LUA_NOREF)
    luaL_unref(L, LUA_REGISTRYINDEX, task->record_ref);
  weft_handles_close(&generation->tasks, task->handle);
  weft_list_remove(&task->sibling);
  weft_list_remove(&task->ready);
  weft_timer_clear(generation->loop, &task->timer);
  lua_State *co = task->co;
  int co_ref = task->co_ref;
  uint32_t stamp = task->stamp;
  *task = (weft_task_t){.generation = generation,
                        .record_ref = LUA_NOREF,
                        .co = co,
                        .co_ref = co_ref,
                        .stamp = stamp}; /* so that old awaits stay stale */
  generation->task_count--;
  if (++generation->spare_count > SPARE_MAX)
    drop_coroutine(task);
  weft_list_init(&task->ready);
  weft_list_push(&generation->spare, &task->ready);
  if (parent && parent->state == WEFT_TASK_JOINING &&
      weft_list_empty(&parent->children))
    finished(parent);
  else if (generation->closing || generation->on_quiet)
    wake_loop(generation);
}

/* Its function has ended, or one of the steps that follow it. */
static void finished(weft_task_t *task)
{
  if (task->on_done) {
    void (*on_done)(weft_task_t *, void *) = task->on_done;
    task->on_done = NULL;
    on_done(task, task->data);
  }
  if (task->co)
    lua_settop(task->co, 0);
  if (!weft_list_empty(&task->children)) {
    task->state = WEFT_TASK_JOINING;
    for (weft_list_t *it = task->children.next; it != &task->children;
         it = it->next)
      weft_task_cancel(WEFT_LIST_ENTRY(it, weft_task_t, sibling), false);
    return;
  }
  if (task->record_ref != LUA_NOREF && !task->finishing) {
    task->finishing = true;
    task->masked++; /* deferred functions may wait, also after a cancel */
    give_coroutine(task);
    task->started = false;
    lua_rawgeti(
        task->co, LUA_REGISTRYINDEX, task->generation->entries.finish);
    lua_rawgeti(task->co, LUA_REGISTRYINDEX, task->record_ref);
    weft_task_run(task);
    return;
  }
  recycle(task);
}

void weft_task_discard(weft_task_t *task)
{
  lua_settop(task->co, 0);
  recycle(task);
}

void weft_task_free_spare(weft_generation_t *generation)
{
  while (!weft_list_empty(&generation->spare)) {
    weft_task_t *task =
        WEFT_LIST_ENTRY(generation->spare.next, weft_task_t, ready);
    weft_list_remove(&task->ready);
    free(task);
  }
}

/* ---- awaits -------------------------------------------------------------- */

int weft_await_refused(lua_State *L, weft_task_t **out)
{
  weft_generation_t *generation = weft_generation_of(L);
  weft_task_t *task = generation->current;
  if (!task)
    return luaL_error(L, "cannot wait here: no task is running");
  if (generation->no_await)
    return luaL_error(L, "%s", generation->no_await);
  if (!lua_isyieldable(L) || !lua_isyieldable(task->co))
    return luaL_error(L,
                      "cannot wait here: a C function has called back into Lua");
  *out = task;
  if (!task->cancelled || task->masked)
    return 0;
  if (++task->ignored > IGNORED_MAX) { /* no pcall can swallow this */
    task->abandoned = true;
    return weft_await_yield(L);
  }
  lua_pushinteger(L, UV_ECANCELED);
  return 1;
}

weft_await_t weft_await_begin(weft_task_t *task,
                              weft_cancel_cb cancel,
                              void *operation)
{
  assert(task->state == WEFT_TASK_RUNNING && !(task->stamp & 1));
  task->stamp++;
  task->cancel = cancel;
  task->operation = operation;
  return (weft_await_t){task, task->stamp};
}

void *weft_await_mark(void) { return &await_mark; }

int weft_await_yield(lua_State *L)
{
  lua_pushlightuserdata(L, &await_mark);
  return lua_yield(L, 1);
}

bool weft_await_live(weft_await_t await)
{
  return await.task && await.task->stamp == await.stamp;
}

lua_State *weft_await_push(weft_await_t await, int status)
{
  if (!weft_await_live(await))
    return NULL;
  lua_State *co = await.task->co;
  lua_settop(co, 0);
  lua_pushinteger(co, status);
  return co;
}

void weft_await_end(weft_await_t await)
{
  weft_task_t *task = await.task;
  assert(weft_await_live(await) && task->state == WEFT_TASK_PARKED);
  task->stamp++;
  if (task->generation->current)
    weft_task_schedule(task);
  else
    weft_task_run(task);
}

void weft_await_finish(weft_await_t await, int status)
{
  if (weft_await_push(await, status))
    weft_await_end(await);
}

#include "vm/task.h"

#include "base/alloc.h"
#include "base/log.h"
#include "vm/generation.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdlib.h>

enum {
  SPARE_MAX = 1024,   /* coroutines that ended tasks keep for others */
  REPORTED_MAX = 5,   /* tracebacks of tasks that wait for ever */
  IGNORED_MAX = 100,  /* cancellations a script may swallow */
  TURN_TIME = 1000000 /* ns that tasks run before the loop sees to sockets */
};

/* What a coroutine yields so that the loop, and our coroutine.resume on the
 * way, knows a wait from a script's own yield: an address nobody else has. */
static char await_mark;

static void ended(weft_task_t *task, int status);
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

/* ---- beginning ----------------------------------------------------------- */

/* May raise if Lua has no memory. */
static void give_coroutine(weft_task_t *task)
{
  if (task->co)
    return;
  lua_State *L = task->generation->L;
  lua_State *co = lua_newthread(L);
  lua_pushlightuserdata(L, task->generation); /* the set of task threads */
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  task->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  task->co = co;
}

static void drop_coroutine(weft_task_t *task)
{
  luaL_unref(task->generation->L, LUA_REGISTRYINDEX, task->co_ref);
  task->co = NULL;
}

static void drop_record(weft_task_t *task)
{
  luaL_unref(task->generation->L, LUA_REGISTRYINDEX, task->record_ref);
  task->record_ref = LUA_NOREF;
}

/* The list of spare tasks has those without a coroutine in front, and is used
 * from its end: what ended last is still in the processor's cache. */
static void make_spare(weft_task_t *task)
{
  weft_generation_t *generation = task->generation;
  if (task->co && generation->spare_count >= SPARE_MAX)
    drop_coroutine(task);
  if (task->co) {
    generation->spare_count++;
    weft_list_push(&generation->spare, &task->ready);
  } else {
    weft_list_push(generation->spare.next, &task->ready);
  }
}

/* Takes one from there, with a coroutine. If there is no memory for that it
 * raises, and the task stays where it is. */
static weft_task_t *take_spare(weft_generation_t *generation)
{
  if (weft_list_empty(&generation->spare)) {
    weft_task_t *made = weft_calloc(sizeof(*made));
    made->generation = generation;
    made->record_ref = LUA_NOREF;
    make_spare(made);
  }
  weft_task_t *task =
      WEFT_LIST_ENTRY(generation->spare.prev, weft_task_t, ready);
  if (task->co)
    generation->spare_count--;
  else
    give_coroutine(task);
  weft_list_remove(&task->ready);
  return task;
}

weft_task_t *weft_task_new(weft_generation_t *generation, weft_task_t *parent)
{
  weft_task_t *task = take_spare(generation);
  task->handle = weft_handles_open(&generation->tasks, task);
  task->parent = parent;
  weft_list_init(&task->children);
  weft_list_push(parent ? &parent->children : &generation->roots,
                 &task->sibling);
  generation->task_count++;
  if (parent) {
    task->cancelled = weft_task_is_interrupted(parent);
    task->overdue = task->cancelled && parent->overdue;
    task->sheltered = parent->masked > 0;
  } else {
    task->cancelled = generation->closing;
  }
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

static void on_bound(weft_timer_t *timer);

static void park(weft_task_t *task)
{
  lua_settop(task->co, 0);
  task->state = WEFT_TASK_PARKED;
  if (task->turn || weft_task_is_interrupted(task))
    enqueue(task);
  if (task->finishing && task->masked && !task->forced && !task->bound.index) {
    weft_generation_t *generation = task->generation;
    weft_timer_init(&task->bound, on_bound);
    weft_timer_set(generation->loop, &task->bound,
                   weft_loop_now(generation->loop) + generation->defer_time);
  }
}

void weft_task_run(weft_task_t *task)
{
  weft_generation_t *generation = task->generation;
  lua_State *co = task->co;
  assert(!generation->current);
  int count = lua_gettop(co);
  if (!task->started) { /* the function itself is not an argument */
    task->started = true;
    count--;
  }
  task->state = WEFT_TASK_RUNNING;
  task->turn = false;
  generation->current = task;
  int status = lua_resume(co, count);
  generation->current = NULL;
  weft_generation_tune(generation);
  if (status == LUA_YIELD && lua_touserdata(co, -1) == &await_mark &&
      task->stamp & 1)
    park(task);
  else
    ended(task, status);
}

void weft_task_schedule(weft_task_t *task)
{
  task->state = WEFT_TASK_READY;
  enqueue(task);
}

static void take_turn(weft_task_t *task)
{
  if (task->state == WEFT_TASK_READY) {
    weft_task_run(task);
  } else if (task->state == WEFT_TASK_JOINING) {
    if (weft_list_empty(&task->children))
      finished(task);
  } else if (task->state == WEFT_TASK_PARKED) {
    weft_await_t await = {task, task->stamp};
    if (weft_task_is_interrupted(task))
      task->cancel(task->operation, await);
    else if (task->turn)
      weft_await_finish(await, UV_ETIMEDOUT);
  }
}

/* Each that is ready now has one turn; who becomes ready meanwhile has his when
 * the loop has seen to sockets and timers, and so has who comes after the time
 * is over. */
void weft_task_on_ready(uv_idle_t *idle)
{
  weft_generation_t *generation = idle->data;
  uint64_t end = uv_hrtime() + TURN_TIME;
  weft_list_t batch;
  weft_list_move(&generation->ready, &batch);
  while (!weft_list_empty(&batch)) {
    weft_task_t *task = WEFT_LIST_ENTRY(batch.next, weft_task_t, ready);
    weft_list_remove(&task->ready);
    take_turn(task);
    if (!weft_list_empty(&batch) && uv_hrtime() >= end)
      break;
  }
  if (!weft_list_empty(&batch)) { /* they go before the new ones */
    while (!weft_list_empty(&generation->ready)) {
      weft_list_t *node = generation->ready.next;
      weft_list_remove(node);
      weft_list_push(&batch, node);
    }
    weft_list_move(&batch, &generation->ready);
  }
  if (weft_list_empty(&generation->ready))
    uv_idle_stop(&generation->idle);
  weft_generation_check_end(generation);
}

/* ---- cancellation -------------------------------------------------------- */

bool weft_task_is_interrupted(const weft_task_t *task)
{
  return task->cancelled && (!task->masked || task->forced);
}

/* The next in the tree below `top`, parents before children: without recursion,
 * as a script decides how deep that is. NULL at its end. */
static weft_task_t *
next_below(const weft_task_t *top, weft_task_t *task, bool enter)
{
  if (enter && !weft_list_empty(&task->children))
    return WEFT_LIST_ENTRY(task->children.next, weft_task_t, sibling);
  for (; task != top; task = task->parent)
    if (task->sibling.next != &task->parent->children)
      return WEFT_LIST_ENTRY(task->sibling.next, weft_task_t, sibling);
  return NULL;
}

static void interrupt(weft_task_t *task)
{
  if (task->state == WEFT_TASK_PARKED && weft_task_is_interrupted(task))
    enqueue(task);
}

void weft_task_cancel(weft_task_t *top, bool overdue)
{
  if (top->state == WEFT_TASK_FREE && !top->handle)
    return;
  for (weft_task_t *task = top; task;) {
    bool reached = !task->cancelled &&
                   (task == top || !(task->sheltered && task->parent->masked));
    if (reached) {
      task->cancelled = true;
      task->overdue = overdue;
      interrupt(task);
    } /* else what is below was told when this one was, or is told later */
    task = next_below(top, task, reached);
  }
}

static void cancel_children(weft_task_t *task)
{
  for (weft_list_t *it = task->children.next; it != &task->children;
       it = it->next)
    weft_task_cancel(WEFT_LIST_ENTRY(it, weft_task_t, sibling), task->overdue);
}

void weft_task_mask(weft_task_t *task)
{
  assert(task->masked < UINT16_MAX);
  task->masked++;
}

void weft_task_unmask(weft_task_t *task)
{
  assert(task->masked);
  if (--task->masked == 0 && task->cancelled)
    cancel_children(task);
}

/* Cancels, through all masks. */
static void force(weft_task_t *top)
{
  for (weft_task_t *task = top; task; task = next_below(top, task, true)) {
    task->cancelled = task->forced = true;
    interrupt(task);
  }
}

/* Logs what is wrong with a task, and where it is. */
static void report(weft_task_t *task, const char *what, const char *detail)
{
  lua_State *L = task->generation->L;
  if (task->co)
    luaL_traceback(L, task->co, detail, 0);
  else
    lua_pushstring(L, detail);
  weft_log(WEFT_LOG_ERROR, "%s: %s", what, lua_tostring(L, -1));
  lua_pop(L, 1);
}

void weft_task_report_waiting(weft_generation_t *generation)
{
  int left = REPORTED_MAX;
  for (weft_list_t *it = generation->roots.next; it != &generation->roots;
       it = it->next) {
    weft_task_t *root = WEFT_LIST_ENTRY(it, weft_task_t, sibling);
    for (weft_task_t *task = root; task; task = next_below(root, task, true))
      if (task->state == WEFT_TASK_PARKED && weft_list_empty(&task->children) &&
          left-- > 0)
        report(task, "a task waits for what can never come", NULL);
  }
}

static void on_bound(weft_timer_t *timer)
{
  weft_task_t *task = WEFT_LIST_ENTRY(timer, weft_task_t, bound);
  if (!task->masked)
    return; /* they are through: it lingers, to be awaited */
  report(task, "deferred functions have waited for too long", "cancelled here");
  force(task);
}

static void on_patience(weft_timer_t *timer)
{
  weft_generation_t *generation =
      WEFT_LIST_ENTRY(timer, weft_generation_t, patience);
  weft_log(WEFT_LOG_WARN,
           "%u tasks ran on for too long after they were cancelled",
           generation->task_count);
  for (weft_list_t *it = generation->roots.next; it != &generation->roots;
       it = it->next)
    force(WEFT_LIST_ENTRY(it, weft_task_t, sibling));
}

void weft_task_close_all(weft_generation_t *generation)
{
  weft_loop_t *loop = generation->loop;
  for (weft_list_t *it = generation->roots.next; it != &generation->roots;
       it = it->next)
    weft_task_cancel(WEFT_LIST_ENTRY(it, weft_task_t, sibling), false);
  if (generation->task_count) {
    weft_loop_freeze(loop, false); /* a spec may have left it frozen */
    weft_timer_init(&generation->patience, on_patience);
    weft_timer_set(loop, &generation->patience,
                   weft_loop_now(loop) + generation->close_time);
  }
}

/* ---- the end: children, then deferred functions, then the task ----------- */

/* What a script may have changed of a coroutine itself goes with the task. */
static void restore_globals(lua_State *L, lua_State *co)
{
  if (lua_topointer(co, LUA_GLOBALSINDEX) == lua_topointer(L, LUA_GLOBALSINDEX))
    return;
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_xmove(L, co, 1);
  lua_replace(co, LUA_GLOBALSINDEX);
}

static void recycle(weft_task_t *task)
{
  weft_generation_t *generation = task->generation;
  weft_task_t *parent = task->parent;
  assert(!(task->stamp & 1) && !task->timer.index &&
         weft_list_empty(&task->children));
  if (task->record_ref != LUA_NOREF)
    drop_record(task);
  if (task->co)
    restore_globals(generation->L, task->co);
  weft_handles_close(&generation->tasks, task->handle);
  weft_list_remove(&task->sibling);
  weft_list_remove(&task->ready);
  weft_timer_clear(generation->loop, &task->bound);
  *task = (weft_task_t){.generation = generation,
                        .co = task->co,
                        .co_ref = task->co_ref,
                        .stamp = task->stamp, /* old awaits stay stale */
                        .record_ref = LUA_NOREF};
  weft_list_init(&task->ready);
  make_spare(task);
  generation->task_count--;
  if (parent && parent->state == WEFT_TASK_JOINING)
    enqueue(parent);
  else if (generation->closing || generation->on_quiet)
    wake_loop(generation);
}

/* What ran on its coroutine has come to an end: it returned (0), or raised what
 * no function of the library raises, or yielded and is not resumed again. */
static void ended(weft_task_t *task, int status)
{
  bool abandoned = status == LUA_YIELD && task->ignored > IGNORED_MAX;
  bool again = status == 0 ? lua_toboolean(task->co, 1) : abandoned;
  if (task->finishing && !again)
    drop_record(task);
  if (status != 0) {
    if (abandoned)
      report(task, "a task ignored its cancellation and is ended", NULL);
    else if (status == LUA_YIELD)
      report(task, "a task died", "yielded from a C function");
    else
      report(task, "a task died", lua_tostring(task->co, -1));
    drop_coroutine(task);
  }
  finished(task);
}

/* The next step to its end. */
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
    cancel_children(task);
    return;
  }
  if (task->record_ref == LUA_NOREF) {
    recycle(task);
    return;
  }
  bool first = !task->finishing;
  give_coroutine(task);
  lua_rawgeti(task->co, LUA_REGISTRYINDEX, task->generation->entries.finish);
  lua_rawgeti(task->co, LUA_REGISTRYINDEX, task->record_ref);
  task->started = false;
  task->finishing = true;
  task->ignored = 0;
  task->masked = 1; /* deferred functions may wait, also after a cancel */
  if (first)
    weft_task_run(task);
  else
    weft_task_schedule(task);
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

weft_task_t *weft_await_check(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  if (!generation->current)
    luaL_error(L, "cannot wait here: no task is running");
  if (generation->no_await)
    luaL_error(L, "%s", generation->no_await);
  /* A yield that fails would leave its await behind. Coroutines between the
   * task's own and this one have been looked at: lua/weft/stdlib_coroutine. */
  if (!lua_isyieldable(L) || !lua_isyieldable(generation->current->co))
    luaL_error(L, "cannot wait here: a C function has called back into Lua");
  return generation->current;
}

int weft_await_refused(lua_State *L, weft_task_t **out)
{
  weft_task_t *task = *out = weft_await_check(L);
  if (!weft_task_is_interrupted(task))
    return 0;
  if (++task->ignored > IGNORED_MAX)
    return weft_await_yield(L); /* no pcall can swallow this */
  lua_pushinteger(L, UV_ECANCELED);
  return 1;
}

weft_await_t
weft_await_begin(weft_task_t *task, weft_cancel_cb cancel, void *operation)
{
  assert(task->state == WEFT_TASK_RUNNING && !(task->stamp & 1));
  task->stamp++;
  task->cancel = cancel;
  task->operation = operation;
  task->woken = false;
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

static void end(weft_await_t await)
{
  assert(weft_await_live(await) && await.task->state == WEFT_TASK_PARKED);
  await.task->stamp++;
}

void weft_await_end(weft_await_t await)
{
  end(await);
  if (await.task->generation->current)
    weft_task_schedule(await.task);
  else
    weft_task_run(await.task);
}

void weft_await_end_later(weft_await_t await)
{
  end(await);
  weft_task_schedule(await.task);
}

void weft_await_finish(weft_await_t await, int status)
{
  if (weft_await_push(await, status))
    weft_await_end(await);
}

/* A task: one coroutine that waits for at most one thing at a time, its
 * children, and its end. Only task.c resumes a coroutine, and only from the
 * loop, never from inside a function that Lua called.
 *
 * Awaiting, from a function that Lua calls:
 *
 *     int refused = weft_await_refused(L, &task);   may it wait at all?
 *     if (refused) return refused;
 *     ... check arguments, then start the operation; nothing raises from here
 *     operation->await = weft_await_begin(task, cancel, operation);
 *     return weft_await_yield(L);
 *
 * and when the operation is done, from the loop:
 *
 *     lua_State *co = weft_await_push(operation->await, 0);
 *     if (co) { lua_push...(co, ...); weft_await_end(operation->await); }
 *
 * What the function returns to Lua is a status (0, or a negative libuv code)
 * and what was pushed behind it; lua/weft/await.lua turns that into values,
 * `nil, err` or a raised cancellation. A function that already has its answer
 * returns the same things without waiting. */
#pragma once

#include "base/list.h"
#include "net/loop.h"

#include <lua.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct weft_generation weft_generation_t;
typedef struct weft_task weft_task_t;

enum {
  WEFT_TASKS_MAX = 1 << 20, /* alive at a time; half of the handles */
  WEFT_DEFER_TIME = 30000,  /* ms that deferred functions may wait */
  WEFT_CLOSE_TIME = 5000    /* ms that a shield holds up the generation's end */
};

/* One wait of one task. It is a value: copy it, keep it as long as you like.
 * Once the wait has ended, in whatever way, every copy is stale and does
 * nothing, even when the task waits again or serves another request. */
typedef struct {
  weft_task_t *task;
  uint64_t stamp;
} weft_await_t;

/* Ends the operation behind an await that is cancelled: it must end the await
 * with UV_ECANCELED before it returns. Called from the loop. */
typedef void (*weft_cancel_cb)(void *operation, weft_await_t await);

/*  FREE -> READY -> RUNNING -> PARKED -> READY or RUNNING ...
 *                      |  its function has ended, its children have not
 *                      +-> JOINING -> RUNNING, for what was deferred -> FREE
 * A request's task goes from FREE to RUNNING at once. */
typedef enum {
  WEFT_TASK_FREE,    /* spare, or not yet started */
  WEFT_TASK_READY,   /* in generation->ready, to be resumed */
  WEFT_TASK_RUNNING, /* on the C stack: generation->current */
  WEFT_TASK_PARKED,  /* waits for its await */
  WEFT_TASK_JOINING  /* waits for its children, which were cancelled */
} weft_task_state_t;

/* Its memory lives as long as the generation, so that a stale await can always
 * look at the stamp. All but the first group is reset when a task ends. */
struct weft_task {
  /* kept from one task to the next */
  weft_generation_t *generation;
  lua_State *co;  /* NULL after it died, until another is needed */
  int co_ref;     /* pins it */
  uint64_t stamp; /* odd while an await is pending; only ever grows */
  /* its place */
  double handle;        /* 0 while FREE */
  int record_ref;       /* the Lua side's table of this task; or LUA_NOREF */
  uint8_t state;        /* weft_task_state_t */
  bool started;         /* what runs on co was resumed once */
  bool finishing;       /* that is generation->entries.finish */
  weft_task_t *parent;  /* NULL for a request or a background task */
  weft_list_t children; /* of weft_task_t.sibling */
  weft_list_t sibling;  /* in parent->children, or generation->roots */
  weft_list_t ready;    /* in generation->ready or generation->spare */
  /* waiting */
  weft_cancel_cb cancel; /* of the present await */
  void *operation;
  weft_timer_t timer; /* of a sleep or a park with a time-out */
  bool woken;         /* wake came before park */
  bool turn;          /* parked for nothing but the others' turn */
  /* cancellation */
  bool cancelled;
  bool overdue;       /* cancelled because the request's time is over */
  bool forced;        /* no mask holds the cancellation any longer */
  bool sheltered;     /* started while its parent was masked */
  uint16_t masked;    /* depth of shields: cancellation waits */
  uint16_t ignored;   /* waits that raised it; too many, and it is ended */
  weft_timer_t bound; /* of what deferred functions wait for */
  /* told when the function has ended, before children are joined; what it
   * returned is on co's stack, which is empty if it did not return; or NULL */
  void (*on_done)(weft_task_t *task, void *data);
  void *data;
};

/* A task with nothing to do yet; its function and arguments go onto task->co,
 * then weft_task_run or weft_task_schedule starts it. `parent` may be NULL. If
 * Lua has no memory it raises, and there is no task. A child of a cancelled
 * task is cancelled, and so is every task of a closing generation. */
weft_task_t *weft_task_new(weft_generation_t *generation, weft_task_t *parent);
/* Starts it now; only from the loop. What is on task->co is the function and
 * its arguments. */
void weft_task_run(weft_task_t *task);
/* Gives back one that was never started. */
void weft_task_discard(weft_task_t *task);
/* Starts it at the loop's next turn. */
void weft_task_schedule(weft_task_t *task);
/* Ends its await with UV_ECANCELED, at the loop's next turn, and every later
 * one; its children's too. Fine for a task that has ended. `overdue` says that
 * a deadline is the reason. */
void weft_task_cancel(weft_task_t *task, bool overdue);
/* Whether that is in force: not while the task is masked. */
bool weft_task_is_interrupted(const weft_task_t *task);
/* While masked, the cancellation of a task, and of children it starts
 * meanwhile, waits. Calls nest. */
void weft_task_mask(weft_task_t *task);
void weft_task_unmask(weft_task_t *task);
/* The running task; NULL outside of one. */
weft_task_t *weft_task_current(lua_State *L);
/* The task of a handle, or NULL. */
weft_task_t *weft_task_get(weft_generation_t *generation, double handle);
/* Cancels all tasks of a generation that is closing; what is still there
 * close_time later is cancelled through its masks. */
void weft_task_close_all(weft_generation_t *generation);
/* Logs where tasks wait: for who finds that nothing is left to wake them. */
void weft_task_report_waiting(weft_generation_t *generation);
/* Frees the memory of a generation's tasks; none is alive. */
void weft_task_free_spare(weft_generation_t *generation);
/* uv_idle callback of the generation: runs what is ready. */
void weft_task_on_ready(uv_idle_t *idle);

/* 0, with the running task, if it may wait. Otherwise what the caller returns
 * at once: the cancellation's status is on the stack. Raises where no wait is
 * possible: outside a task, in a message handler, below a C function. */
int weft_await_refused(lua_State *L, weft_task_t **task);
/* Raises where no wait is possible, and gives the running task. */
weft_task_t *weft_await_check(lua_State *L);
weft_await_t
weft_await_begin(weft_task_t *task, weft_cancel_cb cancel, void *operation);
int weft_await_yield(lua_State *L);
/* What a coroutine yields when it waits, so that the loop, and our
 * coroutine.resume on the way, tell it from a script's own yield. */
void *weft_await_mark(void);
/* Whether the wait is still on. */
bool weft_await_live(weft_await_t await);
/* The state to push results on, behind the status; NULL if it is stale. */
lua_State *weft_await_push(weft_await_t await, int status);
/* Ends it: resumes the task now if the loop called us, else at its next turn.
 */
void weft_await_end(weft_await_t await);
/* The same, but always at its next turn: for what ends many at once. */
void weft_await_end_later(weft_await_t await);
/* The common case: a status and nothing behind it. */
void weft_await_finish(weft_await_t await, int status);

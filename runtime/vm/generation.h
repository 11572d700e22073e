/* One loaded copy of the app: a Lua state, its tasks, the handles its scripts
 * hold, and its end. Nothing of it is global, so several can live side by side
 * on one loop while a reload hands over. */
#pragma once

#include "net/loop.h"
#include "vm/handles.h"
#include "vm/task.h"

#include <lua.h>

#include <stdbool.h>
#include <stddef.h>

/* The Lua functions that C calls, as registry references; each is a field of
 * the table that lua/weft/boot.lua returns. */
typedef struct {
  int main;   /* main(command, ...): what a command does, in a task */
  int finish; /* finish(record): runs deferred functions, tells waiters */
  int orphan; /* orphan(traceback, message): logs an error of the runtime */
} weft_entries_t;

/* What a script opened and what ends with its generation at the latest: a
 * socket, a program. It sits inside its owner. */
typedef struct weft_resource {
  weft_list_t node;
  void (*close)(struct weft_resource *resource); /* asynchronous; fine twice */
} weft_resource_t;

struct weft_generation {
  lua_State *L;
  weft_loop_t *loop;
  weft_entries_t entries;
  /* memory */
  lua_Alloc alloc; /* LuaJIT's own, which ours counts */
  void *alloc_data;
  size_t memory; /* bytes in use by Lua */
  bool roomy;    /* the heap is small, so its collector may wait longer */
  /* tasks */
  weft_handles_t tasks;
  weft_task_t *current; /* the one that runs; NULL while C does */
  weft_list_t ready;    /* to be resumed, or to be cancelled */
  weft_list_t spare;    /* ended; the last ones with a coroutine to use again */
  weft_list_t roots;    /* those without a parent */
  uint32_t task_count;
  uint32_t spare_count; /* of the spare ones, those with a coroutine */
  uv_idle_t idle;       /* active while `ready` is not empty */
  const char *no_await; /* why no wait is possible now; NULL if it is */
  /* what it serves */
  weft_handles_t exchanges;
  weft_list_t spare_exchanges;  /* of weft_lua_exchange_t.spare */
  weft_handles_t servers;       /* those that scripts opened (testing) */
  weft_list_t listening;        /* the same, of listening_t.node */
  weft_list_t resources;        /* of weft_resource_t.node */
  struct weft_service *service; /* what `weft run` serves; NULL before that */
  struct weft_pool *pool; /* outgoing connections; borrowed from the worker */
  /* end */
  int exit_code; /* what its command asked the process to end with */
  bool closing;
  weft_timer_t patience; /* with tasks that ignore it, close_time long */
  uint32_t defer_time, close_time; /* ms; see vm/task.h */
  void (*on_quiet)(
      weft_generation_t *generation); /* no task is left; or NULL */
  void (*on_closed)(weft_generation_t *generation);
  void *data; /* of whoever opened it */
};

/* A fresh Lua state with the library in it. `data` is the owner's. */
weft_generation_t *weft_generation_open(weft_loop_t *loop, void *data);
/* Runs main(command, argc arguments from argv) in a task, and calls `on_done`
 * from the loop when it has ended. */
void weft_generation_start(weft_generation_t *generation,
                           const char *command,
                           int argc,
                           char *const *argv,
                           void (*on_done)(weft_task_t *task, void *data),
                           void *data);
/* Cancels what is left of its tasks; when none remains, closes the Lua state,
 * calls on_closed and frees it. */
void weft_generation_close(weft_generation_t *generation,
                           void (*on_closed)(weft_generation_t *generation));
/* Something to be closed once the last task of the generation has ended, which
 * lives on until it says that it is closed. */
void weft_resource_open(weft_generation_t *generation,
                        weft_resource_t *resource,
                        void (*close)(weft_resource_t *resource));
void weft_resource_closed(weft_generation_t *generation,
                          weft_resource_t *resource);
/* For vm/task.c: the last task ended. */
void weft_generation_check_end(weft_generation_t *generation);
/* Fits the collector's pace to the size of the heap; after each resume. */
void weft_generation_tune(weft_generation_t *generation);
/* The generation that a state belongs to. */
weft_generation_t *weft_generation_of(lua_State *L);

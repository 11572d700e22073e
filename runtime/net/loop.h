/* The event loop of a worker with what everything on it shares: the timers, the
 * read buffer, spare write buffers and the Date header. It does not know who
 * uses them. One thread, one loop; nothing here is thread-safe. */
#pragma once

#include "base/buf.h"
#include "base/list.h"

#include <uv.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct weft_loop weft_loop_t;
typedef struct weft_timer weft_timer_t;
typedef void (*weft_timer_cb)(weft_timer_t *timer);

/* A point in time that somebody waits for. It sits inside its owner, who clears
 * it before going away. Setting it to a later time than before costs nothing:
 * the heap finds out when it gets there. */
struct weft_timer {
  weft_timer_cb cb;
  uint64_t due;   /* ms of the loop's clock */
  uint64_t key;   /* what the heap is ordered by: at most `due` */
  uint32_t index; /* place in the heap + 1; 0 while it is in none */
  uint32_t order; /* among those with the same key: as they were set */
};

enum { WEFT_READ_SIZE = 64 * 1024, WEFT_SPARE_BUFS = 64 };

struct weft_loop {
  uv_loop_t uv;
  /* timers */
  uv_timer_t wakeup;   /* armed for the first entry of the heap */
  uint64_t wakeup_at;  /* 0 while it is not armed */
  bool frozen;         /* the clock stands still, but for weft_loop_advance */
  uint64_t frozen_at;  /* what it shows then */
  uint64_t ahead;      /* how far it was advanced beyond libuv's, in all */
  weft_timer_t **heap; /* a binary heap, the earliest key first */
  uint32_t heap_count, heap_cap;
  uint32_t timer_order; /* of the timer that was set last */
  bool firing;          /* callbacks run; `wakeup` is armed behind them */
  /* buffers */
  char *read_buf;  /* every stream reads into it: used before the next read */
  char *plain_buf; /* what was decrypted, likewise; NULL until TLS is used */
  weft_buf_t spare[WEFT_SPARE_BUFS];
  unsigned spare_count;
  /* what must be written before the loop waits again */
  uv_prepare_t before_wait;
  weft_list_t touched; /* of weft_stream_t.touched */
  /* Date */
  char date[30];
  uint64_t date_at; /* the ms at which `date` is too old */
};

void weft_loop_open(weft_loop_t *loop);
/* Runs until nothing is active. */
void weft_loop_run(weft_loop_t *loop);
/* Closes its own handles, turns the loop until they are gone, and frees. Aborts
 * with a list when a handle of somebody else is still open: that is a leak. */
void weft_loop_close(weft_loop_t *loop);
/* Milliseconds of a clock that only goes forward; constant within one turn. */
uint64_t weft_loop_now(weft_loop_t *loop);
/* Looks at the time again, for who computed for a while within one turn. */
void weft_loop_update(weft_loop_t *loop);
/* Virtual time, for tests: freezes the clock of every timer on this loop, or
 * lets it run on from what it shows. */
void weft_loop_freeze(weft_loop_t *loop, bool frozen);
/* Moves the frozen clock to `until`, or to the first timer that is due before
 * it, whose callbacks run then. Returns whether `until` is reached. */
bool weft_loop_advance(weft_loop_t *loop, uint64_t until);
/* The value of the Date header now (RFC 9110 section 5.6.7): 29 characters. */
const char *weft_loop_date(weft_loop_t *loop);

/* Zeroed memory is a timer that is not set, once it has its callback. */
void weft_timer_init(weft_timer_t *timer, weft_timer_cb cb);
/* Calls timer->cb once, from the loop, when its clock reaches `due` (ms); those
 * of the same time in the order they were set in. Replaces an earlier set. */
void weft_timer_set(weft_loop_t *loop, weft_timer_t *timer, uint64_t due);
/* Fine for a timer that is not set. */
void weft_timer_clear(weft_loop_t *loop, weft_timer_t *timer);

/* Lends a buffer with some memory, or takes one back, whatever its size. */
void weft_loop_lend(weft_loop_t *loop, weft_buf_t *buf);
void weft_loop_take_back(weft_loop_t *loop, weft_buf_t *buf);

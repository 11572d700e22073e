#include "net/loop.h"

#include "base/alloc.h"
#include "net/stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SPARE_SIZE = 16 * 1024, FROZEN_WAIT = 3600 * 1000 /* ms */ };

static void on_wakeup(uv_timer_t *wakeup);
static void on_before_wait(uv_prepare_t *prepare);

void weft_loop_open(weft_loop_t *loop)
{
  memset(loop, 0, sizeof(*loop));
  int status = uv_loop_init(&loop->uv);
  assert(status == 0);
  (void)status;
  weft_list_init(&loop->touched);
  uv_timer_init(&loop->uv, &loop->wakeup);
  loop->wakeup.data = loop;
  uv_prepare_init(&loop->uv, &loop->before_wait);
  loop->before_wait.data = loop;
  uv_prepare_start(&loop->before_wait, on_before_wait);
  uv_unref((uv_handle_t *)&loop->before_wait);
  loop->read_buf = weft_alloc(WEFT_READ_SIZE);
}

void weft_loop_run(weft_loop_t *loop) { uv_run(&loop->uv, UV_RUN_DEFAULT); }

static void report_open_handle(uv_handle_t *handle, void *count)
{
  if (uv_is_closing(handle))
    return;
  fprintf(stderr, "weft: a %s handle was left open\n",
          uv_handle_type_name(handle->type));
  ++*(int *)count;
}

void weft_loop_close(weft_loop_t *loop)
{
  uv_close((uv_handle_t *)&loop->wakeup, NULL);
  uv_close((uv_handle_t *)&loop->before_wait, NULL);
  int left_open = 0;
  uv_walk(&loop->uv, report_open_handle, &left_open);
  if (left_open)
    abort();
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  int status = uv_loop_close(&loop->uv);
  assert(status == 0);
  (void)status;
  assert(loop->heap_count == 0);
  free(loop->heap);
  free(loop->read_buf);
  free(loop->plain_buf);
  while (loop->spare_count)
    weft_buf_deinit(&loop->spare[--loop->spare_count]);
}

uint64_t weft_loop_now(weft_loop_t *loop)
{
  return loop->frozen ? loop->frozen_at : uv_now(&loop->uv) + loop->ahead;
}

void weft_loop_update(weft_loop_t *loop) { uv_update_time(&loop->uv); }

const char *weft_loop_date(weft_loop_t *loop)
{
  static const char days[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  uint64_t now = weft_loop_now(loop);
  if (now < loop->date_at)
    return loop->date;
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  struct tm tm;
  gmtime_r(&wall.tv_sec, &tm);
  snprintf(loop->date, sizeof(loop->date),
           "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday,
           (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon,
           (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
           (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
  loop->date_at = now + 1000 - (uint64_t)wall.tv_nsec / 1000000;
  return loop->date;
}

/* ---- timers ------------------------------------------------------------- */

void weft_timer_init(weft_timer_t *timer, weft_timer_cb cb)
{
  *timer = (weft_timer_t){.cb = cb};
}

static void place(weft_loop_t *loop, uint32_t at, weft_timer_t *timer)
{
  loop->heap[at] = timer;
  timer->index = at + 1;
}

static bool before(const weft_timer_t *a, const weft_timer_t *b)
{
  if (a->key != b->key)
    return a->key < b->key;
  return (int32_t)(a->order - b->order) < 0; /* also when it wraps */
}

static void sift_up(weft_loop_t *loop, uint32_t at, weft_timer_t *timer)
{
  while (at > 0) {
    uint32_t parent = (at - 1) / 2;
    if (before(loop->heap[parent], timer))
      break;
    place(loop, at, loop->heap[parent]);
    at = parent;
  }
  place(loop, at, timer);
}

static void sift_down(weft_loop_t *loop, uint32_t at, weft_timer_t *timer)
{
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= loop->heap_count)
      break;
    if (child + 1 < loop->heap_count &&
        before(loop->heap[child + 1], loop->heap[child]))
      child++;
    if (before(timer, loop->heap[child]))
      break;
    place(loop, at, loop->heap[child]);
    at = child;
  }
  place(loop, at, timer);
}

/* Moves a timer that is in the heap to where its new key belongs. */
static void rekey(weft_loop_t *loop, weft_timer_t *timer, uint64_t key)
{
  bool earlier = key < timer->key;
  timer->key = key;
  if (earlier)
    sift_up(loop, timer->index - 1, timer);
  else
    sift_down(loop, timer->index - 1, timer);
}

/* Arms the one uv_timer for the first entry. One that is armed too early is
 * left alone: it finds nothing due and is armed again. */
static void arm(weft_loop_t *loop)
{
  if (loop->firing)
    return;
  if (loop->frozen) { /* what waits for a timer still keeps the loop alive */
    uv_timer_start(&loop->wakeup, on_wakeup, FROZEN_WAIT, 0);
    loop->wakeup_at = 0;
    return;
  }
  if (loop->heap_count == 0) {
    if (loop->wakeup_at)
      uv_timer_stop(&loop->wakeup);
    loop->wakeup_at = 0;
    return;
  }
  uint64_t first = loop->heap[0]->key;
  if (loop->wakeup_at && loop->wakeup_at <= first)
    return;
  uint64_t now = weft_loop_now(loop);
  loop->wakeup_at = first ? first : 1;
  /* never 0: libuv would run it in the same turn again and again, and poll no
   * socket, while somebody sets a timer that is due at once */
  uv_timer_start(&loop->wakeup, on_wakeup, first > now ? first - now : 1, 0);
}

void weft_timer_set(weft_loop_t *loop, weft_timer_t *timer, uint64_t due)
{
  timer->due = due;
  if (timer->index) {
    if (timer->due >= timer->key)
      return;
    timer->order = ++loop->timer_order;
    rekey(loop, timer, timer->due);
  } else {
    if (loop->heap_count == loop->heap_cap) {
      loop->heap_cap = loop->heap_cap ? 2 * loop->heap_cap : 64;
      loop->heap =
          weft_realloc(loop->heap, loop->heap_cap * sizeof(*loop->heap));
    }
    timer->key = timer->due;
    timer->order = ++loop->timer_order;
    sift_up(loop, loop->heap_count++, timer);
  }
  if (timer->index == 1)
    arm(loop);
}

void weft_timer_clear(weft_loop_t *loop, weft_timer_t *timer)
{
  if (!timer->index)
    return;
  uint32_t at = timer->index - 1;
  timer->index = 0;
  weft_timer_t *last = loop->heap[--loop->heap_count];
  if (last != timer) {
    last->index = at + 1;
    loop->heap[at] = last;
    if (at > 0 && before(last, loop->heap[(at - 1) / 2]))
      sift_up(loop, at, last);
    else
      sift_down(loop, at, last);
  }
  if (loop->heap_count == 0)
    arm(loop);
}

/* Runs what is due; what is set by that, and due at once, has its turn later.
 */
static void fire(weft_loop_t *loop)
{
  uint64_t now = weft_loop_now(loop);
  loop->firing = true;
  for (uint32_t left = loop->heap_count;
       left && loop->heap_count && loop->heap[0]->key <= now; left--) {
    weft_timer_t *timer = loop->heap[0];
    if (timer->due > now) {
      rekey(loop, timer, timer->due); /* it was set to later meanwhile */
    } else {
      weft_timer_clear(loop, timer);
      timer->cb(timer);
    }
  }
  loop->firing = false;
}

static void on_wakeup(uv_timer_t *wakeup)
{
  weft_loop_t *loop = wakeup->data;
  loop->wakeup_at = 0;
  fire(loop);
  arm(loop);
}

void weft_loop_freeze(weft_loop_t *loop, bool frozen)
{
  if (frozen == loop->frozen)
    return;
  uint64_t now = weft_loop_now(loop);
  uv_update_time(&loop->uv);
  loop->frozen = frozen;
  loop->frozen_at = now;
  loop->ahead = now - uv_now(&loop->uv); /* modulo 2^64: it may lie behind */
  uv_timer_stop(&loop->wakeup);
  loop->wakeup_at = 0;
  arm(loop);
}

bool weft_loop_advance(weft_loop_t *loop, uint64_t until)
{
  assert(loop->frozen);
  uint64_t first = loop->heap_count ? loop->heap[0]->key : until;
  if (first > loop->frozen_at)
    loop->frozen_at = first < until ? first : until;
  fire(loop);
  return loop->frozen_at >= until;
}

/* ---- buffers ------------------------------------------------------------ */

void weft_loop_lend(weft_loop_t *loop, weft_buf_t *buf)
{
  assert(!buf->data);
  if (loop->spare_count)
    *buf = loop->spare[--loop->spare_count];
}

void weft_loop_take_back(weft_loop_t *loop, weft_buf_t *buf)
{
  if (!buf->data)
    return;
  if (buf->cap > SPARE_SIZE || loop->spare_count == WEFT_SPARE_BUFS) {
    weft_buf_deinit(buf);
    return;
  }
  weft_buf_clear(buf);
  loop->spare[loop->spare_count++] = *buf;
  weft_buf_init(buf);
}

/* Streams that were touched since the loop last waited have their turn. */
static void on_before_wait(uv_prepare_t *prepare)
{
  weft_loop_t *loop = prepare->data;
  while (!weft_list_empty(&loop->touched)) {
    weft_list_t *node = loop->touched.next;
    weft_list_remove(node);
    weft_stream_t *stream = WEFT_LIST_ENTRY(node, weft_stream_t, touched);
    if (!stream->closing)
      stream->events->on_turn(stream);
  }
}

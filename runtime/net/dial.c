#include "net/dial.h"

#include "base/alloc.h"

#include <stdlib.h>

/* One address that is being tried; freed by on_connected. */
typedef struct weft_try {
  uv_connect_t request;
  weft_stream_t *stream;
  weft_dial_t *dial; /* NULL once nobody waits for it: the stream is closing */
} try_t;

static void on_timer(weft_timer_t *timer);
static void try_next(weft_dial_t *dial);

/* A stream that never connected; nothing is read or written before. */
static void on_closed(weft_stream_t *stream) { free(stream); }

static const weft_stream_events_t unused_events = {.on_closed = on_closed};

static void finish(weft_dial_t *dial, int status, weft_stream_t *stream)
{
  weft_timer_clear(dial->loop, &dial->timer);
  weft_tls_free(dial->tls);
  dial->tls = NULL;
  dial->on_done(dial, status, stream);
}

/* Tells it from the loop, so that nobody is called back by his own call. */
static void fail_soon(weft_dial_t *dial, int status)
{
  dial->status = status;
  dial->over = true;
  weft_timer_set(dial->loop, &dial->timer, 0);
}

static void on_secured(void *data, int status)
{
  weft_dial_t *dial = data;
  weft_stream_t *stream = dial->stream;
  dial->stream = NULL;
  if (status == 0) {
    finish(dial, 0, stream);
    return;
  }
  dial->detail = weft_stream_reason(stream);
  weft_stream_close(stream, false);
  finish(dial, status, NULL);
}

/* The other addresses are not tried any longer: a certificate that is not
 * trusted gets no better there. */
static void shake_hands(weft_dial_t *dial, weft_stream_t *stream)
{
  weft_tls_t *tls = dial->tls;
  dial->tls = NULL;
  dial->stream = stream;
  weft_timer_set(dial->loop, &dial->timer, dial->due);
  weft_stream_secure(stream, tls, on_secured, dial);
}

static void on_connected(uv_connect_t *request, int status)
{
  try_t *it = request->data;
  weft_dial_t *dial = it->dial;
  weft_stream_t *stream = it->stream;
  free(it);
  if (!dial)
    return;
  dial->trying = NULL;
  if (status == 0) {
    uv_tcp_nodelay(&stream->uv.tcp, 1); /* a request is written in one piece */
    dial->connected = true;
    if (dial->tls)
      shake_hands(dial, stream);
    else
      finish(dial, 0, stream);
    return;
  }
  weft_stream_close(stream, false);
  dial->status = status;
  try_next(dial);
}

/* Begins to connect to one address; a libuv code if that fails at once. */
static int try_address(weft_dial_t *dial, weft_address_t *address)
{
  if (address->any.sa_family == AF_INET6)
    address->v6.sin6_port = htons(dial->port);
  else
    address->v4.sin_port = htons(dial->port);
  weft_stream_t *stream = weft_calloc(dial->size);
  int status = weft_stream_open(stream, dial->loop, false, &unused_events);
  if (status != 0) {
    free(stream);
    return status;
  }
  try_t *it = weft_alloc(sizeof(*it));
  it->dial = dial;
  it->stream = stream;
  it->request.data = it;
  status = uv_tcp_connect(&it->request, &stream->uv.tcp, &address->any,
                          on_connected);
  if (status != 0) {
    free(it);
    weft_stream_close(stream, false);
    return status;
  }
  dial->trying = it;
  return 0;
}

static void try_next(weft_dial_t *dial)
{
  uint64_t now = weft_loop_now(dial->loop);
  while (dial->next < dial->lookup.count) {
    unsigned left = dial->lookup.count - dial->next;
    dial->status = try_address(dial, &dial->lookup.addresses[dial->next++]);
    if (dial->status == 0) {
      uint64_t time = dial->due > now ? dial->due - now : 0;
      weft_timer_set(dial->loop, &dial->timer, now + time / left);
      return;
    }
  }
  fail_soon(dial, dial->status);
}

static void looked_up(weft_dial_t *dial)
{
  dial->resolving = false;
  if (dial->lookup.status != 0)
    fail_soon(dial, dial->lookup.status);
  else
    try_next(dial);
}

static void on_looked_up(weft_lookup_t *lookup)
{
  looked_up(WEFT_LIST_ENTRY(lookup, weft_dial_t, lookup));
}

void weft_dial_start(weft_dial_t *dial,
                     weft_loop_t *loop,
                     weft_resolver_t *resolver,
                     const char *name,
                     uint16_t port,
                     uint64_t due,
                     size_t size,
                     weft_tls_t *tls,
                     void (*on_done)(weft_dial_t *dial,
                                     int status,
                                     weft_stream_t *stream))
{
  dial->on_done = on_done;
  dial->loop = loop;
  dial->size = size;
  dial->port = port;
  dial->due = due;
  dial->next = 0;
  dial->trying = NULL;
  dial->tls = tls;
  dial->stream = NULL;
  dial->detail = NULL;
  dial->status = 0;
  dial->over = dial->connected = false;
  dial->resolving = true;
  weft_timer_init(&dial->timer, on_timer);
  weft_timer_set(loop, &dial->timer, due);
  if (weft_resolver_ask(resolver, name, &dial->lookup, on_looked_up))
    looked_up(dial);
}

/* The address that is being tried is not waited for any longer. */
static void abandon(weft_dial_t *dial)
{
  if (dial->stream)
    weft_stream_close(dial->stream, false);
  dial->stream = NULL;
  if (!dial->trying)
    return;
  dial->trying->dial = NULL;
  weft_stream_close(dial->trying->stream, false);
  dial->trying = NULL;
}

static void on_timer(weft_timer_t *timer)
{
  weft_dial_t *dial = WEFT_LIST_ENTRY(timer, weft_dial_t, timer);
  if (dial->over) {
    finish(dial, dial->status, NULL);
    return;
  }
  weft_lookup_cancel(&dial->lookup);
  abandon(dial);
  if (weft_loop_now(dial->loop) >= dial->due) {
    finish(dial, UV_ETIMEDOUT, NULL);
    return;
  }
  dial->status = UV_ETIMEDOUT;
  try_next(dial);
}

void weft_dial_cancel(weft_dial_t *dial)
{
  weft_timer_clear(dial->loop, &dial->timer);
  weft_lookup_cancel(&dial->lookup);
  abandon(dial);
  weft_tls_free(dial->tls);
  dial->tls = NULL;
}

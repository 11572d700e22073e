/* Connecting: a name and a port become a connected stream, with its TLS
 * handshake done if it is to have one. The addresses of the name are tried one
 * after another, each with its share of the time. It does not know what the
 * connection is for. */
#pragma once

#include "net/resolve.h"
#include "net/stream.h"
#include "net/tls.h"

typedef struct weft_dial weft_dial_t;

/* One attempt to connect. It sits inside whoever makes it. */
struct weft_dial {
  /* Called once, from the loop, never from weft_dial_start. Takes the stream;
   * it is NULL if `status` is negative: libuv's or WEFT_ETLS. */
  void (*on_done)(weft_dial_t *dial, int status, weft_stream_t *stream);
  weft_loop_t *loop;
  size_t size; /* of what the stream is the first member of */
  uint16_t port;
  uint64_t due; /* ms: when to give up */
  weft_timer_t timer;
  weft_lookup_t lookup;
  unsigned next;           /* the address to try next */
  struct weft_try *trying; /* NULL while none is tried */
  weft_tls_t *tls;         /* owned until there is a stream for it; or NULL */
  weft_stream_t *stream;   /* that shakes hands; else NULL */
  const char *detail;      /* WEFT_ETLS: what is wrong, until on_done returns */
  int status;              /* of the last address that failed */
  bool resolving;          /* waits for the look-up */
  bool connected;          /* what is left is the handshake */
  bool over;               /* the timer is about to tell `status` */
};

/* Begins. `due` is a time of the loop's clock. The stream is the first member
 * of `size` zeroed bytes on the heap; its new owner sets stream->events. Takes
 * `tls`, which is NULL for a connection without. */
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
                                     weft_stream_t *stream));
/* on_done is not called any longer; only before it was. */
void weft_dial_cancel(weft_dial_t *dial);

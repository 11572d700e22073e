/* A connected byte stream, TCP or unix socket, in either direction: reads into
 * the loop's one read buffer, collects what is to be written and writes it with
 * as few system calls as it can. It knows no protocol but TLS: a stream that
 * was made secure decrypts what it reads and encrypts what it writes, behind
 * the same functions (net/stream_tls.c). */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "net/loop.h"

typedef struct weft_stream weft_stream_t;

/* What its owner is told, always from the loop or from weft_stream_flush. */
typedef struct {
  /* Bytes arrived; good until this returns. */
  void (*on_read)(weft_stream_t *stream, const char *bytes, size_t len);
  /* The peer shut its writing side: nothing more will be read. */
  void (*on_end)(weft_stream_t *stream);
  /* Reading or writing failed (a negative libuv code): the stream is dead and
   * waits to be closed. Told once. */
  void (*on_error)(weft_stream_t *stream, int status);
  /* All that was to be written has been handed to the kernel, after a time in
   * which it could not be. */
  void (*on_drain)(weft_stream_t *stream);
  /* The stream was touched, and the loop is about to wait: what there is to
   * do, weft_stream_flush at least. */
  void (*on_turn)(weft_stream_t *stream);
  /* The handle is closed: the owner may free what the stream sits in. */
  void (*on_closed)(weft_stream_t *stream);
} weft_stream_events_t;

struct weft_stream {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv;
  weft_loop_t *loop;
  const weft_stream_events_t *events;
  weft_buf_t out;             /* to be written */
  struct weft_write *writing; /* what the kernel did not take; NULL if none */
  uint64_t passed;            /* bytes given to libuv since the stream opened */
  weft_list_t touched;        /* in loop->touched until on_turn */
  struct weft_tls *tls;       /* owned; NULL for one that is not secure */
  bool reading, ended, failed, closing;
  bool polling; /* libuv reads: for the owner, or for a handshake */
  bool shut;    /* shut the writing side once all is written */
};

/* A stream of `loop` without a connection: connect it, or accept into it.
 * `unix_socket` picks the kind. Returns 0 or a libuv code. */
int weft_stream_open(weft_stream_t *stream,
                     weft_loop_t *loop,
                     bool unix_socket,
                     const weft_stream_events_t *events);
/* Speaks TLS from now on; takes `tls`, which is new. Calls on_secured once the
 * handshake is done, or with a negative status when it has failed; perhaps
 * before this returns, and not at all if the stream is closed before. Until
 * then the owner is told nothing else, and must not read or write; how long it
 * may take is for him to say. */
void weft_stream_secure(weft_stream_t *stream,
                        struct weft_tls *tls,
                        void (*on_secured)(void *data, int status),
                        void *data);
/* What is wrong with a stream that failed, until on_closed; NULL if the status
 * says it all. */
const char *weft_stream_reason(const weft_stream_t *stream);
void weft_stream_read_start(weft_stream_t *stream);
void weft_stream_read_stop(weft_stream_t *stream);

/* Where to append bytes to be written; then weft_stream_touch or _flush. */
weft_buf_t *weft_stream_out(weft_stream_t *stream);
/* Has on_turn called before the loop waits again; not once it is closing. */
void weft_stream_touch(weft_stream_t *stream);
/* Writes now what can be written now; the rest follows by itself. May call
 * on_error, never on_drain. */
void weft_stream_flush(weft_stream_t *stream);
/* The same with `len` more bytes behind it, copied only if the kernel does not
 * take them at once. */
void weft_stream_flush_with(weft_stream_t *stream,
                            const char *bytes,
                            size_t len);
/* Bytes that arrived before a stream failed in writing, and that nobody was
 * told of: a peer that refuses what it is sent answers and closes. 0 when there
 * are no more; only from on_error on. */
size_t weft_stream_read_rest(weft_stream_t *stream, char *into, size_t size);
/* Bytes that are not yet in the kernel. */
size_t weft_stream_unsent(const weft_stream_t *stream);
/* Bytes that the kernel has taken since the stream opened: grows while the
 * peer reads. */
uint64_t weft_stream_sent(const weft_stream_t *stream);
/* The peer as "127.0.0.1" and its port; "unix" and 0 for a unix socket. */
void weft_stream_peer(const weft_stream_t *stream, char address[46], int *port);
/* Shuts the writing side when all is written. */
void weft_stream_shutdown(weft_stream_t *stream);
/* Drops what is unsent and closes; fine twice. on_closed follows. With `reset`
 * the peer sees a reset, not an orderly end. */
void weft_stream_close(weft_stream_t *stream, bool reset);

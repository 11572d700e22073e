/* A stream with TLS: the handshake, and how bytes get through net/tls.h between
 * the socket and the owner. Bytes that wait do so on the owner's side, in
 * stream->out and in the kernel: what is encrypted goes to the socket at once,
 * and what is decrypted to the owner. */
#include "net/stream_parts.h"
#include "net/tls.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

enum {
  RECORD = 16 * 1024, /* the most that TLS encrypts in one piece */
  SLICE = 3 * RECORD  /* encrypted before the kernel is asked to take it: with
                         what TLS adds, it fits into 64 KiB */
};

static void on_resume(weft_timer_t *timer);

/* ---- writing --------------------------------------------------------------
 */

/* What TLS itself has to say: of its handshake, alerts, its end. */
static void write_sealed(weft_stream_t *stream)
{
  if (!stream->writing && !stream->failed && !stream->closing)
    weft_stream_write(stream, &stream->tls->sealed, NULL, 0);
}

static bool seal(weft_stream_t *stream, const char *bytes, size_t len)
{
  int status = weft_tls_seal(stream->tls, bytes, len);
  if (status != 0)
    weft_stream_fail(stream, status);
  return status == 0;
}

/* Encrypts and writes slices until the kernel takes no more, and returns how
 * many bytes went. */
static size_t write_slices(weft_stream_t *stream, const char *bytes, size_t len)
{
  size_t done = 0;
  while (done < len && !stream->writing && !stream->failed) {
    size_t slice = len - done < SLICE ? len - done : SLICE;
    if (!seal(stream, bytes + done, slice))
      break;
    done += slice;
    weft_stream_write(stream, &stream->tls->sealed, NULL, 0);
  }
  return done;
}

void weft_tls_stream_write(weft_stream_t *stream, const char *bytes, size_t len)
{
  weft_tls_t *tls = stream->tls;
  weft_buf_t *out = &stream->out;
  if (!tls->secure) {
    assert(!len && !out->len);
    write_sealed(stream);
    return;
  }
  if (len && out->len && out->len + len <= RECORD) { /* one record for both */
    weft_buf_append(out, bytes, len);
    len = 0;
  }
  size_t done = write_slices(stream, weft_buf_bytes(out), out->len);
  if (!stream
           ->failed) { /* else the owner may have closed it, and dropped out */
    weft_buf_consume(out, done);
    done = out->len ? 0 : write_slices(stream, bytes, len);
  }
  if (stream->failed) {
    weft_loop_take_back(stream->loop, out);
    return;
  }
  if (done < len)
    weft_buf_append(weft_stream_out(stream), bytes + done, len - done);
  if (out->len)
    return;
  weft_loop_take_back(stream->loop, out);
  if (stream->shut)
    weft_tls_notify(tls);
  write_sealed(stream);
}

/* ---- reading --------------------------------------------------------------
 */

static char *plain_buf(weft_loop_t *loop)
{
  if (!loop->plain_buf)
    loop->plain_buf = weft_alloc(WEFT_READ_SIZE);
  return loop->plain_buf;
}

/* Nothing more can be read, for this reason. */
static void end_reading(weft_stream_t *stream, int status)
{
  if (status == UV_EOF) {
    stream->ended = true;
    weft_stream_read_stop(stream);
    stream->events->on_end(stream);
  } else {
    weft_stream_fail(stream, status);
  }
}

/* Decrypts what is there, for an owner who reads, as long as he does. */
static void deliver(weft_stream_t *stream)
{
  weft_tls_t *tls = stream->tls;
  char *plain = plain_buf(stream->loop);
  while (stream->reading) {
    int status;
    size_t len = weft_tls_open(tls, plain, WEFT_READ_SIZE, &status);
    if (len)
      stream->events->on_read(stream, plain, len);
    write_sealed(stream);
    if (!stream->reading || status == 0)
      continue;
    if (status == UV_EAGAIN) {
      if (tls->raw_ended)
        end_reading(stream, WEFT_ETRUNCATED);
      return;
    }
    end_reading(stream, status);
  }
}

static void end_handshake(weft_stream_t *stream, int status)
{
  weft_tls_t *tls = stream->tls;
  void (*on_secured)(void *data, int status) = tls->on_secured;
  tls->on_secured = NULL;
  on_secured(tls->data, status);
  if (!stream->reading)
    weft_stream_poll(stream, false);
}

static void shake_hands(weft_stream_t *stream)
{
  weft_tls_t *tls = stream->tls;
  int status = weft_tls_handshake(tls);
  write_sealed(stream); /* may fail, and so end it */
  if (!tls->on_secured)
    return;
  if (status == 0) {
    end_handshake(stream, 0);
  } else if (status != UV_EAGAIN) {
    weft_stream_fail(stream, status);
  } else if (tls->raw_ended) {
    snprintf(tls->reason, WEFT_TLS_REASON,
             "the peer closed the connection during the TLS handshake: does it "
             "speak TLS?");
    weft_stream_fail(stream, WEFT_ETLS);
  }
}

void weft_tls_stream_read(weft_stream_t *stream, const char *bytes, size_t len)
{
  weft_tls_t *tls = stream->tls;
  if (len) {
    weft_tls_feed(tls, bytes, len);
  } else {
    tls->raw_ended = true;
    weft_stream_poll(stream, false);
  }
  if (tls->on_secured)
    shake_hands(stream);
  if (!tls->on_secured)
    deliver(stream);
  if (!stream->closing)
    weft_tls_keep(tls);
}

/* The owner is told from the loop, not from his own call. */
void weft_tls_stream_resume(weft_stream_t *stream)
{
  weft_tls_t *tls = stream->tls;
  if (!tls->raw_ended)
    weft_stream_poll(stream, true);
  if (weft_tls_pending(tls))
    weft_timer_set(stream->loop, &tls->resume, 0);
}

static void on_resume(weft_timer_t *timer)
{
  weft_tls_t *tls = WEFT_LIST_ENTRY(timer, weft_tls_t, resume);
  weft_stream_t *stream = tls->stream;
  deliver(stream);
  if (!stream->closing)
    weft_tls_keep(tls);
}

/* ---- the beginning and the end --------------------------------------------
 */

void weft_stream_secure(weft_stream_t *stream,
                        weft_tls_t *tls,
                        void (*on_secured)(void *data, int status),
                        void *data)
{
  stream->tls = tls;
  tls->stream = stream;
  tls->on_secured = on_secured;
  tls->data = data;
  weft_timer_init(&tls->resume, on_resume);
  weft_stream_poll(stream, true);
  if (!stream->failed)
    shake_hands(stream);
}

/* What arrived and was not read: the peer may have said why it breaks off. */
static void hear_rest(weft_stream_t *stream)
{
  char bytes[4096];
  weft_tls_t *tls = stream->tls;
  uv_os_fd_t fd;
  if (tls->raw_ended || uv_fileno(&stream->uv.handle, &fd) != 0)
    return;
  weft_tls_keep(tls);
  while (tls->kept.len < WEFT_READ_SIZE) {
    ssize_t len = read(fd, bytes, sizeof(bytes));
    if (len <= 0)
      return;
    weft_tls_feed(tls, bytes, (size_t)len);
    weft_tls_keep(tls);
  }
}

int weft_tls_stream_failed(weft_stream_t *stream, int status)
{
  weft_tls_t *tls = stream->tls;
  weft_timer_clear(stream->loop, &tls->resume);
  if (status != WEFT_ETLS && status != WEFT_ETRUNCATED) {
    hear_rest(stream);
    if (tls->on_secured)
      weft_tls_handshake(tls);
    if (weft_tls_ended(tls) == WEFT_ETLS)
      status = WEFT_ETLS;
  }
  if (!tls->on_secured)
    return status;
  if (status != WEFT_ETLS)
    snprintf(tls->reason, WEFT_TLS_REASON,
             "the connection broke during the TLS handshake (%s): does the "
             "peer speak TLS?",
             uv_strerror(status));
  end_handshake(stream, WEFT_ETLS);
  return 0;
}

size_t weft_tls_stream_read_rest(weft_stream_t *stream, char *into, size_t size)
{
  int status;
  return weft_tls_open(stream->tls, into, size, &status);
}

/* A peer that is told of an end takes what it got for all there is: it is not
 * told when something was dropped. */
void weft_tls_stream_close(weft_stream_t *stream, bool reset)
{
  weft_tls_t *tls = stream->tls;
  tls->on_secured = NULL;
  weft_timer_clear(stream->loop, &tls->resume);
  if (!reset && !stream->failed && !weft_stream_unsent(stream)) {
    weft_tls_notify(tls);
    if (tls->sealed.len) {
      uv_buf_t buf = uv_buf_init(weft_buf_bytes(&tls->sealed), tls->sealed.len);
      uv_try_write(&stream->uv.stream, &buf, 1);
    }
  }
  weft_tls_drop_bytes(tls);
}

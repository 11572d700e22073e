#include "net/stream.h"

#include "base/alloc.h"
#include "net/stream_parts.h"
#include "net/tls.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A write in flight: the request and the bytes it writes. */
typedef struct weft_write {
  uv_write_t request;
  weft_buf_t bytes;
  weft_stream_t *stream;
} weft_write_t;

int weft_stream_open(weft_stream_t *stream,
                     weft_loop_t *loop,
                     bool unix_socket,
                     const weft_stream_events_t *events)
{
  *stream = (weft_stream_t){.loop = loop, .events = events};
  weft_list_init(&stream->touched);
  int status = unix_socket ? uv_pipe_init(&loop->uv, &stream->uv.pipe, 0)
                           : uv_tcp_init(&loop->uv, &stream->uv.tcp);
  stream->uv.handle.data = stream;
  return status;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  (void)suggested;
  weft_stream_t *stream = handle->data;
  *buf = uv_buf_init(stream->loop->read_buf, WEFT_READ_SIZE);
}

void weft_stream_fail(weft_stream_t *stream, int status)
{
  if (stream->failed || stream->closing)
    return;
  stream->failed = true;
  stream->reading = false;
  weft_stream_poll(stream, false);
  if (stream->tls)
    status = weft_tls_stream_failed(stream, status);
  if (status != 0)
    stream->events->on_error(stream, status);
}

const char *weft_stream_reason(const weft_stream_t *stream)
{
  return stream->tls && *stream->tls->reason ? stream->tls->reason : NULL;
}

/* libuv takes a hang-up behind a short read for an orderly end: if it was a
 * reset, the kernel still knows. */
static int hidden_error(weft_stream_t *stream)
{
  uv_os_fd_t fd;
  int error = 0;
  socklen_t len = sizeof(error);
  if (uv_fileno(&stream->uv.handle, &fd) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
    return 0; /* a pipe, say */
  return error ? uv_translate_sys_error(error) : 0;
}

static void on_read(uv_stream_t *handle, ssize_t len, const uv_buf_t *buf)
{
  weft_stream_t *stream = handle->data;
  if (len == UV_EOF) {
    int status = hidden_error(stream);
    len = status ? status : UV_EOF;
  }
  if (stream->tls && (len > 0 || len == UV_EOF)) {
    weft_tls_stream_read(stream, buf->base, len > 0 ? (size_t)len : 0);
  } else if (len > 0) {
    stream->events->on_read(stream, buf->base, (size_t)len);
  } else if (len == UV_EOF) {
    stream->ended = true;
    weft_stream_read_stop(stream);
    stream->events->on_end(stream);
  } else if (len < 0) {
    weft_stream_fail(stream, (int)len);
  }
}

void weft_stream_poll(weft_stream_t *stream, bool on)
{
  if (stream->polling == on)
    return;
  stream->polling = on;
  int status = 0;
  if (on)
    status = uv_read_start(&stream->uv.stream, on_alloc, on_read);
  else
    uv_read_stop(&stream->uv.stream);
  if (status != 0)
    weft_stream_fail(stream, status);
}

void weft_stream_read_start(weft_stream_t *stream)
{
  if (stream->reading || stream->ended || stream->failed || stream->closing)
    return;
  stream->reading = true;
  if (stream->tls)
    weft_tls_stream_resume(stream);
  else
    weft_stream_poll(stream, true);
}

void weft_stream_read_stop(weft_stream_t *stream)
{
  if (!stream->reading)
    return;
  stream->reading = false;
  weft_stream_poll(stream, false);
}

size_t weft_stream_read_rest(weft_stream_t *stream, char *into, size_t size)
{
  uv_os_fd_t fd;
  if (stream->tls)
    return weft_tls_stream_read_rest(stream, into, size);
  if (stream->ended || uv_fileno(&stream->uv.handle, &fd) != 0)
    return 0;
  ssize_t len = read(fd, into, size);
  return len > 0 ? (size_t)len : 0;
}

weft_buf_t *weft_stream_out(weft_stream_t *stream)
{
  if (!stream->out.data)
    weft_loop_lend(stream->loop, &stream->out);
  return &stream->out;
}

void weft_stream_touch(weft_stream_t *stream)
{
  if (weft_list_empty(&stream->touched) && !stream->closing)
    weft_list_push(&stream->loop->touched, &stream->touched);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
  (void)status; /* the peer is gone: the next read or close says so */
  free(request);
}

static void shut_if_wanted(weft_stream_t *stream)
{
  if (!stream->shut || stream->failed || stream->closing ||
      weft_stream_unsent(stream))
    return;
  stream->shut = false;
  uv_shutdown_t *request = weft_alloc(sizeof(*request));
  if (uv_shutdown(request, &stream->uv.stream, on_shutdown) != 0)
    free(request);
}

static void on_written(uv_write_t *request, int status)
{
  weft_write_t *write = (weft_write_t *)request;
  weft_stream_t *stream = write->stream;
  stream->writing = NULL;
  weft_loop_take_back(stream->loop, &write->bytes);
  free(write);
  if (stream->closing)
    return;
  if (status < 0) {
    weft_stream_fail(stream, status);
    return;
  }
  weft_stream_flush(stream);
  bool handshaking = stream->tls && stream->tls->on_secured;
  if (!stream->writing && !stream->failed && !stream->closing && !handshaking)
    stream->events->on_drain(stream);
}

/* Hands what is left of `bytes` to libuv, which writes it as the kernel takes
 * it. */
static void write_rest(weft_stream_t *stream, weft_buf_t *bytes)
{
  weft_write_t *write = weft_alloc(sizeof(*write));
  write->stream = stream;
  write->bytes = *bytes;
  weft_buf_init(bytes);
  uv_buf_t buf = uv_buf_init(weft_buf_bytes(&write->bytes), write->bytes.len);
  stream->writing = write;
  stream->passed += write->bytes.len;
  int status =
      uv_write(&write->request, &stream->uv.stream, &buf, 1, on_written);
  if (status < 0) {
    stream->writing = NULL;
    weft_buf_deinit(&write->bytes);
    free(write);
    weft_stream_fail(stream, status);
  }
}

void weft_stream_write(weft_stream_t *stream,
                       weft_buf_t *first,
                       const char *bytes,
                       size_t len)
{
  uv_buf_t bufs[2];
  unsigned count = 0;
  if (first->len)
    bufs[count++] = uv_buf_init(weft_buf_bytes(first), first->len);
  if (len)
    bufs[count++] = uv_buf_init((char *)bytes, (unsigned)len);
  if (count) {
    int written = uv_try_write(&stream->uv.stream, bufs, count);
    if (written < 0 && written != UV_EAGAIN) {
      weft_buf_clear(first);
      weft_stream_fail(stream, written);
      return;
    }
    size_t sent = written > 0 ? (size_t)written : 0;
    stream->passed += sent;
    size_t from_first = sent < first->len ? sent : first->len;
    weft_buf_consume(first, from_first);
    sent -= from_first;
    if (sent < len) {
      if (!first->data)
        weft_loop_lend(stream->loop, first);
      weft_buf_append(first, bytes + sent, len - sent);
    }
    if (first->len)
      write_rest(stream, first);
  }
  if (!first->len)
    weft_loop_take_back(stream->loop, first);
}

void weft_stream_flush(weft_stream_t *stream)
{
  weft_stream_flush_with(stream, NULL, 0);
}

void weft_stream_flush_with(weft_stream_t *stream,
                            const char *bytes,
                            size_t len)
{
  if (stream->failed || stream->closing) {
    weft_loop_take_back(stream->loop, &stream->out);
    return;
  }
  if (stream->writing) { /* behind what is in flight */
    if (len)
      weft_buf_append(weft_stream_out(stream), bytes, len);
    return;
  }
  if (stream->tls)
    weft_tls_stream_write(stream, bytes, len);
  else
    weft_stream_write(stream, &stream->out, bytes, len);
  shut_if_wanted(stream);
}

size_t weft_stream_unsent(const weft_stream_t *stream)
{
  return stream->out.len + (stream->tls ? stream->tls->sealed.len : 0) +
         uv_stream_get_write_queue_size(&stream->uv.stream);
}

uint64_t weft_stream_sent(const weft_stream_t *stream)
{
  return stream->passed - uv_stream_get_write_queue_size(&stream->uv.stream);
}

void weft_stream_shutdown(weft_stream_t *stream)
{
  stream->shut = true;
  weft_stream_flush(stream);
}

void weft_stream_peer(const weft_stream_t *stream, char address[46], int *port)
{
  struct sockaddr_storage peer;
  int len = sizeof(peer);
  *port = 0;
  if (stream->uv.handle.type != UV_TCP ||
      uv_tcp_getpeername(&stream->uv.tcp, (struct sockaddr *)&peer, &len)) {
    strcpy(address, "unix");
  } else if (peer.ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
    uv_ip4_name(v4, address, 46);
    *port = ntohs(v4->sin_port);
  } else {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
    uv_ip6_name(v6, address, 46);
    *port = ntohs(v6->sin6_port);
  }
}

static void on_closed(uv_handle_t *handle)
{
  weft_stream_t *stream = handle->data;
  weft_tls_free(stream->tls);
  stream->events->on_closed(stream);
}

void weft_stream_close(weft_stream_t *stream, bool reset)
{
  if (stream->closing)
    return;
  if (stream->tls)
    weft_tls_stream_close(stream, reset);
  stream->closing = true;
  stream->reading = stream->polling = false;
  weft_list_remove(&stream->touched);
  weft_buf_deinit(&stream->out);
  if (reset && stream->uv.handle.type == UV_TCP &&
      uv_tcp_close_reset(&stream->uv.tcp, on_closed) == 0)
    return;
  uv_close(&stream->uv.handle, on_closed);
}

#include "net/exchange.h"

#include "base/list.h"
#include "http/writer.h"
#include "net/conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A writer is told to wait when so much of its response is unsent. */
enum { WRITE_HIGH = 64 * 1024, COPY_MAX = 16 * 1024 };

weft_conn_t *weft_exchange_conn(weft_exchange_t *exchange)
{
  return WEFT_LIST_ENTRY(exchange, weft_conn_t, exchange);
}

const weft_head_t *weft_exchange_head(weft_exchange_t *exchange)
{
  return &weft_exchange_conn(exchange)->parser.head;
}

static weft_buf_t *out_of(weft_exchange_t *exchange)
{
  return weft_stream_out(&weft_exchange_conn(exchange)->stream);
}

/* ---- request body -------------------------------------------------------- */

bool weft_exchange_body_ready(const weft_exchange_t *exchange)
{
  return exchange->body.len || exchange->body_complete || exchange->body_status;
}

void weft_exchange_want_body(weft_exchange_t *exchange)
{
  weft_conn_t *conn = weft_exchange_conn(exchange);
  exchange->body_wanted = true;
  if (conn->parser.head.expect_continue && !exchange->continued &&
      !exchange->answered && !exchange->body_len) {
    exchange->continued = true;
    weft_buf_append_literal(out_of(exchange), "HTTP/1.1 100 Continue\r\n\r\n");
  }
  weft_conn_want_body(conn);
}

void weft_exchange_unwant_body(weft_exchange_t *exchange)
{
  exchange->body_wanted = false;
}

void weft_exchange_body_taken(weft_exchange_t *exchange)
{
  weft_conn_t *conn = weft_exchange_conn(exchange);
  if (exchange->body.len == 0)
    weft_loop_take_back(conn->stream.loop, &exchange->body);
  weft_stream_touch(&conn->stream);
}

/* ---- response ------------------------------------------------------------ */

/* Whether what is left of the request's body is too much to read just to reach
 * the next request: then the connection closes instead. */
static bool body_in_the_way(weft_exchange_t *exchange)
{
  const weft_head_t *head = weft_exchange_head(exchange);
  if (exchange->body_complete)
    return false;
  if (exchange->body_status ||
      (head->expect_continue && !exchange->continued && !exchange->body_len))
    return true;
  return head->body == WEFT_BODY_SIZED &&
         head->content_length - exchange->body_len > WEFT_DRAIN_MAX;
}

void weft_exchange_begin_head(weft_exchange_t *exchange, int status)
{
  assert(exchange->running && !exchange->answered);
  weft_conn_t *conn = weft_exchange_conn(exchange);
  exchange->answered = true;
  exchange->status = (uint16_t)status;
  exchange->no_body =
      conn->parser.head.method == HTTP_HEAD || status == 204 || status == 304;
  weft_write_status(out_of(exchange), status,
                    weft_loop_date(conn->stream.loop));
}

void weft_exchange_header(weft_exchange_t *exchange,
                          const char *name,
                          size_t name_len,
                          const char *value,
                          size_t value_len)
{
  weft_write_header(out_of(exchange), name, name_len, value, value_len);
}

/* The Connection header, and the empty line. */
static void end_head(weft_exchange_t *exchange)
{
  weft_conn_t *conn = weft_exchange_conn(exchange);
  const weft_head_t *head = &conn->parser.head;
  weft_buf_t *out = out_of(exchange);
  exchange->close = exchange->close || !head->keep_alive ||
                    conn->server->draining || body_in_the_way(exchange) ||
                    (conn->stream.ended && !conn->pumping && !conn->in.len);
  if (exchange->close)
    weft_buf_append_literal(out, "Connection: close\r\n");
  else if (head->minor == 0)
    weft_buf_append_literal(out, "Connection: keep-alive\r\n");
  weft_buf_append_literal(out, "\r\n");
  weft_stream_touch(&conn->stream);
}

void weft_exchange_body(weft_exchange_t *exchange, const char *body, size_t len)
{
  weft_conn_t *conn = weft_exchange_conn(exchange);
  if (exchange->status != 204 && (exchange->status != 304 || len))
    weft_write_content_length(out_of(exchange), len);
  end_head(exchange);
  if (exchange->no_body)
    return;
  exchange->sent = len;
  if (len > COPY_MAX)
    weft_stream_flush_with(&conn->stream, body, len);
  else
    weft_buf_append(out_of(exchange), body, len);
}

void weft_exchange_stream(weft_exchange_t *exchange, int64_t len)
{
  const weft_head_t *head = weft_exchange_head(exchange);
  if (exchange->status == 204 || exchange->status == 304) {
    /* neither has a body, nor says how long one would be */
  } else if (len >= 0) {
    weft_write_content_length(out_of(exchange), (uint64_t)len);
  } else if (head->minor == 1) {
    exchange->chunked = !exchange->no_body;
    weft_buf_append_literal(out_of(exchange), "Transfer-Encoding: chunked\r\n");
  } else {
    exchange->close = exchange->until_close = true; /* HTTP/1.0 */
  }
  exchange->deadline =
      0; /* from here the client's pace counts, not the clock */
  end_head(exchange);
}

bool weft_exchange_write(weft_exchange_t *exchange,
                         const char *bytes,
                         size_t len)
{
  weft_conn_t *conn = weft_exchange_conn(exchange);
  if (len && !exchange->no_body) {
    exchange->sent += len;
    weft_buf_t *out = out_of(exchange);
    if (exchange->chunked)
      weft_write_chunk(out, bytes, len);
    else
      weft_buf_append(out, bytes, len);
    weft_stream_touch(&conn->stream);
  }
  return weft_stream_unsent(&conn->stream) < WRITE_HIGH;
}

void weft_exchange_flush(weft_exchange_t *exchange)
{
  weft_stream_flush(&weft_exchange_conn(exchange)->stream);
}

bool weft_exchange_want_drain(weft_exchange_t *exchange)
{
  weft_conn_t *conn = weft_exchange_conn(exchange);
  weft_stream_flush(&conn->stream);
  exchange->drain_wanted = weft_stream_unsent(&conn->stream) > 0;
  weft_stream_touch(&conn->stream);
  return exchange->drain_wanted;
}

void weft_exchange_complete(weft_exchange_t *exchange)
{
  if (exchange->chunked)
    weft_write_last_chunk(out_of(exchange));
  exchange->chunked = false;
  exchange->no_body = true;
  weft_stream_touch(&weft_exchange_conn(exchange)->stream);
}

void weft_exchange_end(weft_exchange_t *exchange)
{
  assert(exchange->running && exchange->answered);
  weft_conn_t *conn = weft_exchange_conn(exchange);
  weft_exchange_complete(exchange);
  exchange->running = false;
  weft_conn_answered(conn);
}

void weft_exchange_abort(weft_exchange_t *exchange)
{
  exchange->running = false;
  weft_conn_torn(weft_exchange_conn(exchange));
}

void weft_exchange_answer(weft_exchange_t *exchange, int status)
{
  char body[80];
  int len = snprintf(body, sizeof(body), "%d %s\n", status,
                     weft_status_reason(status));
  weft_exchange_begin_head(exchange, status);
  weft_exchange_header(exchange, "Content-Type", 12,
                       "text/plain; charset=utf-8", 25);
  weft_exchange_body(exchange, body, (size_t)len);
  weft_exchange_end(exchange);
}

/*
 *            first byte       head, with body      body complete
 *   IDLE ------------> HEAD ---------> RECEIVING ---------> ANSWERING
 *    ^  \-------------------------------------------------->  |  |
 *    |         a whole head without a body      |             |  |
 *    |                                 answered |    answered |  |
 *    |   body complete                          v             |  |
 *    |<--------------------------------- DISCARDING           |  |
 *    |<---------------------------------------- | ------------+  |
 *    |                                 too much |   last answer  |
 *    |                                          v                v
 *    |  refused, drained                      LINGERING <--------+
 *    +----------------------------------------> |
 *                                               v
 *   a reset, a time-out: from anywhere -----> CLOSING --> on_closed frees
 */
#include "net/conn.h"

#include "base/alloc.h"
#include "http/writer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
  /* Pipelined requests wait as bytes, and no more of them are read past this.
   * A limit on their number would count what nobody has parsed yet. */
  IN_HIGH = 64 * 1024,
  UNSENT_HIGH = 256 * 1024, /* no next request while a client reads nothing */
  LINGER_MAX = 256 * 1024,  /* bytes dropped behind the last answer */
  LINGER_TIME = 2000,       /* ms */
  TRIM_TIME = 1000,         /* ms idle until the head's memory goes back */
  DRAIN_GRACE = 200,    /* ms idle at a drain: a request may be on its way */
  DEADLINE_GRACE = 5000 /* ms from on_deadline to our own 504 */
};

static void on_timer(weft_timer_t *timer);
static void settle(weft_conn_t *conn);
static const weft_stream_events_t stream_events;

/* Which states may follow which: a bit for each. */
#define BIT(state) (1u << (state))
static const uint8_t next_states[] = {
    [WEFT_CONN_IDLE] = BIT(WEFT_CONN_HEAD) | BIT(WEFT_CONN_RECEIVING) |
                       BIT(WEFT_CONN_ANSWERING) | BIT(WEFT_CONN_LINGERING),
    [WEFT_CONN_HEAD] = BIT(WEFT_CONN_RECEIVING) | BIT(WEFT_CONN_ANSWERING) |
                       BIT(WEFT_CONN_LINGERING),
    [WEFT_CONN_RECEIVING] = BIT(WEFT_CONN_ANSWERING) |
                            BIT(WEFT_CONN_DISCARDING) |
                            BIT(WEFT_CONN_LINGERING),
    [WEFT_CONN_ANSWERING] = BIT(WEFT_CONN_IDLE) | BIT(WEFT_CONN_LINGERING),
    [WEFT_CONN_DISCARDING] = BIT(WEFT_CONN_IDLE) | BIT(WEFT_CONN_LINGERING),
    [WEFT_CONN_LINGERING] = 0,
    [WEFT_CONN_CLOSING] = 0,
};

static uint64_t now(const weft_conn_t *conn)
{
  return weft_loop_now(conn->stream.loop);
}

/* (Re)starts the clock of the state. */
static void start_clock(weft_conn_t *conn)
{
  const weft_server_limits_t *limits = &conn->server->limits;
  uint64_t time = 0;
  switch ((weft_conn_state_t)conn->state) {
  case WEFT_CONN_IDLE:
    time = conn->server->draining ? DRAIN_GRACE : limits->idle_timeout;
    break;
  case WEFT_CONN_HEAD:
    time = limits->header_timeout;
    break;
  case WEFT_CONN_RECEIVING:
  case WEFT_CONN_DISCARDING:
    time = limits->body_timeout;
    break;
  case WEFT_CONN_LINGERING:
    time = LINGER_TIME;
    break;
  case WEFT_CONN_ANSWERING:
  case WEFT_CONN_CLOSING:
    conn->state_due = 0;
    return;
  }
  conn->state_due = now(conn) + time;
}

static void set_state(weft_conn_t *conn, weft_conn_state_t next)
{
  assert(next == WEFT_CONN_CLOSING ? conn->state != WEFT_CONN_CLOSING
                                   : next_states[conn->state] & BIT(next));
  conn->state = (uint8_t)next;
  conn->discarded = 0;
  start_clock(conn);
}

/* When the state is over, as things are; 0 for never. A body's time runs while
 * somebody waits for it, and the time of being idle or lingering begins once
 * the last answer is on its way: until then stall_due watches. */
static uint64_t due_of_state(const weft_conn_t *conn)
{
  switch ((weft_conn_state_t)conn->state) {
  case WEFT_CONN_RECEIVING:
    return conn->exchange.body_wanted ? conn->state_due : 0;
  case WEFT_CONN_IDLE:
  case WEFT_CONN_LINGERING:
    return weft_stream_unsent(&conn->stream) ? 0 : conn->state_due;
  default:
    return conn->state_due;
  }
}

int weft_conn_accept(weft_server_t *server,
                     uv_stream_t *listener,
                     bool unix_socket)
{
  weft_conn_t *conn = weft_calloc(sizeof(*conn));
  conn->server = server;
  int status = weft_stream_open(&conn->stream, server->loop, unix_socket,
                                &stream_events);
  weft_timer_init(&conn->timer, on_timer);
  weft_parser_init(&conn->parser, HTTP_REQUEST, &server->limits.parser);
  weft_server_opened(server, &conn->node);
  if (status == 0)
    status = uv_accept(listener, &conn->stream.uv.stream);
  if (status != 0) {
    conn->state = WEFT_CONN_CLOSING;
    weft_stream_close(&conn->stream, false);
    return status;
  }
  if (!unix_socket)
    uv_tcp_nodelay(&conn->stream.uv.tcp, 1);
  start_clock(conn);
  settle(conn);
  return 0;
}

/* ---- the end ------------------------------------------------------------- */

static void on_closed(weft_stream_t *stream)
{
  weft_conn_t *conn = WEFT_LIST_ENTRY(stream, weft_conn_t, stream);
  weft_server_t *server = conn->server;
  weft_timer_clear(stream->loop, &conn->timer);
  weft_parser_deinit(&conn->parser);
  weft_buf_deinit(&conn->in);
  weft_buf_deinit(&conn->exchange.body);
  weft_server_closed(server, &conn->node);
  free(conn);
}

/* With `reset` what the client got is not taken for all there is. */
static void close_now(weft_conn_t *conn, bool reset)
{
  set_state(conn, WEFT_CONN_CLOSING);
  weft_timer_clear(conn->stream.loop, &conn->timer);
  weft_stream_close(&conn->stream, reset);
}

static void tell_gone(weft_conn_t *conn, int status)
{
  if (!conn->exchange.running)
    return;
  conn->exchange.running = false;
  conn->server->handler.on_gone(conn->server->handler.data, &conn->exchange,
                                status);
}

/* Closes at once; a running exchange is told why. */
static void drop(weft_conn_t *conn, int status)
{
  if (conn->state == WEFT_CONN_CLOSING)
    return;
  close_now(conn, weft_stream_unsent(&conn->stream) > 0 ||
                      (conn->exchange.running && conn->exchange.answered));
  tell_gone(conn, status);
}

void weft_conn_close(weft_conn_t *conn) { drop(conn, UV_ECANCELED); }

/* Closes after all is written: the write side is shut, and what the client is
 * still sending is dropped for a while, so that its answer is not lost to a
 * reset (RFC 9112 section 9.6). */
static void linger(weft_conn_t *conn)
{
  set_state(conn, WEFT_CONN_LINGERING);
  weft_buf_deinit(&conn->in);
  weft_stream_shutdown(&conn->stream);
}

/* A client sees that a body with a length or in chunks is torn, and gets what
 * there is of it. One that ends with the connection only a reset can tear. */
void weft_conn_torn(weft_conn_t *conn)
{
  if (conn->exchange.until_close)
    close_now(conn, true);
  else
    linger(conn);
  settle(conn);
}

/* What an idle client has sent by now is still answered. */
void weft_conn_drain(weft_conn_t *conn)
{
  if (conn->state == WEFT_CONN_IDLE)
    start_clock(conn);
  settle(conn);
}

/* Answers a request that is none, and closes. */
static void refuse(weft_conn_t *conn, int status, const char *reason)
{
  const weft_handler_t *handler = &conn->server->handler;
  handler->on_refused(handler->data, conn, status, reason);
  weft_buf_t *out = weft_stream_out(&conn->stream);
  weft_write_status(out, status, weft_loop_date(conn->stream.loop));
  weft_buf_append_literal(out, "Content-Type: text/plain; charset=utf-8\r\n"
                               "Connection: close\r\n");
  weft_write_content_length(out, strlen(reason) + 1);
  weft_buf_printf(out, "\r\n%s\n", reason);
  linger(conn);
}

/* ---- one request after another ------------------------------------------- */

/* The head is whole: the exchange begins, and may be over when this returns. */
static void begin(weft_conn_t *conn)
{
  const weft_server_t *server = conn->server;
  weft_exchange_t *exchange = &conn->exchange;
  *exchange = (weft_exchange_t){.running = true};
  if (server->limits.request_timeout)
    exchange->deadline = now(conn) + server->limits.request_timeout;
  if (conn->parser.head.body == WEFT_BODY_NONE) {
    size_t used;
    weft_parsed_t end = weft_parser_feed(&conn->parser, "", 0, &used);
    assert(end == WEFT_PARSED_END);
    (void)end;
    exchange->body_complete = true;
    set_state(conn, WEFT_CONN_ANSWERING);
  } else {
    set_state(conn, WEFT_CONN_RECEIVING);
  }
  server->handler.on_request(server->handler.data, exchange);
}

void weft_conn_want_body(weft_conn_t *conn)
{
  if (conn->state == WEFT_CONN_RECEIVING)
    start_clock(conn);
  weft_stream_touch(&conn->stream);
}

/* Tells whoever waits for the body that something is there. */
static void tell_body(weft_conn_t *conn)
{
  weft_exchange_t *exchange = &conn->exchange;
  if (!exchange->running || !exchange->body_wanted)
    return;
  exchange->body_wanted = false;
  conn->server->handler.on_body(conn->server->handler.data, exchange);
}

static void take_body(weft_conn_t *conn, const char *bytes, size_t len)
{
  conn->exchange.body_len += len;
  if (conn->state == WEFT_CONN_DISCARDING) {
    conn->discarded += (uint32_t)len;
    if (conn->discarded > WEFT_DRAIN_MAX)
      linger(conn);
    return;
  }
  weft_buf_append(&conn->exchange.body, bytes, len);
  tell_body(conn);
}

/* Nothing more of this request comes: its body is complete (0), or is bad. */
static void received(weft_conn_t *conn, int body_status)
{
  weft_exchange_t *exchange = &conn->exchange;
  if (conn->state == WEFT_CONN_DISCARDING) {
    if (body_status)
      linger(conn);
    else
      set_state(conn, WEFT_CONN_IDLE);
    return;
  }
  exchange->body_complete = body_status == 0;
  exchange->body_status = (int16_t)body_status;
  if (body_status)
    exchange->close = true;
  set_state(conn, WEFT_CONN_ANSWERING);
  tell_body(conn);
}

void weft_conn_answered(weft_conn_t *conn)
{
  weft_loop_take_back(conn->stream.loop, &conn->exchange.body);
  if (conn->state == WEFT_CONN_CLOSING)
    return;
  if (conn->exchange.close)
    linger(conn);
  else if (conn->state == WEFT_CONN_ANSWERING)
    set_state(conn, WEFT_CONN_IDLE);
  else
    set_state(conn, WEFT_CONN_DISCARDING);
  settle(conn);
}

/* Whether the next bytes can be parsed now, rather than kept. */
static bool can_parse(const weft_conn_t *conn, size_t len)
{
  switch (conn->state) {
  case WEFT_CONN_IDLE:
  case WEFT_CONN_HEAD:
    return len && weft_stream_unsent(&conn->stream) <= UNSENT_HIGH;
  case WEFT_CONN_RECEIVING:
    return conn->exchange.body.len < WEFT_BODY_HIGH;
  case WEFT_CONN_DISCARDING:
    return true;
  default:
    return false;
  }
}

/* Parses as many of the bytes as the state allows; returns how many. */
static size_t pump(weft_conn_t *conn, const char *bytes, size_t len)
{
  size_t done = 0;
  conn->pumping = true;
  while (can_parse(conn, len - done)) {
    size_t used;
    weft_parsed_t parsed =
        weft_parser_feed(&conn->parser, bytes + done, len - done, &used);
    done += used;
    if (parsed == WEFT_PARSED_MORE) {
      if (conn->state == WEFT_CONN_IDLE && !weft_parser_idle(&conn->parser))
        set_state(conn, WEFT_CONN_HEAD);
      break;
    }
    if (parsed == WEFT_PARSED_HEAD)
      begin(conn);
    else if (parsed == WEFT_PARSED_BODY)
      take_body(conn, conn->parser.body, conn->parser.body_len);
    else if (parsed == WEFT_PARSED_END)
      received(conn, 0);
    else if (conn->state == WEFT_CONN_RECEIVING ||
             conn->state == WEFT_CONN_DISCARDING)
      received(conn, conn->parser.status ? conn->parser.status : 400);
    else
      refuse(conn, conn->parser.status, conn->parser.reason);
  }
  conn->pumping = false;
  return done;
}

/* Parses what was kept, if the state allows it by now. Without any bytes this
 * finds the end of a body whose last bytes were taken only now. */
static void pump_kept(weft_conn_t *conn)
{
  weft_buf_t *in = &conn->in;
  size_t done = pump(conn, in->len ? weft_buf_bytes(in) : "", in->len);
  if (in->len) /* not if lingering dropped it */
    weft_buf_consume(in, done);
  if (!in->len)
    weft_loop_take_back(conn->stream.loop, in);
}

static bool wants_bytes(const weft_conn_t *conn)
{
  switch ((weft_conn_state_t)conn->state) {
  case WEFT_CONN_IDLE:
  case WEFT_CONN_HEAD:
    return weft_stream_unsent(&conn->stream) <= UNSENT_HIGH;
  case WEFT_CONN_RECEIVING:
    return conn->exchange.body.len < WEFT_BODY_HIGH;
  case WEFT_CONN_ANSWERING:
    return conn->in.len < IN_HIGH && !conn->exchange.body_status;
  case WEFT_CONN_LINGERING: /* past the limit it has to wait for its end */
    return conn->discarded < LINGER_MAX;
  default:
    return true;
  }
}

static uint64_t earlier(uint64_t due, uint64_t other)
{
  return due && (!other || due < other) ? due : other;
}

static void arm_timer(weft_conn_t *conn)
{
  uint64_t sent = weft_stream_sent(&conn->stream);
  if (!weft_stream_unsent(&conn->stream))
    conn->stall_due = 0;
  else if (!conn->stall_due || sent != conn->sent)
    conn->stall_due = now(conn) + conn->server->limits.write_timeout;
  conn->sent = sent;

  uint64_t due = earlier(due_of_state(conn), conn->stall_due);
  if (conn->exchange.running)
    due = earlier(due, conn->exchange.deadline);
  if (conn->state == WEFT_CONN_IDLE && conn->parser.head.headers)
    due = earlier(due, now(conn) + TRIM_TIME);
  if (due)
    weft_timer_set(conn->stream.loop, &conn->timer, due);
  else
    weft_timer_clear(conn->stream.loop, &conn->timer);
}

/* The client sends nothing more. What it asked for is still answered; what it
 * asked for only in part is not. */
static void after_end(weft_conn_t *conn)
{
  const weft_exchange_t *exchange = &conn->exchange;
  if (conn->in.len)
    return; /* not yet */
  switch ((weft_conn_state_t)conn->state) {
  case WEFT_CONN_RECEIVING:
    if (exchange->body.len >= WEFT_BODY_HIGH)
      return; /* the body's end may be parsed when some of it was taken */
    if (exchange->answered) {
      drop(conn, UV_ECONNRESET);
    } else {
      linger(conn);
      tell_gone(conn, UV_ECONNRESET);
    }
    break;
  case WEFT_CONN_ANSWERING:
    if (conn->server->limits.end_is_gone)
      drop(conn, UV_ECONNRESET);
    break;
  case WEFT_CONN_IDLE:
  case WEFT_CONN_HEAD:
  case WEFT_CONN_DISCARDING:
    linger(conn);
    break;
  case WEFT_CONN_LINGERING:
  case WEFT_CONN_CLOSING:
    break;
  }
  if (conn->state == WEFT_CONN_LINGERING && !weft_stream_unsent(&conn->stream))
    drop(conn, 0);
}

/* What every entry into this file ends with: parse what can be parsed, write,
 * read on or not, and set the timer to what is now waited for. */
static void settle(weft_conn_t *conn)
{
  if (conn->pumping || conn->state == WEFT_CONN_CLOSING)
    return; /* who pumps settles afterwards */
  do {
    pump_kept(conn);
    weft_list_remove(&conn->stream.touched);
    if (conn->stream.out.len)
      weft_stream_flush(&conn->stream);
    /* once it is written there may be room for the next answer */
  } while (conn->in.len && can_parse(conn, conn->in.len));
  if (conn->stream.ended)
    after_end(conn);
  if (conn->state == WEFT_CONN_CLOSING)
    return;
  if (wants_bytes(conn))
    weft_stream_read_start(&conn->stream);
  else
    weft_stream_read_stop(&conn->stream);
  arm_timer(conn);
}

/* ---- what the stream and the clock tell ---------------------------------- */

static void on_read(weft_stream_t *stream, const char *bytes, size_t len)
{
  weft_conn_t *conn = WEFT_LIST_ENTRY(stream, weft_conn_t, stream);
  size_t done = 0;
  if (conn->state == WEFT_CONN_LINGERING) {
    conn->discarded += (uint32_t)len;
    done = len;
  } else if (!conn->in.len) {
    done = pump(conn, bytes, len);
  } /* else settle parses it, behind what came before */
  if (done < len && conn->state < WEFT_CONN_LINGERING) {
    if (!conn->in.data)
      weft_loop_lend(stream->loop, &conn->in);
    weft_buf_append(&conn->in, bytes + done, len - done);
  }
  if (conn->state == WEFT_CONN_RECEIVING)
    start_clock(conn);
  settle(conn);
}

static void on_end(weft_stream_t *stream)
{
  settle(WEFT_LIST_ENTRY(stream, weft_conn_t, stream));
}

static void on_error(weft_stream_t *stream, int status)
{
  drop(WEFT_LIST_ENTRY(stream, weft_conn_t, stream), status);
}

static void on_drain(weft_stream_t *stream)
{
  weft_conn_t *conn = WEFT_LIST_ENTRY(stream, weft_conn_t, stream);
  weft_exchange_t *exchange = &conn->exchange;
  if (conn->state == WEFT_CONN_IDLE || conn->state == WEFT_CONN_LINGERING)
    start_clock(conn);
  if (exchange->running && exchange->drain_wanted) {
    exchange->drain_wanted = false;
    conn->server->handler.on_drain(conn->server->handler.data, exchange);
  }
  settle(conn);
}

/* The request's time is over: first the handler may answer, then we do. */
static void on_deadline(weft_conn_t *conn)
{
  weft_exchange_t *exchange = &conn->exchange;
  const weft_handler_t *handler = &conn->server->handler;
  if (exchange->answered && weft_stream_unsent(&conn->stream)) {
    /* while the answer goes out the client's pace counts */
    exchange->deadline = now(conn) + conn->server->limits.request_timeout;
  } else if (!exchange->overdue) {
    exchange->overdue = true;
    exchange->deadline = now(conn) + DEADLINE_GRACE;
    handler->on_deadline(handler->data, exchange);
  } else if (exchange->answered) {
    drop(conn, UV_ETIMEDOUT);
  } else {
    tell_gone(conn, UV_ETIMEDOUT);
    if (conn->state >= WEFT_CONN_LINGERING)
      return;
    exchange->running = true; /* once more: the answer is ours now */
    weft_exchange_answer(exchange, 504);
  }
}

static void on_state_due(weft_conn_t *conn)
{
  switch ((weft_conn_state_t)conn->state) {
  case WEFT_CONN_HEAD:
    refuse(conn, 408, "The request's header took too long.");
    break;
  case WEFT_CONN_RECEIVING:
    received(conn, 408);
    break;
  case WEFT_CONN_DISCARDING:
    linger(conn);
    break;
  default: /* idle or lingering for long enough */
    drop(conn, UV_ETIMEDOUT);
  }
}

static void on_timer(weft_timer_t *timer)
{
  weft_conn_t *conn = WEFT_LIST_ENTRY(timer, weft_conn_t, timer);
  const weft_exchange_t *exchange = &conn->exchange;
  uint64_t at = now(conn), due = due_of_state(conn);
  if (conn->stall_due && conn->stall_due <= at &&
      weft_stream_sent(&conn->stream) == conn->sent)
    drop(conn, UV_ETIMEDOUT);
  else if (exchange->running && exchange->deadline && exchange->deadline <= at)
    on_deadline(conn);
  else if (due && due <= at)
    on_state_due(conn);
  else if (conn->state == WEFT_CONN_IDLE)
    weft_parser_trim(&conn->parser);
  settle(conn);
}

void weft_conn_peer(weft_conn_t *conn, char address[46], int *port)
{
  weft_stream_peer(&conn->stream, address, port);
}

static void on_turn(weft_stream_t *stream)
{
  settle(WEFT_LIST_ENTRY(stream, weft_conn_t, stream));
}

static const weft_stream_events_t stream_events = {
    .on_read = on_read,
    .on_end = on_end,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_turn = on_turn,
    .on_closed = on_closed,
};

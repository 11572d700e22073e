#include "net/client.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SPARES_MAX = 256 };

static void on_timer(weft_timer_t *timer);
static const weft_borrower_events_t borrower_events;

/* ---- memory -------------------------------------------------------------- */

weft_client_t *weft_client_new(weft_pool_t *pool)
{
  weft_spares_t *spares = weft_pool_spares(pool);
  if (!weft_list_empty(&spares->list)) {
    /* the one that ended last: its memory is still in the cache */
    weft_client_t *client =
        WEFT_LIST_ENTRY(spares->list.prev, weft_client_t, spare);
    weft_list_remove(&client->spare);
    spares->count--;
    memset(&client->owner, 0, sizeof(client->owner));
    return client;
  }
  weft_client_t *client = weft_calloc(sizeof(*client));
  client->pool = pool;
  client->borrower.events = &borrower_events;
  weft_list_init(&client->spare);
  weft_timer_init(&client->timer, on_timer);
  return client;
}

static void destroy(weft_client_t *client)
{
  weft_timer_clear(weft_pool_loop(client->pool), &client->timer);
  weft_buf_deinit(&client->request);
  free(client);
}

void weft_client_free(weft_client_t *client)
{
  assert(!client->running);
  weft_spares_t *spares = weft_pool_spares(client->pool);
  if (spares->count == SPARES_MAX) {
    destroy(client);
    return;
  }
  weft_list_push(&spares->list, &client->spare);
  spares->count++;
}

void weft_clients_free(weft_pool_t *pool)
{
  weft_spares_t *spares = weft_pool_spares(pool);
  while (!weft_list_empty(&spares->list)) {
    weft_client_t *client =
        WEFT_LIST_ENTRY(spares->list.next, weft_client_t, spare);
    weft_list_remove(&client->spare);
    spares->count--;
    destroy(client);
  }
}

/* ---- the end ------------------------------------------------------------- */

static void stop(weft_client_t *client)
{
  client->running = false;
  weft_tls_context_release(client->tls);
  client->tls = NULL;
}

static void end(weft_client_t *client, const weft_client_result_t *result)
{
  stop(client);
  client->on_done(client, result);
}

static void release(weft_client_t *client)
{
  weft_loop_take_back(weft_pool_loop(client->pool), &client->received);
  weft_pool_drop(&client->borrower);
}

static void fail(weft_client_t *client, int status, const char *detail)
{
  release(client);
  end(client, &(weft_client_result_t){.status = status, .detail = detail});
}

/* What it does at the moment, for the message of a time-out. */
static const char *activity(const weft_client_t *client)
{
  const weft_borrower_t *borrower = &client->borrower;
  if (borrower->state == WEFT_BORROWER_IN_LINE)
    return "waiting for a free connection";
  if (borrower->state != WEFT_BORROWER_LENT)
    return borrower->dial.resolving   ? "looking up the name"
           : borrower->dial.connected ? "in the TLS handshake"
                                      : "connecting";
  if (client->answered)
    return "reading the response";
  return weft_stream_unsent(&borrower->link->stream) ? "sending the request"
                                                     : "waiting for the answer";
}

static void time_out(weft_client_t *client, const char *limit)
{
  weft_client_result_t result = {
      .status = UV_ETIMEDOUT, .detail = activity(client), .limit = limit};
  release(client);
  end(client, &result);
}

void weft_client_cancel(weft_client_t *client)
{
  release(client);
  stop(client);
}

/* The response is whole. `reusable` says that nothing speaks against sending
 * another request behind this one. */
static void complete(weft_client_t *client, bool reusable)
{
  weft_link_t *link = client->borrower.link;
  weft_buf_t received = client->received;
  weft_client_result_t result = {
      .head = &link->parser.head,
      .body = client->whole ? client->whole : weft_buf_bytes(&received),
      .body_len = client->whole ? client->whole_len : received.len};
  weft_buf_init(&client->received);
  /* first, so that a script that goes on at once finds the link idle; both
   * the head and what was read last stay until the loop turns */
  if (reusable)
    weft_pool_give_back(&client->borrower);
  else
    weft_pool_drop(&client->borrower);
  weft_loop_t *loop = weft_pool_loop(client->pool);
  end(client, &result); /* may free the client */
  weft_loop_take_back(loop, &received);
}

/* ---- time ---------------------------------------------------------------- */

static void set_timer(weft_client_t *client)
{
  uint64_t due = client->due;
  if (client->read_due && client->read_due < due)
    due = client->read_due;
  weft_timer_set(weft_pool_loop(client->pool), &client->timer, due);
}

/* The time between two reads begins. */
static void restart_read_time(weft_client_t *client)
{
  if (!client->read_timeout)
    return;
  client->read_due =
      weft_loop_now(weft_pool_loop(client->pool)) + client->read_timeout;
  set_timer(client);
}

/* An exchange that ends in time leaves its timer set, and the next one that
 * uses this memory sets it to later, which costs nothing. */
static void on_timer(weft_timer_t *timer)
{
  weft_client_t *client = WEFT_LIST_ENTRY(timer, weft_client_t, timer);
  if (!client->running)
    return;
  uint64_t now = weft_loop_now(weft_pool_loop(client->pool));
  if (now >= client->due)
    time_out(client, "timeout");
  else if (!client->read_due || now < client->read_due)
    set_timer(client);
  else if (weft_stream_unsent(&client->borrower.link->stream))
    restart_read_time(client); /* no wonder that nothing comes */
  else
    time_out(client, "read_timeout");
}

/* ---- sending ------------------------------------------------------------- */

static void borrow(weft_client_t *client, weft_borrow_t how);

void weft_client_start(weft_client_t *client,
                       const weft_client_request_t *request)
{
  assert(!client->running);
  weft_loop_t *loop = weft_pool_loop(client->pool);
  uv_update_time(&loop->uv); /* the script may have computed for a while */
  client->running = true;
  client->due = weft_loop_now(loop) + request->timeout;
  client->read_due = 0;
  client->read_timeout = request->read_timeout;
  client->borrower.connect_timeout = request->connect_timeout;
  weft_buf_clear(&client->request);
  weft_buf_append(&client->request, request->key, request->key_len);
  weft_buf_append(&client->request, request->head, request->head_len);
  client->key_len = request->key_len;
  client->tls = request->tls ? weft_tls_context_hold(request->tls) : NULL;
  client->body_len = request->body_len;
  client->body = NULL;
  if (request->body_len <= WEFT_CLIENT_COPIED)
    weft_buf_append(&client->request, request->body, request->body_len);
  else
    client->body = request->body;
  client->head_only = request->head_only;
  client->idempotent = request->idempotent;
  client->retried = client->answered = client->has_head = false;
  client->max_body = request->max_body;
  client->whole = NULL;
  set_timer(client);
  borrow(client, request->idempotent ? WEFT_BORROW_ANY : WEFT_BORROW_PROBED);
}

static void send_request(weft_client_t *client)
{
  weft_link_t *link = client->borrower.link;
  weft_stream_t *stream = &link->stream;
  const char *head = weft_buf_bytes(&client->request) + client->key_len;
  size_t head_len = client->request.len - client->key_len;
  if (client->head_only)
    weft_parser_expect_no_body(&link->parser);
  restart_read_time(client);
  client->untouched = true;
  if (client->body) {
    weft_buf_append(weft_stream_out(stream), head, head_len);
    weft_stream_flush_with(stream, client->body, client->body_len);
  } else {
    weft_stream_flush_with(stream, head, head_len);
  }
  if (link->borrower == &client->borrower) /* not if on_gone was called */
    client->untouched = false;
}

static void borrow(weft_client_t *client, weft_borrow_t how)
{
  if (weft_pool_borrow(client->pool, &client->borrower,
                       weft_buf_bytes(&client->request), client->key_len,
                       client->tls, how))
    send_request(client);
}

static weft_client_t *client_of(weft_borrower_t *borrower)
{
  return WEFT_LIST_ENTRY(borrower, weft_client_t, borrower);
}

static void on_lent(weft_borrower_t *borrower)
{
  send_request(client_of(borrower));
}

static void on_refused(weft_borrower_t *borrower, int status)
{
  weft_client_t *client = client_of(borrower);
  if (status == UV_ETIMEDOUT)
    time_out(client, "connect_timeout");
  else
    fail(client, status, borrower->dial.detail);
}

/* ---- receiving ----------------------------------------------------------- */

/* All of these return false when they have ended the exchange. */

static bool take_head(weft_client_t *client)
{
  const weft_head_t *head = &client->borrower.link->parser.head;
  if (head->status == 101) {
    fail(client, UV_EPROTO, "a switch of protocols that nobody asked for");
    return false;
  }
  if (head->status < 200)
    return true; /* an interim response: the real one follows */
  client->has_head = true;
  if (head->body == WEFT_BODY_SIZED &&
      head->content_length > client->max_body) {
    fail(client, UV_EMSGSIZE, "the body is larger than max_body_size");
    return false;
  }
  return true;
}

static bool take_body(weft_client_t *client)
{
  const weft_parser_t *parser = &client->borrower.link->parser;
  weft_buf_t *received = &client->received;
  if (parser->head.body == WEFT_BODY_SIZED &&
      parser->body_len == parser->head.content_length) {
    client->whole = parser->body; /* and so it ends with this read */
    client->whole_len = parser->body_len;
    return true;
  }
  if (received->len + parser->body_len > client->max_body) {
    fail(client, UV_EMSGSIZE, "the body is larger than max_body_size");
    return false;
  }
  if (!received->data)
    weft_loop_lend(weft_pool_loop(client->pool), received);
  weft_buf_append(received, parser->body, parser->body_len);
  return true;
}

static void on_read(weft_borrower_t *borrower, const char *bytes, size_t len)
{
  weft_client_t *client = client_of(borrower);
  weft_parser_t *parser = &borrower->link->parser;
  client->answered = true;
  restart_read_time(client);
  for (size_t done = 0;;) {
    size_t used;
    weft_parsed_t parsed =
        weft_parser_feed(parser, bytes + done, len - done, &used);
    done += used;
    switch (parsed) {
    case WEFT_PARSED_MORE:
      return;
    case WEFT_PARSED_HEAD:
      if (!take_head(client))
        return;
      break;
    case WEFT_PARSED_BODY:
      if (!take_body(client))
        return;
      break;
    case WEFT_PARSED_END:
      if (!client->has_head)
        break;
      if (done == len)
        complete(client, parser->head.keep_alive);
      else /* which of the two is wrong, the length or the bytes? */
        fail(client, UV_EPROTO, "bytes behind the end of the response");
      return;
    case WEFT_PARSED_ERROR:
      fail(client, UV_EPROTO, parser->reason);
      return;
    }
  }
}

/* A server may close an idle connection at the very moment it is used. Nothing
 * is lost then: the request is sent once more, on a connection of its own, if
 * that cannot make the server do something twice. */
static bool may_retry(const weft_client_t *client)
{
  return client->borrower.used && !client->retried && !client->answered &&
         (client->idempotent || client->untouched);
}

static const char *detail_of_end(weft_client_t *client, int status)
{
  weft_link_t *link = client->borrower.link;
  if (status == WEFT_ETLS)
    return weft_stream_reason(&link->stream);
  if (!client->answered)
    return "the connection ended before an answer came";
  if (status == WEFT_ETRUNCATED && client->has_head &&
      weft_parser_finish(&link->parser) == WEFT_PARSED_END)
    return "the body ends with the connection, and that ended without TLS's "
           "close_notify: it may be cut short";
  return "the connection ended inside the response";
}

static void on_gone(weft_borrower_t *borrower, int status)
{
  weft_client_t *client = client_of(borrower);
  if (status == UV_EOF && client->has_head &&
      weft_parser_finish(&borrower->link->parser) == WEFT_PARSED_END) {
    complete(client, false);
  } else if (may_retry(client)) {
    client->retried = true;
    client->read_due = 0;
    weft_pool_drop(borrower);
    borrow(client, WEFT_BORROW_FRESH);
  } else {
    fail(client, status, detail_of_end(client, status));
  }
}

static const weft_borrower_events_t borrower_events = {
    .on_lent = on_lent,
    .on_refused = on_refused,
    .on_read = on_read,
    .on_gone = on_gone,
};

#include "net/pool.h"

#include "base/alloc.h"
#include "net/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What a server may send us as a head. Ours is the worker's memory alone, so
 * the limits are wide: the most that offsets of 16 bits allow. */
static const weft_parser_limits_t limits = {.head_size = UINT16_MAX,
                                            .header_count = 1000};

enum { BUCKETS = 256 };

/* A server: a name and a port, how to speak TLS with it, and the connections to
 * it. It exists as long as there is one, or somebody wants one. */
struct weft_host {
  weft_pool_t *pool;
  weft_list_t node; /* in its bucket */
  weft_list_t idle; /* of weft_link_t.idle: the one used last at the end */
  weft_list_t line; /* of weft_borrower_t.node: who waits longest in front */
  unsigned idle_count;
  unsigned count; /* links: being dialled, lent and idle */
  uint16_t port;
  char *name; /* what to look up */
  const char
      *server_name; /* who is to answer, if not `name`; in `key`; or NULL */
  weft_tls_context_t *tls; /* held; NULL for connections without TLS */
  size_t key_len;
  char key[];
};

struct weft_pool {
  weft_loop_t *loop;
  weft_resolver_t *resolver;
  weft_tls_cache_t tls;
  weft_list_t buckets[BUCKETS]; /* of weft_host_t.node */
  size_t link_count;            /* also those that are closing */
  weft_spares_t spares;
  bool closing;
};

static const weft_stream_events_t stream_events;
static void on_expiry(weft_timer_t *timer);

weft_pool_t *weft_pool_open(weft_loop_t *loop)
{
  weft_pool_t *pool = weft_calloc(sizeof(*pool));
  pool->loop = loop;
  pool->resolver = weft_resolver_open(loop);
  for (int i = 0; i < BUCKETS; i++)
    weft_list_init(&pool->buckets[i]);
  weft_list_init(&pool->spares.list);
  weft_tls_cache_init(&pool->tls);
  return pool;
}

weft_resolver_t *weft_pool_resolver(weft_pool_t *pool)
{
  return pool->resolver;
}

weft_tls_cache_t *weft_pool_tls(weft_pool_t *pool) { return &pool->tls; }

weft_loop_t *weft_pool_loop(weft_pool_t *pool) { return pool->loop; }

weft_spares_t *weft_pool_spares(weft_pool_t *pool) { return &pool->spares; }

static void check_end(weft_pool_t *pool)
{
  if (pool->closing && pool->link_count == 0)
    free(pool);
}

/* ---- hosts --------------------------------------------------------------- */

static uint32_t hash(const char *key, size_t len)
{
  uint32_t h = 2166136261u; /* FNV-1a */
  for (size_t i = 0; i < len; i++)
    h = (h ^ (unsigned char)key[i]) * 16777619u;
  return h;
}

static weft_host_t *add_host(weft_pool_t *pool,
                             weft_list_t *bucket,
                             const char *key,
                             size_t len,
                             weft_tls_context_t *tls)
{
  weft_host_t *host = weft_calloc(sizeof(*host) + len + 1);
  host->pool = pool;
  host->key_len = len;
  memcpy(host->key, key, len);
  const char *bar = memchr(host->key, '|', len);
  host->server_name = bar ? bar + 1 : NULL;
  host->tls = tls ? weft_tls_context_hold(tls) : NULL;
  const char *colon =
      memrchr(host->key, ':', bar ? (size_t)(bar - host->key) : len);
  assert(colon);
  bool bracketed = *key == '[';
  host->name = weft_strndup(host->key + bracketed,
                            (size_t)(colon - host->key) - 2 * bracketed);
  host->port = (uint16_t)atoi(colon + 1);
  weft_list_init(&host->idle);
  weft_list_init(&host->line);
  weft_list_push(bucket, &host->node);
  return host;
}

static weft_host_t *
host_of(weft_pool_t *pool, const char *key, size_t len, weft_tls_context_t *tls)
{
  weft_list_t *bucket = &pool->buckets[hash(key, len) % BUCKETS];
  for (weft_list_t *it = bucket->next; it != bucket; it = it->next) {
    weft_host_t *host = WEFT_LIST_ENTRY(it, weft_host_t, node);
    if (host->key_len == len && host->tls == tls &&
        memcmp(host->key, key, len) == 0)
      return host;
  }
  return add_host(pool, bucket, key, len, tls);
}

/* ---- links --------------------------------------------------------------- */

static weft_link_t *link_of(weft_stream_t *stream)
{
  return WEFT_LIST_ENTRY(stream, weft_link_t, stream);
}

static void lend(weft_link_t *link, weft_borrower_t *borrower)
{
  link->borrower = borrower;
  borrower->link = link;
  borrower->state = WEFT_BORROWER_LENT;
}

static void on_dialled(weft_dial_t *dial, int status, weft_stream_t *stream);

static void start_dial(weft_host_t *host, weft_borrower_t *borrower)
{
  weft_pool_t *pool = host->pool;
  host->count++;
  borrower->state = WEFT_BORROWER_DIALLING;
  const char *answering = host->server_name ? host->server_name : host->name;
  weft_tls_t *tls =
      host->tls ? weft_tls_new(host->tls, pool->loop, answering, host->port)
                : NULL;
  weft_dial_start(&borrower->dial, pool->loop, pool->resolver, host->name,
                  host->port,
                  weft_loop_now(pool->loop) + borrower->connect_timeout,
                  sizeof(weft_link_t), tls, on_dialled);
}

/* A link is gone: the next in line may have another, and a host that nobody
 * needs any longer goes too. */
static void link_ended(weft_host_t *host)
{
  host->count--;
  if (!weft_list_empty(&host->line)) {
    weft_borrower_t *next =
        WEFT_LIST_ENTRY(host->line.next, weft_borrower_t, node);
    weft_list_remove(&next->node);
    start_dial(host, next);
  } else if (host->count == 0) {
    weft_list_remove(&host->node);
    weft_tls_context_release(host->tls);
    free(host->name);
    free(host);
  }
}

/* Closes a link that is idle or lent. */
static void close_link(weft_link_t *link)
{
  weft_host_t *host = link->host;
  if (!weft_list_empty(&link->idle)) {
    weft_list_remove(&link->idle);
    host->idle_count--;
  }
  link->borrower = NULL;
  link->host = NULL;
  weft_timer_clear(link->stream.loop, &link->expiry);
  weft_stream_close(&link->stream, false);
  link_ended(host);
}

static void on_dialled(weft_dial_t *dial, int status, weft_stream_t *stream)
{
  weft_borrower_t *borrower = WEFT_LIST_ENTRY(dial, weft_borrower_t, dial);
  weft_host_t *host = borrower->host;
  if (status != 0) {
    borrower->state = WEFT_BORROWER_NONE;
    link_ended(host);
    borrower->events->on_refused(borrower, status);
    return;
  }
  weft_link_t *link = link_of(stream);
  stream->events = &stream_events;
  link->pool = host->pool;
  link->host = host;
  link->pool->link_count++;
  weft_parser_init(&link->parser, HTTP_RESPONSE, &limits);
  weft_timer_init(&link->expiry, on_expiry);
  weft_list_init(&link->idle);
  weft_stream_read_start(stream); /* for good: an idle link is watched too */
  if (stream->closing) {
    borrower->state = WEFT_BORROWER_NONE;
    borrower->events->on_refused(borrower, UV_ENOTCONN);
    return;
  }
  borrower->used = false;
  lend(link, borrower);
  borrower->events->on_lent(borrower);
}

/* ---- borrowing ----------------------------------------------------------- */

/* Whether nothing has arrived on a link that is about to be used: no end, and
 * no bytes that nobody asked for. What the loop was told so far may be old. */
static bool stands(weft_link_t *link)
{
  uv_os_fd_t fd;
  char byte;
  return uv_fileno(&link->stream.uv.handle, &fd) == 0 &&
         recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EWOULDBLOCK);
}

static weft_link_t *last_idle(weft_host_t *host)
{
  return WEFT_LIST_ENTRY(host->idle.prev, weft_link_t, idle);
}

bool weft_pool_borrow(weft_pool_t *pool,
                      weft_borrower_t *borrower,
                      const char *key,
                      size_t key_len,
                      weft_tls_context_t *tls,
                      weft_borrow_t how)
{
  assert(borrower->state == WEFT_BORROWER_NONE && !pool->closing);
  weft_host_t *host = host_of(pool, key, key_len, tls);
  host->count++; /* or the host might go with a link that does not stand */
  while (how != WEFT_BORROW_FRESH && host->idle_count) {
    weft_link_t *link = last_idle(host);
    if (how == WEFT_BORROW_PROBED && !stands(link)) {
      close_link(link);
      continue;
    }
    host->count--;
    weft_list_remove(&link->idle);
    host->idle_count--;
    borrower->used = true;
    lend(link, borrower);
    return true;
  }
  host->count--;
  borrower->host = host;
  if (host->count >= WEFT_LINKS_MAX && host->idle_count)
    close_link(WEFT_LIST_ENTRY(host->idle.next, weft_link_t, idle));
  if (host->count < WEFT_LINKS_MAX) {
    start_dial(host, borrower);
  } else {
    borrower->state = WEFT_BORROWER_IN_LINE;
    weft_list_push(&host->line, &borrower->node);
  }
  return false;
}

void weft_pool_give_back(weft_borrower_t *borrower)
{
  weft_link_t *link = borrower->link;
  weft_host_t *host = link->host;
  assert(borrower->state == WEFT_BORROWER_LENT);
  assert(weft_parser_idle(&link->parser));
  if (link->stream.ended || link->stream.failed ||
      weft_stream_unsent(&link->stream) ||
      (weft_list_empty(&host->line) && host->idle_count >= WEFT_LINKS_IDLE)) {
    weft_pool_drop(borrower);
    return;
  }
  borrower->state = WEFT_BORROWER_NONE;
  borrower->link = NULL;
  if (weft_list_empty(&host->line)) {
    link->borrower = NULL;
    weft_list_push(&host->idle, &link->idle);
    host->idle_count++;
    weft_timer_set(link->stream.loop, &link->expiry,
                   weft_loop_now(link->stream.loop) + WEFT_IDLE_TIME);
    return;
  }
  weft_borrower_t *next =
      WEFT_LIST_ENTRY(host->line.next, weft_borrower_t, node);
  weft_list_remove(&next->node);
  next->used = true;
  lend(link, next);
  next->events->on_lent(next);
}

void weft_pool_drop(weft_borrower_t *borrower)
{
  weft_borrower_state_t state = borrower->state;
  weft_link_t *link = borrower->link;
  borrower->state = WEFT_BORROWER_NONE;
  borrower->link = NULL;
  switch (state) {
  case WEFT_BORROWER_NONE:
    break;
  case WEFT_BORROWER_IN_LINE: /* so the host has links, and stays */
    weft_list_remove(&borrower->node);
    break;
  case WEFT_BORROWER_DIALLING:
    weft_dial_cancel(&borrower->dial);
    link_ended(borrower->host);
    break;
  case WEFT_BORROWER_LENT:
    close_link(link);
    break;
  }
}

/* ---- what streams and the clock tell ------------------------------------- */

static void on_read(weft_stream_t *stream, const char *bytes, size_t len)
{
  weft_link_t *link = link_of(stream);
  if (link->borrower)
    link->borrower->events->on_read(link->borrower, bytes, len);
  else
    close_link(link); /* an answer that nobody asked for */
}

static void on_error(weft_stream_t *stream, int status)
{
  weft_link_t *link = link_of(stream);
  if (link->borrower)
    link->borrower->events->on_gone(link->borrower, status);
  else
    close_link(link);
}

static void on_end(weft_stream_t *stream) { on_error(stream, UV_EOF); }

static void on_drain(weft_stream_t *stream) { (void)stream; }

static void on_turn(weft_stream_t *stream) { weft_stream_flush(stream); }

static void on_expiry(weft_timer_t *timer)
{
  weft_link_t *link = WEFT_LIST_ENTRY(timer, weft_link_t, expiry);
  if (!link->borrower) /* a link in use gets a new time when it is given back */
    close_link(link);
}

static void on_closed(weft_stream_t *stream)
{
  weft_link_t *link = link_of(stream);
  weft_pool_t *pool = link->pool;
  weft_parser_deinit(&link->parser);
  free(link);
  pool->link_count--;
  check_end(pool);
}

static const weft_stream_events_t stream_events = {
    .on_read = on_read,
    .on_end = on_end,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_turn = on_turn,
    .on_closed = on_closed,
};

/* ---- the end ------------------------------------------------------------- */

void weft_pool_close(weft_pool_t *pool)
{
  pool->closing = true;
  weft_resolver_close(pool->resolver);
  weft_clients_free(pool);
  weft_tls_cache_deinit(&pool->tls);
  for (int i = 0; i < BUCKETS; i++) {
    weft_list_t *bucket = &pool->buckets[i];
    while (!weft_list_empty(bucket)) {
      weft_host_t *host = WEFT_LIST_ENTRY(bucket->next, weft_host_t, node);
      assert(host->idle_count); /* else somebody still borrows */
      close_link(last_idle(host));
    }
  }
  check_end(pool);
}

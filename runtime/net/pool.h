/* Outgoing HTTP connections of a worker: open, lend, take back, watch while
 * idle, expire. They outlive generations, so nothing here knows Lua; what is
 * said on a connection is the borrower's business (net/client.c). */
#pragma once

#include "http/parser.h"
#include "net/dial.h"

typedef struct weft_pool weft_pool_t;
typedef struct weft_host weft_host_t;
typedef struct weft_link weft_link_t;
typedef struct weft_borrower weft_borrower_t;

enum {
  WEFT_LINKS_MAX = 256,      /* to one host, with idle ones; who wants more
                                stands in line */
  WEFT_LINKS_IDLE = 64,      /* to one host */
  WEFT_IDLE_TIME = 60 * 1000 /* ms; a server may of course close it earlier */
};

typedef struct {
  weft_list_t list;
  unsigned count;
} weft_spares_t;

/* One connection. The pool owns it, also while it is lent. */
struct weft_link {
  weft_stream_t stream; /* first: weft_dial_start makes the memory */
  weft_parser_t parser; /* of responses; between two while idle */
  weft_pool_t *pool;
  weft_host_t *host;
  weft_borrower_t *borrower; /* NULL while idle or closing */
  weft_list_t idle;          /* in host->idle; the last was used last */
  weft_timer_t expiry;       /* due at the end of its time idle */
};

/* What a borrower is told. All come from the loop, or from a call of the
 * borrower's own that says so. */
typedef struct {
  /* borrower->link is lent: give it back or drop it. */
  void (*on_lent)(weft_borrower_t *borrower);
  /* There is no connection to be had (a negative status; borrower->dial.detail
   * may say more until this returns): it is over. */
  void (*on_refused)(weft_borrower_t *borrower, int status);
  /* While a link is lent. */
  void (*on_read)(weft_borrower_t *borrower, const char *bytes, size_t len);
  /* The peer shut its side (UV_EOF), or the connection broke: drop it. Also
   * called from weft_stream_flush. */
  void (*on_gone)(weft_borrower_t *borrower, int status);
} weft_borrower_events_t;

typedef enum {
  WEFT_BORROWER_NONE,    /* wants nothing */
  WEFT_BORROWER_IN_LINE, /* as many links as may be are in use */
  WEFT_BORROWER_DIALLING,
  WEFT_BORROWER_LENT
} weft_borrower_state_t;

/* Somebody who wants a connection, or has one. It sits inside him; zeroed
 * memory with its events set wants nothing. */
struct weft_borrower {
  const weft_borrower_events_t *events;
  weft_host_t *host;
  weft_link_t *link;        /* LENT: the link */
  uint8_t state;            /* weft_borrower_state_t */
  bool used;                /* LENT: the link has served others before */
  uint32_t connect_timeout; /* ms for looking up and connecting */
  weft_list_t node;         /* IN_LINE: in host->line */
  weft_dial_t dial;         /* DIALLING */
};

/* How particular a borrower is about a link that served others. */
typedef enum {
  WEFT_BORROW_ANY,
  WEFT_BORROW_PROBED, /* one system call makes sure that it still stands */
  WEFT_BORROW_FRESH   /* no idle one */
} weft_borrow_t;

weft_pool_t *weft_pool_open(weft_loop_t *loop);
/* Closes what is idle; frees itself once the last connection is gone. Nobody
 * borrows any longer. */
void weft_pool_close(weft_pool_t *pool);
weft_loop_t *weft_pool_loop(weft_pool_t *pool);
/* The worker's one cache of names. */
weft_resolver_t *weft_pool_resolver(weft_pool_t *pool);
/* The contexts of TLS that its connections have. */
weft_tls_cache_t *weft_pool_tls(weft_pool_t *pool);
/* `key` is "host:port", in lower case, a v6 address in brackets; or
 * "host:port|server_name" if the server's certificate is for another name. With
 * `tls` the connection is secure, and was made with this very context: what is
 * trusted with one is not with another. True if a link is lent at once, without
 * on_lent; otherwise on_lent or on_refused follows. */
bool weft_pool_borrow(weft_pool_t *pool,
                      weft_borrower_t *borrower,
                      const char *key,
                      size_t key_len,
                      weft_tls_context_t *tls,
                      weft_borrow_t how);
/* The parser is between two messages, and nothing is expected. The link is kept
 * for others, unless a part of the request is still unsent or enough links are
 * idle. May call another borrower's on_lent. */
void weft_pool_give_back(weft_borrower_t *borrower);
/* Closes the link, or stops waiting for one. Fine for one who wants nothing. */
void weft_pool_drop(weft_borrower_t *borrower);

/* Ended exchanges whose memory is kept, for net/client.c. */
weft_spares_t *weft_pool_spares(weft_pool_t *pool);

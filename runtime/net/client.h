/* One outgoing exchange: get a connection, write the request, read the response
 * whole, within its time. It makes no bytes of a request (lua/weft/fetch.lua
 * does), follows no redirects, and knows no Lua. */
#pragma once

#include "net/pool.h"

typedef struct weft_client weft_client_t;

/* What to send, and how long to wait for what (ms). */
typedef struct {
  const char *key; /* as for weft_pool_borrow */
  size_t key_len;
  weft_tls_context_t *tls; /* NULL for http:// */
  const char *head;        /* from the request line to the empty line */
  size_t head_len;
  const char *body; /* must stay until the end, unless it is so short that it
                       is copied: WEFT_CLIENT_COPIED */
  size_t body_len;
  bool head_only;  /* a HEAD request */
  bool idempotent; /* may be sent a second time */
  uint32_t timeout, connect_timeout;
  uint32_t read_timeout; /* between two reads; 0 for none */
  uint32_t max_body;     /* bytes of the response's body */
} weft_client_request_t;

enum { WEFT_CLIENT_COPIED = 4096, WEFT_CLIENT_OWNER = 48 };

/* How it ended; good until on_done returns. */
typedef struct {
  int status;         /* 0, or negative, and then only these: */
  const char *detail; /* what happened; NULL if `status` says it all */
  const char *limit;  /* UV_ETIMEDOUT: the name of the time-out, and `detail`
                         is what took too long; else NULL */
  /* the response */
  const weft_head_t *head;
  const char *body;
  size_t body_len;
} weft_client_result_t;

struct weft_client {
  weft_pool_t *pool;
  weft_borrower_t borrower;
  /* Called once, from the loop; never from weft_client_start. The client is
   * over: it may be freed here. */
  void (*on_done)(weft_client_t *client, const weft_client_result_t *result);
  union { /* what its owner has to remember; zeroed by weft_client_new */
    char bytes[WEFT_CLIENT_OWNER];
    void *aligned;
  } owner;
  weft_list_t spare; /* in the pool's spares */
  bool running;      /* from start to on_done or cancel */
  /* time */
  weft_timer_t timer; /* left to run out when it ends early: see on_timer */
  uint64_t due;       /* of the whole exchange */
  uint64_t read_due;  /* 0 for none */
  uint32_t read_timeout;
  /* request */
  weft_buf_t request; /* the pool's key, the head, and a short body */
  size_t key_len;
  weft_tls_context_t *tls; /* held while it runs; or NULL */
  const char *body;        /* a long body, borrowed */
  size_t body_len;
  bool head_only, idempotent;
  bool retried;
  bool untouched; /* the kernel has taken no byte of it yet */
  /* response */
  bool answered; /* bytes of it arrived */
  bool has_head; /* its final head did */
  uint32_t max_body;
  const char *whole; /* the body, if it came in one piece; or NULL */
  size_t whole_len;
  weft_buf_t received; /* else what there is of it */
};

/* One that is not running; free it, or start it. */
weft_client_t *weft_client_new(weft_pool_t *pool);
/* Not while it runs. */
void weft_client_free(weft_client_t *client);
void weft_client_start(weft_client_t *client,
                       const weft_client_request_t *request);
/* Ends it without on_done. */
void weft_client_cancel(weft_client_t *client);
/* Frees what is spare; none is alive. */
void weft_clients_free(weft_pool_t *pool);

/* Names to addresses, without blocking the loop: the system's own look-up (so
 * /etc/hosts counts) in libuv's threads, behind a cache. Many who ask for one
 * name at the same time share one look-up. It opens no connection and knows no
 * port. */
#pragma once

#include "base/list.h"
#include "net/loop.h"

#include <netinet/in.h>

typedef struct weft_resolver weft_resolver_t;
typedef struct weft_lookup weft_lookup_t;

enum { WEFT_ADDRESSES_MAX = 8 }; /* more of one name are not tried anyway */

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} weft_address_t;

/* One question and its answer. It sits inside whoever asks. */
struct weft_lookup {
  void (*on_done)(weft_lookup_t *lookup);
  weft_list_t node; /* among those who wait for the same name */
  /* the answer */
  int status; /* 0, or a negative libuv code such as UV_EAI_NONAME */
  unsigned count;
  weft_address_t addresses[WEFT_ADDRESSES_MAX]; /* in the order to try them */
};

weft_resolver_t *weft_resolver_open(weft_loop_t *loop);
/* Nobody waits for it any longer. Frees itself once the threads are done; a
 * look-up that runs cannot be interrupted, and the loop waits for it. */
void weft_resolver_close(weft_resolver_t *resolver);
/* Returns true with the answer if it is known: addresses written as numbers
 * always are. Otherwise on_done is called from the loop. */
bool weft_resolver_ask(weft_resolver_t *resolver,
                       const char *name,
                       weft_lookup_t *lookup,
                       void (*on_done)(weft_lookup_t *lookup));
/* on_done is not called any longer. Fine for one that was answered. */
void weft_lookup_cancel(weft_lookup_t *lookup);

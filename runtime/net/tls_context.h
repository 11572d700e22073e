/* What TLS connections with the same parameters share: whom they trust, what
 * they show of themselves, and the sessions that spare the next connection most
 * of its handshake. Opens no connection: net/tls.h does. */
#pragma once

#include "base/list.h"

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEFT_TLS_REASON = 384 }; /* bytes of a message, its NUL included */

/* Each source is PEM text, or the path of a file with PEM text. */
typedef struct {
  bool server;
  bool verify;    /* the peer has to have a certificate that is trusted */
  const char *ca; /* who is trusted, also a directory; NULL for the system's */
  const char *cert; /* ours, and what leads to its CA; NULL for none */
  const char *key;  /* NULL if it stands in `cert` */
  const char
      *alpn; /* protocols, each behind its length; the best comes first */
  size_t alpn_len;
} weft_tls_options_t;

enum { WEFT_TLS_DIGEST = 32 };

/* Counted: it exists as long as somebody holds it. */
typedef struct {
  unsigned holders;
  SSL_CTX *ssl;
  BIO_METHOD *bytes; /* net/tls.c's: how OpenSSL gets at a stream's bytes */
  bool server, verify;
  unsigned char *alpn; /* what a server chooses from; NULL for none */
  size_t alpn_len;
  weft_list_t places; /* with sessions; the one used last at the end */
  unsigned place_count;
  /* in a cache */
  weft_list_t node;
  unsigned char digest[WEFT_TLS_DIGEST]; /* of the options */
} weft_tls_context_t;

/* NULL, with a message, if a source is of no use. Otherwise the caller holds
 * it. */
weft_tls_context_t *weft_tls_context_new(const weft_tls_options_t *options,
                                         char error[WEFT_TLS_REASON]);
weft_tls_context_t *weft_tls_context_hold(weft_tls_context_t *context);
/* Fine for NULL. */
void weft_tls_context_release(weft_tls_context_t *context);

/* A session with a place ("host:port"), or NULL. Gives it. */
SSL_SESSION *weft_tls_session_take(weft_tls_context_t *context,
                                   const char *place);
/* Keeps a session for the next connection to the place; takes it. */
void weft_tls_session_put(weft_tls_context_t *context,
                          const char *place,
                          SSL_SESSION *session);
/* Forgets those of a place: one of them did no good. */
void weft_tls_session_drop(weft_tls_context_t *context, const char *place);

/* The contexts that were asked for lately, so that equal options get the same
 * one, as long as the files they name do not change. */
typedef struct {
  weft_list_t contexts; /* of weft_tls_context_t.node; used last at the end */
  unsigned count;
} weft_tls_cache_t;

void weft_tls_cache_init(weft_tls_cache_t *cache);
void weft_tls_cache_deinit(weft_tls_cache_t *cache);
/* As weft_tls_context_new; the caller holds it, and the cache does. */
weft_tls_context_t *weft_tls_cache_get(weft_tls_cache_t *cache,
                                       const weft_tls_options_t *options,
                                       char error[WEFT_TLS_REASON]);

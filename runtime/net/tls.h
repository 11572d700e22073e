/* One TLS connection without its socket: bytes of the network go in, bytes of
 * the application come out, and the other way round. net/stream_tls.c puts it
 * between a stream and its owner. It knows OpenSSL, and nothing of HTTP. */
#pragma once

#include "base/buf.h"
#include "net/loop.h"
#include "net/tls_context.h"

/* Statuses beside libuv's: libuv has none for what can go wrong here. */
enum {
  WEFT_ETLS = -5000,      /* weft_tls_t.reason says what is wrong */
  WEFT_ETRUNCATED = -5001 /* the peer was gone without saying that it ends */
};

typedef struct weft_tls {
  weft_tls_context_t *context; /* held */
  weft_loop_t *loop;
  SSL *ssl;
  char *place;   /* "host:port", what sessions are kept by; NULL for a server */
  char *name;    /* of the host, which its certificate must be for; or NULL */
  bool secure;   /* the handshake is done */
  bool seen;     /* a byte of the peer has arrived */
  bool notified; /* the peer was told that nothing more will be written */
  bool offered;  /* a session of before */
  int end;       /* why nothing more can be read; 0 as long as it can */
  char reason[WEFT_TLS_REASON];
  /* bytes of the network */
  weft_buf_t sealed; /* to be written */
  weft_buf_t kept;   /* arrived, and not yet looked at */
  const char *raw;   /* the same, behind `kept`, while on_read lasts */
  size_t raw_len;
  /* for net/stream_tls.c */
  struct weft_stream *stream;
  weft_timer_t resume;                        /* to read what is `kept` */
  void (*on_secured)(void *data, int status); /* NULL once it was called */
  void *data;
  bool raw_ended; /* the peer's side of the socket did, behind `kept` */
} weft_tls_t;

/* The callbacks of a new context. */
void weft_tls_prepare(weft_tls_context_t *context);

/* A connection to `name`, an address or the name of a host; `port` only tells
 * sessions apart. A server's has no name. */
weft_tls_t *weft_tls_new(weft_tls_context_t *context,
                         weft_loop_t *loop,
                         const char *name,
                         int port);
void weft_tls_free(weft_tls_t *tls);

/* Bytes arrived. They must stay until weft_tls_keep, which copies what nobody
 * has looked at until then. */
void weft_tls_feed(weft_tls_t *tls, const char *bytes, size_t len);
void weft_tls_keep(weft_tls_t *tls);
/* Whether weft_tls_open may find something without another weft_tls_feed. */
bool weft_tls_pending(const weft_tls_t *tls);

/* Goes on with the handshake: 0 when it is done, UV_EAGAIN when the peer has to
 * say something, or WEFT_ETLS. */
int weft_tls_handshake(weft_tls_t *tls);
/* Decrypts into `into` as much as there is; with less than `size`, `status`
 * says why: UV_EAGAIN, UV_EOF when the peer ended it, WEFT_ETLS. */
size_t weft_tls_open(weft_tls_t *tls, char *into, size_t size, int *status);
/* Why nothing more can be read, if that is next: UV_EOF or WEFT_ETLS; else 0.
 */
int weft_tls_ended(weft_tls_t *tls);
/* Encrypts to `sealed`; 0 or WEFT_ETLS. */
int weft_tls_seal(weft_tls_t *tls, const char *bytes, size_t len);
/* Tells the peer, in `sealed`, that nothing more will be written; fine twice.
 */
void weft_tls_notify(weft_tls_t *tls);
/* The memory of bytes: the connection is closing. */
void weft_tls_drop_bytes(weft_tls_t *tls);

/* What there is to know of a connection whose handshake is done; the strings
 * live as long as it does, or as the facts. */
typedef struct {
  const char *version, *cipher;
  const char *server_name; /* as the client sent it; NULL if it did not */
  const char *protocol;    /* that both chose (ALPN); not NUL-terminated */
  size_t protocol_len;     /* 0 for none */
  bool reused;             /* it resumed a session */
  char subject[256];       /* of the peer's certificate; "" if it has none */
} weft_tls_facts_t;

void weft_tls_describe(const weft_tls_t *tls, weft_tls_facts_t *facts);

/* For net/tls.c and net/tls_context.c: sentences (net/tls_reason.c). */

/* Why OpenSSL refuses the peer's certificate, into tls->reason. */
void weft_tls_explain_certificate(weft_tls_t *tls, X509_STORE_CTX *store);
/* What OpenSSL's error queue holds, into tls->reason if that is empty; empties
 * the queue. */
void weft_tls_explain(weft_tls_t *tls);
/* The first byte of the peer is not one of TLS; `bytes` begin with it. */
void weft_tls_explain_bytes(weft_tls_t *tls, const char *bytes, size_t len);

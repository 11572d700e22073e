#include "net/tls.h"

#include "base/alloc.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- OpenSSL's side: where it gets and puts bytes of the network ----------
 */

static int on_bio_read(BIO *bio, char *into, int size)
{
  weft_tls_t *tls = BIO_get_data(bio);
  size_t there = tls->kept.len ? tls->kept.len : tls->raw_len;
  size_t len = there < (size_t)size ? there : (size_t)size;
  BIO_clear_retry_flags(bio);
  if (!len) {
    BIO_set_retry_read(bio);
    return -1;
  }
  if (tls->kept.len) {
    memcpy(into, weft_buf_bytes(&tls->kept), len);
    weft_buf_consume(&tls->kept, len);
  } else {
    memcpy(into, tls->raw, len);
    tls->raw += len;
    tls->raw_len -= len;
  }
  return (int)len;
}

static int on_bio_write(BIO *bio, const char *bytes, int len)
{
  weft_tls_t *tls = BIO_get_data(bio);
  if (!tls->sealed.data)
    weft_loop_lend(tls->loop, &tls->sealed);
  weft_buf_append(&tls->sealed, bytes, (size_t)len);
  return len;
}

static long on_bio_control(BIO *bio, int command, long number, void *data)
{
  (void)bio;
  (void)number;
  (void)data;
  return command == BIO_CTRL_FLUSH; /* the only thing it has to be able to */
}

static int on_bio_create(BIO *bio)
{
  BIO_set_init(bio, 1);
  return 1;
}

/* A client got a session for its next connection. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
  weft_tls_t *tls = SSL_get_app_data(ssl);
  if (!tls->place)
    return 0;
  weft_tls_session_put(tls->context, tls->place, session);
  return 1; /* it is ours now */
}

static int on_server_name(SSL *ssl, int *alert, void *data)
{
  (void)ssl;
  (void)alert;
  (void)data;
  return SSL_TLSEXT_ERR_OK; /* any: the script looks at it, if it cares */
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
  if (!ok) {
    SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    weft_tls_explain_certificate(SSL_get_app_data(ssl), store);
  }
  return ok;
}

void weft_tls_prepare(weft_tls_context_t *context)
{
  BIO_METHOD *bytes = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "a stream's bytes");
  assert(bytes);
  BIO_meth_set_read(bytes, on_bio_read);
  BIO_meth_set_write(bytes, on_bio_write);
  BIO_meth_set_ctrl(bytes, on_bio_control);
  BIO_meth_set_create(bytes, on_bio_create);
  context->bytes = bytes;
  if (context->server)
    SSL_CTX_set_tlsext_servername_callback(context->ssl, on_server_name);
  else
    SSL_CTX_sess_set_new_cb(context->ssl, on_session);
}

/* ---- the beginning and the end --------------------------------------------
 */

/* Whom we expect to answer. */
static void expect(weft_tls_t *tls, const char *name, int port)
{
  unsigned char address[sizeof(struct in6_addr)];
  size_t len = strlen(name);
  if (len > 1 && name[len - 1] == '.')
    len--; /* the root's dot is no part of a certificate's name */
  tls->name = weft_strndup(name, len);
  size_t size = len + sizeof(":65535");
  tls->place = weft_alloc(size);
  snprintf(tls->place, size, "%s:%u", tls->name, (unsigned)(uint16_t)port);
  X509_VERIFY_PARAM *expected = SSL_get0_param(tls->ssl);
  X509_VERIFY_PARAM_set_hostflags(expected,
                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  /* without an expectation anybody's certificate would do */
  int ok;
  if (inet_pton(AF_INET, tls->name, address) == 1) {
    ok = X509_VERIFY_PARAM_set1_ip(expected, address, 4);
  } else if (inet_pton(AF_INET6, tls->name, address) == 1) {
    ok = X509_VERIFY_PARAM_set1_ip(expected, address, 16);
  } else {
    ok = len && X509_VERIFY_PARAM_set1_host(expected, tls->name, len);
    SSL_set_tlsext_host_name(tls->ssl, tls->name);
  }
  assert(ok);
}

weft_tls_t *weft_tls_new(weft_tls_context_t *context,
                         weft_loop_t *loop,
                         const char *name,
                         int port)
{
  ERR_clear_error();
  weft_tls_t *tls = weft_calloc(sizeof(*tls));
  tls->context = weft_tls_context_hold(context);
  tls->loop = loop;
  tls->ssl = SSL_new(context->ssl);
  BIO *bio = BIO_new(context->bytes);
  assert(tls->ssl && bio);
  BIO_set_data(bio, tls);
  SSL_set_bio(tls->ssl, bio, bio);
  SSL_set_app_data(tls->ssl, tls);
  SSL_set_verify(tls->ssl,
                 context->verify
                     ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                     : SSL_VERIFY_NONE,
                 on_verify);
  if (context->server) {
    SSL_set_accept_state(tls->ssl);
  } else {
    SSL_set_connect_state(tls->ssl);
    expect(tls, name, port);
  }
  return tls;
}

void weft_tls_drop_bytes(weft_tls_t *tls)
{
  weft_loop_take_back(tls->loop, &tls->sealed);
  weft_loop_take_back(tls->loop, &tls->kept);
  tls->raw_len = 0;
}

void weft_tls_free(weft_tls_t *tls)
{
  if (!tls)
    return;
  /* or OpenSSL takes the session for one that came to harm */
  if (tls->secure && tls->end != WEFT_ETLS)
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(tls->ssl); /* and its BIO */
  ERR_clear_error();
  weft_tls_drop_bytes(tls);
  weft_tls_context_release(tls->context);
  free(tls->place);
  free(tls->name);
  free(tls);
}

/* ---- bytes ----------------------------------------------------------------
 */

/* The first byte of a TLS record that can come first: an alert, a handshake. */
static bool begins_tls(char byte) { return byte == 21 || byte == 22; }

void weft_tls_feed(weft_tls_t *tls, const char *bytes, size_t len)
{
  if (!tls->seen && !begins_tls(*bytes)) {
    weft_tls_explain_bytes(tls, bytes, len);
    tls->end = WEFT_ETLS;
  }
  tls->seen = true;
  tls->raw = bytes;
  tls->raw_len = len;
}

void weft_tls_keep(weft_tls_t *tls)
{
  if (!tls->kept.len)
    weft_loop_take_back(tls->loop, &tls->kept);
  if (!tls->raw_len)
    return;
  if (!tls->kept.data)
    weft_loop_lend(tls->loop, &tls->kept);
  weft_buf_append(&tls->kept, tls->raw, tls->raw_len);
  tls->raw_len = 0;
}

bool weft_tls_pending(const weft_tls_t *tls)
{
  return tls->kept.len || tls->raw_len || tls->end || tls->raw_ended ||
         SSL_has_pending(tls->ssl);
}

/* What a call of OpenSSL's that did not do all means: UV_EAGAIN, UV_EOF, or
 * WEFT_ETLS. */
static int status_of(weft_tls_t *tls, int result)
{
  switch (SSL_get_error(tls->ssl, result)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    return UV_EAGAIN;
  case SSL_ERROR_ZERO_RETURN:
    return UV_EOF;
  default:
    weft_tls_explain(tls);
    return WEFT_ETLS;
  }
}

/* Offers to go on with a session of before. */
static void offer_session(weft_tls_t *tls)
{
  SSL_SESSION *session = weft_tls_session_take(tls->context, tls->place);
  if (!session)
    return;
  tls->offered = SSL_set_session(tls->ssl, session) == 1;
  SSL_SESSION_free(session);
}

int weft_tls_handshake(weft_tls_t *tls)
{
  if (tls->end)
    return tls->end;
  ERR_clear_error();
  if (tls->place && SSL_in_before(tls->ssl))
    offer_session(tls);
  int result = SSL_do_handshake(tls->ssl);
  if (result == 1 &&
      (!tls->context->verify || SSL_get_verify_result(tls->ssl) == X509_V_OK)) {
    tls->secure = true;
    return 0;
  }
  int status = status_of(tls, result);
  if (status == UV_EAGAIN)
    return status;
  if (status == UV_EOF)
    snprintf(tls->reason, WEFT_TLS_REASON,
             "the peer ended the TLS handshake before it was done");
  if (tls->offered)
    weft_tls_session_drop(tls->context, tls->place);
  return tls->end = WEFT_ETLS;
}

size_t weft_tls_open(weft_tls_t *tls, char *into, size_t size, int *status)
{
  size_t len = 0;
  *status = tls->end;
  while (!*status && len < size) {
    size_t got;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, into + len, size - len, &got);
    if (result == 1)
      len += got;
    else
      *status = status_of(tls, 0);
  }
  if (*status != UV_EAGAIN)
    tls->end = *status;
  return len;
}

int weft_tls_ended(weft_tls_t *tls)
{
  char byte;
  size_t len;
  if (tls->end || !tls->secure)
    return tls->end;
  ERR_clear_error();
  int result = SSL_peek_ex(tls->ssl, &byte, 1, &len);
  int status = result == 1 ? 0 : status_of(tls, 0);
  if (status != UV_EAGAIN)
    tls->end = status;
  return tls->end;
}

int weft_tls_seal(weft_tls_t *tls, const char *bytes, size_t len)
{
  size_t written;
  if (!len)
    return 0;
  if (tls->end == WEFT_ETLS)
    return WEFT_ETLS;
  ERR_clear_error();
  if (len >= 4096) {
    if (!tls->sealed.data)
      weft_loop_lend(tls->loop, &tls->sealed);
    weft_buf_reserve(&tls->sealed, len + len / 128 + 64); /* in one step */
  }
  /* the memory behind it takes all of it */
  if (SSL_write_ex(tls->ssl, bytes, len, &written) == 1 && written == len)
    return 0;
  weft_tls_explain(tls);
  return tls->end = WEFT_ETLS;
}

void weft_tls_notify(weft_tls_t *tls)
{
  if (!tls->secure || tls->notified || tls->end == WEFT_ETLS)
    return;
  tls->notified = true;
  ERR_clear_error();
  SSL_shutdown(tls->ssl); /* 0: the peer has not answered, which is fine */
}

/* ---- what there is to know ------------------------------------------------
 */

void weft_tls_describe(const weft_tls_t *tls, weft_tls_facts_t *facts)
{
  const unsigned char *protocol = NULL;
  unsigned protocol_len = 0;
  SSL_get0_alpn_selected(tls->ssl, &protocol, &protocol_len);
  *facts = (weft_tls_facts_t){
      .version = SSL_get_version(tls->ssl),
      .cipher = SSL_get_cipher_name(tls->ssl),
      .server_name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name),
      .protocol = (const char *)protocol,
      .protocol_len = protocol_len,
      .reused = SSL_session_reused(tls->ssl) == 1};
  X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
  BIO *text = certificate ? BIO_new(BIO_s_mem()) : NULL;
  if (!text)
    return;
  X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
                     XN_FLAG_RFC2253);
  int len = BIO_read(text, facts->subject, sizeof(facts->subject) - 1);
  facts->subject[len > 0 ? len : 0] = '\0';
  BIO_free(text);
}

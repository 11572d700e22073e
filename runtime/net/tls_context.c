#include "net/tls_context.h"

#include "base/alloc.h"
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  CONTEXTS_MAX = 64, /* in a cache: more sets of options are not usual */
  PLACES_MAX = 256,  /* with sessions, of one context */
  SESSIONS_MAX = 4   /* of one place: a ticket of TLS 1.3 is for one use */
};

/* ---- sources --------------------------------------------------------------
 */

static bool is_pem(const char *source)
{
  return strstr(source, "-----BEGIN ") != NULL;
}

/* NULL, with a message, if it cannot be read. */
static BIO *open_source(const char *source, const char *option, char *error)
{
  if (is_pem(source))
    return BIO_new_mem_buf(source, -1);
  BIO *bio = BIO_new_file(source, "r");
  if (!bio)
    snprintf(error, WEFT_TLS_REASON, "tls.%s: cannot read \"%.200s\": %s",
             option, source, strerror(errno));
  return bio;
}

/* Instead of OpenSSL's own, which asks at the terminal. */
static int no_password(char *into, int size, int writing, void *data)
{
  (void)into;
  (void)size;
  (void)writing;
  (void)data;
  return -1;
}

/* What OpenSSL says of it, behind "tls.<option>: ". */
static bool refuse(char *error, const char *option, const char *what)
{
  unsigned long code = ERR_peek_last_error();
  const char *why = code ? ERR_reason_error_string(code) : NULL;
  snprintf(error, WEFT_TLS_REASON, "tls.%s: %s%s%s%s", option, what,
           why ? " (" : "", why ? why : "", why ? ")" : "");
  return false;
}

/* The next certificate; NULL at the end, and when what comes is none. */
static X509 *next_certificate(BIO *bio, bool *malformed)
{
  X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
  unsigned long code = certificate ? 0 : ERR_peek_last_error();
  *malformed = code && !(ERR_GET_LIB(code) == ERR_LIB_PEM &&
                         ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
  if (!*malformed)
    ERR_clear_error();
  return certificate;
}

static bool trust(weft_tls_context_t *context, const char *ca, char *error)
{
  struct stat status;
  X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
  /* one that was named is trusted, whoever signed it */
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  if (!is_pem(ca) && stat(ca, &status) == 0 && S_ISDIR(status.st_mode))
    return X509_STORE_load_path(store, ca) == 1 ||
           refuse(error, "ca", "the directory is of no use");
  BIO *bio = open_source(ca, "ca", error);
  if (!bio)
    return false;
  X509 *certificate;
  bool malformed, ok = true;
  unsigned count = 0;
  while (ok && (certificate = next_certificate(bio, &malformed))) {
    ok = X509_STORE_add_cert(store, certificate) == 1 &&
         (!context->server ||
          SSL_CTX_add_client_CA(context->ssl, certificate) == 1);
    X509_free(certificate);
    count++;
  }
  BIO_free(bio);
  if (!ok || malformed)
    return refuse(error, "ca", "a certificate in it is malformed");
  return count || refuse(error, "ca", "there is no certificate in it");
}

static bool show(weft_tls_context_t *context, const char *cert, char *error)
{
  BIO *bio = open_source(cert, "cert", error);
  if (!bio)
    return false;
  bool malformed;
  X509 *certificate = next_certificate(bio, &malformed);
  bool found = certificate != NULL;
  bool ok = found && SSL_CTX_use_certificate(context->ssl, certificate) == 1;
  X509_free(certificate);
  while (ok && (certificate = next_certificate(bio, &malformed))) {
    ok = SSL_CTX_add0_chain_cert(context->ssl, certificate) == 1;
    if (!ok)
      X509_free(certificate);
  }
  BIO_free(bio);
  if (!found && !malformed)
    return refuse(error, "cert", "there is no certificate in it");
  return (ok && !malformed) ||
         refuse(error, "cert", "the certificate cannot be used");
}

static bool
prove(weft_tls_context_t *context, const char *key, bool own, char *error)
{
  const char *option = own ? "key" : "cert";
  BIO *bio = open_source(key, option, error);
  if (!bio)
    return false;
  EVP_PKEY *private_key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
  BIO_free(bio);
  if (!private_key) {
    unsigned long code = ERR_peek_last_error();
    return refuse(error, option,
                  ERR_GET_REASON(code) == PEM_R_BAD_PASSWORD_READ
                      ? "the key is encrypted, and there is no way to give "
                        "its password"
                      : "there is no private key in it");
  }
  bool ok = SSL_CTX_use_PrivateKey(context->ssl, private_key) == 1;
  EVP_PKEY_free(private_key);
  return ok || refuse(error, option, "the key does not fit the certificate");
}

/* ---- contexts -------------------------------------------------------------
 */

/* A protocol of the client's that we speak too; ours come in order. */
static int on_alpn(SSL *ssl,
                   const unsigned char **chosen,
                   unsigned char *chosen_len,
                   const unsigned char *offered,
                   unsigned offered_len,
                   void *data)
{
  (void)ssl;
  const weft_tls_context_t *context = data;
  return SSL_select_next_proto((unsigned char **)chosen, chosen_len,
                               context->alpn, (unsigned)context->alpn_len,
                               offered, offered_len) == OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_alpn(weft_tls_context_t *context,
                     const weft_tls_options_t *options)
{
  if (!options->alpn_len)
    return;
  context->alpn = weft_alloc(options->alpn_len);
  memcpy(context->alpn, options->alpn, options->alpn_len);
  context->alpn_len = options->alpn_len;
  if (context->server)
    SSL_CTX_set_alpn_select_cb(context->ssl, on_alpn, context);
  else
    SSL_CTX_set_alpn_protos(context->ssl, context->alpn,
                            (unsigned)context->alpn_len);
}

static void set_up(weft_tls_context_t *context)
{
  SSL_CTX *ssl = context->ssl;
  SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
  SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  /* an idle connection has no need of its 34 KiB */
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_default_passwd_cb(ssl, no_password);
  if (context->server) {
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"weft", 4);
  } else {
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT |
                                            SSL_SESS_CACHE_NO_INTERNAL);
  }
  weft_tls_prepare(context);
}

weft_tls_context_t *weft_tls_context_new(const weft_tls_options_t *options,
                                         char error[WEFT_TLS_REASON])
{
  ERR_clear_error();
  *error = '\0';
  weft_tls_context_t *context = weft_calloc(sizeof(*context));
  context->holders = 1;
  context->server = options->server;
  context->verify = options->verify;
  context->ssl =
      SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
  assert(context->ssl);
  weft_list_init(&context->places);
  weft_list_init(&context->node);
  set_up(context);
  set_alpn(context, options);
  bool own_key = options->key != NULL;
  bool ok = true;
  if (options->ca)
    ok = trust(context, options->ca, error);
  else if (options->verify)
    SSL_CTX_set_default_verify_paths(context->ssl); /* none is fine: no trust */
  if (ok && options->cert)
    ok = show(context, options->cert, error) &&
         prove(context, own_key ? options->key : options->cert, own_key, error);
  ERR_clear_error();
  if (ok)
    return context;
  weft_tls_context_release(context);
  return NULL;
}

weft_tls_context_t *weft_tls_context_hold(weft_tls_context_t *context)
{
  context->holders++;
  return context;
}

/* ---- sessions -------------------------------------------------------------
 */

typedef struct {
  weft_list_t node; /* in context->places */
  unsigned count;
  SSL_SESSION *sessions[SESSIONS_MAX]; /* the newest at the end */
  char name[];
} place_t;

static void free_place(weft_tls_context_t *context, place_t *place)
{
  while (place->count)
    SSL_SESSION_free(place->sessions[--place->count]);
  weft_list_remove(&place->node);
  context->place_count--;
  free(place);
}

static place_t *find_place(weft_tls_context_t *context, const char *name)
{
  weft_list_t *all = &context->places;
  for (weft_list_t *it = all->prev; it != all; it = it->prev) {
    place_t *place = WEFT_LIST_ENTRY(it, place_t, node);
    if (strcmp(place->name, name) == 0)
      return place;
  }
  return NULL;
}

SSL_SESSION *weft_tls_session_take(weft_tls_context_t *context,
                                   const char *place_name)
{
  place_t *place = find_place(context, place_name);
  if (!place)
    return NULL;
  SSL_SESSION *session = place->sessions[place->count - 1];
  if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) {
    SSL_SESSION_up_ref(session); /* good for many connections */
    return session;
  }
  if (--place->count == 0)
    free_place(context, place);
  return session;
}

void weft_tls_session_put(weft_tls_context_t *context,
                          const char *name,
                          SSL_SESSION *session)
{
  place_t *place = find_place(context, name);
  if (place) {
    weft_list_remove(&place->node);
  } else {
    if (context->place_count == PLACES_MAX)
      free_place(context, WEFT_LIST_ENTRY(context->places.next, place_t, node));
    place = weft_calloc(sizeof(*place) + strlen(name) + 1);
    strcpy(place->name, name);
    context->place_count++;
  }
  weft_list_push(&context->places, &place->node);
  if (place->count == SESSIONS_MAX) {
    SSL_SESSION_free(place->sessions[0]);
    memmove(place->sessions, place->sessions + 1,
            --place->count * sizeof(*place->sessions));
  }
  place->sessions[place->count++] = session;
}

void weft_tls_session_drop(weft_tls_context_t *context, const char *name)
{
  place_t *place = find_place(context, name);
  if (place)
    free_place(context, place);
}

void weft_tls_context_release(weft_tls_context_t *context)
{
  if (!context || --context->holders)
    return;
  while (!weft_list_empty(&context->places))
    free_place(context, WEFT_LIST_ENTRY(context->places.next, place_t, node));
  SSL_CTX_free(context->ssl);
  BIO_meth_free(context->bytes);
  free(context->alpn);
  free(context);
}

/* ---- the cache ------------------------------------------------------------
 */

static void digest_bytes(EVP_MD_CTX *digest, const void *bytes, size_t len)
{
  EVP_DigestUpdate(digest, &len, sizeof(len)); /* so that none runs together */
  EVP_DigestUpdate(digest, bytes, len);
}

/* A file counts as another one when it was written again. */
static void digest_source(EVP_MD_CTX *digest, const char *source)
{
  struct stat status;
  digest_bytes(digest, source ? source : "", source ? strlen(source) : 0);
  if (!source || is_pem(source) || stat(source, &status) != 0)
    return;
  digest_bytes(digest, &status.st_dev, sizeof(status.st_dev));
  digest_bytes(digest, &status.st_ino, sizeof(status.st_ino));
  digest_bytes(digest, &status.st_size, sizeof(status.st_size));
  digest_bytes(digest, &status.st_mtim.tv_sec, sizeof(time_t));
  digest_bytes(digest, &status.st_mtim.tv_nsec, sizeof(long));
}

static void digest_options(const weft_tls_options_t *options,
                           unsigned char into[WEFT_TLS_DIGEST])
{
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
  digest_bytes(digest, &options->server, sizeof(options->server));
  digest_bytes(digest, &options->verify, sizeof(options->verify));
  digest_source(digest, options->ca);
  digest_source(digest, options->cert);
  digest_source(digest, options->key);
  digest_bytes(digest, options->alpn, options->alpn_len);
  EVP_DigestFinal_ex(digest, into, NULL);
  EVP_MD_CTX_free(digest);
}

void weft_tls_cache_init(weft_tls_cache_t *cache)
{
  cache->count = 0;
  weft_list_init(&cache->contexts);
}

static void forget(weft_tls_cache_t *cache, weft_tls_context_t *context)
{
  weft_list_remove(&context->node);
  cache->count--;
  weft_tls_context_release(context);
}

void weft_tls_cache_deinit(weft_tls_cache_t *cache)
{
  while (cache->count)
    forget(cache,
           WEFT_LIST_ENTRY(cache->contexts.next, weft_tls_context_t, node));
}

weft_tls_context_t *weft_tls_cache_get(weft_tls_cache_t *cache,
                                       const weft_tls_options_t *options,
                                       char error[WEFT_TLS_REASON])
{
  unsigned char digest[WEFT_TLS_DIGEST];
  digest_options(options, digest);
  weft_list_t *all = &cache->contexts;
  for (weft_list_t *it = all->prev; it != all; it = it->prev) {
    weft_tls_context_t *context = WEFT_LIST_ENTRY(it, weft_tls_context_t, node);
    if (memcmp(context->digest, digest, WEFT_TLS_DIGEST) == 0) {
      weft_list_remove(&context->node);
      weft_list_push(all, &context->node);
      return weft_tls_context_hold(context);
    }
  }
  weft_tls_context_t *context = weft_tls_context_new(options, error);
  if (!context)
    return NULL;
  memcpy(context->digest, digest, WEFT_TLS_DIGEST);
  if (cache->count == CONTEXTS_MAX)
    forget(cache, WEFT_LIST_ENTRY(all->next, weft_tls_context_t, node));
  weft_list_push(all, &context->node);
  cache->count++;
  return weft_tls_context_hold(context);
}

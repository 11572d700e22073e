/* What went wrong with TLS, in sentences that say what to do about it. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void
explain(weft_tls_t *tls, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(tls->reason, WEFT_TLS_REASON, format, args);
  va_end(args);
}

/* ---- certificates ---------------------------------------------------------
 */

/* A point in time as people read it. */
static void print_time(const ASN1_TIME *time, char into[40])
{
  struct tm tm;
  if (ASN1_TIME_to_tm(time, &tm) != 1 ||
      strftime(into, 40, "%Y-%m-%d %H:%M UTC", &tm) == 0)
    strcpy(into, "an unreadable date");
}

/* Appends ", name"; what a certificate says is not to be trusted, least of all
 * in a log. Returns false when it has no room. */
static bool
add_name(char *names, size_t size, const unsigned char *name, size_t name_len)
{
  size_t len = strlen(names);
  const char *between = len ? ", " : "";
  if (len + name_len + 8 > size) {
    strcat(names, " ...");
    return false;
  }
  strcat(names, between);
  len += strlen(between);
  for (size_t i = 0; i < name_len; i++)
    names[len + i] = name[i] > ' ' && name[i] < 127 ? (char)name[i] : '?';
  names[len + name_len] = '\0';
  return true;
}

static bool add_general_name(char *names, size_t size, GENERAL_NAME *name)
{
  char text[INET6_ADDRSTRLEN];
  int type;
  const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
  if (type == GEN_DNS)
    return add_name(names, size, ASN1_STRING_get0_data(value),
                    (size_t)ASN1_STRING_length(value));
  if (type != GEN_IPADD)
    return true;
  int family = ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(value) != 16)
    return true;
  inet_ntop(family, ASN1_STRING_get0_data(value), text, sizeof(text));
  return add_name(names, size, (unsigned char *)text, strlen(text));
}

/* Whom a certificate is for; as many as there is room for. */
static void print_names(X509 *certificate, char *names, size_t size)
{
  *names = '\0';
  GENERAL_NAMES *all =
      X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  for (int i = 0; i < sk_GENERAL_NAME_num(all); i++)
    if (!add_general_name(names, size, sk_GENERAL_NAME_value(all, i)))
      break;
  GENERAL_NAMES_free(all);
  if (!*names)
    strcpy(names, "nobody in particular");
}

void weft_tls_explain_certificate(weft_tls_t *tls, X509_STORE_CTX *store)
{
  char who[200], when[40], names[160];
  int error = X509_STORE_CTX_get_error(store);
  bool above = X509_STORE_CTX_get_error_depth(store) > 0;
  X509 *certificate = X509_STORE_CTX_get_current_cert(store);
  const char *why = X509_verify_cert_error_string(error);
  if (tls->name)
    snprintf(who, sizeof(who), "%s %.150s",
             above ? "the certificate of an authority above"
                   : "the certificate of",
             tls->name);
  else
    snprintf(who, sizeof(who), "the client's certificate");
  switch (error) {
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_CERT_UNTRUSTED:
    explain(tls, "%s is not trusted (%s)%s", who, why,
            tls->name ? ": pass tls = { ca = ... } with who signed it" : "");
    break;
  case X509_V_ERR_CERT_HAS_EXPIRED:
    print_time(X509_get0_notAfter(certificate), when);
    explain(tls, "%s expired on %s", who, when);
    break;
  case X509_V_ERR_CERT_NOT_YET_VALID:
    print_time(X509_get0_notBefore(certificate), when);
    explain(tls, "%s is not valid before %s: is the clock right?", who, when);
    break;
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    print_names(certificate, names, sizeof(names));
    explain(tls,
            "the certificate is not for %.150s, but for %s: pass tls = { "
            "server_name = ... } if that is who should answer",
            tls->name, names);
    break;
  default:
    explain(tls, "%s was refused (%s)", who, why);
  }
}

/* ---- handshakes and records -----------------------------------------------
 */

enum { ALERTS = SSL_AD_REASON_OFFSET }; /* reasons from here on are alerts */

/* The peer gave up, and said why. */
static void explain_alert(weft_tls_t *tls, int alert)
{
  const char *text = SSL_alert_desc_string_long(alert);
  switch (alert) {
  case SSL_AD_CERTIFICATE_REQUIRED:
    explain(tls, "the server demands a certificate of its clients: pass tls = "
                 "{ cert = ..., key = ... }");
    break;
  case SSL_AD_HANDSHAKE_FAILURE:
    explain(tls, "the peer refused the handshake: it shares no cipher with us, "
                 "or demands a client's certificate (tls = { cert = ..., key = "
                 "... })");
    break;
  case SSL_AD_PROTOCOL_VERSION:
    explain(tls, "the peer speaks neither TLS 1.2 nor 1.3");
    break;
  case SSL_AD_UNKNOWN_CA:
  case SSL_AD_BAD_CERTIFICATE:
  case SSL_AD_UNSUPPORTED_CERTIFICATE:
  case SSL_AD_CERTIFICATE_REVOKED:
  case SSL_AD_CERTIFICATE_EXPIRED:
  case SSL_AD_CERTIFICATE_UNKNOWN:
  case SSL_AD_ACCESS_DENIED:
    explain(tls, "the peer does not accept our certificate (%s)", text);
    break;
  case SSL_AD_UNRECOGNIZED_NAME:
    explain(tls, "the server knows no host %s: is tls.server_name right?",
            tls->name ? tls->name : "of that name");
    break;
  case SSL_AD_NO_APPLICATION_PROTOCOL:
    explain(tls, "the peer speaks none of the protocols of tls.alpn");
    break;
  default:
    explain(tls, "the peer ended TLS with the alert \"%s\"", text);
  }
}

void weft_tls_explain(weft_tls_t *tls)
{
  unsigned long code = ERR_peek_error();
  int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  const char *text = ERR_reason_error_string(code);
  ERR_clear_error();
  if (*tls->reason)
    return; /* its certificate */
  if (reason > ALERTS && reason < ALERTS + 256) {
    explain_alert(tls, reason - ALERTS);
    return;
  }
  switch (reason) {
  case SSL_R_WRONG_VERSION_NUMBER:
  case SSL_R_HTTP_REQUEST:
    if (!tls->secure)
      explain(tls, "the peer does not speak TLS");
    break;
  case SSL_R_UNSUPPORTED_PROTOCOL:
    explain(tls, "the peer speaks neither TLS 1.2 nor 1.3");
    break;
  case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    explain(tls, "the client has shown no certificate");
    break;
  }
  if (!*tls->reason)
    explain(tls, "%s (%s)",
            tls->secure ? "the peer broke the rules of TLS"
                        : "the TLS handshake failed",
            text ? text : "of unknown reason");
}

void weft_tls_explain_bytes(weft_tls_t *tls, const char *bytes, size_t len)
{
  if (tls->context->server)
    explain(tls, "the peer does not speak TLS");
  else
    explain(tls, "the peer does not speak TLS%s",
            len >= 5 && memcmp(bytes, "HTTP/", 5) == 0
                ? ": it answers in plain HTTP (is it http://, or another port?)"
                : " (is the port right?)");
}

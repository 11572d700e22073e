/* The target of a request (RFC 9112 section 3.2) taken apart, and its path made
 * one spelling: percent-decoded once, dot segments removed after decoding.
 * An encoded slash stays "%2F", so that it never becomes a separator. Escapes
 * that do not decode to valid UTF-8 stay escaped, as upper-case hex. A "%25"
 * that would then read as one of those ("%252F", "%25252F", "%25FF" ...) stays
 * as it is too, so two different paths never give the same one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const char *raw_path; /* as received, without the query; "*" for OPTIONS *.
                           An absolute-form target without a path has "/" ("*"
                           with OPTIONS), the one thing not inside the target */
  size_t raw_path_len;
  const char *query; /* behind the first '?'; NULL when there is none */
  size_t query_len;
  const char *authority; /* absolute-form only, else NULL */
  size_t authority_len;
  const char *scheme; /* absolute-form only ("http"), else NULL */
  size_t scheme_len;
} weft_target_t;

/* Splits a target of any allowed form; `out` points into `target`. Returns
 * NULL, or a static sentence that says what is wrong with it: fragment, user
 * information, authority-form, control bytes, "*" without OPTIONS ... */
const char *weft_target_split(const char *target,
                              size_t len,
                              int method,
                              weft_target_t *out);

/* Writes the normalised path of raw_path to `path`, which has room for `len`
 * bytes: it never grows. "*" stays "*". Returns its length, or 0 with `*reason`
 * set to a static sentence: broken escape, NUL, above the root, or bytes that
 * weft_target_split refuses. */
size_t weft_target_normalise(const char *raw_path,
                             size_t len,
                             char *path,
                             const char **reason);

/* Whether `host` is a valid authority of a Host header: a registered name, an
 * IPv4 address or a bracketed IPv6 address, and maybe a port. */
bool weft_target_authority_ok(const char *host, size_t len);

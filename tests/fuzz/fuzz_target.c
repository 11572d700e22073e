/* Targets: what is split lies inside the target; a normalised path never grows,
 * has no dot segment left, and stands for one path only: escaping it again, the
 * shortest way, leads back to it. */
#include "http/target.h"

#include <llhttp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
  if (!condition)
    abort();
}

static bool inside(const char *p, size_t p_len, const char *all, size_t len)
{
  return !p || (p >= all && p + p_len <= all + len);
}

/* Whether the '%' at `p` begins an escape that normalising kept: "%2F", "%80"
 * to "%FF", or a "%25" before what would read as one. */
static bool kept(const char *p, const char *end)
{
  static const char hex[] = "0123456789ABCDEF";
  bool first = true;
  for (p++; end - p >= 2; p += 2, first = false) {
    if (p[0] == '2' && p[1] == '5')
      continue;
    /* text behind "%25" may be in lower case, an escape may not */
    if (p[0] == '2' && (p[1] == 'F' || (!first && p[1] == 'f')))
      return true;
    if (first)
      return memchr("89ABCDEF", p[0], 8) && memchr(hex, p[1], 16);
    return memchr("89ABCDEFabcdef", p[0], 14) &&
           memchr("0123456789ABCDEFabcdef", p[1], 22);
  }
  return false;
}

/* A raw path that stands for `path`; returns its length. */
static size_t escape(const char *path, size_t len, char *raw)
{
  static const char hex[] = "0123456789ABCDEF";
  const char *end = path + len;
  char *to = raw;
  for (const char *p = path; p < end; p++) {
    unsigned char c = (unsigned char)*p;
    if (c > 0x20 && c < 0x7f && (c != '%' || kept(p, end))) {
      *to++ = *p;
      continue;
    }
    *to++ = '%';
    *to++ = hex[c >> 4];
    *to++ = hex[c & 15];
  }
  return (size_t)(to - raw);
}

static void check_path(const char *raw, size_t len)
{
  const char *reason = NULL;
  char *path = malloc(len + 1), *again = malloc(len * 3 + 1),
       *path_again = malloc(len * 3 + 1);
  size_t path_len = weft_target_normalise(raw, len, path, &reason);
  require(path_len <= len);
  require(path_len || reason);
  if (path_len && *path == '/') {
    path[path_len] = '\0';
    require(strlen(path) == path_len);
    require(!strstr(path, "/./") && !strstr(path, "/../"));
    require(path_len < 2 || strcmp(path + path_len - 2, "/.") != 0);
    require(path_len < 3 || strcmp(path + path_len - 3, "/..") != 0);
    size_t again_len = escape(path, path_len, again);
    size_t length =
        weft_target_normalise(again, again_len, path_again, &reason);
    require(length == path_len && !memcmp(path, path_again, length));
  }
  free(path);
  free(again);
  free(path_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  static const int methods[] = {HTTP_GET, HTTP_OPTIONS, HTTP_CONNECT};
  const char *bytes = (const char *)data;
  for (unsigned i = 0; i < 3; i++) {
    weft_target_t target;
    if (weft_target_split(bytes, len, methods[i], &target))
      continue;
    require(methods[i] != HTTP_CONNECT && target.raw_path_len);
    require(target.raw_path_len == 1 ||
            inside(target.raw_path, target.raw_path_len, bytes, len));
    require(inside(target.query, target.query_len, bytes, len));
    require(inside(target.scheme, target.scheme_len, bytes, len));
    require(inside(target.authority, target.authority_len, bytes, len));
    check_path(target.raw_path, target.raw_path_len);
  }
  check_path(bytes, len);
  weft_target_authority_ok(bytes, len);
  return 0;
}

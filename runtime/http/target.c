#include "http/target.h"

#include "http/chars.h"

#include <arpa/inet.h>
#include <assert.h>
#include <llhttp.h>
#include <string.h>
#include <strings.h>

/* Splitting. */

static void split_path(const char *p, const char *end, weft_target_t *out)
{
  const char *mark = memchr(p, '?', (size_t)(end - p));
  out->raw_path = p;
  out->raw_path_len = (size_t)((mark ? mark : end) - p);
  if (mark) {
    out->query = mark + 1;
    out->query_len = (size_t)(end - out->query);
  }
}

/* "http://host:port/path?query". Other schemes name resources that are not
 * ours, whatever their path. */
static const char *
split_absolute(const char *p, const char *end, int method, weft_target_t *out)
{
  size_t len = (size_t)(end - p);
  out->scheme = p;
  if (len >= 7 && !strncasecmp(p, "http://", 7))
    out->scheme_len = 4;
  else if (len >= 8 && !strncasecmp(p, "https://", 8))
    out->scheme_len = 5;
  else
    return "a target that is neither a path nor an http URL";
  p += out->scheme_len + 3;

  out->authority = p;
  while (p < end && *p != '/' && *p != '?')
    p++;
  out->authority_len = (size_t)(p - out->authority);
  if (memchr(out->authority, '@', out->authority_len))
    return "user information in the target";
  if (!weft_target_authority_ok(out->authority, out->authority_len))
    return "a malformed authority in the target";

  split_path(p, end, out);
  if (!out->raw_path_len) {
    /* RFC 9112 section 3.2.4: this is how a proxy is asked for "OPTIONS *" */
    out->raw_path = method == HTTP_OPTIONS && !out->query ? "*" : "/";
    out->raw_path_len = 1;
  }
  return NULL;
}

const char *weft_target_split(const char *target,
                              size_t len,
                              int method,
                              weft_target_t *out)
{
  const char *end = target + len;
  *out = (weft_target_t){0};
  if (!len)
    return "an empty target";
  if (weft_chars_skip(target, end, WEFT_CHAR_TARGET) != end)
    return "a byte that is not visible ASCII in the target";
  if (memchr(target, '#', len))
    return "a fragment in the target";
  if (method == HTTP_CONNECT)
    return "CONNECT is for proxies";
  if (*target == '/') {
    split_path(target, end, out);
    return NULL;
  }
  if (len == 1 && *target == '*') {
    split_path(target, end, out);
    return method == HTTP_OPTIONS ? NULL : "the target \"*\" without OPTIONS";
  }
  return split_absolute(target, end, method, out);
}

/* Authorities. */

static bool port_ok(const char *p, const char *end)
{
  unsigned port = 0;
  for (; p < end; p++) {
    if (!WEFT_CHAR_IS(*p, WEFT_CHAR_DIGIT))
      return false;
    port = port * 10 + (unsigned)(*p - '0');
    if (port > 65535)
      return false;
  }
  return true; /* also when empty: RFC 3986 section 3.2.3 */
}

static bool escape_ok(const char *p, const char *end)
{
  return end - p >= 3 && *p == '%' && WEFT_CHAR_IS(p[1], WEFT_CHAR_HEX) &&
         WEFT_CHAR_IS(p[2], WEFT_CHAR_HEX);
}

/* A registered name; what looks like an IPv4 address is one of these too. */
static const char *skip_name(const char *p, const char *end)
{
  for (;;) {
    p = weft_chars_skip(p, end, WEFT_CHAR_HOST);
    if (!escape_ok(p, end))
      return p;
    p += 3;
  }
}

/* "[address]"; returns its end, or `p` when it is none. */
static const char *skip_ipv6(const char *p, const char *end)
{
  char text[INET6_ADDRSTRLEN];
  struct in6_addr address;
  const char *close = memchr(p, ']', (size_t)(end - p));
  if (!close || (size_t)(close - p) > sizeof(text))
    return p;
  size_t len = (size_t)(close - p) - 1;
  memcpy(text, p + 1, len);
  text[len] = '\0';
  if (memchr(text, '\0', len) || inet_pton(AF_INET6, text, &address) != 1)
    return p;
  return close + 1;
}

bool weft_target_authority_ok(const char *host, size_t len)
{
  const char *end = host + len;
  if (!len)
    return false;
  const char *p = *host == '[' ? skip_ipv6(host, end) : skip_name(host, end);
  if (p == host)
    return false;
  return p == end || (*p == ':' && port_ok(p + 1, end));
}

/* Normalising, in three steps over one piece of memory, each of which only ever
 * shortens: unescape, settle what became of "%25", remove dot segments. */

/* Stands for a '%' that was escaped. No path contains it otherwise. */
enum { PERCENT = '\0' };

/* The byte that the escape at `p` stands for, or -1 when there is none. */
static int escaped_byte(const char *p, const char *end)
{
  if (!escape_ok(p, end))
    return -1;
  return (int)(weft_char_hex(p[1]) << 4 | weft_char_hex(p[2]));
}

/* How many escapes from `p` on make one UTF-8 character above ASCII (RFC 3629:
 * no surrogates, nothing overlong, nothing above U+10FFFF); 0 when they do not.
 * Its bytes go to `bytes`. */
static unsigned read_character(const char *p, const char *end, char *bytes)
{
  int first = escaped_byte(p, end);
  unsigned count = first >= 0xc2 && first <= 0xdf   ? 2
                   : first >= 0xe0 && first <= 0xef ? 3
                   : first >= 0xf0 && first <= 0xf4 ? 4
                                                    : 0;
  int min = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  int max = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (count)
    bytes[0] = (char)first;
  for (unsigned i = 1; i < count; i++) {
    p += 3;
    int next = escaped_byte(p, end);
    if (next < min || next > max)
      return 0;
    bytes[i] = (char)next;
    min = 0x80;
    max = 0xbf;
  }
  return count;
}

/* Writes what an escape becomes, moving both positions; false when broken. */
static bool unescape(const char **from, const char *end, char **to)
{
  static const char hex[] = "0123456789ABCDEF";
  int byte = escaped_byte(*from, end);
  char character[4];
  if (byte <= 0)
    return false;
  if (byte < 0x80 && byte != '/') {
    *(*to)++ = byte == '%' ? PERCENT : (char)byte;
    *from += 3;
    return true;
  }
  unsigned count = read_character(*from, end, character);
  if (count) {
    memcpy(*to, character, count);
    *to += count;
    *from += count * 3;
    return true;
  }
  *(*to)++ = '%';
  *(*to)++ = hex[byte >> 4];
  *(*to)++ = hex[byte & 15];
  *from += 3;
  return true;
}

/* Whether a '%' before these bytes would read as an escape that was kept. */
static bool reads_as_escape(const char *p, const char *end)
{
  while (end - p >= 2 && p[0] == '2' && p[1] == '5')
    p += 2;
  if (end - p < 2 || !WEFT_CHAR_IS(p[0], WEFT_CHAR_HEX) ||
      !WEFT_CHAR_IS(p[1], WEFT_CHAR_HEX))
    return false;
  unsigned byte = weft_char_hex(p[0]) << 4 | weft_char_hex(p[1]);
  return byte == '/' || byte >= 0x80;
}

/* Makes each PERCENT '%' or "%25". It works from the end, since the answer
 * depends on the bytes behind, into the end of `room`, which is as long as the
 * raw path: every PERCENT took three bytes there. Returns the first one. */
static char *settle_percents(const char *path, size_t len, char *room_end)
{
  const char *from = path + len;
  char *to = room_end;
  while (from > path) {
    char c = *--from;
    bool keep = c == PERCENT && reads_as_escape(to, room_end);
    if (keep) {
      *--to = '5';
      *--to = '2';
    }
    *--to = c == PERCENT ? '%' : c;
  }
  return to;
}

/* Copies [from, end) to `path` without its dot segments. An empty segment is a
 * segment like any other. Returns the length, or 0 above the root. */
static size_t remove_dots(const char *from, const char *end, char *path)
{
  char *to = path;
  while (from < end) { /* *from is a slash */
    const char *segment = from + 1;
    const char *next = memchr(segment, '/', (size_t)(end - segment));
    size_t len = (size_t)((next ? next : end) - segment);
    bool up = len == 2 && segment[0] == '.' && segment[1] == '.';
    bool here = len == 1 && segment[0] == '.';
    if (up && to == path)
      return 0;
    if (up)
      while (*--to != '/')
        ;
    if (!up && !here) {
      memmove(to, from, len + 1);
      to += len + 1;
    } else if (!next) {
      *to++ = '/'; /* what is named is the folder */
    }
    from = next ? next : end;
  }
  return (size_t)(to - path);
}

/* Whether the path is what it would be normalised to. Most are. */
static bool is_plain(const char *p, const char *end)
{
  for (; p < end; p++)
    if (*p == '%' || !WEFT_CHAR_IS(*p, WEFT_CHAR_TARGET) ||
        (*p == '/' && p + 1 < end && p[1] == '.'))
      return false;
  return true;
}

size_t weft_target_normalise(const char *raw_path,
                             size_t len,
                             char *path,
                             const char **reason)
{
  const char *from = raw_path, *end = raw_path + len;
  if (len == 1 && *raw_path == '*') {
    *path = '*';
    return 1;
  }
  if (!len || *raw_path != '/') {
    *reason = "a path that does not begin with a slash";
    return 0;
  }
  if (is_plain(from, end)) {
    memcpy(path, raw_path, len);
    return len;
  }

  char *to = path;
  bool percents = false;
  while (from < end) {
    if (*from == '%') {
      if (!unescape(&from, end, &to)) {
        *reason = escape_ok(from, end) ? "an escaped NUL in the path"
                                       : "a broken escape in the path";
        return 0;
      }
      percents |= to[-1] == PERCENT;
    } else if (WEFT_CHAR_IS(*from, WEFT_CHAR_TARGET)) {
      *to++ = *from++;
    } else {
      *reason = "a byte that is not visible ASCII in the path";
      return 0;
    }
  }

  char *start = path;
  size_t path_len = (size_t)(to - path);
  if (percents) {
    char *room_end = path + len;
    start = settle_percents(path, path_len, room_end);
    path_len = (size_t)(room_end - start);
  }
  path_len = remove_dots(start, start + path_len, path);
  if (!path_len)
    *reason = "a path above the root";
  return path_len;
}

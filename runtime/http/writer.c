#include "http/writer.h"

#include <string.h>

static const struct {
  int status;
  const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

const char *weft_status_reason(int status)
{
  for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
    if (reasons[i].status == status)
      return reasons[i].reason;
  return "Unknown";
}

void weft_write_status(weft_buf_t *out, int status, const char *date)
{
  if (status == 200) {
    weft_buf_append_literal(out, "HTTP/1.1 200 OK\r\nDate: ");
  } else {
    const char *reason = weft_status_reason(status);
    char digits[4] = {(char)('0' + status / 100 % 10),
                      (char)('0' + status / 10 % 10), (char)('0' + status % 10),
                      ' '};
    weft_buf_append_literal(out, "HTTP/1.1 ");
    weft_buf_append(out, digits, sizeof(digits));
    weft_buf_append(out, reason, strlen(reason));
    weft_buf_append_literal(out, "\r\nDate: ");
  }
  weft_buf_append(out, date, 29);
  weft_buf_append_literal(out, "\r\n");
}

void weft_write_header(weft_buf_t *out,
                       const char *name,
                       size_t name_len,
                       const char *value,
                       size_t value_len)
{
  char *to = weft_buf_reserve(out, name_len + value_len + 4);
  memcpy(to, name, name_len);
  memcpy(to + name_len, ": ", 2);
  memcpy(to + name_len + 2, value, value_len);
  memcpy(to + name_len + 2 + value_len, "\r\n", 2);
  weft_buf_commit(out, name_len + value_len + 4);
}

/* Writes `value` in front of `end`, in `base` 10 or 16; returns its start. */
static char *digits_before(char *end, uint64_t value, unsigned base)
{
  do {
    *--end = "0123456789abcdef"[value % base];
    value /= base;
  } while (value);
  return end;
}

void weft_write_content_length(weft_buf_t *out, uint64_t len)
{
  char digits[20], *end = digits + sizeof(digits);
  char *start = digits_before(end, len, 10);
  weft_write_header(out, "Content-Length", 14, start, (size_t)(end - start));
}

void weft_write_chunk(weft_buf_t *out, const char *bytes, size_t len)
{
  char digits[16], *end = digits + sizeof(digits);
  char *start = digits_before(end, len, 16);
  weft_buf_append(out, start, (size_t)(end - start));
  weft_buf_append_literal(out, "\r\n");
  weft_buf_append(out, bytes, len);
  weft_buf_append_literal(out, "\r\n");
}

void weft_write_last_chunk(weft_buf_t *out)
{
  weft_buf_append_literal(out, "0\r\n\r\n");
}

bool weft_header_name_ok(const char *name, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    char c = name[i];
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                        (c >= 'A' && c <= 'Z');
    if (!alphanumeric && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
      return false;
  }
  return len > 0;
}

bool weft_header_value_ok(const char *value, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)value[i];
    if ((c < ' ' && c != '\t') || c == 0x7f)
      return false;
  }
  return true;
}

#include "base/log.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {"debug", "info", "warn", "error", "off"};

static struct {
  weft_log_level_t level;
  bool json;
  weft_buf_t line;  /* the line that is being built */
  weft_buf_t lines; /* text: further lines of its message */
} state = {.level = WEFT_LOG_INFO};

void weft_log_setup(weft_log_level_t level, bool json)
{
  state.level = level;
  state.json = json;
}

bool weft_log_enabled(weft_log_level_t level) { return level >= state.level; }

int weft_log_level(const char *name)
{
  for (int i = WEFT_LOG_DEBUG; i <= WEFT_LOG_OFF; i++)
    if (strcmp(names[i], name) == 0)
      return i;
  return -1;
}

static void append_escaped(weft_buf_t *out, const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\')
      weft_buf_printf(out, "\\%c", c);
    else if (c == '\n')
      weft_buf_append_literal(out, "\\n");
    else if (c < ' ' || c == 0x7f)
      weft_buf_printf(out, "\\u%04x", c);
    else
      weft_buf_append(out, text + i, 1);
  }
}

/* As text: quoted only if a reader could not tell where it ends. */
static void append_value(weft_buf_t *out, const char *text, size_t len)
{
  bool plain = len > 0;
  for (size_t i = 0; i < len && plain; i++) {
    unsigned char c = (unsigned char)text[i];
    plain = c > ' ' && c != '"' && c != '\\' && c != '=' && c != 0x7f;
  }
  if (plain) {
    weft_buf_append(out, text, len);
    return;
  }
  weft_buf_append_literal(out, "\"");
  append_escaped(out, text, len);
  weft_buf_append_literal(out, "\"");
}

static void append_time(weft_buf_t *out)
{
  struct timespec wall;
  struct tm tm;
  char text[32];
  clock_gettime(CLOCK_REALTIME, &wall);
  gmtime_r(&wall.tv_sec, &tm);
  size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
  weft_buf_append(out, text, len);
  weft_buf_printf(out, ".%03ldZ", wall.tv_nsec / 1000000);
}

void weft_log_begin(weft_log_level_t level, const char *message, size_t len)
{
  weft_buf_t *line = &state.line;
  weft_buf_clear(line);
  weft_buf_clear(&state.lines);
  if (state.json) {
    weft_buf_append_literal(line, "{\"ts\":\"");
    append_time(line);
    weft_buf_printf(line, "\",\"level\":\"%s\",\"msg\":\"", names[level]);
    append_escaped(line, message, len);
    weft_buf_append_literal(line, "\"");
    return;
  }
  append_time(line);
  weft_buf_printf(line, " %-5s ", names[level]);
  const char *end = memchr(message, '\n', len);
  size_t first = end ? (size_t)(end - message) : len;
  append_escaped(line, message, first);
  while (first < len) { /* at a line break: the next line goes below */
    const char *next = message + first + 1;
    size_t rest = len - first - 1;
    end = memchr(next, '\n', rest);
    size_t next_len = end ? (size_t)(end - next) : rest;
    weft_buf_append_literal(&state.lines, "\n    ");
    for (size_t i = 0; i < next_len; i++) {
      if (next[i] == '\t')
        weft_buf_append_literal(&state.lines, "  ");
      else
        append_escaped(&state.lines, next + i, 1);
    }
    first += 1 + next_len;
  }
}

void weft_log_field(const char *key,
                    size_t key_len,
                    const char *value,
                    size_t value_len,
                    bool bare)
{
  weft_buf_t *line = &state.line;
  if (!state.json) {
    weft_buf_append_literal(line, " ");
    append_value(line, key, key_len);
    weft_buf_append_literal(line, "=");
    append_value(line, value, value_len);
    return;
  }
  weft_buf_append_literal(line, ",\"");
  append_escaped(line, key, key_len);
  weft_buf_append_literal(line, "\":");
  if (bare) {
    weft_buf_append(line, value, value_len);
    return;
  }
  weft_buf_append_literal(line, "\"");
  append_escaped(line, value, value_len);
  weft_buf_append_literal(line, "\"");
}

void weft_log_end(void)
{
  weft_buf_t *line = &state.line;
  if (state.json)
    weft_buf_append_literal(line, "}");
  weft_buf_append(line, weft_buf_bytes(&state.lines), state.lines.len);
  weft_buf_append_literal(line, "\n");
  const char *bytes = weft_buf_bytes(line);
  size_t left = line->len;
  while (left) { /* one write for a line, so that lines do not mix */
    ssize_t written = write(STDERR_FILENO, bytes, left);
    if (written <= 0)
      return;
    bytes += written;
    left -= (size_t)written;
  }
}

void weft_log(weft_log_level_t level, const char *format, ...)
{
  if (!weft_log_enabled(level))
    return;
  char message[2048];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof(message), format, args);
  va_end(args);
  weft_log_begin(level, message, strlen(message));
  weft_log_end();
}

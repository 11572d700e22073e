/* One line per event, with a level, as text for people or JSON for machines, on
 * standard error. Control bytes are escaped, so that no value can forge a line.
 * The format and the level are the process's, set once at its start: the one
 * piece of state that hangs from no struct, because a fault must be loggable
 * from anywhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum {
  WEFT_LOG_DEBUG,
  WEFT_LOG_INFO,
  WEFT_LOG_WARN,
  WEFT_LOG_ERROR,
  WEFT_LOG_OFF
} weft_log_level_t;

/* Lines below `level` are dropped. */
void weft_log_setup(weft_log_level_t level, bool json);
bool weft_log_enabled(weft_log_level_t level);
/* "debug", "info", "warn", "error" or "off" -> a level; -1 for anything else.
 */
int weft_log_level(const char *name);

void weft_log(weft_log_level_t level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A line with fields: begin, field ..., end. Between begin and end nothing
 * else may log. A message of several lines (a traceback) is indented as text,
 * and one string as JSON. */
void weft_log_begin(weft_log_level_t level, const char *message, size_t len);
/* `bare` values (numbers, booleans) are not quoted as JSON. */
void weft_log_field(const char *key,
                    size_t key_len,
                    const char *value,
                    size_t value_len,
                    bool bare);
void weft_log_end(void);

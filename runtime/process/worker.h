/* One process, one loop: the listeners, the generation that answers, and the
 * way from the start to an orderly end. */
#pragma once

#include <stdbool.h>

enum { WEFT_LISTEN_MAX = 16 };

typedef struct {
  const char
      *command; /* what Lua's main is asked for: "run", "check", "test" */
  int argc;     /* and its arguments */
  char *const *argv;
  const char *listen[WEFT_LISTEN_MAX]; /* for "run" */
  int listen_count;
  double drain_timeout; /* seconds that running requests get at the end */
} weft_worker_options_t;

/* Runs until the command is done, or, when it serves, until TERM or INT.
 * Returns the exit code. */
int weft_worker_run(const weft_worker_options_t *options);

/* Reads the options of a command: from the command line, else from the
 * environment variable WEFT_<NAME>, else the default. */
#pragma once

#include <stdbool.h>

typedef struct {
  const char *name; /* "drain-timeout": --drain-timeout, WEFT_DRAIN_TIMEOUT */
  const char *argument; /* what --help calls its value; NULL for a switch */
  const char *help;  /* NULL: this version refuses it, and --help is silent */
  const char *value; /* the default; then what was found; NULL for none */
  const char **more; /* a repeatable option's values go here instead */
  int *more_count;   /* how many; at most more_max */
  int more_max;
} weft_option_t;

/* A command without options of its own. */
#define WEFT_NO_OPTIONS ((weft_option_t[]){{.name = NULL}})

/* `options` ends with a NULL name; `usage` is the command's name and what
 * follows it, and `help` what --help adds below the options, or NULL. Returns
 * the index in argv of the first argument that is no option; -1 when help was
 * asked for and printed; -2 after a mistake, which was printed. */
int weft_options_parse(weft_option_t *options,
                       const char *usage,
                       const char *help,
                       int argc,
                       char **argv);
/* The value of a switch: given, or its variable is neither empty nor "0". */
bool weft_option_on(const weft_option_t *option);

/* The Lua library that the binary carries, as text. The table is generated at
 * build time by runtime/vm/embed. */
#pragma once

#include <stddef.h>

typedef struct {
  const char *module; /* "weft.router"; NULL in the last entry */
  const char *chunk;  /* what tracebacks show: "@lua/weft/router.lua" */
  const char *text;
  size_t len;
} weft_embedded_t;

extern const weft_embedded_t weft_embedded[];

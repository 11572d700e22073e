/* Memory that aborts when there is none: C may do so because every size that
 * a peer chooses is checked against a limit first. Lua has its own allocator.
 */
#pragma once

#include <stddef.h>

/* Uninitialised memory; never NULL. The caller owns it and calls free(). */
void *weft_alloc(size_t len);
/* The same, zeroed. */
void *weft_calloc(size_t len);
/* Grows or shrinks `p` (NULL is fine); never NULL. */
void *weft_realloc(void *p, size_t len);
/* A copy of `len` bytes with a NUL behind them. */
char *weft_strndup(const char *s, size_t len);

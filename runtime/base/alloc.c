#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *p, size_t len)
{
  if (!p) {
    fprintf(stderr, "weft: out of memory (%zu bytes)\n", len);
    abort();
  }
  return p;
}

void *weft_alloc(size_t len) { return check(malloc(len ? len : 1), len); }

void *weft_calloc(size_t len) { return check(calloc(1, len ? len : 1), len); }

void *weft_realloc(void *p, size_t len)
{
  return check(realloc(p, len ? len : 1), len);
}

char *weft_strndup(const char *s, size_t len)
{
  char *copy = weft_alloc(len + 1);
  memcpy(copy, s, len);
  copy[len] = '\0';
  return copy;
}

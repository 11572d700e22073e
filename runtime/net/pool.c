#include "net/pool.h"

#include "base/alloc.h"

#include <stdlib.h>

struct weft_pool {
  weft_loop_t *loop;
};

weft_pool_t *weft_pool_open(weft_loop_t *loop)
{
  weft_pool_t *pool = weft_calloc(sizeof(*pool));
  pool->loop = loop;
  return pool;
}

void weft_pool_close(weft_pool_t *pool) { free(pool); }

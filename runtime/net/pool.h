/* Outgoing connections of a worker: open, lend, take back, expire. */
#pragma once

#include "net/loop.h"

typedef struct weft_pool weft_pool_t;

weft_pool_t *weft_pool_open(weft_loop_t *loop);
/* Closes what is idle; frees itself once the last connection is gone. */
void weft_pool_close(weft_pool_t *pool);

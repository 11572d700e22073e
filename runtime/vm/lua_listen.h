/* Servers that scripts open: how `weft.testing` serves an app or a fake
 * upstream on loopback, through the same code that serves the world. */
#pragma once

#include "vm/generation.h"

/* Closes all of them, with their connections; each leaves
 * generation->listening once the last of its connections is gone. */
void weft_listen_close_all(weft_generation_t *generation);

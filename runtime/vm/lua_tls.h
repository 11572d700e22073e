/* TLS as Lua sees it: contexts, which lua/weft/tls.lua makes of options, and
 * what there is to know of a connection. */
#pragma once

#include "net/tls.h"

#include <lua.h>

/* The context in the box at `index`; NULL for nil. The box holds it. */
weft_tls_context_t *weft_lua_tls_context(lua_State *L, int index);

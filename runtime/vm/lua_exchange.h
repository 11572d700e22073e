/* Requests and responses as Lua sees them: a service hands each exchange of a
 * server to a task that runs one Lua function. */
#pragma once

#include "net/server.h"
#include "vm/generation.h"

/* Who answers the requests of a server: a generation, and the function in it
 * that is called with (handle, method, path) in a task of its own. */
typedef struct weft_service {
  weft_generation_t *generation;
  int serve_ref;
  weft_server_limits_t limits;
} weft_service_t;

/* The service of serve function and limits table at these stack places. Raises
 * when they are not right. The caller owns it. */
weft_service_t *weft_service_new(lua_State *L, int serve, int limits);
void weft_service_free(weft_service_t *service);
/* What a server's handler must be, so that `service` answers. */
weft_handler_t weft_service_handler(weft_service_t *service);

/* Frees the memory kept for exchanges; none is alive. */
void weft_exchanges_free(weft_generation_t *generation);

/* ---- for Lua through its FFI: the hot path -------------------------------
 * Declared once more, in the same words, in lua/weft/exchange.lua. None of them
 * may call into Lua. Each takes the generation and an exchange's handle, and
 * does nothing (false, 0, an empty slice) when the exchange has ended. */

typedef struct {
  const char *bytes;
  size_t len;
} weft_slice_t;

enum {
  WEFT_PART_TARGET,
  WEFT_PART_RAW_PATH,
  WEFT_PART_QUERY, /* bytes is NULL when there is no '?' */
  WEFT_PART_AUTHORITY
};

/* A part of the request's target. */
bool weft_lua_part(void *generation,
                   double handle,
                   int part,
                   weft_slice_t *out);
/* The first header of this lower-case name; returns how many there are. */
int weft_lua_header(void *generation,
                    double handle,
                    const char *name,
                    size_t len,
                    weft_slice_t *out);

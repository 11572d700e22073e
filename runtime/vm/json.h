/* JSON (RFC 8259) to and from Lua values, in C for speed; strict both ways. */
#pragma once

#include <lua.h>

/* Pushes a table with `encode`, `decode`, `null`, `array` and `object`. */
int weft_json_open(lua_State *L);

/* The module `weft.core`: everything that C offers to the Lua library, listed
 * in lua_core.c. Scripts use the library, never this. */
#pragma once

#include <lua.h>

int weft_core_open(lua_State *L);

/* Adds functions to the table on top of the stack; one per file. */
void weft_core_add_clock(lua_State *L);
void weft_core_add_task(lua_State *L);
void weft_core_add_exchange(lua_State *L);
void weft_core_add_listen(lua_State *L);
void weft_core_add_stream(lua_State *L);
void weft_core_add_tcp(lua_State *L);
void weft_core_add_exec(lua_State *L);
void weft_core_add_fetch(lua_State *L);
void weft_core_add_tls(lua_State *L);

/* JSON (RFC 8259) to and from Lua values, in C for speed; strict both ways.
 *
 * json.c offers it to Lua, json_decode.c and json_encode.c are the two
 * directions, json_number.c and json_text.c what both need. Nothing here knows
 * of requests or of files. */
#pragma once

#include <lua.h>

/* Pushes a new table with
 *
 *   decode(text [, max_depth])    the value; or nil and a string such as
 *                                 'unexpected "}" at byte 12' when `text` is
 *                                 not JSON. Never raises because of the text.
 *   encode(value [, max_depth])   the text; raises, naming the place, for what
 *                                 JSON cannot say: "cannot encode a function
 *                                 at $.a.b[3]"
 *   null                          what JSON's null decodes to: the light
 *                                 userdata NULL, the same in every state
 *   array(t), object(t)           mark `t` as one or the other, and return it
 *
 * Containers nest at most `max_depth` deep: 100, or what is asked, to 1000. An
 * unmarked table is an array when it has [1], an object otherwise: an empty one
 * is {}. Arrays that decode made carry the mark, so [] stays [] even when its
 * items were removed or never there. Metamethods are not called. */
int weft_json_open(lua_State *L);

/* Byte streams as Lua sees them: a socket of a script, or a pipe to a program
 * it started. Owns reading in the pieces that scripts ask for, writing with
 * back-pressure, both deadlines, and the end. How a stream comes to be is the
 * business of lua_tcp.c and lua_exec.c. */
#pragma once

#include "net/stream.h"
#include "net/tls.h"
#include "vm/generation.h"
#include "vm/task.h"

enum { WEFT_DELIMITER_MAX = 128 };

/* What a reader waits for. */
typedef enum {
  WEFT_WANT_SOME,      /* whatever there is */
  WEFT_WANT_COUNT,     /* so many bytes */
  WEFT_WANT_DELIMITER, /* all up to a delimiter */
  WEFT_WANT_ALL,       /* all until the end */
  WEFT_WANT_SECURE     /* no bytes: the TLS handshake's end */
} weft_want_t;

/* A stream of a script. It owns itself: it is freed in its close callback. The
 * script holds a box, a userdata with a pointer that becomes NULL when the
 * stream is closed. */
typedef struct weft_lua_stream {
  weft_stream_t stream; /* first: its events cast back */
  weft_generation_t *generation;
  weft_resource_t resource;
  /* the script's side */
  struct weft_lua_stream **box; /* NULL once it is emptied */
  int pin;                      /* registry ref of the box while tasks wait */
  int waiting;                  /* how many: the reader, the writer */
  /* reading */
  bool readable; /* connected, secure if it has to be, and not only to be
                    written to */
  int status;    /* UV_EOF or an error once nothing more will arrive */
  weft_buf_t in; /* arrived, and not yet taken */
  weft_await_t reader;
  weft_timer_t read_timer;
  weft_want_t want;
  size_t limit;   /* so many bytes, or at most so many */
  size_t scanned; /* the delimiter does not begin before, in `in` */
  size_t delimiter_len;
  char delimiter[WEFT_DELIMITER_MAX];
  /* writing */
  int write_status; /* an error once nothing more can be sent */
  bool shut;        /* the script shut it down: it writes no more */
  bool lingering;   /* closed by the script, with bytes still to be sent */
  weft_await_t writer;
  weft_timer_t write_timer; /* of the writer, or of lingering */
  /* the end */
  bool collected;  /* by Lua, without having been closed */
  bool of_program; /* a pipe: that is no mistake, it ends with the program */
} weft_lua_stream_t;

/* An empty box, on top of the stack. */
weft_lua_stream_t **weft_lua_stream_box(lua_State *L);
/* `it` is zeroed memory from the heap with an open stream in it, which belongs
 * to the generation and is in this box from now on. */
void weft_lua_stream_adopt(weft_lua_stream_t *it,
                           weft_generation_t *generation,
                           weft_lua_stream_t **box);
/* Both, with a new stream that is not connected. */
weft_lua_stream_t *weft_lua_stream_open(lua_State *L, bool unix_socket);
/* The stream in the box at stack place 1; NULL if it was closed. */
weft_lua_stream_t *weft_lua_stream_check(lua_State *L);
/* It is connected: reads ahead a little from now on. */
void weft_lua_stream_start(weft_lua_stream_t *it);
/* It is connected, and shakes hands before it is read; takes `tls`. The script
 * waits for that (stream_secured) before it does anything else. */
void weft_lua_stream_secure(weft_lua_stream_t *it, weft_tls_t *tls);
/* Ends it for the script; tasks that wait are told UV_ECONNABORTED. What is
 * unsent is still sent for at most `linger` ms; with `reset` the peer sees a
 * reset. Fine twice. */
void weft_lua_stream_close(weft_lua_stream_t *it, bool reset, uint64_t linger);

/* The number of seconds at `index` as ms; math.huge is a century. Raises when
 * it is no such number. */
uint64_t weft_lua_check_ms(lua_State *L, int index);
/* Sets the timer to so many ms from now. */
void weft_lua_set_timer(weft_loop_t *loop, weft_timer_t *timer, uint64_t ms);

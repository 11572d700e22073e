/* Listens, accepts, keeps the list of connections, drains. What the requests
 * mean is the handler's business. */
#pragma once

#include "base/list.h"
#include "http/parser.h"
#include "net/exchange.h"
#include "net/loop.h"

/* Time-outs in milliseconds, sizes in bytes. All are set by whoever opens the
 * server; weft_server_defaults gives the documented values. */
typedef struct {
  weft_parser_limits_t parser;
  uint32_t connections;     /* open at once; more wait in the kernel's queue */
  uint64_t header_timeout;  /* from the first byte of a head to its last */
  uint64_t body_timeout;    /* between two reads of a body */
  uint64_t write_timeout;   /* without progress while a client reads slowly */
  uint64_t idle_timeout;    /* keep-alive */
  uint64_t request_timeout; /* the whole exchange; 0 for none */
  bool end_is_gone; /* a client that shuts its writing side counts as gone */
} weft_server_limits_t;

typedef struct weft_listener weft_listener_t;

typedef struct weft_server {
  weft_loop_t *loop;
  weft_server_limits_t limits;
  weft_handler_t handler;
  weft_list_t listeners; /* of weft_listener_t.node */
  weft_list_t conns;     /* of weft_conn_t.node */
  uint32_t conn_count;
  bool draining;
  uint64_t warned_at; /* ms of the loop's clock: of a failure to accept */
  void (*on_empty)(struct weft_server *server); /* drained and all closed */
  void *data;                                   /* of whoever opened it */
} weft_server_t;

struct weft_listener {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv;
  weft_server_t *server;
  weft_list_t node;
  bool paused; /* the kernel's next connection is held back: server is full */
  char name[120]; /* "http://127.0.0.1:8080", "unix:/run/weft.sock" */
};

void weft_server_defaults(weft_server_limits_t *limits);
/* Copies limits and handler. It allows fewer connections than `limits` if the
 * process may not open so many files. */
void weft_server_init(weft_server_t *server,
                      weft_loop_t *loop,
                      const weft_server_limits_t *limits,
                      const weft_handler_t *handler);
/* Listens on "host:port", "[v6]:port" or "unix:PATH". Returns 0 and the
 * listener, or -1 with a sentence in `error` (`error_len` bytes). */
int weft_server_listen(weft_server_t *server,
                       const char *address,
                       weft_listener_t **listener,
                       char *error,
                       size_t error_len);
/* Stops accepting, lets running exchanges finish, closes the rest; then calls
 * on_empty, maybe before it returns. */
void weft_server_drain(weft_server_t *server);
/* Ends what drain waits for. */
void weft_server_close_all(weft_server_t *server);

/* For net/conn.c: a connection came or went. */
void weft_server_opened(weft_server_t *server, weft_list_t *node);
void weft_server_closed(weft_server_t *server, weft_list_t *node);

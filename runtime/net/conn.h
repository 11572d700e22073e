/* A client's connection: read, parse, hand over, write, keep alive, close. */
#pragma once

#include "net/exchange.h"
#include "net/server.h"
#include "net/stream.h"

typedef enum {
  WEFT_CONN_IDLE,       /* between two requests */
  WEFT_CONN_HEAD,       /* a part of a head has arrived */
  WEFT_CONN_RECEIVING,  /* an exchange runs; its request's body is arriving */
  WEFT_CONN_ANSWERING,  /* an exchange runs; its request was received whole */
  WEFT_CONN_DISCARDING, /* answered; what is left of the body is dropped */
  WEFT_CONN_LINGERING,  /* write side shut; what still arrives is dropped */
  WEFT_CONN_CLOSING     /* waits for on_closed */
} weft_conn_state_t;

struct weft_conn {
  /* connection */
  weft_stream_t stream;
  weft_server_t *server;
  weft_list_t node; /* in server->conns */
  uint8_t state;    /* weft_conn_state_t, by set_state alone */
  bool pumping;     /* pump is on the stack */
  /* reading */
  weft_parser_t parser;
  weft_buf_t in;      /* received, not yet parsed */
  uint32_t discarded; /* bytes dropped while DISCARDING or LINGERING */
  /* time */
  weft_timer_t timer;
  uint64_t state_due; /* this state's time-out, see due_of_state; 0 for none */
  uint64_t stall_due; /* a client that reads nothing; 0 while all is sent */
  uint64_t sent;      /* weft_stream_sent when stall_due was set */
  /* exchange */
  weft_exchange_t exchange;
};

/* Accepts one connection from `listener`. Returns 0 or a libuv code. */
int weft_conn_accept(weft_server_t *server,
                     uv_stream_t *listener,
                     bool unix_socket);
/* Stops taking requests: soon if idle, else after the running one. */
void weft_conn_drain(weft_conn_t *conn);
/* Closes now; a running exchange gets on_gone with ECANCELED. */
void weft_conn_close(weft_conn_t *conn);
/* For net/exchange.c: on_body is owed, so the body's time-out begins. */
void weft_conn_want_body(weft_conn_t *conn);
/* For net/exchange.c: the response is complete. */
void weft_conn_answered(weft_conn_t *conn);
/* For net/exchange.c: the response ends in its middle. */
void weft_conn_torn(weft_conn_t *conn);
/* As weft_stream_peer. */
void weft_conn_peer(weft_conn_t *conn, char address[46], int *port);

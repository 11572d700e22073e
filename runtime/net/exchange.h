/* One request and its response: the flow of both bodies, back-pressure, and the
 * end. An exchange is embedded in its connection and reused for the next
 * request; `net/conn.c` drives it from the socket's side, a handler from the
 * other. The handler may be Lua (vm/lua_exchange.c) or any C. */
#pragma once

#include "http/parser.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct weft_exchange weft_exchange_t;
typedef struct weft_conn weft_conn_t;

/* Who answers requests. Each callback may use the exchange, also end it. */
typedef struct {
  void *data;
  /* A head is whole: answer it now or later. */
  void (*on_request)(void *data, weft_exchange_t *exchange);
  /* Body bytes, the body's end or its failure: only after
   * weft_exchange_want_body, once for each call of it. */
  void (*on_body)(void *data, weft_exchange_t *exchange);
  /* What was unsent is with the kernel: only after weft_exchange_want_drain,
   * once for each call of it. */
  void (*on_drain)(void *data, weft_exchange_t *exchange);
  /* The request's time is over. The answer is still the handler's; when none
   * has begun 5 s later, the exchange answers 504 and calls on_gone. */
  void (*on_deadline)(void *data, weft_exchange_t *exchange);
  /* The client is gone, or is not waited for any longer (a negative libuv
   * code): forget the exchange, it ends with this call. */
  void (*on_gone)(void *data, weft_exchange_t *exchange, int status);
  /* A request was refused by the parser and never became an exchange. */
  void (*on_refused)(void *data,
                     weft_conn_t *conn,
                     int status,
                     const char *reason);
} weft_handler_t;

struct weft_exchange {
  void *owner;       /* the handler's own; NULL when an exchange begins */
  uint64_t deadline; /* ms of the loop's clock; 0 for none */
  /* request */
  weft_buf_t body;     /* received and not yet taken */
  uint64_t body_len;   /* received so far */
  int16_t body_status; /* 0, or the status to refuse the body with: 400, 408 */
  bool body_complete;  /* all of it was received */
  bool body_wanted;    /* on_body is owed */
  bool drain_wanted;   /* on_drain is owed */
  bool continued;      /* 100 Continue was sent */
  bool overdue; /* on_deadline was called; `deadline` is the grace's end */
  /* response */
  bool running;     /* from on_request to weft_exchange_end or on_gone */
  bool answered;    /* the head was written */
  bool chunked;     /* the body goes out in chunks */
  bool until_close; /* the body ends with the connection */
  bool no_body;     /* HEAD, 204, 304: what is written of it is dropped */
  bool close;       /* the connection closes after this response */
  uint16_t status;  /* of the response; 0 before its head */
  uint64_t sent;    /* bytes of the response's body */
};

weft_conn_t *weft_exchange_conn(weft_exchange_t *exchange);
const weft_head_t *weft_exchange_head(weft_exchange_t *exchange);

/* ---- request body ---- */

enum { WEFT_BODY_HIGH = 64 * 1024, WEFT_DRAIN_MAX = 64 * 1024 };

/* Whether something can be taken now: bytes, the end, or a failure. */
bool weft_exchange_body_ready(const weft_exchange_t *exchange);
/* Asks for more of the body: sends 100 Continue if the client waits for it,
 * and has on_body called when weft_exchange_body_ready becomes true. */
void weft_exchange_want_body(weft_exchange_t *exchange);
/* on_body is not owed any longer. */
void weft_exchange_unwant_body(weft_exchange_t *exchange);
/* Bytes were consumed from exchange->body: read on. */
void weft_exchange_body_taken(weft_exchange_t *exchange);

/* ---- response ---- */

/* The head, header by header: begin, header ..., then body or stream. Nothing
 * reaches the wire before one of these two. Framing headers (Content-Length,
 * Transfer-Encoding, Connection, Date) are the exchange's own. */
void weft_exchange_begin_head(weft_exchange_t *exchange, int status);
void weft_exchange_header(weft_exchange_t *exchange,
                          const char *name,
                          size_t name_len,
                          const char *value,
                          size_t value_len);
/* Completes the head and the response with this body. */
void weft_exchange_body(weft_exchange_t *exchange,
                        const char *body,
                        size_t len);
/* Completes the head of a response whose body follows in pieces. `len` is its
 * length if it is known, else -1. */
void weft_exchange_stream(weft_exchange_t *exchange, int64_t len);
/* A piece of it. Returns false when the client is so slow that the writer
 * should wait for weft_exchange_want_drain. */
bool weft_exchange_write(weft_exchange_t *exchange,
                         const char *bytes,
                         size_t len);
/* The bytes written so far go out now. */
void weft_exchange_flush(weft_exchange_t *exchange);
/* Has on_drain called once nothing is unsent; false if that is so already. */
bool weft_exchange_want_drain(weft_exchange_t *exchange);
/* A streamed body is whole: its end goes out, nothing can be written behind it.
 * Fine twice. */
void weft_exchange_complete(weft_exchange_t *exchange);
/* The response is complete: next request, wait or close. Not before its head;
 * a streamed body is ended here. May not be called from on_gone. */
void weft_exchange_end(weft_exchange_t *exchange);
/* The response cannot be completed: the connection ends behind what there is
 * of it, so that no client takes the torn body for a whole one. on_gone is not
 * called. */
void weft_exchange_abort(weft_exchange_t *exchange);
/* A complete response of one line of text and its end. Not after a head was
 * begun. */
void weft_exchange_answer(weft_exchange_t *exchange, int status);

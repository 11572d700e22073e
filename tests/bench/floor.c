/*
 * The floor of the bench: what libuv and llhttp cost with nothing on top. It
 * parses every request with llhttp and answers all that one read completed
 * with one write of bytes prepared beforehand. It routes nothing, keeps no
 * header and puts no limit on a client that never reads: it belongs on
 * loopback, beside the bench, and is no part of weft.
 *
 *   floor hello      answers as the app's "/" does, headers included
 *   floor upstream   answers 64 bytes: the service behind "/upstream"
 */
#include <llhttp.h>
#include <uv.h>

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  READ_SIZE = 64 * 1024, /* what libuv suggests for a read */
  ANSWER_SIZE = 512,     /* room for one answer */
  COPIES = 64,           /* answers that one write can carry */
  BACKLOG = 4096,        /* 10,000 clients come at once */
};

/* The process. Owns the loop and the answer, lent to every client. */
typedef struct {
  uv_loop_t loop;
  uv_tcp_t listener;
  uv_timer_t clock; /* renews the Date header each second */
  llhttp_settings_t settings;
  char in[READ_SIZE]; /* shared: a read is parsed before the next begins */

  const char *fields;             /* of the answer, after Date; borrowed */
  const char *body;               /* of the answer; borrowed */
  char out[COPIES * ANSWER_SIZE]; /* the answer, again and again */
  size_t answer_len;
} server_t;

/* A connection. Made by on_connection, freed by on_closed. */
typedef struct {
  uv_tcp_t tcp; /* first, so that a handle can be cast back */
  llhttp_t parser;
  unsigned completed; /* requests that the current read completed */
  bool last;          /* the client asked to close after this answer */
} client_t;

/* What the socket would not take at once. Freed by on_written. */
typedef struct {
  uv_write_t req; /* first, so that a request can be cast back */
  char bytes[];
} rest_t;

/* Ends the program when the set-up fails: there is nothing to serve then. */
static void must(int status, const char *what)
{
  if (status < 0) {
    fprintf(stderr, "floor: %s: %s\n", what, uv_strerror(status));
    exit(1);
  }
}

static void *must_alloc(size_t len)
{
  void *memory = calloc(1, len);
  if (!memory)
    abort();
  return memory;
}

static void on_clock(uv_timer_t *clock)
{
  server_t *server = clock->data;
  time_t now = time(NULL);
  struct tm utc;
  char date[64];
  strftime(date, sizeof(date), "%a, %d %b %Y %T GMT", gmtime_r(&now, &utc));

  int len = snprintf(server->out, ANSWER_SIZE,
                     "HTTP/1.1 200 OK\r\n"
                     "Date: %s\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n"
                     "%s\r\n%s",
                     date, strlen(server->body), server->fields, server->body);
  assert(len > 0 && len < ANSWER_SIZE);
  server->answer_len = (size_t)len;
  for (size_t i = 1; i < COPIES; i++)
    memcpy(server->out + i * (size_t)len, server->out, (size_t)len);
}

static void on_closed(uv_handle_t *handle) { free(handle); }

static void close_client(client_t *client)
{
  uv_handle_t *handle = (uv_handle_t *)&client->tcp;
  if (!uv_is_closing(handle))
    uv_close(handle, on_closed);
}

static void on_written(uv_write_t *req, int status)
{
  client_t *client = (client_t *)req->handle;
  if (status < 0 || client->last)
    close_client(client);
  free(req);
}

static void write_rest(client_t *client, const char *bytes, size_t len)
{
  rest_t *rest = must_alloc(sizeof(*rest) + len);
  memcpy(rest->bytes, bytes, len);
  uv_buf_t buf = uv_buf_init(rest->bytes, (unsigned)len);
  uv_stream_t *stream = (uv_stream_t *)&client->tcp;
  if (uv_write(&rest->req, stream, &buf, 1, on_written) < 0) {
    free(rest);
    close_client(client);
  }
}

/* Returns false when the connection is closing or bytes had to be queued. */
static bool write_answers(client_t *client, unsigned count)
{
  server_t *server = client->tcp.data;
  size_t len = count * server->answer_len;
  uv_buf_t buf = uv_buf_init(server->out, (unsigned)len);
  int written = uv_try_write((uv_stream_t *)&client->tcp, &buf, 1);
  if (written == UV_EAGAIN)
    written = 0;
  if (written < 0) {
    close_client(client);
    return false;
  }
  if ((size_t)written == len)
    return true;
  write_rest(client, server->out + written, len - (size_t)written);
  return false;
}

static int on_message_complete(llhttp_t *parser)
{
  client_t *client = parser->data;
  client->completed++;
  client->last = !llhttp_should_keep_alive(parser);
  return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  (void)suggested;
  server_t *server = handle->data;
  *buf = uv_buf_init(server->in, sizeof(server->in));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
  client_t *client = (client_t *)stream;
  if (len < 0) {
    close_client(client);
    return;
  }
  client->completed = 0;
  bool bad = llhttp_execute(&client->parser, buf->base, (size_t)len) != HPE_OK;

  bool flushed = true;
  for (unsigned left = client->completed; left > 0;) {
    unsigned now = left < COPIES ? left : COPIES;
    flushed = write_answers(client, now) && flushed;
    if (uv_is_closing((uv_handle_t *)stream))
      return;
    left -= now;
  }
  if (bad || (client->last && flushed))
    close_client(client);
}

static void on_connection(uv_stream_t *listener, int status)
{
  if (status < 0)
    return;
  server_t *server = listener->data;
  client_t *client = must_alloc(sizeof(*client));
  must(uv_tcp_init(&server->loop, &client->tcp), "uv_tcp_init");
  client->tcp.data = server;
  llhttp_init(&client->parser, HTTP_REQUEST, &server->settings);
  client->parser.data = client;

  uv_stream_t *stream = (uv_stream_t *)&client->tcp;
  if (uv_accept(listener, stream) < 0 || uv_tcp_nodelay(&client->tcp, 1) < 0 ||
      uv_read_start(stream, on_alloc, on_read) < 0)
    close_client(client);
}

/* Listens on a free port and announces it, as weft does. */
static void listen_on_loopback(server_t *server)
{
  struct sockaddr_in addr;
  must(uv_ip4_addr("127.0.0.1", 0, &addr), "uv_ip4_addr");
  must(uv_tcp_init(&server->loop, &server->listener), "uv_tcp_init");
  server->listener.data = server;
  must(uv_tcp_bind(&server->listener, (const struct sockaddr *)&addr, 0),
       "bind");
  must(uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection),
       "listen");

  int len = sizeof(addr);
  must(uv_tcp_getsockname(&server->listener, (struct sockaddr *)&addr, &len),
       "getsockname");
  printf("floor: listening on http://127.0.0.1:%d\n", ntohs(addr.sin_port));
  fflush(stdout);
}

int main(int argc, char **argv)
{
  server_t *server = must_alloc(sizeof(*server));
  if (argc == 2 && strcmp(argv[1], "hello") == 0) {
    server->fields = "X-Custom-Header: Hello\r\nX-Request-Path: /\r\n";
    server->body = "Hello, World!";
  } else if (argc == 2 && strcmp(argv[1], "upstream") == 0) {
    server->fields = "";
    server->body =
        "An upstream's answer: sixty-four bytes, ended by a full stop....";
  } else {
    fprintf(stderr, "usage: floor hello|upstream\n");
    return 2;
  }

  must(uv_loop_init(&server->loop), "uv_loop_init");
  llhttp_settings_init(&server->settings);
  server->settings.on_message_complete = on_message_complete;

  must(uv_timer_init(&server->loop, &server->clock), "uv_timer_init");
  server->clock.data = server;
  must(uv_timer_start(&server->clock, on_clock, 1000, 1000), "uv_timer_start");
  on_clock(&server->clock);

  listen_on_loopback(server);
  return uv_run(&server->loop, UV_RUN_DEFAULT); /* until it is killed */
}

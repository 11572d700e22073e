#include "net/server.h"

#include "base/alloc.h"
#include "base/log.h"
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static void on_connection(uv_stream_t *handle, int status);

void weft_server_defaults(weft_server_limits_t *limits)
{
  *limits = (weft_server_limits_t){
      .parser = {.head_size = 32 * 1024,
                 .target_size = 8 * 1024,
                 .header_count = 100},
      .connections = 10000,
      .header_timeout = 10 * 1000,
      .body_timeout = 30 * 1000,
      .write_timeout = 30 * 1000,
      .idle_timeout = 75 * 1000,
      .request_timeout = 60 * 1000,
  };
}

/* Leaves a quarter of the descriptors to all that is no connection: without
 * any, libuv can do no better than close what it accepts. */
static uint32_t connections_within_reach(uint32_t wanted)
{
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0)
    return wanted;
  rlim_t most = files.rlim_cur - files.rlim_cur / 4;
  if (most >= wanted)
    return wanted;
  weft_log(
      WEFT_LOG_INFO,
      "at most %lu connections at once: the process may open only %lu files",
      (unsigned long)most, (unsigned long)files.rlim_cur);
  return (uint32_t)most;
}

void weft_server_init(weft_server_t *server,
                      weft_loop_t *loop,
                      const weft_server_limits_t *limits,
                      const weft_handler_t *handler)
{
  *server =
      (weft_server_t){.loop = loop, .limits = *limits, .handler = *handler};
  server->limits.connections = connections_within_reach(limits->connections);
  weft_list_init(&server->listeners);
  weft_list_init(&server->conns);
}

/* Splits "host:port" or "[v6]:port" into a socket address. Returns a sentence
 * when it cannot. */
static const char *parse_address(const char *address,
                                 struct sockaddr_storage *out)
{
  const char *colon = strrchr(address, ':');
  char host[64];
  if (!colon || colon == address || !colon[1])
    return "expected host:port, [v6]:port or unix:PATH";
  char *end;
  unsigned long port = strtoul(colon + 1, &end, 10);
  if (*end || colon[1] < '0' || colon[1] > '9' || port > 65535)
    return "the port is not a number from 0 to 65535";
  size_t len = (size_t)(colon - address);
  bool bracketed = len > 2 && address[0] == '[' && address[len - 1] == ']';
  if (bracketed) {
    address++;
    len -= 2;
  }
  if (len >= sizeof(host))
    return "the host is not an IP address";
  memcpy(host, address, len);
  host[len] = '\0';
  if (strcmp(host, "localhost") == 0)
    strcpy(host, "127.0.0.1");
  if (bracketed ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out) != 0
                : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out) != 0)
    return "the host is not an IP address";
  return NULL;
}

static void on_listener_closed(uv_handle_t *handle) { free(handle->data); }

/* libuv removes the file of a unix socket. */
static void close_listener(weft_listener_t *listener)
{
  weft_list_remove(&listener->node);
  uv_close(&listener->uv.handle, on_listener_closed);
}

static int listen_tcp(weft_listener_t *listener,
                      const struct sockaddr_storage *address)
{
  int status =
      uv_tcp_bind(&listener->uv.tcp, (const struct sockaddr *)address, 0);
  if (status == 0)
    status = uv_listen(&listener->uv.stream, BACKLOG, on_connection);
  if (status != 0)
    return status;
  struct sockaddr_storage bound;
  int len = sizeof(bound);
  uv_tcp_getsockname(&listener->uv.tcp, (struct sockaddr *)&bound, &len);
  char host[46];
  if (bound.ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&bound;
    uv_ip4_name(v4, host, sizeof(host));
    snprintf(listener->name, sizeof(listener->name), "http://%s:%d", host,
             ntohs(v4->sin_port));
  } else {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&bound;
    uv_ip6_name(v6, host, sizeof(host));
    snprintf(listener->name, sizeof(listener->name), "http://[%s]:%d", host,
             ntohs(v6->sin6_port));
  }
  return 0;
}

/* A socket file that nobody listens on is left from a server that died. */
static void remove_stale_socket(const char *path)
{
  struct stat info;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
    return;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return;
  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
      errno == ECONNREFUSED)
    unlink(path);
  close(fd);
}

static int listen_unix(weft_listener_t *listener, const char *path)
{
  remove_stale_socket(path);
  int status = uv_pipe_bind(&listener->uv.pipe, path);
  if (status == 0)
    status = uv_listen(&listener->uv.stream, BACKLOG, on_connection);
  snprintf(listener->name, sizeof(listener->name), "unix:%s", path);
  return status;
}

int weft_server_listen(weft_server_t *server,
                       const char *address,
                       weft_listener_t **out,
                       char *error,
                       size_t error_len)
{
  bool unix_socket = strncmp(address, "unix:", 5) == 0;
  struct sockaddr_storage parsed = {0};
  const char *reason = NULL;
  if (!unix_socket)
    reason = parse_address(address, &parsed);
  else if (strlen(address + 5) == 0 ||
           strlen(address + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path))
    reason = "the path of a unix socket has 1 to 107 bytes";
  if (!reason) {
    weft_listener_t *listener = weft_calloc(sizeof(*listener));
    listener->server = server;
    weft_list_push(&server->listeners, &listener->node);
    if (unix_socket)
      uv_pipe_init(&server->loop->uv, &listener->uv.pipe, 0);
    else
      uv_tcp_init(&server->loop->uv, &listener->uv.tcp);
    listener->uv.handle.data = listener;
    int status = unix_socket ? listen_unix(listener, address + 5)
                             : listen_tcp(listener, &parsed);
    if (status == 0) {
      *out = listener;
      return 0;
    }
    close_listener(listener);
    reason = uv_strerror(status);
  }
  snprintf(error, error_len, "cannot listen on %s: %s", address, reason);
  return -1;
}

static bool is_unix(const weft_listener_t *listener)
{
  return listener->uv.handle.type == UV_NAMED_PIPE;
}

/* Out of memory, say: libuv asks again. */
static void warn(weft_server_t *server, int status)
{
  enum { INTERVAL = 1000 };
  uint64_t now = weft_loop_now(server->loop);
  if (server->warned_at && now - server->warned_at < INTERVAL)
    return;
  server->warned_at = now;
  weft_log(WEFT_LOG_WARN, "cannot accept a connection: %s",
           uv_strerror(status));
}

/* libuv holds a connection back, and asks for no further one, until uv_accept
 * is called: so a full server just does not call it. */
static void on_connection(uv_stream_t *handle, int status)
{
  weft_listener_t *listener = handle->data;
  weft_server_t *server = listener->server;
  listener->paused =
      status == 0 && server->conn_count >= server->limits.connections;
  if (status == 0 && !listener->paused)
    status = weft_conn_accept(server, handle, is_unix(listener));
  if (status < 0)
    warn(server, status);
}

void weft_server_opened(weft_server_t *server, weft_list_t *node)
{
  weft_list_push(&server->conns, node);
  server->conn_count++;
}

/* Lets in what was held back, each listener's in its turn. */
static void resume(weft_server_t *server)
{
  for (weft_list_t *it = server->listeners.next; it != &server->listeners;
       it = it->next) {
    weft_listener_t *listener = WEFT_LIST_ENTRY(it, weft_listener_t, node);
    if (!listener->paused)
      continue;
    weft_list_remove(it);
    weft_list_push(&server->listeners, it);
    on_connection(&listener->uv.stream, 0);
    return;
  }
}

void weft_server_closed(weft_server_t *server, weft_list_t *node)
{
  weft_list_remove(node);
  server->conn_count--;
  if (server->draining && server->conn_count == 0)
    server->on_empty(server);
  else if (!server->draining)
    resume(server);
}

static void each_conn(weft_server_t *server, void (*call)(weft_conn_t *conn))
{
  weft_list_t *next;
  for (weft_list_t *it = server->conns.next; it != &server->conns; it = next) {
    next = it->next;
    call(WEFT_LIST_ENTRY(it, weft_conn_t, node));
  }
}

void weft_server_drain(weft_server_t *server)
{
  server->draining = true;
  while (!weft_list_empty(&server->listeners))
    close_listener(
        WEFT_LIST_ENTRY(server->listeners.next, weft_listener_t, node));
  each_conn(server, weft_conn_drain);
  if (server->conn_count == 0)
    server->on_empty(server);
}

void weft_server_close_all(weft_server_t *server)
{
  each_conn(server, weft_conn_close);
}

/*
 * Many connections at once, for the memory figures of the bench: opens COUNT
 * connections to 127.0.0.1:PORT, sends one GET for PATH on each, and holds
 * them. It measures nothing itself.
 *
 *   connections PORT COUNT PATH answered   "ready" once all are answered
 *   connections PORT COUNT PATH pending    "ready" once all are sent
 *
 * It holds until its standard input closes. Pending requests must still be
 * pending then, and are waited for. It exits with 0 only if every connection
 * was answered 200 and the server closed none, so that a server cannot look
 * small by refusing.
 */
#include <llhttp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  PER_SOURCE = 10000,  /* ports used of one loopback address */
  WINDOW = 64,         /* requests on their way when answers are awaited */
  PACE = 10,           /* connections opened between two rounds otherwise */
  EVENTS = 256,        /* taken from epoll at once */
  DEADLINE_MS = 60000, /* silence for so long is a failure */
};

typedef struct run run_t;

/* One connection: its socket and the parser of its one answer. */
typedef struct {
  int fd;
  llhttp_t parser;
  run_t *run;
} conn_t;

/* All of them. Lives for as long as the program. */
struct run {
  conn_t *conns;
  int epoll;
  int count, opened, answered;
  int port;
  char request[1024];
  llhttp_settings_t settings;
};

static void fail(const char *what)
{
  fprintf(stderr, "connections: %s\n", what);
  exit(1);
}

static void fail_errno(const char *what)
{
  fprintf(stderr, "connections: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int on_message_complete(llhttp_t *parser)
{
  conn_t *conn = parser->data;
  if (parser->status_code != 200)
    fail("an answer other than 200");
  conn->run->answered++;
  return 0;
}

/* Connects, sends and watches. On loopback both calls end at once. */
static void open_next(run_t *run)
{
  int index = run->opened;
  struct sockaddr_in source = {.sin_family = AF_INET};
  source.sin_addr.s_addr =
      htonl(INADDR_LOOPBACK + (uint32_t)(index / PER_SOURCE));
  struct sockaddr_in target = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)run->port)};
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

  conn_t *conn = &run->conns[index];
  conn->run = run;
  conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (conn->fd < 0)
    fail_errno("socket");
  int on = 1; /* pick the port at connect, where the target counts as well */
  setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  if (bind(conn->fd, (struct sockaddr *)&source, sizeof(source)) < 0)
    fail_errno("bind");
  if (connect(conn->fd, (struct sockaddr *)&target, sizeof(target)) < 0)
    fail_errno("connect");

  size_t len = strlen(run->request);
  if (send(conn->fd, run->request, len, MSG_NOSIGNAL) != (ssize_t)len)
    fail_errno("send");
  if (fcntl(conn->fd, F_SETFL, O_NONBLOCK) < 0)
    fail_errno("fcntl");

  llhttp_init(&conn->parser, HTTP_RESPONSE, &run->settings);
  conn->parser.data = conn;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
  if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, conn->fd, &event) < 0)
    fail_errno("epoll_ctl");
  run->opened++;
}

static void read_some(conn_t *conn)
{
  char bytes[4096];
  ssize_t len = read(conn->fd, bytes, sizeof(bytes));
  if (len < 0 && errno == EAGAIN)
    return;
  if (len <= 0)
    fail("the server closed a connection");
  if (llhttp_execute(&conn->parser, bytes, (size_t)len) != HPE_OK)
    fail("an answer that is not HTTP");
}

/* Waits and takes in what arrived. Returns false once standard input, which
 * is watched under the NULL pointer, has closed. */
static bool poll_once(run_t *run, int timeout)
{
  struct epoll_event events[EVENTS];
  int count = epoll_wait(run->epoll, events, EVENTS, timeout);
  if (count < 0 && errno != EINTR)
    fail_errno("epoll_wait");
  if (count == 0 && timeout >= DEADLINE_MS)
    fail("the server went silent");
  bool held = true;
  for (int i = 0; i < count; i++) {
    char byte;
    if (events[i].data.ptr)
      read_some(events[i].data.ptr);
    else if (read(STDIN_FILENO, &byte, 1) <= 0)
      held = false;
  }
  return held;
}

static void await_answers(run_t *run, int count)
{
  while (run->answered < count)
    poll_once(run, DEADLINE_MS);
}

static void open_all(run_t *run, bool pending)
{
  while (run->opened < run->count) {
    open_next(run);
    if (!pending)
      await_answers(run, run->opened - WINDOW);
    else if (run->opened % PACE == 0)
      poll_once(run, 1); /* lets the server accept: 10,000 a second at most */
  }
  if (!pending)
    await_answers(run, run->count);
}

/* Standard input joins only now: nobody may end the run before "ready". */
static void hold(run_t *run)
{
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
    fail_errno("standard input must be a pipe");
  puts("ready");
  fflush(stdout);
  while (poll_once(run, -1))
    ;
  epoll_ctl(run->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

int main(int argc, char **argv)
{
  static run_t run; /* zeroed; ends with the process */
  bool pending = argc == 5 && strcmp(argv[4], "pending") == 0;
  if (argc != 5 || (!pending && strcmp(argv[4], "answered") != 0)) {
    fprintf(stderr, "usage: connections PORT COUNT PATH answered|pending\n");
    return 2;
  }
  run.port = atoi(argv[1]);
  run.count = atoi(argv[2]);
  run.conns = calloc((size_t)run.count, sizeof(conn_t));
  run.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (run.count <= 0 || !run.conns || run.epoll < 0)
    fail("cannot begin");
  snprintf(run.request, sizeof(run.request),
           "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\n\r\n",
           argv[3], run.port);
  llhttp_settings_init(&run.settings);
  run.settings.on_message_complete = on_message_complete;

  open_all(&run, pending);
  hold(&run);
  if (pending && run.answered > 0)
    fail("requests were answered before the measurement was over");
  await_answers(&run, run.count);

  for (int i = 0; i < run.count; i++)
    close(run.conns[i].fd);
  close(run.epoll);
  free(run.conns);
  return 0;
}

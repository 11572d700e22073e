#include "process/worker.h"

#include "base/log.h"
#include "net/loop.h"
#include "net/pool.h"
#include "net/server.h"
#include "vm/generation.h"
#include "vm/lua_exchange.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The life of a worker goes one way through these. */
typedef enum {
  WORKER_LOADING, /* main runs; for check and test that is all */
  WORKER_SERVING,
  WORKER_DRAINING, /* no more connections; running requests finish */
  WORKER_STOPPING, /* the app's stop hooks and background tasks */
  WORKER_CLOSING   /* what is left is cancelled */
} worker_state_t;

typedef struct {
  const weft_worker_options_t *options;
  weft_loop_t loop;
  weft_pool_t *pool;
  weft_generation_t *generation;
  weft_server_t server;
  worker_state_t state;
  bool server_open; /* `server` has listeners or connections */
  uv_signal_t term, interrupt;
  weft_timer_t deadline; /* of draining and stopping */
  int exit_code;
} worker_t;

static void close_all(worker_t *worker);

static void close_handles(worker_t *worker)
{
  if (worker->server_open || worker->generation)
    return;
  weft_timer_clear(&worker->loop, &worker->deadline);
  uv_close((uv_handle_t *)&worker->term, NULL);
  uv_close((uv_handle_t *)&worker->interrupt, NULL);
  /* the end has come: one more of them must not turn it into a death */
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  weft_pool_close(worker->pool);
}

static void on_generation_closed(weft_generation_t *generation)
{
  worker_t *worker = generation->data;
  worker->generation = NULL;
  close_handles(worker);
}

static void close_all(worker_t *worker)
{
  if (worker->state == WORKER_CLOSING)
    return;
  worker->state = WORKER_CLOSING;
  if (worker->exit_code == 0)
    worker->exit_code = worker->generation->exit_code;
  if (worker->server_open) {
    weft_server_close_all(&worker->server);
    if (!worker->server.draining)
      weft_server_drain(&worker->server);
  }
  weft_generation_close(worker->generation, on_generation_closed);
}

static void on_quiet(weft_generation_t *generation)
{
  close_all(generation->data);
}

/* The stop hooks are done: background tasks may finish. */
static void on_stopped(weft_task_t *task, void *data)
{
  (void)task;
  worker_t *worker = data;
  if (worker->state == WORKER_STOPPING)
    worker->generation->on_quiet = on_quiet;
}

static void on_drained(weft_server_t *server)
{
  worker_t *worker = server->data;
  worker->server_open = false;
  if (worker->state == WORKER_CLOSING) {
    close_handles(worker);
    return;
  }
  worker->state = WORKER_STOPPING;
  weft_generation_start(worker->generation, "stop", 0, NULL, on_stopped,
                        worker);
}

static void on_deadline(weft_timer_t *timer)
{
  weft_log(WEFT_LOG_WARN, "what still ran after the drain time-out was ended");
  close_all(WEFT_LIST_ENTRY(timer, worker_t, deadline));
}

static void on_signal(uv_signal_t *handle, int number)
{
  worker_t *worker = handle->data;
  if (worker->state != WORKER_SERVING) {
    if (worker->state == WORKER_LOADING)
      worker->exit_code = 1;
    close_all(worker);
    return;
  }
  weft_log(WEFT_LOG_INFO, "%s: answering what runs, then stopping",
           number == SIGTERM ? "TERM" : "INT");
  worker->state = WORKER_DRAINING;
  weft_timer_set(&worker->loop, &worker->deadline,
                 weft_loop_now(&worker->loop) +
                     (uint64_t)(worker->options->drain_timeout * 1e3));
  weft_server_drain(&worker->server);
}

/* Opens every listener, or none. */
static bool listen_all(worker_t *worker)
{
  const weft_worker_options_t *options = worker->options;
  weft_listener_t *listeners[WEFT_LISTEN_MAX];
  char error[256];
  weft_service_t *service = worker->generation->service;
  weft_handler_t handler = weft_service_handler(service);
  weft_server_init(&worker->server, &worker->loop, &service->limits, &handler);
  worker->server.data = worker;
  worker->server.on_empty = on_drained;
  worker->server_open = true;
  for (int i = 0; i < options->listen_count; i++) {
    if (weft_server_listen(&worker->server, options->listen[i], &listeners[i],
                           error, sizeof(error)) != 0) {
      fprintf(stderr, "weft: %s\n", error);
      return false;
    }
  }
  for (int i = 0; i < options->listen_count; i++)
    printf("weft: listening on %s\n", listeners[i]->name);
  fflush(stdout);
  return true;
}

static void on_main_done(weft_task_t *task, void *data)
{
  (void)task;
  worker_t *worker = data;
  if (worker->state != WORKER_LOADING)
    return;
  bool serve = worker->generation->service && !worker->generation->exit_code;
  if (serve && listen_all(worker)) {
    worker->state = WORKER_SERVING;
    return;
  }
  if (serve)
    worker->exit_code = 1;
  close_all(worker);
}

/* Ten thousand connections need as many descriptors, and more to upstreams. */
static void raise_descriptor_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

static void watch_signal(worker_t *worker, uv_signal_t *handle, int number)
{
  uv_signal_init(&worker->loop.uv, handle);
  handle->data = worker;
  uv_signal_start(handle, on_signal, number);
  uv_unref((uv_handle_t *)handle);
}

int weft_worker_run(const weft_worker_options_t *options)
{
  worker_t worker = {.options = options};
  raise_descriptor_limit();
  signal(SIGPIPE, SIG_IGN);
  /* libuv sleeps between two accepts unless told otherwise, and runs name
   * look-ups in few threads: both are read once, before the first loop. */
  setenv("UV_TCP_SINGLE_ACCEPT", "0", 0);
  setenv("UV_THREADPOOL_SIZE", "16", 0);
  setvbuf(stdout, NULL, _IOLBF, 0);

  weft_loop_open(&worker.loop);
  weft_timer_init(&worker.deadline, on_deadline);
  watch_signal(&worker, &worker.term, SIGTERM);
  watch_signal(&worker, &worker.interrupt, SIGINT);
  worker.pool = weft_pool_open(&worker.loop);
  worker.generation = weft_generation_open(&worker.loop, &worker);
  worker.generation->pool = worker.pool;
  weft_generation_start(worker.generation, options->command, options->argc,
                        options->argv, on_main_done, &worker);
  weft_loop_run(&worker.loop);
  if (worker.generation) { /* nothing is left to end a wait of its tasks */
    weft_task_report_waiting(worker.generation);
    worker.exit_code = 1;
    close_all(&worker);
    weft_loop_run(&worker.loop);
  }
  weft_loop_close(&worker.loop);
  return worker.exit_code;
}

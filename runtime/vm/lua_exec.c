/* Programs that scripts start. Owns the process: starting it, its end, signals;
 * its pipes are streams like others (lua_stream.c). Each program is reaped, so
 * none becomes a zombie, and none outlives its generation. */
#include "base/alloc.h"
#include "vm/generation.h"
#include "vm/lua_core.h"
#include "vm/lua_stream.h"
#include "vm/task.h"

#include <lauxlib.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 4096 };

static const char box_name[] = "weft process";

/* What the script holds. The results stay in it when the process is gone. */
typedef struct {
  struct process *process; /* NULL once it has ended */
  int64_t code;
  int signal; /* that ended it; 0 if none */
} process_box_t;

/* A running program. It owns itself, until it has ended. */
typedef struct process {
  uv_process_t handle;
  weft_generation_t *generation;
  weft_resource_t resource;
  process_box_t *box; /* NULL once Lua has collected it */
  weft_await_t waiter;
  weft_timer_t timer;
  int pin; /* registry ref of the box while a task waits */
} process_t;

static const struct {
  const char *name;
  int number;
} signals[] = {
    {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},   {"HUP", SIGHUP},
    {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"STOP", SIGSTOP},
    {"CONT", SIGCONT}, {"ABRT", SIGABRT}, {"SEGV", SIGSEGV}, {"PIPE", SIGPIPE},
    {"BUS", SIGBUS},   {"FPE", SIGFPE},   {"ILL", SIGILL},   {"ALRM", SIGALRM},
};
enum { SIGNALS = sizeof(signals) / sizeof(*signals) };

static int push_status(lua_State *L, int status)
{
  lua_pushinteger(L, status);
  return 1;
}

/* ---- the end --------------------------------------------------------------
 */

static void finish_waiter(process_t *it, int status)
{
  if (!weft_await_live(it->waiter))
    return;
  weft_timer_clear(it->generation->loop, &it->timer);
  luaL_unref(it->generation->L, LUA_REGISTRYINDEX, it->pin);
  weft_await_finish(it->waiter, status);
}

static void on_closed(uv_handle_t *handle)
{
  process_t *it = handle->data;
  weft_resource_closed(it->generation, &it->resource);
  free(it);
}

static void on_ended(uv_process_t *handle, int64_t code, int number)
{
  process_t *it = handle->data;
  if (it->box) {
    *it->box = (process_box_t){.code = code, .signal = number};
    it->box = NULL;
  }
  uv_close((uv_handle_t *)&it->handle, on_closed);
  finish_waiter(it, 0);
}

/* Its end is reported by on_ended, as any other. */
static void close_resource(weft_resource_t *resource)
{
  process_t *it = WEFT_LIST_ENTRY(resource, process_t, resource);
  if (!uv_is_closing((uv_handle_t *)&it->handle))
    uv_process_kill(&it->handle, SIGKILL);
}

static void on_timer(weft_timer_t *timer)
{
  finish_waiter(WEFT_LIST_ENTRY(timer, process_t, timer), UV_ETIMEDOUT);
}

static void cancel_wait(void *operation, weft_await_t await)
{
  (void)await;
  finish_waiter(operation, UV_ECANCELED);
}

/* ---- starting -------------------------------------------------------------
 */

/* The strings of the list at `index`, with a NULL behind them. The memory is
 * Lua's, on the stack, so that whatever raises leaks nothing. */
static char **check_list(lua_State *L, int index, size_t *count)
{
  luaL_checktype(L, index, LUA_TTABLE);
  *count = lua_objlen(L, index);
  luaL_argcheck(L, *count <= ARGS_MAX, index, "the list is too long");
  char **list = lua_newuserdata(L, (*count + 1) * sizeof(*list));
  for (size_t i = 0; i < *count; i++) {
    size_t len;
    lua_rawgeti(L, index, (int)i + 1);
    const char *text =
        lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    luaL_argcheck(L, text && strlen(text) == len, index,
                  "a list of strings without NUL is expected");
    list[i] = (char *)text; /* the table keeps it */
    lua_pop(L, 1);
  }
  list[*count] = NULL;
  return list;
}

/* Fills in how the program's descriptor `fd` is connected. For "pipe" a new
 * stream's box is pushed; nil otherwise. */
static void connect_fd(lua_State *L,
                       int index,
                       int fd,
                       uv_stdio_container_t *stdio,
                       weft_lua_stream_t **pipe)
{
  const char *how = luaL_checkstring(L, index);
  *pipe = NULL;
  if (strcmp(how, "pipe") == 0) {
    *pipe = weft_lua_stream_open(L, true);
    (*pipe)->of_program = true;
    stdio->flags = UV_CREATE_PIPE |
                   (fd == STDIN_FILENO ? UV_READABLE_PIPE : UV_WRITABLE_PIPE);
    stdio->data.stream = &(*pipe)->stream.uv.stream;
    return;
  }
  lua_pushnil(L);
  if (strcmp(how, "null") == 0) {
    stdio->flags = UV_IGNORE;
  } else {
    luaL_argcheck(L, strcmp(how, "inherit") == 0, index,
                  "expected \"pipe\", \"inherit\" or \"null\"");
    stdio->flags = UV_INHERIT_FD;
    stdio->data.fd = fd;
  }
}

static void push_box(lua_State *L, process_box_t **box)
{
  *box = lua_newuserdata(L, sizeof(**box));
  **box = (process_box_t){0};
  luaL_getmetatable(L, box_name);
  lua_setmetatable(L, -2);
}

/* process_spawn(arguments, environment or nil, directory or nil, stdin, stdout,
 * stderr) -> status, box, pid, boxes of stdin, stdout, stderr (nil if they are
 * no pipes). The first argument is the program, looked for in PATH; the
 * environment is a list of "NAME=value". */
static int l_spawn(lua_State *L)
{
  weft_generation_t *generation = weft_generation_of(L);
  size_t count;
  process_box_t *box;
  uv_stdio_container_t stdio[3];
  weft_lua_stream_t *pipes[3];
  lua_settop(L, 6);
  uv_process_options_t options = {
      .exit_cb = on_ended, .stdio = stdio, .stdio_count = 3};
  options.args = check_list(L, 1, &count);
  luaL_argcheck(L, count > 0, 1, "the first is the program");
  options.file = options.args[0];
  if (!lua_isnil(L, 2))
    options.env = check_list(L, 2, &count);
  options.cwd = luaL_optstring(L, 3, NULL);
  push_box(L, &box);
  int boxes = lua_gettop(L); /* stack: ..., box, stdin, stdout, stderr */
  for (int fd = 0; fd < 3; fd++)
    connect_fd(L, 4 + fd, fd, &stdio[fd], &pipes[fd]);

  process_t *it = weft_calloc(sizeof(*it));
  it->generation = generation;
  it->handle.data = it;
  weft_timer_init(&it->timer, on_timer);
  weft_resource_open(generation, &it->resource, close_resource);
  int status = uv_spawn(&generation->loop->uv, &it->handle, &options);
  if (status != 0) {
    uv_close((uv_handle_t *)&it->handle, on_closed);
    for (int fd = 0; fd < 3; fd++)
      if (pipes[fd])
        weft_lua_stream_close(pipes[fd], false, 0);
    return push_status(L, status);
  }
  it->box = box;
  box->process = it;
  for (int fd = 1; fd < 3; fd++)
    if (pipes[fd])
      weft_lua_stream_start(pipes[fd]);
  push_status(L, 0);
  lua_pushvalue(L, boxes);
  lua_pushinteger(L, it->handle.pid);
  for (int fd = 0; fd < 3; fd++)
    lua_pushvalue(L, boxes + 1 + fd);
  return 6;
}

/* ---- what runs ------------------------------------------------------------
 */

static process_box_t *check_box(lua_State *L)
{
  return luaL_checkudata(L, 1, box_name);
}

/* process_wait(box, seconds) -> status: 0 once the program has ended */
static int l_wait(lua_State *L)
{
  weft_task_t *task;
  process_box_t *box = check_box(L);
  uint64_t ms = weft_lua_check_ms(L, 2);
  int refused = weft_await_refused(L, &task);
  if (refused)
    return refused;
  process_t *it = box->process;
  if (!it)
    return push_status(L, 0);
  if (weft_await_live(it->waiter))
    return push_status(L, UV_EBUSY);
  lua_pushvalue(L, 1);
  it->pin = luaL_ref(L, LUA_REGISTRYINDEX);
  it->waiter = weft_await_begin(task, cancel_wait, it);
  weft_lua_set_timer(it->generation->loop, &it->timer, ms);
  return weft_await_yield(L);
}

/* process_result(box) -> exit code, name of the signal that ended it or nil;
 * nothing while it runs */
static int l_result(lua_State *L)
{
  process_box_t *box = check_box(L);
  if (box->process)
    return 0;
  if (!box->signal) {
    lua_pushnumber(L, (double)box->code);
    return 1;
  }
  lua_pushinteger(L, 128 + box->signal); /* as shells report it */
  for (int i = 0; i < SIGNALS; i++) {
    if (signals[i].number == box->signal) {
      lua_pushstring(L, signals[i].name);
      return 2;
    }
  }
  lua_pushfstring(L, "%d", box->signal);
  return 2;
}

/* process_kill(box, name) -> status: ESRCH once it has ended */
static int l_kill(lua_State *L)
{
  process_box_t *box = check_box(L);
  const char *name = luaL_checkstring(L, 2);
  for (int i = 0; i < SIGNALS; i++)
    if (strcmp(signals[i].name, name) == 0)
      return push_status(
          L, box->process
                 ? uv_process_kill(&box->process->handle, signals[i].number)
                 : UV_ESRCH);
  return luaL_argerror(L, 2, "there is no such signal");
}

/* __gc: a safety net; the program that nobody can ask about any longer ends. */
static int l_collected(lua_State *L)
{
  process_box_t *box = lua_touserdata(L, 1);
  if (box->process) {
    box->process->box = NULL;
    close_resource(&box->process->resource);
  }
  return 0;
}

/* environment() -> { NAME = value } of this process */
static int l_environment(lua_State *L)
{
  lua_newtable(L);
  for (char **it = environ; *it; it++) {
    const char *equals = strchr(*it, '=');
    if (!equals)
      continue;
    lua_pushlstring(L, *it, (size_t)(equals - *it));
    lua_pushstring(L, equals + 1);
    lua_rawset(L, -3);
  }
  return 1;
}

void weft_core_add_exec(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"process_spawn", l_spawn},     {"process_wait", l_wait},
      {"process_result", l_result},   {"process_kill", l_kill},
      {"environment", l_environment}, {NULL, NULL},
  };
  luaL_register(L, NULL, functions);
  luaL_newmetatable(L, box_name);
  lua_pushcfunction(L, l_collected);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

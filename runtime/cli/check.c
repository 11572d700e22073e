/* weft check [APP] */
#include "base/log.h"
#include "cli/options.h"
#include "process/worker.h"
#include "weft.h"

#include <stdio.h>
#include <unistd.h>

static const char help[] = "Loads APP (default: app.lua) without serving it, "
                           "and prints its middleware\n"
                           "in their order and its routes. Exits with 1 and "
                           "the place of what is wrong\n"
                           "if it does not load. Start hooks do not run.\n";

int weft_cli_check(int argc, char **argv)
{
  int rest =
      weft_options_parse(WEFT_NO_OPTIONS, "check [APP]", help, argc, argv);
  if (rest < 0)
    return rest == -1 ? 0 : 2;
  if (argc - rest > 1) {
    fprintf(stderr, "weft: check takes one APP, not \"%s\" too\n",
            argv[rest + 1]);
    return 2;
  }
  weft_log_setup(WEFT_LOG_WARN, !isatty(STDERR_FILENO));
  char *args[] = {rest < argc ? argv[rest] : "app.lua"};
  weft_worker_options_t worker = {.command = "check", .argc = 1, .argv = args};
  return weft_worker_run(&worker);
}

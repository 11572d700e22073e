/* weft check [APP] */
#include "base/log.h"
#include "cli/options.h"
#include "process/worker.h"
#include "weft.h"

#include <stdio.h>
#include <unistd.h>

int weft_cli_check(int argc, char **argv)
{
  weft_option_t options[] = {{NULL}};
  int rest = weft_options_parse(options, "check [APP]", argc, argv);
  if (rest < 0)
    return rest == -1 ? 0 : 2;
  if (argc - rest > 1) {
    fprintf(stderr, "weft: check takes one APP, not \"%s\" too\n", argv[rest + 1]);
    return 2;
  }
  weft_log_setup(WEFT_LOG_WARN, !isatty(STDERR_FILENO));
  char *args[] = {rest < argc ? argv[rest] : "app.lua"};
  weft_worker_options_t worker = {.command = "check", .argc = 1, .argv = args};
  return weft_worker_run(&worker);
}

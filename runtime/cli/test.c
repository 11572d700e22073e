/* weft test [PATH...] */
#include "base/log.h"
#include "cli/options.h"
#include "process/worker.h"
#include "weft.h"

#include <string.h>

/* Everything behind the command's name is busted's to understand. */
int weft_cli_test(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "--help") == 0) {
    weft_option_t none[] = {{NULL}};
    weft_options_parse(
        none, "test [PATH...] [busted's options]", argc, argv);
    return 0;
  }
  weft_log_setup(WEFT_LOG_ERROR, false);
  weft_worker_options_t worker = {
      .command = "test", .argc = argc - 1, .argv = argv + 1};
  return weft_worker_run(&worker);
}

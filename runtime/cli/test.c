/* weft test [PATH...] [busted's options] */
#include "base/log.h"
#include "cli/options.h"
#include "process/worker.h"
#include "weft.h"

#include <string.h>

static const char help[] =
    "Runs busted specs inside the runtime, where they may await. PATH is a "
    "spec\n"
    "or a directory (default: what .busted says, else tests/ and spec/); "
    "specs\n"
    "are the files named *_spec.lua. Exits with 1 if one failed or none ran.\n"
    "\n"
    "All options of busted are understood, such as\n"
    "  --filter PATTERN       only tests whose name matches the Lua pattern\n"
    "  --tags TAGS            only tests with #these,#tags in their name\n"
    "  -o HANDLER             plainTerminal, utfTerminal, TAP, json, junit\n"
    "  --no-keep-going        stop at the first failure\n"
    "  -C DIR                 go to DIR first\n"
    "  --list                 name the tests and run none\n";

/* Everything behind the command's name is busted's to understand. */
int weft_cli_test(int argc, char **argv)
{
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
      continue;
    char *ask[] = {argv[0], "--help", NULL};
    weft_options_parse(WEFT_NO_OPTIONS, "test [PATH...] [busted's options]",
                       help, 2, ask);
    return 0;
  }
  weft_log_setup(WEFT_LOG_ERROR, false);
  weft_worker_options_t worker = {
      .command = "test", .argc = argc - 1, .argv = argv + 1};
  return weft_worker_run(&worker);
}

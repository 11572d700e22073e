/* weft run [APP] [options] */
#include "base/log.h"
#include "cli/options.h"
#include "cli/version.h"
#include "process/worker.h"
#include "weft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  LISTEN,
  WORKERS,
  DEV,
  LOG_LEVEL,
  LOG_FORMAT,
  DRAIN_TIMEOUT,
  NO_WATCH,
  /* not in this version */
  WATCH,
  TLS_CERT,
  TLS_KEY,
  PID_FILE,
  ADMIN,
  END
};

static const char help[] =
    "APP is a Lua file that returns the app, or a directory with an app.lua\n"
    "(default: app.lua). Each option can be given as an environment variable\n"
    "too: WEFT_DRAIN_TIMEOUT=5. TERM or INT stops it: running requests get\n"
    "their time; a second signal stops it at once.\n";

static int usage_error(const char *text, const char *value)
{
  fprintf(stderr, "weft: %s, not \"%s\"\n", text, value);
  return 2;
}

int weft_cli_run(int argc, char **argv)
{
  weft_worker_options_t worker = {.command = "run"};
  weft_option_t options[] = {
      [LISTEN] = {"listen", "ADDR",
                  "host:port, [v6]:port or unix:PATH (127.0.0.1:8080); "
                  "repeatable;\n                         "
                  "port 0 picks a free one",
                  .more = worker.listen, .more_count = &worker.listen_count,
                  .more_max = WEFT_LISTEN_MAX},
      [WORKERS] = {"workers", "N",
                   .help = "worker processes: 1 in this version", .value = "1"},
      [DEV] = {"dev", .help = "error pages with tracebacks, readable logs"},
      [LOG_LEVEL] =
          {"log-level", "LEVEL",
           .help = "debug, info, warn, error or off (info; debug with --dev)"},
      [LOG_FORMAT] = {"log-format", "FORMAT",
                      .help =
                          "text or json (text on a terminal, or with --dev)"},
      [DRAIN_TIMEOUT] =
          {"drain-timeout", "S",
           .help = "seconds that running requests get at the end (30)",
           .value = "30"},
      [NO_WATCH] = {"no-watch",
                    .help = "scripts are read once, as always in this version"},
      [WATCH] = {"watch", .help = NULL},
      [TLS_CERT] = {"tls-cert", "FILE", .help = NULL},
      [TLS_KEY] = {"tls-key", "FILE", .help = NULL},
      [PID_FILE] = {"pid-file", "FILE", .help = NULL},
      [ADMIN] = {"admin", "ADDR", .help = NULL},
      [END] = {.name = NULL},
  };
  int rest =
      weft_options_parse(options, "run [APP] [options]", help, argc, argv);
  if (rest < 0)
    return rest == -1 ? 0 : 2;
  if (argc - rest > 1)
    return usage_error("run takes one APP", argv[rest + 1]);
  if (strcmp(options[WORKERS].value, "1") != 0 &&
      strcmp(options[WORKERS].value, "auto") != 0)
    return usage_error("--workers must be 1 or auto in this version",
                       options[WORKERS].value);

  bool dev = weft_option_on(&options[DEV]);
  const char *level = options[LOG_LEVEL].value;
  const char *format = options[LOG_FORMAT].value;
  if (!level)
    level = dev ? "debug" : "info";
  if (weft_log_level(level) < 0)
    return usage_error("--log-level must be debug, info, warn, error or off",
                       level);
  if (!format)
    format = dev || isatty(STDERR_FILENO) ? "text" : "json";
  if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
    return usage_error("--log-format must be text or json", format);
  weft_log_setup(weft_log_level(level), format[0] == 'j');

  char *end;
  worker.drain_timeout = strtod(options[DRAIN_TIMEOUT].value, &end);
  if (*end || end == options[DRAIN_TIMEOUT].value ||
      !(worker.drain_timeout >= 0 && worker.drain_timeout <= 86400))
    return usage_error("--drain-timeout must be seconds from 0 to 86400",
                       options[DRAIN_TIMEOUT].value);
  if (worker.listen_count == 0)
    worker.listen[worker.listen_count++] = "127.0.0.1:8080";

  char *args[] = {rest < argc ? argv[rest] : "app.lua", dev ? "dev" : "",
                  WEFT_VERSION};
  worker.argc = 3;
  worker.argv = args;
  return weft_worker_run(&worker);
}

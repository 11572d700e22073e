/* Picks the command. */
#include "weft.h"

#include <stdio.h>
#include <string.h>

static int help(int argc, char **argv);

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *arguments;
  const char *summary;
} commands[] = {
    {"run", weft_cli_run, "[APP] [options]", "serve APP (default: app.lua)"},
    {"check", weft_cli_check, "[APP]", "load APP and print what it is made of"},
    {"test", weft_cli_test, "[PATH...]", "run busted specs, which may await"},
    {"version", weft_cli_version, "", "versions of weft and what it links"},
    {"help", help, "[COMMAND]", "this list, or the options of a command"},
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static int find(const char *name)
{
  for (int i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i].name, name) == 0)
      return i;
  return -1;
}

static int help(int argc, char **argv)
{
  char *ask[] = {argv[0], "--help", NULL};
  int command = argc > 1 ? find(argv[1]) : -1;
  if (argc > 1 && command < 0) {
    fprintf(stderr, "weft: there is no command \"%s\"\n", argv[1]);
    return 2;
  }
  if (command >= 0 && commands[command].run != help) {
    ask[0] = argv[1];
    return commands[command].run(2, ask);
  }
  puts("usage: weft COMMAND [arguments]\n");
  for (int i = 0; i < COMMANDS; i++)
    printf("  weft %-8s %-16s %s\n",
           commands[i].name,
           commands[i].arguments,
           commands[i].summary);
  return 0;
}

int main(int argc, char **argv)
{
  if (argc < 2) {
    help(1, argv);
    return 2;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return help(1, argv);
  if (strcmp(argv[1], "--version") == 0)
    return weft_cli_version(1, argv);
  int command = find(argv[1]);
  if (command < 0) {
    fprintf(stderr,
            "weft: there is no command \"%s\"; `weft help` lists them\n",
            argv[1]);
    return 2;
  }
  return commands[command].run(argc - 1, argv + 1);
}

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

static int unknown(const char *name)
{
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++)
    names[i] = commands[i].name;
  return weft_cli_unknown(name, names, COMMANDS);
}

static void print_commands(FILE *out)
{
  fputs("usage: weft COMMAND [arguments]\n\n", out);
  for (int i = 0; i < COMMANDS; i++)
    fprintf(out, "  weft %-8s %-16s %s\n", commands[i].name,
            commands[i].arguments, commands[i].summary);
}

static int help(int argc, char **argv)
{
  if (argc > 2) {
    fprintf(stderr, "weft: help takes one COMMAND, not \"%s\" too\n", argv[2]);
    return 2;
  }
  int command = argc > 1 ? find(argv[1]) : -1;
  if (argc > 1 && command < 0 && argv[1][0] != '-')
    return unknown(argv[1]);
  if (command < 0 || commands[command].run == help) {
    print_commands(stdout);
    return 0;
  }
  char *ask[] = {argv[1], "--help", NULL};
  return commands[command].run(2, ask);
}

int main(int argc, char **argv)
{
  if (argc < 2) {
    print_commands(stderr);
    return 2;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return help(argc - 1, argv + 1);
  if (strcmp(argv[1], "--version") == 0)
    return weft_cli_version(argc - 1, argv + 1);
  int command = find(argv[1]);
  if (command < 0)
    return unknown(argv[1]);
  return commands[command].run(argc - 1, argv + 1);
}

#include "cli/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, FIRST_VALUE = 256 };

static const char *from_environment(const char *name)
{
  char variable[64];
  snprintf(variable, sizeof(variable), "WEFT_%s", name);
  for (char *c = variable; *c; c++)
    *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
  const char *value = getenv(variable);
  return value && *value ? value : NULL;
}

static void print_help(const weft_option_t *options, const char *usage)
{
  printf("usage: weft %s\n", usage);
  for (const weft_option_t *it = options; it->name; it++) {
    char shown[40];
    snprintf(shown,
             sizeof(shown),
             "--%s%s%s",
             it->name,
             it->argument ? " " : "",
             it->argument ? it->argument : "");
    printf("  %-26s %s\n", shown, it->help);
  }
}

static int add(weft_option_t *option, const char *value)
{
  if (!option->more) {
    option->value = value;
    return 0;
  }
  if (*option->more_count == option->more_max) {
    fprintf(stderr,
            "weft: --%s is given more than %d times\n",
            option->name,
            option->more_max);
    return -1;
  }
  option->more[(*option->more_count)++] = value;
  return 0;
}

int weft_options_parse(weft_option_t *options,
                       const char *usage,
                       int argc,
                       char **argv)
{
  struct option known[OPTIONS_MAX] = {{"help", no_argument, NULL, 'h'}};
  int count = 0;
  for (; options[count].name; count++) {
    const char *value = from_environment(options[count].name);
    if (value && !options[count].more)
      options[count].value = value;
    known[count + 1] = (struct option){
        options[count].name,
        options[count].argument ? required_argument : no_argument,
        NULL,
        FIRST_VALUE + count};
  }
  int found;
  optind = 1;
  while ((found = getopt_long(argc, argv, "h", known, NULL)) != -1) {
    if (found == 'h') {
      print_help(options, usage);
      return -1;
    }
    if (found < FIRST_VALUE) {
      fprintf(stderr, "weft: usage: weft %s\n", usage);
      return -2;
    }
    weft_option_t *option = &options[found - FIRST_VALUE];
    if (add(option, option->argument ? optarg : "1") != 0)
      return -2;
  }
  for (int i = 0; i < count; i++) {
    const char *value = from_environment(options[i].name);
    if (value && options[i].more && *options[i].more_count == 0 &&
        add(&options[i], value) != 0)
      return -2;
  }
  return optind;
}

bool weft_option_on(const weft_option_t *option)
{
  return option->value && strcmp(option->value, "0") != 0;
}

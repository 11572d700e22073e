#include "cli/options.h"

#include "cli/suggest.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, HELP = 256, FIRST_VALUE };

static void variable_of(const weft_option_t *option, char *variable, size_t len)
{
  snprintf(variable, len, "WEFT_%s", option->name);
  for (char *c = variable; *c; c++)
    *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static const char *from_environment(const weft_option_t *option)
{
  char variable[64];
  variable_of(option, variable, sizeof(variable));
  const char *value = getenv(variable);
  return value && *value ? value : NULL;
}

static void
print_help(const weft_option_t *options, const char *usage, const char *help)
{
  printf("usage: weft %s\n", usage);
  if (options->name)
    puts("");
  for (const weft_option_t *it = options; it->name; it++) {
    char shown[40];
    if (!it->help)
      continue;
    snprintf(shown, sizeof(shown), "--%s%s%s", it->name,
             it->argument ? " " : "", it->argument ? it->argument : "");
    printf("  %-22s %s\n", shown, it->help);
  }
  if (help)
    printf("\n%s", help);
}

/* Says where to find help, with the command's name out of its usage. */
static void print_where_help_is(const char *usage)
{
  fprintf(stderr, "; see `weft help %.*s`\n", (int)strcspn(usage, " "), usage);
}

static void print_unknown(const weft_option_t *options,
                          const char *usage,
                          const char *given)
{
  const char *names[OPTIONS_MAX] = {"help"};
  int count = 1;
  for (const weft_option_t *it = options; it->name; it++)
    if (it->help)
      names[count++] = it->name;
  char word[64];
  snprintf(word, sizeof(word), "%s", given + strspn(given, "-"));
  word[strcspn(word, "=")] = '\0';
  const char *near = weft_suggest(word, names, count);
  fprintf(stderr, "weft: there is no option \"%s\"", given);
  if (near)
    fprintf(stderr, "; did you mean --%s?\n", near);
  else
    print_where_help_is(usage);
}

/* What getopt_long has just refused, as it was given. */
static void print_refused(int found,
                          const weft_option_t *options,
                          const char *usage,
                          char **argv)
{
  const char *given = argv[optind - 1];
  char letter[] = {'-', (char)optopt, '\0'};
  if (found == ':') {
    fprintf(stderr, "weft: %s needs a value", given);
    print_where_help_is(usage);
  } else if (optopt >= HELP) {
    fprintf(stderr, "weft: %s takes no value\n", given);
  } else {
    print_unknown(options, usage, optopt ? letter : given);
  }
}

static int add(weft_option_t *option, const char *value)
{
  if (!option->more) {
    option->value = value;
    return 0;
  }
  if (*option->more_count == option->more_max) {
    fprintf(stderr, "weft: --%s is given more than %d times\n", option->name,
            option->more_max);
    return -1;
  }
  option->more[(*option->more_count)++] = value;
  return 0;
}

/* Whether an option of the contract is asked for that is not there yet: to go
 * on without it could serve in the clear what should be encrypted. */
static bool asks_too_much(const weft_option_t *option)
{
  if (option->help || !option->value)
    return false;
  if (!option->argument && !weft_option_on(option))
    return false;
  char variable[64];
  variable_of(option, variable, sizeof(variable));
  fprintf(stderr, "weft: --%s (or %s) is not in this version\n", option->name,
          variable);
  return true;
}

int weft_options_parse(weft_option_t *options,
                       const char *usage,
                       const char *help,
                       int argc,
                       char **argv)
{
  struct option known[OPTIONS_MAX] = {{"help", no_argument, NULL, HELP}};
  int count = 0;
  for (; options[count].name; count++) {
    const char *value = from_environment(&options[count]);
    if (value && !options[count].more)
      options[count].value = value;
    known[count + 1] = (struct option){
        options[count].name,
        options[count].argument ? required_argument : no_argument, NULL,
        FIRST_VALUE + count};
  }
  int found;
  optind = 1;
  opterr = 0;
  while ((found = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
    if (found == 'h' || found == HELP) {
      print_help(options, usage, help);
      return -1;
    }
    if (found < FIRST_VALUE) {
      print_refused(found, options, usage, argv);
      return -2;
    }
    weft_option_t *option = &options[found - FIRST_VALUE];
    if (add(option, option->argument ? optarg : "1") != 0)
      return -2;
  }
  for (int i = 0; i < count; i++) {
    const char *value = from_environment(&options[i]);
    if (value && options[i].more && *options[i].more_count == 0 &&
        add(&options[i], value) != 0)
      return -2;
    if (asks_too_much(&options[i]))
      return -2;
  }
  return optind;
}

bool weft_option_on(const weft_option_t *option)
{
  return option->value && strcmp(option->value, "0") != 0;
}

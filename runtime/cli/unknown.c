/* What to say of a command that is not there. */
#include "cli/suggest.h"
#include "weft.h"

#include <stdio.h>
#include <string.h>

/* Commands of the contract that are not there yet. */
static const char *const later[] = {"reload", "status", "new"};

int weft_cli_unknown(const char *name, const char *const *names, int count)
{
  for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++) {
    if (strcmp(later[i], name) == 0) {
      fprintf(stderr, "weft: `weft %s` is not in this version\n", name);
      return 2;
    }
  }
  const char *near = weft_suggest(name, names, count);
  fprintf(stderr, "weft: there is no command \"%s\"; ", name);
  if (near)
    fprintf(stderr, "did you mean `weft %s`?\n", near);
  else
    fputs("`weft help` lists them\n", stderr);
  return 2;
}

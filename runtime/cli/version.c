/* weft version */
#include "cli/version.h"

#include "http/parser.h"
#include "weft.h"

#include <luajit.h>
#include <uv.h>

#include <stdio.h>

int weft_cli_version(int argc, char **argv)
{
  (void)argc;
  (void)argv;
  printf("weft %s\n%s\nlibuv %s\nllhttp %d.%d.%d\n",
         WEFT_VERSION,
         LUAJIT_VERSION,
         uv_version_string(),
         LLHTTP_VERSION_MAJOR,
         LLHTTP_VERSION_MINOR,
         LLHTTP_VERSION_PATCH);
  return 0;
}

/* weft version */
#include "cli/version.h"

#include "cli/options.h"
#include "http/parser.h"
#include "weft.h"

#include <luajit.h>
#include <openssl/crypto.h>
#include <uv.h>

#include <stdio.h>

int weft_cli_version(int argc, char **argv)
{
  int rest = weft_options_parse(WEFT_NO_OPTIONS, "version", NULL, argc, argv);
  if (rest < 0)
    return rest == -1 ? 0 : 2;
  if (rest < argc) {
    fprintf(stderr, "weft: version takes nothing, not \"%s\"\n", argv[rest]);
    return 2;
  }
  printf("weft %s\n%s\nlibuv %s\nllhttp %d.%d.%d\nOpenSSL %s\n", WEFT_VERSION,
         LUAJIT_VERSION, uv_version_string(), LLHTTP_VERSION_MAJOR,
         LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH,
         OpenSSL_version(OPENSSL_VERSION_STRING));
  return 0;
}

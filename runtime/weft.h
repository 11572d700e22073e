/* What main.c needs: the commands of the binary. Each takes the arguments
 * behind its name and returns the process's exit code: 0, 1 for a fault (one
 * clear line was printed), 2 for a mistake in the arguments. */
#pragma once

int weft_cli_run(int argc, char **argv);
int weft_cli_check(int argc, char **argv);
int weft_cli_test(int argc, char **argv);
int weft_cli_version(int argc, char **argv);
/* Says that there is no command of this name, and which of `names` may have
 * been meant. */
int weft_cli_unknown(const char *name, const char *const *names, int count);

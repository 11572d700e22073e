#include "cli/suggest.h"

#include <string.h>

enum { WORD_MAX = 32, TOO_FAR = 4 };

static int min(int a, int b) { return a < b ? a : b; }

/* How many letters to insert, remove, replace or swap with their neighbour. */
static int distance(const char *a, const char *b)
{
  int a_len = (int)strlen(a), b_len = (int)strlen(b);
  int rows[WORD_MAX + 1][WORD_MAX + 1];
  if (a_len > WORD_MAX || b_len > WORD_MAX)
    return TOO_FAR;
  for (int i = 0; i <= a_len; i++) {
    for (int j = 0; j <= b_len; j++) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      int replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      rows[i][j] = min(replaced, 1 + min(rows[i - 1][j], rows[i][j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        rows[i][j] = min(rows[i][j], 1 + rows[i - 2][j - 2]);
    }
  }
  return rows[a_len][b_len];
}

const char *weft_suggest(const char *word, const char *const *names, int count)
{
  const char *best = NULL;
  int best_distance = TOO_FAR;
  size_t len = strlen(word);
  for (int i = 0; i < count; i++) {
    int d = distance(word, names[i]);
    if (len >= 3 && strncmp(word, names[i], len) == 0)
      d = 0; /* the beginning of a name */
    /* More than half of it mistyped is another word. */
    if (d < best_distance && 2 * d <= (int)len) {
      best = names[i];
      best_distance = d;
    }
  }
  return best;
}

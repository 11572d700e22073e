/* What somebody may have meant who mistyped a name. */
#pragma once

/* The one of `count` names that is nearest to `word`; NULL if none is near. */
const char *weft_suggest(const char *word, const char *const *names, int count);

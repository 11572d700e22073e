/* An intrusive, circular, doubly linked list: the node sits inside the thing
 * that is listed, so linking and unlinking allocate nothing and cannot fail.
 * It owns nothing; whoever embeds a node unlinks it before freeing it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct weft_list {
  struct weft_list *next, *prev;
} weft_list_t;

/* The thing of `type` whose field `member` is the node `node`. */
#define WEFT_LIST_ENTRY(node, type, member)                                    \
  ((type *)((char *)(node)-offsetof(type, member)))

/* An empty list, or a node that is in none. */
static inline void weft_list_init(weft_list_t *list)
{
  list->next = list->prev = list;
}

static inline bool weft_list_empty(const weft_list_t *list)
{
  return list->next == list;
}

static inline void weft_list_push(weft_list_t *list, weft_list_t *node)
{
  node->prev = list->prev;
  node->next = list;
  list->prev->next = node;
  list->prev = node;
}

/* Fine for a node that is in no list (after init or an earlier remove). */
static inline void weft_list_remove(weft_list_t *node)
{
  node->prev->next = node->next;
  node->next->prev = node->prev;
  weft_list_init(node);
}

/* Moves every node of `from` to the empty list `to`. */
static inline void weft_list_move(weft_list_t *from, weft_list_t *to)
{
  weft_list_init(to);
  if (weft_list_empty(from))
    return;
  *to = *from;
  to->next->prev = to->prev->next = to;
  weft_list_init(from);
}

#include "vm/handles.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>

enum { SLOT_BITS = 21 };

_Static_assert(WEFT_HANDLES_MAX == 1 << SLOT_BITS, "a slot must fit");

void weft_handles_deinit(weft_handles_t *handles)
{
  free(handles->slots);
  *handles = (weft_handles_t){0};
}

static double encode(uint32_t slot, uint32_t stamp)
{
  return (double)((uint64_t)stamp << SLOT_BITS | slot);
}

double weft_handles_open(weft_handles_t *handles, void *object)
{
  if (!handles->free) {
    assert(handles->count < WEFT_HANDLES_MAX);
    if (handles->count == handles->cap) {
      handles->cap = handles->cap ? 2 * handles->cap : 64;
      handles->slots =
          weft_realloc(handles->slots, handles->cap * sizeof(weft_slot_t));
    }
    handles->slots[handles->count] = (weft_slot_t){.stamp = 1};
    handles->free = ++handles->count;
  }
  uint32_t slot = handles->free - 1;
  handles->free = handles->slots[slot].next;
  handles->slots[slot].object = object;
  return encode(slot, handles->slots[slot].stamp);
}

static weft_slot_t *find(const weft_handles_t *handles, double handle)
{
  if (!(handle >= WEFT_HANDLES_MAX && handle < 0x1p53))
    return NULL; /* the first stamp is 1; NaN comes here too */
  uint64_t bits = (uint64_t)handle;
  uint32_t slot = bits & (WEFT_HANDLES_MAX - 1);
  if (slot >= handles->count || handles->slots[slot].stamp != bits >> SLOT_BITS)
    return NULL;
  return &handles->slots[slot];
}

void weft_handles_close(weft_handles_t *handles, double handle)
{
  weft_slot_t *slot = find(handles, handle);
  assert(slot && slot->object);
  slot->object = NULL;
  if (++slot->stamp == 0)
    return; /* used up: an old handle could find a new object */
  slot->next = handles->free;
  handles->free = (uint32_t)(slot - handles->slots) + 1;
}

void *weft_handles_get(const weft_handles_t *handles, double handle)
{
  weft_slot_t *slot = find(handles, handle);
  return slot ? slot->object : NULL;
}

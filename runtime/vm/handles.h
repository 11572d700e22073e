/* Numbers that Lua holds instead of pointers. A handle is a slot and a stamp;
 * once its object ends, the slot's stamp moves on and the old number finds
 * nothing, however long a script keeps it: a slot whose stamps are used up is
 * never used again. Handles are exact in a double. It owns no object. */
#pragma once

#include <stdint.h>

/* So many objects can have a handle at a time; one more is our mistake, and
 * aborts. 21 bits of slot and 32 of stamp are the 53 that a double holds. */
enum { WEFT_HANDLES_MAX = 1 << 21 };

typedef struct {
  void *object;   /* NULL while the slot is free */
  uint32_t stamp; /* of the present, or the next, object; 0 when used up */
  uint32_t next;  /* a free slot's successor + 1; 0 at the end */
} weft_slot_t;

typedef struct {
  weft_slot_t *slots;
  uint32_t count, cap;
  uint32_t free; /* the first free slot + 1; 0 when there is none */
} weft_handles_t;

/* Zeroed memory is an empty table. */
void weft_handles_deinit(weft_handles_t *handles);
/* A handle for `object`, good until weft_handles_close. Never 0. */
double weft_handles_open(weft_handles_t *handles, void *object);
void weft_handles_close(weft_handles_t *handles, double handle);
/* The object, or NULL when it has ended or the number was never a handle. */
void *weft_handles_get(const weft_handles_t *handles, double handle);

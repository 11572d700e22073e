/* Handles: numbers that find an object until it ends, and nothing afterwards.
 */
#include "vm/handles.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static int objects[8]; /* only their addresses matter */

static void finds_what_was_opened(void **state)
{
  (void)state;
  weft_handles_t handles = {0};
  double a = weft_handles_open(&handles, &objects[0]);
  double b = weft_handles_open(&handles, &objects[1]);
  assert_true(a != b);
  assert_ptr_equal(weft_handles_get(&handles, a), &objects[0]);
  assert_ptr_equal(weft_handles_get(&handles, b), &objects[1]);
  weft_handles_deinit(&handles);
}

static void finds_nothing_after_the_end(void **state)
{
  (void)state;
  weft_handles_t handles = {0};
  double old = weft_handles_open(&handles, &objects[0]);
  weft_handles_close(&handles, old);
  assert_null(weft_handles_get(&handles, old));
  for (int i = 0; i < 1000; i++) { /* the slot is used again and again */
    double later = weft_handles_open(&handles, &objects[1]);
    assert_true(later != old);
    assert_null(weft_handles_get(&handles, old));
    assert_ptr_equal(weft_handles_get(&handles, later), &objects[1]);
    weft_handles_close(&handles, later);
  }
  assert_int_equal(handles.count, 1);
  weft_handles_deinit(&handles);
}

static void finds_nothing_by_what_was_never_a_handle(void **state)
{
  (void)state;
  weft_handles_t handles = {0};
  static const double numbers[] = {
      0,      -1,     1,        0.5,       (1 << 21) - 1, 0x1p52,
      0x1p53, 0x1p60, INFINITY, -INFINITY, NAN,           -0.0};
  for (int round = 0; round < 2; round++) { /* first in an empty table */
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
      assert_null(weft_handles_get(&handles, numbers[i]));
    double handle = weft_handles_open(&handles, &objects[0]);
    assert_null(weft_handles_get(&handles, handle + 1)); /* no such slot */
    assert_null(weft_handles_get(&handles, handle + WEFT_HANDLES_MAX));
  }
  weft_handles_deinit(&handles);
}

static void keeps_handles_when_it_grows(void **state)
{
  (void)state;
  enum { COUNT = 10000 };
  weft_handles_t handles = {0};
  double *opened = malloc(COUNT * sizeof(*opened));
  assert_non_null(opened);
  for (int i = 0; i < COUNT; i++)
    opened[i] = weft_handles_open(&handles, &objects[i % 8]);
  for (int i = 0; i < COUNT; i += 2)
    weft_handles_close(&handles, opened[i]);
  for (int i = 0; i < COUNT; i++)
    assert_ptr_equal(weft_handles_get(&handles, opened[i]),
                     i % 2 ? &objects[i % 8] : NULL);
  for (int i = 0; i < COUNT / 2; i++)
    weft_handles_open(&handles, &objects[0]);
  assert_int_equal(handles.count, COUNT); /* free slots came first */
  free(opened);
  weft_handles_deinit(&handles);
}

static void is_exact_in_a_double_up_to_the_last_stamp(void **state)
{
  (void)state;
  weft_handles_t handles = {0};
  double first = weft_handles_open(&handles, &objects[0]);
  weft_handles_close(&handles, first);
  handles.slots[0].stamp = UINT32_MAX;
  double last = weft_handles_open(&handles, &objects[1]);
  assert_true(last < 0x1p53 && last == (double)(uint64_t)last);
  assert_ptr_equal(weft_handles_get(&handles, last), &objects[1]);
  assert_null(weft_handles_get(&handles, first));
  weft_handles_deinit(&handles);
}

static void never_uses_a_slot_again_whose_stamps_are_used_up(void **state)
{
  (void)state;
  weft_handles_t handles = {0};
  weft_handles_close(&handles, weft_handles_open(&handles, &objects[0]));
  handles.slots[0].stamp = UINT32_MAX;
  double last = weft_handles_open(&handles, &objects[0]);
  weft_handles_close(&handles, last);
  assert_null(weft_handles_get(&handles, last));
  for (int i = 0; i < 100; i++) {
    double handle = weft_handles_open(&handles, &objects[1]);
    assert_true(handle > 0);
    assert_null(weft_handles_get(&handles, last));
    weft_handles_close(&handles, handle);
  }
  assert_int_equal(handles.count, 2);
  weft_handles_deinit(&handles);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_what_was_opened),
      cmocka_unit_test(finds_nothing_after_the_end),
      cmocka_unit_test(finds_nothing_by_what_was_never_a_handle),
      cmocka_unit_test(keeps_handles_when_it_grows),
      cmocka_unit_test(is_exact_in_a_double_up_to_the_last_stamp),
      cmocka_unit_test(never_uses_a_slot_again_whose_stamps_are_used_up),
  };
  return cmocka_run_group_tests_name("handles", tests, NULL, NULL);
}

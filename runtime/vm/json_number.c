/* Numbers between text and double, exact both ways. The C locale is assumed:
 * the runtime never calls setlocale. LuaJIT's own %g is not used, because some
 * versions of it print wrong digits. */
#include "vm/json_parts.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The short ways below rely on one rounding for each operation. */
_Static_assert(FLT_EVAL_METHOD == 0, "doubles are computed as doubles");

/* Powers of ten that a double holds exactly. */
static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MOST_POWER = 22 };

/* Integers to here, both ways, are exact in a double. */
#define MOST_INTEGER 9007199254740992.0 /* 2^53 */

/* --- reading --- */

static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Appends digits to `value`, which stays above 2^53 once it would overflow. */
static inline const char *read_digits(const char *p, uint64_t *value)
{
  for (; is_digit(*p); p++)
    if (*value < UINT64_MAX / 10)
      *value = *value * 10 + (uint64_t)(*p - '0');
  return p;
}

/* `p` is behind the "e". Stops counting at a power that no decimals of a text
 * could bring back into a double's range. */
static const char *read_exponent(const char *p, int64_t *exponent, bool *ok)
{
  bool negative = *p == '-';
  if (*p == '-' || *p == '+')
    p++;
  *ok = is_digit(*p);
  int64_t value = 0;
  for (; is_digit(*p); p++)
    if (value < INT64_C(1000000000000))
      value = value * 10 + (*p - '0');
  *exponent = negative ? -value : value;
  return p;
}

const char *weft_json_read_number(const char *p, double *value, bool *ok)
{
  const char *start = p;
  uint64_t digits = 0;
  bool negative = *p == '-';
  p += negative;

  *ok = is_digit(*p);
  if (!*ok)
    return p;
  p = *p == '0' ? p + 1 : read_digits(p, &digits);
  int64_t decimals = 0, exponent = 0;
  if (*p == '.') {
    const char *first = ++p;
    p = read_digits(p, &digits);
    decimals = p - first;
    *ok = decimals > 0;
    if (!*ok)
      return p;
  }
  if (*p == 'e' || *p == 'E') {
    p = read_exponent(p + 1, &exponent, ok);
    if (!*ok)
      return p;
  }

  /* Clinger's fast path: two exact doubles and one operation round once. */
  int64_t power = exponent - decimals;
  if (digits <= (uint64_t)MOST_INTEGER && power >= -MOST_POWER &&
      power <= MOST_POWER) {
    double number = (double)digits;
    number = power < 0 ? number / POWERS[-power] : number * POWERS[power];
    *value = negative ? -number : number;
  } else {
    /* What stands behind `p` cannot continue a number of C's: the grammar took
     * all that it could, and "0x" went the fast way. */
    *value = strtod(start, NULL);
  }
  return p;
}

/* --- writing --- */

static size_t write_integer(char *out, uint64_t value)
{
  char digits[20];
  size_t at = sizeof(digits);
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  memcpy(out, digits + at, sizeof(digits) - at);
  return sizeof(digits) - at;
}

/* Writes `digits` with a point before the last `decimals` of them, less the
 * zeros at their end. At least one of the decimals is not zero. */
static size_t write_decimal(char *out, uint64_t digits, int decimals)
{
  for (; digits % 10 == 0; decimals--)
    digits /= 10;
  char fraction[20];
  for (int i = decimals - 1; i >= 0; i--) {
    fraction[i] = (char)('0' + digits % 10);
    digits /= 10;
  }
  size_t len = write_integer(out, digits);
  out[len] = '.';
  memcpy(out + len + 1, fraction, (size_t)decimals);
  return len + 1 + (size_t)decimals;
}

/* The integer next to `number` times 10^decimals, which is below 10^17, and how
 * far it is from that product. */
static uint64_t scale_number(double number, int decimals, double *distance)
{
  double power = POWERS[decimals], high = number * power;
  double low = fma(number, power, -high); /* high + low is the exact product */
  double whole = floor(high), rest = high - whole + low;
  double rounded = floor(rest + 0.5);
  *distance = fabs(rest - rounded);
  return (uint64_t)((int64_t)whole + (int64_t)rounded);
}

/* Writes a number that has decimals and that %g writes without an exponent, as
 * %g would with 15 digits, 16 or 17 (but for exact ties, which round up here),
 * in a tenth of the time. Returns 0 where it is too close to tell in doubles:
 * that is rare. */
static size_t write_fixed(char *out, double number)
{
  int decimals = 14; /* as many as make 15 digits of the number */
  for (double limit = 10; number >= limit; limit *= 10)
    decimals--;
  for (double limit = 1; number < limit; limit /= 10)
    decimals++;
  /* One division of exact doubles is what reading 15 digits comes to. */
  uint64_t digits = (uint64_t)(number * POWERS[decimals] + 0.5);
  if ((double)digits / POWERS[decimals] == number)
    return write_decimal(out, digits, decimals);
  /* 16 digits read back when they are nearer than half the way to the double
   * below; the product's own error is far smaller than the margin. */
  double distance, unused;
  digits = scale_number(number, decimals + 1, &distance);
  double half = (number - nextafter(number, 0)) * POWERS[decimals + 1] / 2;
  if (distance < half * (1 - 1e-9))
    return write_decimal(out, digits, decimals + 1);
  if (distance < half * (1 + 1e-9))
    return 0;
  digits = scale_number(number, decimals + 2, &unused);
  return write_decimal(out, digits, decimals + 2);
}

size_t weft_json_write_number(char *out, double value)
{
  size_t len = 0;
  if (signbit(value)) {
    out[len++] = '-'; /* also of -0, which reads back as such */
    value = -value;
  }
  if (value <= MOST_INTEGER && value == (double)(uint64_t)value)
    return len + write_integer(out + len, (uint64_t)value);
  if (value >= 1e-4 && value < 1e15) {
    size_t fixed_len = write_fixed(out + len, value);
    if (fixed_len)
      return len + fixed_len;
  }
  /* 15 digits survive the way to a double and back, 17 always suffice */
  for (int precision = 15; precision <= 17; precision++) {
    snprintf(out + len, WEFT_JSON_NUMBER_LEN - len, "%.*g", precision, value);
    if (strtod(out + len, NULL) == value)
      break;
  }
  return len + strlen(out + len);
}

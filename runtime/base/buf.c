#include "base/buf.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256 };

void weft_buf_init(weft_buf_t *buf) { *buf = (weft_buf_t){0}; }

void weft_buf_deinit(weft_buf_t *buf)
{
  free(buf->data);
  weft_buf_init(buf);
}

char *weft_buf_reserve(weft_buf_t *buf, size_t len)
{
  if (buf->start && buf->start + buf->len + len > buf->cap) {
    memmove(buf->data, buf->data + buf->start, buf->len);
    buf->start = 0;
  }
  size_t need = (size_t)buf->start + buf->len + len;
  if (need > buf->cap || !buf->data) {
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;
    while (cap < need)
      cap *= 2;
    assert(cap <= UINT32_MAX);
    buf->data = weft_realloc(buf->data, cap);
    buf->cap = (uint32_t)cap;
  }
  return buf->data + buf->start + buf->len;
}

void weft_buf_commit(weft_buf_t *buf, size_t len)
{
  assert(buf->start + buf->len + len <= buf->cap);
  buf->len += (uint32_t)len;
}

void weft_buf_append(weft_buf_t *buf, const void *bytes, size_t len)
{
  if (!len)
    return;
  memcpy(weft_buf_reserve(buf, len), bytes, len);
  buf->len += (uint32_t)len;
}

void weft_buf_printf(weft_buf_t *buf, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  char *room = weft_buf_reserve(buf, 128);
  int len = vsnprintf(room, 128, format, args);
  va_end(args);
  assert(len >= 0);
  if (len >= 128) {
    room = weft_buf_reserve(buf, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(room, (size_t)len + 1, format, args);
    va_end(args);
  }
  buf->len += (uint32_t)len;
}

void weft_buf_consume(weft_buf_t *buf, size_t len)
{
  assert(len <= buf->len);
  buf->len -= (uint32_t)len;
  buf->start = buf->len ? buf->start + (uint32_t)len : 0;
}

void weft_buf_clear(weft_buf_t *buf) { buf->start = buf->len = 0; }

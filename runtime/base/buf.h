/* Growable bytes: append at the end, consume from the front. It knows nothing
 * of limits; whoever appends a peer's bytes has checked them against one. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  char *data;     /* NULL while nothing was ever appended */
  uint32_t start; /* the first byte that is not consumed */
  uint32_t len;   /* bytes from `start` on */
  uint32_t cap;   /* bytes allocated at `data` */
} weft_buf_t;

void weft_buf_init(weft_buf_t *buf);
/* Frees the bytes; the buffer is empty and usable afterwards. */
void weft_buf_deinit(weft_buf_t *buf);
/* Room for `len` more bytes behind the content: write there, then add what was
 * written with weft_buf_commit. The pointer is good until the next call. */
char *weft_buf_reserve(weft_buf_t *buf, size_t len);
void weft_buf_commit(weft_buf_t *buf, size_t len);
void weft_buf_append(weft_buf_t *buf, const void *bytes, size_t len);
void weft_buf_printf(weft_buf_t *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops `len` bytes from the front; `len` is at most buf->len. */
void weft_buf_consume(weft_buf_t *buf, size_t len);
/* Empties it and keeps its memory. */
void weft_buf_clear(weft_buf_t *buf);

static inline char *weft_buf_bytes(const weft_buf_t *buf)
{
  return buf->start ? buf->data + buf->start : buf->data;
}

#define weft_buf_append_literal(buf, literal)                                  \
  weft_buf_append((buf), (literal), sizeof(literal) - 1)

/* The bytes of an HTTP/1.1 message: first line, headers, chunks. It appends to
 * a buffer and decides nothing: which framing is right is the exchange's to
 * know, and that names and values are clean is checked where they are set. */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The reason phrase of a status (RFC 9110 section 15), or "Unknown". */
const char *weft_status_reason(int status);
/* "HTTP/1.1 200 OK" and the Date line; `date` is 29 characters. */
void weft_write_status(weft_buf_t *out, int status, const char *date);
void weft_write_header(weft_buf_t *out,
                       const char *name,
                       size_t name_len,
                       const char *value,
                       size_t value_len);
void weft_write_content_length(weft_buf_t *out, uint64_t len);
/* One chunk with its size line; `len` is not 0. */
void weft_write_chunk(weft_buf_t *out, const char *bytes, size_t len);
/* The chunk that ends a body. */
void weft_write_last_chunk(weft_buf_t *out);
/* Whether a name is a token and a value has no control byte but HTAB. */
bool weft_header_name_ok(const char *name, size_t len);
bool weft_header_value_ok(const char *value, size_t len);

/* What net/stream.c and net/stream_tls.c share of a stream; for nobody else. */
#pragma once

#include "net/stream.h"

/* Tells the owner, once, that it has failed. */
void weft_stream_fail(weft_stream_t *stream, int status);
/* Has libuv read, or stop. */
void weft_stream_poll(weft_stream_t *stream, bool on);
/* Writes `first` and the bytes behind it to the socket; nothing is in flight.
 * What the kernel does not take is, afterwards: `first` is empty. */
void weft_stream_write(weft_stream_t *stream,
                       weft_buf_t *first,
                       const char *bytes,
                       size_t len);

/* The same things of a stream with TLS. */

/* Bytes arrived, or with `len` 0 the end. */
void weft_tls_stream_read(weft_stream_t *stream, const char *bytes, size_t len);
/* The owner reads on. */
void weft_tls_stream_resume(weft_stream_t *stream);
size_t
weft_tls_stream_read_rest(weft_stream_t *stream, char *into, size_t size);
/* Encrypts and writes what was in `out`, and the bytes behind it. */
void weft_tls_stream_write(weft_stream_t *stream,
                           const char *bytes,
                           size_t len);
/* The stream failed: returns the reason to tell the owner, which may be a
 * better one, or 0 if that was the end of a handshake, and who waited for it
 * knows. */
int weft_tls_stream_failed(weft_stream_t *stream, int status);
/* It is about to be closed. */
void weft_tls_stream_close(weft_stream_t *stream, bool reset);

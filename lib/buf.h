/*
 * buf: bytes that carry their length.
 *
 * A slice borrows bytes, a buf owns them.  Neither is a C string: NUL and
 * LF are bytes like any other.  A zeroed struct eo_buf is an empty one.
 * Out of memory ends the process with EX_OSERR: a journal is crash-safe, so
 * dying is the one answer that needs no second path through every caller.
 */
#ifndef EO_BUF_H
#define EO_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct eo_slice {
	const char *p;
	size_t n;
};

struct eo_buf {
	char *p;
	size_t len, cap;
};

/* Room for n more bytes; returns where they go. Does not change len. */
char *eo_buf_room(struct eo_buf *b, size_t n);
void eo_buf_add(struct eo_buf *b, const void *p, size_t n);
void eo_buf_addc(struct eo_buf *b, char c);
void eo_buf_adds(struct eo_buf *b, const char *s);
void eo_buf_addf(struct eo_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void eo_buf_free(struct eo_buf *b);

/* realloc(3) of n elements that cannot fail or overflow. */
void *eo_grow(void *p, size_t n, size_t size);
char *eo_strdup(const char *s);

struct eo_slice eo_slice_str(const char *s);
struct eo_slice eo_slice_buf(const struct eo_buf *b);
bool eo_slice_eq(struct eo_slice a, struct eo_slice b);
bool eo_slice_is(struct eo_slice a, const char *s);

/* Cuts *rest at the first sep: returns what is before, leaves what is after
   (p NULL when there was no sep). */
struct eo_slice eo_slice_cut(struct eo_slice *rest, char sep);

#endif

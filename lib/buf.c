#include "buf.h"

#include <err.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

void *
eo_grow(void *p, size_t n, size_t size)
{
	if (size != 0 && n > SIZE_MAX / size)
		errx(EX_OSERR, "out of memory");
	p = realloc(p, n * size + 1);
	if (p == NULL)
		errx(EX_OSERR, "out of memory");
	return p;
}

char *
eo_strdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(eo_grow(NULL, n, 1), s, n);
}

char *
eo_buf_room(struct eo_buf *b, size_t n)
{
	if (b->cap - b->len < n) {
		size_t cap = b->cap < 256 ? 256 : b->cap;

		if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
			errx(EX_OSERR, "out of memory");
		while (cap - b->len < n)
			cap += cap / 2;
		b->p = eo_grow(b->p, cap, 1);
		b->cap = cap;
	}
	return b->p + b->len;
}

void
eo_buf_add(struct eo_buf *b, const void *p, size_t n)
{
	if (n != 0)
		memcpy(eo_buf_room(b, n), p, n);
	b->len += n;
}

void
eo_buf_addc(struct eo_buf *b, char c)
{
	*eo_buf_room(b, 1) = c;
	b->len++;
}

void
eo_buf_adds(struct eo_buf *b, const char *s)
{
	eo_buf_add(b, s, strlen(s));
}

void
eo_buf_addf(struct eo_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(eo_buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void
eo_buf_free(struct eo_buf *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

struct eo_slice
eo_slice_str(const char *s)
{
	return (struct eo_slice){ s, s == NULL ? 0 : strlen(s) };
}

struct eo_slice
eo_slice_buf(const struct eo_buf *b)
{
	return (struct eo_slice){ b->p, b->len };
}

bool
eo_slice_eq(struct eo_slice a, struct eo_slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
eo_slice_is(struct eo_slice a, const char *s)
{
	return eo_slice_eq(a, eo_slice_str(s));
}

struct eo_slice
eo_slice_cut(struct eo_slice *rest, char sep)
{
	struct eo_slice head = *rest;
	const char *at = head.n == 0 ? NULL : memchr(head.p, sep, head.n);

	if (at == NULL) {
		*rest = (struct eo_slice){ NULL, 0 };
		return head;
	}
	head.n = (size_t)(at - head.p);
	rest->p = at + 1;
	rest->n -= head.n + 1;
	return head;
}

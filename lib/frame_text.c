/* frame: escapes and attributes. */
#include "frame.h"

#include <string.h>

/* Is c to be escaped in a body? */
static inline bool
special(unsigned char c)
{
	return c < 0x20 || c == '\\' || c == 0x7f;
}

void
eo_escape(struct eo_buf *to, struct eo_slice raw, bool attr)
{
	static const char hex[] = "0123456789abcdef";
	char *out = eo_buf_room(to, raw.n + raw.n / 8 + 16);
	char *end = to->p + to->cap - 4;

	for (size_t i = 0; i < raw.n; i++) {
		unsigned char c = (unsigned char)raw.p[i];

		if (out >= end) {
			to->len = (size_t)(out - to->p);
			out = eo_buf_room(to, 2 * (raw.n - i) + 16);
			end = to->p + to->cap - 4;
		}
		if (!special(c) && !(attr && c == ' ')) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '\\';
		switch (c) {
		case '\\':
			*out++ = '\\';
			break;
		case '\t':
			*out++ = 't';
			break;
		case '\n':
			*out++ = 'n';
			break;
		case '\r':
			*out++ = 'r';
			break;
		default:
			*out++ = 'x';
			*out++ = hex[c >> 4];
			*out++ = hex[c & 15];
		}
	}
	to->len = (size_t)(out - to->p);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* The byte that the escape at s (after its backslash) stands for, and how
   many bytes it takes; -1 when there is no such escape. */
static int
escape_at(const char *s, size_t n, size_t *len)
{
	*len = 1;
	if (n == 0)
		return -1;
	switch (s[0]) {
	case '\\':
		return '\\';
	case 't':
		return '\t';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 'x':
		if (n < 3 || hex_digit(s[1]) < 0 || hex_digit(s[2]) < 0)
			return -1;
		*len = 3;
		return hex_digit(s[1]) << 4 | hex_digit(s[2]);
	default:
		return -1;
	}
}

bool
eo_unescape(struct eo_buf *to, struct eo_slice text)
{
	while (text.n > 0) {
		const char *at = memchr(text.p, '\\', text.n);
		size_t plain = at == NULL ? text.n : (size_t)(at - text.p);
		size_t len;
		int c;

		eo_buf_add(to, text.p, plain);
		if (at == NULL)
			return true;
		c = escape_at(at + 1, text.n - plain - 1, &len);
		if (c < 0)
			return false;
		eo_buf_addc(to, (char)c);
		text.p += plain + 1 + len;
		text.n -= plain + 1 + len;
	}
	return true;
}

bool
eo_escapes_valid(struct eo_slice text)
{
	const char *at;
	size_t len;

	while (text.n > 0 && (at = memchr(text.p, '\\', text.n)) != NULL) {
		text.n -= (size_t)(at - text.p) + 1;
		if (escape_at(at + 1, text.n, &len) < 0)
			return false;
		text.p = at + 1 + len;
		text.n -= len;
	}
	return true;
}

void
eo_attrs_add(struct eo_buf *b, const char *name, struct eo_slice value)
{
	if (b->len > 0)
		eo_buf_addc(b, ' ');
	eo_buf_adds(b, name);
	eo_buf_addc(b, '=');
	eo_escape(b, value, true);
}

bool
eo_attrs_next(struct eo_slice *rest, struct eo_slice *name,
    struct eo_slice *value)
{
	if (rest->n == 0 || eo_slice_is(*rest, "-"))
		return false;
	*value = eo_slice_cut(rest, ' ');
	*name = eo_slice_cut(value, '=');
	return true;
}

bool
eo_attrs_get(struct eo_slice attrs, const char *name, struct eo_slice *value)
{
	struct eo_slice n;

	while (eo_attrs_next(&attrs, &n, value))
		if (eo_slice_is(n, name))
			return true;
	*value = (struct eo_slice){ NULL, 0 };
	return false;
}

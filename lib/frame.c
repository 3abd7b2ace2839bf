#include "frame.h"

#include <string.h>

#include "crc32c.h"

static const char *const type_names[] = { "base", "msg", "ack", "abort",
	"prepare", "vote", "commit" };

bool
eo_channel_valid(struct eo_slice s)
{
	if (s.n < 1 || s.n > EO_CHANNEL_MAX || s.p[0] == '-' || s.p[0] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		    c == ':' || c == '@' || c == '-'))
			return false;
	}
	return true;
}

bool
eo_header_valid(struct eo_slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return s.n > 0;
}

bool
eo_source_valid(struct eo_slice s)
{
	if (s.n != EO_SOURCE_LEN)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
		    (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

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

static bool
escapes_valid(struct eo_slice text)
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

static bool
attrs_valid(struct eo_slice attrs)
{
	struct eo_slice rest = attrs, name, value, other, ignored;

	if (attrs.n > EO_ATTRS_MAX || attrs.n == 0 ||
	    attrs.p[attrs.n - 1] == ' ')
		return false;
	while (eo_attrs_next(&rest, &name, &value)) {
		struct eo_slice later = rest;

		/* name 'h.NAME' or a word; no '=' leaves value.p NULL */
		if (name.n > 2 && memcmp(name.p, "h.", 2) == 0) {
			if (!eo_header_valid((struct eo_slice){ name.p + 2,
			    name.n - 2 }))
				return false;
		} else if (!eo_header_valid(name))
			return false;
		if (value.p == NULL || !escapes_valid(value))
			return false;
		while (eo_attrs_next(&later, &other, &ignored))
			if (eo_slice_eq(name, other))
				return false;
	}
	return true;
}

bool
eo_range_next(struct eo_slice *rest, uint64_t *first, uint64_t *last,
    uint32_t *link)
{
	struct eo_slice item, a;

	if (rest->n == 0)
		return false;
	item = eo_slice_cut(rest, ',');
	a = eo_slice_cut(&item, '-');
	return eo_num_u64(a, EO_SEQ_MAX, first) && item.n > 9 &&
	    item.p[item.n - 9] == ':' &&
	    eo_num_u64((struct eo_slice){ item.p, item.n - 9 }, EO_SEQ_MAX,
	    last) && eo_num_hex32(item.p + item.n - 8, link) &&
	    *first >= 1 && *first <= *last;
}

bool
eo_except_next(struct eo_slice *rest, uint64_t *first, uint64_t *last,
    char *kind)
{
	struct eo_slice item, a;

	if (rest->n == 0)
		return false;
	item = eo_slice_cut(rest, ',');
	if (item.n < 2)
		return false;
	*kind = item.p[--item.n];
	a = eo_slice_cut(&item, '-');
	if (!eo_num_u64(a, EO_SEQ_MAX, first))
		return false;
	*last = *first;
	if (item.p != NULL && !eo_num_u64(item, EO_SEQ_MAX, last))
		return false;
	return (*kind == 'a' || *kind == 'd') && *first >= 1 &&
	    *first <= *last;
}

/* Rising, apart from each other, and to the end of the text. */
static bool
lists_valid(struct eo_slice ranges, struct eo_slice except)
{
	uint64_t first, last, end = 0;
	uint32_t link;
	char kind;

	while (ranges.p != NULL) {
		if (!eo_range_next(&ranges, &first, &last, &link) ||
		    first <= end)
			return false;
		end = last;
	}
	end = 0;
	while (except.p != NULL) {
		if (!eo_except_next(&except, &first, &last, &kind) ||
		    first <= end)
			return false;
		end = last;
	}
	return true;
}

/* A source, or NEW/OLD where an heir may stand. */
static bool
receiver_valid(struct eo_slice s, bool heir)
{
	struct eo_slice old = s, new = eo_slice_cut(&old, '/');

	return eo_source_valid(new) &&
	    (old.p == NULL || (heir && eo_source_valid(old)));
}

static bool
seq_valid(struct eo_slice s, uint64_t *seq)
{
	return eo_num_u64(s, EO_SEQ_MAX, seq) && *seq >= 1;
}

static bool
link_valid(struct eo_slice s, uint32_t *link)
{
	return s.n == 8 && eo_num_hex32(s.p, link);
}

static struct eo_slice
dash_is_none(struct eo_slice s)
{
	return eo_slice_is(s, "-") ? (struct eo_slice){ NULL, 0 } : s;
}

static const char *
parse_message(struct eo_frame *f, struct eo_slice rest)
{
	struct eo_slice seq = eo_slice_cut(&rest, '\t');
	const char *linked = rest.p;
	struct eo_slice before = eo_slice_cut(&rest, '\t');

	if (!seq_valid(seq, &f->seq))
		return "its number is out of range";
	if (!link_valid(before, &f->before))
		return "its link is malformed";
	f->attrs = eo_slice_cut(&rest, '\t');
	f->body = rest;
	if (rest.p == NULL || memchr(rest.p, '\t', rest.n) != NULL)
		return "wrong number of fields";
	if (!attrs_valid(f->attrs))
		return "its attributes are malformed";
	if (!escapes_valid(f->body))
		return "its body has an unknown escape";
	f->link = eo_crc32c(0, linked, (size_t)(rest.p + rest.n - linked));
	return NULL;
}

static const char *
parse_control(struct eo_frame *f, struct eo_slice rest)
{
	struct eo_slice v[6];
	size_t n = 0;

	while (rest.p != NULL && n < 6)
		v[n++] = eo_slice_cut(&rest, '\t');
	if (rest.p != NULL)
		return "wrong number of fields";
	switch (f->type) {
	case EO_BASE:
		if (n != 4)
			return "wrong number of fields";
		f->receiver = dash_is_none(v[2]);
		if (!seq_valid(v[0], &f->seq) ||
		    !link_valid(v[1], &f->before) ||
		    (f->receiver.p != NULL &&
		    !receiver_valid(f->receiver, false)) ||
		    !eo_num_u64(v[3], EO_SEQ_MAX, &f->acked))
			return "a field is malformed";
		return NULL;
	case EO_ACK:
		if (n != 5)
			return "wrong number of fields";
		f->receiver = v[0];
		f->ranges = dash_is_none(v[3]);
		f->except = dash_is_none(v[4]);
		if (!receiver_valid(v[0], true) ||
		    !eo_num_u64(v[1], EO_SEQ_MAX, &f->seq) ||
		    !link_valid(v[2], &f->link) ||
		    !lists_valid(f->ranges, f->except))
			return "a field is malformed";
		return NULL;
	case EO_ABORT:
		if (n != 3)
			return "wrong number of fields";
		if (!seq_valid(v[0], &f->seq) ||
		    !link_valid(v[1], &f->before) || !link_valid(v[2], &f->link))
			return "a field is malformed";
		return NULL;
	default:
		if (n != 5)
			return "wrong number of fields";
		f->receiver = v[0];
		f->yes = eo_slice_is(v[3], "yes");
		f->reason = v[4];
		if (!receiver_valid(v[0], true) || !seq_valid(v[1], &f->seq) ||
		    !link_valid(v[2], &f->link) ||
		    (!f->yes && !eo_slice_is(v[3], "no")) ||
		    !escapes_valid(v[4]))
			return "a field is malformed";
		return NULL;
	}
}

static bool
type_of(struct eo_slice name, enum eo_frame_type *type)
{
	for (size_t i = 0; i < sizeof(type_names) / sizeof(*type_names); i++)
		if (eo_slice_is(name, type_names[i])) {
			*type = (enum eo_frame_type)i;
			return true;
		}
	return false;
}

enum eo_frame_result
eo_frame_parse(struct eo_slice line, struct eo_frame *f, const char **cause)
{
	struct eo_slice rest, name;
	uint32_t check;

	memset(f, 0, sizeof(*f));
	*cause = NULL;
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n < 4 || memcmp(line.p, "eo1\t", 4) != 0)
		return EO_FRAME_FOREIGN;
	if (line.n < 13 || line.p[line.n - 9] != '\t' ||
	    !eo_num_hex32(line.p + line.n - 8, &check) ||
	    eo_crc32c(0, line.p, line.n - 8) != check) {
		*cause = "its check does not hold";
		return EO_FRAME_BAD;
	}
	f->line = line;
	rest = (struct eo_slice){ line.p + 4, line.n - 13 };
	name = eo_slice_cut(&rest, '\t');
	f->source = eo_slice_cut(&rest, '\t');
	f->channel = eo_slice_cut(&rest, '\t');
	if (!eo_source_valid(f->source))
		*cause = "its source is malformed";
	else if (!eo_channel_valid(f->channel))
		*cause = "its channel is malformed";
	else if (!type_of(name, &f->type))
		return EO_FRAME_UNKNOWN;
	else if (rest.p == NULL)
		*cause = "wrong number of fields";
	else if (eo_frame_has_message(f))
		*cause = parse_message(f, rest);
	else if (line.n >= EO_CONTROL_MAX)
		*cause = "it is too long";
	else
		*cause = parse_control(f, rest);
	return *cause == NULL ? EO_FRAME_GOOD : EO_FRAME_BAD;
}

/* eo1 TAB type TAB source TAB channel TAB */
static void
put_head(struct eo_buf *to, enum eo_frame_type type, const char *source,
    const char *channel)
{
	eo_buf_add(to, "eo1\t", 4);
	eo_buf_adds(to, type_names[type]);
	eo_buf_addc(to, '\t');
	eo_buf_add(to, source, EO_SOURCE_LEN);
	eo_buf_addc(to, '\t');
	eo_buf_adds(to, channel);
	eo_buf_addc(to, '\t');
}

static void
put_num(struct eo_buf *to, uint64_t v)
{
	to->len += eo_num_put(eo_buf_room(to, 20), v);
	eo_buf_addc(to, '\t');
}

static void
put_hex(struct eo_buf *to, uint32_t v)
{
	to->len += eo_num_put_hex32(eo_buf_room(to, 8), v);
}

/* The check over what stands since start, and the LF. */
static void
put_check(struct eo_buf *to, size_t start)
{
	put_hex(to, eo_crc32c(0, to->p + start, to->len - start));
	eo_buf_addc(to, '\n');
}

uint32_t
eo_frame_put(struct eo_buf *to, enum eo_frame_type type, const char *source,
    const char *channel, uint64_t seq, uint32_t before, struct eo_slice attrs,
    struct eo_slice body)
{
	size_t start = to->len, linked;
	uint32_t link;

	put_head(to, type, source, channel);
	put_num(to, seq);
	linked = to->len;
	put_hex(to, before);
	eo_buf_addc(to, '\t');
	if (attrs.n == 0)
		eo_buf_addc(to, '-');
	else
		eo_buf_add(to, attrs.p, attrs.n);
	eo_buf_addc(to, '\t');
	eo_escape(to, body, false);
	link = eo_crc32c(0, to->p + linked, to->len - linked);
	eo_buf_addc(to, '\t');
	put_check(to, start);
	return link;
}

void
eo_frame_put_base(struct eo_buf *to, const char *source, const char *channel,
    uint64_t seq, uint32_t before, const char *receiver, uint64_t acked)
{
	size_t start = to->len;

	put_head(to, EO_BASE, source, channel);
	put_num(to, seq);
	put_hex(to, before);
	eo_buf_addc(to, '\t');
	eo_buf_adds(to, receiver[0] == '\0' ? "-" : receiver);
	eo_buf_addc(to, '\t');
	put_num(to, acked);
	put_check(to, start);
}

void
eo_frame_put_abort(struct eo_buf *to, const struct eo_frame *msg)
{
	size_t start = to->len;

	eo_buf_add(to, "eo1\tabort\t", 10);
	eo_buf_add(to, msg->source.p, msg->source.n);
	eo_buf_addc(to, '\t');
	eo_buf_add(to, msg->channel.p, msg->channel.n);
	eo_buf_addc(to, '\t');
	put_num(to, msg->seq);
	put_hex(to, msg->before);
	eo_buf_addc(to, '\t');
	put_hex(to, msg->link);
	eo_buf_addc(to, '\t');
	put_check(to, start);
}

void
eo_frame_put_ack(struct eo_buf *to, const char *source, const char *channel,
    const char *receiver, uint64_t upto, uint32_t link, struct eo_slice ranges,
    struct eo_slice except)
{
	size_t start = to->len;

	put_head(to, EO_ACK, source, channel);
	eo_buf_adds(to, receiver);
	eo_buf_addc(to, '\t');
	put_num(to, upto);
	put_hex(to, link);
	eo_buf_addc(to, '\t');
	if (ranges.n == 0)
		ranges = eo_slice_str("-");
	eo_buf_add(to, ranges.p, ranges.n);
	eo_buf_addc(to, '\t');
	if (except.n == 0)
		except = eo_slice_str("-");
	eo_buf_add(to, except.p, except.n);
	eo_buf_addc(to, '\t');
	put_check(to, start);
}

void
eo_frame_put_as(struct eo_buf *to, enum eo_frame_type type,
    const struct eo_frame *f)
{
	size_t start = to->len;
	const char *rest = f->source.p;		/* from the source on, the same */

	eo_buf_add(to, "eo1\t", 4);
	eo_buf_adds(to, type_names[type]);
	eo_buf_addc(to, '\t');
	eo_buf_add(to, rest, (size_t)(f->line.p + f->line.n - 8 - rest));
	put_check(to, start);
}

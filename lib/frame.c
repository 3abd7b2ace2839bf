/* frame: parsing. */
#include "frame.h"

#include <string.h>

#include "crc32c.h"

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

static bool
attrs_valid(struct eo_slice attrs)
{
	struct eo_slice rest = attrs, name, value, other, ignored;

	if (attrs.n > EO_ATTRS_MAX || attrs.n == 0 ||
	    attrs.p[attrs.n - 1] == ' ')
		return false;
	/* `-` is none, but only by itself. */
	while (rest.n > 0 && !eo_slice_is(attrs, "-")) {
		struct eo_slice later;

		value = eo_slice_cut(&rest, ' ');
		name = eo_slice_cut(&value, '=');
		later = rest;

		/* name 'h.NAME' or a word; no '=' leaves value.p NULL */
		if (name.n > 2 && memcmp(name.p, "h.", 2) == 0) {
			if (!eo_header_valid((struct eo_slice){ name.p + 2,
			    name.n - 2 }))
				return false;
		} else if (!eo_header_valid(name))
			return false;
		if (value.p == NULL || !eo_escapes_valid(value))
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
	if (!eo_escapes_valid(f->body))
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
		    !eo_escapes_valid(v[4]))
			return "a field is malformed";
		return NULL;
	}
}

const char *
eo_frame_type_name(enum eo_frame_type type)
{
	static const char *const names[] = { "base", "msg", "ack", "abort",
	    "prepare", "vote", "commit" };

	return names[type];
}

static bool
type_of(struct eo_slice name, enum eo_frame_type *type)
{
	for (int i = EO_BASE; i <= EO_COMMIT; i++)
		if (eo_slice_is(name,
		    eo_frame_type_name((enum eo_frame_type)i))) {
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

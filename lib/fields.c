#include "fields.h"

#include <string.h>

/* Is h.name among these attributes? */
static bool
has_header(struct eo_slice attrs, struct eo_slice name)
{
	struct eo_slice n, value;

	while (eo_attrs_next(&attrs, &n, &value))
		if (n.n == name.n + 2 && memcmp(n.p, "h.", 2) == 0 &&
		    memcmp(n.p + 2, name.p, name.n) == 0)
			return true;
	return false;
}

const char *
eo_fields_parse(struct eo_fields *fs, struct eo_slice list,
    struct eo_slice taken)
{
	static const char *const names[] = { "channel", "id", "key", "body" };
	bool seen[EO_FIELD_HEADER] = { false };

	fs->n = 0;
	while (list.p != NULL) {
		struct eo_slice name = eo_slice_cut(&list, ',');
		enum eo_field kind = EO_FIELD_CHANNEL;

		if (fs->n == EO_FIELDS_MAX)
			return "there are too many fields";
		while (kind < EO_FIELD_HEADER &&
		    !eo_slice_is(name, names[kind]))
			kind++;
		if (kind < EO_FIELD_HEADER) {
			if (seen[kind])
				return "a field is given twice";
			seen[kind] = true;
		} else {
			if (name.n < 3 || memcmp(name.p, "h.", 2) != 0)
				return "a field is unknown";
			name.p += 2;
			name.n -= 2;
			if (!eo_header_valid(name))
				return "a header's name is malformed";
			if (has_header(taken, name))
				return "a header is given by -H as well";
			for (size_t i = 0; i < fs->n; i++)
				if (fs->kind[i] == kind &&
				    eo_slice_eq(fs->header[i], name))
					return "a header is given twice";
		}
		fs->header[fs->n] = name;
		fs->kind[fs->n++] = kind;
	}
	return seen[EO_FIELD_BODY] ? NULL : "there is no body";
}

static void
add_header(struct eo_buf *attrs, struct eo_slice name, struct eo_slice value)
{
	struct eo_buf attr = { 0 };

	eo_buf_adds(&attr, "h.");
	eo_buf_add(&attr, name.p, name.n);
	eo_buf_addc(&attr, '\0');
	eo_attrs_add(attrs, attr.p, value);
	eo_buf_free(&attr);
}

const char *
eo_fields_read(const struct eo_fields *fs, struct eo_slice line, bool raw,
    struct eo_message *m, struct eo_buf *room, struct eo_buf *attrs)
{
	/* No field is longer than it is in the line, and each gets a NUL: what
	   lies in *room stays where it is. */
	eo_buf_room(room, line.n + EO_FIELDS_MAX);
	for (size_t i = 0; i < fs->n; i++) {
		struct eo_slice v = line, value;

		if (i + 1 < fs->n)
			v = eo_slice_cut(&line, '\t');
		if (v.p == NULL)
			return "too few fields";
		value = (struct eo_slice){ room->p + room->len, room->len };
		if (raw)
			eo_buf_add(room, v.p, v.n);
		else if (!eo_unescape(room, v))
			return "a field has an unknown escape";
		value.n = room->len - value.n;
		eo_buf_addc(room, '\0');
		switch (fs->kind[i]) {
		case EO_FIELD_CHANNEL:
			if (!eo_channel_valid(value))
				return "its channel is no channel's name";
			m->channel = value.p;
			break;
		case EO_FIELD_ID:
			m->id = value;
			break;
		case EO_FIELD_KEY:
			m->key = value;
			break;
		case EO_FIELD_BODY:
			m->body = value;
			break;
		case EO_FIELD_HEADER:
			add_header(attrs, fs->header[i], value);
		}
	}
	return NULL;
}

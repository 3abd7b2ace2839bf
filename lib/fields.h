/*
 * fields: lines of TAB-separated fields as messages.
 *
 *	why = eo_fields_parse(&fs, "channel,id,h.NAME,body", taken);
 *	why = eo_fields_read(&fs, line, raw, &message, &room, &attrs);
 *
 * Each returns NULL, or what is wrong.  The last field takes the rest of the
 * line, TABs included.  Fields are escaped as in frames, unless raw.
 */
#ifndef EO_FIELDS_H
#define EO_FIELDS_H

#include "outbox.h"

#define EO_FIELDS_MAX 64

enum eo_field {
	EO_FIELD_CHANNEL,
	EO_FIELD_ID,
	EO_FIELD_KEY,
	EO_FIELD_BODY,
	EO_FIELD_HEADER,
};

struct eo_fields {
	enum eo_field kind[EO_FIELDS_MAX];
	struct eo_slice header[EO_FIELDS_MAX];	/* into the list */
	size_t n;
};

/* taken: attributes that every message has anyway. */
const char *eo_fields_parse(struct eo_fields *fs, struct eo_slice list,
    struct eo_slice taken);

/* Fills in what the line says, and leaves the rest of *m alone.  Its slices
   lie in *room; headers are added to *attrs. */
const char *eo_fields_read(const struct eo_fields *fs, struct eo_slice line,
    bool raw, struct eo_message *m, struct eo_buf *room,
    struct eo_buf *attrs);

#endif

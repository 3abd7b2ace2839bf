/*
 * frame: one line that carries a message, an acknowledgement or a decision.
 * The format is eo-journal(5)'s; the columns of a message are
 *
 *	eo1 msg SOURCE CHANNEL SEQ BEFORE ATTRS BODY CHECK
 *
 * parted by TABs.  Parsing copies nothing: the slices of a struct eo_frame
 * point into the line, escaped as they stand there, and live as long as it.
 *
 *	switch (eo_frame_parse(line, &f, &cause)) {
 *	case EO_FRAME_GOOD: ...
 *
 * A frame that parses is whole: its check holds, each field is within its
 * limits, each escape is known, attrs are well formed, ranges are rising.
 */
#ifndef EO_FRAME_H
#define EO_FRAME_H

#include <stdint.h>

#include "buf.h"
#include "num.h"

#define EO_SOURCE_LEN 32
#define EO_CHANNEL_MAX 128
#define EO_ATTRS_MAX 8192
#define EO_CONTROL_MAX 4096	/* frames that carry no message, LF included */
#define EO_BODY_MAX ((size_t)16 << 20)
/* Every byte of a body may need four: \xHH. */
#define EO_FRAME_MAX (4 * EO_BODY_MAX + EO_ATTRS_MAX + 512)

enum eo_frame_type {
	EO_BASE,
	EO_MSG,
	EO_ACK,
	EO_ABORT,
	EO_PREPARE,
	EO_VOTE,
	EO_COMMIT,
};

struct eo_frame {
	enum eo_frame_type type;
	struct eo_slice line;		/* without LF, and without its CR */
	struct eo_slice source, channel;
	uint64_t seq;			/* upto, of an ack */
	uint32_t before;		/* msg, prepare, commit, abort, base */
	uint32_t link;			/* of seq; of a message it is computed */
	struct eo_slice attrs, body;	/* msg, prepare, commit */
	struct eo_slice receiver;	/* base, ack, vote */
	uint64_t acked;			/* base */
	struct eo_slice ranges, except;	/* ack; empty for `-` */
	bool yes;			/* vote */
	struct eo_slice reason;		/* vote */
};

enum eo_frame_result {
	EO_FRAME_GOOD,
	EO_FRAME_UNKNOWN,	/* sound, of a type that is not known */
	EO_FRAME_FOREIGN,	/* no line of eo */
	EO_FRAME_BAD,		/* damaged, or beyond a limit: see *cause */
};

enum eo_frame_result eo_frame_parse(struct eo_slice line, struct eo_frame *f,
    const char **cause);

const char *eo_frame_type_name(enum eo_frame_type type);

static inline bool
eo_frame_has_message(const struct eo_frame *f)
{
	return f->type == EO_MSG || f->type == EO_PREPARE ||
	    f->type == EO_COMMIT;
}

/* What may name a channel, an id or key, a header. */
bool eo_channel_valid(struct eo_slice s);
bool eo_header_valid(struct eo_slice s);
bool eo_source_valid(struct eo_slice s);

/* Escaping: \\ \t \n \r \xHH; in attrs a space as well. */
void eo_escape(struct eo_buf *to, struct eo_slice raw, bool attr);
bool eo_unescape(struct eo_buf *to, struct eo_slice text);
bool eo_escapes_valid(struct eo_slice text);

/* attrs: add to those in b (empty at first); find; *value stays escaped. */
void eo_attrs_add(struct eo_buf *b, const char *name, struct eo_slice value);
bool eo_attrs_get(struct eo_slice attrs, const char *name,
    struct eo_slice *value);
/* The next name=value of *rest; false at the end. */
bool eo_attrs_next(struct eo_slice *rest, struct eo_slice *name,
    struct eo_slice *value);

/* Appends a whole line with its LF.  body is raw, attrs as eo_attrs_add left
   them (empty: `-`).  Returns the link of the message. */
uint32_t eo_frame_put(struct eo_buf *to, enum eo_frame_type type,
    const char *source, const char *channel, uint64_t seq, uint32_t before,
    struct eo_slice attrs, struct eo_slice body);
void eo_frame_put_base(struct eo_buf *to, const char *source,
    const char *channel, uint64_t seq, uint32_t before, const char *receiver,
    uint64_t acked);
void eo_frame_put_abort(struct eo_buf *to, const struct eo_frame *msg);
/* receiver is SOURCE or NEW/OLD; ranges and except may be empty. */
void eo_frame_put_ack(struct eo_buf *to, const char *source,
    const char *channel, const char *receiver, uint64_t upto, uint32_t link,
    struct eo_slice ranges, struct eo_slice except);

/* The same message as another type (a commit as the msg a filter prints). */
void eo_frame_put_as(struct eo_buf *to, enum eo_frame_type type,
    const struct eo_frame *f);

/* a-b:link and 17d, 20-22a: the next of *rest, false at its end. Text that
   eo_frame_parse let through is well formed. */
bool eo_range_next(struct eo_slice *rest, uint64_t *first, uint64_t *last,
    uint32_t *link);
bool eo_except_next(struct eo_slice *rest, uint64_t *first, uint64_t *last,
    char *kind);

#endif

/*
 * outbox: giving messages their numbers and journalling them.
 *
 *	eo_outbox_init(&ob, j);
 *	eo_outbox_begin(&ob, true);
 *	while (there is a message)
 *		eo_outbox_add(&ob, &message, &put);
 *	eo_outbox_end(&ob);			the commit point
 *	while ((ch = eo_outbox_next(&ob, &i)) != NULL)
 *		print ch->frames
 *
 * states		entered at		a crash leaves
 * not taken		–			nothing
 * pending		the commit of _end	a block with its frames
 * sent (tries >= 1)	the same commit		the same: due again in 10 s
 *
 * A block is marked as sent when it is journalled, since its frames are
 * written right after: whoever cannot write them says so with
 * eo_outbox_unsent(), and whoever is killed in between has them sent by
 * eo-replay 10 s later.
 */
#ifndef EO_OUTBOX_H
#define EO_OUTBOX_H

#include "journal.h"

/* Bytes of frames: a block ends with the frame that reaches this. */
#define EO_BLOCK_MAX ((size_t)1 << 20)
#define EO_RESEND_MS 10000	/* the first wait before a redelivery */

/* A row of eo_out: one channel of one life of this journal. */
struct eo_out {
	int64_t id, life;
	char source[EO_SOURCE_LEN + 1];
	char channel[EO_CHANNEL_MAX + 1];
	char receiver[EO_SOURCE_LEN + 1];	/* "" while there is none */
	uint64_t last;		/* number given last, and its link */
	uint32_t link;
	uint64_t base;		/* lowest that is not settled, and the link */
	uint32_t before;	/* before it */
	uint64_t acked;		/* highest that an accepted ack settled */
	uint64_t verified;	/* highest link agreed on with receiver */
	bool forked;
};

/* Reads the row that a query of EO_OUT_COLUMNS is at. */
#define EO_OUT_COLUMNS "SELECT id, source, channel, receiver, last, link, " \
    "base, before, acked, verified, forked FROM eo_out "
void eo_out_read(struct eo_journal *j, struct eo_rows *st, struct eo_out *out);

/* Finds the channel in this life; false if there is none. */
bool eo_out_find(struct eo_journal *j, int64_t life, struct eo_slice channel,
    struct eo_out *out);

struct eo_message {
	const char *channel;
	struct eo_slice body, id, key;	/* raw; empty: none */
	struct eo_slice attrs;		/* more, as eo_attrs_add makes them */
};

/* The message of a frame, raw, to be sent on or again: its id, key and
   headers, and not what is of its journey (time, was, expires).  The slices
   of m lie in *room; more attributes may be added to *attrs before m->attrs
   is set from it. */
void eo_message_of(const struct eo_frame *f, struct eo_message *m,
    struct eo_buf *room, struct eo_buf *attrs);

enum eo_put {
	EO_PUT_NEW,
	EO_PUT_REPEAT,		/* its id is known, with the same content */
	EO_PUT_CONFLICT,	/* its id is known, with another content */
	EO_PUT_DEAD,		/* its id is that of a dead letter here */
	EO_PUT_LARGE,		/* its frame or attributes are too long */
};

struct eo_put_ref {
	char source[EO_SOURCE_LEN + 1];
	uint64_t seq;
};

/* What a batch has for one channel. */
struct eo_outbox_channel {
	struct eo_out out;
	struct eo_buf frames;	/* of this batch */
	size_t flushed;		/* how much of it is in blocks */
	uint64_t first;		/* of what is not */
	uint64_t shown;		/* base that was printed last; 0: none */
	bool used;
};

struct eo_outbox {
	struct eo_journal *j;
	struct eo_outbox_channel **ch;
	size_t nch;
	uint64_t epoch;
	size_t max_frame;	/* 0: no limit */
	bool sending;
	int64_t now, due;
	struct eo_buf attrs, time;
	int64_t *block;		/* ids of this batch's blocks */
	size_t nblock;
};

void eo_outbox_init(struct eo_outbox *ob, struct eo_journal *j);
void eo_outbox_free(struct eo_outbox *ob);

/* Begins the transaction, and numbers what lies in eo_submit. sending: the
   frames are written out after the commit. */
enum eo_status eo_outbox_begin(struct eo_outbox *ob, bool sending);
enum eo_status eo_outbox_end(struct eo_outbox *ob, enum eo_status s);

/* The same within a transaction that is open: before the first message, and
   before its commit. */
void eo_outbox_enter(struct eo_outbox *ob, bool sending);
void eo_outbox_flush(struct eo_outbox *ob);

/* Takes a message, in the transaction. *ref: what number it got, or has. */
enum eo_status eo_outbox_add(struct eo_outbox *ob,
    const struct eo_message *m, enum eo_put *put, struct eo_put_ref *ref);

/* After the commit: the channels that have frames to print; *i from 0. A base
   is to be printed first when eo_outbox_base says so. */
struct eo_outbox_channel *eo_outbox_next(struct eo_outbox *ob, size_t *i);
void eo_outbox_base(struct eo_outbox_channel *ch, struct eo_buf *to);

/* The frames of the last batch did not go out: due at once. */
enum eo_status eo_outbox_unsent(struct eo_outbox *ob);

/* Numbers what applications laid into eo_submit, if anything is there. */
enum eo_status eo_outbox_submissions(struct eo_journal *j);

#endif

/*
 * settle: what the sender does with an acknowledgement.
 *
 *	eo_settle_begin(&st, j);
 *	for each ack of a batch
 *		eo_settle_ack(&st, &frame);
 *	eo_settle_end(&st);			the commit point
 *
 * An ack counts if it comes from the channel's receiver (the first one to
 * ack is that; an heir NEW/OLD follows it) and if its links are ours.  A link
 * that differs, or a number that was never given, is a fork: this journal
 * was rolled back or cloned.  Then the channel's unsettled numbers become
 * dead letters marked `unsure`, a new life begins if this one was current,
 * and the user is told: 76.
 *
 * a crash leaves: the acks of the batch unread. The receiver acks again.
 */
#ifndef EO_SETTLE_H
#define EO_SETTLE_H

#include "outbox.h"
#include "ranges.h"

struct eo_settle_channel {
	struct eo_out out;
	struct eo_ranges settled;	/* [1, base - 1] first */
	struct eo_ranges saved;
	bool dirty;
};

struct eo_settle {
	struct eo_journal *j;
	struct eo_settle_channel *ch;
	size_t nch;
	enum eo_status worst;		/* of what was refused */
};

enum eo_status eo_settle_begin(struct eo_settle *st, struct eo_journal *j);
/* f is an ack for one of this journal's lives. */
void eo_settle_ack(struct eo_settle *st, const struct eo_frame *f);
enum eo_status eo_settle_end(struct eo_settle *st);

/* Copies one pending message's frame (without LF); false if it is not there. */
bool eo_outbox_frame(struct eo_journal *j, const struct eo_out *out,
    uint64_t seq, struct eo_buf *frame);

/* Is this number of the channel settled? */
bool eo_outbox_settled(struct eo_journal *j, const struct eo_out *out,
    uint64_t seq);

#endif

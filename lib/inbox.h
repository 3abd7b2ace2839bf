/*
 * inbox: what a receiver knows of a channel; it is the dedup store.
 *
 * A channel of a sender is a set of settled numbers (a low-water mark and the
 * ranges above it) and of held ones (journalled, not yet settled).  A number
 * moves forward only:
 *
 *	unknown → held → completed | dead | aborted
 *	unknown →        completed | dead | aborted | passed
 *	dead → completed			(an operator's --again)
 *
 *	eo_journal_begin(j);
 *	in = eo_inbox_channel(ib, source, channel);
 *	if (eo_in_lock(ib, in)) {
 *		switch (eo_in_check(ib, in, &frame)) {
 *		case EO_IN_NEW: eo_in_settle(…) or eo_in_hold(…)
 *	}
 *	eo_inbox_save(ib);
 *	eo_journal_end(j);			the commit point
 *	eo_in_unlock(ib, in);
 *	eo_in_acks(ib, in, &out);		only now may it be said
 *
 * Who may change what: a held number may be added by anybody in a
 * transaction; a number is settled only under the channel's lock and in a
 * transaction that has seen it unsettled.  The lock is the kernel's, on the
 * channel's byte of the lock file, and a handler inherits it.
 */
#ifndef EO_INBOX_H
#define EO_INBOX_H

#include "channels.h"
#include "journal.h"
#include "ranges.h"

#define EO_RANGES_MAX 10000

struct eo_in {
	int64_t id;
	char source[EO_SOURCE_LEN + 1];
	char channel[EO_CHANNEL_MAX + 1];
	uint64_t epoch;			/* of the journal when it was read */
	struct eo_ranges settled;	/* [1, low] first */
	struct eo_ranges saved;		/* settled, as the rows say */
	struct eo_ranges known;		/* settled and held */
	int64_t life;			/* ours, when a base was read last */
	uint64_t base;			/* the last base, and the link before */
	uint32_t before;
	char named[EO_SOURCE_LEN + 1];	/* receiver that it named, or "" */
	uint64_t acked;			/* highest that a base showed */
	uint64_t takeover;		/* up to here a base may pass numbers */
	int64_t completed, duplicates;
	bool dirty;
	bool refused;			/* 76 or 77 was said: process nothing */
	bool answer;			/* of this batch: an ack is due */
	bool met;			/* a frame of it came to us */
	int lock;			/* -1, or the descriptor of its lock */
	bool locked;
	bool busy;			/* somebody else has it: of this batch */
	/* Messages to be held, not yet a block. */
	struct eo_buf tail;
	struct eo_range tail_range;
	int64_t tail_lease;
	/* The held block that was looked at last. */
	int64_t block;
	struct eo_buf block_frames;
	uint64_t block_first, block_last;
	uint64_t block_seq;		/* the line at block_at */
	size_t block_at;
	int64_t block_lease;
};

struct eo_inbox {
	struct eo_journal *j;
	struct eo_in **in;
	size_t n;
	struct eo_in **slot;	/* the same, by name: a power of two, half */
	size_t slots;		/* of it empty */
	size_t locks;		/* held: each is a descriptor */
	bool ordered;		/* every channel is one key */
	bool limited;		/* a channel was left for later, for that */
};

void eo_inbox_init(struct eo_inbox *ib, struct eo_journal *j);
void eo_inbox_free(struct eo_inbox *ib);

/* The channel, as of the transaction that is open; made if make. NULL if it
   is not there. It stays where it is until eo_inbox_trim. */
struct eo_in *eo_inbox_channel(struct eo_inbox *ib, struct eo_slice source,
    struct eo_slice channel, bool make);

/* Reads every channel that matches and has work: something held, or a dead
   letter that is due again. */
void eo_inbox_find_work(struct eo_inbox *ib, const struct eo_channels *filter);

/* Forgets what is not locked, once there are many. */
void eo_inbox_trim(struct eo_inbox *ib);

/* Writes all that has changed, in the transaction that is open. */
void eo_inbox_save(struct eo_inbox *ib);

/* Tries the channel's lock. False if somebody else has it. */
bool eo_in_lock(struct eo_inbox *ib, struct eo_in *in);
void eo_in_unlock(struct eo_inbox *ib, struct eo_in *in);

/* Reads the channel's rows again if another program has written. */
void eo_in_refresh(struct eo_inbox *ib, struct eo_in *in);

/* May it be processed: has a base been read in this life of ours? */
bool eo_in_ready(const struct eo_inbox *ib, const struct eo_in *in);

/*
 * Takes a base.  Says EO_CONFUSED (76) of a receiver that was rolled back or
 * is a stranger, and with takeover makes it the receiver instead.  Under the
 * channel's lock where numbers are passed: returns EO_AGAIN without.
 */
enum eo_status eo_in_base(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f, bool takeover);

enum eo_in_verdict {
	EO_IN_NEW,
	EO_IN_SETTLED,		/* a repeat: to be acked again */
	EO_IN_HELD,		/* a repeat */
	EO_IN_REFUSED,		/* its link disagrees: said */
	EO_IN_FULL,		/* too many ranges: left to redelivery */
};

enum eo_in_verdict eo_in_check(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f);

/* Journals a message that is not processed now. lease: a filter printed it,
   and has until then (ms); 0: nobody did. */
void eo_in_hold(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f, int64_t lease);

/*
 * May a message run now?  One with a key waits for the lower numbers that may
 * have the same key: gaps, and those of its key that are held.  Where ordered,
 * each waits for all that are lower and not settled, nor printed.  One with an
 * id waits while another one with that id is being processed, from whatever
 * source.
 */
bool eo_in_may_run(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f);

/* What eo_in_may_run must know of a message with a key or an id: it is held
   (printed: by a filter, which frees its key); its run has begun, or not after
   all; it is settled, and its tries are forgotten. */
void eo_in_note_held(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f, bool printed);
void eo_in_note_begun(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f, bool begun);
void eo_in_note_settled(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f);

/* Makes what was held in this transaction readable by eo_in_held. */
void eo_in_flush(struct eo_inbox *ib, struct eo_in *in);

enum eo_ending { EO_COMPLETED, EO_DEAD, EO_ABORTED };

/* Settles a number that was seen unsettled in this transaction, under the
   channel's lock.  reason, tries: of a dead letter. */
void eo_in_settle(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f, enum eo_ending how, const char *reason);

/* A dead letter has been completed after all. */
void eo_in_revive(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f);

/* Is the frame's id completed already, by whatever source? */
bool eo_in_id_done(struct eo_inbox *ib, const struct eo_frame *f);

/* An abort, under the channel's lock. EO_AGAIN: it is left undone. */
enum eo_status eo_in_abort(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f, int64_t now);

/* The held message that is due with the lowest number above after, copied
   into *line; false if there is none.  What a filter printed is due when its
   lease has passed. */
bool eo_in_next(struct eo_inbox *ib, struct eo_in *in, uint64_t after,
    int64_t now, struct eo_buf *line, struct eo_frame *f);

/* The held, unsettled message with this number, and its lease. */
bool eo_in_held(struct eo_inbox *ib, struct eo_in *in, uint64_t seq,
    struct eo_buf *line, struct eo_frame *f, int64_t *lease);

/*
 * A filter's turn: appends what is held, due and may run to print, as msg
 * frames, and gives it a lease until then.  True if there is more.
 */
bool eo_in_print_due(struct eo_inbox *ib, struct eo_in *in, int64_t now,
    int64_t until, struct eo_buf *print);

/* A dead letter that is marked due again, above after. */
bool eo_in_next_dead(struct eo_inbox *ib, struct eo_in *in, uint64_t after,
    int64_t now, struct eo_buf *line, struct eo_frame *f);

/* When the next held message is due: INT64_MAX, if none is. */
int64_t eo_inbox_next_due(struct eo_inbox *ib,
    const struct eo_channels *filter);

/* Held messages whose lease is at most this, on these channels.  ours: if
   frames came to us, not those of other channels on which another program is
   at work. */
uint64_t eo_inbox_waiting(struct eo_inbox *ib,
    const struct eo_channels *filter, int64_t lease, bool ours);

/* Appends the acks that this batch calls for (all: the present one, with as
   many ranges as one line holds), and forgets what was touched. */
void eo_in_acks(struct eo_inbox *ib, struct eo_in *in, bool all,
    struct eo_buf *to);

/* The first gap above after, below a known number: false if there is none. */
bool eo_in_gap(const struct eo_in *in, uint64_t after, uint64_t *first,
    uint64_t *last);

#endif

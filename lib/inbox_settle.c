/* inbox: bases, links, and how a number is settled. */
#include "inbox.h"

#include <string.h>

enum base_fit {
	BASE_FITS,
	BASE_STRANGER,		/* the channel is somebody else's */
	BASE_LOST,		/* it speaks of what we have not settled */
};

/* Does what a base says of its receiver fit us? *last: up to where not. */
static enum base_fit
fit_base(const struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f, uint64_t *last)
{
	if (f->receiver.n > 0 && in->takeover == 0 &&
	    eo_journal_named(ib->j, f->receiver) == NULL)
		return BASE_STRANGER;
	/* The highest ever shown: an old base, come late, must not make good
	   what a newer one has found missing. */
	*last = in->acked;
	if (in->acked > in->takeover &&
	    eo_ranges_find(&in->settled, in->acked) == NULL)
		return BASE_LOST;
	*last = f->seq - 1;
	if (f->seq > eo_ranges_low(&in->settled) + 1 &&
	    f->seq - 1 > in->takeover)
		return BASE_LOST;
	return BASE_FITS;
}

static void
say_misfit(const struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f, enum base_fit fit, uint64_t last)
{
	const char *me = eo_journal_current(ib->j)->hex;

	if (fit == BASE_STRANGER)
		eo_say(&ib->j->report, EO_CONFUSED, "channel %s of %.8s "
		    "belongs to receiver %.32s, and this journal is %s: "
		    "nothing is processed (if the channel is to move here: "
		    "eo-recv -j %s --take-over -c %s here, and at the sender: "
		    "eo-ack --receiver %s -c %s)", in->channel, in->source,
		    f->receiver.p, me, ib->j->path, in->channel, me,
		    in->channel);
	else
		eo_say(&ib->j->report, EO_CONFUSED, "channel %s of %.8s: this "
		    "receiver was rolled back or replaced: numbers %llu to "
		    "%llu are settled at the sender and not known here; "
		    "nothing is processed (to go on without them: eo-recv "
		    "-j %s --take-over -c %s)", in->channel, in->source,
		    (unsigned long long)eo_ranges_low(&in->settled) + 1,
		    (unsigned long long)last, ib->j->path, in->channel);
}

/* An operator has said so: from now on the channel is ours, and what the
   sender has settled is done elsewhere. */
static void
take_over(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f)
{
	uint64_t upto = in->acked > f->seq - 1 ? in->acked : f->seq - 1;

	/* At least 1: it says as well that a stranger may be named. */
	in->takeover = upto > 0 ? upto : 1;
	in->dirty = true;
	eo_journal_record(ib->j, "take-over", in->channel, in->source);
}

static bool
base_link_agrees(const struct eo_in *in, const struct eo_frame *f)
{
	const struct eo_range *r;

	if (f->seq == 1)
		return f->before == 0;
	r = eo_ranges_find(&in->known, f->seq - 1);
	if (r != NULL && r->last == f->seq - 1)
		return r->link == f->before;
	r = eo_ranges_find(&in->known, f->seq);
	return r == NULL || r->first != f->seq || r->before == f->before;
}

/* What the sender has forgotten, and we never held, was done elsewhere. */
static void
pass(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f)
{
	struct eo_db *db = ib->j->db;
	uint64_t low = eo_ranges_low(&in->settled), last = f->seq - 1;
	uint64_t next = low + 1;

	for (size_t i = 0; i < in->settled.n && next <= last; i++) {
		const struct eo_range *r = &in->settled.v[i];

		if (r->first > next)
			eo_db_run(db, "INSERT OR REPLACE INTO eo_pass(ch, "
			    "first, last, since) VALUES (?, ?, ?, ?)", "iiii",
			    in->id, (int64_t)next, (int64_t)(r->first - 1 <
			    last ? r->first - 1 : last),
			    eo_env_now(ib->j->env));
		if (r->last >= next)
			next = r->last + 1;
	}
	if (next <= last)
		eo_db_run(db, "INSERT OR REPLACE INTO eo_pass(ch, first, last, "
		    "since) VALUES (?, ?, ?, ?)", "iiii", in->id,
		    (int64_t)next, (int64_t)last, eo_env_now(ib->j->env));
	eo_db_run(db, "DELETE FROM eo_try WHERE ch = ? AND seq <= ?", "ii",
	    in->id, (int64_t)last);
	eo_db_run(db, "DELETE FROM eo_key WHERE ch = ? AND seq <= ?", "ii",
	    in->id, (int64_t)last);
	eo_db_run(db, "DELETE FROM eo_twin WHERE ch = ? AND seq <= ?", "ii",
	    in->id, (int64_t)last);
	eo_ranges_add(&in->settled, 1, last, 0, f->before)->touched = true;
	eo_ranges_add(&in->known, 1, last, 0, f->before);
}

/* The base is of our history, and for us. */
static enum eo_status
accept_base(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f)
{
	int64_t life = eo_journal_current(ib->j)->id;

	if (f->seq > eo_ranges_low(&in->settled) + 1) {
		if (!eo_in_lock(ib, in))
			return EO_AGAIN;
		pass(ib, in, f);
	}
	in->refused = false;
	/* The move is done: from now on a stranger is one again. */
	if (in->takeover > 0 && f->seq > in->takeover && f->receiver.n > 0 &&
	    eo_journal_named(ib->j, f->receiver) != NULL) {
		in->takeover = 0;
		in->dirty = true;
	}
	if (in->life == life && in->base >= f->seq && (f->receiver.n == 0 ||
	    eo_slice_is(f->receiver, in->named)))
		return EO_OK;
	in->life = life;
	if (f->seq > in->base) {
		in->base = f->seq;
		in->before = f->before;
		eo_db_run(ib->j->db, "DELETE FROM eo_in_except WHERE ch = ? "
		    "AND seq < ?", "ii", in->id, (int64_t)in->base);
	}
	memcpy(in->named, f->receiver.n > 0 ? f->receiver.p : "",
	    f->receiver.n);
	in->named[f->receiver.n] = '\0';
	in->dirty = true;
	return EO_OK;
}

enum eo_status
eo_in_base(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f,
    bool takeover)
{
	struct eo_journal *j = ib->j;
	uint64_t low = eo_ranges_low(&in->settled), last = 0;
	enum base_fit fit;

	if (f->acked > in->acked) {
		in->acked = f->acked;
		in->dirty = true;
	}
	fit = fit_base(ib, in, f, &last);
	/* The sender does not know all that we have settled: tell it. */
	in->answer |= f->seq <= low;
	if (!base_link_agrees(in, f)) {
		eo_say(&j->report, EO_CONFUSED, "channel %s of %.8s: the link "
		    "before %llu is not the one known here: the sender was "
		    "rolled back or copied; nothing is processed (the sender "
		    "finds out by our ack: eo-ack)", in->channel, in->source,
		    (unsigned long long)f->seq);
		in->answer = true;
	} else if (fit != BASE_FITS && !takeover) {
		say_misfit(ib, in, f, fit, last);
	} else {
		if (fit != BASE_FITS)
			take_over(ib, in, f);
		return accept_base(ib, in, f);
	}
	/* Not even what is held is processed until a base says otherwise. */
	in->refused = true;
	in->life = 0;
	in->dirty = true;
	return EO_CONFUSED;
}

enum eo_in_verdict
eo_in_check(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f)
{
	struct eo_range *r = eo_ranges_find(&in->settled, f->seq);

	if (r != NULL) {
		r->touched = true;
		in->answer = true;
		in->duplicates++;
		in->dirty = true;
		return EO_IN_SETTLED;
	}
	if (eo_ranges_find(&in->known, f->seq) != NULL) {
		in->duplicates++;
		in->dirty = true;
		return EO_IN_HELD;
	}
	if (!eo_ranges_agrees(&in->known, f->seq, f->seq, f->before,
	    f->link)) {
		in->answer = true;
		if (in->refused)
			return EO_IN_REFUSED;
		in->refused = true;
		eo_say(&ib->j->report, EO_CONFUSED, "channel %s of %.8s: "
		    "message %llu does not follow from the messages known "
		    "here: the sender was rolled back or copied; it is not "
		    "processed (the sender finds out by our ack: eo-ack)",
		    in->channel, in->source, (unsigned long long)f->seq);
		return EO_IN_REFUSED;
	}
	if (in->known.n >= EO_RANGES_MAX &&
	    !eo_ranges_joins(&in->known, f->seq, f->seq))
		return EO_IN_FULL;
	return EO_IN_NEW;
}

static bool
id_of(const struct eo_frame *f, struct eo_slice *id)
{
	return eo_attrs_get(f->attrs, "id", id);
}

bool
eo_in_id_done(struct eo_inbox *ib, const struct eo_frame *f)
{
	struct eo_slice id;

	return id_of(f, &id) && eo_db_int_or(ib->j->db, 0, "SELECT 1 FROM "
	    "eo_in_id WHERE channel = ? AND id = ?", "ss", f->channel, id) != 0;
}

static void
note_completed(struct eo_inbox *ib, struct eo_in *in,
    const struct eo_frame *f)
{
	struct eo_slice id;

	in->completed++;
	if (id_of(f, &id))
		eo_db_run(ib->j->db, "INSERT INTO eo_in_id(channel, id, ch, "
		    "seq) VALUES (?, ?, ?, ?) ON CONFLICT(channel, id) "
		    "DO NOTHING", "ssii", f->channel, id, in->id,
		    (int64_t)f->seq);
}

void
eo_in_settle(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f,
    enum eo_ending how, const char *reason)
{
	struct eo_db *db = ib->j->db;
	bool held = eo_ranges_find(&in->known, f->seq) != NULL;

	if (how == EO_COMPLETED)
		note_completed(ib, in, f);
	else
		eo_db_run(db, "INSERT OR REPLACE INTO eo_in_except(ch, seq, "
		    "link, kind) VALUES (?, ?, ?, ?)", "iiiz", in->id,
		    (int64_t)f->seq, (int64_t)f->link,
		    how == EO_DEAD ? "d" : "a");
	if (how == EO_DEAD)
		eo_db_run(db, "INSERT INTO eo_in_dead(ch, seq, reason, tries, "
		    "again, since, frame) VALUES (?, ?, ?, (SELECT "
		    "coalesce(max(tries), 0) FROM eo_try WHERE ch = ? AND "
		    "seq = ?), 0, ?, ?)", "iiziiib", in->id, (int64_t)f->seq,
		    reason, in->id, (int64_t)f->seq, eo_env_now(ib->j->env),
		    f->line);
	if (held)
		eo_in_note_settled(ib, in, f);
	eo_ranges_add(&in->settled, f->seq, f->seq, f->before,
	    f->link)->touched = true;
	if (!held)
		eo_ranges_add(&in->known, f->seq, f->seq, f->before, f->link);
	in->dirty = true;
	in->answer = true;
}

void
eo_in_revive(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f)
{
	struct eo_db *db = ib->j->db;
	struct eo_range *r = eo_ranges_find(&in->settled, f->seq);

	note_completed(ib, in, f);
	eo_db_run(db, "DELETE FROM eo_in_dead WHERE ch = ? AND seq = ?", "ii",
	    in->id, (int64_t)f->seq);
	eo_db_run(db, "DELETE FROM eo_in_except WHERE ch = ? AND seq = ?",
	    "ii", in->id, (int64_t)f->seq);
	eo_in_note_settled(ib, in, f);
	if (r != NULL)
		r->touched = true;
	in->dirty = true;
	in->answer = true;
}

enum eo_status
eo_in_abort(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f,
    int64_t now)
{
	struct eo_buf line = { 0 };
	struct eo_frame held;
	int64_t lease = 0;
	enum eo_status s = EO_AGAIN;

	switch (eo_in_check(ib, in, f)) {
	case EO_IN_SETTLED:
		return EO_OK;
	case EO_IN_REFUSED:
		return EO_CONFUSED;
	case EO_IN_FULL:
		return EO_AGAIN;
	case EO_IN_HELD:
	case EO_IN_NEW:
		break;
	}
	if (!eo_in_lock(ib, in))
		return EO_AGAIN;
	eo_in_flush(ib, in);	/* it may have come in this very batch */
	if (!eo_in_held(ib, in, f->seq, &line, &held, &lease)) {
		eo_in_settle(ib, in, f, EO_ABORTED, "");
		s = EO_OK;
	} else if (held.link != f->link) {
		eo_say(&ib->j->report, EO_CONFUSED, "channel %s of %.8s: the "
		    "abort of %llu is for another message than the one held "
		    "here", in->channel, in->source,
		    (unsigned long long)f->seq);
		s = EO_CONFUSED;
	} else if (lease <= now) {
		eo_in_settle(ib, in, &held, EO_ABORTED, "");
		s = EO_OK;
	}
	eo_buf_free(&line);
	return s;
}

/* receive: handlers; how a try begins and how it ends. */
#include "receive_run.h"

#include <string.h>

#include "crc32c.h"

#define RETRY_MS 1000	/* the first wait after a failed try */
#define NEVERS_MAX 10

static int64_t
tries_of(struct eo_receive *rc, const struct eo_in *in, uint64_t seq)
{
	return eo_db_int_or(rc->j->db, 0, "SELECT tries FROM eo_try WHERE "
	    "ch = ? AND seq = ?", "ii", in->id, (int64_t)seq);
}

static void
set_try(struct eo_receive *rc, const struct eo_in *in, uint64_t seq,
    int64_t tries, int64_t due)
{
	eo_db_run(rc->j->db, "INSERT INTO eo_try(ch, seq, tries, due, reason) "
	    "VALUES (?, ?, ?, ?, '') ON CONFLICT(ch, seq) DO UPDATE SET "
	    "tries = excluded.tries, due = excluded.due", "iiii", in->id,
	    (int64_t)seq, tries, due);
}

static void
drop_id_lock(struct eo_receive *rc)
{
	if (rc->id_lock != 0 && rc->current != NULL &&
	    rc->current->lock != -1)
		eo_lock_drop(rc->current->lock, rc->id_lock);
	rc->id_lock = 0;
}

/* One message of an id at a time, from whatever source: a lock on the byte
   that its hash chooses, on the channel's descriptor, so that the handler
   inherits it as well. */
static bool
take_id_lock(struct eo_receive *rc, struct eo_in *in,
    const struct eo_frame *f)
{
	struct eo_slice id;

	if (!eo_attrs_get(f->attrs, "id", &id))
		return true;
	rc->id_lock = EO_LOCK_ID((int64_t)eo_crc32c(eo_crc32c(0, f->channel.p,
	    f->channel.n), id.p, id.n));
	if (eo_lock_take(in->lock, rc->id_lock, 0) == EO_LOCK_HELD)
		return true;
	rc->id_lock = 0;
	return false;
}

static void
end_dead(struct eo_receive *rc, struct eo_in *in, const struct eo_frame *f)
{
	if (rc->again)
		eo_db_run(rc->j->db, "UPDATE eo_in_dead SET again = 0, "
		    "reason = ?, tries = tries + ? WHERE ch = ? AND seq = ?",
		    "ziii", rc->run.reason, rc->try, in->id, (int64_t)f->seq);
	else
		eo_in_settle(&rc->ib, in, f, EO_DEAD, rc->run.reason);
	eo_db_run(rc->j->db, "DELETE FROM eo_try WHERE ch = ? AND seq = ?",
	    "ii", in->id, (int64_t)f->seq);
}

/* How the run ended, in the transaction that is open. */
static void
note_end(struct eo_receive *rc)
{
	struct eo_in *in = rc->current;
	const struct eo_frame *f = &rc->frame;
	struct eo_journal *j = rc->j;

	eo_in_refresh(&rc->ib, in);
	rc->ran = false;
	if (!rc->again && eo_ranges_find(&in->settled, f->seq) != NULL)
		return;		/* settled by another hand: that stands */
	if (rc->run.outcome != EO_RUN_NEVER)
		rc->nevers = 0;
	switch (rc->run.outcome) {
	case EO_RUN_DONE:
		if (rc->again)
			eo_in_revive(&rc->ib, in, f);
		else
			eo_in_settle(&rc->ib, in, f, EO_COMPLETED, "");
		return;
	case EO_RUN_NEVER:
		end_dead(rc, in, f);
		if (++rc->nevers == NEVERS_MAX) {
			rc->halted = true;
			rc->worst = eo_status_worst(rc->worst, EO_AGAIN);
			eo_say(&j->report, EO_AGAIN, "%s said never (100) ten "
			    "times in a row: stopping; the last reason: %s",
			    rc->run.argv[0], rc->run.reason);
		}
		return;
	case EO_RUN_UNABLE:
		set_try(rc, in, f->seq, rc->try - 1, 0);
		rc->halted = true;
		rc->unable = rc->run.status;
		eo_say(&j->report, EO_AGAIN, "%s: cannot be started: %s",
		    rc->run.argv[0], rc->run.reason);
		return;
	case EO_RUN_LATER:
		break;
	}
	if (rc->max_tries > 0 && rc->try >= rc->max_tries) {
		end_dead(rc, in, f);
		return;
	}
	set_try(rc, in, f->seq, rc->try, eo_env_now(j->env) +
	    eo_backoff(j->env, RETRY_MS, rc->try));
	eo_db_run(j->db, "UPDATE eo_try SET reason = ? WHERE ch = ? AND "
	    "seq = ?", "zii", rc->run.reason, in->id, (int64_t)f->seq);
}

/* The next message of this channel that may run; its lock is then ours. */
static bool
pick_from(struct eo_receive *rc, struct eo_in *in)
{
	int64_t now = eo_env_now(rc->j->env);
	struct eo_frame *f = &rc->frame;

	eo_in_refresh(&rc->ib, in);
	if (!eo_in_ready(&rc->ib, in))
		return false;
	for (;;) {
		rc->again = false;
		if (!eo_in_next(&rc->ib, in, rc->after, now, &rc->line, f)) {
			rc->again = eo_in_next_dead(&rc->ib, in, 0, now,
			    &rc->line, f);
			if (!rc->again)
				return false;
		}
		if (rc->j->err.status != EO_OK || !eo_in_lock(&rc->ib, in))
			return false;
		if (!rc->again)
			rc->after = f->seq;
		rc->try = tries_of(rc, in, f->seq);
		if (eo_in_id_done(&rc->ib, f)) {
			in->duplicates++;
			in->completed--;
			if (rc->again)
				eo_in_revive(&rc->ib, in, f);
			else
				eo_in_settle(&rc->ib, in, f, EO_COMPLETED, "");
			continue;
		}
		if (take_id_lock(rc, in, f))
			break;
		/* A twin is being processed: its turn comes. */
		set_try(rc, in, f->seq, rc->try, now + RETRY_MS);
	}
	rc->try++;
	set_try(rc, in, f->seq, rc->try, now + eo_backoff(rc->j->env, RETRY_MS,
	    rc->try));
	return true;
}

/* Goes round the channels once, from the one that is ours now. */
static bool
pick(struct eo_receive *rc, bool *freed)
{
	if (rc->halted)
		return false;
	if (rc->current != NULL) {
		if (pick_from(rc, rc->current))
			return true;
		/* From the start again: something failed may be due. */
		rc->after = 0;
		if (pick_from(rc, rc->current))
			return true;
		*freed = true;
	}
	rc->current = NULL;
	eo_inbox_find_work(&rc->ib, &rc->filter);
	for (size_t i = 0; i < rc->ib.n; i++) {
		rc->after = 0;
		if (!pick_from(rc, rc->ib.in[i]))
			continue;
		rc->current = rc->ib.in[i];
		return true;
	}
	return false;
}

bool
eo_receive_pick(struct eo_receive *rc)
{
	size_t out_before = rc->out.len;
	bool freed = false, picked = false;
	enum eo_status s;

	if (rc->picked)
		return true;		/* run it first */
	rc->more_work = false;
	s = eo_journal_begin(rc->j);
	if (s == EO_OK) {
		drop_id_lock(rc);
		if (rc->ran)
			note_end(rc);
		picked = pick(rc, &freed);
		eo_inbox_save(&rc->ib);
	}
	s = eo_journal_end(rc->j, s);
	if (s != EO_OK) {
		rc->out.len = out_before;
		return false;
	}
	rc->picked = picked;
	for (size_t i = 0; i < rc->ib.n; i++) {
		struct eo_in *in = rc->ib.in[i];

		eo_in_acks(&rc->ib, in, false, &rc->out);
		/* What another program journalled while we held the lock is
		   seen by the look that follows its release. */
		freed |= in->locked && in != rc->current;
		if (in != rc->current)
			eo_in_unlock(&rc->ib, in);
	}
	if (rc->current == NULL)
		eo_inbox_trim(&rc->ib);
	return picked || (freed && !rc->halted);
}

void
eo_receive_run(struct eo_receive *rc)
{
	if (!rc->picked)
		return;
	eo_handler_run(&rc->run, &rc->frame, rc->try, rc->j->path);
	rc->picked = false;
	rc->ran = true;
}

void
eo_receive_unpick(struct eo_receive *rc)
{
	enum eo_status s = eo_journal_begin(rc->j);

	if (s == EO_OK && rc->ran)
		note_end(rc);
	else if (s == EO_OK)
		set_try(rc, rc->current, rc->frame.seq, rc->try - 1, 0);
	if (s == EO_OK)
		eo_inbox_save(&rc->ib);
	s = eo_journal_end(rc->j, s);
	drop_id_lock(rc);
	if (rc->current != NULL) {
		if (s == EO_OK)
			eo_in_acks(&rc->ib, rc->current, false, &rc->out);
		eo_in_unlock(&rc->ib, rc->current);
	}
	rc->current = NULL;
	rc->picked = rc->ran = false;
}

/* receive: handlers; how a try begins and how it ends. */
#include "receive_run.h"

#include <stdio.h>

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
end_dead(struct eo_receive *rc, struct eo_in *in, const struct eo_frame *f)
{
	if (rc->again)
		eo_db_run(rc->j->db, "UPDATE eo_in_dead SET again = 0, "
		    "reason = ?, tries = tries + ? WHERE ch = ? AND seq = ?",
		    "ziii", rc->run.reason, rc->try, in->id, (int64_t)f->seq);
	else
		eo_in_settle(&rc->ib, in, f, EO_DEAD, rc->run.reason);
	eo_in_note_settled(&rc->ib, in, f);
}

/* What it printed becomes messages, a line each: with the note that it has
   completed its own. */
static void
emit_output(struct eo_receive *rc)
{
	struct eo_slice rest = eo_slice_buf(&rc->run.output);
	struct eo_put_ref ref;
	enum eo_put put;

	while (rest.n > 0) {
		struct eo_message m = { .channel = rc->emit };

		m.body = eo_slice_cut(&rest, '\n');
		eo_outbox_add(&rc->outbox, &m, &put, &ref);
	}
}

/* A line of its output that is no message makes its run a failed one. */
static void
check_output(struct eo_run *run)
{
	struct eo_slice rest = eo_slice_buf(&run->output);

	while (run->outcome == EO_RUN_DONE && rest.n > 0)
		if (eo_slice_cut(&rest, '\n').n > EO_BODY_MAX) {
			run->outcome = EO_RUN_LATER;
			snprintf(run->reason, sizeof(run->reason), "a line of "
			    "its output is longer than a message can be");
		}
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
		if (rc->emit != NULL)
			emit_output(rc);
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
		eo_in_note_begun(&rc->ib, in, f, false);
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

static void
last_reason(struct eo_receive *rc, const struct eo_in *in, uint64_t seq)
{
	struct eo_rows *st = eo_db_query(rc->j->db, "SELECT reason FROM eo_try "
	    "WHERE ch = ? AND seq = ?", "ii", in->id, (int64_t)seq);
	struct eo_slice s = { "", 0 };

	if (eo_db_row(st))
		s = eo_db_bytes(st, 0);
	if (s.n == 0)
		s = eo_slice_str("the handler, and eo-recv with it, were "
		    "killed");
	snprintf(rc->run.reason, sizeof(rc->run.reason), "%.*s", (int)s.n,
	    s.p);
	eo_db_done(st);
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
		if (rc->j->err.status != EO_OK)
			return false;
		if (!rc->again)
			rc->after = f->seq;
		/* Without the lock: whoever frees one looks again. */
		if (!rc->again && !eo_in_may_run(&rc->ib, in, f) &&
		    !eo_in_id_done(&rc->ib, f))
			continue;
		if (!eo_in_lock(&rc->ib, in))
			return false;
		rc->try = tries_of(rc, in, f->seq);
		if (eo_in_id_done(&rc->ib, f)) {
			in->duplicates++;
			in->completed--;
			if (rc->again)
				eo_in_revive(&rc->ib, in, f);
			else
				eo_in_settle(&rc->ib, in, f, EO_COMPLETED, "");
		} else if (rc->max_tries > 0 && rc->try >= rc->max_tries &&
		    !rc->again) {
			/* Its last try took us with it. */
			last_reason(rc, in, f->seq);
			end_dead(rc, in, f);
		} else
			break;
	}
	rc->try++;
	set_try(rc, in, f->seq, rc->try, now + eo_backoff(rc->j->env, RETRY_MS,
	    rc->try));
	eo_in_note_begun(&rc->ib, in, f, true);
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
	s = eo_receive_begin(rc);
	if (s == EO_OK) {
		if (rc->ran)
			note_end(rc);
		picked = pick(rc, &freed);
		if (rc->emit != NULL)
			eo_outbox_flush(&rc->outbox);
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
	check_output(&rc->run);
	rc->picked = false;
	rc->ran = true;
}

void
eo_receive_unpick(struct eo_receive *rc)
{
	enum eo_status s = eo_receive_begin(rc);

	if (s == EO_OK && rc->ran)
		note_end(rc);
	else if (s == EO_OK) {
		set_try(rc, rc->current, rc->frame.seq, rc->try - 1, 0);
		eo_in_note_begun(&rc->ib, rc->current, &rc->frame, false);
	}
	if (s == EO_OK && rc->emit != NULL)
		eo_outbox_flush(&rc->outbox);
	if (s == EO_OK)
		eo_inbox_save(&rc->ib);
	s = eo_journal_end(rc->j, s);
	if (rc->current != NULL) {
		if (s == EO_OK)
			eo_in_acks(&rc->ib, rc->current, false, &rc->out);
		eo_in_unlock(&rc->ib, rc->current);
	}
	rc->current = NULL;
	rc->picked = rc->ran = false;
}

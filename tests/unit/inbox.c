/*
 * inbox: a receiver and its sender against a plain array, at random.
 *
 * Frames are lost, repeated and reordered; transactions are rolled back; the
 * receiver's journal is opened twice, and anew; acks are lost, late and
 * repeated.  After each step the journals must say what the array says.
 */
#include "inbox.h"

#include "operator.h"
#include "world.h"

#define STEPS 500
#define WINDOW 80	/* how far numbers come out of order */
#define LATE 20		/* bases and acks that may still be under way */

struct run {
	struct world *w;
	enum state next[N + 1];		/* w->is, once it is committed */
	bool withdrawn[N + 1], settled[N + 1];
	struct eo_out base[LATE];
	struct eo_buf ack[LATE];
	int commits, rollbacks;
	/* What is promised, and held so far. */
	bool verdicts, sets, held, acks, answers, sender, pending;
};

static void
settle(struct run *r, int i, struct eo_in *in, const struct eo_frame *f)
{
	bool dead = rnd(&r->w->s) % 3 == 0;

	r->held &= eo_slice_eq(f->line, r->w->msg[f->seq].line);
	eo_in_settle(&r->w->ib[i], in, f, dead ? EO_DEAD : EO_COMPLETED,
	    "why");
	r->next[f->seq] = dead ? DEAD : COMPLETED;
}

/* One message, as a sink would take it. */
static void
take(struct run *r, int i, struct eo_in *in, uint64_t n)
{
	static const enum eo_in_verdict want[] = { EO_IN_NEW, EO_IN_HELD,
	    EO_IN_SETTLED, EO_IN_SETTLED, EO_IN_SETTLED };
	struct eo_inbox *ib = &r->w->ib[i];
	const struct eo_frame *msg = &r->w->msg[n];
	enum eo_in_verdict v = eo_in_check(ib, in, msg);
	struct eo_buf line = { 0 };
	struct eo_frame f;
	int64_t lease;

	r->verdicts &= v == want[r->next[n]];
	if (v == EO_IN_NEW && rnd(&r->w->s) % 3 == 0) {
		eo_in_hold(ib, in, msg, 0);
		r->next[n] = HELD;
	} else if (v == EO_IN_NEW) {
		settle(r, i, in, msg);
	} else if (v == EO_IN_HELD && rnd(&r->w->s) % 3 == 0) {
		eo_in_flush(ib, in);
		if (eo_in_held(ib, in, n, &line, &f, &lease))
			settle(r, i, in, &f);
		else
			r->held = false;
	} else if (r->next[n] == DEAD && rnd(&r->w->s) % 9 == 0) {
		eo_in_revive(ib, in, msg);
		r->next[n] = COMPLETED;
	}
	eo_buf_free(&line);
}

/* The lowest that is held is the next that is due. */
static void
take_due(struct run *r, int i, struct eo_in *in)
{
	struct eo_buf line = { 0 };
	struct eo_frame f;
	uint64_t n = 1;

	while (n <= N && r->next[n] != HELD)
		n++;
	eo_in_flush(&r->w->ib[i], in);
	if (eo_in_next(&r->w->ib[i], in, 0, r->w->lab.now, &line, &f)) {
		r->held &= f.seq == n;
		settle(r, i, in, &f);
	} else
		r->held &= n > N;
	eo_buf_free(&line);
}

/* Does the receiver's journal hold what the array holds? */
static void
compare(struct run *r, int i)
{
	struct world *w = r->w;
	const struct eo_in *in;
	uint64_t low = 0;

	eo_journal_read(w->b[i]);
	in = eo_inbox_channel(&w->ib[i], w->msg[1].source, w->msg[1].channel,
	    false);
	for (uint64_t n = 1; n <= N; n++) {
		r->sets &= settled(w->is[n]) == (in != NULL &&
		    eo_ranges_find(&in->settled, n) != NULL);
		r->sets &= (w->is[n] != UNKNOWN) == (in != NULL &&
		    eo_ranges_find(&in->known, n) != NULL);
	}
	while (low < N && settled(w->is[low + 1]))
		low++;
	r->sets &= low == (in == NULL ? 0 : eo_ranges_low(&in->settled));
	eo_journal_read_end(w->b[i]);
}

/* A batch, its commit or its end, and what is said of it. */
static void
receive(struct run *r, int i)
{
	struct world *w = r->w;
	struct eo_buf *acks = &r->ack[rnd(&w->s) % LATE];
	bool commit = rnd(&w->s) % 5 > 0, all = rnd(&w->s) % 8 == 0;
	bool marked[N + 1] = { false };
	struct eo_in *in;
	uint64_t low;

	eo_journal_begin(w->b[i]);
	in = world_in(w, i);
	memcpy(r->next, w->is, sizeof(r->next));
	if (!eo_in_ready(&w->ib[i], in) || rnd(&w->s) % 10 == 0)
		r->verdicts &= world_base(w, i, in, rnd(&w->s) % 2 == 0 ? NULL :
		    &r->base[rnd(&w->s) % LATE]) == EO_OK;
	r->verdicts &= eo_in_ready(&w->ib[i], in) &&
	    eo_in_lock(&w->ib[i], in);
	low = eo_ranges_low(&in->settled);
	for (uint64_t k = rnd(&w->s) % 30; k > 0; k--) {
		uint64_t n = rnd(&w->s) % 20 == 0 ? 1 + rnd(&w->s) % N :
		    low + 1 + rnd(&w->s) % WINDOW;

		if (rnd(&w->s) % 10 == 0)
			take_due(r, i, in);
		else if (n <= N && r->withdrawn[n] && rnd(&w->s) % 2 == 0) {
			r->verdicts &= world_abort(w, i, in, n) == EO_OK;
			if (!settled(r->next[n]))
				r->next[n] = ABORTED;
		} else if (n <= N)
			take(r, i, in, n);
	}
	eo_inbox_save(&w->ib[i]);
	commit &= eo_journal_end(w->b[i], commit ? EO_OK : EO_AGAIN) == EO_OK;
	if (commit) {
		acks->len = 0;
		low = eo_ranges_low(&in->settled);
		for (uint64_t n = 1; n <= N; n++)
			marked[n] = n <= low || !settled(r->next[n]) ||
			    settled(w->is[n]);
		memcpy(w->is, r->next, sizeof(r->next));
		eo_in_acks(&w->ib[i], in, all, acks);
		r->acks &= world_acks(w, in, eo_slice_buf(acks), marked);
		for (uint64_t n = 1; n <= N; n++)
			r->answers &= marked[n];
	}
	r->commits += commit;
	r->rollbacks += !commit;
	eo_in_unlock(&w->ib[i], in);
	compare(r, i);
	if (rnd(&w->s) % 25 == 0) {
		world_close(w, i);
		world_open(w, i);
	}
}

/* What the sender has settled, the receiver has; what it has not, it sends. */
static void
check_sender(struct run *r)
{
	struct world *w = r->w;
	struct eo_out out = world_out(w);
	struct eo_resend_cursor cursor = { 0 };
	struct eo_resend_batch batch = { 0 };
	const char *star = "*", *cause;
	struct eo_channels every = { &star, 1 };
	uint64_t left = 0, sent = 0, unsettled;
	int64_t due;
	struct eo_frame f;

	eo_journal_read(w->a);
	for (uint64_t n = 1; n <= N; n++) {
		bool is = eo_outbox_settled(w->a, &out, n);

		r->sender &= (!is || settled(w->is[n])) &&
		    (is || !r->settled[n]) && (n >= out.base || is);
		r->settled[n] = is;
		left += !is;
	}
	eo_journal_read_end(w->a);
	r->sender &= out.base == N + 1 || !r->settled[out.base];
	eo_resend_pending(w->a, &every, &unsettled, &due);
	r->pending &= unsettled == left;
	while (eo_resend_fetch(w->a, &out, true, &cursor, &batch) == EO_OK &&
	    batch.nblock > 0) {
		struct eo_slice rest = eo_slice_buf(&batch.frames);

		while (rest.n > 0) {
			eo_frame_parse(eo_slice_cut(&rest, '\n'), &f, &cause);
			r->pending &= !r->settled[f.seq] && f.type ==
			    (r->withdrawn[f.seq] ? EO_ABORT : EO_MSG);
			sent++;
		}
	}
	r->pending &= sent == left;
	eo_resend_free(&batch);
}

static void
step(struct run *r)
{
	struct world *w = r->w;
	uint64_t n = 1 + rnd(&w->s) % N;
	char ref[30];

	receive(r, (int)(rnd(&w->s) % 2));
	if (rnd(&w->s) % 2 == 0)
		r->sender &= world_settle(w, eo_slice_buf(
		    &r->ack[rnd(&w->s) % LATE])) == EO_OK;
	if (rnd(&w->s) % 3 == 0 && !r->settled[n]) {
		snprintf(ref, sizeof(ref), "c/%d", (int)n);
		if (eo_operator_do(w->a, EO_VERB_DEAD, ref, "no") == EO_OK)
			r->withdrawn[n] = true;
	}
	r->base[rnd(&w->s) % LATE] = world_out(w);
	check_sender(r);
}

/* Everything is sent and acknowledged: is each number where it belongs? */
static void
finish(struct run *r)
{
	struct world *w = r->w;
	struct eo_findings found;
	uint64_t aborted = 0, dead = 0, completed = 0;
	struct eo_in *in;

	for (int i = 0; i < 20000 && world_out(w).base <= N; i++)
		step(r);
	for (uint64_t n = 1; n <= N; n++) {
		aborted += w->is[n] == ABORTED;
		dead += w->is[n] == DEAD;
		completed += w->is[n] == COMPLETED;
	}
	found = world_check(w);
	ok(found.unsound == 0, "both journals are sound");
	ok(found.lost == 0 && found.twice == 0 && found.pending == 0,
	    "lost %d, twice %d, pending %d", (int)found.lost,
	    (int)found.twice, (int)found.pending);
	ok(aborted > 0 && found.dead == dead + aborted,
	    "%d dead letters at the receiver, %d at the sender", (int)dead,
	    (int)aborted);
	eo_journal_read(w->b[0]);
	in = world_in(w, 0);
	ok((uint64_t)in->completed == completed && completed > 0,
	    "%d numbers were completed", (int)completed);
	eo_journal_read_end(w->b[0]);
}

int
main(void)
{
	struct run *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return 1;
	r->w = world_make(seed());
	for (int i = 0; i < LATE; i++)
		r->base[i] = world_out(r->w);
	r->verdicts = r->sets = r->held = r->acks = r->answers = true;
	r->sender = r->pending = true;
	for (int i = 0; i < STEPS; i++)
		step(r);
	ok(r->verdicts, "a number is settled once, and new only once");
	ok(r->sets, "low-water mark, ranges and what is held");
	ok(r->held, "what is held is given back, the lowest first");
	ok(r->acks, "%d acks fit, and list every exception", r->w->acked);
	ok(r->answers, "each number that was settled is acknowledged");
	ok(r->sender, "the sender settles what the receiver has, for good");
	ok(r->pending, "what is not settled is sent, or its abort");
	ok(r->commits > STEPS / 2 && r->rollbacks > STEPS / 20,
	    "%d commits, %d rollbacks", r->commits, r->rollbacks);
	finish(r);
	for (int i = 0; i < LATE; i++)
		eo_buf_free(&r->ack[i]);
	world_free(r->w);
	free(r);
	return done();
}

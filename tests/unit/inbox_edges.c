/*
 * inbox: what a random walk seldom meets.  Exceptions that do not fit into
 * an ack, thousands of ranges, a channel whose first transaction ends in a
 * rollback, an abort right behind its message, strangers' bases.
 */
#include "inbox.h"

#include "world.h"

/* Settles these numbers in a transaction: every step-th one, dead or done by
   turns. */
static struct eo_in *
settle_every(struct world *w, uint64_t step, bool dead)
{
	struct eo_in *in;

	eo_journal_begin(w->b[0]);
	in = world_in(w, 0);
	world_base(w, 0, in, NULL);
	eo_in_lock(&w->ib[0], in);
	for (uint64_t n = step; n <= N; n += step) {
		bool die = dead && n / step % 2 == 0;

		if (eo_in_check(&w->ib[0], in, &w->msg[n]) != EO_IN_NEW)
			continue;
		eo_in_settle(&w->ib[0], in, &w->msg[n], die ? EO_DEAD :
		    EO_COMPLETED, "");
		w->is[n] = die ? DEAD : COMPLETED;
	}
	eo_inbox_save(&w->ib[0]);
	eo_journal_end(w->b[0], EO_OK);
	eo_in_unlock(&w->ib[0], in);
	return in;
}

/* Exceptions that fill more than a line: the acks end where they must, and go
   on from the base that they raise. */
static void
crowd(uint64_t s)
{
	struct world *w = world_make(s);
	struct eo_in *in = settle_every(w, 1, true);
	struct eo_buf acks = { 0 };
	bool good = true, settles = true;
	int rounds = 0;

	while (world_out(w).base <= N && rounds < 20) {
		acks.len = 0;
		eo_in_acks(&w->ib[0], in, true, &acks);
		good &= world_acks(w, in, eo_slice_buf(&acks), NULL);
		settles &= world_settle(w, eo_slice_buf(&acks)) == EO_OK;
		eo_journal_begin(w->b[0]);
		in = world_in(w, 0);
		settles &= world_base(w, 0, in, NULL) == EO_OK;
		eo_inbox_save(&w->ib[0]);
		eo_journal_end(w->b[0], EO_OK);
		rounds++;
	}
	ok(good && w->longest > EO_CONTROL_MAX - 400,
	    "exceptions fill lines of %zu bytes and no more", w->longest + 1);
	ok(settles && rounds > 1 && world_out(w).base == N + 1,
	    "%d rounds of ack and base settle %d numbers", rounds, N);
	ok(eo_db_int_or(w->b[0]->db, -1, "SELECT count(*) FROM eo_in_except",
	    "") == 0, "what a base has passed is forgotten");
	eo_buf_free(&acks);
	world_free(w);
}

/* Every third number: as many frames as it takes, or what one line holds. */
static void
islands(uint64_t s)
{
	struct world *w = world_make(s);
	struct eo_in *in = settle_every(w, 3, true);
	struct eo_buf acks = { 0 };
	bool marked[N + 1] = { false }, all = true, good;
	uint64_t first, last;

	eo_in_acks(&w->ib[0], in, false, &acks);
	good = world_acks(w, in, eo_slice_buf(&acks), marked);
	ok(good && w->acked > 2, "%d ranges make %d frames", N / 3, w->acked);
	for (uint64_t n = 1; n <= N; n++)
		all &= marked[n] == (n % 3 == 0);
	ok(all, "which cover each of them");
	ok(world_settle(w, eo_slice_buf(&acks)) == EO_OK &&
	    world_out(w).base == 1 && world_out(w).acked == N,
	    "the sender settles above its base");
	ok(eo_in_gap(in, 0, &first, &last) && first == 1 && last == 2 &&
	    eo_in_gap(in, 3, &first, &last) && first == 4 && last == 5 &&
	    !eo_in_gap(in, N - 1, &first, &last), "the gaps between them");
	acks.len = 0;
	w->acked = 0;
	eo_in_acks(&w->ib[0], in, true, &acks);
	good = world_acks(w, in, eo_slice_buf(&acks), NULL);
	ok(good && w->acked == 1,
	    "asked for, the present ack is one line");
	eo_buf_free(&acks);
	world_free(w);
}

/* A channel that was made, and rolled back, is made again. */
static void
unmade(uint64_t s)
{
	struct world *w = world_make(s);
	struct eo_in *in;

	eo_journal_begin(w->b[0]);
	in = world_in(w, 0);
	world_base(w, 0, in, NULL);
	eo_inbox_save(&w->ib[0]);
	eo_journal_end(w->b[0], EO_AGAIN);
	eo_in_unlock(&w->ib[0], in);
	settle_every(w, 1, false);
	eo_journal_read(w->b[1]);
	in = eo_inbox_channel(&w->ib[1], w->msg[1].source, w->msg[1].channel,
	    false);
	ok(in != NULL && eo_ranges_low(&in->settled) == N,
	    "what follows a rollback is not lost");
	eo_journal_read_end(w->b[1]);
	world_free(w);
}

/* A message with a key, and its abort, in one batch: the key is free. */
static void
aborted(uint64_t s, bool flush)
{
	struct world *w = world_make(s);
	struct eo_in *in;

	eo_journal_begin(w->b[0]);
	in = world_in(w, 0);
	world_base(w, 0, in, NULL);
	eo_in_lock(&w->ib[0], in);
	for (uint64_t n = 1; n <= 14; n++)
		if (eo_in_check(&w->ib[0], in, &w->msg[n]) == EO_IN_NEW)
			eo_in_hold(&w->ib[0], in, &w->msg[n], 0);
	ok(eo_in_may_run(&w->ib[0], in, &w->msg[7]) &&
	    !eo_in_may_run(&w->ib[0], in, &w->msg[14]),
	    "14 waits for 7, which has its key");
	if (flush)
		eo_in_flush(&w->ib[0], in);
	world_abort(w, 0, in, 7);
	ok(eo_in_may_run(&w->ib[0], in, &w->msg[14]),
	    "not when 7 is aborted in the batch it came with%s",
	    flush ? ", as a block" : "");
	eo_inbox_save(&w->ib[0]);
	eo_journal_end(w->b[0], EO_OK);
	eo_in_unlock(&w->ib[0], in);
	world_free(w);
}

/* Two that share the journal: one has the channel at a time. */
static void
shared(uint64_t s)
{
	struct world *w = world_make(s);
	struct eo_in *in[2];

	in[0] = settle_every(w, 2, false);
	eo_journal_begin(w->b[1]);
	in[1] = world_in(w, 1);
	eo_journal_end(w->b[1], EO_OK);
	ok(eo_ranges_find(&in[1]->settled, 2) != NULL,
	    "what one has settled, the other one knows");
	ok(eo_in_lock(&w->ib[0], in[0]) && !eo_in_lock(&w->ib[1], in[1]),
	    "one of them has the channel");
	eo_in_unlock(&w->ib[0], in[0]);
	eo_in_unlock(&w->ib[1], in[1]);
	ok(eo_in_lock(&w->ib[1], in[1]), "and then the other one");
	world_free(w);
}

/* Bases and messages that cannot be of this history, or for this receiver. */
static void
strangers(uint64_t s)
{
	struct world *w = world_make(s);
	struct eo_in *in = settle_every(w, 1, false);
	struct eo_out out = world_out(w);
	struct eo_frame f = w->msg[N];

	out.acked = N;
	out.base = N + 1;
	out.before = w->msg[N].link;
	memcpy(out.receiver, "0123456789abcdef0123456789abcdef", 33);
	eo_journal_begin(w->b[0]);
	ok(world_base(w, 0, in, &out) == EO_CONFUSED &&
	    !eo_in_ready(&w->ib[0], in), "a base that names another receiver");
	memcpy(out.receiver, eo_journal_current(w->b[0])->hex, 33);
	ok(world_base(w, 0, in, &out) == EO_OK && eo_in_ready(&w->ib[0], in),
	    "one that names this one mends that");
	out.before ^= 1;
	ok(world_base(w, 0, in, &out) == EO_CONFUSED && in->answer,
	    "a base with another link, which is answered");
	out.before ^= 1;
	world_base(w, 0, in, &out);
	f.seq = N + 1;
	f.before = f.link ^ 1;
	ok(eo_in_check(&w->ib[0], in, &f) == EO_IN_REFUSED,
	    "a message with another link");
	f.before ^= 1;
	f.seq = N + 2;
	ok(eo_in_check(&w->ib[0], in, &f) == EO_IN_NEW,
	    "one above a gap, of which nothing can be said");
	out.acked = N + 2;
	ok(world_base(w, 0, in, &out) == EO_CONFUSED,
	    "a base that has seen more acks than were given");
	out.acked = 0;
	ok(world_base(w, 0, in, &out) == EO_CONFUSED,
	    "is not mended by an older one");
	eo_journal_end(w->b[0], EO_OK);
	world_free(w);
}

int
main(void)
{
	uint64_t s = seed();

	crowd(s);
	islands(s);
	unmade(s);
	aborted(s, true);
	aborted(s, false);
	shared(s);
	strangers(s);
	return done();
}

/*
 * world: a sender's journal with N messages, a receiver's that is opened
 * twice, and a plain array that says what has become of each number.
 *
 *	w = world_make(seed());
 *	... frames from w->msg[1 ... N] go into w->b[i] by w->ib[i]
 *	world_acks(w, in, acks)		are these acks what the array says?
 *	world_free(w);
 */
#ifndef EO_WORLD_H
#define EO_WORLD_H

#include "check.h"
#include "inbox.h"
#include "lab.h"
#include "resend.h"
#include "settle.h"

#define N 1500

enum state { UNKNOWN, HELD, COMPLETED, DEAD, ABORTED };

struct world {
	struct lab lab;
	uint64_t s;
	struct eo_journal *a, *b[2];
	struct eo_inbox ib[2];
	struct eo_outbox ob;
	struct eo_buf frames;
	struct eo_frame msg[N + 1];
	enum state is[N + 1];
	int acked;		/* acks that were looked at */
	size_t longest;		/* of their lines */
};

static inline bool
settled(enum state s)
{
	return s >= COMPLETED;
}

static inline void
world_open(struct world *w, int i)
{
	w->b[i] = lab_open(&w->lab, "b.db");
	eo_inbox_init(&w->ib[i], w->b[i]);
}

static inline void
world_close(struct world *w, int i)
{
	eo_inbox_free(&w->ib[i]);
	eo_journal_close(w->b[i]);
}

/* The channel, in the transaction that is open. */
static inline struct eo_in *
world_in(struct world *w, int i)
{
	return eo_inbox_channel(&w->ib[i], w->msg[1].source,
	    w->msg[1].channel, true);
}

/* The sender's view of it. */
static inline struct eo_out
world_out(struct world *w)
{
	struct eo_out out;

	memset(&out, 0, sizeof(out));
	eo_journal_read(w->a);
	eo_out_find(w->a, eo_journal_current(w->a)->id, eo_slice_str("c"),
	    &out);
	eo_journal_read_end(w->a);
	return out;
}

/* Journals N messages at the sender, and keeps their frames. */
static inline void
world_fill(struct world *w)
{
	struct eo_outbox_channel *ch;
	struct eo_put_ref ref;
	struct eo_slice rest;
	const char *cause;
	enum eo_put put;
	size_t i;

	for (uint64_t n = 1; n <= N;) {
		eo_outbox_begin(&w->ob, true);
		for (uint64_t k = 1 + rnd(&w->s) % 40; k > 0 && n <= N; k--) {
			struct eo_message m = { .channel = "c" };
			char body[30];

			snprintf(body, sizeof(body), "body %d", (int)n);
			m.body = eo_slice_str(body);
			m.key = eo_slice_str(n++ % 7 == 0 ? "key" : "");
			eo_outbox_add(&w->ob, &m, &put, &ref);
		}
		eo_outbox_end(&w->ob, EO_OK);
		for (i = 0; (ch = eo_outbox_next(&w->ob, &i)) != NULL;)
			eo_buf_add(&w->frames, ch->frames.p, ch->frames.len);
	}
	rest = eo_slice_buf(&w->frames);
	for (uint64_t n = 1; n <= N; n++)
		eo_frame_parse(eo_slice_cut(&rest, '\n'), &w->msg[n], &cause);
}

static inline struct world *
world_make(uint64_t s)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL)
		exit(1);
	w->s = s;
	lab_init(&w->lab, s + 1);
	w->a = lab_open(&w->lab, "a.db");
	eo_outbox_init(&w->ob, w->a);
	world_fill(w);
	world_open(w, 0);
	world_open(w, 1);
	return w;
}

static inline void
world_free(struct world *w)
{
	world_close(w, 0);
	world_close(w, 1);
	eo_outbox_free(&w->ob);
	eo_journal_close(w->a);
	eo_buf_free(&w->frames);
	lab_free(&w->lab);
	free(w);
}

/* Gives the receiver a base: the sender's present one, if out is NULL. */
static inline enum eo_status
world_base(struct world *w, int i, struct eo_in *in, const struct eo_out *out)
{
	struct eo_out now = world_out(w);
	struct eo_buf line = { 0 };
	struct eo_frame f;
	const char *cause;
	enum eo_status s = EO_BUG;

	eo_resend_base(out == NULL ? &now : out, &line);
	line.len--;
	if (eo_frame_parse(eo_slice_buf(&line), &f, &cause) == EO_FRAME_GOOD)
		s = eo_in_base(&w->ib[i], in, &f, false);
	eo_buf_free(&line);
	return s;
}

/* Gives the receiver an abort. */
static inline enum eo_status
world_abort(struct world *w, int i, struct eo_in *in, uint64_t n)
{
	struct eo_buf line = { 0 };
	struct eo_frame f;
	const char *cause;
	enum eo_status s = EO_BUG;

	eo_frame_put_abort(&line, &w->msg[n]);
	line.len--;
	if (eo_frame_parse(eo_slice_buf(&line), &f, &cause) == EO_FRAME_GOOD)
		s = eo_in_abort(&w->ib[i], in, &f, w->lab.now);
	eo_buf_free(&line);
	return s;
}

/* Gives the sender acks. */
static inline enum eo_status
world_settle(struct world *w, struct eo_slice acks)
{
	struct eo_settle st;
	const char *cause;
	struct eo_frame f;

	eo_settle_begin(&st, w->a);
	while (acks.n > 0)
		if (eo_frame_parse(eo_slice_cut(&acks, '\n'), &f, &cause) ==
		    EO_FRAME_GOOD)
			eo_settle_ack(&st, &f);
	return eo_settle_end(&st);
}

/* One ack: it parses, fits into a line, covers nothing but what is settled,
   and lists each dead and aborted number from the last base on.  Covered
   numbers are marked. */
static inline bool
world_ack(struct world *w, const struct eo_in *in, struct eo_slice line,
    bool *marked)
{
	bool covered[N + 1] = { false }, good = true;
	char kind[N + 1] = { 0 }, k;
	struct eo_slice list;
	struct eo_frame f;
	const char *cause;
	uint64_t a, b;
	uint32_t link;

	if (line.n + 1 > EO_CONTROL_MAX || eo_frame_parse(line, &f, &cause) !=
	    EO_FRAME_GOOD || f.type != EO_ACK || f.seq > N ||
	    f.link != w->msg[f.seq].link)
		return false;
	w->acked++;
	w->longest = line.n > w->longest ? line.n : w->longest;
	for (list = f.except; eo_except_next(&list, &a, &b, &k) && b <= N;)
		while (a <= b)
			kind[a++] = k;
	for (uint64_t n = 1; n <= f.seq; n++)
		covered[n] = true;
	for (list = f.ranges; eo_range_next(&list, &a, &b, &link) && b <= N;) {
		good &= link == w->msg[b].link;
		while (a <= b)
			covered[a++] = true;
	}
	for (uint64_t n = 1; n <= N; n++) {
		char want = w->is[n] == DEAD ? 'd' : w->is[n] == ABORTED ?
		    'a' : 0;

		if (marked != NULL)
			marked[n] |= covered[n];
		good &= !covered[n] || settled(w->is[n]);
		good &= kind[n] == (covered[n] && n >= in->base ? want : 0);
	}
	return good;
}

static inline bool
world_acks(struct world *w, const struct eo_in *in, struct eo_slice acks,
    bool *marked)
{
	bool good = true;

	while (acks.n > 0)
		good &= world_ack(w, in, eo_slice_cut(&acks, '\n'), marked);
	return good;
}

/* What eo-fsck would find in all of it. */
static inline void
world_say(void *ctx, const char *text)
{
	(void)ctx;
	printf("# %s\n", text);
}

static inline struct eo_findings
world_check(struct world *w)
{
	struct eo_findings found = { .say = world_say };

	eo_check_journal(w->a, &found);
	eo_check_journal(w->b[0], &found);
	eo_check_pair(w->a, w->b[0], &found);
	return found;
}

#endif

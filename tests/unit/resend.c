/* resend, settle: what is sent again, whose acks count, and forks. */
#include "resend.h"

#include "operator.h"
#include "sender.h"
#include "settle.h"

#define ME "0123456789abcdef0123456789abcdef"
#define HEIR "fedcba9876543210fedcba9876543210"

/* The link of a message that is pending. */
static uint32_t
link_of(struct eo_journal *j, const struct eo_out *out, uint64_t seq)
{
	struct eo_buf line = { 0 };
	struct eo_frame f = { .link = 0 };
	const char *cause;

	eo_journal_read(j);
	if (eo_outbox_frame(j, out, seq, &line))
		eo_frame_parse(eo_slice_buf(&line), &f, &cause);
	eo_journal_read_end(j);
	eo_buf_free(&line);
	return f.link;
}

/* An ack by author, with the right links changed by wrong. */
static enum eo_status
ack(struct eo_journal *j, int64_t life, const char *author, uint64_t upto,
    uint64_t first, uint64_t last, const char *except, uint32_t wrong)
{
	struct eo_out out = out_of(j, life);
	struct eo_buf line = { 0 }, ranges = { 0 };
	uint32_t link = upto + 1 == out.base ? out.before :
	    link_of(j, &out, upto);
	struct eo_settle st;
	struct eo_frame f;
	const char *cause;

	if (first > 0)
		eo_buf_addf(&ranges, "%d-%d:%08x", (int)first, (int)last,
		    link_of(j, &out, last) ^ wrong);
	else
		link ^= wrong;
	eo_frame_put_ack(&line, eo_journal_life(j, life)->hex, "c", author,
	    upto, link, eo_slice_buf(&ranges), eo_slice_str(except));
	line.len--;
	eo_settle_begin(&st, j);
	if (eo_frame_parse(eo_slice_buf(&line), &f, &cause) == EO_FRAME_GOOD)
		eo_settle_ack(&st, &f);
	eo_buf_free(&line);
	eo_buf_free(&ranges);
	return eo_settle_end(&st);
}

static bool
sends(struct eo_journal *j, int64_t life, bool all, const char *want)
{
	struct eo_buf text = { 0 };
	bool same = sent(j, life, all, &text, NULL) &&
	    eo_slice_is(eo_slice_buf(&text), want);

	if (!same)
		printf("# sent: %.*s\n", (int)text.len, text.p);
	eo_buf_free(&text);
	return same;
}

static void
resend(struct lab *lab)
{
	struct eo_journal *j = lab_open(lab, "resend.db");
	int64_t life = eo_journal_current(j)->id;

	fill(j, 10);
	ok(sends(j, life, true, "1 2 3 4 5 6 7 8 9 10"), "all is pending");
	ok(sends(j, life, false, ""), "nothing is due that was just sent");
	ok(ack(j, life, ME, 1, 3, 4, "", 0) == EO_OK &&
	    ack(j, life, ME, 0, 7, 7, "7d", 0) == EO_OK &&
	    sends(j, life, true, "2 5 6 8 9 10"), "the settled is left out");
	ok(eo_operator_do(j, EO_VERB_DEAD, "c/5-6", "no") == EO_OK &&
	    sends(j, life, true, "2 a5 a6 8 9 10"),
	    "an abort goes out for what is withdrawn");
	ok(sends(j, life, false, "2 a5 a6 8 9 10") && sends(j, life, false, ""),
	    "and it is due at once, once");
	lab->now += 10 * EO_RESEND_MS;
	ok(sends(j, life, false, "2 a5 a6 8 9 10"), "and again after a wait");
	ok(ack(j, life, ME, 1, 5, 6, "5a", 0) == EO_OK &&
	    sends(j, life, true, "2 8 9 10"), "until it is settled");
	ok(eo_db_int_or(j->db, 0, "SELECT sum(seq) FROM eo_out_dead", "") == 5,
	    "what the receiver aborted is a dead letter, what it had "
	    "completed is not");
	ok(ack(j, life, ME, 9, 0, 0, "", 0) == EO_OK &&
	    sends(j, life, true, "10") && out_of(j, life).base == 10,
	    "an ack says it for all that is lower");
	ok(ack(j, life, ME, 10, 0, 0, "", 0) == EO_OK &&
	    sends(j, life, true, "") && eo_db_int_or(j->db, -1,
	    "SELECT (SELECT count(*) FROM eo_block) + (SELECT count(*) FROM "
	    "eo_frames) + (SELECT count(*) FROM eo_out_range)", "") == 0,
	    "what is settled leaves no row");
	eo_journal_close(j);
}

static void
authors(struct lab *lab)
{
	struct eo_journal *j = lab_open(lab, "authors.db");
	int64_t life = eo_journal_current(j)->id;
	struct eo_out out;

	fill(j, 10);
	ok(ack(j, life, ME, 0, 0, 0, "", 0) == EO_OK &&
	    strcmp(out_of(j, life).receiver, ME) == 0,
	    "the first to ack is the receiver");
	ok(ack(j, life, HEIR, 2, 0, 0, "", 0) == EO_CONFUSED &&
	    out_of(j, life).base == 1, "another one is refused");
	ok(ack(j, life, HEIR "/" HEIR, 2, 0, 0, "", 0) == EO_CONFUSED,
	    "and so is the heir of somebody else");
	ok(ack(j, life, HEIR "/" ME, 2, 0, 0, "", 0) == EO_OK &&
	    strcmp(out_of(j, life).receiver, HEIR) == 0, "its heir follows");
	ok(ack(j, life, ME, 4, 0, 0, "", 0) == EO_CONFUSED,
	    "and it is refused from then on");
	ok(ack(j, life, HEIR, 1, 0, 0, "", 0) == EO_OK,
	    "a late ack changes nothing");
	out = out_of(j, life);
	ok(out.base == 3 && out.acked == 2 && !out.forked, "the base stands");
	eo_journal_close(j);
}

/* After ten messages, of which 1 and 4 are settled: an ack that cannot be. */
static void
fork_by(struct lab *lab, const char *name, const char *title, uint64_t upto,
    uint64_t first, uint64_t last, uint32_t wrong)
{
	struct eo_journal *j = lab_open(lab, name);
	const struct eo_source *was = eo_journal_current(j);
	int64_t life = was->id;
	struct eo_out out;

	fill(j, 10);
	ack(j, life, ME, 1, 4, 4, "", 0);
	ok(ack(j, life, ME, upto, first, last, "", wrong) == EO_CONFUSED,
	    "%s", title);
	out = out_of(j, life);
	ok(out.forked && out.base == 2 && out.acked == 4 &&
	    sends(j, life, true, ""), "settles nothing, and nothing is sent");
	ok(eo_db_int_or(j->db, 0, "SELECT sum(seq) FROM eo_out_dead "
	    "WHERE unsure = 1", "") == 50 && eo_db_int_or(j->db, 0,
	    "SELECT count(*) FROM eo_out_dead", "") == 8,
	    "the unsettled are dead letters, unsure");
	ok(eo_journal_current(j)->id != life, "a new source");
	fill(j, 2);
	life = eo_journal_current(j)->id;
	out = out_of(j, life);
	ok(sends(j, life, true, "1 2") && out.base == 1 && out.acked == 0 &&
	    strcmp(out.receiver, ME) == 0,
	    "under which it begins at 1, with the receiver it had");
	ok(ack(j, eo_journal_life(j, life - 1)->id, ME, 3, 0, 0, "", 1) ==
	    EO_OK && eo_journal_current(j)->id == life,
	    "a fork is found once");
	eo_journal_close(j);
}

static void
forks(struct lab *lab)
{
	struct eo_journal *j;
	struct eo_buf line = { 0 };
	struct eo_settle st;
	struct eo_frame f;
	const char *cause;
	int64_t life;

	fork_by(lab, "f1.db", "an ack beyond the last number", 11, 0, 0, 0);
	fork_by(lab, "f2.db", "a range beyond it", 1, 9, 11, 0);
	fork_by(lab, "f3.db", "an ack with another link", 6, 0, 0, 1);
	fork_by(lab, "f4.db", "a range with another link", 1, 6, 8, 1);
	fork_by(lab, "f5.db", "another link at the last number", 10, 0, 0, 1);

	j = lab_open(lab, "f6.db");
	life = eo_journal_current(j)->id;
	eo_frame_put_ack(&line, eo_journal_current(j)->hex, "c", ME, 5, 7,
	    eo_slice_str(""), eo_slice_str(""));
	line.len--;
	eo_frame_parse(eo_slice_buf(&line), &f, &cause);
	eo_settle_begin(&st, j);
	eo_settle_ack(&st, &f);
	ok(eo_settle_end(&st) == EO_CONFUSED &&
	    eo_journal_current(j)->id != life,
	    "an ack of a channel that was never sent on is a fork");
	eo_buf_free(&line);

	/* Under an old source: no new one for it. */
	fill(j, 3);
	life = eo_journal_current(j)->id;
	eo_journal_begin(j);
	eo_journal_new_source(j, "test");
	eo_journal_end(j, EO_OK);
	ok(ack(j, life, ME, 2, 0, 0, "", 1) == EO_CONFUSED &&
	    eo_journal_current(j)->id == life + 1 &&
	    out_of(j, life).forked, "a fork of an old source needs no new one");
	eo_journal_close(j);
}

int
main(void)
{
	struct lab lab;

	lab_init(&lab, seed());
	resend(&lab);
	authors(&lab);
	forks(&lab);
	lab_free(&lab);
	return done();
}

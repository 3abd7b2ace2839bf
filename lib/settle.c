#include "settle.h"

#include <stdlib.h>
#include <string.h>

enum eo_status
eo_settle_begin(struct eo_settle *st, struct eo_journal *j)
{
	memset(st, 0, sizeof(*st));
	st->j = j;
	return eo_journal_begin(j);
}

bool
eo_outbox_settled(struct eo_journal *j, const struct eo_out *out, uint64_t seq)
{
	return seq < out->base || eo_db_int_or(j->db, 0, "SELECT 1 FROM "
	    "eo_out_range WHERE out = ? AND first <= ? AND last >= ?", "iii",
	    out->id, (int64_t)seq, (int64_t)seq) != 0;
}

bool
eo_outbox_frame(struct eo_journal *j, const struct eo_out *out, uint64_t seq,
    struct eo_buf *frame)
{
	struct eo_rows *st = eo_db_query(j->db, "SELECT b.first, b.last, "
	    "f.frames FROM eo_block b JOIN eo_frames f ON f.id = b.id "
	    "WHERE b.out = ? AND b.first <= ? ORDER BY b.first DESC LIMIT 1",
	    "ii", out->id, (int64_t)seq);
	bool found = false;

	if (eo_db_row(st) && (uint64_t)eo_db_int(st, 1) >= seq) {
		struct eo_slice rest = eo_db_bytes(st, 2), line;

		for (uint64_t n = (uint64_t)eo_db_int(st, 0); n <= seq; n++)
			line = eo_slice_cut(&rest, '\n');
		frame->len = 0;
		eo_buf_add(frame, line.p, line.n);
		found = true;
	}
	eo_db_done(st);
	return found;
}

static struct eo_settle_channel *
channel_of(struct eo_settle *st, int64_t life, struct eo_slice name)
{
	struct eo_settle_channel *ch;
	struct eo_rows *rows;
	struct eo_out out;

	/* A batch is mostly of one channel: look from the last one back. */
	for (size_t i = st->nch; i-- > 0;)
		if (st->ch[i].out.life == life &&
		    eo_slice_is(name, st->ch[i].out.channel))
			return &st->ch[i];
	if (!eo_out_find(st->j, life, name, &out))
		return NULL;
	st->ch = eo_grow(st->ch, st->nch + 1, sizeof(*st->ch));
	ch = &st->ch[st->nch++];
	memset(ch, 0, sizeof(*ch));
	ch->out = out;
	if (out.base > 1)
		eo_ranges_add(&ch->settled, 1, out.base - 1, 0, out.before);
	rows = eo_db_query(st->j->db, "SELECT first, last, link FROM "
	    "eo_out_range WHERE out = ? ORDER BY first", "i", out.id);
	while (eo_db_row(rows))
		eo_ranges_add(&ch->settled, (uint64_t)eo_db_int(rows, 0),
		    (uint64_t)eo_db_int(rows, 1), 0,
		    (uint32_t)eo_db_int(rows, 2));
	eo_ranges_copy(&ch->saved, &ch->settled);
	return ch;
}

static void
refuse(struct eo_settle *st, enum eo_status status)
{
	st->worst = eo_status_worst(st->worst, status);
}

/*
 * The journal was rolled back or cloned: what is not settled may never have
 * been sent, or may stand for another message under the same number.
 */
static void
fork_channel(struct eo_settle *st, struct eo_settle_channel *ch,
    const char *why)
{
	struct eo_journal *j = st->j;
	struct eo_out *out = &ch->out;
	struct eo_rows *rows;
	uint64_t dead = 0;
	const char *cause;

	rows = eo_db_query(j->db, "SELECT f.frames FROM eo_block b "
	    "JOIN eo_frames f ON f.id = b.id WHERE b.out = ? ORDER BY b.first",
	    "i", out->id);
	while (eo_db_row(rows)) {
		struct eo_slice rest = eo_db_bytes(rows, 0);

		while (rest.n > 0) {
			struct eo_slice line = eo_slice_cut(&rest, '\n');
			struct eo_frame f;

			if (eo_frame_parse(line, &f, &cause) != EO_FRAME_GOOD ||
			    eo_ranges_find(&ch->settled, f.seq) != NULL)
				continue;
			eo_db_run(j->db, "INSERT INTO eo_out_dead(out, seq, "
			    "reason, unsure, since, frame) "
			    "VALUES (?, ?, ?, 1, ?, ?)", "iizib", out->id,
			    (int64_t)f.seq, why, eo_env_now(j->env), line);
			dead++;
		}
	}
	eo_db_run(j->db, "DELETE FROM eo_frames WHERE id IN (SELECT id FROM "
	    "eo_block WHERE out = ?)", "i", out->id);
	eo_db_run(j->db, "DELETE FROM eo_block WHERE out = ?", "i", out->id);
	eo_db_run(j->db, "DELETE FROM eo_withdraw WHERE out = ?", "i",
	    out->id);
	eo_db_run(j->db, "UPDATE eo_out SET forked = 1 WHERE id = ?", "i",
	    out->id);
	out->forked = true;
	if (out->life == eo_journal_current(j)->id)
		eo_journal_new_source(j, "fork");
	eo_say(&j->report, EO_CONFUSED, "%s: channel %s: %s: this journal was "
	    "rolled back or copied; %llu unsettled messages are dead letters "
	    "marked unsure (look: eo-fsck %s; send again: eo-ack -j %s "
	    "--again %.8s/%s/NUMBER); from now on its source is %s", j->path,
	    out->channel, why, (unsigned long long)dead, j->path, j->path,
	    out->source, out->channel, eo_journal_current(j)->hex);
	refuse(st, EO_CONFUSED);
}

/* May this author speak for the channel? Makes the first one its receiver. */
static bool
accept_author(struct eo_settle *st, struct eo_settle_channel *ch,
    const struct eo_frame *f)
{
	struct eo_slice old = f->receiver, new = eo_slice_cut(&old, '/');
	struct eo_out *out = &ch->out;

	if (eo_slice_is(new, out->receiver))
		return true;
	if (out->receiver[0] == '\0' ||
	    (old.p != NULL && eo_slice_is(old, out->receiver))) {
		memcpy(out->receiver, new.p, EO_SOURCE_LEN);
		out->receiver[EO_SOURCE_LEN] = '\0';
		out->verified = 0;
		ch->dirty = true;
		return true;
	}
	eo_say(&st->j->report, EO_CONFUSED, "channel %s belongs to receiver "
	    "%s: an ack of %.32s is refused (if the channel has moved: eo-ack "
	    "-j %s --receiver %.32s -c %s)", out->channel, out->receiver,
	    new.p, st->j->path, new.p, out->channel);
	refuse(st, EO_CONFUSED);
	return false;
}

/* Is link ours at n? What was verified, or is gone, is not asked again. */
static bool
link_is_ours(struct eo_settle *st, struct eo_settle_channel *ch, uint64_t n,
    uint32_t link)
{
	const struct eo_out *out = &ch->out;
	struct eo_buf line = { 0 };
	struct eo_frame f;
	const char *cause;
	bool same = true;

	if (n <= out->verified || n < out->base - 1)
		return true;
	if (n == out->base - 1)
		return link == out->before;
	if (n == out->last)
		return link == out->link;
	if (eo_outbox_frame(st->j, out, n, &line))
		same = eo_frame_parse(eo_slice_buf(&line), &f, &cause) ==
		    EO_FRAME_GOOD && f.seq == n && f.link == link;
	eo_buf_free(&line);
	return same;
}

/* Why this ack cannot be of our history; NULL if it can. *top: the highest
   number it settles. */
static const char *
find_fork(struct eo_settle *st, struct eo_settle_channel *ch,
    const struct eo_frame *f, uint64_t *top)
{
	struct eo_slice rest = f->ranges;
	uint64_t first, last;
	uint32_t link;

	*top = f->seq;
	if (f->seq > ch->out.last)
		return "acknowledged beyond the last number given";
	if (!link_is_ours(st, ch, f->seq, f->link))
		return "acknowledged with another link";
	while (eo_range_next(&rest, &first, &last, &link)) {
		if (last > ch->out.last)
			return "acknowledged beyond the last number given";
		if (!link_is_ours(st, ch, last, link))
			return "acknowledged with another link";
		if (last > *top)
			*top = last;
	}
	return NULL;
}

/* How the ack says that seq ended: 'a', 'd', or 'c' for completed. */
static char
ending(const struct eo_frame *f, uint64_t seq)
{
	struct eo_slice rest = f->except;
	uint64_t first, last;
	char kind;

	while (eo_except_next(&rest, &first, &last, &kind))
		if (first <= seq && seq <= last)
			return kind;
	return 'c';
}

static void
settle_range(struct eo_settle *st, struct eo_settle_channel *ch,
    const struct eo_frame *f, uint64_t first, uint64_t last, uint32_t link)
{
	struct eo_journal *j = st->j;
	struct eo_buf frame = { 0 };
	struct eo_rows *rows;

	if (eo_ranges_count(&ch->settled, first, last) == last - first + 1)
		return;
	/* A withdrawn message that the receiver aborted is our dead letter. */
	rows = eo_db_query(j->db, "SELECT seq, reason FROM eo_withdraw "
	    "WHERE out = ? AND seq BETWEEN ? AND ?", "iii", ch->out.id,
	    (int64_t)first, (int64_t)last);
	while (eo_db_row(rows)) {
		uint64_t seq = (uint64_t)eo_db_int(rows, 0);

		if (eo_ranges_find(&ch->settled, seq) != NULL ||
		    ending(f, seq) != 'a' ||
		    !eo_outbox_frame(j, &ch->out, seq, &frame))
			continue;
		eo_db_run(j->db, "INSERT INTO eo_out_dead(out, seq, reason, "
		    "unsure, since, frame) VALUES (?, ?, ?, 0, ?, ?)", "iisib",
		    ch->out.id, (int64_t)seq, eo_db_bytes(rows, 1),
		    eo_env_now(j->env), eo_slice_buf(&frame));
	}
	eo_db_run(j->db, "DELETE FROM eo_withdraw WHERE out = ? AND "
	    "seq BETWEEN ? AND ?", "iii", ch->out.id, (int64_t)first,
	    (int64_t)last);
	eo_buf_free(&frame);
	eo_ranges_add(&ch->settled, first, last, 0, link)->touched = true;
	ch->dirty = true;
}

static void
remember_fork(struct eo_settle *st, const struct eo_source *life,
    const struct eo_frame *f)
{
	struct eo_settle_channel *ch;

	eo_db_run(st->j->db, "INSERT INTO eo_out(source, channel, receiver, "
	    "last, link, base, before, acked, verified, forked) "
	    "VALUES (?, ?, '', 0, 0, 1, 0, 0, 0, 0)", "is", life->id,
	    f->channel);
	ch = channel_of(st, life->id, f->channel);
	if (ch != NULL)
		fork_channel(st, ch, "acknowledged, but never sent on");
}

void
eo_settle_ack(struct eo_settle *st, const struct eo_frame *f)
{
	const struct eo_source *life = eo_journal_named(st->j, f->source);
	struct eo_slice rest = f->ranges;
	struct eo_settle_channel *ch;
	uint64_t first, last, top;
	const char *why;
	uint32_t link;

	if (st->j->err.status != EO_OK)
		return;
	ch = channel_of(st, life->id, f->channel);
	if (ch == NULL) {
		if (f->seq > 0 || f->ranges.n > 0)
			remember_fork(st, life, f);
		return;
	}
	if (ch->out.forked || !accept_author(st, ch, f))
		return;
	why = find_fork(st, ch, f, &top);
	if (why != NULL) {
		fork_channel(st, ch, why);
		return;
	}
	if (f->seq > 0)
		settle_range(st, ch, f, 1, f->seq, f->link);
	while (eo_range_next(&rest, &first, &last, &link))
		settle_range(st, ch, f, first, last, link);
	if (top > ch->out.verified || top > ch->out.acked)
		ch->dirty = true;
	if (top > ch->out.verified)
		ch->out.verified = top;
	if (top > ch->out.acked)
		ch->out.acked = top;
}

/* Blocks that lie in a range that grew are wholly settled: gone. */
static void
delete_blocks(struct eo_settle *st, const struct eo_settle_channel *ch)
{
	struct eo_db *db = st->j->db;

	for (size_t i = 0; i < ch->settled.n; i++) {
		const struct eo_range *r = &ch->settled.v[i];

		if (!r->touched)
			continue;
		eo_db_run(db, "DELETE FROM eo_frames WHERE id IN (SELECT id "
		    "FROM eo_block WHERE out = ? AND first BETWEEN ? AND ? "
		    "AND last <= ?)", "iiii", ch->out.id, (int64_t)r->first,
		    (int64_t)r->last, (int64_t)r->last);
		eo_db_run(db, "DELETE FROM eo_block WHERE out = ? AND "
		    "first BETWEEN ? AND ? AND last <= ?", "iiii", ch->out.id,
		    (int64_t)r->first, (int64_t)r->last, (int64_t)r->last);
	}
}

/* The rows of eo_out_range become what is settled above the base. */
static void
save_ranges(struct eo_settle *st, const struct eo_settle_channel *ch)
{
	struct eo_ranges_change c = { 0 };

	while (eo_ranges_change(&ch->saved, &ch->settled, &c))
		if (c.drop)
			eo_db_run(st->j->db, "DELETE FROM eo_out_range WHERE "
			    "out = ? AND first = ?", "ii", ch->out.id,
			    (int64_t)c.range->first);
		else
			eo_db_run(st->j->db, "INSERT OR REPLACE INTO "
			    "eo_out_range(out, first, last, link) "
			    "VALUES (?, ?, ?, ?)", "iiii", ch->out.id,
			    (int64_t)c.range->first, (int64_t)c.range->last,
			    (int64_t)c.range->link);
}

enum eo_status
eo_settle_end(struct eo_settle *st)
{
	enum eo_status s;

	for (size_t i = 0; i < st->nch; i++) {
		struct eo_settle_channel *ch = &st->ch[i];
		struct eo_out *out = &ch->out;

		if (!ch->dirty)
			continue;
		if (!out->forked)
			delete_blocks(st, ch);
		save_ranges(st, ch);
		if (eo_ranges_low(&ch->settled) >= out->base) {
			out->base = eo_ranges_low(&ch->settled) + 1;
			out->before = ch->settled.v[0].link;
		}
		eo_db_run(st->j->db, "UPDATE eo_out SET receiver = ?, base = ?, "
		    "before = ?, acked = ?, verified = ? WHERE id = ?",
		    "ziiiii", out->receiver, (int64_t)out->base,
		    (int64_t)out->before, (int64_t)out->acked,
		    (int64_t)out->verified, out->id);
	}
	s = eo_journal_end(st->j, EO_OK);
	for (size_t i = 0; i < st->nch; i++) {
		eo_ranges_free(&st->ch[i].settled);
		eo_ranges_free(&st->ch[i].saved);
	}
	free(st->ch);
	return s != EO_OK ? s : st->worst;
}

/* inbox: reading what is held. */
#include "inbox.h"

#include <string.h>

#define PRINT_MAX ((size_t)2 << 20)	/* bytes a transaction prints */

/* Makes the block that holds seq, or else the first one above it, the cached
   one. */
static bool
seek_block(struct eo_inbox *ib, struct eo_in *in, uint64_t seq)
{
	struct eo_db *db = ib->j->db;
	struct eo_rows *st;
	struct eo_slice frames;
	bool found;

	if (in->block != -1 && in->block_first <= seq && seq <= in->block_last)
		return true;
	st = eo_db_query(db, "SELECT h.id, h.first, h.last, h.lease, f.frames "
	    "FROM eo_held h JOIN eo_held_frames f ON f.id = h.id "
	    "WHERE h.ch = ? AND h.first <= ? ORDER BY h.first DESC LIMIT 1",
	    "ii", in->id, (int64_t)seq);
	found = eo_db_row(st) && (uint64_t)eo_db_int(st, 2) >= seq;
	if (!found) {
		eo_db_done(st);
		st = eo_db_query(db, "SELECT h.id, h.first, h.last, h.lease, "
		    "f.frames FROM eo_held h JOIN eo_held_frames f ON "
		    "f.id = h.id WHERE h.ch = ? AND h.first > ? "
		    "ORDER BY h.first LIMIT 1", "ii", in->id, (int64_t)seq);
		found = eo_db_row(st);
	}
	in->block = -1;
	if (found) {
		in->block = eo_db_int(st, 0);
		in->block_first = (uint64_t)eo_db_int(st, 1);
		in->block_last = (uint64_t)eo_db_int(st, 2);
		in->block_lease = eo_db_int(st, 3);
		frames = eo_db_bytes(st, 4);
		in->block_frames.len = 0;
		eo_buf_add(&in->block_frames, frames.p, frames.n);
		in->block_seq = in->block_first;
		in->block_at = 0;
	}
	eo_db_done(st);
	return found;
}

/* Copies the cached block's line of this number, and parses the copy. */
static bool
read_line(struct eo_inbox *ib, struct eo_in *in, uint64_t seq,
    struct eo_buf *line, struct eo_frame *f)
{
	struct eo_slice rest, s = { NULL, 0 };
	const char *cause;

	if (seq < in->block_seq) {
		in->block_seq = in->block_first;
		in->block_at = 0;
	}
	rest = (struct eo_slice){ in->block_frames.p + in->block_at,
	    in->block_frames.len - in->block_at };
	while (in->block_seq <= seq) {
		s = eo_slice_cut(&rest, '\n');
		in->block_at += s.n + 1;
		in->block_seq++;
	}
	line->len = 0;
	eo_buf_add(line, s.p, s.n);
	if (eo_frame_parse(eo_slice_buf(line), f, &cause) == EO_FRAME_GOOD &&
	    f->seq == seq)
		return true;
	eo_fail(&ib->j->err, EO_CONFUSED, "%s: message %s/%s/%llu is damaged "
	    "in the journal; run: eo-fsck %s", ib->j->path, in->source,
	    in->channel, (unsigned long long)seq, ib->j->path);
	return false;
}

static bool
try_is_due(struct eo_inbox *ib, const struct eo_in *in, uint64_t seq,
    int64_t now)
{
	return eo_db_int_or(ib->j->db, 0, "SELECT due FROM eo_try "
	    "WHERE ch = ? AND seq = ?", "ii", in->id, (int64_t)seq) <= now;
}

/* The first number >= seq that is not settled. */
static uint64_t
skip_settled(const struct eo_in *in, uint64_t seq)
{
	const struct eo_range *r = eo_ranges_find(&in->settled, seq);

	return r == NULL ? seq : r->last + 1;
}

bool
eo_in_next(struct eo_inbox *ib, struct eo_in *in, uint64_t after, int64_t now,
    struct eo_buf *line, struct eo_frame *f)
{
	uint64_t seq = skip_settled(in, after + 1);

	while (seek_block(ib, in, seq)) {
		if (seq < in->block_first)
			seq = skip_settled(in, in->block_first);
		if (in->block_lease > now)
			seq = in->block_last + 1;
		while (seq <= in->block_last && !try_is_due(ib, in, seq, now))
			seq = skip_settled(in, seq + 1);
		if (seq <= in->block_last)
			return read_line(ib, in, seq, line, f);
		seq = skip_settled(in, seq);
	}
	return false;
}

bool
eo_in_held(struct eo_inbox *ib, struct eo_in *in, uint64_t seq,
    struct eo_buf *line, struct eo_frame *f, int64_t *lease)
{
	if (eo_ranges_find(&in->settled, seq) != NULL ||
	    !seek_block(ib, in, seq) || in->block_first > seq)
		return false;
	*lease = in->block_lease;
	return read_line(ib, in, seq, line, f);
}

/*
 * Takes the cached block apart: what may run is printed and held under a
 * lease, what must wait is held without.
 */
static void
print_block(struct eo_inbox *ib, struct eo_in *in, int64_t until,
    struct eo_buf *print)
{
	struct eo_db *db = ib->j->db;
	struct eo_buf frames = in->block_frames;
	struct eo_slice rest = eo_slice_buf(&frames);
	const char *cause;
	struct eo_frame f;

	eo_db_run(db, "DELETE FROM eo_held WHERE id = ?", "i", in->block);
	eo_db_run(db, "DELETE FROM eo_held_frames WHERE id = ?", "i",
	    in->block);
	memset(&in->block_frames, 0, sizeof(in->block_frames));
	in->block = -1;
	while (rest.n > 0) {
		struct eo_slice line = eo_slice_cut(&rest, '\n');
		bool run;

		if (eo_frame_parse(line, &f, &cause) != EO_FRAME_GOOD ||
		    eo_ranges_find(&in->settled, f.seq) != NULL)
			continue;
		run = eo_in_may_run(ib, in, &f);
		eo_in_hold(ib, in, &f, run ? until : 0);
		if (run)
			eo_frame_put_as(print, EO_MSG, &f);
	}
	eo_in_flush(ib, in);
	eo_buf_free(&frames);
}

bool
eo_in_print_due(struct eo_inbox *ib, struct eo_in *in, int64_t now,
    int64_t until, struct eo_buf *print)
{
	struct eo_buf line = { 0 };
	uint64_t after = 0;
	struct eo_frame f;
	bool more = false;

	while (!more && eo_in_next(ib, in, after, now, &line, &f) &&
	    eo_in_lock(ib, in)) {
		after = in->block_last;
		more = print->len > PRINT_MAX;
		if (!more)
			print_block(ib, in, until, print);
	}
	for (after = 0; eo_in_next_dead(ib, in, after, now, &line, &f) &&
	    eo_in_lock(ib, in); after = f.seq) {
		eo_frame_put_as(print, EO_MSG, &f);
		eo_db_run(ib->j->db, "UPDATE eo_in_dead SET again = ? "
		    "WHERE ch = ? AND seq = ?", "iii", until, in->id,
		    (int64_t)f.seq);
	}
	eo_buf_free(&line);
	return more;
}

/* Is every lower number known, and settled or printed? */
static bool
lower_done(struct eo_inbox *ib, const struct eo_in *in, uint64_t seq)
{
	const struct eo_range *r = eo_ranges_find(&in->known, seq);
	struct eo_rows *st;
	bool done = true;

	if (eo_ranges_low(&in->settled) + 1 >= seq)
		return true;
	if ((r == NULL ? seq - 1 != eo_ranges_low(&in->known) :
	    r->first != 1) || (in->tail.len > 0 && in->tail_lease == 0 &&
	    in->tail_range.first < seq))
		return false;
	st = eo_db_query(ib->j->db, "SELECT first, last FROM eo_held WHERE "
	    "ch = ? AND first < ? AND lease = 0", "ii", in->id, (int64_t)seq);
	while (done && eo_db_row(st)) {
		uint64_t first = (uint64_t)eo_db_int(st, 0);
		uint64_t last = (uint64_t)eo_db_int(st, 1);

		last = last < seq ? last : seq - 1;
		done = eo_ranges_count(&in->settled, first, last) ==
		    last - first + 1;
	}
	eo_db_done(st);
	return done;
}

bool
eo_in_may_run(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f)
{
	struct eo_db *db = ib->j->db;
	const struct eo_range *r;
	struct eo_slice v;

	if (ib->ordered && !lower_done(ib, in, f->seq))
		return false;
	if (eo_attrs_get(f->attrs, "key", &v)) {
		r = eo_ranges_find(&in->known, f->seq);
		if ((r == NULL ? f->seq - 1 != eo_ranges_low(&in->known) :
		    r->first != 1) || eo_db_int_or(db, 0, "SELECT 1 FROM "
		    "eo_key WHERE ch = ? AND key = ? AND seq < ? LIMIT 1",
		    "isi", in->id, v, (int64_t)f->seq) != 0)
			return false;
	}
	return !eo_attrs_get(f->attrs, "id", &v) || eo_db_int_or(db, 0,
	    "SELECT 1 FROM eo_twin WHERE channel = ? AND id = ? AND begun = 1 "
	    "AND NOT (ch = ? AND seq = ?) LIMIT 1", "ssii", f->channel, v,
	    in->id, (int64_t)f->seq) == 0;
}

void
eo_in_note_begun(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f, bool begun)
{
	struct eo_slice id;

	if (eo_attrs_get(f->attrs, "id", &id))
		eo_db_run(ib->j->db, "INSERT OR REPLACE INTO eo_twin(channel, "
		    "id, ch, seq, begun) VALUES (?, ?, ?, ?, ?)", "ssiii",
		    f->channel, id, in->id, (int64_t)f->seq, (int64_t)begun);
}

void
eo_in_note_held(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f, bool printed)
{
	struct eo_slice key;

	eo_in_note_begun(ib, in, f, printed);
	if (!eo_attrs_get(f->attrs, "key", &key))
		return;
	if (printed)
		eo_db_run(ib->j->db, "DELETE FROM eo_key WHERE ch = ? AND "
		    "key = ? AND seq = ?", "isi", in->id, key,
		    (int64_t)f->seq);
	else
		eo_db_run(ib->j->db, "INSERT OR IGNORE INTO eo_key(ch, key, "
		    "seq) VALUES (?, ?, ?)", "isi", in->id, key,
		    (int64_t)f->seq);
}

void
eo_in_note_settled(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_frame *f)
{
	struct eo_slice id;

	eo_in_note_held(ib, in, f, true);
	if (eo_attrs_get(f->attrs, "id", &id))
		eo_db_run(ib->j->db, "DELETE FROM eo_twin WHERE channel = ? "
		    "AND id = ? AND ch = ? AND seq = ?", "ssii", f->channel,
		    id, in->id, (int64_t)f->seq);
	eo_db_run(ib->j->db, "DELETE FROM eo_try WHERE ch = ? AND seq = ?",
	    "ii", in->id, (int64_t)f->seq);
}

bool
eo_in_next_dead(struct eo_inbox *ib, struct eo_in *in, uint64_t after,
    int64_t now, struct eo_buf *line, struct eo_frame *f)
{
	struct eo_rows *st = eo_db_query(ib->j->db, "SELECT frame FROM "
	    "eo_in_dead d WHERE ch = ? AND seq > ? AND again BETWEEN 1 AND ? "
	    "AND NOT EXISTS (SELECT 1 FROM eo_try t WHERE t.ch = d.ch AND "
	    "t.seq = d.seq AND t.due > ?) ORDER BY seq LIMIT 1", "iiii",
	    in->id, (int64_t)after, now, now);
	const char *cause;
	bool found = eo_db_row(st);

	if (found) {
		struct eo_slice s = eo_db_bytes(st, 0);

		line->len = 0;
		eo_buf_add(line, s.p, s.n);
		found = eo_frame_parse(eo_slice_buf(line), f, &cause) ==
		    EO_FRAME_GOOD;
	}
	eo_db_done(st);
	return found;
}

int64_t
eo_inbox_next_due(struct eo_inbox *ib, const struct eo_channels *filter)
{
	struct eo_rows *st = eo_db_query(ib->j->db, "SELECT i.channel, "
	    "min(t.due) FROM eo_try t JOIN eo_in i ON i.id = t.ch GROUP BY "
	    "i.id UNION ALL SELECT i.channel, min(h.lease) FROM eo_held h "
	    "JOIN eo_in i ON i.id = h.ch WHERE h.lease > 0 GROUP BY i.id", "");
	int64_t next = INT64_MAX;

	while (eo_db_row(st))
		if (eo_channels_match(filter, eo_db_bytes(st, 0)) &&
		    eo_db_int(st, 1) < next)
			next = eo_db_int(st, 1);
	return next;
}

uint64_t
eo_inbox_waiting(struct eo_inbox *ib, const struct eo_channels *filter,
    int64_t lease, bool ours)
{
	uint64_t waiting = 0;
	bool any_met = false;

	eo_inbox_find_work(ib, filter);
	for (size_t i = 0; i < ib->n; i++)
		any_met |= ib->in[i]->met;
	for (size_t i = 0; i < ib->n; i++) {
		struct eo_in *in = ib->in[i];
		struct eo_rows *st;

		if (!eo_channels_match(filter, eo_slice_str(in->channel)) ||
		    (ours && any_met && !in->met && eo_lock_probe(ib->j->lock,
		    EO_LOCK_CHANNEL(in->id))))
			continue;
		st = eo_db_query(ib->j->db, "SELECT first, last FROM eo_held "
		    "WHERE ch = ? AND lease <= ?", "ii", in->id, lease);
		while (eo_db_row(st)) {
			uint64_t a = (uint64_t)eo_db_int(st, 0);
			uint64_t b = (uint64_t)eo_db_int(st, 1);

			waiting += b - a + 1 -
			    eo_ranges_count(&in->settled, a, b);
		}
	}
	return waiting;
}

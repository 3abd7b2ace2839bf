#include "inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"

#define CACHE_MAX 256	/* channels remembered; more are read again */
#define LOCKS_MAX 200	/* channels locked at a time */
#define HELD_BLOCK_MAX ((size_t)1 << 20)

void
eo_inbox_init(struct eo_inbox *ib, struct eo_journal *j)
{
	memset(ib, 0, sizeof(*ib));
	ib->j = j;
}

static void
free_in(struct eo_in *in)
{
	eo_ranges_free(&in->settled);
	eo_ranges_free(&in->saved);
	eo_ranges_free(&in->known);
	eo_buf_free(&in->tail);
	eo_buf_free(&in->block_frames);
	if (in->lock != -1)
		close(in->lock);
	free(in);
}

void
eo_inbox_free(struct eo_inbox *ib)
{
	for (size_t i = 0; i < ib->n; i++)
		free_in(ib->in[i]);
	free(ib->in);
	free(ib->slot);
	memset(ib, 0, sizeof(*ib));
}

/* Where the channel is in the table, or the empty place where it belongs. */
static struct eo_in **
slot_of(struct eo_inbox *ib, struct eo_slice source, struct eo_slice channel)
{
	size_t i = eo_crc32c(eo_crc32c(0, source.p, source.n), channel.p,
	    channel.n);

	for (;; i++) {
		struct eo_in **slot = &ib->slot[i & (ib->slots - 1)];

		if (*slot == NULL || (eo_slice_is(source, (*slot)->source) &&
		    eo_slice_is(channel, (*slot)->channel)))
			return slot;
	}
}

/* The table anew, of what is in the list, with room for one more. */
static void
make_table(struct eo_inbox *ib)
{
	ib->slots = 64;
	while (ib->slots < 2 * (ib->n + 1))
		ib->slots *= 2;
	ib->slot = eo_grow(ib->slot, ib->slots, sizeof(struct eo_in *));
	memset(ib->slot, 0, ib->slots * sizeof(struct eo_in *));
	for (size_t i = 0; i < ib->n; i++)
		*slot_of(ib, eo_slice_str(ib->in[i]->source),
		    eo_slice_str(ib->in[i]->channel)) = ib->in[i];
}

void
eo_inbox_trim(struct eo_inbox *ib)
{
	size_t kept = 0;

	if (ib->n <= CACHE_MAX)
		return;
	for (size_t i = 0; i < ib->n; i++) {
		struct eo_in *in = ib->in[i];

		/* A refusal is said once, and remembered. */
		if (in->locked || in->dirty || in->refused)
			ib->in[kept++] = in;
		else
			free_in(in);
	}
	ib->n = kept;
	make_table(ib);
}

static void
copy_text(char *to, size_t max, struct eo_slice s)
{
	size_t n = s.n < max ? s.n : max;

	memcpy(to, s.p, n);
	to[n] = '\0';
}

static struct eo_in *
new_in(struct eo_inbox *ib, struct eo_slice source, struct eo_slice channel)
{
	struct eo_in *in = eo_grow(NULL, 1, sizeof(*in));

	memset(in, 0, sizeof(*in));
	in->lock = -1;
	in->block = -1;
	copy_text(in->source, EO_SOURCE_LEN, source);
	copy_text(in->channel, EO_CHANNEL_MAX, channel);
	ib->in = eo_grow(ib->in, ib->n + 1, sizeof(*ib->in));
	ib->in[ib->n++] = in;
	if (2 * (ib->n + 1) > ib->slots)
		make_table(ib);
	else
		*slot_of(ib, source, channel) = in;
	return in;
}

/* Reads all rows of the channel with in->source and in->channel. */
static bool
load(struct eo_inbox *ib, struct eo_in *in)
{
	struct eo_db *db = ib->j->db;
	struct eo_rows *st = eo_db_query(db, "SELECT id, low, link, life, "
	    "base, before, named, acked, takeover, completed, duplicates "
	    "FROM eo_in "
	    "WHERE source = ? AND channel = ?", "zz", in->source, in->channel);
	bool found = eo_db_row(st);

	eo_ranges_clear(&in->settled);
	eo_ranges_clear(&in->saved);
	eo_ranges_clear(&in->known);
	in->tail.len = 0;
	in->block = -1;
	in->dirty = false;
	in->epoch = ib->j->epoch;
	in->id = in->life = 0;	/* without a row nothing is ready */
	if (found) {
		in->id = eo_db_int(st, 0);
		if (eo_db_int(st, 1) > 0)
			eo_ranges_add(&in->settled, 1,
			    (uint64_t)eo_db_int(st, 1), 0,
			    (uint32_t)eo_db_int(st, 2));
		in->life = eo_db_int(st, 3);
		in->base = (uint64_t)eo_db_int(st, 4);
		in->before = (uint32_t)eo_db_int(st, 5);
		copy_text(in->named, EO_SOURCE_LEN, eo_db_bytes(st, 6));
		in->acked = (uint64_t)eo_db_int(st, 7);
		in->takeover = (uint64_t)eo_db_int(st, 8);
		in->completed = eo_db_int(st, 9);
		in->duplicates = eo_db_int(st, 10);
	}
	eo_db_done(st);
	if (!found)
		return false;
	st = eo_db_query(db, "SELECT first, last, before, link FROM "
	    "eo_in_range WHERE ch = ? ORDER BY first", "i", in->id);
	while (eo_db_row(st))
		eo_ranges_add(&in->settled, (uint64_t)eo_db_int(st, 0),
		    (uint64_t)eo_db_int(st, 1), (uint32_t)eo_db_int(st, 2),
		    (uint32_t)eo_db_int(st, 3));
	eo_ranges_copy(&in->saved, &in->settled);
	eo_ranges_copy(&in->known, &in->settled);
	st = eo_db_query(db, "SELECT first, last, before, link FROM eo_held "
	    "WHERE ch = ? ORDER BY first", "i", in->id);
	while (eo_db_row(st))
		eo_ranges_add(&in->known, (uint64_t)eo_db_int(st, 0),
		    (uint64_t)eo_db_int(st, 1), (uint32_t)eo_db_int(st, 2),
		    (uint32_t)eo_db_int(st, 3));
	return true;
}

void
eo_in_refresh(struct eo_inbox *ib, struct eo_in *in)
{
	if (in->epoch != ib->j->epoch)
		(void)load(ib, in);
}

struct eo_in *
eo_inbox_channel(struct eo_inbox *ib, struct eo_slice source,
    struct eo_slice channel, bool make)
{
	struct eo_in *in = ib->slots == 0 ? NULL :
	    *slot_of(ib, source, channel);
	bool known = in != NULL;

	if (!known)
		in = new_in(ib, source, channel);
	if ((known && in->epoch == ib->j->epoch && in->id > 0) ||
	    load(ib, in))
		return in;
	/* It never was, or the transaction that made it was rolled back. */
	if (!make && known)
		return NULL;
	if (!make) {
		ib->n--;	/* it is the last one of the list */
		free_in(in);
		make_table(ib);
		return NULL;
	}
	eo_db_run(ib->j->db, "INSERT INTO eo_in(source, channel, low, link, "
	    "life, base, before, named, acked, takeover, completed, duplicates) "
	    "VALUES (?, ?, 0, 0, 0, 0, 0, '', 0, 0, 0, 0)", "zz", in->source,
	    in->channel);
	(void)load(ib, in);
	return in;
}

void
eo_inbox_find_work(struct eo_inbox *ib, const struct eo_channels *filter)
{
	struct eo_rows *st = eo_db_query(ib->j->db, "SELECT source, channel "
	    "FROM eo_in WHERE id IN (SELECT ch FROM eo_held) OR id IN (SELECT "
	    "ch FROM eo_in_dead WHERE again > 0) ORDER BY id", "");

	while (eo_db_row(st)) {
		struct eo_slice source = eo_db_bytes(st, 0);
		struct eo_slice channel = eo_db_bytes(st, 1);

		if (eo_channels_match(filter, channel))
			(void)eo_inbox_channel(ib, source, channel, false);
	}
}

bool
eo_in_lock(struct eo_inbox *ib, struct eo_in *in)
{
	if (in->locked || in->busy)
		return in->locked;
	in->busy = true;
	if (ib->locks >= LOCKS_MAX) {
		ib->limited = true;
		return false;
	}
	if (in->lock == -1)
		in->lock = eo_journal_lock_file(ib->j, true);
	if (in->lock == -1)
		return false;
	switch (eo_lock_take(in->lock, EO_LOCK_CHANNEL(in->id), 0)) {
	case EO_LOCK_HELD:
		in->locked = true;
		in->busy = false;
		ib->locks++;
		break;
	case EO_LOCK_ERROR:
		eo_fail(&ib->j->err, EO_IO, "%s: cannot lock a channel: %s",
		    ib->j->path, strerror(errno));
		break;
	default:
		break;
	}
	return in->locked;
}

void
eo_in_unlock(struct eo_inbox *ib, struct eo_in *in)
{
	if (in->locked) {
		eo_lock_drop(in->lock, EO_LOCK_CHANNEL(in->id));
		ib->locks--;
	}
	if (in->lock != -1)
		close(in->lock);
	in->lock = -1;
	in->locked = in->busy = false;
}

bool
eo_in_ready(const struct eo_inbox *ib, const struct eo_in *in)
{
	return !in->refused && in->life == eo_journal_current(ib->j)->id;
}

/* The tail of messages to be held becomes a block. */
void
eo_in_flush(struct eo_inbox *ib, struct eo_in *in)
{
	struct eo_db *db = ib->j->db;
	const struct eo_range *r = &in->tail_range;

	if (in->tail.len == 0)
		return;
	eo_db_run(db, "INSERT INTO eo_held(ch, first, last, before, link, "
	    "lease, since) VALUES (?, ?, ?, ?, ?, ?, ?)", "iiiiiii", in->id,
	    (int64_t)r->first, (int64_t)r->last, (int64_t)r->before,
	    (int64_t)r->link, in->tail_lease, eo_env_now(ib->j->env));
	eo_db_run(db, "INSERT INTO eo_held_frames(id, frames) VALUES (?, ?)",
	    "ib", eo_db_last_id(db), eo_slice_buf(&in->tail));
	in->tail.len = 0;
}

void
eo_in_hold(struct eo_inbox *ib, struct eo_in *in, const struct eo_frame *f,
    int64_t lease)
{
	struct eo_range *r = &in->tail_range;

	if (in->tail.len > 0 && (r->last + 1 != f->seq ||
	    in->tail_lease != lease || in->tail.len >= HELD_BLOCK_MAX))
		eo_in_flush(ib, in);
	if (in->tail.len == 0) {
		r->first = f->seq;
		r->before = f->before;
	}
	r->last = f->seq;
	r->link = f->link;
	in->tail_lease = lease;
	eo_in_note_held(ib, in, f, lease > 0);
	eo_buf_add(&in->tail, f->line.p, f->line.n);
	eo_buf_addc(&in->tail, '\n');
	eo_ranges_add(&in->known, f->seq, f->seq, f->before, f->link);
	in->dirty = true;
}

/* The rows of eo_in_range become what is settled above the low-water mark. */
static void
save_ranges(struct eo_inbox *ib, struct eo_in *in)
{
	struct eo_ranges_change c = { 0 };

	while (eo_ranges_change(&in->saved, &in->settled, &c))
		if (c.drop)
			eo_db_run(ib->j->db, "DELETE FROM eo_in_range WHERE "
			    "ch = ? AND first = ?", "ii", in->id,
			    (int64_t)c.range->first);
		else
			eo_db_run(ib->j->db, "INSERT OR REPLACE INTO "
			    "eo_in_range(ch, first, last, before, link) "
			    "VALUES (?, ?, ?, ?, ?)", "iiiii", in->id,
			    (int64_t)c.range->first, (int64_t)c.range->last,
			    (int64_t)c.range->before, (int64_t)c.range->link);
	eo_ranges_copy(&in->saved, &in->settled);
}

/* Held blocks whose numbers are all settled are gone. */
static void
drop_blocks(struct eo_inbox *ib, struct eo_in *in)
{
	struct eo_db *db = ib->j->db;

	for (size_t i = 0; i < in->settled.n; i++) {
		const struct eo_range *r = &in->settled.v[i];

		if (!r->touched)
			continue;
		eo_db_run(db, "DELETE FROM eo_held_frames WHERE id IN (SELECT "
		    "id FROM eo_held WHERE ch = ? AND first BETWEEN ? AND ? "
		    "AND last <= ?)", "iiii", in->id, (int64_t)r->first,
		    (int64_t)r->last, (int64_t)r->last);
		eo_db_run(db, "DELETE FROM eo_held WHERE ch = ? AND "
		    "first BETWEEN ? AND ? AND last <= ?", "iiii", in->id,
		    (int64_t)r->first, (int64_t)r->last, (int64_t)r->last);
	}
}

static void
save(struct eo_inbox *ib, struct eo_in *in)
{
	uint64_t low = eo_ranges_low(&in->settled);
	bool any_held = eo_ranges_count(&in->known, 1, EO_SEQ_MAX) >
	    eo_ranges_count(&in->saved, 1, EO_SEQ_MAX);

	eo_in_flush(ib, in);
	if (any_held)
		drop_blocks(ib, in);
	save_ranges(ib, in);
	eo_db_run(ib->j->db, "UPDATE eo_in SET low = ?, link = ?, life = ?, "
	    "base = ?, before = ?, named = ?, acked = ?, takeover = ?, "
	    "completed = ?, duplicates = ? WHERE id = ?", "iiiiiziiiii", (int64_t)low,
	    (int64_t)(low > 0 ? in->settled.v[0].link : 0), in->life,
	    (int64_t)in->base, (int64_t)in->before, in->named,
	    (int64_t)in->acked, (int64_t)in->takeover, in->completed, in->duplicates, in->id);
	in->dirty = false;
}

void
eo_inbox_save(struct eo_inbox *ib)
{
	for (size_t i = 0; i < ib->n; i++)
		if (ib->in[i]->dirty)
			save(ib, ib->in[i]);
}

bool
eo_in_gap(const struct eo_in *in, uint64_t after, uint64_t *first,
    uint64_t *last)
{
	const struct eo_ranges *k = &in->known;
	size_t i = eo_ranges_at(k, after + 1);

	if (i < k->n && k->v[i].first <= after + 1)
		after = k->v[i++].last;
	if (i >= k->n)
		return false;
	*first = after + 1;
	*last = k->v[i].first - 1;
	return true;
}

#include "resend.h"

#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "ranges.h"

enum eo_status
eo_resend_channels(struct eo_journal *j, const struct eo_channels *filter,
    bool all, struct eo_out **list, size_t *n)
{
	int64_t now = eo_env_now(j->env);
	struct eo_rows *st;
	size_t kept = 0;

	*list = NULL;
	*n = 0;
	if (eo_journal_read(j) != EO_OK)
		return j->err.status;
	st = eo_db_query(j->db, EO_OUT_COLUMNS
	    "WHERE forked = 0 ORDER BY source, channel", "");
	while (eo_db_row(st)) {
		if (!eo_channels_match(filter, eo_db_bytes(st, 2)))
			continue;
		*list = eo_grow(*list, *n + 1, sizeof(**list));
		eo_out_read(j, st, &(*list)[(*n)++]);
	}
	for (size_t i = 0; i < *n; i++)
		if (all || eo_db_int_or(j->db, INT64_MAX, "SELECT min(due) "
		    "FROM eo_block WHERE out = ?", "i", (*list)[i].id) <= now)
			(*list)[kept++] = (*list)[i];
	*n = kept;
	eo_journal_read_end(j);
	return j->err.status;
}

void
eo_resend_base(const struct eo_out *out, struct eo_buf *to)
{
	eo_frame_put_base(to, out->source, out->channel, out->base,
	    out->before, out->receiver, out->acked);
}

/* The settled numbers above base. */
static void
load_settled(struct eo_journal *j, const struct eo_out *out,
    struct eo_ranges *r)
{
	struct eo_rows *st = eo_db_query(j->db, "SELECT first, last FROM "
	    "eo_out_range WHERE out = ? ORDER BY first", "i", out->id);

	if (out->base > 1)
		eo_ranges_add(r, 1, out->base - 1, 0, 0);
	while (eo_db_row(st))
		eo_ranges_add(r, (uint64_t)eo_db_int(st, 0),
		    (uint64_t)eo_db_int(st, 1), 0, 0);
}

static bool
withdrawing(struct eo_journal *j, int64_t out, uint64_t first, uint64_t last)
{
	return eo_db_int_or(j->db, 0, "SELECT 1 FROM eo_withdraw "
	    "WHERE out = ? AND seq BETWEEN ? AND ? LIMIT 1", "iii", out,
	    (int64_t)first, (int64_t)last) != 0;
}

/* Line by line, without what is settled, aborts for what is withdrawn. */
static void
add_some(struct eo_journal *j, const struct eo_out *out,
    const struct eo_ranges *settled, struct eo_slice frames,
    struct eo_resend_batch *batch)
{
	const char *cause;

	while (frames.n > 0) {
		struct eo_slice line = eo_slice_cut(&frames, '\n');
		struct eo_frame f;

		if (eo_frame_parse(line, &f, &cause) != EO_FRAME_GOOD) {
			eo_fail(&j->err, EO_CONFUSED, "%s: a frame of channel "
			    "%s is damaged: %s; run: eo-fsck %s", j->path,
			    out->channel, cause == NULL ? "foreign" : cause,
			    j->path);
			return;
		}
		if (eo_ranges_find(settled, f.seq) != NULL)
			continue;
		if (withdrawing(j, out->id, f.seq, f.seq))
			eo_frame_put_abort(&batch->frames, &f);
		else {
			eo_buf_add(&batch->frames, line.p, line.n);
			eo_buf_addc(&batch->frames, '\n');
		}
		batch->messages++;
	}
}

static void
add_block(struct eo_journal *j, const struct eo_out *out,
    const struct eo_ranges *settled, uint64_t first, uint64_t last,
    struct eo_slice frames, struct eo_resend_batch *batch)
{
	if (eo_ranges_count(settled, first, last) == 0 &&
	    !withdrawing(j, out->id, first, last)) {
		eo_buf_add(&batch->frames, frames.p, frames.n);
		batch->messages += last - first + 1;
	} else
		add_some(j, out, settled, frames, batch);
}

enum eo_status
eo_resend_fetch(struct eo_journal *j, struct eo_out *out, bool all,
    struct eo_resend_cursor *cursor, struct eo_resend_batch *batch)
{
	struct eo_ranges settled = { 0 };
	struct eo_rows *st;
	struct eo_out now;

	batch->frames.len = 0;
	batch->nblock = 0;
	batch->messages = 0;
	if (!cursor->begun)
		cursor->due = -1;
	cursor->begun = true;
	if (eo_journal_read(j) != EO_OK)
		return j->err.status;
	if (!eo_out_find(j, out->life, eo_slice_str(out->channel), &now) ||
	    now.forked)
		goto out;
	*out = now;
	load_settled(j, out, &settled);
	if (all)
		st = eo_db_query(j->db, "SELECT b.id, b.first, b.last, b.due, "
		    "f.frames FROM eo_block b JOIN eo_frames f ON f.id = b.id "
		    "WHERE b.out = ? AND b.first > ? ORDER BY b.first", "ii",
		    out->id, (int64_t)cursor->first);
	else
		st = eo_db_query(j->db, "SELECT b.id, b.first, b.last, b.due, "
		    "f.frames FROM eo_block b JOIN eo_frames f ON f.id = b.id "
		    "WHERE b.out = ? AND b.due <= ? "
		    "AND (b.due, b.first) > (?, ?) ORDER BY b.due, b.first",
		    "iiii", out->id, eo_env_now(j->env), cursor->due,
		    (int64_t)cursor->first);
	while (batch->frames.len < EO_BATCH && batch->nblock < 4096 &&
	    eo_db_row(st)) {
		batch->block = eo_grow(batch->block, batch->nblock + 1,
		    sizeof(*batch->block));
		batch->block[batch->nblock++] = eo_db_int(st, 0);
		cursor->first = (uint64_t)eo_db_int(st, 1);
		cursor->due = eo_db_int(st, 3);
		add_block(j, out, &settled, cursor->first,
		    (uint64_t)eo_db_int(st, 2), eo_db_bytes(st, 4), batch);
	}
	eo_db_done(st);
out:
	eo_ranges_free(&settled);
	eo_journal_read_end(j);
	return j->err.status;
}

enum eo_status
eo_resend_mark(struct eo_journal *j, const struct eo_resend_batch *batch)
{
	int64_t now = eo_env_now(j->env);

	if (eo_journal_begin(j) != EO_OK)
		return j->err.status;
	for (size_t i = 0; i < batch->nblock; i++) {
		int64_t tries = eo_db_int_or(j->db, 0, "SELECT tries FROM "
		    "eo_block WHERE id = ?", "i", batch->block[i]);

		eo_db_run(j->db, "UPDATE eo_block SET tries = ?, due = ? "
		    "WHERE id = ?", "iii", tries + 1,
		    now + eo_backoff(j->env, EO_RESEND_MS, tries + 1),
		    batch->block[i]);
	}
	return eo_journal_end(j, EO_OK);
}

void
eo_resend_free(struct eo_resend_batch *batch)
{
	eo_buf_free(&batch->frames);
	free(batch->block);
}

enum eo_status
eo_resend_pending(struct eo_journal *j, const struct eo_channels *filter,
    uint64_t *unsettled, int64_t *next)
{
	struct eo_rows *st;

	*unsettled = 0;
	*next = INT64_MAX;
	if (eo_journal_read(j) != EO_OK)
		return j->err.status;
	st = eo_db_query(j->db, "SELECT channel, last - base + 1 - (SELECT "
	    "coalesce(sum(r.last - r.first + 1), 0) FROM eo_out_range r WHERE "
	    "r.out = eo_out.id), (SELECT min(due) FROM eo_block b WHERE "
	    "b.out = eo_out.id) FROM eo_out WHERE forked = 0 AND last >= base",
	    "");
	while (eo_db_row(st)) {
		if (!eo_channels_match(filter, eo_db_bytes(st, 0)))
			continue;
		*unsettled += (uint64_t)eo_db_int(st, 1);
		if (eo_db_int(st, 2) < *next)
			*next = eo_db_int(st, 2);
	}
	eo_journal_read_end(j);
	return j->err.status;
}

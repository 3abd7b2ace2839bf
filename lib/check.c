#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outbox.h"
#include "ranges.h"

__attribute__((format(printf, 2, 3))) static void
bad(struct eo_findings *found, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (found->unsound++ < 100)
		found->say(found->ctx, text);
}

static void
bad_page(void *ctx, const char *what)
{
	bad(ctx, "SQLite: %s", what);
}

/* What a block's row says of it. */
struct block {
	const char *where;
	uint64_t first, last;
	uint32_t before, link;	/* of its first and of its last message */
};

/* (2) The lines of a block parse, and their numbers and links follow. */
static void
check_block(struct eo_findings *found, struct block *b, const char *source,
    const char *channel, struct eo_slice frames)
{
	uint64_t seq = b->first;
	const char *cause;
	struct eo_frame f;

	while (frames.n > 0) {
		struct eo_slice line = eo_slice_cut(&frames, '\n');

		if (eo_frame_parse(line, &f, &cause) != EO_FRAME_GOOD ||
		    !eo_frame_has_message(&f)) {
			bad(found, "%s %s/%llu: the frame is damaged: %s",
			    b->where, channel, (unsigned long long)seq,
			    cause == NULL ? "it is no message" : cause);
			return;
		}
		if (f.seq != seq || !eo_slice_is(f.source, source) ||
		    !eo_slice_is(f.channel, channel))
			bad(found, "%s %s/%llu: another message stands there",
			    b->where, channel, (unsigned long long)seq);
		if (seq == b->first)
			b->before = f.before;
		else if (f.before != b->link)
			bad(found, "%s %s/%llu: its link does not follow",
			    b->where, channel, (unsigned long long)seq);
		b->link = f.link;
		seq++;
	}
	if (seq != b->last + 1)
		bad(found, "%s %s/%llu: the block should go on to %llu",
		    b->where, channel, (unsigned long long)seq,
		    (unsigned long long)b->last);
}

static void
load_ranges(struct eo_journal *j, const char *sql, int64_t id,
    const char *channel, struct eo_ranges *r, struct eo_findings *found)
{
	struct eo_rows *st = eo_db_query(j->db, sql, "i", id);

	while (eo_db_row(st)) {
		uint64_t first = (uint64_t)eo_db_int(st, 0);
		uint64_t last = (uint64_t)eo_db_int(st, 1);

		if (first < 1 || last < first || last > EO_SEQ_MAX ||
		    (r->n > 0 && r->v[r->n - 1].last + 1 >= first)) {
			bad(found, "channel %s: range %llu-%llu is out of "
			    "order", channel, (unsigned long long)first,
			    (unsigned long long)last);		/* (6) */
			continue;
		}
		eo_ranges_add(r, first, last, (uint32_t)eo_db_int(st, 2),
		    (uint32_t)eo_db_int(st, 3));
	}
}

#define OUT_RANGES "SELECT first, last, 0, link FROM eo_out_range " \
    "WHERE out = ? ORDER BY first"
#define IN_RANGES "SELECT first, last, before, link FROM eo_in_range " \
    "WHERE ch = ? ORDER BY first"

/* (1) (2) (3) One channel of the outbox. */
static void
check_out(struct eo_journal *j, const struct eo_out *out,
    struct eo_findings *found)
{
	struct eo_ranges settled = { 0 }, all = { 0 };
	struct eo_rows *st;
	uint64_t end = 0;
	uint32_t link = out->before;

	if (out->base > 1)
		eo_ranges_add(&settled, 1, out->base - 1, 0, out->before);
	load_ranges(j, OUT_RANGES, out->id, out->channel, &settled, found);
	if (eo_ranges_low(&settled) != out->base - 1 ||
	    out->base > out->last + 1 || out->acked > out->last ||
	    out->verified > out->last || (settled.n > 0 &&
	    settled.v[settled.n - 1].last > out->last))
		bad(found, "channel %s: base, last and what is settled "
		    "contradict each other", out->channel);
	/* What a fork leaves unsettled is dead letters, counted as such. */
	if (!out->forked)
		found->pending += out->last -
		    eo_ranges_count(&settled, 1, out->last);
	eo_ranges_copy(&all, &settled);
	st = eo_db_query(j->db, "SELECT b.first, b.last, f.frames FROM "
	    "eo_block b LEFT JOIN eo_frames f ON f.id = b.id WHERE b.out = ? "
	    "ORDER BY b.first", "i", out->id);
	while (eo_db_row(st)) {
		struct block b = { "outbox", (uint64_t)eo_db_int(st, 0),
		    (uint64_t)eo_db_int(st, 1), 0, 0 };

		if (b.first <= end || b.last > out->last)
			bad(found, "channel %s: blocks overlap at %llu",
			    out->channel, (unsigned long long)b.first);
		check_block(found, &b, out->source, out->channel,
		    eo_db_bytes(st, 2));
		if (((end > 0 && b.first == end + 1) || b.first == out->base)
		    && b.before != link)
			bad(found, "outbox %s/%llu: its link does not follow",
			    out->channel, (unsigned long long)b.first);
		end = b.last;
		link = b.link;
		eo_ranges_add(&all, b.first, b.last, 0, 0);
	}
	if (!out->forked && eo_ranges_count(&all, 1, out->last) != out->last)
		bad(found, "channel %s: %llu numbers are neither pending nor "
		    "settled", out->channel, (unsigned long long)(out->last -
		    eo_ranges_count(&all, 1, out->last)));
	if ((end == out->last || out->base == out->last + 1) && !out->forked &&
	    out->last > 0 && link != out->link)
		bad(found, "channel %s: the last link is not that of the last "
		    "message", out->channel);
	eo_ranges_free(&settled);
	eo_ranges_free(&all);
}

static void
check_outbox(struct eo_journal *j, struct eo_findings *found)
{
	struct eo_rows *st = eo_db_query(j->db, EO_OUT_COLUMNS
	    "ORDER BY source, channel", "");
	struct eo_out *out = NULL;
	size_t n = 0;

	while (eo_db_row(st)) {
		out = eo_grow(out, n + 1, sizeof(*out));
		eo_out_read(j, st, &out[n++]);
	}
	for (size_t i = 0; i < n; i++)
		check_out(j, &out[i], found);
	free(out);
	found->dead += (uint64_t)eo_db_int_or(j->db, 0,
	    "SELECT count(*) FROM eo_out_dead", "");
}

/* (6) (7) One channel of the inbox. */
static void
check_in(struct eo_journal *j, int64_t id, const char *source,
    const char *channel, uint64_t low, uint32_t link,
    struct eo_findings *found)
{
	struct eo_ranges settled = { 0 };
	struct eo_rows *st;
	uint64_t end = 0;

	if (low > 0)
		eo_ranges_add(&settled, 1, low, 0, link);
	load_ranges(j, IN_RANGES, id, channel, &settled, found);
	if (eo_ranges_low(&settled) != low)
		bad(found, "channel %s: a range touches the low-water mark",
		    channel);
	st = eo_db_query(j->db, "SELECT h.first, h.last, h.before, h.link, "
	    "f.frames FROM eo_held h LEFT JOIN eo_held_frames f ON "
	    "f.id = h.id WHERE h.ch = ? ORDER BY h.first", "i", id);
	while (eo_db_row(st)) {
		struct block b = { "inbox", (uint64_t)eo_db_int(st, 0),
		    (uint64_t)eo_db_int(st, 1), 0, 0 };
		uint64_t left = b.last - b.first + 1 -
		    eo_ranges_count(&settled, b.first, b.last);

		if (b.first <= end)
			bad(found, "channel %s: held blocks overlap at %llu",
			    channel, (unsigned long long)b.first);
		check_block(found, &b, source, channel, eo_db_bytes(st, 4));
		if (b.before != (uint32_t)eo_db_int(st, 2) ||
		    b.link != (uint32_t)eo_db_int(st, 3))
			bad(found, "inbox %s/%llu: the links noted are not "
			    "those of the block", channel,
			    (unsigned long long)b.first);
		if (left == 0)
			bad(found, "inbox %s/%llu: held, and settled", channel,
			    (unsigned long long)b.first);
		found->pending += left;
		end = b.last;
	}
	st = eo_db_query(j->db, "SELECT seq FROM eo_in_except WHERE ch = ?1 "
	    "UNION SELECT seq FROM eo_in_dead WHERE ch = ?1", "i", id);
	while (eo_db_row(st))
		if (eo_ranges_find(&settled, (uint64_t)eo_db_int(st, 0)) ==
		    NULL)
			bad(found, "inbox %s/%lld: dead or aborted, and not "
			    "settled", channel, (long long)eo_db_int(st, 0));
	eo_ranges_free(&settled);
}

struct in_row {
	int64_t id;
	char source[EO_SOURCE_LEN + 1], channel[EO_CHANNEL_MAX + 1];
	uint64_t low;
	uint32_t link;
};

/* All rows of eo_in; to be freed. */
static struct in_row *
list_in(struct eo_journal *j, size_t *n)
{
	struct eo_rows *st = eo_db_query(j->db, "SELECT id, source, channel, "
	    "low, link FROM eo_in ORDER BY id", "");
	struct in_row *in = NULL;

	*n = 0;
	while (eo_db_row(st)) {
		struct eo_slice source = eo_db_bytes(st, 1);
		struct eo_slice channel = eo_db_bytes(st, 2);
		struct in_row *r;

		in = eo_grow(in, *n + 1, sizeof(*in));
		r = &in[(*n)++];
		memset(r, 0, sizeof(*r));
		r->id = eo_db_int(st, 0);
		memcpy(r->source, source.p, source.n < EO_SOURCE_LEN ?
		    source.n : EO_SOURCE_LEN);
		memcpy(r->channel, channel.p, channel.n < EO_CHANNEL_MAX ?
		    channel.n : EO_CHANNEL_MAX);
		r->low = (uint64_t)eo_db_int(st, 3);
		r->link = (uint32_t)eo_db_int(st, 4);
	}
	return in;
}

static void
check_inbox(struct eo_journal *j, struct eo_findings *found)
{
	size_t n;
	struct in_row *in = list_in(j, &n);

	for (size_t i = 0; i < n; i++)
		check_in(j, in[i].id, in[i].source, in[i].channel, in[i].low,
		    in[i].link, found);
	free(in);
	found->dead += (uint64_t)eo_db_int_or(j->db, 0,
	    "SELECT count(*) FROM eo_in_dead", "");
}

/* Rows that point to nothing, and (10) the files of --append. */
static void
check_loose_ends(struct eo_journal *j, struct eo_findings *found)
{
	static const struct { const char *sql, *what; } none[] = {
		{ "SELECT count(*) FROM eo_frames WHERE id NOT IN "
		    "(SELECT id FROM eo_block)", "frames without a block" },
		{ "SELECT count(*) FROM eo_held_frames WHERE id NOT IN "
		    "(SELECT id FROM eo_held)", "held frames without a block" },
		{ "SELECT count(*) FROM eo_out_id i LEFT JOIN eo_out o ON "
		    "o.id = i.out WHERE i.seq > coalesce(o.last, 0)",
		    "ids of messages that were never sent" },	/* (4) */
		{ "SELECT count(*) FROM eo_withdraw w LEFT JOIN eo_out o ON "
		    "o.id = w.out WHERE w.seq < coalesce(o.base, w.seq + 1)",
		    "withdrawn numbers that are settled" },
		{ "SELECT count(*) FROM eo_out_dead d LEFT JOIN eo_out o ON "
		    "o.id = d.out WHERE d.seq > coalesce(o.last, 0)",
		    "dead letters of messages that were never sent" },
	};
	struct eo_rows *st;
	struct stat sb;

	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		int64_t n = eo_db_int_or(j->db, 0, none[i].sql, "");

		if (n > 0)
			bad(found, "there are %lld %s", (long long)n,
			    none[i].what);
	}
	st = eo_db_query(j->db, "SELECT path, file, length FROM eo_file", "");
	while (eo_db_row(st)) {
		struct eo_slice path = eo_db_bytes(st, 0);
		struct eo_buf name = { 0 };
		char *is;

		eo_buf_add(&name, path.p, path.n);
		eo_buf_addc(&name, '\0');
		is = eo_file_identity(name.p, false);
		if (is != NULL && eo_slice_is(eo_db_bytes(st, 1), is) &&
		    stat(name.p, &sb) == 0 && sb.st_size < eo_db_int(st, 2))
			bad(found, "%s: is %lld bytes long, and %lld were "
			    "written", name.p, (long long)sb.st_size,
			    (long long)eo_db_int(st, 2));
		free(is);
		eo_buf_free(&name);
	}
}

enum eo_status
eo_check_journal(struct eo_journal *j, struct eo_findings *found)
{
	if (eo_journal_read(j) != EO_OK)
		return j->err.status;
	if (eo_db_check(j->db, bad_page, found) == EO_OK) {
		check_outbox(j, found);
		check_inbox(j, found);
		check_loose_ends(j, found);
	}
	eo_journal_read_end(j);
	return j->err.status;
}

/* (11) (12) One channel, of which both journals know. */
static void
reconcile(struct eo_journal *a, struct eo_journal *b, const struct eo_out *out,
    const struct in_row *in, struct eo_findings *found)
{
	struct eo_ranges sent = { 0 }, got = { 0 };
	struct eo_rows *st;
	char text[400];
	uint64_t settled, both = 0, lost, twice = 0;

	if (out->base > 1)
		eo_ranges_add(&sent, 1, out->base - 1, 0, out->before);
	load_ranges(a, OUT_RANGES, out->id, out->channel, &sent, found);
	if (in->low > 0)
		eo_ranges_add(&got, 1, in->low, 0, in->link);
	load_ranges(b, IN_RANGES, in->id, in->channel, &got, found);
	for (size_t i = 0; i < sent.n; i++)
		both += eo_ranges_count(&got, sent.v[i].first, sent.v[i].last);
	settled = eo_ranges_count(&sent, 1, EO_SEQ_MAX);
	lost = settled - both;
	if (got.n > 0 && got.v[got.n - 1].last > out->last)
		bad(found, "channel %s: the receiver has settled up to %llu, "
		    "and the sender has given %llu numbers: it was rolled "
		    "back (eo-replay -a, and eo-ack, will find out)",
		    out->channel, (unsigned long long)got.v[got.n - 1].last,
		    (unsigned long long)out->last);
	if (out->base > 1 && in->low == out->base - 1 &&
	    in->link != out->before)
		bad(found, "channel %s: the links at %llu differ: the two "
		    "have different histories", out->channel,
		    (unsigned long long)in->low);
	/* Withdrawn, and a dead letter of the sender: not done there too. */
	st = eo_db_query(a->db, "SELECT seq FROM eo_out_dead WHERE out = ? "
	    "AND unsure = 0", "i", out->id);
	while (eo_db_row(st)) {
		uint64_t seq = (uint64_t)eo_db_int(st, 0);

		if (eo_ranges_find(&got, seq) != NULL && eo_db_int_or(b->db, 0,
		    "SELECT 1 FROM eo_in_except WHERE ch = ? AND seq = ?",
		    "ii", in->id, (int64_t)seq) == 0 &&
		    seq >= (uint64_t)eo_db_int_or(b->db, 0, "SELECT base FROM "
		    "eo_in WHERE id = ?", "i", in->id))
			twice++;
	}
	found->channels++;
	found->lost += lost;
	found->twice += twice;
	snprintf(text, sizeof(text), "%.8s/%s: sent %llu, settled %llu, "
	    "%s %llu; lost %llu, twice %llu", out->source, out->channel,
	    (unsigned long long)out->last, (unsigned long long)settled,
	    out->forked ? "dead by a fork" : "pending",
	    (unsigned long long)(out->last - settled),
	    (unsigned long long)lost, (unsigned long long)twice);
	found->say(found->ctx, text);
	eo_ranges_free(&sent);
	eo_ranges_free(&got);
}

enum eo_status
eo_check_pair(struct eo_journal *a, struct eo_journal *b,
    struct eo_findings *found)
{
	struct in_row *in;
	struct eo_rows *st;
	struct eo_out out, *outs = NULL;
	size_t nin, nout = 0;

	if (eo_journal_read(a) != EO_OK || eo_journal_read(b) != EO_OK)
		return eo_status_worst(a->err.status, b->err.status);
	in = list_in(b, &nin);
	st = eo_db_query(a->db, EO_OUT_COLUMNS "ORDER BY source, channel", "");
	while (eo_db_row(st)) {
		eo_out_read(a, st, &out);
		outs = eo_grow(outs, nout + 1, sizeof(*outs));
		outs[nout++] = out;
	}
	for (size_t i = 0; i < nout; i++)
		for (size_t k = 0; k < nin; k++)
			if (strcmp(outs[i].source, in[k].source) == 0 &&
			    strcmp(outs[i].channel, in[k].channel) == 0)
				reconcile(a, b, &outs[i], &in[k], found);
	free(outs);
	free(in);
	eo_journal_read_end(a);
	eo_journal_read_end(b);
	return eo_status_worst(a->err.status, b->err.status);
}

static bool
gone(const char *path)
{
	return unlink(path) == 0 || errno == ENOENT;
}

enum eo_status
eo_check_repair(struct eo_journal *j)
{
	char *made = eo_journal_beside(j, "repair");
	char *whole = eo_journal_beside(j, "repaired");
	char *log = eo_journal_beside(j, "wal");
	char *shm = eo_journal_beside(j, "shm");
	char *marker = eo_journal_beside(j, "ioerror");
	struct stat st;

	if (eo_lock_take(j->lock, EO_LOCK_WRITER, 60000) != EO_LOCK_HELD) {
		eo_fail(&j->err, EO_AGAIN, "%s: another program is at work",
		    j->path);
		goto out;
	}
	if (access(whole, F_OK) == -1) {
		if (!gone(made) || eo_db_copy(j->db, made) != EO_OK ||
		    stat(j->path, &st) == -1 || chmod(made, st.st_mode &
		    0777) == -1 || rename(made, whole) == -1 ||
		    eo_sync_folder(whole) != 0)
			goto failed;
	}
	/* From here on the copy is the journal.  The old log must not be
	   found beside it. */
	eo_db_close(j->db);
	j->db = NULL;
	if (gone(log) && gone(shm) && eo_sync_folder(whole) == 0 &&
	    rename(whole, j->path) == 0 && eo_sync_folder(whole) == 0 &&
	    gone(marker) && eo_sync_folder(whole) == 0)
		goto out;
failed:
	eo_fail(&j->err, EO_IO, "%s: cannot write it anew: %s", j->path,
	    strerror(errno));
out:
	eo_lock_drop(j->lock, EO_LOCK_WRITER);
	free(made);
	free(whole);
	free(log);
	free(shm);
	free(marker);
	return j->err.status;
}

#include "outbox.h"

#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

#define BASE_STEP 100000	/* a base that rose by this is printed again */
#define SUBMIT_MAX (4 << 20)	/* bytes of submissions a transaction takes */

void
eo_out_read(struct eo_journal *j, struct eo_rows *st, struct eo_out *out)
{
	const struct eo_source *life;
	struct eo_slice s;

	memset(out, 0, sizeof(*out));
	out->id = eo_db_int(st, 0);
	out->life = eo_db_int(st, 1);
	life = eo_journal_life(j, out->life);
	if (life != NULL)
		memcpy(out->source, life->hex, sizeof(out->source));
	s = eo_db_bytes(st, 2);
	memcpy(out->channel, s.p, s.n < EO_CHANNEL_MAX ? s.n : EO_CHANNEL_MAX);
	s = eo_db_bytes(st, 3);
	memcpy(out->receiver, s.p, s.n < EO_SOURCE_LEN ? s.n : EO_SOURCE_LEN);
	out->last = (uint64_t)eo_db_int(st, 4);
	out->link = (uint32_t)eo_db_int(st, 5);
	out->base = (uint64_t)eo_db_int(st, 6);
	out->before = (uint32_t)eo_db_int(st, 7);
	out->acked = (uint64_t)eo_db_int(st, 8);
	out->verified = (uint64_t)eo_db_int(st, 9);
	out->forked = eo_db_int(st, 10) != 0;
}

bool
eo_out_find(struct eo_journal *j, int64_t life, struct eo_slice channel,
    struct eo_out *out)
{
	struct eo_rows *st = eo_db_query(j->db, EO_OUT_COLUMNS
	    "WHERE source = ? AND channel = ?", "is", life, channel);
	bool found = eo_db_row(st);

	if (found)
		eo_out_read(j, st, out);
	eo_db_done(st);
	return found;
}

void
eo_outbox_init(struct eo_outbox *ob, struct eo_journal *j)
{
	memset(ob, 0, sizeof(*ob));
	ob->j = j;
}

void
eo_outbox_free(struct eo_outbox *ob)
{
	for (size_t i = 0; i < ob->nch; i++) {
		eo_buf_free(&ob->ch[i]->frames);
		free(ob->ch[i]);
	}
	free(ob->ch);
	free(ob->block);
	eo_buf_free(&ob->attrs);
	eo_buf_free(&ob->time);
}

static struct eo_slice
put_raw(struct eo_buf *room, struct eo_slice escaped)
{
	size_t start = room->len;

	eo_unescape(room, escaped);
	return (struct eo_slice){ room->p + start, room->len - start };
}

void
eo_message_of(const struct eo_frame *f, struct eo_message *m,
    struct eo_buf *room, struct eo_buf *attrs)
{
	struct eo_slice rest = f->attrs, name, value;

	room->len = attrs->len = 0;
	/* Raw is no longer than escaped: what lies in *room stays there. */
	eo_buf_room(room, f->attrs.n + f->body.n);
	while (eo_attrs_next(&rest, &name, &value)) {
		if (eo_slice_is(name, "id"))
			m->id = put_raw(room, value);
		else if (eo_slice_is(name, "key"))
			m->key = put_raw(room, value);
		else if (!eo_slice_is(name, "time") &&
		    !eo_slice_is(name, "was") &&
		    !eo_slice_is(name, "expires")) {
			if (attrs->len > 0)
				eo_buf_addc(attrs, ' ');
			eo_buf_add(attrs, name.p, name.n);
			eo_buf_addc(attrs, '=');
			eo_buf_add(attrs, value.p, value.n);
		}
	}
	m->body = put_raw(room, f->body);
	m->attrs = eo_slice_buf(attrs);
}

/* A channel that is new in this life begins at 1, with the receiver it had. */
static void
make_out(struct eo_outbox *ob, const char *channel, struct eo_out *out)
{
	struct eo_journal *j = ob->j;
	const struct eo_source *life = eo_journal_current(j);
	struct eo_rows *st = eo_db_query(j->db, "SELECT receiver FROM eo_out "
	    "WHERE channel = ? ORDER BY source DESC LIMIT 1", "z", channel);

	memset(out, 0, sizeof(*out));
	if (eo_db_row(st)) {
		struct eo_slice r = eo_db_bytes(st, 0);

		memcpy(out->receiver, r.p, r.n < EO_SOURCE_LEN ? r.n :
		    EO_SOURCE_LEN);
	}
	eo_db_done(st);
	out->life = life->id;
	memcpy(out->source, life->hex, sizeof(out->source));
	strncpy(out->channel, channel, EO_CHANNEL_MAX);
	out->base = 1;
	eo_db_run(j->db, "INSERT INTO eo_out(source, channel, receiver, last, "
	    "link, base, before, acked, verified, forked) "
	    "VALUES (?, ?, ?, 0, 0, 1, 0, 0, 0, 0)", "izz", out->life,
	    out->channel, out->receiver);
	out->id = eo_db_last_id(j->db);
}

static struct eo_outbox_channel *
channel_of(struct eo_outbox *ob, const char *name)
{
	struct eo_outbox_channel *ch = NULL;
	int64_t life = eo_journal_current(ob->j)->id;

	for (size_t i = 0; i < ob->nch && ch == NULL; i++)
		if (strcmp(ob->ch[i]->out.channel, name) == 0)
			ch = ob->ch[i];
	if (ch == NULL) {
		ob->ch = eo_grow(ob->ch, ob->nch + 1, sizeof(*ob->ch));
		ch = eo_grow(NULL, 1, sizeof(*ch));
		memset(ch, 0, sizeof(*ch));
		ob->ch[ob->nch++] = ch;
	}
	if (!ch->used) {
		struct eo_out was = ch->out;

		if (!eo_out_find(ob->j, life, eo_slice_str(name), &ch->out) &&
		    ob->j->err.status == EO_OK)
			make_out(ob, name, &ch->out);
		if (was.id != ch->out.id)
			ch->shown = 0;	/* another life: another base */
		ch->used = true;
		ch->first = ch->out.last + 1;
	}
	return ch;
}

/* What is not yet in a block becomes one. */
static void
flush(struct eo_outbox *ob, struct eo_outbox_channel *ch)
{
	struct eo_db *db = ob->j->db;
	struct eo_slice frames = { ch->frames.p + ch->flushed,
	    ch->frames.len - ch->flushed };
	int64_t id;

	if (frames.n == 0)
		return;
	eo_db_run(db, "INSERT INTO eo_block(out, first, last, tries, due, "
	    "since) VALUES (?, ?, ?, ?, ?, ?)", "iiiiii", ch->out.id,
	    (int64_t)ch->first, (int64_t)ch->out.last,
	    (int64_t)(ob->sending ? 1 : 0), ob->sending ? ob->due : (int64_t)0,
	    ob->now);
	id = eo_db_last_id(db);
	eo_db_run(db, "INSERT INTO eo_frames(id, frames) VALUES (?, ?)", "ib",
	    id, frames);
	ob->block = eo_grow(ob->block, ob->nblock + 1, sizeof(*ob->block));
	ob->block[ob->nblock++] = id;
	ch->flushed = ch->frames.len;
	ch->first = ch->out.last + 1;
}

void
eo_outbox_flush(struct eo_outbox *ob)
{
	for (size_t i = 0; i < ob->nch; i++) {
		struct eo_outbox_channel *ch = ob->ch[i];

		if (!ch->used || ch->frames.len == 0)
			continue;
		flush(ob, ch);
		eo_db_run(ob->j->db, "UPDATE eo_out SET last = ?, link = ? "
		    "WHERE id = ?", "iii", (int64_t)ch->out.last,
		    (int64_t)ch->out.link, ch->out.id);
	}
}

static void
forget_frames(struct eo_outbox *ob)
{
	for (size_t i = 0; i < ob->nch; i++)
		ob->ch[i]->frames.len = ob->ch[i]->flushed = 0;
	ob->nblock = 0;
}

/* The fingerprint of an id: of all that its message says but when. */
static uint32_t
fingerprint(const struct eo_message *m)
{
	uint32_t crc = eo_crc32c(0, m->key.p, m->key.n);

	crc = eo_crc32c(crc, "\t", 1);
	crc = eo_crc32c(crc, m->attrs.p, m->attrs.n);
	crc = eo_crc32c(crc, "\t", 1);
	return eo_crc32c(crc, m->body.p, m->body.n);
}

static enum eo_put
look_up_id(struct eo_outbox *ob, const struct eo_message *m,
    struct eo_put_ref *ref)
{
	struct eo_rows *st = eo_db_query(ob->j->db, "SELECT i.seq, i.crc, "
	    "i.length, s.source, i.out IN (SELECT out FROM eo_out_dead d WHERE "
	    "d.out = i.out AND d.seq = i.seq) FROM eo_out_id i JOIN eo_out o "
	    "ON o.id = i.out JOIN eo_source s ON s.id = o.source "
	    "WHERE i.channel = ? AND i.id = ?", "zs", m->channel, m->id);
	enum eo_put put = EO_PUT_NEW;

	if (eo_db_row(st)) {
		struct eo_slice hex = eo_db_bytes(st, 3);

		ref->seq = (uint64_t)eo_db_int(st, 0);
		memcpy(ref->source, hex.p, hex.n < EO_SOURCE_LEN ? hex.n :
		    EO_SOURCE_LEN);
		if (eo_db_int(st, 4) != 0)
			put = EO_PUT_DEAD;
		else if (eo_db_int(st, 1) == fingerprint(m) &&
		    eo_db_int(st, 2) == (int64_t)m->body.n)
			put = EO_PUT_REPEAT;
		else
			put = EO_PUT_CONFLICT;
	}
	eo_db_done(st);
	return put;
}

/* The attributes of a message, in ob->attrs. */
static void
make_attrs(struct eo_outbox *ob, const struct eo_message *m)
{
	struct eo_buf *a = &ob->attrs;

	a->len = 0;
	if (m->id.n > 0)
		eo_attrs_add(a, "id", m->id);
	if (m->key.n > 0)
		eo_attrs_add(a, "key", m->key);
	if (a->len > 0)
		eo_buf_addc(a, ' ');
	eo_buf_add(a, ob->time.p, ob->time.len);
	if (m->attrs.n > 0) {
		eo_buf_addc(a, ' ');
		eo_buf_add(a, m->attrs.p, m->attrs.n);
	}
}

enum eo_status
eo_outbox_add(struct eo_outbox *ob, const struct eo_message *m,
    enum eo_put *put, struct eo_put_ref *ref)
{
	struct eo_outbox_channel *ch = channel_of(ob, m->channel);
	size_t start = ch->frames.len;
	uint32_t link;

	memset(ref, 0, sizeof(*ref));
	*put = m->id.n > 0 ? look_up_id(ob, m, ref) : EO_PUT_NEW;
	if (*put != EO_PUT_NEW || ob->j->err.status != EO_OK)
		return ob->j->err.status;
	if (ch->out.last >= EO_SEQ_MAX)
		return eo_fail(&ob->j->err, EO_DATA,
		    "%s: has no sequence numbers left", m->channel);
	make_attrs(ob, m);
	link = eo_frame_put(&ch->frames, EO_MSG, ch->out.source, m->channel,
	    ch->out.last + 1, ch->out.link, eo_slice_buf(&ob->attrs), m->body);
	if (ob->attrs.len > EO_ATTRS_MAX || (ob->max_frame > 0 &&
	    ch->frames.len - start > ob->max_frame)) {
		ch->frames.len = start;
		*put = EO_PUT_LARGE;
		return EO_OK;
	}
	ch->out.last++;
	ch->out.link = link;
	ref->seq = ch->out.last;
	memcpy(ref->source, ch->out.source, sizeof(ref->source));
	if (m->id.n > 0)
		eo_db_run(ob->j->db, "INSERT INTO eo_out_id(channel, id, out, "
		    "seq, crc, length) VALUES (?, ?, ?, ?, ?, ?)", "zsiiii",
		    m->channel, m->id, ch->out.id, (int64_t)ref->seq,
		    (int64_t)fingerprint(m), (int64_t)m->body.n);
	if (ch->frames.len - ch->flushed >= EO_BLOCK_MAX)
		flush(ob, ch);
	return ob->j->err.status;
}

static bool
any_submission(struct eo_journal *j)
{
	return eo_db_int_or(j->db, 0, "SELECT 1 FROM eo_submit "
	    "WHERE refused IS NULL LIMIT 1", "") != 0;
}

/*
 * Numbers what applications submitted, as blocks of their own that are due at
 * once: they are not for the pipe of whoever happens to come by.
 * At commit: the rows are gone from eo_submit and are in the outbox.
 */
static void
take_submissions(struct eo_outbox *ob)
{
	struct eo_db *db = ob->j->db;
	struct eo_rows *st;
	size_t bytes = 0;
	int64_t last = 0;
	bool sending = ob->sending;

	if (!any_submission(ob->j))
		return;
	ob->sending = false;
	st = eo_db_query(db, "SELECT n, channel, body, id, key FROM eo_submit "
	    "WHERE refused IS NULL ORDER BY n", "");
	while (bytes < SUBMIT_MAX && eo_db_row(st)) {
		struct eo_message m = { .body = eo_db_bytes(st, 2),
		    .id = eo_db_bytes(st, 3), .key = eo_db_bytes(st, 4) };
		struct eo_slice name = eo_db_bytes(st, 1);
		char channel[EO_CHANNEL_MAX + 1] = "";
		struct eo_put_ref ref;
		enum eo_put put = EO_PUT_NEW;
		const char *why;

		last = eo_db_int(st, 0);
		if (name.n <= EO_CHANNEL_MAX)
			memcpy(channel, name.p, name.n);
		m.channel = channel;
		eo_outbox_add(ob, &m, &put, &ref);
		bytes += m.body.n + 256;
		if (put == EO_PUT_NEW || put == EO_PUT_REPEAT)
			continue;
		why = put == EO_PUT_LARGE ? "its attributes are too long" :
		    put == EO_PUT_DEAD ? "its id is that of a dead letter" :
		    "its id was used for another message";
		eo_db_run(db, "UPDATE eo_submit SET refused = ? WHERE n = ?",
		    "zi", why, last);
		eo_say(&ob->j->report, EO_DATA, "eo_submit row %lld: refused: "
		    "%s", (long long)last, why);
	}
	eo_db_done(st);
	eo_db_run(db, "DELETE FROM eo_submit WHERE n <= ? AND refused IS NULL",
	    "i", last);
	eo_outbox_flush(ob);
	forget_frames(ob);
	ob->sending = sending;
}

void
eo_outbox_enter(struct eo_outbox *ob, bool sending)
{
	char time[25];

	forget_frames(ob);
	if (ob->epoch != ob->j->epoch)
		for (size_t i = 0; i < ob->nch; i++)
			ob->ch[i]->used = false;
	ob->epoch = ob->j->epoch;
	ob->sending = sending;
	ob->now = eo_env_now(ob->j->env);
	ob->due = ob->now + eo_backoff(ob->j->env, EO_RESEND_MS, 1);
	eo_time_format(ob->now, time);
	ob->time.len = 0;
	eo_attrs_add(&ob->time, "time", eo_slice_str(time));
	take_submissions(ob);
}

enum eo_status
eo_outbox_begin(struct eo_outbox *ob, bool sending)
{
	if (eo_journal_begin(ob->j) != EO_OK)
		return ob->j->err.status;
	eo_outbox_enter(ob, sending);
	if (ob->j->err.status != EO_OK)
		return eo_journal_end(ob->j, ob->j->err.status);
	return EO_OK;
}

enum eo_status
eo_outbox_end(struct eo_outbox *ob, enum eo_status s)
{
	if (s == EO_OK)
		eo_outbox_flush(ob);
	return eo_journal_end(ob->j, s);
}

struct eo_outbox_channel *
eo_outbox_next(struct eo_outbox *ob, size_t *i)
{
	while (*i < ob->nch) {
		struct eo_outbox_channel *ch = ob->ch[(*i)++];

		if (ch->used && ch->frames.len > 0)
			return ch;
	}
	return NULL;
}

void
eo_outbox_base(struct eo_outbox_channel *ch, struct eo_buf *to)
{
	if (ch->shown != 0 && ch->out.base < ch->shown + BASE_STEP)
		return;
	eo_frame_put_base(to, ch->out.source, ch->out.channel, ch->out.base,
	    ch->out.before, ch->out.receiver, ch->out.acked);
	ch->shown = ch->out.base;
}

enum eo_status
eo_outbox_unsent(struct eo_outbox *ob)
{
	enum eo_status s = eo_journal_begin(ob->j);

	if (s != EO_OK)
		return s;
	for (size_t i = 0; i < ob->nblock; i++)
		eo_db_run(ob->j->db, "UPDATE eo_block SET tries = 0, due = 0 "
		    "WHERE id = ?", "i", ob->block[i]);
	return eo_journal_end(ob->j, EO_OK);
}

enum eo_status
eo_outbox_submissions(struct eo_journal *j)
{
	struct eo_outbox ob;
	bool more = true;

	eo_outbox_init(&ob, j);
	while (more && eo_journal_read(j) == EO_OK) {
		more = any_submission(j);
		eo_journal_read_end(j);
		if (more && eo_outbox_begin(&ob, false) == EO_OK)
			eo_outbox_end(&ob, EO_OK);
	}
	eo_outbox_free(&ob);
	return j->err.status;
}

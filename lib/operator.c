#include "operator.h"

#include <string.h>

#include "settle.h"

static const char *const verb_names[] = { "done", "dead", "again" };

bool
eo_ref_parse(const char *text, struct eo_ref *ref)
{
	struct eo_slice parts[3], rest = eo_slice_str(text), a;
	size_t n = 0;

	memset(ref, 0, sizeof(*ref));
	while (rest.p != NULL && n < 3)
		parts[n++] = eo_slice_cut(&rest, '/');
	if (rest.p != NULL || n < 2)
		return false;
	if (n == 3) {
		if (parts[0].n < 1 || parts[0].n > EO_SOURCE_LEN)
			return false;
		for (size_t i = 0; i < parts[0].n; i++)
			if (strchr("0123456789abcdef", parts[0].p[i]) == NULL)
				return false;
		memcpy(ref->source, parts[0].p, parts[0].n);
	}
	if (!eo_channel_valid(parts[n - 2]))
		return false;
	memcpy(ref->channel, parts[n - 2].p, parts[n - 2].n);
	rest = parts[n - 1];
	a = eo_slice_cut(&rest, '-');
	if (!eo_num_u64(a, EO_SEQ_MAX, &ref->first) || ref->first == 0)
		return false;
	ref->last = ref->first;
	return rest.p == NULL || (eo_num_u64(rest, EO_SEQ_MAX, &ref->last) &&
	    ref->last >= ref->first);
}

/* One message, found on one side. */
struct target {
	bool found, incoming, dead;
	int64_t channel;		/* id in eo_in or eo_out */
	char source[EO_SOURCE_LEN + 1];
	struct eo_buf frame;
};

/* SQL that lists: 1 if incoming, id, source, 1 if dead; of the messages that
   a reference can mean, what is known at the receiver first. */
#define CANDIDATES \
    "SELECT 1, i.id, i.source, 0 FROM eo_in i WHERE i.channel = ?1 " \
    "AND substr(i.source, 1, length(?2)) = ?2 AND i.low < ?3 AND EXISTS (" \
    "SELECT 1 FROM eo_held h WHERE h.ch = i.id AND h.first <= ?3 AND " \
    "h.last >= ?3) AND NOT EXISTS (SELECT 1 FROM eo_in_range r WHERE " \
    "r.ch = i.id AND r.first <= ?3 AND r.last >= ?3) " \
    "UNION ALL SELECT 1, i.id, i.source, 1 FROM eo_in i JOIN eo_in_dead d " \
    "ON d.ch = i.id AND d.seq = ?3 WHERE i.channel = ?1 " \
    "AND substr(i.source, 1, length(?2)) = ?2 " \
    "UNION ALL SELECT 0, o.id, s.source, 1 FROM eo_out o JOIN eo_source s " \
    "ON s.id = o.source JOIN eo_out_dead d ON d.out = o.id AND d.seq = ?3 " \
    "WHERE o.channel = ?1 AND substr(s.source, 1, length(?2)) = ?2 " \
    "UNION ALL SELECT 0, o.id, s.source, 0 FROM eo_out o JOIN eo_source s " \
    "ON s.id = o.source WHERE o.channel = ?1 " \
    "AND substr(s.source, 1, length(?2)) = ?2 AND o.forked = 0 " \
    "AND ?3 BETWEEN o.base AND o.last AND NOT EXISTS (SELECT 1 FROM " \
    "eo_out_range r WHERE r.out = o.id AND r.first <= ?3 AND r.last >= ?3)"

static enum eo_status
find(struct eo_journal *j, const struct eo_ref *ref, uint64_t seq,
    enum eo_verb verb, struct target *t)
{
	struct eo_rows *st = eo_db_query(j->db, CANDIDATES, "zzi",
	    ref->channel, ref->source, (int64_t)seq);
	enum eo_status s = EO_OK;

	memset(t, 0, sizeof(*t));
	while (eo_db_row(st)) {
		bool incoming = eo_db_int(st, 0) != 0;
		bool dead = eo_db_int(st, 3) != 0;
		struct eo_slice source = eo_db_bytes(st, 2);

		if ((verb == EO_VERB_DONE && !incoming) ||
		    (verb == EO_VERB_DEAD && dead))
			continue;
		if (t->found && !eo_slice_is(source, t->source)) {
			eo_say(&j->report, EO_DATA, "%s/%llu: is ambiguous: "
			    "of %.8s, or of %.8s? give the source as well", ref->channel,
			    (unsigned long long)seq, t->source, source.p);
			s = EO_DATA;
			continue;
		}
		if (t->found)
			continue;	/* the receiver's side comes first */
		t->found = true;
		t->incoming = incoming;
		t->dead = dead;
		t->channel = eo_db_int(st, 1);
		memcpy(t->source, source.p, source.n < EO_SOURCE_LEN ?
		    source.n : EO_SOURCE_LEN);
	}
	return s;
}

static enum eo_status
not_found(struct eo_journal *j, enum eo_verb verb, const char *text)
{
	eo_say(&j->report, EO_DATA, "%s: no such message is %s", text,
	    verb == EO_VERB_DONE ? "held or dead at this receiver" :
	    "pending or dead here");
	return EO_DATA;
}

/* A held or dead message at this receiver. */
static enum eo_status
act_in(struct eo_inbox *ib, enum eo_verb verb, const struct eo_ref *ref,
    uint64_t seq, const struct target *t, const char *reason)
{
	struct eo_journal *j = ib->j;
	struct eo_in *in = eo_inbox_channel(ib, eo_slice_str(t->source),
	    eo_slice_str(ref->channel), false);
	struct eo_buf line = { 0 };
	struct eo_frame f;
	int64_t lease = 0;

	if (in == NULL)
		return j->err.status;
	if (!eo_in_lock(ib, in)) {
		eo_say(&j->report, EO_AGAIN, "%s/%llu: a handler is at work "
		    "on its channel", ref->channel, (unsigned long long)seq);
		return EO_AGAIN;
	}
	if (verb == EO_VERB_AGAIN) {
		eo_db_run(j->db, "UPDATE eo_in_dead SET again = 1 WHERE "
		    "ch = ? AND seq = ?", "ii", in->id, (int64_t)seq);
		eo_db_run(j->db, "UPDATE eo_try SET due = 0 WHERE ch = ? AND "
		    "seq = ?", "ii", in->id, (int64_t)seq);
		eo_db_run(j->db, "UPDATE eo_held SET lease = 0 WHERE ch = ? "
		    "AND ? BETWEEN first AND last", "ii", in->id,
		    (int64_t)seq);
	} else if (t->dead) {
		struct eo_rows *st = eo_db_query(j->db, "SELECT frame FROM "
		    "eo_in_dead WHERE ch = ? AND seq = ?", "ii", in->id,
		    (int64_t)seq);
		const char *cause;

		if (eo_db_row(st)) {
			struct eo_slice s = eo_db_bytes(st, 0);

			eo_buf_add(&line, s.p, s.n);
		}
		eo_db_done(st);
		if (eo_frame_parse(eo_slice_buf(&line), &f, &cause) ==
		    EO_FRAME_GOOD)
			eo_in_revive(ib, in, &f);
	} else if (eo_in_held(ib, in, seq, &line, &f, &lease)) {
		if (lease > eo_env_now(j->env) && verb == EO_VERB_DEAD) {
			eo_say(&j->report, EO_AGAIN, "%s/%llu: a filter has "
			    "printed it, and its lease has not passed",
			    ref->channel, (unsigned long long)seq);
			eo_buf_free(&line);
			return EO_AGAIN;
		}
		eo_in_settle(ib, in, &f, verb == EO_VERB_DONE ? EO_COMPLETED :
		    EO_DEAD, reason);
	}
	eo_buf_free(&line);
	return j->err.status;
}

/* A dead letter of the sender is sent again, as a new message. */
static enum eo_status
send_again(struct eo_journal *j, struct eo_outbox *ob, uint64_t seq,
    const struct target *t, const struct eo_ref *ref)
{
	struct eo_buf line = { 0 }, room = { 0 }, attrs = { 0 }, was = { 0 };
	struct eo_message m = { .channel = ref->channel };
	struct eo_rows *st = eo_db_query(j->db, "SELECT d.frame, i.crc, "
	    "i.length FROM eo_out_dead d LEFT JOIN eo_out_id i ON "
	    "i.out = d.out AND i.seq = d.seq WHERE d.out = ? AND d.seq = ?",
	    "ii", t->channel, (int64_t)seq);
	int64_t crc = 0, length = 0;
	enum eo_put put = EO_PUT_LARGE;
	struct eo_put_ref now;
	const char *cause;
	struct eo_frame f;

	if (eo_db_row(st)) {
		struct eo_slice s = eo_db_bytes(st, 0);

		eo_buf_add(&line, s.p, s.n);
		crc = eo_db_int(st, 1);
		length = eo_db_int(st, 2);
	}
	eo_db_done(st);
	if (eo_frame_parse(eo_slice_buf(&line), &f, &cause) != EO_FRAME_GOOD)
		goto out;
	eo_message_of(&f, &m, &room, &attrs);
	eo_buf_addf(&was, "%s/%s/%llu", t->source, ref->channel,
	    (unsigned long long)seq);
	eo_attrs_add(&attrs, "was", eo_slice_buf(&was));
	m.attrs = eo_slice_buf(&attrs);
	eo_db_run(j->db, "DELETE FROM eo_out_dead WHERE out = ? AND seq = ?",
	    "ii", t->channel, (int64_t)seq);
	eo_db_run(j->db, "DELETE FROM eo_out_id WHERE out = ? AND seq = ?",
	    "ii", t->channel, (int64_t)seq);
	eo_outbox_add(ob, &m, &put, &now);
	/* The id goes on to stand for what was sent under it at first. */
	if (m.id.n > 0)
		eo_db_run(j->db, "UPDATE eo_out_id SET crc = ?, length = ? "
		    "WHERE channel = ? AND id = ?", "iizs", crc, length,
		    ref->channel, m.id);
	if (put == EO_PUT_NEW)
		eo_say(&j->report, EO_OK, "%s/%llu is sent again as %s/%llu",
		    ref->channel, (unsigned long long)seq, ref->channel,
		    (unsigned long long)now.seq);
out:
	if (put != EO_PUT_NEW && j->err.status == EO_OK)
		eo_fail(&j->err, EO_DATA, "%s/%llu: cannot be sent again: its "
		    "%s", ref->channel, (unsigned long long)seq, put ==
		    EO_PUT_LARGE ? "attributes would be too long" :
		    "id is in use");
	eo_buf_free(&line);
	eo_buf_free(&room);
	eo_buf_free(&attrs);
	eo_buf_free(&was);
	return j->err.status;
}

static enum eo_status
act_out(struct eo_outbox *ob, enum eo_verb verb, const struct eo_ref *ref,
    uint64_t seq, const struct target *t, const char *reason)
{
	struct eo_journal *j = ob->j;

	if (verb == EO_VERB_AGAIN && t->dead)
		return send_again(j, ob, seq, t, ref);
	if (verb == EO_VERB_DEAD) {
		if (strcmp(t->source, eo_journal_current(j)->hex) != 0) {
			eo_say(&j->report, EO_DATA, "%s/%llu: was sent under "
			    "the former source %.8s: nothing of that can be "
			    "withdrawn", ref->channel,
			    (unsigned long long)seq, t->source);
			return EO_DATA;
		}
		eo_db_run(j->db, "INSERT OR IGNORE INTO eo_withdraw(out, seq, "
		    "reason, since) VALUES (?, ?, ?, ?)", "iizi", t->channel,
		    (int64_t)seq, reason, eo_env_now(j->env));
	}
	return eo_db_run(j->db, "UPDATE eo_block SET due = 0 WHERE out = ? AND "
	    "first <= ? AND last >= ?", "iii", t->channel, (int64_t)seq,
	    (int64_t)seq);
}

enum eo_status
eo_operator_do(struct eo_journal *j, enum eo_verb verb, const char *text,
    const char *reason)
{
	struct eo_outbox ob;
	struct eo_inbox ib;
	struct eo_ref ref;
	struct target t;
	enum eo_status s = EO_OK, refused = EO_OK;
	bool any = false;

	if (!eo_ref_parse(text, &ref)) {
		eo_say(&j->report, EO_USAGE, "%s: is no reference "
		    "(CHANNEL/NUMBER, SOURCE/CHANNEL/NUMBER, "
		    "CHANNEL/FROM-TO)", text);
		return EO_USAGE;
	}
	eo_outbox_init(&ob, j);
	eo_inbox_init(&ib, j);
	s = eo_outbox_begin(&ob, false);
	for (uint64_t n = ref.first; s == EO_OK && refused == EO_OK &&
	    j->err.status == EO_OK && n <= ref.last; n++) {
		refused = find(j, &ref, n, verb, &t);
		any |= t.found;
		if (refused == EO_OK && t.found && t.incoming)
			refused = act_in(&ib, verb, &ref, n, &t, reason);
		else if (refused == EO_OK && t.found)
			refused = act_out(&ob, verb, &ref, n, &t, reason);
	}
	if (s == EO_OK && refused == EO_OK && !any)
		refused = not_found(j, verb, text);
	if (s == EO_OK && refused == EO_OK) {
		eo_journal_record(j, verb_names[verb], text,
		    reason == NULL ? "" : reason);
		eo_inbox_save(&ib);
		s = eo_outbox_end(&ob, EO_OK);
	} else if (s == EO_OK)
		eo_journal_end(j, refused);
	for (size_t i = 0; i < ib.n; i++)
		eo_in_unlock(&ib, ib.in[i]);
	eo_inbox_free(&ib);
	eo_outbox_free(&ob);
	return s != EO_OK ? s : refused;
}

enum eo_status
eo_operator_receiver(struct eo_journal *j, const struct eo_channels *filter,
    const char *receiver)
{
	struct eo_rows *st;
	bool any = false;
	enum eo_status s = eo_journal_begin(j);

	if (s != EO_OK)
		return s;
	st = eo_db_query(j->db, "SELECT id, channel FROM eo_out", "");
	while (eo_db_row(st)) {
		char name[EO_CHANNEL_MAX + 1] = "";
		struct eo_slice channel = eo_db_bytes(st, 1);

		if (!eo_channels_match(filter, channel))
			continue;
		memcpy(name, channel.p, channel.n);
		eo_db_run(j->db, "UPDATE eo_out SET receiver = ?, "
		    "verified = 0 WHERE id = ?", "zi", receiver,
		    eo_db_int(st, 0));
		eo_journal_record(j, "receiver", name, receiver);
		any = true;
	}
	if (!any)
		eo_say(&j->report, EO_DATA, "no such channel was ever sent on");
	s = eo_journal_end(j, EO_OK);
	return s != EO_OK || any ? s : EO_DATA;
}

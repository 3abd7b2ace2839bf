#include "receive.h"

#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "receive_run.h"

#define DRAIN_MAX ((size_t)2 << 20)	/* bytes of held messages at a time */

void
eo_receive_init(struct eo_receive *rc, struct eo_journal *j)
{
	memset(rc, 0, sizeof(*rc));
	rc->j = j;
	eo_inbox_init(&rc->ib, j);
	eo_outbox_init(&rc->outbox, j);
	rc->append.fd = -1;
	rc->more_work = true;
	rc->seen = -1;
}

void
eo_receive_free(struct eo_receive *rc)
{
	eo_inbox_free(&rc->ib);
	eo_append_free(&rc->append);
	eo_outbox_free(&rc->outbox);
	eo_buf_free(&rc->run.output);
	eo_buf_free(&rc->room);
	eo_buf_free(&rc->attrs);
	eo_buf_free(&rc->out);
	eo_buf_free(&rc->line);
	for (size_t i = 0; i < rc->nstranger; i++)
		free(rc->stranger[i]);
	free(rc->stranger);
}

static void
worsen(struct eo_receive *rc, enum eo_status s)
{
	rc->worst = eo_status_worst(rc->worst, s);
}

/* Of a channel: bases first, then by number, then as they came. */
static int
by_channel_and_number(const void *pa, const void *pb)
{
	const struct eo_frame *a = pa, *b = pb;
	int c = memcmp(a->source.p, b->source.p, EO_SOURCE_LEN);
	size_t n = a->channel.n < b->channel.n ? a->channel.n : b->channel.n;

	if (c == 0)
		c = memcmp(a->channel.p, b->channel.p, n);
	if (c == 0)
		c = (a->channel.n > b->channel.n) - (a->channel.n <
		    b->channel.n);
	if (c == 0)
		c = (a->type != EO_BASE) - (b->type != EO_BASE);
	if (c == 0)
		c = (a->seq > b->seq) - (a->seq < b->seq);
	return c != 0 ? c : (a->line.p > b->line.p) - (a->line.p < b->line.p);
}

static void
sort(struct eo_frame *f, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (by_channel_and_number(&f[i - 1], &f[i]) > 0) {
			qsort(f, n, sizeof(*f), by_channel_and_number);
			return;
		}
}

/* The frames of one channel, once sorted. */
struct group {
	size_t first, n;
	const char *came;	/* its first line's place in the input */
};

static int
by_coming(const void *pa, const void *pb)
{
	const struct group *a = pa, *b = pb;

	return (a->came > b->came) - (a->came < b->came);
}

/* The groups of sorted frames, in the order in which they came: eo-replay
   sends a former life first.  To be freed. */
static struct group *
find_groups(const struct eo_frame *f, size_t n, size_t *count)
{
	struct group *g = NULL, *last = NULL;
	size_t cap = 0;

	*count = 0;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || !eo_slice_eq(f[i].source, f[i - 1].source) ||
		    !eo_slice_eq(f[i].channel, f[i - 1].channel)) {
			if (*count == cap) {
				cap = cap == 0 ? 16 : 2 * cap;
				g = eo_grow(g, cap, sizeof(*g));
			}
			last = &g[(*count)++];
			*last = (struct group){ i, 0, f[i].line.p };
		}
		last->n++;
		if (f[i].line.p < last->came)
			last->came = f[i].line.p;
	}
	if (*count > 1)
		qsort(g, *count, sizeof(*g), by_coming);
	return g;
}

/* A channel that we were not given: named once. */
static void
not_ours(struct eo_receive *rc, const struct eo_frame *f)
{
	char *name;

	for (size_t i = 0; i < rc->nstranger; i++)
		if (eo_slice_is(f->channel, rc->stranger[i]))
			return;
	name = eo_grow(NULL, f->channel.n + 1, 1);
	memcpy(name, f->channel.p, f->channel.n);
	name[f->channel.n] = '\0';
	worsen(rc, EO_NOPERM);
	if (rc->nstranger == 100) {	/* enough has been said */
		free(name);
		return;
	}
	rc->stranger = eo_grow(rc->stranger, rc->nstranger + 1,
	    sizeof(*rc->stranger));
	rc->stranger[rc->nstranger++] = name;
	eo_say(&rc->j->report, EO_NOPERM, "channel %s was not given with -c: "
	    "its frames are left alone", name);
}

/* --emit without CMD: the message itself goes on, and is completed.  What
   cannot go on, because its id stands for another message there, is dead. */
static void
emit(struct eo_receive *rc, struct eo_in *in, const struct eo_frame *f,
    bool again)
{
	struct eo_message m = { .channel = rc->emit };
	struct eo_put_ref ref;
	enum eo_put put = EO_PUT_NEW;

	eo_message_of(f, &m, &rc->room, &rc->attrs);
	eo_outbox_add(&rc->outbox, &m, &put, &ref);
	rc->emitted += m.body.n + 256;
	if (put != EO_PUT_NEW && put != EO_PUT_REPEAT) {
		const char *why = put == EO_PUT_LARGE ?
		    "its attributes are too long to be emitted" :
		    "its id was used on the channel it is emitted to";

		if (again)
			eo_db_run(rc->j->db, "UPDATE eo_in_dead SET again = 0, "
			    "reason = ? WHERE ch = ? AND seq = ?", "zii", why,
			    in->id, (int64_t)f->seq);
		else
			eo_in_settle(&rc->ib, in, f, EO_DEAD, why);
	} else if (again)
		eo_in_revive(&rc->ib, in, f);
	else
		eo_in_settle(&rc->ib, in, f, EO_COMPLETED, "");
}

/* Is a later one known?  It may have waited for this one to close a gap. */
static bool
has_later(const struct eo_in *in, uint64_t seq)
{
	return in->known.n > 0 && in->known.v[in->known.n - 1].last > seq;
}

/* A twin was completed: so is this one, without being processed. */
static void
settle_twin(struct eo_receive *rc, struct eo_in *in, const struct eo_frame *f)
{
	in->duplicates++;
	in->completed--;
	eo_in_settle(&rc->ib, in, f, EO_COMPLETED, "");
}

/* A message that was never seen is processed in this transaction, if that is
   this sink's way and it is its turn, or held. */
static void
take_new(struct eo_receive *rc, struct eo_in *in, const struct eo_frame *f)
{
	uint64_t low = eo_ranges_low(&in->settled);
	int64_t until = eo_env_now(rc->j->env) + rc->lease;

	if (rc->sink == EO_SINK_CMD) {
		eo_in_hold(&rc->ib, in, f, 0);
		rc->more_work = true;
	} else if ((rc->sink == EO_SINK_APPEND ? f->seq != low + 1 :
	    !eo_in_may_run(&rc->ib, in, f)) || !eo_in_lock(&rc->ib, in)) {
		eo_in_hold(&rc->ib, in, f, 0);
	} else if (eo_in_id_done(&rc->ib, f)) {
		settle_twin(rc, in, f);
	} else if (rc->sink == EO_SINK_EMIT) {
		rc->more_work |= has_later(in, f->seq);
		emit(rc, in, f, false);
	} else if (rc->sink == EO_SINK_APPEND) {
		eo_append_add(&rc->append, f->body);
		eo_in_settle(&rc->ib, in, f, EO_COMPLETED, "");
	} else {
		rc->more_work |= has_later(in, f->seq);
		eo_in_hold(&rc->ib, in, f, until);
		eo_frame_put_as(&rc->out, EO_MSG, f);
	}
}

static void
take(struct eo_receive *rc, struct eo_in *in, const struct eo_frame *f)
{
	switch (eo_in_check(&rc->ib, in, f)) {
	case EO_IN_NEW:
		take_new(rc, in, f);
		break;
	case EO_IN_REFUSED:
		worsen(rc, EO_CONFUSED);
		break;
	case EO_IN_FULL:
		rc->full++;
		break;
	case EO_IN_SETTLED:
	case EO_IN_HELD:
		break;
	}
}

/* --append: what is held and now in order. */
static void
drain(struct eo_receive *rc, struct eo_in *in)
{
	uint64_t next;
	struct eo_frame f;
	int64_t lease, now = eo_env_now(rc->j->env);

	for (;;) {
		next = eo_ranges_low(&in->settled) + 1;
		if (eo_ranges_find(&in->known, next) == NULL)
			return;
		if (rc->append.bytes.len > DRAIN_MAX) {
			rc->more_work = true;
			return;
		}
		eo_in_flush(&rc->ib, in);
		if (!eo_in_lock(&rc->ib, in) ||
		    !eo_in_held(&rc->ib, in, next, &rc->line, &f, &lease) ||
		    lease > now)
			return;
		if (eo_in_id_done(&rc->ib, &f)) {
			settle_twin(rc, in, &f);
			continue;
		}
		eo_append_add(&rc->append, f.body);
		eo_in_settle(&rc->ib, in, &f, EO_COMPLETED, "");
	}
}

/* The frames of one channel. */
static void
take_group(struct eo_receive *rc, const struct eo_frame *f, size_t n)
{
	struct eo_in *in;

	if (!eo_channels_match(&rc->filter, f->channel)) {
		not_ours(rc, f);
		return;
	}
	in = eo_inbox_channel(&rc->ib, f->source, f->channel,
	    f->type == EO_BASE);
	if (in != NULL)
		in->met = true;
	for (size_t i = 0; i < n; i++) {
		if (f[i].type == EO_BASE)
			worsen(rc, eo_in_base(&rc->ib, in, &f[i],
			    rc->takeover));
		else if (in == NULL || !eo_in_ready(&rc->ib, in))
			rc->unready++;
		else if (f[i].type == EO_ABORT)
			worsen(rc, eo_in_abort(&rc->ib, in, &f[i],
			    eo_env_now(rc->j->env)));
		else if (f[i].type != EO_MSG)
			rc->decisions++;
		else {
			if (rc->sink == EO_SINK_APPEND && i > 0 &&
			    f[i - 1].type == EO_BASE)
				drain(rc, in);
			take(rc, in, &f[i]);
		}
	}
	if (in != NULL && rc->sink == EO_SINK_APPEND &&
	    eo_in_ready(&rc->ib, in))
		drain(rc, in);
}

/* After the commit: what may be said now, and the locks. */
static void
answer(struct eo_receive *rc, bool committed)
{
	for (size_t i = 0; i < rc->ib.n; i++) {
		struct eo_in *in = rc->ib.in[i];

		if (committed)
			eo_in_acks(&rc->ib, in, false, &rc->out);
		if (in != rc->current)
			eo_in_unlock(&rc->ib, in);
	}
	eo_inbox_trim(&rc->ib);
}

/* Ends the transaction: the commit point of a batch. */
static enum eo_status
commit(struct eo_receive *rc, enum eo_status s, bool more, size_t out_before)
{
	if (s == EO_OK && rc->sink == EO_SINK_APPEND && rc->append.noted)
		s = eo_append_flush(&rc->append, more);
	if (s == EO_OK && rc->emit != NULL)
		eo_outbox_flush(&rc->outbox);
	if (s == EO_OK)
		eo_inbox_save(&rc->ib);
	s = eo_journal_end(rc->j, s);
	rc->more_work |= rc->ib.limited;
	rc->ib.limited = false;
	if (s != EO_OK)
		rc->out.len = out_before;	/* it did not happen */
	answer(rc, s == EO_OK);
	return s;
}

/* Acks and votes are for somebody further on. */
static size_t
pass_on(struct eo_receive *rc, struct eo_frame *f, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (f[i].type == EO_ACK || f[i].type == EO_VOTE) {
			eo_buf_add(&rc->out, f[i].line.p, f[i].line.n);
			eo_buf_addc(&rc->out, '\n');
		} else
			f[kept++] = f[i];
	return kept;
}

enum eo_status
eo_receive_begin(struct eo_receive *rc)
{
	enum eo_status s = eo_journal_begin(rc->j);

	rc->emitted = 0;
	if (s == EO_OK && rc->emit != NULL)
		eo_outbox_enter(&rc->outbox, false);
	return s;
}

enum eo_status
eo_receive_batch(struct eo_receive *rc, struct eo_frame *f, size_t n,
    bool more)
{
	size_t out_before, ngroups;
	struct group *group;
	enum eo_status s;

	n = pass_on(rc, f, n);
	out_before = rc->out.len;
	if (n == 0)
		return EO_OK;
	sort(f, n);
	if (rc->sink == EO_SINK_APPEND && eo_append_ready(&rc->append) !=
	    EO_OK)
		return rc->j->err.status;
	group = find_groups(f, n, &ngroups);
	s = eo_receive_begin(rc);
	for (size_t i = 0; s == EO_OK && i < ngroups; i++)
		take_group(rc, f + group[i].first, group[i].n);
	free(group);
	return commit(rc, s, more, out_before);
}

bool
eo_receive_should_look(struct eo_receive *rc)
{
	int64_t version = eo_db_version(rc->j->db);
	bool look = rc->more_work || rc->ran || version != rc->seen;

	rc->seen = version;
	return look;
}

/* --append, in its transaction: dead letters that are due again. */
static void
append_dead(struct eo_receive *rc, struct eo_in *in)
{
	int64_t now = eo_env_now(rc->j->env);
	struct eo_frame f;

	while (rc->append.bytes.len <= DRAIN_MAX &&
	    eo_in_next_dead(&rc->ib, in, 0, now, &rc->line, &f) &&
	    eo_in_lock(&rc->ib, in)) {
		if (!eo_in_id_done(&rc->ib, &f))
			eo_append_add(&rc->append, f.body);
		eo_in_revive(&rc->ib, in, &f);
	}
}

/* --emit without CMD, in its transaction: what is held and may go on. */
static void
emit_due(struct eo_receive *rc, struct eo_in *in)
{
	int64_t now = eo_env_now(rc->j->env);
	uint64_t after = 0;
	struct eo_frame f;

	while (eo_in_next(&rc->ib, in, after, now, &rc->line, &f)) {
		after = f.seq;
		if (!eo_in_may_run(&rc->ib, in, &f))
			continue;
		if (rc->emitted > DRAIN_MAX) {
			rc->more_work = true;
			return;
		}
		if (!eo_in_lock(&rc->ib, in))
			return;
		if (eo_in_id_done(&rc->ib, &f))
			settle_twin(rc, in, &f);
		else
			emit(rc, in, &f, false);
	}
	for (after = 0; eo_in_next_dead(&rc->ib, in, after, now, &rc->line,
	    &f) && eo_in_lock(&rc->ib, in); after = f.seq)
		emit(rc, in, &f, true);
}

/* What a sink without CMD does with what is held. */
static void
work_at_once(struct eo_receive *rc, bool more)
{
	size_t out_before = rc->out.len;
	enum eo_status s;

	rc->more_work = false;
	if (rc->sink == EO_SINK_APPEND && eo_append_ready(&rc->append) !=
	    EO_OK)
		return;
	s = eo_receive_begin(rc);
	if (s == EO_OK)
		eo_inbox_find_work(&rc->ib, &rc->filter);
	for (size_t i = 0; s == EO_OK && i < rc->ib.n; i++) {
		struct eo_in *in = rc->ib.in[i];

		eo_in_refresh(&rc->ib, in);
		if (!eo_in_ready(&rc->ib, in))
			continue;
		if (rc->sink == EO_SINK_APPEND) {
			drain(rc, in);
			append_dead(rc, in);
		} else if (rc->sink == EO_SINK_EMIT) {
			emit_due(rc, in);
		} else {
			int64_t now = eo_env_now(rc->j->env);

			rc->more_work |= eo_in_print_due(&rc->ib, in, now,
			    now + rc->lease, &rc->out);
		}
	}
	(void)commit(rc, s, more || rc->more_work, out_before);
}

bool
eo_receive_work(struct eo_receive *rc, bool more)
{
	if (rc->sink == EO_SINK_CMD)
		return eo_receive_pick(rc);
	work_at_once(rc, more);
	return rc->more_work && rc->j->err.status == EO_OK;
}

enum eo_status
eo_receive_rest(struct eo_receive *rc)
{
	if (rc->sink == EO_SINK_APPEND)
		return eo_append_rest(&rc->append);
	return EO_OK;
}

int64_t
eo_receive_wait(struct eo_receive *rc)
{
	int64_t next, now = eo_env_now(rc->j->env);

	if (rc->sink == EO_SINK_APPEND || rc->halted)
		return -1;
	if (eo_journal_read(rc->j) != EO_OK)
		return -1;
	next = eo_inbox_next_due(&rc->ib, &rc->filter);
	eo_journal_read_end(rc->j);
	if (next == INT64_MAX)
		return -1;
	/* Due already, but somebody else has the channel: look now and then. */
	return next > now ? next - now + 1 : 1000;
}

/* What is missing below what has arrived. */
static void
say_gaps(struct eo_receive *rc, const struct eo_in *in)
{
	struct eo_buf list = { 0 };
	uint64_t first, last = 0;

	for (int n = 0; eo_in_gap(in, last, &first, &last); n++) {
		if (n == 10) {
			eo_buf_adds(&list, ", …");
			break;
		}
		eo_buf_addf(&list, n == 0 ? "%llu" : ", %llu",
		    (unsigned long long)first);
		if (last > first)
			eo_buf_addf(&list, "-%llu", (unsigned long long)last);
	}
	if (list.len > 0) {
		eo_buf_addc(&list, '\0');
		eo_say(&rc->j->report, EO_AGAIN, "channel %s of %.8s: not "
		    "arrived yet: %s", in->channel, in->source, list.p);
		worsen(rc, EO_AGAIN);
	}
	eo_buf_free(&list);
}

enum eo_status
eo_receive_end(struct eo_receive *rc)
{
	const struct eo_report *say = &rc->j->report;
	uint64_t waiting;

	if (rc->picked || rc->ran)
		eo_receive_unpick(rc);
	if (eo_journal_read(rc->j) != EO_OK)
		return eo_status_worst(rc->worst, rc->j->err.status);
	for (size_t i = 0; i < rc->ib.n; i++)
		eo_in_refresh(&rc->ib, rc->ib.in[i]);
	waiting = eo_inbox_waiting(&rc->ib, &rc->filter,
	    eo_env_now(rc->j->env), true);
	for (size_t i = 0; i < rc->ib.n; i++) {
		struct eo_in *in = rc->ib.in[i];

		say_gaps(rc, in);
	}
	eo_journal_read_end(rc->j);
	if (waiting > 0) {
		eo_say(say, EO_AGAIN, "%llu messages are left pending",
		    (unsigned long long)waiting);
		worsen(rc, EO_AGAIN);
	}
	if (rc->unready > 0) {
		eo_say(say, EO_AGAIN, "%llu frames are left to redelivery: no "
		    "base of their channel was read, or it was refused",
		    (unsigned long long)rc->unready);
		worsen(rc, EO_AGAIN);
	}
	if (rc->full > 0) {
		eo_say(say, EO_AGAIN, "%llu messages are left to redelivery: "
		    "they would make more than %d ranges",
		    (unsigned long long)rc->full, EO_RANGES_MAX);
		worsen(rc, EO_AGAIN);
	}
	if (rc->decisions > 0) {
		eo_say(say, EO_AGAIN, "%llu frames of transactions are left "
		    "alone: this version takes no part in them",
		    (unsigned long long)rc->decisions);
		worsen(rc, EO_AGAIN);
	}
	return rc->worst;
}

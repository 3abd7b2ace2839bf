#include "complete.h"

#include <string.h>

void
eo_complete_init(struct eo_complete *c, struct eo_journal *j)
{
	memset(c, 0, sizeof(*c));
	eo_inbox_init(&c->ib, j);
}

void
eo_complete_free(struct eo_complete *c)
{
	eo_inbox_free(&c->ib);
}

static void
refuse(struct eo_complete *c, const struct eo_frame *f, const char *why)
{
	c->worst = eo_status_worst(c->worst, EO_DATA);
	if (c->strange++ < 10)
		eo_say(&c->ib.j->report, EO_DATA, "message %.8s/%.*s/%llu is "
		    "refused: %s", f->source.p, (int)f->channel.n,
		    f->channel.p, (unsigned long long)f->seq, why);
}

/* A dead letter that a filter printed again. */
static bool
revive(struct eo_complete *c, struct eo_in *in, const struct eo_frame *f)
{
	if (eo_db_int_or(c->ib.j->db, 0, "SELECT again FROM eo_in_dead WHERE "
	    "ch = ? AND seq = ?", "ii", in->id, (int64_t)f->seq) <= 1)
		return false;
	if (eo_in_lock(&c->ib, in))
		eo_in_revive(&c->ib, in, f);
	else
		c->worst = eo_status_worst(c->worst, EO_AGAIN);
	return true;
}

static void
complete(struct eo_complete *c, struct eo_in *in, const struct eo_frame *f)
{
	struct eo_inbox *ib = &c->ib;
	struct eo_buf line = { 0 };
	struct eo_range *done = eo_ranges_find(&in->settled, f->seq);
	struct eo_frame held;
	int64_t lease = 0;

	if (done != NULL) {
		if (!revive(c, in, f))
			done->touched = in->answer = true;
	} else if (!eo_in_held(ib, in, f->seq, &line, &held, &lease) ||
	    lease == 0) {
		refuse(c, f, "this journal's filter did not print it");
	} else if (held.link != f->link) {
		refuse(c, f, "it is not what this journal's filter printed");
	} else if (!eo_in_lock(ib, in)) {
		c->worst = eo_status_worst(c->worst, EO_AGAIN);
	} else {
		if (eo_in_id_done(ib, &held)) {
			in->duplicates++;
			in->completed--;
		}
		eo_in_settle(ib, in, &held, EO_COMPLETED, "");
	}
	eo_buf_free(&line);
}

enum eo_status
eo_complete_batch(struct eo_complete *c, const struct eo_frame *const *f,
    size_t n, struct eo_buf *out)
{
	struct eo_journal *j = c->ib.j;
	enum eo_status s = eo_journal_begin(j);

	for (size_t i = 0; s == EO_OK && i < n; i++) {
		bool ours = f[i]->type == EO_MSG &&
		    eo_channels_match(&c->filter, f[i]->channel);
		struct eo_in *in = ours ? eo_inbox_channel(&c->ib,
		    f[i]->source, f[i]->channel, false) : NULL;

		if (in != NULL)
			complete(c, in, f[i]);
		else if (ours && eo_journal_named(j, f[i]->source) != NULL)
			refuse(c, f[i], "it is this journal's own, and was "
			    "not received here");
		else {
			eo_buf_add(out, f[i]->line.p, f[i]->line.n);
			eo_buf_addc(out, '\n');
		}
	}
	if (s == EO_OK)
		eo_inbox_save(&c->ib);
	s = eo_journal_end(j, s);
	for (size_t i = 0; i < c->ib.n; i++) {
		if (s == EO_OK)
			eo_in_acks(&c->ib, c->ib.in[i], false, out);
		eo_in_unlock(&c->ib, c->ib.in[i]);
	}
	eo_inbox_trim(&c->ib);
	return s;
}

enum eo_status
eo_complete_left(struct eo_complete *c, uint64_t *left)
{
	struct eo_journal *j = c->ib.j;

	*left = 0;
	if (eo_journal_read(j) != EO_OK)
		return j->err.status;
	for (size_t i = 0; i < c->ib.n; i++)
		eo_in_refresh(&c->ib, c->ib.in[i]);
	/* All that is held, less what is held and not leased. */
	*left = eo_inbox_waiting(&c->ib, &c->filter, INT64_MAX,
	    false) - eo_inbox_waiting(&c->ib, &c->filter, 0, false);
	eo_journal_read_end(j);
	return j->err.status;
}

/* inbox: the acknowledgements a batch calls for. */
#include "inbox.h"

#include <string.h>

/* Room for the two lists of an ack of at most EO_CONTROL_MAX bytes: the rest
   is 4 + 4 + 33 + 129 + 66 + 17 + 9 + 2 + 9 bytes at most. */
#define LISTS_MAX (EO_CONTROL_MAX - 280)
/* An item of a list: two numbers of 16 digits, dash, colon, link, comma. */
#define ITEM_MAX 43

/*
 * Appends the dead and aborted of [first, last] to text, as long as they fit.
 * False if some do not: then *fits and *link are of the last that does.
 */
static bool
put_except(struct eo_inbox *ib, const struct eo_in *in, uint64_t first,
    uint64_t last, size_t max, struct eo_buf *text, uint64_t *fits,
    uint32_t *link)
{
	struct eo_rows *st = eo_db_query(ib->j->db, "SELECT seq, link, kind "
	    "FROM eo_in_except WHERE ch = ? AND seq BETWEEN ? AND ? "
	    "ORDER BY seq", "iii", in->id, (int64_t)first, (int64_t)last);
	uint64_t from = 0, to = 0;
	char kind = 0;
	bool more = true, whole = true;

	*fits = 0;
	while (more) {
		uint64_t seq = 0;
		char k = 0;

		more = eo_db_row(st);
		if (more) {
			seq = (uint64_t)eo_db_int(st, 0);
			k = eo_db_bytes(st, 2).p[0];
		}
		if (more && from != 0 && k == kind && seq == to + 1) {
			to = seq;
		} else {
			if (from != 0) {
				if (text->len > 0)
					eo_buf_addc(text, ',');
				eo_buf_addf(text, "%llu",
				    (unsigned long long)from);
				if (to > from)
					eo_buf_addf(text, "-%llu",
					    (unsigned long long)to);
				eo_buf_addc(text, kind);
			}
			if (more && text->len + ITEM_MAX > max) {
				whole = false;
				break;
			}
			from = to = seq;
			kind = k;
		}
		if (more) {
			*fits = seq;
			*link = (uint32_t)eo_db_int(st, 1);
		}
	}
	eo_db_done(st);
	return whole;
}

struct ack {
	struct eo_buf ranges, except;
	uint64_t upto;
	uint32_t link;
};

static void
put_ack(const struct eo_inbox *ib, const struct eo_in *in, struct ack *a,
    struct eo_buf *to)
{
	const char *me = eo_journal_current(ib->j)->hex;
	struct eo_slice named = eo_slice_str(in->named);
	char receiver[2 * EO_SOURCE_LEN + 2];

	memcpy(receiver, me, EO_SOURCE_LEN + 1);
	/* The sender knows us by a former life: we are its heir. */
	if (named.n > 0 && !eo_slice_is(named, me) &&
	    eo_journal_named(ib->j, named) != NULL) {
		receiver[EO_SOURCE_LEN] = '/';
		memcpy(receiver + EO_SOURCE_LEN + 1, in->named,
		    EO_SOURCE_LEN + 1);
	}
	eo_frame_put_ack(to, in->source, in->channel, receiver, a->upto,
	    a->link, eo_slice_buf(&a->ranges), eo_slice_buf(&a->except));
	/* The next one says nothing of what lies between base and upto. */
	a->ranges.len = a->except.len = 0;
	a->upto = in->base > 0 ? in->base - 1 : 0;
	a->link = in->base > 0 ? in->before : 0;
}

/* A range that was touched; another frame is begun when it does not fit. */
static void
add_range(struct eo_inbox *ib, const struct eo_in *in,
    const struct eo_range *r, struct ack *a, bool one_line, struct eo_buf *to)
{
	struct eo_buf except = { 0 };
	uint64_t fits;
	uint32_t link;

	/* What does not fit into a line of its own waits for the low-water
	   mark to reach it. */
	if (put_except(ib, in, r->first, r->last, LISTS_MAX - ITEM_MAX,
	    &except, &fits, &link)) {
		size_t need = ITEM_MAX + except.len + 1;

		if (a->ranges.len + a->except.len + need > LISTS_MAX) {
			if (one_line)
				goto out;
			put_ack(ib, in, a, to);
		}
		if (a->ranges.len > 0)
			eo_buf_addc(&a->ranges, ',');
		eo_buf_addf(&a->ranges, "%llu-%llu:%08x",
		    (unsigned long long)r->first, (unsigned long long)r->last,
		    r->link);
		if (except.len > 0 && a->except.len > 0)
			eo_buf_addc(&a->except, ',');
		eo_buf_add(&a->except, except.p, except.len);
	}
out:
	eo_buf_free(&except);
}

void
eo_in_acks(struct eo_inbox *ib, struct eo_in *in, bool all, struct eo_buf *to)
{
	struct ack a = { .upto = eo_ranges_low(&in->settled) };
	uint64_t fits;
	uint32_t link;

	if (!in->answer && !all)
		return;
	if (a.upto > 0)
		a.link = in->settled.v[0].link;
	if (!put_except(ib, in, in->base, a.upto, LISTS_MAX, &a.except, &fits,
	    &link)) {
		a.upto = fits;
		a.link = link;
	}
	for (size_t i = 0; i < in->settled.n; i++) {
		struct eo_range *r = &in->settled.v[i];

		if (r->first > 1 && (r->touched || all))
			add_range(ib, in, r, &a, all, to);
		r->touched = false;
	}
	put_ack(ib, in, &a, to);
	eo_buf_free(&a.ranges);
	eo_buf_free(&a.except);
	in->answer = false;
}

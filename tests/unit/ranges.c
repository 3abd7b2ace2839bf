/* ranges: against a plain array of booleans, at random. */
#include "ranges.h"

#include <string.h>

#include "tap.h"

#define N 200	/* numbers 1 … N - 1 */

/* The link of n, as a history that both sides agree on would have it. */
static uint32_t
link_of(uint64_t n)
{
	return n == 0 ? 0 : (uint32_t)(n * 2654435761u);
}

static bool
same(const struct eo_ranges *r, const bool *in)
{
	uint64_t low = 0, count = 0;

	while (low + 1 < N && in[low + 1])
		low++;
	for (uint64_t n = 1; n < N; n++) {
		count += in[n];
		if ((eo_ranges_find(r, n) != NULL) != in[n])
			return false;
	}
	for (size_t i = 0; i < r->n; i++) {
		const struct eo_range *v = &r->v[i];

		/* sorted, disjoint, not adjacent, and with the right edges */
		if (v->first > v->last || (i > 0 &&
		    r->v[i - 1].last + 1 >= v->first) ||
		    v->before != link_of(v->first - 1) ||
		    v->link != link_of(v->last))
			return false;
	}
	for (uint64_t a = 1, b; a < N; a += 17) {
		uint64_t some = 0;

		for (b = a; b < N && b < a + 40; b++)
			some += in[b];
		if (eo_ranges_count(r, a, b - 1) != some)
			return false;
	}
	return eo_ranges_low(r) == low && eo_ranges_count(r, 1, N) == count;
}

/* Does applying the changes to rows of old give those of new? */
static bool
changes_lead(const struct eo_ranges *old, const struct eo_ranges *new)
{
	struct eo_ranges_change c = { 0 };
	uint64_t row[N] = { 0 };	/* last, by first */

	for (size_t i = 0; i < old->n; i++)
		if (old->v[i].first > 1)
			row[old->v[i].first] = old->v[i].last;
	while (eo_ranges_change(old, new, &c)) {
		if (c.drop && row[c.range->first] == 0)
			return false;
		row[c.range->first] = c.drop ? 0 : c.range->last;
	}
	for (size_t i = 0; i < new->n; i++)
		if (new->v[i].first > 1) {
			if (row[new->v[i].first] != new->v[i].last)
				return false;
			row[new->v[i].first] = 0;
		}
	for (uint64_t n = 0; n < N; n++)
		if (row[n] != 0)
			return false;
	return true;
}

int
main(void)
{
	uint64_t s = seed();
	bool good = true, agreed = true, disagreed = true, joins = true;
	bool changes = true, returned = true, touched = true;

	for (int round = 0; round < 300; round++) {
		struct eo_ranges r = { 0 }, old = { 0 };
		bool in[N] = { false };

		for (int step = 0; step < 60; step++) {
			uint64_t a = 1 + rnd(&s) % (N - 1), b = a + rnd(&s) % 6;
			struct eo_range *now, *was;
			bool touch = false;

			b = b < N ? b : N - 1;
			for (uint64_t n = a - 1; n <= b + 1 && n < N; n++)
				touch |= n > 0 && in[n];
			joins &= eo_ranges_joins(&r, a, b) == touch;
			agreed &= eo_ranges_agrees(&r, a, b, link_of(a - 1),
			    link_of(b));
			if (a > 1 && !in[a] && in[a - 1])
				disagreed &= !eo_ranges_agrees(&r, a, a,
				    link_of(a - 1) + 1, link_of(a));
			if (a + 1 < N && !in[a] && in[a + 1])
				disagreed &= !eo_ranges_agrees(&r, a, a,
				    link_of(a - 1), link_of(a) + 1);
			eo_ranges_copy(&old, &r);
			now = eo_ranges_add(&r, a, b, link_of(a - 1),
			    link_of(b));
			returned &= now->first <= a && now->last >= b;
			/* What one of them was, the merged one is. */
			was = eo_ranges_find(&old, a);
			touched &= was == NULL || now->touched >= was->touched;
			now->touched |= step % 3 == 0;
			for (uint64_t n = a; n <= b; n++)
				in[n] = true;
			good &= same(&r, in);
			changes &= changes_lead(&old, &r);
		}
		eo_ranges_free(&r);
		eo_ranges_free(&old);
	}
	ok(good, "the set, its low-water mark, counts and edges");
	ok(returned, "add returns the range that holds what was added");
	ok(touched, "what was touched stays so, when merged");
	ok(joins, "joins says whether it would be one range more");
	ok(agreed, "links of one history agree");
	ok(disagreed, "a link that differs from a neighbour's does not");
	ok(changes, "the changes turn the rows of the old into the new");
	return done();
}

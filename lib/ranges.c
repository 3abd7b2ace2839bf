#include "ranges.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

size_t
eo_ranges_at(const struct eo_ranges *r, uint64_t n)
{
	size_t lo = 0, hi = r->n;

	/* In order, the answer is the last range or beyond it. */
	if (hi > 0 && r->v[hi - 1].last < n)
		return hi;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->v[mid].last < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct eo_range *
eo_ranges_find(const struct eo_ranges *r, uint64_t n)
{
	size_t i = eo_ranges_at(r, n);

	return i < r->n && r->v[i].first <= n ? &r->v[i] : NULL;
}

bool
eo_ranges_agrees(const struct eo_ranges *r, uint64_t first, uint64_t last,
    uint32_t before, uint32_t link)
{
	size_t i = eo_ranges_at(r, first - 1);

	if (first == 1)
		return before == 0 && (r->n == 0 || r->v[0].first != last + 1 ||
		    r->v[0].before == link);
	if (i < r->n && r->v[i].last == first - 1) {
		if (r->v[i].link != before)
			return false;
		i++;
	}
	return i >= r->n || r->v[i].first != last + 1 ||
	    r->v[i].before == link;
}

bool
eo_ranges_joins(const struct eo_ranges *r, uint64_t first, uint64_t last)
{
	size_t i = eo_ranges_at(r, first - 1);

	return i < r->n && r->v[i].first <= last + 1;
}

struct eo_range *
eo_ranges_add(struct eo_ranges *r, uint64_t first, uint64_t last,
    uint32_t before, uint32_t link)
{
	struct eo_range new = { first, last, before, link, false };
	size_t i = eo_ranges_at(r, first - 1), j = i;

	/* [i, j) are those that overlap or touch: they become one. */
	for (; j < r->n && r->v[j].first <= last + 1; j++) {
		const struct eo_range *old = &r->v[j];

		new.touched |= old->touched;
		if (old->first < new.first) {
			new.first = old->first;
			new.before = old->before;
		}
		if (old->last > new.last) {
			new.last = old->last;
			new.link = old->link;
		}
	}
	if (i == j && r->n == r->cap) {
		r->cap = r->cap < 16 ? 16 : 2 * r->cap;
		r->v = eo_grow(r->v, r->cap, sizeof(*r->v));
	}
	if (j != i + 1)
		memmove(r->v + i + 1, r->v + j, (r->n - j) * sizeof(*r->v));
	r->n = r->n - (j - i) + 1;
	r->v[i] = new;
	return &r->v[i];
}

uint64_t
eo_ranges_low(const struct eo_ranges *r)
{
	return r->n > 0 && r->v[0].first == 1 ? r->v[0].last : 0;
}

uint64_t
eo_ranges_count(const struct eo_ranges *r, uint64_t first, uint64_t last)
{
	uint64_t count = 0;

	for (size_t i = eo_ranges_at(r, first);
	    i < r->n && r->v[i].first <= last; i++) {
		uint64_t a = r->v[i].first > first ? r->v[i].first : first;
		uint64_t b = r->v[i].last < last ? r->v[i].last : last;

		count += b - a + 1;
	}
	return count;
}

bool
eo_ranges_change(const struct eo_ranges *old, const struct eo_ranges *new,
    struct eo_ranges_change *c)
{
	if (c->i == 0 && old->n > 0 && old->v[0].first == 1)
		c->i = 1;
	if (c->k == 0 && new->n > 0 && new->v[0].first == 1)
		c->k = 1;
	while (c->i < old->n || c->k < new->n) {
		const struct eo_range *o = c->i < old->n ? &old->v[c->i] : NULL;
		const struct eo_range *n = c->k < new->n ? &new->v[c->k] : NULL;
		bool both = o != NULL && n != NULL && o->first == n->first;

		c->drop = n == NULL || (o != NULL && o->first < n->first);
		c->range = c->drop ? o : n;
		c->i += c->drop || both;
		c->k += !c->drop;
		if (!both || o->last != n->last)
			return true;
	}
	return false;
}

void
eo_ranges_copy(struct eo_ranges *to, const struct eo_ranges *from)
{
	if (to->cap < from->n) {
		to->v = eo_grow(to->v, from->n, sizeof(*to->v));
		to->cap = from->n;
	}
	if (from->n > 0)
		memcpy(to->v, from->v, from->n * sizeof(*to->v));
	to->n = from->n;
}

void
eo_ranges_clear(struct eo_ranges *r)
{
	r->n = 0;
}

void
eo_ranges_free(struct eo_ranges *r)
{
	free(r->v);
	memset(r, 0, sizeof(*r));
}

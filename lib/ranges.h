/*
 * ranges: a set of sequence numbers, with the links at its edges.
 *
 * Sorted, disjoint and not adjacent: ranges that touch are one.  A range
 * knows the link before its first number and the link at its last, which is
 * all that a neighbour needs to be compared with.  Where links are of no use
 * (the sender's set of what is settled) they are 0.
 *
 * The caller asks eo_ranges_agrees() before eo_ranges_add(): adding trusts.
 */
#ifndef EO_RANGES_H
#define EO_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eo_range {
	uint64_t first, last;
	uint32_t before, link;
	bool touched;		/* of this batch: to be acknowledged */
};

struct eo_ranges {
	struct eo_range *v;
	size_t n, cap;
};

/* The range that holds n, or NULL. */
struct eo_range *eo_ranges_find(const struct eo_ranges *r, uint64_t n);

/* The first range whose last is >= n: an index, r->n if there is none. */
size_t eo_ranges_at(const struct eo_ranges *r, uint64_t n);

/* Do the links of [first, last] agree with the ranges on either side? */
bool eo_ranges_agrees(const struct eo_ranges *r, uint64_t first,
    uint64_t last, uint32_t before, uint32_t link);

/* Would [first, last] join what is there, or be one range more? */
bool eo_ranges_joins(const struct eo_ranges *r, uint64_t first,
    uint64_t last);

/* Adds, merging with what overlaps or touches. Returns the range that now
   holds first; it is valid until the next add. */
struct eo_range *eo_ranges_add(struct eo_ranges *r, uint64_t first,
    uint64_t last, uint32_t before, uint32_t link);

/* The highest n with 1 … n all in the set; 0 if 1 is not. */
uint64_t eo_ranges_low(const struct eo_ranges *r);

/* How many numbers of [first, last] are in the set. */
uint64_t eo_ranges_count(const struct eo_ranges *r, uint64_t first,
    uint64_t last);

/*
 * What must be done to rows that say old, so that they say new; ranges that
 * begin at 1 are not rows.  Zero *c, then call until false: each *c says to
 * drop the row that begins at range->first, or to put range in its place.
 */
struct eo_ranges_change {
	size_t i, k;		/* where we are in old and in new */
	bool drop;
	const struct eo_range *range;
};

bool eo_ranges_change(const struct eo_ranges *old,
    const struct eo_ranges *new, struct eo_ranges_change *c);

void eo_ranges_copy(struct eo_ranges *to, const struct eo_ranges *from);
void eo_ranges_clear(struct eo_ranges *r);
void eo_ranges_free(struct eo_ranges *r);

#endif

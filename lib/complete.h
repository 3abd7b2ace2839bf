/*
 * complete: the end of a filter's pipeline.
 *
 * A filter (eo-recv without a sink) prints messages under a lease; the next
 * program passes them on unchanged when it has done its work, and here they
 * are completed.
 *
 *	eo_complete_batch(c, frames, n, &out, &s);
 *
 * One transaction a batch; out then holds the acks, and what was not for this
 * journal.  A crash leaves the leases: what is not completed is printed again
 * when they have passed.
 */
#ifndef EO_COMPLETE_H
#define EO_COMPLETE_H

#include "inbox.h"

struct eo_complete {
	struct eo_inbox ib;
	struct eo_channels filter;
	enum eo_status worst;
	uint64_t strange;	/* messages that no filter printed */
};

void eo_complete_init(struct eo_complete *c, struct eo_journal *j);
void eo_complete_free(struct eo_complete *c);

/* Completes those of the frames that are messages of this journal's filter,
   and appends the others to out as they are; then the acks. */
enum eo_status eo_complete_batch(struct eo_complete *c,
    const struct eo_frame *const *f, size_t n, struct eo_buf *out);

/* How many that a filter printed are not completed. */
enum eo_status eo_complete_left(struct eo_complete *c, uint64_t *left);

#endif

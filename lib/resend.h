/*
 * resend: reading out of the outbox what is to be sent.
 *
 *	eo_resend_channels(j, filter, all, &list, &n);
 *	for each: print its base (eo_resend_base), then
 *		memset(&cursor, 0, sizeof(cursor));
 *		while (eo_resend_fetch(j, &out, all, &cursor, &batch) == EO_OK &&
 *		    batch.nblock > 0)
 *			print batch.frames, then eo_resend_mark(j, &batch)
 *
 * Due is what was never sent, and what was sent and is not settled after a
 * backoff.  A block is marked after its frames are written: a crash in
 * between sends it once more, and the receiver drops the repeat.  What is
 * settled inside a block is left out; what is being withdrawn is sent as an
 * abort.
 */
#ifndef EO_RESEND_H
#define EO_RESEND_H

#include "channels.h"
#include "outbox.h"

struct eo_resend_cursor {
	int64_t due;
	uint64_t first;
	bool begun;
};

struct eo_resend_batch {
	struct eo_buf frames;
	int64_t *block;
	size_t nblock;
	uint64_t messages;
};

/* The channels to look at, oldest life first; to be freed. Without all, those
   that have something due. */
enum eo_status eo_resend_channels(struct eo_journal *j,
    const struct eo_channels *filter, bool all, struct eo_out **list,
    size_t *n);

void eo_resend_base(const struct eo_out *out, struct eo_buf *to);

/* Replaces the batch's content with the next blocks, about 1 MiB. */
enum eo_status eo_resend_fetch(struct eo_journal *j, struct eo_out *out,
    bool all, struct eo_resend_cursor *cursor, struct eo_resend_batch *batch);

enum eo_status eo_resend_mark(struct eo_journal *j,
    const struct eo_resend_batch *batch);
void eo_resend_free(struct eo_resend_batch *batch);

/* How many numbers are not settled on these channels, and when the next block
   is due (INT64_MAX: none is pending). */
enum eo_status eo_resend_pending(struct eo_journal *j,
    const struct eo_channels *filter, uint64_t *unsettled, int64_t *next);

#endif

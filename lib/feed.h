/*
 * feed: frames out of a stream of lines, whatever else is in it.
 *
 *	eo_feed_init(&fd, STDIN_FILENO, &report);
 *	while ((r = eo_feed_fill(&fd, out_fd, ms)) == EO_READ_MORE)
 *		use fd.frame[0 … fd.n - 1]	until the next fill
 *	s = eo_feed_end(&fd);
 *
 * A damaged line is reported with its number and why, and skipped: 65.  Lines
 * that are not eo's (a greeting, say) are counted and reported at the end;
 * when nothing else came, 65.  A last line that was cut off: 75.
 */
#ifndef EO_FEED_H
#define EO_FEED_H

#include "frame.h"
#include "io.h"
#include "status.h"

struct eo_feed {
	struct eo_reader reader;
	const struct eo_report *report;
	struct eo_frame *frame;
	size_t n, cap;
	uint64_t good, bad, foreign, unknown;
	uint64_t foreign_line;	/* the first of them */
	bool cut;
};

void eo_feed_init(struct eo_feed *feed, int fd,
    const struct eo_report *report);
void eo_feed_free(struct eo_feed *feed);

enum eo_read eo_feed_fill(struct eo_feed *feed, int out_fd, int64_t ms);

/* Reports what was counted; the status it comes to. */
enum eo_status eo_feed_end(struct eo_feed *feed);

#endif

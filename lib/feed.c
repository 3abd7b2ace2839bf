#include "feed.h"

#include <stdlib.h>
#include <string.h>

#define BAD_MAX 10	/* damaged lines that are reported one by one */

void
eo_feed_init(struct eo_feed *feed, int fd, const struct eo_report *report)
{
	memset(feed, 0, sizeof(*feed));
	feed->report = report;
	eo_reader_init(&feed->reader, fd, '\n', EO_FRAME_MAX);
}

void
eo_feed_free(struct eo_feed *feed)
{
	eo_reader_free(&feed->reader);
	free(feed->frame);
}

static void
bad_line(struct eo_feed *feed, const char *cause)
{
	if (feed->bad++ < BAD_MAX)
		eo_say(feed->report, EO_DATA, "standard input, line %llu: is "
		    "skipped: %s", (unsigned long long)feed->reader.line,
		    cause);
}

static void
take_line(struct eo_feed *feed, struct eo_slice line, bool last)
{
	struct eo_frame *f;
	const char *cause;

	if (feed->n == feed->cap) {
		feed->cap = feed->cap == 0 ? 1024 : 2 * feed->cap;
		feed->frame = eo_grow(feed->frame, feed->cap,
		    sizeof(*feed->frame));
	}
	f = &feed->frame[feed->n];
	switch (eo_frame_parse(line, f, &cause)) {
	case EO_FRAME_GOOD:
		feed->n++;
		feed->good++;
		break;
	case EO_FRAME_UNKNOWN:
		feed->unknown++;
		break;
	case EO_FRAME_BAD:
		if (last)
			feed->cut = true;
		else
			bad_line(feed, cause);
		break;
	case EO_FRAME_FOREIGN:
		if (last && line.n < 4 && memcmp(line.p, "eo1\t",
		    line.n) == 0)
			feed->cut = true;
		else if (feed->foreign++ == 0)
			feed->foreign_line = feed->reader.line;
		break;
	}
}

enum eo_read
eo_feed_fill(struct eo_feed *feed, int out_fd, int64_t ms)
{
	enum eo_read r = eo_reader_fill(&feed->reader, out_fd, ms);
	struct eo_slice line;
	enum eo_line kind;

	feed->n = 0;
	if (r != EO_READ_MORE)
		return r;
	while ((kind = eo_reader_next(&feed->reader, &line)) != EO_LINE_NONE) {
		if (kind == EO_LINE_LONG)
			bad_line(feed, "it is longer than any frame");
		else
			take_line(feed, line, kind == EO_LINE_LAST);
	}
	return r;
}

enum eo_status
eo_feed_end(struct eo_feed *feed)
{
	enum eo_status s = feed->bad > 0 ? EO_DATA : EO_OK;

	if (feed->bad > BAD_MAX)
		eo_say(feed->report, EO_DATA, "standard input: %llu damaged "
		    "lines were skipped in all",
		    (unsigned long long)feed->bad);
	if (feed->foreign > 0) {
		enum eo_status f = feed->good == 0 ? EO_DATA : EO_OK;

		eo_say(feed->report, f, "standard input: %llu lines are no "
		    "frames of eo (the first is line %llu)",
		    (unsigned long long)feed->foreign,
		    (unsigned long long)feed->foreign_line);
		s = eo_status_worst(s, f);
	}
	if (feed->unknown > 0)
		eo_say(feed->report, EO_OK, "standard input: %llu frames of an "
		    "unknown type were ignored",
		    (unsigned long long)feed->unknown);
	if (feed->cut) {
		eo_say(feed->report, EO_AGAIN, "standard input: the last line "
		    "was cut off");
		s = eo_status_worst(s, EO_AGAIN);
	}
	return s;
}

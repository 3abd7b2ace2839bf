/*
 * io: descriptors, signals, and lines that have arrived.
 *
 * Signals.  eo_io_init() makes TERM, INT and HUP ask for an orderly stop:
 * they set a flag and interrupt what waits.  PIPE and XFSZ are ignored, so
 * that a lost reader and a file at its limit are errors of write(2).
 *
 * Reading.  A reader collects what has arrived, up to about EO_BATCH bytes,
 * without waiting for more than the first byte:
 *
 *	while (eo_reader_fill(&r, -1, -1) == EO_READ_MORE)
 *		while (eo_reader_next(&r, &line) != EO_LINE_NONE)
 *			...
 *
 * A slice that eo_reader_next returns lives until the next fill.
 */
#ifndef EO_IO_H
#define EO_IO_H

#include <stdint.h>

#include "buf.h"

#define EO_BATCH ((size_t)1 << 20)

void eo_io_init(void);

/* Was a stop asked for? */
bool eo_io_stopped(void);

/* Opens /dev/null on those of 0, 1, 2 that are closed, so that no file of
   ours is given such a number; reading 0 and writing 1 still fails.
   Returns a bit mask of those that were closed. */
int eo_io_guard(void);

/* Writes all. Returns 0 or errno (EPIPE: the reader has gone away). */
int eo_io_write(int fd, const void *p, size_t n);

/* Makes a pipe hold more, where the system lets us. */
void eo_io_widen(int fd);

/* Has the reader of this pipe or socket gone away? */
bool eo_io_gone(int fd);

/* Are frames that are written to fd read by nobody: a terminal, or /dev/null? */
bool eo_io_sink(int fd);

/* A descriptor that can be read when this file is written to (inotify(7)); -1
   if there is none to be had.  Drain it before looking at the file. */
int eo_io_watch(const char *path);
void eo_io_watch_drain(int fd);

enum eo_wait {
	EO_WAIT_READY,
	EO_WAIT_TIMEOUT,
	EO_WAIT_STOPPED,
	EO_WAIT_GONE,		/* the reader of out_fd has gone away */
};

/* Waits until fd (-1: none) can be read, for ms at most (-1: for ever). A
   stop, a child's end and a reader of out_fd (-1: none) that goes away end
   the wait as well (a child's end as EO_WAIT_TIMEOUT). */
enum eo_wait eo_io_wait(int fd, int out_fd, int64_t ms);

enum eo_read {
	EO_READ_MORE,		/* there is something new, or a line's rest */
	EO_READ_END,
	EO_READ_TIMEOUT,
	EO_READ_STOPPED,
	EO_READ_GONE,
	EO_READ_ERROR,		/* errno in r->error */
};

enum eo_line {
	EO_LINE_NONE,
	EO_LINE_WHOLE,
	EO_LINE_LAST,		/* the input's end came before the line's */
	EO_LINE_LONG,		/* over max bytes: dropped, an empty slice */
};

struct eo_reader {
	int fd;
	char delim;
	size_t max;		/* longest line */
	uint64_t line;		/* number of the line returned last */
	bool eof;
	int error;
	struct eo_buf buf;
	size_t start, scanned;
	bool dropping;
};

void eo_reader_init(struct eo_reader *r, int fd, char delim, size_t max);
void eo_reader_free(struct eo_reader *r);
enum eo_read eo_reader_fill(struct eo_reader *r, int out_fd, int64_t ms);
enum eo_line eo_reader_next(struct eo_reader *r, struct eo_slice *line);

#endif

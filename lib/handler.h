/*
 * handler: running a user's program on one message.
 *
 *	struct eo_run run = { .argv = argv, .timeout = ms };
 *	eo_handler_run(&run, &frame, try, journal_path);
 *	if (run.outcome == EO_RUN_DONE) ...
 *
 * The message comes on standard input (body and LF, a file in memory, so that
 * it is always the whole of it) and in EO_* variables:
 * nothing of it reaches a shell or an argument list.  Standard output goes to
 * our standard error, unless it is captured; standard error as well, by a pipe from which the last
 * line is kept.  The handler has a process group of its own, and inherits
 * what is open without O_CLOEXEC: the lock of its channel.
 *
 * A handler that has ended is all we wait for: what it left behind in the
 * background may keep the pipe, and is not waited for.
 */
#ifndef EO_HANDLER_H
#define EO_HANDLER_H

#include "frame.h"

#define EO_OUTPUT_MAX ((int64_t)64 << 20)	/* captured; more is a failure */

enum eo_outcome {
	EO_RUN_DONE,		/* exit 0 */
	EO_RUN_NEVER,		/* exit 100 */
	EO_RUN_LATER,		/* any other exit, a signal, a timeout */
	EO_RUN_UNABLE,		/* it could not be started: see status */
};

struct eo_run {
	char *const *argv;
	int64_t timeout;	/* ms; 0: none */
	bool capture;		/* keep its standard output in `output` */
	struct eo_buf output;	/* of the last run that ended with 0 */
	enum eo_outcome outcome;
	int status;		/* EO_RUN_UNABLE: 126 or 127 */
	char reason[200];	/* why not: its last line, or how it ended */
};

void eo_handler_run(struct eo_run *run, const struct eo_frame *f,
    int64_t try, const char *journal);

#endif

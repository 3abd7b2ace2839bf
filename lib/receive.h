/*
 * receive: the receiver's loop, between the inbox and what is done with a
 * message.
 *
 *	eo_receive_batch(rc, frames, n, more);	journals, processes, commits
 *	while (eo_receive_work(rc, more)) {	what is held and due
 *		write rc->out
 *		eo_receive_run(rc);		the handler, if one is picked
 *	}
 *	eo_receive_rest(rc);			before waiting for input
 *
 * Every call ends with its commit; rc->out then holds the acks (and, of a
 * filter, the messages) that may be printed.
 *
 * what is done		the commit point		a crash leaves
 * APPEND	the numbers with the file's new length	bytes that are cut off
 * EMIT		the numbers with the messages emitted	nothing
 * FILTER	a lease with the message held		printed again later
 * CMD		"held"; "try n begins"; how it ended	a try that is counted
 *							and due again
 */
#ifndef EO_RECEIVE_H
#define EO_RECEIVE_H

#include "append.h"
#include "handler.h"
#include "inbox.h"
#include "outbox.h"

enum eo_sink { EO_SINK_FILTER, EO_SINK_APPEND, EO_SINK_EMIT, EO_SINK_CMD };

struct eo_receive {
	struct eo_journal *j;
	struct eo_inbox ib;
	struct eo_channels filter;
	enum eo_sink sink;
	struct eo_append append;
	struct eo_run run;
	const char *emit;	/* EMIT, or the output of CMD: to there */
	struct eo_outbox outbox;
	size_t emitted;		/* bytes, in this transaction */
	struct eo_buf room, attrs;
	int64_t max_tries;	/* 0: no end */
	int64_t lease;		/* ms */
	bool takeover;
	struct eo_buf out;
	enum eo_status worst;

	bool more_work;		/* something is held that is due */
	int64_t seen;		/* the journal's version, when looked at last */
	uint64_t unready, full, decisions;
	char **stranger;	/* channels that are not ours: said */
	size_t nstranger;

	/* The message that was picked for the handler. */
	struct eo_in *current;
	uint64_t after;
	struct eo_buf line;
	struct eo_frame frame;
	bool picked, ran, again;
	int64_t try;
	int nevers;
	bool halted;
	int unable;		/* 126, 127: the handler cannot be started */
};

void eo_receive_init(struct eo_receive *rc, struct eo_journal *j);
void eo_receive_free(struct eo_receive *rc);

/* Sorts the frames. more: there is more input already. */
enum eo_status eo_receive_batch(struct eo_receive *rc, struct eo_frame *f,
    size_t n, bool more);

/* Has another program written, or is something left from before? Cheap. */
bool eo_receive_should_look(struct eo_receive *rc);

/* Does one transaction's worth of what is held and due, and notes how the
   last run ended. True: call it again. */
bool eo_receive_work(struct eo_receive *rc, bool more);

/* Runs the handler on what was picked. */
void eo_receive_run(struct eo_receive *rc);

enum eo_status eo_receive_rest(struct eo_receive *rc);

/* ms until something held is due; -1: nothing is. */
int64_t eo_receive_wait(struct eo_receive *rc);

/* At the end: reports gaps, and what is left. */
enum eo_status eo_receive_end(struct eo_receive *rc);

#endif

/*
 * eo-recv: takes frames, drops repeats, processes each message once, prints
 * acks.
 */
#include <err.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "feed.h"
#include "io.h"
#include "outbox.h"
#include "receive.h"

enum { O_APPEND_FILE = EO_OPT_OWN, O_EMIT, O_ORDERED, O_TRIES, O_TIMEOUT, O_LEASE, O_TAKE_OVER };

struct recv {
	struct eo_cli *cli;
	struct eo_option *opts;
	struct eo_receive rc;
	struct eo_feed feed;
	enum eo_status worst;
	bool end;		/* of input, or of anything to do */
};

/* Acks go out after their commit, and before anything else is begun. */
static void
put_out(struct recv *r)
{
	struct eo_buf *out = &r->rc.out;
	int e = eo_io_write(STDOUT_FILENO, out->p, out->len);

	out->len = 0;
	if (e == 0 || e == EINTR)
		return;
	/* The sender will ask again, and a lease passes. */
	r->end = true;
	if (e == EPIPE) {
		warnx("standard output: its reader has gone away");
		r->worst = eo_status_worst(r->worst, EO_AGAIN);
	} else {
		warnx("standard output: %s", strerror(e));
		r->worst = eo_status_worst(r->worst, EO_IO);
	}
}

static bool
input_ready(void)
{
	return eo_io_wait(STDIN_FILENO, -1, 0) == EO_WAIT_READY;
}

static void
take_input(struct recv *r, int64_t ms)
{
	switch (eo_feed_fill(&r->feed, STDOUT_FILENO, ms)) {
	case EO_READ_MORE:
		if (eo_receive_batch(&r->rc, r->feed.frame, r->feed.n,
		    input_ready()) == EO_OK)
			put_out(r);
		break;
	case EO_READ_TIMEOUT:
		r->rc.more_work = true;
		break;
	case EO_READ_GONE:
		warnx("standard output: its reader has gone away");
		r->worst = eo_status_worst(r->worst, EO_AGAIN);
		r->end = true;
		break;
	case EO_READ_STOPPED:
		r->end = true;
		break;
	case EO_READ_ERROR:
		warnx("standard input: cannot read: %s",
		    strerror(r->feed.reader.error));
		r->worst = eo_status_worst(r->worst, EO_IO);
		r->end = true;
		break;
	case EO_READ_END:
		r->end = true;
		break;
	}
}

/* What is held and due. */
static void
work(struct recv *r)
{
	struct eo_receive *rc = &r->rc;
	bool again = eo_receive_should_look(rc);

	while (again && rc->j->err.status == EO_OK && !eo_io_stopped()) {
		again = eo_receive_work(rc, !r->end && input_ready());
		put_out(r);
		if (eo_io_stopped())
			break;
		eo_receive_run(rc);
	}
}

static enum eo_status
run(struct recv *r)
{
	struct eo_receive *rc = &r->rc;
	struct eo_err *err = &rc->j->err;

	eo_outbox_submissions(rc->j);
	while (!r->end && !rc->halted && err->status == EO_OK) {
		work(r);
		if (rc->halted || r->end || eo_io_stopped() ||
		    err->status != EO_OK)
			break;
		if (!input_ready() && eo_receive_rest(rc) != EO_OK)
			break;
		take_input(r, eo_receive_wait(rc));
	}
	if (!rc->halted)
		work(r);
	if (err->status == EO_OK)
		eo_receive_rest(rc);
	if (err->status == EO_OK)
		r->worst = eo_status_worst(r->worst, eo_receive_end(rc));
	put_out(r);
	r->worst = eo_status_worst(r->worst, eo_feed_end(&r->feed));
	r->worst = eo_cli_end(r->cli, rc->j, r->worst);
	if (rc->unable != 0)
		return (enum eo_status)rc->unable;
	return r->worst;
}

static bool
check_options(struct recv *r)
{
	const struct eo_option *o = r->opts;
	struct eo_receive *rc = &r->rc;
	uint64_t tries = 0;

	rc->lease = 600000;
	if (!eo_cli_channels(r->cli, true, &rc->filter) ||
	    !eo_cli_duration(r->cli, &o[O_TIMEOUT], &rc->run.timeout) ||
	    !eo_cli_duration(r->cli, &o[O_LEASE], &rc->lease))
		return false;
	if (o[O_TRIES].count > 0 && (!eo_num_u64(eo_slice_str(
	    o[O_TRIES].values[0]), 1000000000, &tries) || tries == 0)) {
		eo_cli_usage(r->cli, "--max-tries=%s: is no number of 1 or "
		    "more", o[O_TRIES].values[0]);
		return false;
	}
	rc->max_tries = (int64_t)tries;
	rc->takeover = o[O_TAKE_OVER].count > 0;
	if (o[O_APPEND_FILE].count > 0 && (r->cli->noperands > 0 ||
	    o[O_EMIT].count > 0)) {
		eo_cli_usage(r->cli, "--append excludes CMD and --emit");
		return false;
	}
	if (o[O_EMIT].count > 0) {
		rc->emit = o[O_EMIT].values[0];
		rc->run.capture = true;
		if (!eo_channel_valid(eo_slice_str(rc->emit))) {
			eo_cli_usage(r->cli, "--emit=%s: is no channel's name",
			    rc->emit);
			return false;
		}
	}
	rc->ib.ordered = o[O_ORDERED].count > 0;
	rc->run.argv = r->cli->operands;
	rc->sink = o[O_APPEND_FILE].count > 0 ? EO_SINK_APPEND :
	    r->cli->noperands > 0 ? EO_SINK_CMD :
	    o[O_EMIT].count > 0 ? EO_SINK_EMIT : EO_SINK_FILTER;
	if (rc->sink != EO_SINK_CMD && (o[O_TRIES].count > 0 ||
	    o[O_TIMEOUT].count > 0)) {
		eo_cli_usage(r->cli, "-x and --timeout need a CMD");
		return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	struct eo_option opts[] = { EO_COMMON_OPTIONS,
	    { NULL, "append", "FILE", "append each body and LF, exactly once",
	    1, 0, NULL },
	    { NULL, "emit", "CHANNEL", "messages, or CMD's output, to there",
	    1, 0, NULL },
	    { "o", "ordered", NULL, "each waits for all before it", 1, 0,
	    NULL },
	    { "x", "max-tries", "N", "dead letter after N failed tries", 1, 0,
	    NULL },
	    { NULL, "timeout", "DUR", "TERM, then KILL, a CMD after that", 1,
	    0, NULL },
	    { NULL, "lease", "DUR", "filter: print again after that (10m)", 1,
	    0, NULL },
	    { NULL, "take-over", NULL, "become the channel's receiver", 1, 0,
	    NULL },
	    { NULL, NULL, NULL, NULL, 0, 0, NULL } };
	struct eo_cli cli = { .name = "eo-recv",
	    .operands_help = "[CMD [ARG...]]",
	    .purpose = "Processes each message once: by CMD, into a FILE or a "
	    "channel, or as a filter.", .opts = opts };
	struct recv r = { .cli = &cli, .opts = opts };
	struct eo_receive wanted;
	struct eo_journal *j;
	int closed, status;

	eo_io_init();
	closed = eo_io_guard();
	status = eo_cli_parse(&cli, argc, argv);
	if (status >= 0)
		return status;
	status = EO_USAGE;
	if (!check_options(&r))
		goto out;
	if (closed & 1) {
		warnx("standard input is closed");
		status = EO_NOINPUT;
		goto out;
	}
	status = (int)eo_cli_journal(&cli, EO_JOURNAL_CREATE, &j);
	if (status != EO_OK)
		goto out;
	wanted = r.rc;
	eo_receive_init(&r.rc, j);
	r.rc.filter = wanted.filter;
	r.rc.sink = wanted.sink;
	r.rc.run = wanted.run;
	r.rc.emit = wanted.emit;
	r.rc.ib.ordered = wanted.ib.ordered;
	r.rc.max_tries = wanted.max_tries;
	r.rc.lease = wanted.lease;
	r.rc.takeover = wanted.takeover;
	eo_io_widen(STDIN_FILENO);
	eo_feed_init(&r.feed, STDIN_FILENO, &j->report);
	if (r.rc.sink != EO_SINK_APPEND || eo_append_open(&r.rc.append, j,
	    opts[O_APPEND_FILE].values[0]) == EO_OK)
		status = (int)run(&r);
	else
		status = (int)eo_cli_end(&cli, j, EO_OK);
	eo_feed_free(&r.feed);
	eo_receive_free(&r.rc);
	eo_journal_close(j);
out:
	eo_cli_free(&cli);
	return status;
}

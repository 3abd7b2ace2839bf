/*
 * eo-replay: sends what has not been acknowledged; never again what has.
 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "inbox.h"
#include "io.h"
#include "resend.h"

enum { O_ALL = EO_OPT_OWN, O_FOLLOW, O_ACKS };

struct replay {
	struct eo_cli *cli;
	struct eo_option *opts;
	struct eo_journal *j;
	struct eo_channels filter;
	struct eo_buf out;
	uint64_t sent;
	bool counts;		/* what is written counts as sent */
	bool end;
	enum eo_status worst;
};

static bool
put(struct replay *r, const struct eo_buf *b)
{
	int e = eo_io_write(STDOUT_FILENO, b->p, b->len);

	if (e == 0)
		return true;
	r->end = true;
	if (e != EINTR && (e != EPIPE || r->opts[O_FOLLOW].count == 0))
		warnx("standard output: %s", e == EPIPE ?
		    "its reader has gone away" : strerror(e));
	r->worst = eo_status_worst(r->worst, e == EPIPE || e == EINTR ?
	    EO_AGAIN : EO_IO);
	return false;
}

/* Sends what is due of one channel, its base first. */
static void
send_channel(struct replay *r, struct eo_out *out, bool all)
{
	struct eo_resend_cursor cursor;
	struct eo_resend_batch batch;
	bool based = false;

	memset(&cursor, 0, sizeof(cursor));
	memset(&batch, 0, sizeof(batch));
	while (!r->end && !eo_io_stopped() && eo_resend_fetch(r->j, out, all,
	    &cursor, &batch) == EO_OK) {
		if (!based && (all || batch.nblock > 0)) {
			r->out.len = 0;
			eo_resend_base(out, &r->out);
			if (!put(r, &r->out))
				break;
		}
		based = true;
		if (batch.nblock == 0 || !put(r, &batch.frames))
			break;
		r->sent += batch.messages;
		if (r->counts && eo_resend_mark(r->j, &batch) != EO_OK)
			break;
	}
	eo_resend_free(&batch);
}

static void
send_due(struct replay *r, bool all)
{
	struct eo_out *list;
	size_t n;

	if (eo_outbox_submissions(r->j) == EO_OK && eo_resend_channels(r->j,
	    &r->filter, all, &list, &n) == EO_OK) {
		for (size_t i = 0; i < n && !r->end &&
		    r->j->err.status == EO_OK; i++)
			send_channel(r, &list[i], all);
		free(list);
	}
	if (eo_io_stopped())
		r->end = true;
}

/* When something is due; INT64_MAX: nothing is pending. */
static int64_t
next_due(struct replay *r)
{
	uint64_t unsettled;
	int64_t next = INT64_MAX;

	(void)eo_resend_pending(r->j, &r->filter, &unsettled, &next);
	/* At a terminal it was shown, and not sent: not again at once. */
	if (!r->counts && next <= eo_env_now(r->j->env))
		next = eo_env_now(r->j->env) + EO_RESEND_MS;
	return next;
}

/*
 * Sleeps until it is time to look again.  The log is written before a commit
 * can be seen, and nothing tells when it can: so after each event *step is 1
 * ms, doubled until we sleep for good.
 */
static void
sleep_till(struct replay *r, int watch, int64_t due, int64_t *step)
{
	int64_t now = eo_env_now(r->j->env), ms = -1;

	if (due != INT64_MAX)
		ms = due > now ? due - now : 0;
	if (*step > 0 && (ms < 0 || ms > *step))
		ms = *step;
	if (watch == -1 && (ms < 0 || ms > 1000))
		ms = 1000;
	switch (eo_io_wait(watch, STDOUT_FILENO, ms)) {
	case EO_WAIT_GONE:
		r->end = true;
		break;
	case EO_WAIT_STOPPED:
		r->worst = eo_status_worst(r->worst, EO_AGAIN);
		r->end = true;
		break;
	case EO_WAIT_READY:
		eo_io_watch_drain(watch);
		*step = 1;
		break;
	case EO_WAIT_TIMEOUT:
		*step = *step > 8000 ? 0 : 2 * *step;
	}
}

/* Sends what others journal as they do, and what becomes due. */
static void
follow(struct replay *r)
{
	char *log = eo_journal_beside(r->j, "wal");
	int watch = eo_io_watch(log);
	bool all = r->opts[O_ALL].count > 0;
	/* As if an event had just come: one may have, before the watch. */
	int64_t seen = -1, due = 0, step = 1;

	while (!r->end && r->j->err.status == EO_OK) {
		int64_t version = eo_db_version(r->j->db);

		if (version != seen || eo_env_now(r->j->env) >= due) {
			seen = version;
			send_due(r, all);
			all = false;
			due = next_due(r);
		}
		if (!r->end && r->j->err.status == EO_OK)
			sleep_till(r, watch, due, &step);
	}
	if (watch != -1)
		close(watch);
	free(log);
}

/* A receiver's present acks, one line a channel. */
static void
send_acks(struct replay *r)
{
	struct eo_inbox ib;
	struct eo_rows *st;

	eo_inbox_init(&ib, r->j);
	if (eo_journal_read(r->j) == EO_OK) {
		st = eo_db_query(r->j->db, "SELECT source, channel FROM eo_in "
		    "WHERE life > 0 ORDER BY id", "");
		while (eo_db_row(st))
			if (eo_channels_match(&r->filter, eo_db_bytes(st, 1)))
				eo_in_acks(&ib, eo_inbox_channel(&ib,
				    eo_db_bytes(st, 0), eo_db_bytes(st, 1),
				    false), true, &r->out);
		eo_journal_read_end(r->j);
	}
	if (r->j->err.status == EO_OK)
		put(r, &r->out);
	eo_inbox_free(&ib);
}

/* For a person at a terminal who sees nothing happen. */
static void
tell(struct replay *r)
{
	uint64_t unsettled;
	int64_t next, now = eo_env_now(r->j->env);

	if (eo_resend_pending(r->j, &r->filter, &unsettled, &next) != EO_OK)
		return;
	if (unsettled == 0)
		warnx("nothing due; nothing unacknowledged");
	else
		warnx("nothing due; %llu unacknowledged, next in %lld s "
		    "(-a sends them now)", (unsigned long long)unsettled,
		    (long long)((next > now ? next - now : 0) + 999) / 1000);
}

static enum eo_status
run(struct replay *r)
{
	r->counts = !eo_io_sink(STDOUT_FILENO);
	if (r->opts[O_ACKS].count > 0)
		send_acks(r);
	else if (r->opts[O_FOLLOW].count > 0)
		follow(r);
	else {
		send_due(r, r->opts[O_ALL].count > 0);
		if (r->sent == 0 && r->worst == EO_OK &&
		    r->j->err.status == EO_OK && isatty(STDOUT_FILENO))
			tell(r);
	}
	if (eo_io_stopped())
		r->worst = eo_status_worst(r->worst, EO_AGAIN);
	if (r->opts[EO_OPT_VERBOSE].count > 0)
		warnx("%llu messages sent", (unsigned long long)r->sent);
	return eo_cli_end(r->cli, r->j, r->worst);
}

int
main(int argc, char **argv)
{
	struct eo_option opts[] = { EO_COMMON_OPTIONS,
	    { "a", "all", NULL, "all that is unsettled, due or not", 1, 0,
	    NULL },
	    { "f", "follow", NULL, "stay, and send what comes", 1, 0, NULL },
	    { NULL, "acks", NULL, "a receiver's present acks instead", 1, 0,
	    NULL },
	    { NULL, NULL, NULL, NULL, 0, 0, NULL } };
	struct eo_cli cli = { .name = "eo-replay", .operands_help = "",
	    .purpose = "Sends what has not been acknowledged.",
	    .opts = opts };
	struct replay r = { .cli = &cli, .opts = opts };
	int status;

	eo_io_init();
	(void)eo_io_guard();
	status = eo_cli_parse(&cli, argc, argv);
	if (status >= 0)
		return status;
	status = EO_USAGE;
	if (cli.noperands > 0) {
		eo_cli_usage(&cli, "%s: takes no operands", cli.operands[0]);
		goto out;
	}
	if (opts[O_ACKS].count > 0 && opts[O_ALL].count +
	    opts[O_FOLLOW].count > 0) {
		eo_cli_usage(&cli, "--acks excludes -a and -f");
		goto out;
	}
	if (!eo_cli_channels(&cli, true, &r.filter))
		goto out;
	status = (int)eo_cli_journal(&cli, 0, &r.j);
	if (status != EO_OK)
		goto out;
	eo_io_widen(STDOUT_FILENO);
	status = (int)run(&r);
	eo_journal_close(r.j);
	eo_buf_free(&r.out);
out:
	eo_cli_free(&cli);
	return status;
}

/*
 * eo-ack: settles.  Acks and votes on standard input for this journal, frames
 * that its filter printed, and what an operator decides.
 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "complete.h"
#include "feed.h"
#include "io.h"
#include "operator.h"
#include "resend.h"
#include "settle.h"

enum { O_DONE = EO_OPT_OWN, O_DEAD, O_AGAIN, O_RECEIVER };

struct ack {
	struct eo_cli *cli;
	struct eo_option *opts;
	struct eo_journal *j;
	struct eo_channels filter;
	struct eo_complete complete;
	struct eo_feed feed;
	struct eo_buf out;
	const struct eo_frame **rest;	/* of a batch: what is no ack for us */
	size_t nrest, cap;
	enum eo_status worst;
	bool end;
};

static void
worsen(struct ack *a, enum eo_status s)
{
	a->worst = eo_status_worst(a->worst, s);
}

static void
put_out(struct ack *a)
{
	int e = eo_io_write(STDOUT_FILENO, a->out.p, a->out.len);

	a->out.len = 0;
	if (e == 0 || e == EINTR)
		return;
	a->end = true;
	warnx("standard output: %s", strerror(e));
	worsen(a, e == EPIPE ? EO_AGAIN : EO_IO);
}

/* Is a frame for us to act on, and not for somebody further on? */
static bool
for_us(struct ack *a, const struct eo_frame *f)
{
	return eo_channels_match(&a->filter, f->channel) &&
	    eo_journal_named(a->j, f->source) != NULL;
}

/* A later ack of the same author says all that this one says. */
static bool
overtaken(const struct eo_frame *f, const struct eo_frame *next)
{
	return f->ranges.n == 0 && next->type == EO_ACK &&
	    next->seq >= f->seq && eo_slice_eq(f->source, next->source) &&
	    eo_slice_eq(f->channel, next->channel) &&
	    eo_slice_eq(f->receiver, next->receiver);
}

/* The acks of a batch, in one transaction. */
static void
settle(struct ack *a)
{
	struct eo_frame *f = a->feed.frame;
	struct eo_settle st;
	bool any = false;

	for (size_t i = 0; i < a->feed.n && !any; i++)
		any = f[i].type == EO_ACK && for_us(a, &f[i]);
	if (!any || eo_settle_begin(&st, a->j) != EO_OK)
		return;
	for (size_t i = 0; i < a->feed.n; i++) {
		if (f[i].type != EO_ACK || !for_us(a, &f[i]) ||
		    (i + 1 < a->feed.n && overtaken(&f[i], &f[i + 1])))
			continue;
		eo_settle_ack(&st, &f[i]);
	}
	worsen(a, eo_settle_end(&st));
}

static void
batch(struct ack *a)
{
	a->nrest = 0;
	settle(a);
	for (size_t i = 0; i < a->feed.n; i++) {
		const struct eo_frame *f = &a->feed.frame[i];

		if (f->type == EO_VOTE && for_us(a, f)) {
			warnx("a vote of %.32s on channel %.*s: there is no "
			    "such transaction", f->receiver.p,
			    (int)f->channel.n, f->channel.p);
			worsen(a, EO_DATA);
		} else if (f->type != EO_ACK || !for_us(a, f)) {
			if (a->nrest == a->cap) {
				a->cap = a->cap == 0 ? 256 : 2 * a->cap;
				a->rest = eo_grow(a->rest, a->cap,
				    sizeof(*a->rest));
			}
			a->rest[a->nrest++] = f;
		}
	}
	if (a->nrest > 0 && a->j->err.status == EO_OK)
		eo_complete_batch(&a->complete, a->rest, a->nrest, &a->out);
	if (a->j->err.status == EO_OK)
		put_out(a);
}

/* Is everything settled that is to be? */
static void
look_what_is_left(struct ack *a)
{
	uint64_t pending = 0, printed = 0;
	int64_t next;

	if (eo_resend_pending(a->j, &a->filter, &pending, &next) != EO_OK ||
	    eo_complete_left(&a->complete, &printed) != EO_OK)
		return;
	if (pending + printed == 0)
		return;
	worsen(a, EO_AGAIN);
	if (a->opts[EO_OPT_VERBOSE].count > 0 && pending > 0)
		warnx("%llu messages are not settled",
		    (unsigned long long)pending);
	if (a->opts[EO_OPT_VERBOSE].count > 0 && printed > 0)
		warnx("%llu messages were printed and are not completed",
		    (unsigned long long)printed);
}

static void
read_input(struct ack *a)
{
	eo_feed_init(&a->feed, STDIN_FILENO, &a->j->report);
	while (!a->end && a->j->err.status == EO_OK) {
		switch (eo_feed_fill(&a->feed, -1, -1)) {
		case EO_READ_MORE:
			batch(a);
			break;
		case EO_READ_STOPPED:
			worsen(a, EO_AGAIN);
			a->end = true;
			break;
		case EO_READ_ERROR:
			warnx("standard input: cannot read: %s",
			    strerror(a->feed.reader.error));
			worsen(a, EO_IO);
			a->end = true;
			break;
		case EO_READ_TIMEOUT:
		case EO_READ_GONE:
			break;
		case EO_READ_END:
			a->end = true;
		}
	}
	worsen(a, eo_feed_end(&a->feed));
	worsen(a, a->complete.worst);
	if (a->j->err.status == EO_OK)
		look_what_is_left(a);
	eo_feed_free(&a->feed);
}

static void
do_verb(struct ack *a)
{
	const struct eo_option *o = a->opts;
	enum eo_verb verb = o[O_DONE].count > 0 ? EO_VERB_DONE :
	    o[O_DEAD].count > 0 ? EO_VERB_DEAD : EO_VERB_AGAIN;
	const char *reason = o[O_DEAD].count > 0 ? o[O_DEAD].values[0] : NULL;

	if (o[O_RECEIVER].count > 0) {
		worsen(a, eo_operator_receiver(a->j, &a->filter,
		    o[O_RECEIVER].values[0]));
		return;
	}
	for (int i = 0; i < a->cli->noperands &&
	    a->j->err.status == EO_OK; i++)
		worsen(a, eo_operator_do(a->j, verb, a->cli->operands[i],
		    reason));
}

static bool
check_options(struct ack *a, bool *verb)
{
	const struct eo_option *o = a->opts;
	int n = o[O_DONE].count + o[O_DEAD].count + o[O_AGAIN].count;
	struct eo_ref ref;

	*verb = n + o[O_RECEIVER].count > 0;
	if (!eo_cli_channels(a->cli, true, &a->filter))
		return false;
	if (n + o[O_RECEIVER].count > 1) {
		eo_cli_usage(a->cli, "--done, --dead, --again and --receiver "
		    "exclude each other");
		return false;
	}
	if (n > 0 && a->cli->noperands == 0) {
		eo_cli_usage(a->cli, "which message? (CHANNEL/NUMBER …)");
		return false;
	}
	if (n == 0 && a->cli->noperands > 0) {
		eo_cli_usage(a->cli, "%s: what is to be done with it? (--done "
		    "--dead --again)", a->cli->operands[0]);
		return false;
	}
	for (int i = 0; i < a->cli->noperands; i++)
		if (!eo_ref_parse(a->cli->operands[i], &ref)) {
			eo_cli_usage(a->cli, "%s: is no reference "
			    "(CHANNEL/NUMBER, SOURCE/CHANNEL/NUMBER, "
			    "CHANNEL/FROM-TO)", a->cli->operands[i]);
			return false;
		}
	if (o[O_RECEIVER].count > 0 && !eo_source_valid(eo_slice_str(
	    o[O_RECEIVER].values[0]))) {
		eo_cli_usage(a->cli, "--receiver=%s: is no source of 32 hex "
		    "digits", o[O_RECEIVER].values[0]);
		return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	struct eo_option opts[] = { EO_COMMON_OPTIONS,
	    { NULL, "done", NULL, "the REFs are completed", 1, 0, NULL },
	    { NULL, "dead", "REASON", "make the REFs dead letters", 1, 0,
	    NULL },
	    { NULL, "again", NULL, "the REFs are due again, now", 1, 0,
	    NULL },
	    { NULL, "receiver", "SOURCE", "the channel has moved there", 1, 0,
	    NULL },
	    { NULL, NULL, NULL, NULL, 0, 0, NULL } };
	struct eo_cli cli = { .name = "eo-ack", .operands_help = "[REF...]",
	    .purpose = "Settles what the acks on standard input, or you, say "
	    "is done.", .opts = opts };
	struct ack a = { .cli = &cli, .opts = opts };
	bool verb;
	int status;

	eo_io_init();
	(void)eo_io_guard();
	status = eo_cli_parse(&cli, argc, argv);
	if (status >= 0)
		return status;
	status = EO_USAGE;
	if (!check_options(&a, &verb))
		goto out;
	/* In a pipe from an eo-send that makes the journal, it is there when
	   the first ack is. */
	if (!verb)
		(void)eo_io_wait(STDIN_FILENO, -1, -1);
	status = (int)eo_cli_journal(&cli, 0, &a.j);
	if (status != EO_OK)
		goto out;
	eo_complete_init(&a.complete, a.j);
	a.complete.filter = a.filter;
	eo_io_widen(STDIN_FILENO);
	if (verb)
		do_verb(&a);
	else
		read_input(&a);
	status = (int)eo_cli_end(&cli, a.j, a.worst);
	eo_complete_free(&a.complete);
	eo_journal_close(a.j);
	free(a.rest);
	eo_buf_free(&a.out);
out:
	eo_cli_free(&cli);
	return status;
}

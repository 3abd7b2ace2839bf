/*
 * eo-send: journals messages, then prints their frames.
 *
 * A batch is what has arrived, up to about 1 MiB: one transaction, and its
 * frames are written when it is durable.  Losing the reader loses nothing:
 * the frames stay due, and the rest of the input is journalled.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "fields.h"
#include "io.h"
#include "outbox.h"

enum { O_NULL = EO_OPT_OWN, O_WHOLE, O_MESSAGE, O_QUIET, O_REFS, O_ID, O_KEY,
    O_HEADER, O_FIELDS, O_RAW, O_MAX_BODY, O_MAX_FRAME };

enum printing { PRINT_FRAMES, PRINT_REFS, PRINT_NOTHING };

struct send {
	struct eo_cli *cli;
	struct eo_option *opts;
	struct eo_journal *j;
	struct eo_outbox ob;
	struct eo_channels channels;
	struct eo_buf headers;		/* of -H, as attributes */
	struct eo_fields fields;
	enum printing printing;
	bool open;			/* a transaction is */
	size_t bytes;			/* taken in it */
	uint64_t taken, in_batch;
	struct eo_buf refs, out;
	struct eo_put_ref last;
	uint64_t first;			/* of a run of numbers up to last */
	char last_channel[EO_CHANNEL_MAX + 1];
	uint64_t max_body;
	const char *input;		/* named in messages */
	uint64_t line;
	enum eo_status worst;
};

static void
bad_message(struct send *s, const char *why)
{
	s->worst = eo_status_worst(s->worst, EO_DATA);
	if (s->line > 0)
		warnx("%s: line %llu: not taken: %s", s->input,
		    (unsigned long long)s->line, why);
	else
		warnx("%s: not taken: %s", s->input, why);
}

/* The reader has gone away, or cannot take it: what was not written is due. */
static void
lost_reader(struct send *s, int e)
{
	if (e == EPIPE) {
		warnx("standard output: its reader has gone away; journalling "
		    "on (send with eo-replay)");
	} else {
		warnx("standard output: %s; journalling on", strerror(e));
		s->worst = eo_status_worst(s->worst, EO_IO);
	}
	s->printing = PRINT_NOTHING;
	(void)eo_outbox_unsent(&s->ob);
}

static void
print(struct send *s)
{
	struct eo_outbox_channel *ch;
	size_t i = 0;
	int e = 0;

	if (s->printing == PRINT_REFS)
		e = eo_io_write(STDOUT_FILENO, s->refs.p, s->refs.len);
	while (s->printing == PRINT_FRAMES && e == 0 &&
	    (ch = eo_outbox_next(&s->ob, &i)) != NULL) {
		s->out.len = 0;
		eo_outbox_base(ch, &s->out);
		e = eo_io_write(STDOUT_FILENO, s->out.p, s->out.len);
		if (e == 0)
			e = eo_io_write(STDOUT_FILENO, ch->frames.p,
			    ch->frames.len);
	}
	s->refs.len = 0;
	if (e == EINTR)
		(void)eo_outbox_unsent(&s->ob);
	else if (e != 0)
		lost_reader(s, e);
}

/* The commit point of a batch; only then is anything printed. */
static enum eo_status
commit(struct send *s)
{
	if (!s->open)
		return EO_OK;
	s->open = false;
	if (eo_outbox_end(&s->ob, EO_OK) != EO_OK)
		return s->j->err.status;
	s->taken += s->in_batch;
	s->in_batch = 0;
	s->bytes = 0;
	print(s);
	return s->j->err.status;
}

static void
refused(struct send *s, const struct eo_message *m, enum eo_put put,
    const struct eo_put_ref *ref)
{
	struct eo_buf why = { 0 };

	if (put == EO_PUT_LARGE)
		eo_buf_adds(&why, "its frame or its attributes are too long");
	else
		eo_buf_addf(&why, "its id is that of %s %.8s/%s/%llu",
		    put == EO_PUT_DEAD ? "the dead letter" :
		    "another message,", ref->source, m->channel,
		    (unsigned long long)ref->seq);
	if (put == EO_PUT_DEAD)
		eo_buf_adds(&why, " (send it again: eo-ack --again)");
	eo_buf_addc(&why, '\0');
	bad_message(s, why.p);
	eo_buf_free(&why);
}

/* One message to one channel. */
static enum eo_status
put_one(struct send *s, struct eo_message *m)
{
	struct eo_put_ref ref;
	enum eo_put put;

	if (!s->open && eo_outbox_begin(&s->ob, s->printing ==
	    PRINT_FRAMES) != EO_OK)
		return s->j->err.status;
	s->open = true;
	if (eo_outbox_add(&s->ob, m, &put, &ref) != EO_OK)
		return s->j->err.status;
	if (put != EO_PUT_NEW && put != EO_PUT_REPEAT) {
		refused(s, m, put, &ref);
		return EO_OK;
	}
	if (put == EO_PUT_NEW)
		s->in_batch++;
	s->bytes += m->body.n + 200;
	if (strcmp(s->last_channel, m->channel) != 0 ||
	    ref.seq != s->last.seq + 1)
		s->first = ref.seq;
	s->last = ref;
	strncpy(s->last_channel, m->channel, EO_CHANNEL_MAX);
	if (s->printing == PRINT_REFS)
		eo_buf_addf(&s->refs, "%s/%s/%llu\n", ref.source, m->channel,
		    (unsigned long long)ref.seq);
	return EO_OK;
}

static enum eo_status
put_all(struct send *s, struct eo_message *m)
{
	if (m->body.n > s->max_body) {
		bad_message(s, "its body is longer than --max-body");
		return EO_OK;
	}
	if (m->channel != NULL)
		put_one(s, m);
	else if (s->channels.n == 0) {
		m->channel = EO_CHANNEL_DEFAULT;
		put_one(s, m);
	}
	else for (size_t i = 0; i < s->channels.n; i++) {
		m->channel = s->channels.pattern[i];
		put_one(s, m);
	}
	if (s->j->err.status == EO_OK && s->bytes >= EO_BATCH)
		return commit(s);
	return s->j->err.status;
}

static const char *
bad_attribute(struct eo_slice id, struct eo_slice key)
{
	if (id.n > 1024)
		return "its id is longer than 1024 bytes";
	if (key.n > 1024)
		return "its key is longer than 1024 bytes";
	return NULL;
}

/* One message as it was read. */
static enum eo_status
take(struct send *s, struct eo_slice text)
{
	struct eo_message m = { .body = text,
	    .attrs = eo_slice_buf(&s->headers) };
	struct eo_buf room = { 0 }, attrs = { 0 };
	const char *why = NULL;

	if (s->opts[O_KEY].count > 0)
		m.key = eo_slice_str(s->opts[O_KEY].values[0]);
	if (s->opts[O_ID].count > 0)
		m.id = eo_slice_str(s->opts[O_ID].values[0]);
	if (s->opts[O_ID].count > 0 && s->last.seq > 0)
		why = "-i names one message, and this is another (-F id,body "
		    "names each)";
	if (why == NULL && s->fields.n > 0) {
		eo_buf_add(&attrs, s->headers.p, s->headers.len);
		why = eo_fields_read(&s->fields, text,
		    s->opts[O_RAW].count > 0, &m, &room, &attrs);
		m.attrs = eo_slice_buf(&attrs);
	}
	if (why == NULL)
		why = bad_attribute(m.id, m.key);
	if (why != NULL)
		bad_message(s, why);
	else
		put_all(s, &m);
	eo_buf_free(&room);
	eo_buf_free(&attrs);
	return s->j->err.status;
}

/* Reads messages from fd until its end. */
static enum eo_status
take_lines(struct send *s, int fd, char delim)
{
	size_t max = s->fields.n > 0 ? EO_FRAME_MAX : s->max_body;
	struct eo_reader r;
	struct eo_slice line;
	enum eo_read got;
	enum eo_line kind;

	eo_reader_init(&r, fd, delim, max);
	for (;;) {
		bool watch = s->printing == PRINT_FRAMES;

		got = eo_reader_fill(&r, watch ? STDOUT_FILENO : -1, -1);
		if (got == EO_READ_GONE) {
			lost_reader(s, EPIPE);
			continue;
		}
		if (got != EO_READ_MORE || s->j->err.status != EO_OK)
			break;
		while ((kind = eo_reader_next(&r, &line)) != EO_LINE_NONE) {
			s->line = r.line;
			if (kind == EO_LINE_LONG)
				bad_message(s, "its body is longer than "
				    "--max-body");
			else if (take(s, line) != EO_OK)
				break;
		}
		if (commit(s) != EO_OK)
			break;
	}
	s->line = 0;
	if (got == EO_READ_STOPPED)
		s->worst = eo_status_worst(s->worst, EO_AGAIN);
	if (got == EO_READ_ERROR) {
		warnx("%s: cannot read: %s", s->input, strerror(r.error));
		s->worst = eo_status_worst(s->worst, EO_IO);
	}
	eo_reader_free(&r);
	return s->j->err.status;
}

/* Reads all of fd as one message. */
static enum eo_status
take_whole(struct send *s, int fd)
{
	struct eo_buf all = { 0 };
	ssize_t n = 1;

	while (n != 0 && all.len <= s->max_body) {
		if (eo_io_wait(fd, -1, -1) == EO_WAIT_STOPPED) {
			s->worst = eo_status_worst(s->worst, EO_AGAIN);
			goto out;
		}
		n = read(fd, eo_buf_room(&all, 65536), 65536);
		if (n < 0 && errno != EINTR && errno != EAGAIN) {
			warn("%s: cannot read", s->input);
			s->worst = eo_status_worst(s->worst, EO_IO);
			goto out;
		}
		if (n > 0)
			all.len += (size_t)n;
	}
	if (take(s, eo_slice_buf(&all)) == EO_OK)
		commit(s);
out:
	eo_buf_free(&all);
	return s->j->err.status;
}

static enum eo_status
take_input(struct send *s, int fd)
{
	if (s->opts[O_WHOLE].count > 0)
		return take_whole(s, fd);
	return take_lines(s, fd, s->opts[O_NULL].count > 0 ? '\0' : '\n');
}

static enum eo_status
take_files(struct send *s)
{
	for (int i = 0; i < s->cli->noperands && !eo_io_stopped() &&
	    s->j->err.status == EO_OK; i++) {
		const char *name = s->cli->operands[i];
		int fd;

		s->input = name;
		if (strcmp(name, "-") == 0) {
			s->input = "standard input";
			take_input(s, STDIN_FILENO);
			continue;
		}
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd == -1) {
			warn("%s: cannot open", name);
			s->worst = eo_status_worst(s->worst, EO_NOINPUT);
			continue;
		}
		take_input(s, fd);
		close(fd);
	}
	return s->j->err.status;
}

static bool
parse_headers(struct send *s)
{
	const struct eo_option *o = &s->opts[O_HEADER];

	for (int i = 0; i < o->count; i++) {
		struct eo_slice value = eo_slice_str(o->values[i]), had;
		struct eo_slice name = eo_slice_cut(&value, '=');
		struct eo_buf attr = { 0 };
		bool good = value.p != NULL && eo_header_valid(name);

		eo_buf_addf(&attr, "h.%.*s", (int)name.n, name.p);
		eo_buf_addc(&attr, '\0');
		good = good && !eo_attrs_get(eo_slice_buf(&s->headers),
		    attr.p, &had);
		if (good)
			eo_attrs_add(&s->headers, attr.p, value);
		eo_buf_free(&attr);
		if (!good) {
			eo_cli_usage(s->cli, "--header=%s: is no NAME=VALUE, "
			    "with a NAME of A-Z a-z 0-9 _ -, given once",
			    o->values[i]);
			return false;
		}
	}
	return true;
}

static bool
check_fields(struct send *s)
{
	const struct eo_option *o = &s->opts[O_FIELDS];
	const char *why = o->count == 0 ? NULL :
	    eo_fields_parse(&s->fields, eo_slice_str(o->values[0]),
	    eo_slice_buf(&s->headers));

	if (why != NULL)
		eo_cli_usage(s->cli, "--fields=%s: %s (channel id key h.NAME "
		    "body)", o->values[0], why);
	return why == NULL;
}

/* The options that must make sense before anything is touched. */
static bool
check_options(struct send *s)
{
	const struct eo_option *o = s->opts;
	uint64_t max_frame = 0;

	s->max_body = EO_BODY_MAX;
	if (!eo_cli_channels(s->cli, false, &s->channels) ||
	    !eo_cli_size(s->cli, &o[O_MAX_BODY], &s->max_body) ||
	    !eo_cli_size(s->cli, &o[O_MAX_FRAME], &max_frame) ||
	    !parse_headers(s) || !check_fields(s))
		return false;
	s->ob.max_frame = (size_t)max_frame;
	if (s->max_body > EO_BODY_MAX) {
		eo_cli_usage(s->cli, "--max-body: is 16M at most");
		return false;
	}
	if ((o[O_MESSAGE].count > 0 && s->cli->noperands > 0) ||
	    (o[O_NULL].count > 0 && o[O_WHOLE].count > 0)) {
		eo_cli_usage(s->cli, "%s", o[O_MESSAGE].count > 0 ?
		    "-m and FILE exclude each other" :
		    "-0 and -w exclude each other");
		return false;
	}
	if ((o[O_ID].count > 0 && o[O_ID].values[0][0] == '\0') ||
	    (o[O_KEY].count > 0 && o[O_KEY].values[0][0] == '\0')) {
		eo_cli_usage(s->cli, "an id or a key cannot be empty");
		return false;
	}
	return true;
}

/* What a person at a terminal reads instead of frames. */
static void
tell(const struct send *s)
{
	if (s->taken == 1)
		warnx("1 message journalled: %s/%llu", s->last_channel,
		    (unsigned long long)s->last.seq);
	else if (s->last.seq - s->first + 1 == s->taken)
		warnx("%llu messages journalled: %s/%llu-%llu",
		    (unsigned long long)s->taken, s->last_channel,
		    (unsigned long long)s->first,
		    (unsigned long long)s->last.seq);
	else
		warnx("%llu messages journalled",
		    (unsigned long long)s->taken);
}

static enum eo_status
run(struct send *s)
{
	const struct eo_option *o = s->opts;
	bool terminal = false;
	enum eo_status status;

	if (o[O_REFS].count > 0)
		s->printing = PRINT_REFS;
	else if (o[O_QUIET].count > 0 || s->channels.n > 1)
		s->printing = PRINT_NOTHING;
	else if (eo_io_sink(STDOUT_FILENO)) {
		s->printing = PRINT_NOTHING;
		terminal = isatty(STDOUT_FILENO);
	}
	if (o[O_MESSAGE].count > 0) {
		s->input = "-m";
		for (int i = 0; i < o[O_MESSAGE].count; i++)
			take(s, eo_slice_str(o[O_MESSAGE].values[i]));
		commit(s);
	} else if (s->cli->noperands > 0) {
		take_files(s);
	} else {
		s->input = "standard input";
		take_input(s, STDIN_FILENO);
	}
	if (s->open) {
		s->open = false;
		eo_journal_end(s->j, EO_AGAIN);
	}
	status = eo_cli_end(s->cli, s->j, s->worst);
	if (status != EO_OK || o[EO_OPT_VERBOSE].count > 0)
		warnx("%llu messages were taken",
		    (unsigned long long)s->taken);
	else if (terminal)
		tell(s);
	return status;
}

int
main(int argc, char **argv)
{
	struct eo_option opts[] = { EO_COMMON_OPTIONS,
	    { "0", "null", NULL, "a message ends with NUL, not LF", 1, 0,
	    NULL },
	    { "w", "whole", NULL, "each input is one message", 1, 0, NULL },
	    { "m", "message", "TEXT", "a message (may be repeated)", 1000, 0,
	    NULL },
	    { "q", "quiet", NULL, "journal only", 1, 0, NULL },
	    { "R", "references", NULL, "print references, not frames", 1, 0,
	    NULL },
	    { "i", "id", "ID", "its idempotency key", 1, 0, NULL },
	    { "k", "key", "KEY", "messages of a key stay in order", 1, 0,
	    NULL },
	    { "H", "header", "NAME=VALUE", "a header (may be repeated)", 100,
	    0, NULL },
	    { "F", "fields", "LIST", "lines of channel,id,key,h.NAME,body", 1,
	    0, NULL },
	    { "r", "raw", NULL, "fields are not escaped", 1, 0, NULL },
	    { NULL, "max-body", "SIZE", "longest body (16M)", 1, 0, NULL },
	    { NULL, "max-frame", "SIZE", "longest frame (no limit)", 1, 0,
	    NULL },
	    { NULL, NULL, NULL, NULL, 0, 0, NULL } };
	struct eo_cli cli = { .name = "eo-send", .operands_help = "[FILE...]",
	    .purpose = "Journals messages, then prints their frames.",
	    .opts = opts };
	struct send s = { .cli = &cli, .opts = opts };
	int closed, status;

	eo_io_init();
	closed = eo_io_guard();
	status = eo_cli_parse(&cli, argc, argv);
	if (status >= 0)
		return status;
	status = EO_USAGE;
	if (!check_options(&s))
		goto out;
	if ((closed & 1) && cli.noperands == 0 && opts[O_MESSAGE].count == 0) {
		warnx("standard input is closed");
		status = EO_NOINPUT;
		goto out;
	}
	status = (int)eo_cli_journal(&cli, EO_JOURNAL_CREATE, &s.j);
	if (status == EO_OK) {
		size_t max_frame = s.ob.max_frame;

		eo_outbox_init(&s.ob, s.j);
		s.ob.max_frame = max_frame;
		eo_io_widen(STDIN_FILENO);
		eo_io_widen(STDOUT_FILENO);
		status = (int)run(&s);
		eo_outbox_free(&s.ob);
		eo_journal_close(s.j);
	}
out:
	eo_buf_free(&s.headers);
	eo_buf_free(&s.refs);
	eo_buf_free(&s.out);
	eo_cli_free(&cli);
	return status;
}

#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io.h"

#define GRACE_MS 5000	/* between TERM and KILL */

extern char **environ;

static int64_t
monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The environment of a handler: strings, and the list of them. */
struct env {
	char **v;
	size_t n, kept;		/* the first `kept` belong to environ */
};

static void
env_add(struct env *e, const char *name, struct eo_slice value)
{
	struct eo_buf b = { 0 };

	/* A variable cannot hold a NUL: what follows one is cut off. */
	eo_buf_addf(&b, "%s=", name);
	eo_buf_add(&b, value.p, value.n);
	eo_buf_addc(&b, '\0');
	e->v = eo_grow(e->v, e->n + 2, sizeof(*e->v));
	e->v[e->n++] = b.p;
	e->v[e->n] = NULL;
}

static void
env_add_escaped(struct env *e, const char *name, struct eo_slice value)
{
	struct eo_buf b = { 0 };

	eo_unescape(&b, value);
	env_add(e, name, eo_slice_buf(&b));
	eo_buf_free(&b);
}

static void
env_make(struct env *e, const struct eo_frame *f, int64_t try,
    const char *journal)
{
	static const struct { const char *attr, *name; } known[] = {
	    { "id", "EO_ID" }, { "key", "EO_KEY" }, { "time", "EO_TIME" } };
	struct eo_slice rest = f->attrs, name, value;
	char text[EO_SOURCE_LEN + EO_CHANNEL_MAX + 32];

	memset(e, 0, sizeof(*e));
	for (char **s = environ; *s != NULL; s++) {
		if (strncmp(*s, "EO_", 3) == 0)
			continue;
		e->v = eo_grow(e->v, e->n + 2, sizeof(*e->v));
		e->v[e->n++] = *s;
		e->v[e->n] = NULL;
	}
	e->kept = e->n;
	snprintf(text, sizeof(text), "%.32s/%.*s/%llu", f->source.p,
	    (int)f->channel.n, f->channel.p, (unsigned long long)f->seq);
	env_add(e, "EO_REF", eo_slice_str(text));
	env_add(e, "EO_SOURCE", f->source);
	env_add(e, "EO_CHANNEL", f->channel);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)f->seq);
	env_add(e, "EO_SEQ", eo_slice_str(text));
	snprintf(text, sizeof(text), "%lld", (long long)try);
	env_add(e, "EO_TRY", eo_slice_str(text));
	env_add(e, "EO_JOURNAL", eo_slice_str(journal));
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (eo_attrs_get(f->attrs, known[i].attr, &value))
			env_add_escaped(e, known[i].name, value);
	while (eo_attrs_next(&rest, &name, &value)) {
		struct eo_buf b = { 0 };

		if (name.n <= 2 || memcmp(name.p, "h.", 2) != 0)
			continue;
		eo_buf_adds(&b, "EO_HEADER_");
		eo_buf_add(&b, name.p + 2, name.n - 2);
		eo_buf_addc(&b, '\0');
		env_add_escaped(e, b.p, value);
		eo_buf_free(&b);
	}
}

static void
env_free(struct env *e)
{
	for (size_t i = e->kept; i < e->n; i++)
		free(e->v[i]);
	free(e->v);
}

/* Starts it; returns 0, or the errno that says why not. */
static int
start(const struct eo_run *run, char **env, int in, int out, int err,
    pid_t *pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t dfl, none;
	int e;

	sigemptyset(&none);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	sigaddset(&dfl, SIGXFSZ);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&fa, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&fa, err, STDERR_FILENO);
	posix_spawnattr_init(&at);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP |
	    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &dfl);
	e = posix_spawnp(pid, run->argv[0], &fa, &at, run->argv, env);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return e;
}

/* Passes on what it wrote to standard error; keeps the last line of it. */
static bool
pass_on(int fd, struct eo_buf *last)
{
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	(void)eo_io_write(STDERR_FILENO, chunk, (size_t)n);
	for (ssize_t i = 0; i < n; i++) {
		/* An LF ends a line; the next byte begins another. */
		if (last->len > 0 && last->p[last->len - 1] == '\n')
			last->len = 0;
		if (last->len < 199 || chunk[i] == '\n')
			eo_buf_addc(last, chunk[i]);
	}
	return true;
}

/* The child of one run, and what it writes. */
struct child {
	pid_t pid;
	int err;
	struct eo_buf last;
	int64_t kill_at;	/* INT64_MAX: never */
	bool termed, timed_out;
};

static void
check_time(struct child *c)
{
	if (monotonic() < c->kill_at)
		return;
	c->timed_out = true;
	kill(-c->pid, c->termed ? SIGKILL : SIGTERM);
	c->kill_at = c->termed ? INT64_MAX : monotonic() + GRACE_MS;
	c->termed = true;
}

/* Until the child has ended: its wait status. */
static int
attend(struct child *c)
{
	int status = 0;
	bool ended = false;

	for (;;) {
		struct pollfd pfd = { .fd = c->err, .events = POLLIN };
		sigset_t chld, old;
		struct timespec ts = { .tv_sec = 0 };
		int64_t left;

		sigemptyset(&chld);
		sigaddset(&chld, SIGCHLD);
		sigprocmask(SIG_BLOCK, &chld, &old);
		if (!ended)
			ended = waitpid(c->pid, &status, WNOHANG) == c->pid;
		left = c->kill_at == INT64_MAX ? 3600000 :
		    c->kill_at - monotonic();
		if (!ended && left > 0) {
			ts.tv_sec = (time_t)(left / 1000);
			ts.tv_nsec = (long)(left % 1000) * 1000000;
		}
		if (ppoll(&pfd, 1, &ts, &old) < 0)
			pfd.revents = 0;
		sigprocmask(SIG_SETMASK, &old, NULL);
		if (pfd.revents != 0 && !pass_on(c->err, &c->last)) {
			close(c->err);
			c->err = -1;
		} else if (ended && pfd.revents == 0)
			return status;
		if (ended && c->err == -1)
			return status;
		if (!ended)
			check_time(c);
	}
}

static void
judge(struct eo_run *run, struct child *c, int status)
{
	struct eo_buf *last = &c->last;

	if (last->len > 0 && last->p[last->len - 1] == '\n')
		last->len--;
	if (c->timed_out)
		snprintf(run->reason, sizeof(run->reason), "timed out");
	else if (last->len > 0)
		snprintf(run->reason, sizeof(run->reason), "%.*s",
		    (int)last->len, last->p);
	else if (WIFSIGNALED(status))
		snprintf(run->reason, sizeof(run->reason), "killed by "
		    "signal %d", WTERMSIG(status));
	else
		snprintf(run->reason, sizeof(run->reason), "exit status %d",
		    WEXITSTATUS(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		run->outcome = EO_RUN_DONE;
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 100)
		run->outcome = EO_RUN_NEVER;
	else
		run->outcome = EO_RUN_LATER;
}

/*
 * A file in memory that holds the body and LF, at its start.  Not a pipe: if
 * we are killed while it runs, a pipe would end early, and the handler would
 * take a part of the message for the whole.
 */
static int
body_file(const struct eo_frame *f)
{
	int fd = memfd_create("eo-body", MFD_CLOEXEC), e = 0;
	struct eo_buf body = { 0 };

	if (fd == -1)
		return -1;
	eo_unescape(&body, f->body);
	eo_buf_addc(&body, '\n');
	e = eo_io_write(fd, body.p, body.len);
	eo_buf_free(&body);
	if (e == 0 && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	close(fd);
	errno = e;
	return -1;
}

/* What a run that succeeded has written; too much makes it one that did
   not. */
static void
take_output(struct eo_run *run, int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	ssize_t n;

	run->output.len = 0;
	if (run->outcome != EO_RUN_DONE)
		return;
	if (size < 0 || size > EO_OUTPUT_MAX) {
		run->outcome = EO_RUN_LATER;
		snprintf(run->reason, sizeof(run->reason), "its output is "
		    "longer than %lld bytes", (long long)EO_OUTPUT_MAX);
		return;
	}
	while ((off_t)run->output.len < size && (n = pread(fd,
	    eo_buf_room(&run->output, (size_t)size), (size_t)size -
	    run->output.len, (off_t)run->output.len)) > 0)
		run->output.len += (size_t)n;
}

void
eo_handler_run(struct eo_run *run, const struct eo_frame *f, int64_t try,
    const char *journal)
{
	struct child c = { .err = -1, .kill_at = INT64_MAX };
	int in = body_file(f), out = STDERR_FILENO, err[2] = { -1, -1 }, e;
	struct env env;

	run->reason[0] = '\0';
	env_make(&env, f, try, journal);
	if (run->capture)
		out = memfd_create("eo-output", MFD_CLOEXEC);
	if (in == -1 || out == -1 || pipe2(err, O_CLOEXEC) == -1)
		e = errno;
	else
		e = start(run, env.v, in, out, err[1], &c.pid);
	env_free(&env);
	if (in != -1)
		close(in);
	if (err[1] != -1)
		close(err[1]);
	c.err = err[0];
	if (e == 0) {
		(void)fcntl(c.err, F_SETFL, O_NONBLOCK);
		if (run->timeout > 0)
			c.kill_at = monotonic() + run->timeout;
		judge(run, &c, attend(&c));
		if (run->capture)
			take_output(run, out);
	} else {
		run->outcome = EO_RUN_UNABLE;
		run->status = e == ENOENT || e == ENOTDIR ? 127 : 126;
		snprintf(run->reason, sizeof(run->reason), "%s", strerror(e));
	}
	if (c.err != -1)
		close(c.err);
	if (run->capture && out != -1)
		close(out);
	eo_buf_free(&c.last);
}

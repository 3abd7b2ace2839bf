#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* What a signal handler can reach must be global: the one variable of eo
   that is. */
static volatile sig_atomic_t stopped;

static void
on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void
on_wake(int sig)
{
	(void)sig;	/* only there to interrupt what waits */
}

void
eo_io_init(void)
{
	static const int stops[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sigemptyset(&sa.sa_mask);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGXFSZ, &sa, NULL);
	sa.sa_handler = on_wake;
	sigaction(SIGCHLD, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sa.sa_handler = on_stop;
	for (size_t i = 0; i < 3; i++) {
		struct sigaction old;

		/* nohup(1) and a shell's background jobs ignore some. */
		sigaction(stops[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(stops[i], &sa, NULL);
	}
}

bool
eo_io_stopped(void)
{
	return stopped != 0;
}

int
eo_io_guard(void)
{
	int closed = 0;

	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
			closed |= 1 << fd;
			/* 0 and 1 the wrong way round: to use what is closed
			   stays an error. */
			(void)open("/dev/null", fd == 1 ? O_RDONLY : O_WRONLY);
		}
	return closed;
}

int
eo_io_write(int fd, const void *p, size_t n)
{
	const char *s = p;

	while (n > 0) {
		ssize_t w = write(fd, s, n);

		if (w >= 0) {
			s += w;
			n -= (size_t)w;
		} else if (errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			(void)poll(&pfd, 1, -1);
		} else if (errno != EINTR) {
			return errno;
		}
		if (n > 0 && stopped && w < 0)
			return EINTR;
	}
	return 0;
}

void
eo_io_widen(int fd)
{
#ifdef F_SETPIPE_SZ
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		(void)fcntl(fd, F_SETPIPE_SZ, (int)EO_BATCH);
#else
	(void)fd;
#endif
}

bool
eo_io_gone(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = 0 };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLERR) != 0;
}

bool
eo_io_sink(int fd)
{
	struct stat st;

	return isatty(fd) || ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY &&
	    fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	    st.st_rdev == makedev(1, 3));
}

int
eo_io_watch(const char *path)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd != -1 && inotify_add_watch(fd, path, IN_MODIFY) == -1) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void
eo_io_watch_drain(int fd)
{
	char events[4096];

	while (fd != -1 && read(fd, events, sizeof(events)) > 0)
		continue;
}

enum eo_wait
eo_io_wait(int fd, int out_fd, int64_t ms)
{
	struct pollfd pfd[2] = { { .fd = fd, .events = POLLIN },
	    { .fd = out_fd, .events = 0 } };
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000),
	    .tv_nsec = (long)(ms % 1000) * 1000000 };
	sigset_t all, old;
	int n;

	/* Blocked outside ppoll(2), so that none falls between test and
	   wait. */
	sigemptyset(&all);
	sigaddset(&all, SIGTERM);
	sigaddset(&all, SIGINT);
	sigaddset(&all, SIGHUP);
	sigprocmask(SIG_BLOCK, &all, &old);
	n = stopped ? -1 : ppoll(pfd, 2, ms < 0 ? NULL : &ts, &old);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (stopped)
		return EO_WAIT_STOPPED;
	if (n > 0 && (pfd[0].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)))
		return EO_WAIT_READY;
	if (n > 0 && (pfd[1].revents & POLLERR))
		return EO_WAIT_GONE;
	return EO_WAIT_TIMEOUT;
}

void
eo_reader_init(struct eo_reader *r, int fd, char delim, size_t max)
{
	memset(r, 0, sizeof(*r));
	r->fd = fd;
	r->delim = delim;
	r->max = max;
}

void
eo_reader_free(struct eo_reader *r)
{
	eo_buf_free(&r->buf);
}

/* Moves the rest of a line to the front; drops it when it is too long. */
static void
compact(struct eo_reader *r)
{
	size_t rest = r->buf.len - r->start;

	if (rest > r->max) {
		r->dropping = true;
		rest = 0;
	}
	if (rest > 0)
		memmove(r->buf.p, r->buf.p + r->start, rest);
	r->buf.len = rest;
	r->start = 0;
	r->scanned = rest;
}

enum eo_read
eo_reader_fill(struct eo_reader *r, int out_fd, int64_t ms)
{
	size_t got = 0;

	if (r->eof)
		return EO_READ_END;
	compact(r);
	while (got < EO_BATCH) {
		size_t want = EO_BATCH - got;
		ssize_t n;

		switch (eo_io_wait(r->fd, got == 0 ? out_fd : -1,
		    got == 0 ? ms : 0)) {
		case EO_WAIT_STOPPED:
			return got > 0 ? EO_READ_MORE : EO_READ_STOPPED;
		case EO_WAIT_TIMEOUT:
			return got > 0 ? EO_READ_MORE : EO_READ_TIMEOUT;
		case EO_WAIT_GONE:
			return EO_READ_GONE;
		case EO_WAIT_READY:
			break;
		}
		n = read(r->fd, eo_buf_room(&r->buf, want), want);
		if (n == 0) {
			r->eof = true;
			return EO_READ_MORE;
		}
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			r->error = errno;
			return EO_READ_ERROR;
		}
		r->buf.len += (size_t)n;
		got += (size_t)n;
	}
	return EO_READ_MORE;
}

enum eo_line
eo_reader_next(struct eo_reader *r, struct eo_slice *line)
{
	const char *base = r->buf.p + r->start;
	const char *end = NULL;
	bool dropped = r->dropping;

	if (r->buf.len > r->scanned)
		end = memchr(r->buf.p + r->scanned, r->delim,
		    r->buf.len - r->scanned);
	*line = (struct eo_slice){ base, 0 };
	if (end != NULL) {
		line->n = (size_t)(end - base);
		r->start += line->n + 1;
		r->scanned = r->start;
		r->dropping = false;
		r->line++;
		if (!dropped && line->n <= r->max)
			return EO_LINE_WHOLE;
		line->n = 0;
		return EO_LINE_LONG;
	}
	r->scanned = r->buf.len;
	if (!r->eof || (r->start == r->buf.len && !dropped))
		return EO_LINE_NONE;
	line->n = r->buf.len - r->start;
	r->start = r->buf.len;
	r->dropping = false;
	r->line++;
	if (!dropped && line->n <= r->max)
		return EO_LINE_LAST;
	line->n = 0;
	return EO_LINE_LONG;
}

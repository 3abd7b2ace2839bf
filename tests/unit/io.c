/* io: lines out of pipes that give a byte, a batch, or far too much. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

/* A child that writes p in pieces of at most `piece` bytes: the end to read
   from. */
static int
pipe_of(struct eo_slice s, size_t piece, uint64_t random, pid_t *pid)
{
	int fd[2];

	fflush(stdout);
	if (pipe(fd) == -1 || (*pid = fork()) == -1) {
		printf("Bail out! no pipe, or no child\n");
		exit(1);
	}
	if (*pid == 0) {
		close(fd[0]);
		while (s.n > 0) {
			size_t n = 1 + rnd(&random) % piece;

			n = n < s.n ? n : s.n;
			if (eo_io_write(fd[1], s.p, n) != 0)
				_exit(1);
			s.p += n;
			s.n -= n;
		}
		_exit(0);
	}
	close(fd[1]);
	return fd[0];
}

/* What the line that begins at *rest must come as; steps over it. */
static enum eo_line
model_next(struct eo_slice *rest, char delim, size_t max,
    struct eo_slice *line)
{
	enum eo_line kind = EO_LINE_WHOLE;
	const char *end;

	if (rest->n == 0)
		return EO_LINE_NONE;
	end = memchr(rest->p, delim, rest->n);
	*line = *rest;
	if (end == NULL) {
		kind = EO_LINE_LAST;
		rest->n = 0;
	} else {
		line->n = (size_t)(end - line->p);
		rest->p += line->n + 1;
		rest->n -= line->n + 1;
	}
	if (line->n <= max)
		return kind;
	line->n = 0;
	return EO_LINE_LONG;
}

/* Reads text through a pipe as the model says? */
static bool
reads(struct eo_slice text, char delim, size_t max, size_t piece,
    uint64_t random)
{
	struct eo_slice rest = text, line, want;
	struct eo_reader r;
	uint64_t number = 0;
	enum eo_line kind;
	bool same = true;
	pid_t pid;
	int fd = pipe_of(text, piece, random, &pid);

	eo_reader_init(&r, fd, delim, max);
	while (eo_reader_fill(&r, -1, -1) == EO_READ_MORE)
		while ((kind = eo_reader_next(&r, &line)) != EO_LINE_NONE) {
			same &= kind == model_next(&rest, delim, max, &want) &&
			    eo_slice_eq(line, want) && r.line == ++number;
			if (!same)
				break;
		}
	same &= rest.n == 0 && r.eof;
	eo_reader_free(&r);
	close(fd);
	waitpid(pid, NULL, 0);
	return same;
}

static void
lines(uint64_t s)
{
	struct eo_buf b = { 0 };
	bool same[3] = { true, true, true };

	for (int round = 0; round < 90; round++) {
		char delim = round % 2 == 0 ? '\n' : '\0';
		size_t piece = round % 3 == 0 ? 1 : 1 + rnd(&s) % 300;
		size_t n = rnd(&s) % 1500;

		b.len = 0;
		while (b.len < n)
			eo_buf_addc(&b, rnd(&s) % 12 == 0 ? delim :
			    (char)rnd(&s));
		if (rnd(&s) % 2 == 0)
			eo_buf_addc(&b, delim);
		same[round % 3] &= reads(eo_slice_buf(&b), delim, 20, piece,
		    rnd(&s));
	}
	ok(same[0], "lines come whole out of a pipe that gives bytes");
	ok(same[1] && same[2], "and out of one that gives pieces");
	ok(reads(eo_slice_str(""), '\n', 9, 1, s), "no input has no line");
	ok(reads(eo_slice_str("\n"), '\n', 9, 1, s), "an LF is an empty line");
	ok(reads(eo_slice_str("123456789"), '\n', 9, 4, s),
	    "a last line without an end may have max bytes");
	ok(reads(eo_slice_str("a\n1234567890"), '\n', 9, 4, s),
	    "and no more, or it is dropped");
	eo_buf_free(&b);
}

/* A line far longer than a batch is dropped, without being kept. */
static void
huge(uint64_t s)
{
	size_t size = 12 * EO_BATCH, most = 0;
	struct eo_buf b = { 0 };
	struct eo_reader r;
	struct eo_slice line;
	enum eo_line kind[3] = { EO_LINE_NONE };
	int n = 0;
	pid_t pid;

	eo_buf_adds(&b, "first\n");
	memset(eo_buf_room(&b, size), 'x', size);
	b.len += size;
	eo_buf_adds(&b, "\nthird");
	eo_reader_init(&r, pipe_of(eo_slice_buf(&b), 100000, s, &pid), '\n',
	    4000);
	while (eo_reader_fill(&r, -1, -1) == EO_READ_MORE) {
		most = r.buf.cap > most ? r.buf.cap : most;
		while (n < 3 && (kind[n] = eo_reader_next(&r, &line)) !=
		    EO_LINE_NONE)
			n++;
	}
	ok(n == 3 && kind[0] == EO_LINE_WHOLE && kind[1] == EO_LINE_LONG &&
	    kind[2] == EO_LINE_LAST && eo_slice_is(line, "third") &&
	    r.line == 3, "12 MiB without an LF count as one line");
	ok(most < 3 * EO_BATCH, "and are not kept in memory");
	close(r.fd);
	eo_reader_free(&r);
	eo_buf_free(&b);
	waitpid(pid, NULL, 0);
}

static void
batches(void)
{
	struct eo_reader r;
	struct eo_slice line;
	enum eo_line kind;
	size_t most = 0, count = 0;
	int fd[2], file = memfd_create("lines", MFD_CLOEXEC);

	ok(pipe(fd) == 0 && eo_io_write(fd[1], "a\nb\nc", 5) == 0,
	    "a pipe that stays open");
	eo_reader_init(&r, fd[0], '\n', 100);
	ok(eo_reader_fill(&r, -1, -1) == EO_READ_MORE &&
	    eo_reader_next(&r, &line) == EO_LINE_WHOLE &&
	    eo_slice_is(line, "a") &&
	    eo_reader_next(&r, &line) == EO_LINE_WHOLE &&
	    eo_slice_is(line, "b") && eo_reader_next(&r, &line) ==
	    EO_LINE_NONE, "what has arrived is there without waiting");
	ok(eo_reader_fill(&r, -1, 0) == EO_READ_TIMEOUT &&
	    eo_reader_next(&r, &line) == EO_LINE_NONE, "nothing new");
	eo_io_write(fd[1], "d\n", 2);
	ok(eo_reader_fill(&r, -1, -1) == EO_READ_MORE &&
	    eo_reader_next(&r, &line) == EO_LINE_WHOLE &&
	    eo_slice_is(line, "cd") && r.line == 3, "the rest of a line");
	close(fd[1]);
	ok(eo_reader_fill(&r, -1, -1) == EO_READ_MORE &&
	    eo_reader_next(&r, &line) == EO_LINE_NONE &&
	    eo_reader_fill(&r, -1, -1) == EO_READ_END, "and the end");
	eo_reader_free(&r);
	close(fd[0]);

	for (int i = 0; i < 50; i++) {
		char block[100000];

		memset(block, 'x', sizeof(block));
		for (size_t k = 99; k < sizeof(block); k += 100)
			block[k] = '\n';
		eo_io_write(file, block, sizeof(block));
	}
	lseek(file, 0, SEEK_SET);
	eo_reader_init(&r, file, '\n', 100);
	while (eo_reader_fill(&r, -1, -1) == EO_READ_MORE) {
		size_t held = r.buf.len - r.start;

		most = held > most ? held : most;
		while ((kind = eo_reader_next(&r, &line)) != EO_LINE_NONE)
			count += kind == EO_LINE_WHOLE && line.n == 99;
	}
	ok(count == 50000, "50,000 lines of a file");
	ok(most <= EO_BATCH + 100, "in batches of about 1 MiB");
	eo_reader_free(&r);
	close(file);
}

static void
ends(void)
{
	struct eo_reader r;
	char text[5000] = "x";
	int in[2], out[2], status, dir = open("/", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	if (pipe(in) == -1 || pipe(out) == -1)
		exit(1);
	eo_reader_init(&r, in[0], '\n', 100);
	ok(!eo_io_gone(out[1]), "a reader is there");
	close(out[0]);
	ok(eo_io_gone(out[1]), "a reader has gone away");
	ok(eo_reader_fill(&r, out[1], -1) == EO_READ_GONE,
	    "that ends an idle wait");
	ok(eo_io_write(out[1], "x", 1) == EPIPE, "and is an error to write to");
	eo_reader_free(&r);
	eo_reader_init(&r, dir, '\n', 100);
	ok(eo_reader_fill(&r, -1, -1) == EO_READ_ERROR && r.error == EISDIR,
	    "a folder cannot be read: %s", strerror(r.error));
	eo_reader_free(&r);
	/* A pipe that is full, and set not to block, by its other user. */
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		size_t n = 0;
		ssize_t got;

		close(in[1]);
		usleep(20000);
		while ((got = read(in[0], text, sizeof(text))) > 0)
			n += (size_t)got;
		_exit(n == 100 * sizeof(text) ? 0 : 1);
	}
	for (int i = 0; i < 100; i++)
		eo_io_write(in[1], text, sizeof(text));
	close(in[1]);
	waitpid(pid, &status, 0);
	ok(status == 0, "all is written to a pipe that does not block");
	eo_reader_init(&r, in[0], '\n', 100);
	raise(SIGTERM);
	ok(eo_io_stopped() && eo_reader_fill(&r, -1, -1) == EO_READ_STOPPED,
	    "TERM ends a wait");
}

int
main(void)
{
	uint64_t s = seed();

	eo_io_init();
	lines(s);
	huge(s);
	batches();
	ends();
	return done();
}

/*
 * faulty: a pipe that misbehaves, by a seed. A tool of the tests.
 *
 *	eo-replay -a | faulty --seed 7 --lose 20 --shuffle 1000 | eo-recv ...
 *
 * Copies lines from standard input to standard output; without a fault asked
 * for it is cat. A line meets the faults in this order:
 *
 *	lose	it is gone
 *	repeat	it comes twice; each copy meets what follows by itself
 *	corrupt	one of its bytes becomes another one, but never an LF
 *	shuffle	it waits among LINES lines, of which chance lets one go on
 *	delay	it is held back until LINES others have passed
 *	splice	its end is cut off, LF included: the next line joins it
 *	cut	the output ends for ever at a byte, and faulty exits 0
 *
 * Each fault draws from a generator of its own: the same seed and input give
 * the same output, and `--lose 20` loses the same lines whatever else is
 * asked for. In a loop give each turn another seed, or the same lines will be
 * lost for ever.
 *
 * Lines may hold any bytes. A last line without LF stays without, unless it
 * no longer is the last. What waits is bounded: HELD_MAX bytes beside the
 * line being read; beyond that lines leave early. A line longer than LONGEST
 * is broken by an LF. Output is flushed whenever the input pauses.
 */
#include <sys/types.h>

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE ((size_t)64 << 10)
#define LONGEST   ((size_t)128 << 20)
#define HELD_MAX  ((size_t)64 << 20)
#define SLOTS_MAX 10000000

enum fault { LOSE, REPEAT, CORRUPT, SHUFFLE, DELAY, SPLICE, NFAULTS };

struct line {
	struct line *next;
	uint64_t due; /* of a delayed line: leaves when so many have passed */
	size_t len;   /* without the LF */
	bool lf;
	char at[];
};

struct faulty {
	double percent[NFAULTS];
	uint64_t random[NFAULTS];
	uint64_t count[NFAULTS];
	uint64_t seed;
	uint64_t in, out; /* lines */
	uint64_t left;    /* bytes until the cut */
	bool verbose, lf_owed;

	struct line **slot; /* shuffle: slots of them, used of those */
	size_t slots, used;
	struct line *first, **last; /* delay: a queue */
	uint64_t delay, passed;
	size_t held; /* bytes that wait in the slots and the queue */
};

/* splitmix64 */
static uint64_t
draw(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t
draw_below(uint64_t *state, size_t n)
{
	return (size_t)(draw(state) % n);
}

/* Whether chance wants this fault now; if so it is counted. */
static bool
strikes(struct faulty *f, enum fault what)
{
	double p = (double)(draw(&f->random[what]) >> 11) * 0x1p-53;

	if (p * 100 >= f->percent[what])
		return false;
	f->count[what]++;
	return true;
}

/* Finishes the output and the program. */
static void
finish(struct faulty *f)
{
	if (fflush(stdout) == EOF)
		err(EX_IOERR, "cannot write");
	if (f->verbose)
		fprintf(stderr,
		    "faulty: seed %" PRIu64 ": %" PRIu64 " in, %" PRIu64
		    " lost, %" PRIu64 " repeated, %" PRIu64
		    " corrupted, %" PRIu64 " delayed, %" PRIu64
		    " spliced, %" PRIu64 " out%s\n",
		    f->seed, f->in, f->count[LOSE], f->count[REPEAT],
		    f->count[CORRUPT], f->count[DELAY], f->count[SPLICE],
		    f->out, f->left == 0 ? ", cut" : "");
	exit(0);
}

/* Writes bytes, up to the cut: there it does not return. */
static void
put(struct faulty *f, const char *at, size_t len)
{
	size_t n = len < f->left ? len : (size_t)f->left;

	if (fwrite(at, 1, n, stdout) != n)
		err(EX_IOERR, "cannot write");
	if (f->left == UINT64_MAX)
		return;
	f->left -= n;
	if (f->left == 0)
		finish(f);
}

/* The last stage: splices, writes and frees the line. */
static void
put_line(struct faulty *f, struct line *line)
{
	bool lf = line->lf;
	size_t len = line->len;

	if (f->lf_owed)
		put(f, "\n", 1);
	f->lf_owed = !lf;
	if (len > 0 && strikes(f, SPLICE)) {
		len = 1 + draw_below(&f->random[SPLICE], len);
		lf = f->lf_owed = false;
	}
	f->out++;
	put(f, line->at, len);
	if (lf)
		put(f, "\n", 1);
	f->held -= sizeof(*line) + line->len;
	free(line);
}

static void
delay(struct faulty *f, struct line *line)
{
	f->passed++;
	if (f->delay > 0 && strikes(f, DELAY)) {
		line->due = f->passed + f->delay;
		line->next = NULL;
		*f->last = line;
		f->last = &line->next;
	} else {
		put_line(f, line);
	}
	while ((line = f->first) != NULL &&
	    (line->due <= f->passed || f->held > HELD_MAX)) {
		f->first = line->next;
		if (f->first == NULL)
			f->last = &f->first;
		put_line(f, line);
	}
}

/* Lets one of the shuffled lines go on. */
static void
shuffle_out(struct faulty *f)
{
	size_t i = draw_below(&f->random[SHUFFLE], f->used);
	struct line *line = f->slot[i];

	f->slot[i] = f->slot[--f->used];
	delay(f, line);
}

static void
shuffle(struct faulty *f, struct line *line)
{
	if (f->slots == 0) {
		delay(f, line);
		return;
	}
	if (f->used == f->slots)
		shuffle_out(f);
	f->slot[f->used++] = line;
	while (f->used > 0 && f->held > HELD_MAX)
		shuffle_out(f);
}

static void
corrupt(struct faulty *f, struct line *line)
{
	uint64_t *random = &f->random[CORRUPT];
	char *byte, old;

	if (line->len == 0 || !strikes(f, CORRUPT))
		return;
	byte = &line->at[draw_below(random, line->len)];
	old = *byte;
	do
		*byte = (char)draw(random);
	while (*byte == old || *byte == '\n');
}

/* Sends a copy of the line on its way. */
static void
start(struct faulty *f, const char *at, size_t len, bool lf)
{
	struct line *line = malloc(sizeof(*line) + len);

	if (line == NULL)
		err(EX_OSERR, NULL);
	memcpy(line->at, at, len);
	line->len = len;
	line->lf = lf;
	f->held += sizeof(*line) + len;
	corrupt(f, line);
	shuffle(f, line);
}

static void
take(struct faulty *f, const char *at, size_t len, bool lf)
{
	f->in++;
	if (strikes(f, LOSE))
		return;
	start(f, at, len, lf);
	if (strikes(f, REPEAT))
		start(f, at, len, lf);
}

/* Reads what has come, flushing the output before it waits. */
static size_t
get(char *to, size_t size)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, 0) == 0 && fflush(stdout) == EOF)
		err(EX_IOERR, "cannot write");
	do
		n = read(STDIN_FILENO, to, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		err(EX_IOERR, "cannot read");
	return (size_t)n;
}

static void
run(struct faulty *f)
{
	size_t size = 2 * READ_SIZE, len = 0, n;
	char *buf = malloc(size), *at, *lf;

	if (buf == NULL)
		err(EX_OSERR, NULL);
	while ((n = get(buf + len, READ_SIZE)) > 0) {
		lf = memchr(buf + len, '\n', n);
		len += n;
		for (at = buf; lf != NULL; lf = memchr(at, '\n', len)) {
			n = (size_t)(lf - at);
			take(f, at, n, true);
			at += n + 1;
			len -= n + 1;
		}
		if (len > LONGEST) {
			take(f, at, len, true);
			len = 0;
		}
		memmove(buf, at, len);
		if (size - len < READ_SIZE &&
		    (buf = realloc(buf, size *= 2)) == NULL)
			err(EX_OSERR, NULL);
	}
	if (len > 0)
		take(f, buf, len, false);
	free(buf);

	while (f->used > 0)
		shuffle_out(f);
	while (f->first != NULL) {
		struct line *line = f->first;

		f->first = line->next;
		put_line(f, line);
	}
}

static void
usage(FILE *to, int status)
{
	fputs("usage: faulty [-v] [--seed N] [--lose PCT] [--repeat PCT]\n"
	      "              [--corrupt PCT] [--shuffle LINES]\n"
	      "              [--delay LINES [--delayed PCT]] [--splice PCT]\n"
	      "              [--cut-after BYTES] <lines >lines\n",
	    to);
	exit(status);
}

static uint64_t
number(const char *s, uint64_t max)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end != '\0' || errno != 0 || n > max)
		errx(EX_USAGE, "%s: no number from 0 to %" PRIu64, s, max);
	return n;
}

static double
percent(const char *s)
{
	char *end;
	double p = strtod(s, &end);

	if (strspn(s, "0123456789.") != strlen(s) || end == s || *end != '\0' ||
	    p > 100)
		errx(EX_USAGE, "%s: no percentage from 0 to 100", s);
	return p;
}

static void
options(struct faulty *f, int argc, char **argv)
{
	static const struct option table[] = {
		{ "lose", required_argument, NULL, LOSE },
		{ "repeat", required_argument, NULL, REPEAT },
		{ "corrupt", required_argument, NULL, CORRUPT },
		{ "delayed", required_argument, NULL, DELAY },
		{ "splice", required_argument, NULL, SPLICE },
		{ "shuffle", required_argument, NULL, 'w' },
		{ "delay", required_argument, NULL, 'd' },
		{ "cut-after", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "vh", table, NULL)) != -1) {
		if (c == 'w')
			f->slots = (size_t)number(optarg, SLOTS_MAX);
		else if (c == 'd')
			f->delay = number(optarg, SLOTS_MAX);
		else if (c == 'c')
			f->left = number(optarg, UINT64_MAX - 1);
		else if (c == 's')
			f->seed = number(optarg, UINT64_MAX);
		else if (c == 'v')
			f->verbose = true;
		else if (c == 'h')
			usage(stdout, 0);
		else if (c == '?')
			usage(stderr, EX_USAGE);
		else
			f->percent[c] = percent(optarg);
	}
	if (optind != argc)
		usage(stderr, EX_USAGE);
}

int
main(int argc, char **argv)
{
	struct faulty f = { .left = UINT64_MAX };
	struct timespec now;
	uint64_t state;

	clock_gettime(CLOCK_REALTIME, &now);
	f.seed = (uint64_t)now.tv_sec ^ (uint64_t)now.tv_nsec << 32 ^
	    (uint64_t)getpid() << 16;
	f.percent[DELAY] = 1;
	options(&f, argc, argv);

	state = f.seed;
	for (int i = 0; i < NFAULTS; i++)
		f.random[i] = draw(&state);
	f.last = &f.first;
	if (f.slots > 0 && (f.slot = calloc(f.slots, sizeof(*f.slot))) == NULL)
		err(EX_OSERR, NULL);
	if (f.left == 0)
		finish(&f);
	run(&f);
	finish(&f);
}

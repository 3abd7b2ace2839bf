/*
 * floor: the least work that exactly-once takes, as a yardstick.
 *
 *	floor send JOURNAL <lines | floor recv NOTE SINK | floor ack NOTE
 *
 * It does the same durable work as `eo-send | eo-recv --append | eo-ack`, with
 * plain files in place of a database, and nothing else: it begins anew at each
 * start, and forgets nothing that was settled.
 *
 *	send	lines become frames (escaped, numbered, linked, checked); what
 *		has arrived, up to BATCH, is written and synced to JOURNAL, and
 *		only then printed
 *	recv	frames are checked and compared with the link before; bodies
 *		are written and synced to SINK, then the low-water mark, the
 *		link and the length of SINK to NOTE; only then an ack is printed
 *	ack	acks are checked, the low-water mark is written and synced to
 *		NOTE
 *
 * Exit status: 0, 64 usage, 65 a bad frame, 73 and 74 for files.
 */
#include <sys/types.h>

#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define BATCH    ((size_t)1 << 20)
#define SOURCE   "00000000000000000000000000000f10"
#define RECEIVER "00000000000000000000000000000f11"
#define CHANNEL  "default"

struct buf {
	char *at;
	size_t len, size;
};

/* Standard input, read in batches of what has arrived. */
struct input {
	struct buf buf;
	size_t next, seen; /* the next line; no LF between next and seen */
	bool eof;
};

/* What is known of the channel, and the whole content of a NOTE. */
struct note {
	uint64_t seq;
	uint64_t length; /* of SINK */
	uint32_t link;
	uint32_t check; /* of the bytes before it */
};

/*
 * CRC-32C
 */

static uint32_t table[256];

static uint32_t
crc_by_table(uint32_t crc, const char *at, size_t len)
{
	for (crc = ~crc; len > 0; at++, len--)
		crc = table[(crc ^ (unsigned char)*at) & 0xff] ^ crc >> 8;
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc_by_cpu(uint32_t crc, const char *at, size_t len)
{
	uint64_t c = ~crc & 0xffffffff, word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; len > 0; at++, len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, (unsigned char)*at);
	return ~(uint32_t)c;
}
#endif

static uint32_t (*crc32c)(uint32_t, const char *, size_t) = crc_by_table;

static void
crc_prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78 : 0);
		table[i] = c;
	}
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		crc32c = crc_by_cpu;
#endif
	if (crc32c(0, "123456789", 9) != 0xe3069283)
		errx(EX_SOFTWARE, "CRC-32C is wrong");
}

/*
 * Bytes, files
 */

static void
room(struct buf *b, size_t more)
{
	size_t size = b->size > 0 ? b->size : BATCH;

	if (b->at != NULL && b->size - b->len >= more)
		return;
	while (size - b->len < more)
		size *= 2;
	if ((b->at = realloc(b->at, size)) == NULL)
		err(EX_OSERR, NULL);
	b->size = size;
}

static void
add(struct buf *b, const char *at, size_t len)
{
	room(b, len);
	memcpy(b->at + b->len, at, len);
	b->len += len;
}

#define ADD(b, literal) add(b, literal, sizeof(literal) - 1)

static void
add_number(struct buf *b, uint64_t n)
{
	char digits[20], *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	add(b, at, (size_t)(digits + sizeof(digits) - at));
}

static void
add_hex(struct buf *b, uint32_t n)
{
	char hex[8];

	for (int i = 7; i >= 0; i--, n >>= 4)
		hex[i] = "0123456789abcdef"[n & 15];
	add(b, hex, sizeof(hex));
}

/* Ends the frame that begins at from. */
static void
add_check(struct buf *b, size_t from)
{
	ADD(b, "\t");
	add_hex(b, crc32c(0, b->at + from, b->len - from));
	ADD(b, "\n");
}

static int
create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		err(EX_CANTCREAT, "%s", path);
	return fd;
}

static void
write_all(int fd, const struct buf *b)
{
	ssize_t n;

	for (size_t done = 0; done < b->len; done += (size_t)n)
		if ((n = write(fd, b->at + done, b->len - done)) < 0)
			err(EX_IOERR, "cannot write");
}

static void
sync_file(int fd)
{
	if (fdatasync(fd) < 0)
		err(EX_IOERR, "cannot sync");
}

static void
write_note(int fd, struct note *note)
{
	note->check = crc32c(0, (char *)note, offsetof(struct note, check));
	if (pwrite(fd, note, sizeof(*note), 0) != sizeof(*note))
		err(EX_IOERR, "cannot write a note");
	sync_file(fd);
}

/* Waits for input, then reads what has arrived, up to a batch. */
static bool
fill(struct input *in)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	struct buf *b = &in->buf;
	size_t got = 0;
	ssize_t n;

	if (in->next > 0) {
		b->len -= in->next;
		memmove(b->at, b->at + in->next, b->len);
		in->seen -= in->next;
		in->next = 0;
	}
	room(b, BATCH);
	do {
		n = read(STDIN_FILENO, b->at + b->len, BATCH - got);
		if (n < 0)
			err(EX_IOERR, "cannot read");
		b->len += (size_t)n;
		got += (size_t)n;
		in->eof = n == 0;
	} while (!in->eof && got < BATCH && poll(&p, 1, 0) == 1);
	return !in->eof || b->len > 0;
}

/* The next line without its LF; NULL if there is no whole one. */
static const char *
line(struct input *in, size_t *len)
{
	struct buf *b = &in->buf;
	const char *at = b->at + in->next;
	const char *lf = memchr(b->at + in->seen, '\n', b->len - in->seen);

	if (lf == NULL && (!in->eof || in->next == b->len)) {
		in->seen = b->len;
		return NULL;
	}
	*len = lf != NULL ? (size_t)(lf - at) : b->len - in->next;
	in->next += *len + (lf != NULL);
	in->seen = in->next;
	return at;
}

/*
 * Bodies
 */

/* Whether one of eight bytes is below 0x20, 0x7f or a backslash. */
static bool
special(const char *at)
{
	const uint64_t ones = 0x0101010101010101, tops = ones << 7;
	uint64_t w, del, back;

	memcpy(&w, at, sizeof(w));
	del = w ^ ones * 0x7f;
	back = w ^ ones * '\\';
	return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del) |
		   ((back - ones) & ~back)) &
	    tops;
}

static void
add_escaped(struct buf *b, const char *at, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *to;

	room(b, 4 * len);
	to = b->at + b->len;
	for (const char *end = at + len; at < end; at++) {
		unsigned char c;

		while (end - at >= 8 && !special(at)) {
			memcpy(to, at, 8);
			at += 8;
			to += 8;
		}
		if (at == end)
			break;
		c = (unsigned char)*at;
		if (c >= 0x20 && c != '\\' && c != 0x7f) {
			*to++ = *at;
			continue;
		}
		*to++ = '\\';
		if (c == '\\') {
			*to++ = '\\';
		} else if (c == '\t' || c == '\n' || c == '\r') {
			*to++ = c == '\t' ? 't' : c == '\n' ? 'n' : 'r';
		} else {
			*to++ = 'x';
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	b->len = (size_t)(to - b->at);
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
add_unescaped(struct buf *b, const char *at, size_t len)
{
	const char *end = at + len, *back;

	for (; (back = memchr(at, '\\', (size_t)(end - at))) != NULL; at++) {
		char c;

		add(b, at, (size_t)(back - at));
		if ((at = back + 1) == end)
			return false;
		if (*at == 'x') {
			if (end - at < 3 || digit(at[1]) < 0 ||
			    digit(at[2]) < 0)
				return false;
			c = (char)(digit(at[1]) << 4 | digit(at[2]));
			at += 2;
		} else if (*at == 't' || *at == 'n' || *at == 'r') {
			c = *at == 't' ? '\t' : *at == 'n' ? '\n' : '\r';
		} else if (*at == '\\') {
			c = '\\';
		} else {
			return false;
		}
		add(b, &c, 1);
	}
	add(b, at, (size_t)(end - at));
	return true;
}

/*
 * Frames
 */

struct field {
	const char *at;
	size_t len;
};

static bool
is(struct field f, const char *text)
{
	return f.len == strlen(text) && memcmp(f.at, text, f.len) == 0;
}

static uint64_t
number(struct field f)
{
	uint64_t n = 0;

	if (f.len == 0 || f.len > 16)
		errx(EX_DATAERR, "bad number");
	for (; f.len > 0; f.at++, f.len--) {
		if (*f.at < '0' || *f.at > '9')
			errx(EX_DATAERR, "bad number");
		n = n * 10 + (uint64_t)(*f.at - '0');
	}
	return n;
}

static uint32_t
hex(struct field f)
{
	uint32_t n = 0;

	if (f.len != 8)
		errx(EX_DATAERR, "bad hex");
	for (; f.len > 0; f.at++, f.len--) {
		if (digit(*f.at) < 0)
			errx(EX_DATAERR, "bad hex");
		n = n << 4 | (uint32_t)digit(*f.at);
	}
	return n;
}

/* Splits a frame of exactly n fields and verifies its check. */
static void
split(const char *at, size_t len, struct field *field, size_t n)
{
	const char *frame = at, *end = at + len;

	for (size_t i = 0; i < n; i++) {
		const char *tab = memchr(at, '\t', (size_t)(end - at));

		if ((tab == NULL) != (i == n - 1))
			errx(EX_DATAERR, "bad frame: %zu fields expected", n);
		field[i].at = at;
		field[i].len = (size_t)((tab != NULL ? tab : end) - at);
		if (tab != NULL)
			at = tab + 1;
	}
	if (crc32c(0, frame, len - field[n - 1].len) != hex(field[n - 1]))
		errx(EX_DATAERR, "bad check");
	if (!is(field[0], "eo1"))
		errx(EX_DATAERR, "not a frame");
}

static void
add_msg(struct buf *b, struct note *note, const char *body, size_t len)
{
	size_t from = b->len, chained;

	ADD(b, "eo1\tmsg\t" SOURCE "\t" CHANNEL "\t");
	add_number(b, ++note->seq);
	ADD(b, "\t");
	chained = b->len;
	add_hex(b, note->link);
	ADD(b, "\t-\t");
	add_escaped(b, body, len);
	note->link = crc32c(0, b->at + chained, b->len - chained);
	add_check(b, from);
}

/* Takes the body out of a msg that follows what note knows. */
static void
take_msg(struct buf *sink, struct note *note, const char *at, size_t len)
{
	enum { EO1, MSG, SRC, CHAN, SEQ, LINK, ATTRS, BODY, CHECK, FIELDS };
	struct field f[FIELDS];

	split(at, len, f, FIELDS);
	if (!is(f[MSG], "msg") || !is(f[SRC], SOURCE) || !is(f[CHAN], CHANNEL))
		errx(EX_DATAERR, "not a message of mine");
	if (number(f[SEQ]) != note->seq + 1 || hex(f[LINK]) != note->link)
		errx(EX_DATAERR, "not the next message");
	note->seq++;
	note->link = crc32c(0, f[LINK].at,
	    (size_t)(f[BODY].at + f[BODY].len - f[LINK].at));
	if (!add_unescaped(sink, f[BODY].at, f[BODY].len))
		errx(EX_DATAERR, "bad escape");
	ADD(sink, "\n");
}

static void
add_ack(struct buf *b, const struct note *note)
{
	size_t from = b->len;

	ADD(b, "eo1\tack\t" SOURCE "\t" CHANNEL "\t" RECEIVER "\t");
	add_number(b, note->seq);
	ADD(b, "\t");
	add_hex(b, note->link);
	ADD(b, "\t-\t-");
	add_check(b, from);
}

static void
take_ack(struct note *note, const char *at, size_t len)
{
	enum {
		EO1,
		ACK,
		SRC,
		CHAN,
		RECV,
		UPTO,
		LINK,
		RANGES,
		EXC,
		CHECK,
		FIELDS
	};
	struct field f[FIELDS];

	split(at, len, f, FIELDS);
	if (!is(f[ACK], "ack") || !is(f[SRC], SOURCE) || !is(f[CHAN], CHANNEL))
		errx(EX_DATAERR, "not an ack of mine");
	if (number(f[UPTO]) < note->seq)
		errx(EX_DATAERR, "acks go back");
	note->seq = number(f[UPTO]);
	note->link = hex(f[LINK]);
}

/*
 * The three programs
 */

/* A pipe that holds a batch makes batches of that size, where it may. */
static void
widen(int fd)
{
#if defined(F_SETPIPE_SZ)
	(void)fcntl(fd, F_SETPIPE_SZ, (int)BATCH);
#else
	(void)fd;
#endif
}

static void
run_send(const char *journal)
{
	struct input in = { 0 };
	struct note note = { 0 };
	struct buf frames = { 0 };
	const char *at;
	size_t len;
	int fd = create(journal);

	while (fill(&in)) {
		while ((at = line(&in, &len)) != NULL)
			add_msg(&frames, &note, at, len);
		if (frames.len == 0)
			continue;
		write_all(fd, &frames);
		sync_file(fd);
		write_all(STDOUT_FILENO, &frames);
		frames.len = 0;
	}
	free(in.buf.at);
	free(frames.at);
}

static void
run_recv(const char *notes, const char *sink)
{
	struct input in = { 0 };
	struct note note = { 0 };
	struct buf bodies = { 0 }, ack = { 0 };
	const char *at;
	size_t len;
	int note_fd = create(notes), sink_fd = create(sink);

	while (fill(&in)) {
		while ((at = line(&in, &len)) != NULL)
			take_msg(&bodies, &note, at, len);
		if (bodies.len == 0)
			continue;
		write_all(sink_fd, &bodies);
		sync_file(sink_fd);
		note.length += bodies.len;
		write_note(note_fd, &note);
		add_ack(&ack, &note);
		write_all(STDOUT_FILENO, &ack);
		bodies.len = ack.len = 0;
	}
	free(in.buf.at);
	free(bodies.at);
	free(ack.at);
}

static void
run_ack(const char *notes)
{
	struct input in = { 0 };
	struct note note = { 0 };
	const char *at;
	size_t len;
	int fd = create(notes);

	while (fill(&in)) {
		uint64_t before = note.seq;

		while ((at = line(&in, &len)) != NULL)
			take_ack(&note, at, len);
		if (note.seq > before)
			write_note(fd, &note);
	}
	free(in.buf.at);
}

int
main(int argc, char **argv)
{
	crc_prepare();
	widen(STDOUT_FILENO);
	if (argc == 3 && strcmp(argv[1], "send") == 0)
		run_send(argv[2]);
	else if (argc == 4 && strcmp(argv[1], "recv") == 0)
		run_recv(argv[2], argv[3]);
	else if (argc == 3 && strcmp(argv[1], "ack") == 0)
		run_ack(argv[2]);
	else
		errx(EX_USAGE,
		    "usage: send JOURNAL | recv NOTE SINK | ack NOTE");
	return 0;
}

/*
 * frame: makes and checks frames by hand. A tool of the tests, independent
 * of lib/, so that a mistake there is not repeated here.
 *
 *	frame				line -> line TAB check
 *	frame --verify			exit 1, naming lines whose check is wrong
 *	frame --link BEFORE ATTRS BODY	print the link of a message
 *	frame --chain SOURCE CHANNEL [SEQ BEFORE]
 *		`ATTRS TAB BODY` lines -> msg frames that follow each other
 *
 * Nothing else is looked at: forged frames are what it is for.
 */
#include <err.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t table[256];

static void
make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = (c & 1) ? (c >> 1) ^ UINT32_C(0x82f63b78) : c >> 1;
		table[i] = c;
	}
}

/* crc is 0 at first, then what the bytes before have given. */
static uint32_t
crc32c(uint32_t crc, const char *p, size_t n)
{
	crc = ~crc;
	for (size_t i = 0; i < n; i++)
		crc = table[(crc ^ (unsigned char)p[i]) & 0xff] ^ (crc >> 8);
	return ~crc;
}

/* rest is what the link covers after BEFORE TAB. */
static uint32_t
link_of(const char *before, const char *rest, size_t n)
{
	uint32_t c = crc32c(0, before, strlen(before));

	return crc32c(crc32c(c, "\t", 1), rest, n);
}

static void
put_checked(const char *p, size_t n)
{
	uint32_t c = crc32c(crc32c(0, p, n), "\t", 1);

	fwrite(p, 1, n, stdout);
	printf("\t%08" PRIx32 "\n", c);
}

static int
verify(const char *p, size_t n, unsigned long line)
{
	char check[9];

	if (n >= 9)
		snprintf(check, sizeof(check), "%08" PRIx32,
		    crc32c(0, p, n - 8));
	if (n >= 9 && p[n - 9] == '\t' && memcmp(p + n - 8, check, 8) == 0)
		return 0;
	printf("line %lu: the check is wrong\n", line);
	return 1;
}

static void
chain(char **arg, uint64_t seq, char before[9], const char *rest, size_t n)
{
	char *out;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	if (f == NULL)
		err(1, NULL);
	fprintf(f, "eo1\tmsg\t%s\t%s\t%" PRIu64 "\t%s\t", arg[2], arg[3], seq,
	    before);
	fwrite(rest, 1, n, f);
	fclose(f);
	put_checked(out, len);
	free(out);
	snprintf(before, 9, "%08" PRIx32, link_of(before, rest, n));
}

int
main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	uint64_t seq = argc > 5 ? strtoull(argv[4], NULL, 10) : 1;
	char before[9] = "00000000", *line = NULL;
	unsigned long count = 0;
	size_t size = 0;
	ssize_t n;
	int bad = 0;

	make_table();
	if (strcmp(verb, "--link") == 0 && argc == 5) {
		uint32_t c = link_of(argv[2], argv[3], strlen(argv[3]));

		c = crc32c(crc32c(c, "\t", 1), argv[4], strlen(argv[4]));
		printf("%08" PRIx32 "\n", c);
		return 0;
	}
	if (argc > 5)
		snprintf(before, sizeof(before), "%s", argv[5]);
	while ((n = getline(&line, &size, stdin)) > 0) {
		count++;
		if (line[n - 1] == '\n')
			n--;
		if (argc == 1)
			put_checked(line, (size_t)n);
		else if (strcmp(verb, "--verify") == 0)
			bad |= verify(line, (size_t)n, count);
		else if (strcmp(verb, "--chain") == 0 && argc > 3)
			chain(argv, seq++, before, line, (size_t)n);
		else
			errx(64, "see the head of frame.c");
	}
	free(line);
	if (fflush(stdout) != 0)
		err(1, "standard output");
	return bad;
}

/* buf: growth, slices that hold NULs, cutting; no memory is the end. */
#include "buf.h"

#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "tap.h"

static void
growth(uint64_t s)
{
	struct eo_buf b = { 0 };
	unsigned char model[20000];
	size_t n = 0;
	bool same = true, kept = true;

	while (n < sizeof(model) - 600) {
		size_t more = rnd(&s) % 600;

		for (size_t i = 0; i < more; i++)
			model[n + i] = (unsigned char)rnd(&s);
		if (rnd(&s) % 2 == 0)
			eo_buf_add(&b, model + n, more);
		else
			for (size_t i = 0; i < more; i++)
				eo_buf_addc(&b, (char)model[n + i]);
		n += more;
		same &= b.len == n && b.cap >= n &&
		    (n == 0 || memcmp(b.p, model, n) == 0);
		more = rnd(&s) % 2000;
		memset(eo_buf_room(&b, more), 7, more);
		kept &= b.len == n && b.cap - b.len >= more;
	}
	ok(same, "bytes of every kind are kept while it grows");
	ok(kept, "room does not change the length");
	eo_buf_free(&b);
	ok(b.p == NULL && b.len == 0 && b.cap == 0, "freed, it is empty");
	eo_buf_add(&b, NULL, 0);
	ok(b.len == 0, "nothing can be added to nothing");
	eo_buf_adds(&b, "again");
	ok(eo_slice_is(eo_slice_buf(&b), "again"), "and it can be used again");
	eo_buf_free(&b);
}

static void
formats(void)
{
	struct eo_buf b = { 0 };
	bool same = true;

	for (int width = 1; width < 2000; width++) {
		size_t was = b.len;

		eo_buf_addf(&b, "%*d", width, width);
		same &= b.len == was + (size_t)width &&
		    b.p[b.len - 1] == '0' + width % 10;
	}
	ok(same, "formatted text of every length is added whole");
	eo_buf_free(&b);
}

static void
slices(void)
{
	struct eo_slice a = { "x\0y", 3 }, b = { "x\0z", 3 };
	struct eo_slice none = { NULL, 0 }, empty = { "", 0 }, rest, head;
	char *copy = eo_strdup("text");

	ok(eo_slice_eq(a, a) && !eo_slice_eq(a, b), "a NUL does not end one");
	ok(!eo_slice_is(a, "x"), "nor is it a shorter string");
	ok(eo_slice_eq(none, empty) && eo_slice_is(none, ""),
	    "no bytes are no bytes, wherever they lie");
	ok(eo_slice_str(NULL).n == 0, "no string is an empty slice");
	rest = (struct eo_slice){ "a\t\0\t\tz", 6 };
	head = eo_slice_cut(&rest, '\t');
	ok(eo_slice_is(head, "a") && rest.n == 4, "cut at the first TAB");
	head = eo_slice_cut(&rest, '\t');
	ok(head.n == 1 && head.p[0] == '\0', "cut what is a NUL");
	head = eo_slice_cut(&rest, '\t');
	ok(head.n == 0 && rest.n == 1, "cut what is empty");
	head = eo_slice_cut(&rest, '\t');
	ok(eo_slice_is(head, "z") && rest.p == NULL && rest.n == 0,
	    "the last part, and no rest");
	head = eo_slice_cut(&rest, '\t');
	ok(head.n == 0 && rest.p == NULL, "nothing can be cut from no rest");
	rest = (struct eo_slice){ "a\t", 2 };
	eo_slice_cut(&rest, '\t');
	ok(rest.p != NULL && rest.n == 0, "an empty rest is a rest");
	ok(strcmp(copy, "text") == 0, "a string's copy");
	free(copy);
}

/* How a process ends that asks for so much. */
static int
status_of(size_t n, size_t size, size_t room)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct eo_buf b = { 0 };

		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(1);
		eo_buf_adds(&b, "some");
		eo_buf_room(&b, room);
		eo_buf_free(&b);
		free(eo_grow(NULL, n, size));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int
main(void)
{
	growth(seed());
	formats();
	slices();
	ok(status_of(10, 10, 10) == 0, "what there is, is given");
	ok(status_of(SIZE_MAX / 4, 8, 0) == EX_OSERR, "a product overflows");
	ok(status_of(1, 1, SIZE_MAX - 2) == EX_OSERR, "a sum overflows");
	return done();
}

/* frame: what is put can be parsed, and nothing that is damaged can. */
#include "frame.h"

#include <string.h>

#include "crc32c.h"
#include "tap.h"

#define SOURCE "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static struct eo_slice
line_of(const struct eo_buf *b)
{
	return (struct eo_slice){ b->p, b->len - 1 };	/* without its LF */
}

static bool
good(struct eo_slice line, struct eo_frame *f)
{
	const char *cause;

	return eo_frame_parse(line, f, &cause) == EO_FRAME_GOOD;
}

/* Bytes of every kind, those that need an escape more often. */
static void
fill(struct eo_buf *b, uint64_t *s)
{
	size_t n = rnd(s) % 200;

	b->len = 0;
	for (size_t i = 0; i < n; i++)
		eo_buf_addc(b, (char)(rnd(s) % 3 == 0 ?
		    "\\\t\n\r \0\x7f\x1b"[rnd(s) % 8] : (char)rnd(s)));
}

static void
round_trips(uint64_t s)
{
	struct eo_buf body = { 0 }, id = { 0 }, attrs = { 0 }, to = { 0 };
	struct eo_buf back = { 0 };
	bool same = true, damage = true, links = true;

	for (int i = 0; i < 400; i++) {
		uint32_t before = (uint32_t)rnd(&s), link;
		uint64_t seq = 1 + rnd(&s) % EO_SEQ_MAX;
		struct eo_slice value;
		struct eo_frame f, g;

		fill(&body, &s);
		fill(&id, &s);
		to.len = attrs.len = 0;
		eo_attrs_add(&attrs, "id", eo_slice_buf(&id));
		link = eo_frame_put(&to, EO_MSG, SOURCE, "orders", seq, before,
		    eo_slice_buf(&attrs), eo_slice_buf(&body));
		if (!good(line_of(&to), &f)) {
			same = false;
			break;
		}
		back.len = 0;
		same &= f.type == EO_MSG && f.seq == seq &&
		    f.before == before && eo_slice_is(f.channel, "orders") &&
		    eo_unescape(&back, f.body) && back.len == body.len &&
		    memcmp(back.p == NULL ? "" : back.p, body.p == NULL ? "" :
		    body.p, back.len) == 0;
		back.len = 0;
		same &= eo_attrs_get(f.attrs, "id", &value) &&
		    eo_unescape(&back, value) && back.len == id.len &&
		    memcmp(back.p == NULL ? "" : back.p, id.p == NULL ? "" :
		    id.p, back.len) == 0;
		/* The link is of the three fields as they stand. */
		links &= f.link == link && link == eo_crc32c(0, f.attrs.p - 9,
		    (size_t)(f.body.p + f.body.n - f.attrs.p) + 9);
		for (int k = 0; k < 20; k++) {
			size_t at = rnd(&s) % (to.len - 1);
			char was = to.p[at];

			to.p[at] = (char)(was ^ (1 << rnd(&s) % 8));
			damage &= !good(line_of(&to), &g);
			to.p[at] = was;
		}
	}
	ok(same, "a message comes back as it was");
	ok(links, "its link is the CRC of before, attrs and body");
	ok(damage, "no flipped bit goes unnoticed");
	eo_buf_free(&body);
	eo_buf_free(&id);
	eo_buf_free(&attrs);
	eo_buf_free(&to);
	eo_buf_free(&back);
}

/* A line with a check that holds: is it a frame? */
static enum eo_frame_result
checked(const char *text)
{
	struct eo_buf b = { 0 };
	enum eo_frame_result r;
	const char *cause;
	struct eo_frame f;

	eo_buf_addf(&b, "%s\t", text);
	eo_buf_addf(&b, "%08x", eo_crc32c(0, b.p, b.len));
	r = eo_frame_parse(eo_slice_buf(&b), &f, &cause);
	eo_buf_free(&b);
	return r;
}

static void
rules(void)
{
	static const char *const bad[] = {
		"eo1\tmsg\t" SOURCE "\tc\t0\t00000000\t-\tx",
		"eo1\tmsg\t" SOURCE "\tc\t9007199254740992\t00000000\t-\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t0000000\t-\tx",
		"eo1\tmsg\t" SOURCE "\t-c\t1\t00000000\t-\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\t-\tx\ty",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\ta=1 a=2\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\ta\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\t\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\t-\t\\q",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\t-\t\\x4",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\ta=1  b=2\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\ta=1 \tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\ta=1 -\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\t=1\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\th.=1\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\th.a.b=1\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\ta=\\q\tx",
		"eo1\tmsg\t" SOURCE "\tc\t01\t00000000\t-\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t0000000A\t-\tx",
		"eo1\tmsg\t" SOURCE "\tc\t1\t00000000\t-",
		"eo1\tbase\t" SOURCE "\tc\t0\t00000000\t-\t0",
		"eo1\tbase\t" SOURCE "\tc\t1\t00000000\t\t0",
		"eo1\tvote\t" SOURCE "\tc\t" OTHER "\t1\t00000000\tmaybe\t",
		"eo1\tvote\t" SOURCE "\tc\t" OTHER "\t1\t00000000\tyes",
		"eo1\tabort\t" SOURCE "\tc\t1\t00000000",
		"eo1\tack\t" SOURCE "\tc\t" OTHER "\t5\t00000000\t\t-",
		"eo1\tack\t" SOURCE "\tc\t" OTHER
		    "\t5\t00000000\t7-8:00000000,\t-",
		"eo1\tack\t" SOURCE "\tc\t" OTHER "\t5\t00000000\t-\t3d,",
		"eo1\tack\t" SOURCE "\tc\t" OTHER "\t5\t00000000\t-\t0d",
		"eo1\tack\t" SOURCE "\tc\t" OTHER "\t5\t00000000\t-\t4-3d",
		"eo1\tack\t" SOURCE "\tc\t" OTHER
		    "\t5\t00000000\t7-6:00000000\t-",
		"eo1\tack\t" SOURCE "\tc\t" OTHER
		    "\t5\t00000000\t7-8:00000000,8-9:00000000\t-",
		"eo1\tack\t" SOURCE "\tc\t" OTHER "\t5\t00000000\t-\t3d,2a",
		"eo1\tack\t" SOURCE "\tc\t" OTHER "\t5\t00000000\t-\t3x",
		"eo1\tbase\t" SOURCE "\tc\t1\t00000000\t" OTHER "/" SOURCE
		    "\t0",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!ok(checked(bad[i]) == EO_FRAME_BAD, "refused: rule %zu",
		    i + 1))
			printf("# %s\n", bad[i]);
	ok(checked("eo1\tmsg\t" SOURCE
	    "\tc\t9007199254740991\t00000000\t-\t") == EO_FRAME_GOOD,
	    "an empty message with the last number");
	ok(checked("eo1\tack\t" SOURCE "\tc\t" OTHER "/" SOURCE
	    "\t5\t00000000\t7-8:0000000a,10-10:0000000b\t2d,3-4a,8d") ==
	    EO_FRAME_GOOD, "an heir's ack with ranges and exceptions");
	ok(checked("eo1\tfuture\t" SOURCE "\tc\tand more") == EO_FRAME_UNKNOWN,
	    "a well-formed frame of an unknown type");
	ok(checked("hello") == EO_FRAME_FOREIGN, "a greeting");
}

static void
controls(void)
{
	struct eo_buf to = { 0 };
	struct eo_frame f, msg;
	uint64_t a, b;
	uint32_t link;
	char kind;

	eo_frame_put_base(&to, SOURCE, "c", 7, 0xabc, "", 6);
	ok(good(line_of(&to), &f) && f.type == EO_BASE && f.seq == 7 &&
	    f.before == 0xabc && f.receiver.n == 0 && f.acked == 6, "a base");
	to.len = 0;
	eo_frame_put_ack(&to, SOURCE, "c", OTHER, 9, 0x123,
	    eo_slice_str("11-12:0000000f"), eo_slice_str("3d,11-12a"));
	ok(good(line_of(&to), &f) && f.type == EO_ACK && f.seq == 9 &&
	    f.link == 0x123, "an ack");
	ok(eo_range_next(&f.ranges, &a, &b, &link) && a == 11 && b == 12 &&
	    link == 15 && !eo_range_next(&f.ranges, &a, &b, &link),
	    "its ranges");
	ok(eo_except_next(&f.except, &a, &b, &kind) && a == 3 && b == 3 &&
	    kind == 'd' && eo_except_next(&f.except, &a, &b, &kind) &&
	    a == 11 && b == 12 && kind == 'a' &&
	    !eo_except_next(&f.except, &a, &b, &kind), "its exceptions");
	to.len = 0;
	link = eo_frame_put(&to, EO_COMMIT, SOURCE, "c", 5, 1,
	    eo_slice_str(""), eo_slice_str("body"));
	ok(good(line_of(&to), &msg) && msg.type == EO_COMMIT, "a commit");
	{
		struct eo_buf as = { 0 }, ab = { 0 };

		eo_frame_put_as(&as, EO_MSG, &msg);
		ok(good(line_of(&as), &f) && f.type == EO_MSG && f.link == link
		    && eo_slice_is(f.body, "body"), "the same as a msg");
		eo_frame_put_abort(&ab, &msg);
		ok(good(line_of(&ab), &f) && f.type == EO_ABORT && f.seq == 5 &&
		    f.before == 1 && f.link == link, "its abort");
		eo_buf_free(&as);
		eo_buf_free(&ab);
	}
	to.p[to.len - 1] = '\r';
	ok(good(eo_slice_buf(&to), &f), "one CR before the end is ignored");
	eo_buf_free(&to);
}

/* A frame of every type; no byte of it can be changed, or cut off. */
static void
damage(void)
{
	static const char *const text[] = {
		"eo1\tbase\t" SOURCE "\tc\t7\t0000abcd\t-\t6",
		"eo1\tmsg\t" SOURCE "\tc\t7\t0000abcd\ta=1\tx\\ty",
		"eo1\tack\t" SOURCE "\tc\t" OTHER
		    "\t5\t00000000\t7-8:0000000a\t2d",
		"eo1\tabort\t" SOURCE "\tc\t7\t0000abcd\t01234567",
		"eo1\tprepare\t" SOURCE "\tc\t7\t0000abcd\t-\t",
		"eo1\tvote\t" SOURCE "\tc\t" OTHER
		    "\t7\t0000abcd\tno\tnot\\x20today",
		"eo1\tcommit\t" SOURCE "\tc\t7\t0000abcd\t-\tx",
	};
	struct eo_frame f;

	for (int t = EO_BASE; t <= EO_COMMIT; t++) {
		struct eo_buf b = { 0 };
		bool found = true;

		eo_buf_addf(&b, "%s\t", text[t]);
		eo_buf_addf(&b, "%08x", eo_crc32c(0, b.p, b.len));
		ok(good(eo_slice_buf(&b), &f) && (int)f.type == t &&
		    eo_slice_is(f.source, SOURCE) &&
		    eo_slice_is(f.channel, "c") && (t == EO_VOTE ?
		    !f.yes && eo_slice_is(f.reason, "not\\x20today") :
		    f.seq == (t == EO_ACK ? 5 : 7)), "a %s",
		    eo_frame_type_name((enum eo_frame_type)t));
		for (size_t at = 0; at < b.len; at++) {
			char was = b.p[at];

			for (int c = 0; c < 256; c++) {
				b.p[at] = (char)c;
				found &= b.p[at] == was ||
				    !good(eo_slice_buf(&b), &f);
			}
			b.p[at] = was;
			found &= !good((struct eo_slice){ b.p, at }, &f);
		}
		ok(found, "no byte of which can be another");
		eo_buf_free(&b);
	}
}

static void
limits(void)
{
	enum eo_frame_result r[2][2];

	for (size_t over = 0; over < 2; over++) {
		struct eo_buf attrs = { 0 }, vote = { 0 };

		eo_buf_addf(&attrs, "eo1\tmsg\t" SOURCE
		    "\tc\t1\t00000000\ta=%0*d\tx",
		    (int)(EO_ATTRS_MAX - 2 + over), 0);
		eo_buf_addc(&attrs, '\0');
		r[0][over] = checked(attrs.p);
		/* With its TAB, check and LF it is as long as it may be. */
		eo_buf_adds(&vote, "eo1\tvote\t" SOURCE "\tc\t" OTHER
		    "\t7\t0000abcd\tno\t");
		eo_buf_addf(&vote, "%0*d", (int)(EO_CONTROL_MAX - 10 + over -
		    vote.len), 0);
		eo_buf_addc(&vote, '\0');
		r[1][over] = checked(vote.p);
		eo_buf_free(&attrs);
		eo_buf_free(&vote);
	}
	ok(r[0][0] == EO_FRAME_GOOD && r[0][1] == EO_FRAME_BAD,
	    "attributes have at most 8,192 bytes");
	ok(r[1][0] == EO_FRAME_GOOD && r[1][1] == EO_FRAME_BAD,
	    "a frame without a message, and its LF, at most 4,096");
}

int
main(void)
{
	round_trips(seed());
	rules();
	controls();
	damage();
	limits();
	return done();
}

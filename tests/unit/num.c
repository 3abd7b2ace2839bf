/* num: one spelling for each number, and nothing else. */
#include "num.h"

#include <string.h>

#include "tap.h"

static struct eo_slice
s(const char *text)
{
	return eo_slice_str(text);
}

int
main(void)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "01",
	    "0x1", "1e3", "18446744073709551616", "99999999999999999999999",
	    "1\n", "٣" };
	static const char *const odd[] = { "", "s", "1.5s", "1 s", "-1s",
	    "01s", "1S", "1w", "31557600000001", "9999999999999d" };
	uint64_t v = 7;
	int64_t ms = 7;
	uint32_t link = 7;
	char text[20];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(!eo_num_u64(s(bad[i]), UINT64_MAX, &v) && v == 7,
		    "'%.*s' is no number%s", (int)strcspn(bad[i], "\n"), bad[i],
		    strchr(bad[i], '\n') != NULL ? " before an LF" : "");
	ok(eo_num_u64(s("18446744073709551615"), UINT64_MAX, &v) &&
	    v == UINT64_MAX, "2^64 - 1 is");
	ok(eo_num_u64(s("9007199254740991"), EO_SEQ_MAX, &v) &&
	    v == EO_SEQ_MAX, "2^53 - 1 is a sequence number");
	ok(!eo_num_u64(s("9007199254740992"), EO_SEQ_MAX, &v), "2^53 is none");
	ok(eo_num_u64((struct eo_slice){ "12345", 3 }, 1000, &v) && v == 123,
	    "a slice ends where it ends");
	ok(eo_num_size(s("16M"), UINT64_MAX, &v) && v == 16 << 20, "16M");
	ok(eo_num_size(s("0"), UINT64_MAX, &v) && v == 0, "0 bytes");
	ok(!eo_num_size(s("99999999999G"), UINT64_MAX, &v),
	    "a size that would overflow");
	ok(!eo_num_size(s("1KB"), UINT64_MAX, &v), "1KB");
	ok(eo_num_duration(s("500ms"), &ms) && ms == 500, "500ms");
	ok(eo_num_duration(s("2"), &ms) && ms == 2000, "2 is 2 s");
	ok(eo_num_duration(s("1d"), &ms) && ms == 86400000, "1d");
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		ms = 7;
		ok(!eo_num_duration(s(odd[i]), &ms) && ms == 7,
		    "'%s' is no duration", odd[i]);
	}
	ok(eo_num_hex32("0123abcf", &link) && link == 0x0123abcf, "hex");
	ok(!eo_num_hex32("0123ABCF", &link) && !eo_num_hex32("0123abcg", &link),
	    "no capitals, and no g");
	ok(eo_num_put(text, UINT64_MAX) == 20 &&
	    memcmp(text, "18446744073709551615", 20) == 0, "put 2^64 - 1");
	ok(eo_num_put(text, 0) == 1 && text[0] == '0', "put 0");
	ok(eo_num_put_hex32(text, 0xdeadbeef) == 8 &&
	    memcmp(text, "deadbeef", 8) == 0, "put hex");
	return done();
}

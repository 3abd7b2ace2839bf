/* crc32c: the vectors of RFC 3720, B.4, and the table against the
   instruction. */
#include "crc32c.h"

#include <string.h>

#include "tap.h"

int
main(void)
{
	/* The command of B.4: 48 bytes, most of them 0. */
	static const unsigned char read10[48] = { [0] = 0x01, 0xc0,
	    [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, 0x28,
	    [40] = 0x02 };
	unsigned char b[400];
	uint64_t s = seed();
	bool same = true, chained = true;

	memset(b, 0, 32);
	ok(eo_crc32c(0, b, 32) == 0x8a9136aa, "32 zeroes");
	memset(b, 0xff, 32);
	ok(eo_crc32c(0, b, 32) == 0x62a8ab43, "32 ones");
	for (int i = 0; i < 32; i++)
		b[i] = (unsigned char)i;
	ok(eo_crc32c(0, b, 32) == 0x46dd794e, "32 rising bytes");
	for (int i = 0; i < 32; i++)
		b[i] = (unsigned char)(31 - i);
	ok(eo_crc32c(0, b, 32) == 0x113fdb5c, "32 falling bytes");
	ok(eo_crc32c(0, read10, sizeof(read10)) == 0xd9963a56,
	    "an iSCSI Read (10)");
	ok(eo_crc32c(0, "123456789", 9) == 0xe3069283, "123456789");
	ok(eo_crc32c(0, "", 0) == 0, "nothing");
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (unsigned char)rnd(&s);
	for (size_t from = 0; from < 16; from++)
		for (size_t n = 0; n <= 300; n++) {
			uint32_t whole = eo_crc32c_table(0, b + from, n);
			size_t cut = n == 0 ? 0 : rnd(&s) % n;

			same &= eo_crc32c(0, b + from, n) == whole;
			chained &= eo_crc32c(eo_crc32c(0, b + from, cut),
			    b + from + cut, n - cut) == whole;
		}
	ok(same, "the table and the instruction agree at every length");
	ok(chained, "a CRC can be continued at any byte");
	return done();
}

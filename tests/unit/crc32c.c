/* crc32c: the vectors of RFC 3720, B.4, and the table against the
   instruction. */
#include "crc32c.h"

#include <string.h>

#include "tap.h"

int
main(void)
{
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
	ok(eo_crc32c(0, "123456789", 9) == 0xe3069283, "123456789");
	ok(eo_crc32c(0, "", 0) == 0, "nothing");
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (unsigned char)rnd(&s);
	for (size_t from = 0; from < 16; from++)
		for (size_t n = 0; n + from <= 300; n++) {
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

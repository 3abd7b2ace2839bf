#include "crc32c.h"

#include <string.h>

/* Four bits at a time: a table of 16 needs no start-up and is in one line of
   cache or two.  Bit-reversed polynomial 0x82f63b78. */
uint32_t
eo_crc32c_table(uint32_t crc, const void *p, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const unsigned char *s = p;

	crc = ~crc;
	while (n-- > 0) {
		crc ^= *s++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const void *p, size_t n)
{
	const char *s = p;
	uint64_t c = ~crc;

	for (; n >= 8; n -= 8, s += 8) {
		uint64_t word;

		memcpy(&word, s, 8);
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; n > 0; n--, s++)
		c = __builtin_ia32_crc32qi((uint32_t)c, (unsigned char)*s);
	return ~(uint32_t)c;
}

uint32_t
eo_crc32c(uint32_t crc, const void *p, size_t n)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, p, n);
	return eo_crc32c_table(crc, p, n);
}
#else
uint32_t
eo_crc32c(uint32_t crc, const void *p, size_t n)
{
	return eo_crc32c_table(crc, p, n);
}
#endif

#include "num.h"

#include <string.h>

bool
eo_num_u64(struct eo_slice s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 20 || (s.p[0] == '0' && s.n > 1))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned)(s.p[i] - '0');

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

/* Digits, then a unit from the list; a table entry with "" is the default. */
static bool
with_unit(struct eo_slice s, const char *const *units, const uint64_t *factors,
    uint64_t max, uint64_t *out)
{
	struct eo_slice digits = s;
	uint64_t v;

	for (digits.n = 0; digits.n < s.n; digits.n++)
		if (s.p[digits.n] < '0' || s.p[digits.n] > '9')
			break;
	s.p += digits.n;
	s.n -= digits.n;
	for (size_t i = 0; units[i] != NULL; i++) {
		if (!eo_slice_is(s, units[i]))
			continue;
		if (!eo_num_u64(digits, max / factors[i], &v))
			return false;
		*out = v * factors[i];
		return true;
	}
	return false;
}

bool
eo_num_size(struct eo_slice s, uint64_t max, uint64_t *out)
{
	static const char *const units[] = { "", "K", "M", "G", NULL };
	static const uint64_t factors[] = { 1, 1 << 10, 1 << 20, 1 << 30 };

	return with_unit(s, units, factors, max, out);
}

bool
eo_num_duration(struct eo_slice s, int64_t *ms)
{
	static const char *const units[] = { "", "ms", "s", "m", "h", "d",
	    NULL };
	static const uint64_t factors[] = { 1000, 1, 1000, 60000, 3600000,
	    86400000 };
	uint64_t v;

	/* A thousand years: sums with a time of day cannot overflow. */
	if (!with_unit(s, units, factors, UINT64_C(31557600000000), &v))
		return false;
	*ms = (int64_t)v;
	return true;
}

bool
eo_num_hex32(const char *p, uint32_t *out)
{
	uint32_t v = 0;

	for (int i = 0; i < 8; i++) {
		uint32_t d;

		if (p[i] >= '0' && p[i] <= '9')
			d = (uint32_t)(p[i] - '0');
		else if (p[i] >= 'a' && p[i] <= 'f')
			d = (uint32_t)(p[i] - 'a') + 10;
		else
			return false;
		v = v << 4 | d;
	}
	*out = v;
	return true;
}

size_t
eo_num_put(char *to, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	for (size_t i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	return n;
}

size_t
eo_num_put_hex32(char *to, uint32_t v)
{
	for (int i = 0; i < 8; i++)
		to[i] = "0123456789abcdef"[v >> (28 - 4 * i) & 15];
	return 8;
}

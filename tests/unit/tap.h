/*
 * tap: just enough of the Test Anything Protocol for the unit tests.
 *
 *	ok(a == b, "a is %d", a);
 *	return done();
 *
 * Random tests print their seed; EO_SEED=N runs them again.
 */
#ifndef EO_TAP_H
#define EO_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct tap {
	int run, failed;
};

static struct tap tap;

__attribute__((format(printf, 2, 3))) static inline bool
ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap.run);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	tap.failed += !good;
	return good;
}

static inline int
done(void)
{
	printf("1..%d\n", tap.run);
	return tap.failed > 0;
}

static inline uint64_t
seed(void)
{
	const char *env = getenv("EO_SEED");
	uint64_t s = env != NULL ? strtoull(env, NULL, 10) :
	    (uint64_t)time(NULL);

	printf("# EO_SEED=%llu\n", (unsigned long long)s);
	return s;
}

/* splitmix64 */
static inline uint64_t
rnd(uint64_t *s)
{
	uint64_t z = *s += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

#endif

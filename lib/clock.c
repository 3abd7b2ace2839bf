#include "clock.h"

#include <err.h>
#include <stdio.h>
#include <sys/random.h>
#include <sysexits.h>
#include <time.h>

static int64_t
system_now(void *ctx)
{
	struct timespec ts;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
system_random(void *ctx, void *p, size_t n)
{
	(void)ctx;
	/* Up to 256 bytes are never cut short (getrandom(2)). */
	if (getrandom(p, n, 0) != (ssize_t)n)
		err(EX_OSERR, "getrandom");
}

const struct eo_env eo_env_system = { system_now, system_random, NULL };

int64_t
eo_env_now(const struct eo_env *env)
{
	return env->now(env->ctx);
}

uint64_t
eo_env_random(const struct eo_env *env)
{
	uint64_t r;

	env->random(env->ctx, &r, sizeof(r));
	return r;
}

int64_t
eo_backoff(const struct eo_env *env, int64_t first, int64_t tries)
{
	const int64_t hour = 3600000;
	int64_t wait = first;

	while (tries-- > 1 && wait < hour)
		wait *= 2;
	if (wait > hour)
		wait = hour;
	return wait + (int64_t)(eo_env_random(env) % ((uint64_t)wait / 4 + 1));
}

void
eo_time_format(int64_t ms, char text[25])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;
	char day[32];

	if (gmtime_r(&t, &tm) == NULL || ms < 0 || tm.tm_year > 8099) {
		t = 0;
		gmtime_r(&t, &tm);
	}
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, 25, "%.19s.%03dZ", day, (int)((uint64_t)ms % 1000));
}

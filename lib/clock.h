/*
 * clock: the time of day and randomness, handed in so that a test can turn
 * the one and repeat the other.
 *
 * Times are milliseconds since the epoch, UTC.  Nothing that eo promises
 * hangs on them: they only say when to try again.
 */
#ifndef EO_CLOCK_H
#define EO_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct eo_env {
	int64_t (*now)(void *ctx);
	void (*random)(void *ctx, void *p, size_t n);
	void *ctx;
};

/* The system's clock and getrandom(2). */
extern const struct eo_env eo_env_system;

int64_t eo_env_now(const struct eo_env *env);
uint64_t eo_env_random(const struct eo_env *env);

/* 10 s (1 s, …) doubled per try up to 1 h, plus up to a quarter of jitter:
   the wait before the next try, in ms, when tries have been made (>= 1). */
int64_t eo_backoff(const struct eo_env *env, int64_t first, int64_t tries);

/* RFC 3339 in UTC with milliseconds: 24 characters and a NUL. */
void eo_time_format(int64_t ms, char text[25]);

#endif

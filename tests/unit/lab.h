/*
 * lab: a temporary folder for journals, with a clock that a test turns and
 * randomness that a seed repeats.
 *
 *	struct lab lab;
 *	lab_init(&lab, seed());
 *	j = lab_open(&lab, "a.db");
 *	lab.now += 10000;
 *	eo_journal_close(j);
 *	lab_free(&lab);
 *
 * What the library reports is kept: the last text, and how often per status.
 */
#ifndef EO_LAB_H
#define EO_LAB_H

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "journal.h"
#include "tap.h"

struct lab {
	char dir[200];
	int64_t now;
	uint64_t random;
	struct eo_env env;
	struct eo_report report;
	unsigned said[100];	/* by status */
	char text[1000];
};

static inline int64_t
lab_now(void *ctx)
{
	return ((struct lab *)ctx)->now;
}

static inline void
lab_random(void *ctx, void *p, size_t n)
{
	unsigned char *to = p;

	while (n-- > 0)
		*to++ = (unsigned char)rnd(&((struct lab *)ctx)->random);
}

static inline void
lab_say(void *ctx, enum eo_status status, const char *text)
{
	struct lab *lab = ctx;

	lab->said[status]++;
	snprintf(lab->text, sizeof(lab->text), "%s", text);
}

static inline void
lab_init(struct lab *lab, uint64_t random)
{
	const char *tmp = getenv("TMPDIR");

	memset(lab, 0, sizeof(*lab));
	lab->now = INT64_C(1700000000000);
	lab->random = random;
	lab->env = (struct eo_env){ lab_now, lab_random, lab };
	lab->report = (struct eo_report){ lab_say, lab };
	snprintf(lab->dir, sizeof(lab->dir), "%s/eo-unit.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(lab->dir) == NULL) {
		printf("Bail out! %s cannot be made\n", lab->dir);
		exit(1);
	}
}

static inline struct eo_journal *
lab_open(struct lab *lab, const char *name)
{
	struct eo_journal *j;
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", lab->dir, name);
	if (eo_journal_open(&j, path, EO_JOURNAL_CREATE, &lab->env,
	    &lab->report) != EO_OK) {
		printf("Bail out! %s\n", j->err.text);
		exit(1);
	}
	return j;
}

static inline void
lab_free(struct lab *lab)
{
	DIR *d = opendir(lab->dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	rmdir(lab->dir);
}

#endif

/*
 * status: what a function of the library returns, and why it failed.
 *
 * The values are the exit statuses of the commands (sysexits(3)), so that
 * one number has one meaning from the deepest function to the shell.
 *
 *	enum eo_status s = eo_fail(&err, EO_IO, "%s: cannot read", path);
 *	...
 *	errx(s, "%s", err.text);
 *
 * A function that can fail takes, or hangs on, a struct eo_err.  The first
 * failure is kept: what fails afterwards is most often its consequence.
 *
 * The library never prints.  What a user should know although the work goes
 * on (a damaged line, a refused channel) is handed to a struct eo_report.
 */
#ifndef EO_STATUS_H
#define EO_STATUS_H

enum eo_status {
	EO_OK = 0,
	EO_DIFFERS = 1,		/* eo-fsck: pending, or differs */
	EO_USAGE = 64,
	EO_DATA = 65,		/* some input was bad */
	EO_NOINPUT = 66,
	EO_BUG = 70,
	EO_CANTCREAT = 73,
	EO_IO = 74,		/* I/O error, or disk full */
	EO_AGAIN = 75,		/* not finished: run again */
	EO_CONFUSED = 76,	/* a journal was rolled back or copied */
	EO_NOPERM = 77,		/* not permitted, or not mine */
	EO_NEWER = 78,		/* a newer format */
};

struct eo_err {
	enum eo_status status;
	char text[1000];
};

struct eo_report {
	void (*say)(void *ctx, enum eo_status, const char *text);
	void *ctx;
};

/* Keeps status and text, unless err already holds a failure. Returns status. */
enum eo_status eo_fail(struct eo_err *err, enum eo_status status,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Forgets a failure that has been dealt with. */
void eo_err_clear(struct eo_err *err);

/* Of two statuses the one to exit with: the first of 70 74 76 77 65 75. */
enum eo_status eo_status_worst(enum eo_status a, enum eo_status b);

/* Tells the user; status EO_OK is a mere note. */
void eo_say(const struct eo_report *r, enum eo_status status,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif

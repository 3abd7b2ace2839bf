/*
 * eo-fsck: proves a journal, or reconciles two; writes one anew after an I/O
 * error; declares a restore or a clone.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "cli.h"
#include "io.h"

enum { O_REPAIR = EO_OPT_OWN, O_NEW_SOURCE };

static void
say(void *ctx, const char *text)
{
	(void)ctx;
	printf("%s\n", text);
}

static void
report(void *ctx, enum eo_status status, const char *text)
{
	(void)ctx;
	(void)status;
	warnx("%s", text);
}

static enum eo_status
open_one(struct eo_cli *cli, const char *path, unsigned flags,
    struct eo_journal **j)
{
	struct eo_report r = { report, NULL };

	if (cli->opts[EO_OPT_ONE_HOST].count > 0)
		flags |= EO_JOURNAL_ONE_HOST;
	if (eo_journal_open(j, path, flags, &eo_env_system, &r) != EO_OK)
		warnx("%s", (*j)->err.text);
	return (*j)->err.status;
}

/* How it ends: nothing to say, something to wait for, or something wrong. */
static enum eo_status
sum_up(const struct eo_findings *f, const char *path, bool pair)
{
	if (pair && f->channels == 0)
		printf("no channel of the one is known to the other\n");
	if (pair)
		printf("lost %llu, twice %llu\n", (unsigned long long)f->lost,
		    (unsigned long long)f->twice);
	else
		printf("%s: %s; pending %llu, dead %llu\n", path,
		    f->unsound > 0 ? "unsound" : "sound",
		    (unsigned long long)f->pending,
		    (unsigned long long)f->dead);
	if (f->unsound + f->lost + f->twice > 0) {
		if (!pair)
			printf("restore a backup of %s, then: eo-fsck "
			    "--new-source %s\n", path, path);
		return EO_DATA;
	}
	return f->pending > 0 || (pair && f->channels == 0) ? EO_DIFFERS :
	    EO_OK;
}

static enum eo_status
check(struct eo_cli *cli, const char *const *path, int n)
{
	struct eo_journal *j[2] = { NULL, NULL };
	enum eo_status s = EO_OK, worst = EO_OK;

	for (int i = 0; i < n && s == EO_OK; i++) {
		struct eo_findings f = { .say = say };

		s = open_one(cli, path[i], EO_JOURNAL_READ, &j[i]);
		if (s != EO_OK)
			break;
		s = eo_check_journal(j[i], &f);
		if (s != EO_OK)
			warnx("%s", j[i]->err.text);
		else
			worst = eo_status_worst(worst, sum_up(&f, path[i],
			    false));
	}
	if (s == EO_OK && n == 2) {
		struct eo_findings f = { .say = say };

		s = eo_check_pair(j[0], j[1], &f);
		if (s == EO_OK && strcmp(j[0]->path, j[1]->path) != 0)
			s = eo_check_pair(j[1], j[0], &f);
		if (s == EO_OK)
			worst = eo_status_worst(worst, sum_up(&f, NULL, true));
	}
	eo_journal_close(j[0]);
	eo_journal_close(j[1]);
	return s != EO_OK ? s : worst;
}

static enum eo_status
repair(struct eo_cli *cli, const char *path)
{
	struct eo_journal *j;
	enum eo_status s = open_one(cli, path, EO_JOURNAL_READ |
	    EO_JOURNAL_MARKED, &j);

	if (s == EO_OK) {
		s = eo_check_repair(j);
		if (s != EO_OK)
			warnx("%s", j->err.text);
	}
	eo_journal_close(j);
	if (s != EO_OK)
		return s;
	printf("%s: written anew\n", path);
	s = check(cli, &path, 1);
	/* Pending is no damage, nor is a journal that was never begun. */
	return s == EO_DIFFERS || s == EO_NOINPUT ? EO_OK : s;
}

static enum eo_status
new_source(struct eo_cli *cli, const char *path)
{
	struct eo_journal *j;
	enum eo_status s = open_one(cli, path, 0, &j);

	if (s == EO_OK)
		s = eo_journal_begin(j);
	if (s == EO_OK)
		s = eo_journal_end(j, eo_journal_new_source(j, "declared"));
	if (s == EO_OK)
		printf("%s: its source is now %s\n", path,
		    eo_journal_current(j)->hex);
	else if (j->err.status != EO_OK)
		warnx("%s", j->err.text);
	eo_journal_close(j);
	return s;
}

int
main(int argc, char **argv)
{
	struct eo_option opts[] = { EO_COMMON_OPTIONS,
	    { NULL, "repair", NULL, "write it anew after an I/O error", 1, 0,
	    NULL },
	    { NULL, "new-source", NULL, "it was restored, or is a clone", 1,
	    0, NULL },
	    { NULL, NULL, NULL, NULL, 0, 0, NULL } };
	struct eo_cli cli = { .name = "eo-fsck",
	    .operands_help = "[JOURNAL [JOURNAL]]",
	    .purpose = "Checks a journal, or what one sent and another "
	    "received.", .opts = opts };
	struct eo_buf own = { 0 };
	const char *path[2] = { NULL, NULL };
	int status, n;

	eo_io_init();
	(void)eo_io_guard();
	status = eo_cli_parse(&cli, argc, argv);
	if (status >= 0)
		return status;
	n = cli.noperands;
	for (int i = 0; i < n && i < 2; i++)
		path[i] = cli.operands[i];
	if (n == 0 && eo_cli_journal_path(&cli, &own)) {
		path[0] = own.p;
		n = 1;
	}
	if (n == 0)
		status = EO_USAGE;
	else if (opts[O_REPAIR].count > 0 && opts[O_NEW_SOURCE].count > 0)
		status = eo_cli_usage(&cli, "--repair and --new-source "
		    "exclude each other (a journal written anew takes a new "
		    "source by itself)");
	else if (n > 2 || (opts[O_REPAIR].count + opts[O_NEW_SOURCE].count >
	    0 && n > 1))
		status = eo_cli_usage(&cli, "too many journals");
	else if (opts[O_REPAIR].count > 0)
		status = (int)repair(&cli, path[0]);
	else if (opts[O_NEW_SOURCE].count > 0)
		status = (int)new_source(&cli, path[0]);
	else
		status = (int)check(&cli, path, n);
	eo_buf_free(&own);
	eo_cli_free(&cli);
	if (status != EO_USAGE && eo_cli_close_stdout() != EO_OK)
		status = EO_IO;
	return status;
}

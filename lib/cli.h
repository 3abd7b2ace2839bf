/*
 * cli: command lines, by argtable2.  The one file that knows it.
 *
 *	struct eo_option opts[] = {
 *		EO_COMMON_OPTIONS,
 *		{ "q", "quiet", NULL, "journal only, print nothing", 1 },
 *		{ NULL }
 *	};
 *	struct eo_cli cli = { "eo-send", "[FILE...]", "...", opts };
 *	status = eo_cli_parse(&cli, argc, argv);
 *	if (status >= 0)
 *		return status;
 *
 * Options end at the first operand, as in env(1) and xargs(1), or at `--`.
 * --help and --version print and give 0; what is wrong is said on standard
 * error and gives 64.
 */
#ifndef EO_CLI_H
#define EO_CLI_H

#include "channels.h"
#include "journal.h"

struct eo_option {
	const char *shortopt, *longopt;
	const char *value;	/* what its value is called; NULL: a flag */
	const char *help;	/* at most 50 characters */
	int max;		/* how often it may be given */
	/* found: */
	int count;
	const char **values;	/* count of them, from argv */
};

struct eo_cli {
	const char *name, *operands_help, *purpose;
	struct eo_option *opts;
	/* found: */
	int noperands;
	char **operands;
	enum eo_status worst;	/* of what was reported */
};

#define EO_COMMON_OPTIONS \
    { "j", "journal", "FILE", "the journal ($EO_JOURNAL)", 1, 0, NULL }, \
    { "c", "channel", "NAME", "a channel (default: default)", 1000, 0, NULL }, \
    { NULL, "one-host", NULL, "trust a network or FUSE file system", 1, 0, \
    NULL }, \
    { "v", "verbose", NULL, "say more", 1, 0, NULL }, \
    { "h", "help", NULL, "print this, and exit", 1, 0, NULL }, \
    { "V", "version", NULL, "print the version, and exit", 1, 0, NULL }

/* What is at these places of a table that begins with EO_COMMON_OPTIONS. */
enum { EO_OPT_JOURNAL, EO_OPT_CHANNEL, EO_OPT_ONE_HOST, EO_OPT_VERBOSE,
    EO_OPT_HELP, EO_OPT_VERSION, EO_OPT_OWN };

int eo_cli_parse(struct eo_cli *cli, int argc, char **argv);
void eo_cli_free(struct eo_cli *cli);

/* "NAME: text", "Try 'NAME --help'."; gives 64. */
int eo_cli_usage(const struct eo_cli *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Readers of an option's value: they say what is wrong with it. */
bool eo_cli_duration(const struct eo_cli *cli, const struct eo_option *o,
    int64_t *ms);
bool eo_cli_size(const struct eo_cli *cli, const struct eo_option *o,
    uint64_t *n);

/* The channels of -c; globs where patterns are meant. Says what is wrong. */
bool eo_cli_channels(const struct eo_cli *cli, bool globs,
    struct eo_channels *c);

/* The path of the journal that was asked for, with a NUL; says so, if there
   is none. */
bool eo_cli_journal_path(const struct eo_cli *cli, struct eo_buf *path);

/* Opens the journal that was asked for, with these flags besides; says why
   not.  Reports go to standard error and into cli->worst. */
enum eo_status eo_cli_journal(struct eo_cli *cli, unsigned flags,
    struct eo_journal **j);

/* Says why the last call failed, if it did; returns the worst of all. */
enum eo_status eo_cli_end(struct eo_cli *cli, struct eo_journal *j,
    enum eo_status s);

/* Finishes standard output: 0, or a status that was said. */
enum eo_status eo_cli_close_stdout(void);

#endif

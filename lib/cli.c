#include "cli.h"

#include <argtable2.h>
#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
eo_cli_usage(const struct eo_cli *cli, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwarnx(fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try '%s --help'.\n", cli->name);
	return EO_USAGE;
}

static size_t
count_options(const struct eo_cli *cli)
{
	size_t n = 0;

	while (cli->opts[n].longopt != NULL)
		n++;
	return n;
}

/* argtable2's table, its arg_end last. Freed by free_table. */
static void **
make_table(const struct eo_cli *cli, size_t n)
{
	void **table = eo_grow(NULL, n + 2, sizeof(*table));

	for (size_t i = 0; i < n; i++) {
		const struct eo_option *o = &cli->opts[i];

		if (o->value == NULL)
			table[i] = arg_litn(o->shortopt, o->longopt, 0, o->max,
			    o->help);
		else
			table[i] = arg_strn(o->shortopt, o->longopt, o->value,
			    0, o->max, o->help);
	}
	table[n] = arg_rem(NULL, cli->operands_help);
	table[n + 1] = arg_end(4);
	if (arg_nullcheck(table) != 0)
		errx(EO_BUG, "out of memory");
	return table;
}

static void
free_table(void **table, size_t n)
{
	arg_freetable(table, n + 2);
	free(table);
}

static void
help(const struct eo_cli *cli, void **table, size_t n)
{
	printf("Usage: %s [OPTION...] %s\n%s\n", cli->name,
	    cli->operands_help, cli->purpose);
	for (size_t i = 0; i < n; i++) {
		const struct eo_option *o = &cli->opts[i];
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s--%s%s%s",
		    o->shortopt != NULL ? "-" : "    ",
		    o->shortopt != NULL ? o->shortopt : "",
		    o->shortopt != NULL ? ", " : "", o->longopt,
		    o->value != NULL ? "=" : "",
		    o->value != NULL ? o->value : "");
		printf("  %-27s %s\n", left, o->help);
	}
	(void)table;
}

/* Does the option at argv[i] take the next word as its value? */
static bool
takes_next(const struct eo_cli *cli, const char *word)
{
	const struct eo_option *hit = NULL;
	size_t n = count_options(cli), len;

	if (word[1] == '-') {
		len = strlen(word + 2);
		if (strchr(word, '=') != NULL)
			return false;
		for (size_t i = 0; i < n; i++) {
			const struct eo_option *o = &cli->opts[i];

			if (strncmp(o->longopt, word + 2, len) != 0)
				continue;
			hit = o;
			if (strlen(o->longopt) == len)
				break;
		}
		return hit != NULL && hit->value != NULL;
	}
	for (const char *s = word + 1; *s != '\0'; s++) {
		hit = NULL;
		for (size_t i = 0; i < n && hit == NULL; i++)
			if (cli->opts[i].shortopt != NULL &&
			    cli->opts[i].shortopt[0] == *s)
				hit = &cli->opts[i];
		if (hit == NULL)
			return false;
		if (hit->value != NULL)
			return s[1] == '\0';
	}
	return false;
}

/* How many words of argv are options: the rest are operands. */
static int
split(const struct eo_cli *cli, int argc, char **argv, int *operands)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
		if (strcmp(argv[i], "--") == 0) {
			*operands = i + 1;
			return i;
		}
		i += takes_next(cli, argv[i]) ? 2 : 1;
	}
	*operands = i < argc ? i : argc;
	return *operands;
}

static void
collect(struct eo_cli *cli, void **table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct eo_option *o = &cli->opts[i];

		if (o->value == NULL) {
			o->count = ((struct arg_lit *)table[i])->count;
			continue;
		}
		o->count = ((struct arg_str *)table[i])->count;
		o->values = eo_grow(NULL, (size_t)o->count + 1,
		    sizeof(*o->values));
		for (int k = 0; k < o->count; k++)
			o->values[k] =
			    ((struct arg_str *)table[i])->sval[k];
	}
}

int
eo_cli_parse(struct eo_cli *cli, int argc, char **argv)
{
	size_t n = count_options(cli);
	void **table = make_table(cli, n);
	int first, nopts = split(cli, argc, argv, &first), result = -1;
	int errors = arg_parse(nopts, argv, table);

	cli->operands = argv + first;
	cli->noperands = argc - first;
	collect(cli, table, n);
	if (cli->opts[EO_OPT_HELP].count > 0) {
		help(cli, table, n);
		result = (int)eo_cli_close_stdout();
	} else if (cli->opts[EO_OPT_VERSION].count > 0) {
		printf("%s (eo) %s\n", cli->name, EO_VERSION);
		result = (int)eo_cli_close_stdout();
	} else if (errors > 0) {
		arg_print_errors(stderr, table[n + 1], cli->name);
		fprintf(stderr, "Try '%s --help'.\n", cli->name);
		result = EO_USAGE;
	}
	free_table(table, n);
	if (result >= 0)
		eo_cli_free(cli);
	return result;
}

void
eo_cli_free(struct eo_cli *cli)
{
	for (size_t i = 0; i < count_options(cli); i++) {
		free(cli->opts[i].values);
		cli->opts[i].values = NULL;
	}
}

bool
eo_cli_duration(const struct eo_cli *cli, const struct eo_option *o,
    int64_t *ms)
{
	if (o->count == 0)
		return true;
	if (eo_num_duration(eo_slice_str(o->values[0]), ms))
		return true;
	eo_cli_usage(cli, "--%s=%s: is no duration (such as 500ms, 30s, 10m, "
	    "2h, 1d)", o->longopt, o->values[0]);
	return false;
}

bool
eo_cli_size(const struct eo_cli *cli, const struct eo_option *o, uint64_t *n)
{
	if (o->count == 0)
		return true;
	if (eo_num_size(eo_slice_str(o->values[0]), UINT64_C(1) << 40, n))
		return true;
	eo_cli_usage(cli, "--%s=%s: is no size (such as 4096, 64K, 16M)",
	    o->longopt, o->values[0]);
	return false;
}

bool
eo_cli_channels(const struct eo_cli *cli, bool globs, struct eo_channels *c)
{
	const struct eo_option *o = &cli->opts[EO_OPT_CHANNEL];

	c->pattern = o->values;
	c->n = (size_t)o->count;
	for (size_t i = 0; i < c->n; i++) {
		struct eo_slice s = eo_slice_str(c->pattern[i]);

		if (globs ? s.n > 0 : eo_channel_valid(s))
			continue;
		eo_cli_usage(cli, "--channel=%s: a channel's name is 1 to %d "
		    "of A-Z a-z 0-9 . _ : @ - and begins with no - or .",
		    c->pattern[i], EO_CHANNEL_MAX);
		return false;
	}
	return true;
}

static void
say(void *ctx, enum eo_status status, const char *text)
{
	struct eo_cli *cli = ctx;

	cli->worst = eo_status_worst(cli->worst, status);
	warnx("%s", text);
}

bool
eo_cli_journal_path(const struct eo_cli *cli, struct eo_buf *path)
{
	const struct eo_option *o = &cli->opts[EO_OPT_JOURNAL];
	const char *env = getenv("EO_JOURNAL"), *state, *home;

	state = getenv("XDG_STATE_HOME");
	home = getenv("HOME");
	if (o->count > 0)
		eo_buf_adds(path, o->values[0]);
	else if (env != NULL && env[0] != '\0')
		eo_buf_adds(path, env);
	else if (state != NULL && state[0] == '/')
		eo_buf_addf(path, "%s/eo/journal.db", state);
	else if (home != NULL && home[0] != '\0')
		eo_buf_addf(path, "%s/.local/state/eo/journal.db", home);
	if (path->len == 0) {
		eo_cli_usage(cli, "no journal: give -j FILE, or set EO_JOURNAL "
		    "or HOME");
		return false;
	}
	eo_buf_addc(path, '\0');
	return true;
}

enum eo_status
eo_cli_journal(struct eo_cli *cli, unsigned flags, struct eo_journal **j)
{
	struct eo_report report = { say, cli };
	struct eo_buf path = { 0 };
	const char *env = getenv("EO_JOURNAL");
	enum eo_status s = EO_USAGE;

	*j = NULL;
	if (!eo_cli_journal_path(cli, &path))
		goto out;
	/* Only the default place is ours to make folders for. */
	if (cli->opts[EO_OPT_JOURNAL].count == 0 &&
	    (env == NULL || env[0] == '\0'))
		flags |= EO_JOURNAL_FOLDERS;
	if (cli->opts[EO_OPT_ONE_HOST].count > 0)
		flags |= EO_JOURNAL_ONE_HOST;
	s = eo_journal_open(j, path.p, flags, &eo_env_system, &report);
	if (s != EO_OK) {
		warnx("%s", (*j)->err.text);
		eo_journal_close(*j);
		*j = NULL;
	}
out:
	eo_buf_free(&path);
	return s;
}

enum eo_status
eo_cli_end(struct eo_cli *cli, struct eo_journal *j, enum eo_status s)
{
	if (j->err.status != EO_OK) {
		warnx("%s", j->err.text);
		s = eo_status_worst(s, j->err.status);
	}
	return eo_status_worst(s, cli->worst);
}

enum eo_status
eo_cli_close_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout) && fclose(stdout) == 0)
		return EO_OK;
	warn("standard output");
	return EO_IO;
}

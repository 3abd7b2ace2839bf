/*
 * journal: an open journal; its transactions, its sources, its identity.
 *
 *	eo_journal_open(&j, path, flags, &eo_env_system, &report);
 *	s = eo_journal_begin(j);
 *	if (s == EO_OK)
 *		s = work(j);
 *	s = eo_journal_end(j, s);	commits, or rolls back
 *
 * eo_journal_open always makes the handle: on failure j->err says why, and
 * eo_journal_close() frees it.
 *
 * One writer.  eo_journal_begin waits for byte 0 of JOURNAL-lock (a minute at
 * most) and holds it until the end: never wait for a pipe in between.
 *
 * What is remembered of the journal between transactions (a channel's state,
 * say) is good as long as j->epoch is what it was: it rises when another
 * connection has written, and when a transaction of ours was rolled back.
 *
 * A failed write or sync leaves the journal unknown: a marker JOURNAL-ioerror
 * is laid beside it, and every program refuses it until eo-fsck --repair.
 */
#ifndef EO_JOURNAL_H
#define EO_JOURNAL_H

#include "clock.h"
#include "db.h"
#include "file.h"
#include "frame.h"
#include "lock.h"

enum {
	EO_JOURNAL_CREATE = 1,	/* make it where it is missing */
	EO_JOURNAL_FOLDERS = 2,	/* and the folders it is to lie in */
	EO_JOURNAL_READ = 4,	/* never write, not even a new source */
	EO_JOURNAL_ONE_HOST = 8,	/* any file system will do */
	EO_JOURNAL_MARKED = 16,	/* to repair it: even if it is marked as
				   unknown, or was never finished */
};

struct eo_source {
	int64_t id;
	char hex[EO_SOURCE_LEN + 1];
};

struct eo_journal {
	struct eo_err err;
	struct eo_report report;
	const struct eo_env *env;
	struct eo_db *db;
	char *path;		/* resolved */
	unsigned flags;
	int lock;		/* the writer's; byte 0 */
	unsigned long long dev, ino;
	struct eo_source *source;	/* all lives; the last is current */
	size_t nsource;
	int64_t version;
	uint64_t epoch;
	bool wrote;
};

enum eo_status eo_journal_open(struct eo_journal **out, const char *path,
    unsigned flags, const struct eo_env *env, const struct eo_report *report);
/* Checkpoints when that is due, and frees. */
void eo_journal_close(struct eo_journal *j);

enum eo_status eo_journal_begin(struct eo_journal *j);
enum eo_status eo_journal_end(struct eo_journal *j, enum eo_status s);

/* A snapshot to read from; short, or the log cannot be reused. */
enum eo_status eo_journal_read(struct eo_journal *j);
void eo_journal_read_end(struct eo_journal *j);

const struct eo_source *eo_journal_current(const struct eo_journal *j);
/* The life with this id, or of this name; NULL if there was none. */
const struct eo_source *eo_journal_life(const struct eo_journal *j,
    int64_t id);
const struct eo_source *eo_journal_named(const struct eo_journal *j,
    struct eo_slice hex);

/* Begins a new life, in the transaction that is open. */
enum eo_status eo_journal_new_source(struct eo_journal *j,
    const char *reason);

/* Lays down what an operator did, in the transaction that is open. */
void eo_journal_record(struct eo_journal *j, const char *verb,
    const char *ref, const char *text);

/* Opens the lock file once more, for a lock that a child is to inherit.
   -1: j->err says why. */
int eo_journal_lock_file(struct eo_journal *j, bool inherit);

/* FILE-suffix, to be freed. */
char *eo_journal_beside(const struct eo_journal *j, const char *suffix);

#endif

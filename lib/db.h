/*
 * db: the one module that knows which database a journal is.
 *
 *	eo_db_open(&db, path, &err);
 *	eo_db_run(db, "INSERT INTO t(a, b) VALUES (?, ?)", "is", 7, slice);
 *
 *	st = eo_db_query(db, "SELECT a, b FROM t WHERE a > ?", "i", 7);
 *	while (eo_db_row(st)) {
 *		int64_t a = eo_db_int(st, 0);
 *		struct eo_slice b = eo_db_bytes(st, 1);
 *	}
 *	if (err.status != EO_OK) ...
 *
 * Errors stick.  The first failure of a statement is kept in *err, and every
 * later call does nothing but return that status, until eo_db_forgive().  So a
 * function may run ten statements and look once, before it commits; nothing
 * can be committed over an error.
 *
 * Parameters: i an int64_t, s a struct eo_slice bound as text, b one bound as
 * a blob, z a C string.  Bound bytes are borrowed until the statement has run
 * (or, for a query, until its last row).  Statements are prepared once and
 * kept, found by the address of their text: pass string literals.
 *
 * SQLite: WAL, synchronous=FULL, no automatic checkpoint, psow=0, no mmap,
 * secure_delete off, foreign schemas not trusted.
 */
#ifndef EO_DB_H
#define EO_DB_H

#include <stdint.h>

#include "buf.h"
#include "status.h"

struct eo_db;
struct eo_rows;

/* path must exist. err stays the caller's, and outlives the handle. */
enum eo_status eo_db_open(struct eo_db **db, const char *path, bool readonly,
    struct eo_err *err);
void eo_db_close(struct eo_db *db);

/* Gives an empty or foreign file WAL and, if empty, pages that can be given
   back.  *switched: an application's database was in another mode. */
bool eo_db_is_wal(struct eo_db *db);
enum eo_status eo_db_prepare_file(struct eo_db *db, bool *switched);

enum eo_status eo_db_begin(struct eo_db *db, bool write);
enum eo_status eo_db_commit(struct eo_db *db);
void eo_db_rollback(struct eo_db *db);

enum eo_status eo_db_run(struct eo_db *db, const char *sql,
    const char *types, ...);
struct eo_rows *eo_db_query(struct eo_db *db, const char *sql,
    const char *types, ...);
bool eo_db_row(struct eo_rows *st);
/* Ends a query before its last row. */
void eo_db_done(struct eo_rows *st);
int64_t eo_db_int(struct eo_rows *st, int column);
/* Valid until the next row. */
struct eo_slice eo_db_bytes(struct eo_rows *st, int column);

/* The first column of the first row, or otherwise. */
int64_t eo_db_int_or(struct eo_db *db, int64_t otherwise, const char *sql,
    const char *types, ...);

int64_t eo_db_last_id(struct eo_db *db);
int64_t eo_db_changes(struct eo_db *db);

/* Rises when another connection has changed the file. */
int64_t eo_db_version(struct eo_db *db);

/* Is what failed an I/O error after which it is unknown what was written? */
bool eo_db_unknown(const struct eo_db *db);
void eo_db_forgive(struct eo_db *db);

/* The next four only under the writer lock. */
/* Bytes of the write-ahead log that are in use, as of the last commit. */
int64_t eo_db_log_size(struct eo_db *db);
/* Copies what the log holds into the file; truncate: cuts the log to nothing
   as well.  Does what it can without waiting for a reader. */
void eo_db_checkpoint(struct eo_db *db, bool truncate);
/* Bytes of free pages, if they are most of the file, else 0. */
int64_t eo_db_spare(struct eo_db *db);
/* Gives some of them back to the file system. */
void eo_db_shrink(struct eo_db *db);

/* SQLite's own check: calls bad for each finding. */
enum eo_status eo_db_check(struct eo_db *db,
    void (*bad)(void *ctx, const char *what), void *ctx);
/* Writes all of it anew into a file that must not exist, and syncs it. */
enum eo_status eo_db_copy(struct eo_db *db, const char *path);

#endif

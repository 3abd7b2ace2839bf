#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Larger pages make bulk faster, smaller ones a single message. */
#define PAGE_SIZE "8192"

#define BUSY_MS 60000	/* for an application that shares the file */
#define SLOTS 256	/* statements kept; a power of two */

struct eo_rows {
	struct eo_db *db;
	const char *sql;
	sqlite3_stmt *st;
};

struct eo_db {
	sqlite3 *sq;
	struct eo_err *err;
	char *path;
	bool unknown;
	bool writing;
	int64_t log_pages, page_size;
	struct eo_rows slot[SLOTS];
};

/*
 * What SQLite says, as one of ours.  ENOSPC on a write is SQLITE_FULL; EDQUOT
 * and EFBIG come as an I/O error with their errno.  Those leave a clean
 * journal.  Any other failed write, sync or truncation leaves an unknown one.
 */
static enum eo_status
failed(struct eo_db *db, const char *doing)
{
	/* SQLite keeps errno of a failed open, and leaves that of a failed
	   write where it is. */
	int last = errno, code = sqlite3_extended_errcode(db->sq);
	int sys = sqlite3_system_errno(db->sq) != 0 ?
	    sqlite3_system_errno(db->sq) : last;
	const char *text = sqlite3_errmsg(db->sq), *path = db->path;
	bool full = sys == ENOSPC || sys == EDQUOT || sys == EFBIG;
	enum eo_status status = EO_IO;

	if (db->err->status != EO_OK)
		return db->err->status;
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		eo_grow(NULL, SIZE_MAX, 2);	/* ends the process */
		break;
	case SQLITE_FULL:
		text = strerror(ENOSPC);
		break;
	case SQLITE_IOERR:
		full = (full && code != SQLITE_IOERR_FSYNC) ||
		    code == SQLITE_IOERR_SHMSIZE;
		if (!full)
			db->unknown = db->writing;
		if (sys != 0)
			text = strerror(sys);
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		status = EO_AGAIN;
		text = "another program has locked the database";
		break;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		status = EO_NOPERM;
		break;
	case SQLITE_CANTOPEN:
		if (!full)
			status = EO_NOPERM;
		if (sys != 0)
			text = strerror(sys);
		break;
	case SQLITE_NOTADB:
		status = EO_DATA;
		text = "not an SQLite database";
		break;
	case SQLITE_CORRUPT:
		status = EO_DATA;
		break;
	default:
		return eo_fail(db->err, EO_BUG, "%s: %s: %s (%d)", path, doing,
		    text, code);
	}
	return eo_fail(db->err, status, "%s: %s", path, text);
}

static enum eo_status
simple(struct eo_db *db, const char *sql)
{
	if (sqlite3_exec(db->sq, sql, NULL, NULL, NULL) != SQLITE_OK)
		return failed(db, sql);
	return EO_OK;
}

static int
on_log(void *ctx, sqlite3 *sq, const char *name, int pages)
{
	struct eo_db *db = ctx;

	(void)sq;
	(void)name;
	db->log_pages = pages;
	return SQLITE_OK;
}

enum eo_status
eo_db_open(struct eo_db **out, const char *path, bool readonly,
    struct eo_err *err)
{
	struct eo_db *db = eo_grow(NULL, 1, sizeof(*db));
	int zero = 0;

	memset(db, 0, sizeof(*db));
	db->err = err;
	db->path = eo_strdup(path);
	*out = db;
	if (sqlite3_open_v2(path, &db->sq, readonly ? SQLITE_OPEN_READONLY :
	    SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		return failed(db, "cannot open");
	sqlite3_extended_result_codes(db->sq, 1);
	sqlite3_busy_timeout(db->sq, BUSY_MS);
	/* Torn sectors: pad each commit to a sector's end. */
	sqlite3_file_control(db->sq, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE,
	    &zero);
	sqlite3_db_config(db->sq, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(db->sq, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db->sq, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_wal_hook(db->sq, on_log, db);	/* in place of the automatic */
	return simple(db, "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
	    "PRAGMA cache_size=-4096; PRAGMA mmap_size=0;"
	    "PRAGMA secure_delete=OFF");
}

void
eo_db_close(struct eo_db *db)
{
	if (db == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		sqlite3_finalize(db->slot[i].st);
	sqlite3_close(db->sq);
	free(db->path);
	free(db);
}

bool
eo_db_is_wal(struct eo_db *db)
{
	struct eo_rows *st = eo_db_query(db, "PRAGMA journal_mode", "");
	bool wal = false;

	while (eo_db_row(st))
		wal = eo_slice_is(eo_db_bytes(st, 0), "wal");
	return wal;
}

enum eo_status
eo_db_prepare_file(struct eo_db *db, bool *switched)
{
	int64_t pages = eo_db_int_or(db, 0, "PRAGMA page_count", "");

	*switched = false;
	bool foreign = eo_db_int_or(db, 0, "SELECT 1 FROM sqlite_master WHERE "
	    "tbl_name NOT LIKE 'eo\\_%' ESCAPE '\\'", "") != 0;

	if (eo_db_is_wal(db) || db->err->status != EO_OK)
		return db->err->status;
	db->writing = true;
	if (pages == 0)
		simple(db, "PRAGMA page_size=" PAGE_SIZE ";"
		    "PRAGMA auto_vacuum=INCREMENTAL");
	simple(db, "PRAGMA journal_mode=WAL");
	db->writing = false;
	if (db->err->status != EO_OK)
		return db->err->status;
	if (!eo_db_is_wal(db))
		return eo_fail(db->err, EO_IO, "cannot switch to WAL mode");
	*switched = foreign;
	return EO_OK;
}

/* The kept statement of this text, prepared and reset. */
static struct eo_rows *
statement(struct eo_db *db, const char *sql)
{
	size_t h = ((uintptr_t)sql >> 3) * 2654435761u;
	struct eo_rows *st;

	for (;; h++) {
		st = &db->slot[h & (SLOTS - 1)];
		if (st->sql == sql || st->sql == NULL)
			break;
	}
	if (st->st == NULL && db->err->status == EO_OK) {
		st->db = db;
		st->sql = sql;
		if (sqlite3_prepare_v3(db->sq, sql, -1,
		    SQLITE_PREPARE_PERSISTENT, &st->st, NULL) != SQLITE_OK)
			failed(db, sql);
	}
	return st;
}

static void
bind(struct eo_rows *st, const char *types, va_list ap)
{
	sqlite3_reset(st->st);
	for (int i = 1; *types != '\0'; types++, i++) {
		struct eo_slice s;

		switch (*types) {
		case 'i':
			sqlite3_bind_int64(st->st, i, va_arg(ap, int64_t));
			break;
		case 's':
			s = va_arg(ap, struct eo_slice);
			sqlite3_bind_text64(st->st, i, s.p == NULL ? "" : s.p,
			    s.n, SQLITE_STATIC, SQLITE_UTF8);
			break;
		case 'b':
			s = va_arg(ap, struct eo_slice);
			sqlite3_bind_blob64(st->st, i, s.p == NULL ? "" : s.p,
			    s.n, SQLITE_STATIC);
			break;
		default:
			sqlite3_bind_text(st->st, i, va_arg(ap, const char *),
			    -1, SQLITE_STATIC);
		}
	}
}

static bool
step(struct eo_rows *st)
{
	int r;

	if (st->db == NULL || st->db->err->status != EO_OK)
		return false;
	r = sqlite3_step(st->st);
	if (r == SQLITE_ROW)
		return true;
	if (r != SQLITE_DONE)
		failed(st->db, st->sql);
	sqlite3_reset(st->st);
	return false;
}

enum eo_status
eo_db_run(struct eo_db *db, const char *sql, const char *types, ...)
{
	struct eo_rows *st = statement(db, sql);
	va_list ap;

	if (db->err->status != EO_OK)
		return db->err->status;
	va_start(ap, types);
	bind(st, types, ap);
	va_end(ap);
	while (step(st))
		continue;
	return db->err->status;
}

struct eo_rows *
eo_db_query(struct eo_db *db, const char *sql, const char *types, ...)
{
	struct eo_rows *st = statement(db, sql);
	va_list ap;

	if (db->err->status == EO_OK) {
		va_start(ap, types);
		bind(st, types, ap);
		va_end(ap);
	}
	return st;
}

bool
eo_db_row(struct eo_rows *st)
{
	return step(st);
}

void
eo_db_done(struct eo_rows *st)
{
	sqlite3_reset(st->st);
}

int64_t
eo_db_int(struct eo_rows *st, int column)
{
	return sqlite3_column_int64(st->st, column);
}

struct eo_slice
eo_db_bytes(struct eo_rows *st, int column)
{
	struct eo_slice s;

	s.p = sqlite3_column_blob(st->st, column);
	s.n = (size_t)sqlite3_column_bytes(st->st, column);
	if (s.p == NULL)
		s.p = "";
	return s;
}

int64_t
eo_db_int_or(struct eo_db *db, int64_t otherwise, const char *sql,
    const char *types, ...)
{
	struct eo_rows *st = statement(db, sql);
	int64_t v = otherwise;
	va_list ap;

	if (db->err->status != EO_OK)
		return otherwise;
	va_start(ap, types);
	bind(st, types, ap);
	va_end(ap);
	if (step(st)) {
		if (sqlite3_column_type(st->st, 0) != SQLITE_NULL)
			v = eo_db_int(st, 0);
		eo_db_done(st);
	}
	return v;
}

enum eo_status
eo_db_begin(struct eo_db *db, bool write)
{
	if (db->err->status != EO_OK)
		return db->err->status;
	db->writing = write;
	if (write)
		return eo_db_run(db, "BEGIN IMMEDIATE", "");
	return eo_db_run(db, "BEGIN", "");
}

enum eo_status
eo_db_commit(struct eo_db *db)
{
	eo_db_run(db, "COMMIT", "");
	db->writing = false;
	return db->err->status;
}

void
eo_db_rollback(struct eo_db *db)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (db->slot[i].st != NULL)
			sqlite3_reset(db->slot[i].st);
	if (!sqlite3_get_autocommit(db->sq))
		sqlite3_exec(db->sq, "ROLLBACK", NULL, NULL, NULL);
	db->writing = false;
}

int64_t
eo_db_last_id(struct eo_db *db)
{
	return sqlite3_last_insert_rowid(db->sq);
}

int64_t
eo_db_changes(struct eo_db *db)
{
	return sqlite3_changes(db->sq);
}

int64_t
eo_db_version(struct eo_db *db)
{
	return eo_db_int_or(db, 0, "PRAGMA data_version", "");
}

bool
eo_db_unknown(const struct eo_db *db)
{
	return db->unknown;
}

void
eo_db_forgive(struct eo_db *db)
{
	eo_err_clear(db->err);
}

int64_t
eo_db_log_size(struct eo_db *db)
{
	if (db->page_size == 0)
		db->page_size = eo_db_int_or(db, 4096, "PRAGMA page_size", "");
	return db->log_pages * db->page_size;
}

int64_t
eo_db_spare(struct eo_db *db)
{
	int64_t spare = eo_db_int_or(db, 0, "PRAGMA freelist_count", "");
	int64_t pages = eo_db_int_or(db, 0, "PRAGMA page_count", "");

	(void)eo_db_log_size(db);
	return spare > pages / 2 ? spare * db->page_size : 0;
}

void
eo_db_shrink(struct eo_db *db)
{
	db->writing = true;
	eo_db_run(db, "PRAGMA incremental_vacuum(2048)", "");
	db->writing = false;
}

void
eo_db_checkpoint(struct eo_db *db, bool truncate)
{
	int left = 0, done = 0;

	if (db->err->status != EO_OK)
		return;
	db->writing = true;
	sqlite3_busy_timeout(db->sq, 0);	/* never wait for a reader */
	if (sqlite3_wal_checkpoint_v2(db->sq, "main", truncate ?
	    SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &left,
	    &done) == SQLITE_OK)
		db->log_pages = left > done ? left : 0;
	else if ((sqlite3_errcode(db->sq) & 0xff) != SQLITE_BUSY)
		failed(db, "cannot checkpoint");
	sqlite3_busy_timeout(db->sq, BUSY_MS);
	db->writing = false;
}

enum eo_status
eo_db_check(struct eo_db *db, void (*bad)(void *ctx, const char *what),
    void *ctx)
{
	struct eo_rows *st = eo_db_query(db, "PRAGMA integrity_check(20)", "");

	while (eo_db_row(st)) {
		const char *text = (const char *)sqlite3_column_text(st->st, 0);

		if (text != NULL && strcmp(text, "ok") != 0)
			bad(ctx, text);
	}
	return db->err->status;
}

enum eo_status
eo_db_copy(struct eo_db *db, const char *path)
{
	int fd;

	if (eo_db_run(db, "VACUUM INTO ?", "z", path) != EO_OK)
		return db->err->status;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1 || fsync(fd) == -1)
		eo_fail(db->err, EO_IO, "%s: %s", path, strerror(errno));
	if (fd != -1)
		close(fd);
	return db->err->status;
}

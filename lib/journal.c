#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema.h"

#define LOCK_WAIT_MS 60000
#define LEAVE_WAIT_MS 2000
#define LOG_MAX (8 << 20)	/* checkpoint above this, while at work … */
#define LOG_LEFT (256 << 10)	/* … and above this when we leave */
#define SPARE_MAX (64 << 20)	/* the same for free pages */
#define SPARE_LEFT (2 << 20)

char *
eo_journal_beside(const struct eo_journal *j, const char *suffix)
{
	struct eo_buf b = { 0 };

	eo_buf_addf(&b, "%s-%s", j->path, suffix);
	eo_buf_addc(&b, '\0');
	return b.p;
}

static enum eo_status
make_file(struct eo_journal *j, const char *path)
{
	int fd, e = 0;

	if (j->flags & EO_JOURNAL_FOLDERS)
		e = eo_file_make_folders(path);
	if (e != 0)
		return eo_fail(&j->err, EO_CANTCREAT, "%s: cannot make its "
		    "folder: %s", path, strerror(e));
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1 && errno != EEXIST)
		return eo_fail(&j->err, errno == ENOSPC || errno == EDQUOT ?
		    EO_IO : EO_CANTCREAT, "%s: cannot create: %s", path,
		    strerror(errno));
	if (fd != -1)
		close(fd);
	if (eo_sync_folder(path) != 0)
		return eo_fail(&j->err, EO_IO, "%s: cannot sync its folder: %s",
		    path, strerror(errno));
	return EO_OK;
}

/* Finds, or makes, the file; refuses by name what no journal may be. */
static enum eo_status
find_file(struct eo_journal *j, const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1) {
		if (errno != ENOENT)
			return eo_fail(&j->err, errno == EACCES ? EO_NOPERM :
			    EO_NOINPUT, "%s: %s", path, strerror(errno));
		if (!(j->flags & EO_JOURNAL_CREATE))
			return eo_fail(&j->err, EO_NOINPUT,
			    "%s: there is no such journal", path);
		if (make_file(j, path) != EO_OK)
			return j->err.status;
	}
	free(j->path);
	j->path = realpath(path, NULL);
	if (j->path == NULL || stat(j->path, &st) == -1) {
		if (j->path == NULL)
			j->path = eo_strdup(path);
		return eo_fail(&j->err, EO_NOINPUT, "%s: %s", path,
		    strerror(errno));
	}
	j->dev = st.st_dev;
	j->ino = st.st_ino;
	if (!S_ISREG(st.st_mode))
		return eo_fail(&j->err, EO_NOINPUT, "%s: not a regular file",
		    path);
	if (st.st_nlink > 1)
		return eo_fail(&j->err, EO_NOPERM, "%s: has %lu hard links; a "
		    "journal reached by two names would be corrupted", path,
		    (unsigned long)st.st_nlink);
	if (geteuid() == 0 && st.st_uid != 0)
		return eo_fail(&j->err, EO_NOPERM, "%s: belongs to user %lu; "
		    "root does not touch it (run as that user)", path,
		    (unsigned long)st.st_uid);
	if (!(j->flags & EO_JOURNAL_ONE_HOST) && eo_file_shared(j->path))
		return eo_fail(&j->err, EO_NOPERM, "%s: lies on a network, "
		    "shared or FUSE file system, where locks cannot be relied "
		    "on (--one-host, if no other host opens it)", path);
	return EO_OK;
}

static enum eo_status
check_marker(struct eo_journal *j)
{
	char *marker = eo_journal_beside(j, "ioerror");

	if (!(j->flags & EO_JOURNAL_MARKED) && access(marker, F_OK) == 0)
		eo_fail(&j->err, EO_IO, "%s: an I/O error has left its content "
		    "unknown; run: eo-fsck --repair %s", j->path, j->path);
	free(marker);
	return j->err.status;
}

static void
lay_marker(struct eo_journal *j)
{
	char *marker = eo_journal_beside(j, "ioerror");
	int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
	    0600);

	if (fd != -1) {
		dprintf(fd, "%s\n", j->err.text);
		(void)fsync(fd);
		close(fd);
		(void)eo_sync_folder(marker);
	}
	free(marker);
}

int
eo_journal_lock_file(struct eo_journal *j, bool inherit)
{
	char *name = eo_journal_beside(j, "lock");
	struct stat st;
	mode_t mode = stat(j->path, &st) == 0 ? st.st_mode & 0777 : 0600;
	int fd = eo_lock_open(name, mode, inherit);

	if (fd == -1)
		eo_fail(&j->err, errno == EACCES || errno == EROFS ||
		    errno == ELOOP ? EO_NOPERM : EO_IO,
		    "%s: cannot open: %s", name, strerror(errno));
	free(name);
	return fd;
}

const struct eo_source *
eo_journal_current(const struct eo_journal *j)
{
	return &j->source[j->nsource - 1];
}

const struct eo_source *
eo_journal_life(const struct eo_journal *j, int64_t id)
{
	for (size_t i = 0; i < j->nsource; i++)
		if (j->source[i].id == id)
			return &j->source[i];
	return NULL;
}

const struct eo_source *
eo_journal_named(const struct eo_journal *j, struct eo_slice hex)
{
	for (size_t i = j->nsource; i-- > 0;)
		if (eo_slice_is(hex, j->source[i].hex))
			return &j->source[i];
	return NULL;
}

static void
load_sources(struct eo_journal *j)
{
	struct eo_rows *st = eo_db_query(j->db,
	    "SELECT id, source FROM eo_source ORDER BY id", "");

	j->nsource = 0;
	while (eo_db_row(st)) {
		struct eo_slice hex = eo_db_bytes(st, 1);
		struct eo_source *s;

		j->source = eo_grow(j->source, j->nsource + 1,
		    sizeof(*j->source));
		s = &j->source[j->nsource++];
		memset(s, 0, sizeof(*s));
		s->id = eo_db_int(st, 0);
		memcpy(s->hex, hex.p, hex.n < EO_SOURCE_LEN ? hex.n :
		    EO_SOURCE_LEN);
	}
	if (j->nsource == 0)
		eo_fail(&j->err, EO_DATA, "%s: holds no source", j->path);
}

enum eo_status
eo_journal_new_source(struct eo_journal *j, const char *reason)
{
	char hex[EO_SOURCE_LEN + 1];
	char *file = eo_file_identity(j->path, true);

	for (int i = 0; i < 4; i++)
		eo_num_put_hex32(hex + 8 * i,
		    (uint32_t)eo_env_random(j->env));
	hex[EO_SOURCE_LEN] = '\0';
	if (file == NULL)
		return eo_fail(&j->err, EO_IO, "%s: %s", j->path,
		    strerror(errno));
	eo_db_run(j->db, "INSERT INTO eo_source(source, since, reason) "
	    "VALUES (?, ?, ?)", "ziz", hex, eo_env_now(j->env), reason);
	eo_db_run(j->db, "DELETE FROM eo_identity", "");
	eo_db_run(j->db, "INSERT INTO eo_identity VALUES (?)", "z", file);
	free(file);
	if (j->err.status == EO_OK)
		load_sources(j);
	return j->err.status;
}

void
eo_journal_record(struct eo_journal *j, const char *verb, const char *ref,
    const char *text)
{
	eo_db_run(j->db, "INSERT INTO eo_operator(at, verb, ref, text) "
	    "VALUES (?, ?, ?, ?)", "izzz", eo_env_now(j->env), verb, ref,
	    text);
}

/* What every transaction looks at first. */
static enum eo_status
look_round(struct eo_journal *j)
{
	struct stat st;
	int64_t version;

	if (j->err.status != EO_OK)
		return j->err.status;
	if (stat(j->path, &st) == -1 || st.st_dev != j->dev ||
	    st.st_ino != j->ino)
		return eo_fail(&j->err, EO_CONFUSED, "%s: was removed, renamed "
		    "or replaced while it was open", j->path);
	version = eo_db_version(j->db);
	if (version == j->version)
		return j->err.status;
	j->version = version;
	j->epoch++;
	if (eo_schema_version(j->db) > EO_SCHEMA_VERSION)
		return eo_fail(&j->err, EO_NEWER, "%s: was upgraded to a newer "
		    "format", j->path);
	load_sources(j);
	return j->err.status;
}

static enum eo_status
take_writer_lock(struct eo_journal *j)
{
	switch (eo_lock_take(j->lock, EO_LOCK_WRITER, LOCK_WAIT_MS)) {
	case EO_LOCK_HELD:
		return EO_OK;
	case EO_LOCK_BUSY:
		return eo_fail(&j->err, EO_AGAIN, "%s: another program has "
		    "held the writer lock for a minute", j->path);
	case EO_LOCK_STOPPED:
		return eo_fail(&j->err, EO_AGAIN, "%s: stopped by a signal "
		    "while waiting for the writer lock", j->path);
	default:
		return eo_fail(&j->err, EO_IO, "%s: cannot lock: %s", j->path,
		    strerror(errno));
	}
}

enum eo_status
eo_journal_begin(struct eo_journal *j)
{
	if (j->err.status != EO_OK)
		return j->err.status;
	if (take_writer_lock(j) != EO_OK)
		return j->err.status;
	if (check_marker(j) == EO_OK && eo_db_begin(j->db, true) == EO_OK)
		look_round(j);
	if (j->err.status != EO_OK)
		eo_journal_end(j, j->err.status);
	return j->err.status;
}

/*
 * The one commit point of every transaction.
 * Before: nothing of it can be seen.  At commit: all of it is durable.
 * A crash leaves: either; and the lock free, for the kernel drops it.
 */
enum eo_status
eo_journal_end(struct eo_journal *j, enum eo_status s)
{
	if (s == EO_OK)
		s = j->err.status;
	if (s == EO_OK)
		s = eo_db_commit(j->db);
	if (s != EO_OK) {
		if (eo_db_unknown(j->db))
			lay_marker(j);
		eo_db_rollback(j->db);
		j->epoch++;
		j->version = -1;	/* look at everything again */
	} else {
		j->wrote = true;
		if (eo_db_log_size(j->db) > LOG_MAX) {
			if (eo_db_spare(j->db) > SPARE_MAX)
				eo_db_shrink(j->db);
			eo_db_checkpoint(j->db, false);
			/* It is committed: a checkpoint can be had again. */
			if (eo_db_unknown(j->db)) {
				lay_marker(j);
				s = j->err.status;
			} else
				eo_db_forgive(j->db);
		}
	}
	eo_lock_drop(j->lock, EO_LOCK_WRITER);
	return s;
}

enum eo_status
eo_journal_read(struct eo_journal *j)
{
	if (j->err.status != EO_OK)
		return j->err.status;
	if (check_marker(j) == EO_OK && eo_db_begin(j->db, false) == EO_OK)
		look_round(j);
	if (j->err.status != EO_OK)
		eo_journal_read_end(j);
	return j->err.status;
}

void
eo_journal_read_end(struct eo_journal *j)
{
	eo_db_rollback(j->db);
}

/* Makes the tables, unless another program was faster. */
static enum eo_status
make_tables(struct eo_journal *j)
{
	struct eo_buf what = { 0 };
	bool switched = false;
	enum eo_status s;

	if (take_writer_lock(j) != EO_OK)
		return j->err.status;
	s = eo_db_prepare_file(j->db, &switched);
	if (s == EO_OK)
		s = eo_db_begin(j->db, true);
	if (s == EO_OK && eo_schema_look(j->db, &what) == EO_SCHEMA_NONE) {
		s = eo_schema_make(j->db);
		if (s == EO_OK)
			s = eo_journal_new_source(j, "made");
	}
	eo_buf_free(&what);
	s = eo_journal_end(j, s);
	if (s == EO_OK && switched)
		eo_say(&j->report, EO_OK, "%s: switched to WAL mode", j->path);
	return s;
}

static enum eo_status
check_tables(struct eo_journal *j)
{
	struct eo_buf what = { 0 };
	enum eo_schema look = eo_schema_look(j->db, &what);

	/* A backup made with VACUUM INTO has the tables, and not the mode. */
	if (((look == EO_SCHEMA_NONE && (j->flags & EO_JOURNAL_CREATE)) ||
	    (look == EO_SCHEMA_GOOD && !(j->flags & EO_JOURNAL_READ) &&
	    !eo_db_is_wal(j->db))) && j->err.status == EO_OK &&
	    make_tables(j) == EO_OK) {
		what.len = 0;
		look = eo_schema_look(j->db, &what);
	}
	eo_buf_addc(&what, '\0');
	if (j->err.status == EO_OK && look == EO_SCHEMA_NONE &&
	    !(j->flags & EO_JOURNAL_MARKED))
		eo_fail(&j->err, EO_NOINPUT, "%s: holds no journal", j->path);
	if (j->err.status == EO_OK && look == EO_SCHEMA_NEWER)
		eo_fail(&j->err, EO_NEWER, "%s: is of a newer format than this "
		    "program knows", j->path);
	if (j->err.status == EO_OK && look == EO_SCHEMA_ODD)
		eo_fail(&j->err, EO_CONFUSED, "%s: its schema was changed by "
		    "another hand: %s", j->path, what.p);
	eo_buf_free(&what);
	return j->err.status;
}

/* A journal that finds itself in another file is a copy: it begins a new
   life, so that the numbers of the two never mean different messages. */
static enum eo_status
check_identity(struct eo_journal *j)
{
	char *now = eo_file_identity(j->path, true);
	struct eo_rows *st = eo_db_query(j->db,
	    "SELECT file FROM eo_identity", "");
	bool same = false;
	enum eo_status s = j->err.status;

	while (eo_db_row(st))
		same |= now != NULL && eo_slice_is(eo_db_bytes(st, 0), now);
	free(now);
	if (same || j->err.status != EO_OK || (j->flags & EO_JOURNAL_READ))
		return j->err.status;
	s = eo_journal_begin(j);
	if (s == EO_OK)
		s = eo_journal_new_source(j, "copied or moved");
	s = eo_journal_end(j, s);
	if (s == EO_OK)
		eo_say(&j->report, EO_OK, "%s: this file was copied or moved; "
		    "from now on its source is %s", j->path,
		    eo_journal_current(j)->hex);
	return s;
}

enum eo_status
eo_journal_open(struct eo_journal **out, const char *path, unsigned flags,
    const struct eo_env *env, const struct eo_report *report)
{
	struct eo_journal *j = eo_grow(NULL, 1, sizeof(*j));

	memset(j, 0, sizeof(*j));
	*out = j;
	j->env = env;
	j->report = *report;
	j->flags = flags;
	j->lock = -1;
	j->version = -1;
	j->path = eo_strdup(path);
	if (find_file(j, path) != EO_OK || check_marker(j) != EO_OK)
		return j->err.status;
	j->lock = eo_journal_lock_file(j, false);
	if (j->lock == -1 || eo_db_open(&j->db, j->path,
	    (flags & EO_JOURNAL_READ) != 0, &j->err) != EO_OK)
		goto out;
	if (check_tables(j) != EO_OK || (flags & EO_JOURNAL_MARKED) != 0 ||
	    check_identity(j) != EO_OK)
		goto out;
	if (eo_journal_read(j) == EO_OK)
		eo_journal_read_end(j);
out:
	return j->err.status;
}

/* Free pages go back to the file system, as far as the file allows it: in an
   application's own they may have to stay. */
static void
give_back(struct eo_journal *j)
{
	int64_t spare = eo_db_spare(j->db), before;

	while (spare > SPARE_LEFT) {
		before = spare;
		eo_db_shrink(j->db);
		if (eo_db_log_size(j->db) > LOG_MAX)
			eo_db_checkpoint(j->db, false);
		spare = eo_db_spare(j->db);
		if (spare >= before)
			break;
	}
}

/* What the log takes on disk, used or not. */
static int64_t
log_file_size(const struct eo_journal *j)
{
	char *log = eo_journal_beside(j, "wal");
	struct stat st;
	int64_t size = stat(log, &st) == 0 ? st.st_size : 0;

	free(log);
	return size;
}

void
eo_journal_close(struct eo_journal *j)
{
	if (j == NULL)
		return;
	/* The last one to leave a pipeline finds the others leaving, too. */
	if (j->db != NULL && !(j->flags & EO_JOURNAL_READ) &&
	    (j->wrote || log_file_size(j) > LOG_LEFT) &&
	    j->err.status == EO_OK && eo_lock_take(j->lock, EO_LOCK_WRITER, LEAVE_WAIT_MS) ==
	    EO_LOCK_HELD) {
		give_back(j);
		if (log_file_size(j) > LOG_LEFT)
			eo_db_checkpoint(j->db, true);
		if (eo_db_unknown(j->db))
			lay_marker(j);
		eo_lock_drop(j->lock, EO_LOCK_WRITER);
	}
	eo_db_close(j->db);
	if (j->lock != -1)
		close(j->lock);
	free(j->source);
	free(j->path);
	free(j);
}

#include "append.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"

#define LOCK_WAIT_MS 60000

enum eo_status
eo_append_open(struct eo_append *a, struct eo_journal *j, const char *path)
{
	char *copy = eo_strdup(path), *copy2 = eo_strdup(path), *folder;
	struct eo_buf b = { 0 };
	struct stat st;

	memset(a, 0, sizeof(*a));
	a->j = j;
	a->fd = -1;
	/* The folder may be reached by a link, and so may the file. */
	a->path = realpath(path, NULL);
	folder = a->path == NULL ? realpath(dirname(copy), NULL) : NULL;
	if (folder != NULL) {
		eo_buf_addf(&b, "%s/%s", folder, basename(copy2));
		eo_buf_addc(&b, '\0');
		a->path = b.p;
	}
	if (a->path == NULL)
		eo_fail(&j->err, EO_CANTCREAT, "%s: cannot append: %s", path,
		    strerror(errno));
	else if (stat(a->path, &st) == 0 && !S_ISREG(st.st_mode))
		eo_fail(&j->err, EO_CANTCREAT, "%s: cannot append: not a "
		    "regular file", path);
	free(copy);
	free(copy2);
	free(folder);
	return j->err.status;
}

void
eo_append_free(struct eo_append *a)
{
	if (a->fd != -1)
		close(a->fd);
	free(a->path);
	free(a->file);
	eo_buf_free(&a->bytes);
}

static enum eo_status
fail(struct eo_append *a, const char *what, int e)
{
	return eo_fail(&a->j->err, e == EACCES || e == EPERM ? EO_NOPERM :
	    e == ENOENT || e == EISDIR ? EO_CANTCREAT : EO_IO,
	    "%s: %s: %s", a->path, what, strerror(e));
}

static void
let_go(struct eo_append *a)
{
	if (a->fd != -1) {
		eo_lock_drop(a->fd, EO_LOCK_FILE);
		close(a->fd);
	}
	a->fd = -1;
	free(a->file);
	a->file = NULL;
}

/* Is what we have open still what lies at path? */
static bool
still_there(const struct eo_append *a)
{
	struct stat there, here;

	return a->fd != -1 && stat(a->path, &there) == 0 &&
	    fstat(a->fd, &here) == 0 && there.st_ino == here.st_ino &&
	    there.st_dev == here.st_dev;
}

/* Opens what lies at path now, and locks it. */
static enum eo_status
open_and_lock(struct eo_append *a)
{
	bool made = access(a->path, F_OK) == -1;

	for (;;) {
		a->fd = open(a->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY,
		    0666);
		if (a->fd == -1)
			return fail(a, "cannot append", errno);
		switch (eo_lock_take(a->fd, EO_LOCK_FILE, LOCK_WAIT_MS)) {
		case EO_LOCK_HELD:
			break;
		case EO_LOCK_ERROR:
			return fail(a, "cannot lock", errno);
		default:
			return eo_fail(&a->j->err, EO_AGAIN, "%s: another "
			    "eo-recv has it", a->path);
		}
		/* Rotated away while we waited? */
		if (still_there(a))
			break;
		let_go(a);
	}
	if (made)
		(void)eo_sync_folder(a->path);
	a->file = eo_file_identity(a->path, false);
	if (a->file == NULL)
		return fail(a, "cannot append", errno);
	return EO_OK;
}

static bool
copy_rest(int from, uint64_t at, int to)
{
	char chunk[65536];
	ssize_t n;

	while ((n = pread(from, chunk, sizeof(chunk), (off_t)at)) > 0) {
		if (eo_io_write(to, chunk, (size_t)n) != 0)
			return false;
		at += (uint64_t)n;
	}
	return n == 0 && fsync(to) == 0;
}

/* Bytes of a write that was never committed: aside, then off. */
static enum eo_status
cut(struct eo_append *a, int fd, const char *path, uint64_t length,
    uint64_t size)
{
	struct eo_buf aside = { 0 };
	int to;

	eo_buf_addf(&aside, "%s.eo-aside", a->path);
	eo_buf_addc(&aside, '\0');
	to = open(aside.p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
	    O_NOFOLLOW, 0600);
	if (to == -1 || !copy_rest(fd, length, to))
		fail(a, "cannot set aside an unfinished write", errno);
	else if (ftruncate(fd, (off_t)length) == -1 || fsync(fd) == -1)
		fail(a, "cannot cut off an unfinished write", errno);
	else
		eo_say(&a->j->report, EO_OK, "%s: %llu bytes of an unfinished "
		    "write were moved to %s", path,
		    (unsigned long long)(size - length), aside.p);
	if (to != -1)
		close(to);
	eo_buf_free(&aside);
	return a->j->err.status;
}

/* The file is the one we know: is it as long as it should be? */
static enum eo_status
check_length(struct eo_append *a, int fd, const char *path, uint64_t length,
    bool open)
{
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) == -1)
		return fail(a, "cannot append", errno);
	size = (uint64_t)st.st_size;
	if (size > length && open)
		return cut(a, fd, path, length, size);
	if (size == length)
		return EO_OK;
	return eo_fail(&a->j->err, EO_CONFUSED, "%s: is %llu bytes long, and "
	    "%llu were written: another hand has changed it; nothing was "
	    "touched (make it %llu bytes long, or append to another file)",
	    path, (unsigned long long)size, (unsigned long long)length,
	    (unsigned long long)length);
}

/* The file was rotated while a write was open: mend it where it now lies. */
static enum eo_status
mend_rotated(struct eo_append *a, const char *identity, uint64_t length)
{
	char *copy = eo_strdup(a->path), *folder = dirname(copy);
	DIR *d = opendir(folder);
	struct dirent *e;
	bool found = false;

	while (!found && d != NULL && (e = readdir(d)) != NULL) {
		struct eo_buf path = { 0 };
		char *is;
		int fd;

		eo_buf_addf(&path, "%s/%s", folder, e->d_name);
		eo_buf_addc(&path, '\0');
		is = e->d_name[0] == '.' ? NULL :
		    eo_file_identity(path.p, false);
		found = is != NULL && strcmp(is, identity) == 0;
		fd = found ? open(path.p, O_RDWR | O_CLOEXEC) : -1;
		if (fd != -1) {
			check_length(a, fd, path.p, length, true);
			close(fd);
		} else if (found)
			fail(a, "cannot mend the rotated file", errno);
		free(is);
		eo_buf_free(&path);
	}
	if (d != NULL)
		closedir(d);
	free(copy);
	if (!found)
		eo_say(&a->j->report, EO_CONFUSED, "%s: was rotated away while "
		    "a write was open, and is not in its folder any more: its "
		    "last lines, beyond byte %llu, may be in the new file as "
		    "well", a->path, (unsigned long long)length);
	return a->j->err.status;
}

/* Compares the file with what the journal knows of it, and notes that a write
   is open; in a transaction. */
static enum eo_status
check_and_note(struct eo_append *a)
{
	struct eo_db *db = a->j->db;
	struct eo_rows *st = eo_db_query(db, "SELECT file, length, open FROM "
	    "eo_file WHERE path = ?", "z", a->path);
	struct eo_buf was = { 0 };
	bool known = eo_db_row(st), open = false;
	uint64_t length = 0;
	struct stat now;

	if (known) {
		struct eo_slice s = eo_db_bytes(st, 0);

		eo_buf_add(&was, s.p, s.n);
		length = (uint64_t)eo_db_int(st, 1);
		open = eo_db_int(st, 2) != 0;
	}
	eo_db_done(st);
	eo_buf_addc(&was, '\0');
	if (known && strcmp(was.p, a->file) == 0) {
		check_length(a, a->fd, a->path, length, open);
		a->length = length;
	} else {
		/* Met for the first time: what is in it stays. */
		if (known && open)
			mend_rotated(a, was.p, length);
		a->length = fstat(a->fd, &now) == 0 ? (uint64_t)now.st_size : 0;
	}
	eo_buf_free(&was);
	return eo_db_run(db, "INSERT OR REPLACE INTO eo_file(path, file, "
	    "length, open) VALUES (?, ?, ?, 1)", "zzi", a->path, a->file,
	    (int64_t)a->length);
}

enum eo_status
eo_append_ready(struct eo_append *a)
{
	enum eo_status s;

	a->bytes.len = 0;
	if (still_there(a) && a->noted)
		return check_length(a, a->fd, a->path, a->length, false);
	if (!still_there(a) && (eo_append_rest(a) != EO_OK ||
	    open_and_lock(a) != EO_OK))
		return a->j->err.status;
	s = eo_journal_begin(a->j);
	if (s == EO_OK)
		s = eo_journal_end(a->j, check_and_note(a));
	a->noted = s == EO_OK;
	if (s != EO_OK)
		let_go(a);
	return s;
}

void
eo_append_add(struct eo_append *a, struct eo_slice escaped)
{
	eo_unescape(&a->bytes, escaped);
	eo_buf_addc(&a->bytes, '\n');
}

static int
write_at(int fd, const char *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t w = pwrite(fd, p, n, (off_t)at);

		if (w < 0 && errno != EINTR)
			return errno;
		if (w > 0) {
			p += w;
			n -= (size_t)w;
			at += (uint64_t)w;
		}
	}
	return fdatasync(fd) == -1 ? errno : 0;
}

enum eo_status
eo_append_flush(struct eo_append *a, bool more)
{
	int e;

	if (a->bytes.len == 0 && more)
		return EO_OK;
	e = a->bytes.len == 0 ? 0 : write_at(a->fd, a->bytes.p, a->bytes.len,
	    a->length);
	if (e != 0) {
		/* What is there of it is cut off now, or by the next one. */
		(void)!ftruncate(a->fd, (off_t)a->length);
		return fail(a, "cannot append", e);
	}
	a->length += a->bytes.len;
	a->bytes.len = 0;
	a->noted = more;
	return eo_db_run(a->j->db, "UPDATE eo_file SET length = ?, open = ? "
	    "WHERE path = ?", "iiz", (int64_t)a->length, (int64_t)more,
	    a->path);
}

enum eo_status
eo_append_rest(struct eo_append *a)
{
	enum eo_status s = EO_OK;

	if (a->noted) {
		s = eo_journal_begin(a->j);
		if (s == EO_OK)
			s = eo_journal_end(a->j, eo_append_flush(a, false));
	}
	let_go(a);
	return s;
}

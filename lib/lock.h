/*
 * lock: kernel locks on single bytes of a file.
 *
 * Open-file-description locks (fcntl(2), F_OFD_SETLK): they belong to the
 * open file, not to the process.  A child that inherits the descriptor holds
 * the lock as well, and closing some other descriptor of the same file does
 * not drop it.  The kernel frees a lock when its last holder is gone: there
 * is nothing to expire and nobody to clean up.
 *
 *	fd = eo_lock_open(path, mode, false);
 *	switch (eo_lock_take(fd, EO_LOCK_WRITER, 60000)) ...
 *	eo_lock_drop(fd, EO_LOCK_WRITER);
 *
 * Drop explicitly: close(2) leaves the lock with a child that lives on.
 */
#ifndef EO_LOCK_H
#define EO_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes of the lock file. */
#define EO_LOCK_WRITER 0
#define EO_LOCK_CHANNEL(id) (INT64_C(1) + (id))
/* The byte that says who writes an --append FILE, of that file. */
#define EO_LOCK_FILE (INT64_C(1) << 60)

enum eo_lock {
	EO_LOCK_HELD,
	EO_LOCK_BUSY,
	EO_LOCK_STOPPED,	/* a signal asked us to stop */
	EO_LOCK_ERROR,		/* errno says why */
};

/* Opens, and makes with this mode where it is missing; never through a
   symbolic link.  inherit: a child keeps it over exec.  -1 and errno. */
int eo_lock_open(const char *path, mode_t mode, bool inherit);

/* Waits in the kernel for ms at most; 0 only tries. */
enum eo_lock eo_lock_take(int fd, int64_t byte, int ms);

void eo_lock_drop(int fd, int64_t byte);

/* Does anybody else hold it? */
bool eo_lock_probe(int fd, int64_t byte);

#endif

/*
 * file: which file is this, where does it lie, and is its name durable?
 *
 * Paths in, errno or an answer out; nothing here opens the file itself, for
 * closing any descriptor of a journal would drop SQLite's locks on it.
 */
#ifndef EO_FILE_H
#define EO_FILE_H

#include <stdbool.h>

/* Makes what was given a name in this path's folder durable: errno, or 0. */
int eo_sync_folder(const char *path);

/* Makes the folders above path, 0700, durably: errno, or 0. */
int eo_file_make_folders(const char *path);

/* What tells this file from a copy of it (machine: and this machine from a
   clone): to be freed.  NULL and errno. */
char *eo_file_identity(const char *path, bool machine);

/* Does it lie on a network, shared or FUSE file system, where locks and
   shared memory cannot be relied on? */
bool eo_file_shared(const char *path);

#endif

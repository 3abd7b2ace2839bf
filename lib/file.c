#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "buf.h"

int
eo_sync_folder(const char *path)
{
	char *copy = eo_strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int e = fd == -1 || fsync(fd) == -1 ? errno : 0;

	if (fd != -1)
		close(fd);
	free(copy);
	return e == EINVAL || e == EROFS ? 0 : e;
}

/* Inode and birth tell a file from its copy, the file system's id and the
   machine's tell a clone of the whole disk. */
char *
eo_file_identity(const char *path, bool machine)
{
	struct eo_buf b = { 0 };
	struct statx sx;
	struct statfs fs;
	char id[64] = "";
	int fd;

	if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &sx) == -1 ||
	    statfs(path, &fs) == -1)
		return NULL;
	if (machine) {
		fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
		if (fd != -1) {
			if (read(fd, id, 32) != 32)
				id[0] = '\0';
			close(fd);
		}
	}
	eo_buf_addf(&b, "%x.%x:%llu:%lld.%09u:%s",
	    (unsigned)fs.f_fsid.__val[0], (unsigned)fs.f_fsid.__val[1],
	    (unsigned long long)sx.stx_ino, (long long)sx.stx_btime.tv_sec,
	    sx.stx_btime.tv_nsec, id);
	eo_buf_addc(&b, '\0');
	return b.p;
}

/* mkdir -p of the folders above path, 0700, each synced into its parent. */
int
eo_file_make_folders(const char *path)
{
	char *copy = eo_strdup(path);
	int e = 0;

	for (char *s = strchr(copy + 1, '/'); s != NULL && e == 0;
	    s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(copy, 0700) == 0)
			e = eo_sync_folder(copy);
		else if (errno != EEXIST)
			e = errno;
		*s = '/';
	}
	free(copy);
	return e;
}

/* File systems whose locks or whose shared memory another host does not
   see. */
bool
eo_file_shared(const char *path)
{
	static const unsigned long magic[] = {
		0x6969,		/* NFS */
		0x517b,		/* SMB */
		0xff534d42,	/* CIFS */
		0xfe534d42,	/* SMB2 */
		0x65735546,	/* FUSE, virtiofs */
		0x01021997,	/* 9p */
		0x5346414f,	/* AFS */
		0x73757245,	/* Coda */
		0x00c36400,	/* Ceph */
		0x01161970,	/* GFS2 */
		0x7461636f,	/* OCFS2 */
		0x0bd00bd0,	/* Lustre */
		0x786f4256,	/* vboxsf */
		0xbacbacbc,	/* vmhgfs */
	};
	struct statfs fs;

	if (statfs(path, &fs) == -1)
		return false;
	for (size_t i = 0; i < sizeof(magic) / sizeof(*magic); i++)
		if (((unsigned long)fs.f_type & 0xffffffff) == magic[i])
			return true;
	return false;
}

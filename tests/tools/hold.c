/*
 * hold: holds a lock of eo's while a file exists. A tool of the tests.
 *
 *	hold LOCKFILE BYTE FILE
 *
 * Takes an open-file-description lock on that byte, makes FILE to say so, and
 * ends when somebody has removed FILE.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	struct timespec nap = { .tv_nsec = 10000000 };
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
	    .l_len = 1 };
	int fd, made;

	if (argc != 4)
		errx(64, "usage: hold lockfile byte file");
	l.l_start = (off_t)strtoll(argv[2], NULL, 10);
	if ((fd = open(argv[1], O_RDWR)) == -1)
		err(66, "%s", argv[1]);
	if (fcntl(fd, F_OFD_SETLKW, &l) == -1)
		err(71, "%s: cannot lock", argv[1]);
	if ((made = open(argv[3], O_CREAT | O_EXCL | O_WRONLY, 0600)) == -1)
		err(73, "%s", argv[3]);
	close(made);
	while (access(argv[3], F_OK) == 0)
		nanosleep(&nap, NULL);
	return 0;
}

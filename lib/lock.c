#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "io.h"

int
eo_lock_open(const char *path, mode_t mode, bool inherit)
{
	int flags = O_RDWR | O_NOFOLLOW | (inherit ? 0 : O_CLOEXEC);
	int fd = open(path, flags);

	if (fd == -1 && errno == ENOENT) {
		fd = open(path, flags | O_CREAT | O_EXCL, mode);
		if (fd != -1)
			(void)fchmod(fd, mode);	/* whatever the umask */
		else if (errno == EEXIST)
			fd = open(path, flags);
	}
	return fd;
}

static struct flock
byte_lock(short type, int64_t byte)
{
	struct flock l;

	memset(&l, 0, sizeof(l));
	l.l_type = type;
	l.l_whence = SEEK_SET;
	l.l_start = (off_t)byte;
	l.l_len = 1;
	return l;
}

enum eo_lock
eo_lock_take(int fd, int64_t byte, int ms)
{
	struct flock l = byte_lock(F_WRLCK, byte);
	/* The interval repeats the signal, for the one that comes between
	   this line and fcntl(2). */
	struct itimerval on = { .it_value = { ms / 1000, ms % 1000 * 1000 },
	    .it_interval = { 0, 100000 } }, off = { { 0, 0 }, { 0, 0 } };
	enum eo_lock result;

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return EO_LOCK_HELD;
	if (errno != EAGAIN && errno != EACCES)
		return EO_LOCK_ERROR;
	if (ms <= 0)
		return EO_LOCK_BUSY;
	setitimer(ITIMER_REAL, &on, NULL);
	for (;;) {
		struct itimerval left;

		if (fcntl(fd, F_OFD_SETLKW, &l) == 0) {
			result = EO_LOCK_HELD;
			break;
		}
		if (errno != EINTR) {
			result = EO_LOCK_ERROR;
			break;
		}
		if (eo_io_stopped()) {
			result = EO_LOCK_STOPPED;
			break;
		}
		getitimer(ITIMER_REAL, &left);
		if (left.it_value.tv_sec == 0 &&
		    left.it_value.tv_usec <= 100000) {
			result = EO_LOCK_BUSY;
			break;
		}
	}
	setitimer(ITIMER_REAL, &off, NULL);
	return result;
}

void
eo_lock_drop(int fd, int64_t byte)
{
	struct flock l = byte_lock(F_UNLCK, byte);

	(void)fcntl(fd, F_OFD_SETLK, &l);
}

bool
eo_lock_probe(int fd, int64_t byte)
{
	struct flock l = byte_lock(F_WRLCK, byte);

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

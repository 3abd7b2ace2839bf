/*
 * peak: runs a command and says how much memory it had at most. A tool of
 * the tests.
 *
 *	peak FILE CMD [ARG ...]
 *
 * Writes CMD's largest resident set, in KiB, to FILE; its exit status is
 * CMD's, or 128 + the signal that ended it.
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include <err.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	struct rusage use;
	int status;
	pid_t pid;
	FILE *f;

	if (argc < 3)
		errx(64, "usage: peak file cmd [arg ...]");
	if ((pid = fork()) == -1)
		err(71, "fork");
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		err(127, "%s", argv[2]);
	}
	if (wait4(pid, &status, 0, &use) == -1)
		err(71, "wait4");
	if ((f = fopen(argv[1], "w")) == NULL)
		err(73, "%s", argv[1]);
	fprintf(f, "%ld\n", use.ru_maxrss);
	if (fclose(f) != 0)
		err(74, "%s", argv[1]);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
	    WEXITSTATUS(status);
}

/* LD_PRELOAD for pgpool: a child that is forked with SIGQUIT unblocked returns from fork() late. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

pid_t fork(void)
{
	pid_t (*real)(void) = (pid_t (*)(void)) dlsym(RTLD_NEXT, "fork");
	const char *ms = getenv("SLOW_BIRTH_MS");
	pid_t pid = real();
	sigset_t mask;

	if (pid == 0 && ms && sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && !sigismember(&mask, SIGQUIT))
	{
		struct timespec t = {atoi(ms) / 1000, atoi(ms) % 1000 * 1000000L};
		while (nanosleep(&t, &t) != 0)
			;
	}
	return pid;
}

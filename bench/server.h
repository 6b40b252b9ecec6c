/* What the servers of the benchmark share: the command line, the line that the driver waits for, what they own
 * of memory.
 *
 *	NAME WORKLOAD [ADDRESS:PORT[?deferaccept=SECONDS] [TARGET]]
 *
 * web.c, which has no workloads, uses server_endpoint() instead of server_begin(). */
#ifndef SERVER_H
#define SERVER_H

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The end of a server that cannot go on; an errno of 0 is not printed. */
static inline _Noreturn void
server_die(const char *what)
{
	fprintf(stderr, "bench: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
	exit(1);
}

/* SIGUSR1: one line, the bytes of heap in use, malloc's own overhead included.  Nothing of this is safe in a handler
 * in general; here it is, as the driver asks only while the server waits for events. */
static inline void
server_report_heap(int signo)
{
	struct mallinfo2 info = mallinfo2();
	char text[64];
	int n = snprintf(text, sizeof(text), "heap %zu\n", info.uordblks + info.hblkhd);

	(void)signo;
	if (write(STDOUT_FILENO, text, (size_t)n) != n)
		_exit(1);
}

static inline void
server_end(int signo)
{
	(void)signo;
	_exit(0);
}

/* Also: the server goes when its driver does, and may have as many descriptors as the system allows. */
static inline void
server_prepare(void)
{
	struct rlimit files;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGUSR1, server_report_heap);
	signal(SIGTERM, server_end);	/* tools that count would report a death by signal */
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* The command line of a server. */
struct server_args {
	const char *workload;
	const char *endpoint;		/* where to listen; by default any port of loopback */
	const char *target;		/* ADDRESS:PORT to relay to, or NULL */
};

static inline struct server_args
server_begin(int argc, char **argv)
{
	struct server_args args = {.endpoint = "127.0.0.1:0"};

	if (argc < 2 || argc > 4 || argv[1][0] == '-') {
		fprintf(stderr, "usage: %s WORKLOAD [ADDRESS:PORT[?deferaccept=SECONDS] [TARGET]]\n", argv[0]);
		exit(2);
	}
	args.workload = argv[1];
	if (argc > 2)
		args.endpoint = argv[2];
	if (argc > 3)
		args.target = argv[3];
	server_prepare();
	return args;
}

/* The place of the workload in a table whose entries begin with their name. */
static inline const void *
server_workload(const struct server_args *args, const void *table, size_t count, size_t entry)
{
	for (size_t i = 0; i < count; i++) {
		const void *at = (const char *)table + i * entry;

		if (strcmp(*(const char *const *)at, args->workload) == 0)
			return at;
	}
	fprintf(stderr, "bench: there is no workload \"%s\"; there are:", args->workload);
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, " %s", *(const char *const *)(const void *)((const char *)table + i * entry));
	fprintf(stderr, "\n");
	exit(2);
}

static inline const char *
server_endpoint(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		fprintf(stderr, "usage: %s [ADDRESS:PORT]\n", argv[0]);
		exit(2);
	}
	server_prepare();
	return argc == 2 ? argv[1] : "127.0.0.1:0";
}

static inline void
server_ready(const char *address)
{
	printf("listening on %s\n", address);
	fflush(stdout);
}

#endif

/* What the echo servers of the benchmark share: the command line, and the line that the driver waits for. */
#ifndef SERVER_H
#define SERVER_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

/* `arg` is the server's only argument, ADDRESS:PORT, or nothing.  Also: the server goes when its driver does. */
static inline const char *
server_endpoint(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		fprintf(stderr, "usage: %s [ADDRESS:PORT]\n", argv[0]);
		exit(2);
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	return argc == 2 ? argv[1] : "127.0.0.1:0";
}

static inline void
server_ready(const char *address)
{
	printf("listening on %s\n", address);
	fflush(stdout);
}

#endif

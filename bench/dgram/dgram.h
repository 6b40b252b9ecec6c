/* The comparison of UDP echo servers: what its files share.  See main.c. */
#ifndef BENCH_DGRAM_H
#define BENCH_DGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../net.h"

enum { BATCH = 64, ROOM = 2048, RECEIVE_BUFFER = 4 * 1024 * 1024 };

/* What is put to a server. */
struct work {
	size_t size;			/* bytes of a datagram */
	unsigned socks, depth;		/* sockets of the load, datagrams that each has in flight */
	double warm_up, seconds;
	bool check;			/* compares every byte that comes back */
};

/* What a round came to. */
struct sample {
	uint64_t datagrams;		/* that came back in `seconds` */
	uint64_t lost;			/* and did not */
	double seconds, cpu;		/* cpu: of the server's process, user and system */
};

/* Servers.  They print "listening on ADDRESS:PORT" and go on until they are killed. */
_Noreturn void serve_raw(int fd);
_Noreturn void serve_ours(int fd);

/* The load: drives the server at `addr`, whose process is `server`. */
void load_run(const struct work *work, const struct sockaddr_in *addr, pid_t server, struct sample *out);

_Noreturn void die(const char *what);

#endif

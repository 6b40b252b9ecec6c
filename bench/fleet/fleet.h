/* The comparison of mass clients: what its files share.  See main.c. */
#ifndef BENCH_FLEET_H
#define BENCH_FLEET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SERVERS = 2, LOCALS = 4 };

/* How a client is told where to connect to. */
enum how {
	HOW_ADDR,			/* an address */
	HOW_TEXT,			/* an endpoint's text, to be parsed */
	HOW_BIND			/* a text, from one of LOCALS local addresses, in turn */
};

struct work {
	unsigned count;			/* connections */
	struct sockaddr_in addrs[SERVERS];	/* taken in turn */
	enum how how;
};

/* What a client came to.  Made in a process of its own, and handed over through a pipe. */
struct sample {
	unsigned connected, failed, timed_out;
	double seconds;			/* from the first connect until all are told */
	double cpu;			/* user and system, of the client's process */
	double heap;			/* bytes of a connection, malloc's own overhead included */
};

/* Clients: all are connected, none has said anything; then the sample is taken and all are reset. */
void client_raw(const struct work *work, struct sample *out);
void client_ours(const struct work *work, struct sample *out);

/* Ours under a storm: of ten connects four succeed, three are refused, three are never answered. */
void client_storm(unsigned count, const struct sockaddr_in addrs[3], double timeout, struct sample *out);

/* In use of the heap, and CPU time of this process, seconds; a clock. */
double heap_now(void);
double cpu_now(void);
double now(void);

void local_text(unsigned i, char *buf, size_t size);

_Noreturn void die(const char *what);

#endif

/* The load generator: what its modes share.  One file each: echo.c, churn.c, broadcast.c, idle.c. */
#ifndef LOAD_H
#define LOAD_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "../net.h"

enum {
	EVENTS = 256,
	PERIOD = 251,			/* of the pattern, in units: prime, so that a message sent twice or skipped shows */
	BUFFER = 256 * 1024
};

struct options {
	size_t conns, size, depth;
	size_t idle;			/* further connections, that say nothing */
	bool lines;			/* messages are lines */
	bool batch;			/* the next `depth` messages go when all of the last have come back */
	bool keep;			/* holds its connections when it has printed its line, until it is killed */
	bool yield;			/* gives its CPU to others that could run while nothing is there */
	double warm_up, seconds;
	uint64_t messages;		/* 0: as many as there are in `seconds` */
	pid_t server;
	struct sockaddr_in addr;
};

struct load {
	struct options opts;
	int epoll;
	size_t unit, period;		/* bytes after which the pattern may be entered, and repeats itself */
	const char *pattern;		/* period + BUFFER */
	char *buffer;			/* of BUFFER bytes */
	uint64_t done;			/* messages that came back */
	void (*event)(struct load *l, void *arg, uint32_t events);
	void *state;			/* the mode's own */
};

/* What a mode does: begins its work; `event` and `done` say how it goes on. */
void load_echo(struct load *l);
void load_churn(struct load *l);
void load_broadcast(struct load *l);
_Noreturn void load_idle(struct load *l);

_Noreturn void die(const char *what);
_Noreturn void die_errno(const char *what);

/* A blocking connection that is reset, not ended, when it is closed: so nothing stays behind that the next
 * round meets. */
int load_connect(const struct load *l);

/* Where in the pattern the `i`-th of those begins that begin at different places. */
size_t load_place(const struct load *l, uint64_t i);

/* Watches `fd`, for the first time if `was` is 0.  Returns `events`. */
uint32_t load_watch(struct load *l, int fd, void *arg, uint32_t was, uint32_t events);

/* Sends of *owed bytes from the place *at of the pattern as much as the kernel takes, and moves both. */
void load_send(const struct load *l, int fd, size_t *at, size_t *owed);

/* Reads once and checks it against the pattern at *at, which moves.  Returns bytes, 0 for nothing now; a wrong
 * byte, an end or an error ends the program. */
size_t load_receive(const struct load *l, int fd, size_t *at);

#endif

/* What the files of the fleet share: fleet.c has the object and its turn, target.c what a target says and how a connection is
 * begun, conn.c the life of a connection. */
#ifndef FLEET_PRIVATE_H
#define FLEET_PRIVATE_H

#include <sconce/fleet.h>

/* Bits of a connection's _state. */
enum {
	CONN_TOLD = 1,			/* init has run */
	CONN_OPEN = 2,			/* it was connected */
	CONN_OVER = 4,			/* failed or error has run, closed comes next */
	CONN_SET = 8,			/* the timeout was set anew */
	CONN_SHORT = 16			/* it failed for want of something */
};

/* A target that waits for room. */
struct sconce__fleet_wait {
	struct sconce__fleet_wait *next;
	struct sconce_fleet_target target;	/* its pointers lead to what follows */
	struct sconce_addr addr;
	char text[];			/* endpoint, bind */
};

struct sconce__fleet {
	struct sconce_fleet *fleet;
	struct sconce_stream_options stream;	/* of every connection; the filters are referenced */
	double connect_timeout, input_timeout;	/* seconds; 0 or less: none */
	size_t max_in_flight;		/* 0: no limit */
	struct sconce_addr *binds;	/* local addresses, port 0: any */
	size_t bind_count, bind_next;

	struct sconce_fleet_conn *head, **tail;		/* all connections, in the order begun */
	struct sconce_fleet_conn *untold;		/* none before it waits for init */
	struct sconce__fleet_wait *wait_head, **wait_tail;
	sconce_fleet_next_fn *next;
	void *next_arg;
	bool dry;			/* next() had nothing: a close or a call asks again */
	bool asking;			/* next() is being asked, and nothing was dropped meanwhile */
	double rest_until;		/* there were no fds or no memory: nothing is begun before; sconce_now() */

	struct sconce_timer turn;	/* there is something to do: init, room to fill, the end of a stop */
	struct sconce_timer deadline;	/* of sconce_fleet_stop() */
	bool stopping, stopped;		/* ... was called; done is due no more */
	void (*done)(struct sconce_fleet *fleet, void *arg);
	void *done_arg;
};

/* ---- fleet.c ---- */

/* The fleet's turn comes with the loop's next. */
void sconce__fleet_wake(struct sconce__fleet *f);
/* It could not get an fd or memory: it rests, unless some is freed before. */
void sconce__fleet_rest(struct sconce__fleet *f);
/* A connection is destroyed and off the list.  The fleet may be gone afterwards. */
void sconce__fleet_left(struct sconce__fleet *f, bool had_fd);

/* ---- target.c ---- */

/* A numeric local address with or without a port.  0 or -EINVAL with *fail_out (may be NULL) set. */
int sconce__fleet_bind_parse(const char *text, struct sconce_addr *addr_out, struct sconce_fail *fail_out);
/* Whether a connection can be begun at all: 0 or -EINVAL with *fail_out (may be NULL) set. */
int sconce__fleet_target_check(const struct sconce_fleet_target *t, struct sconce_fail *fail_out);
/* Copies a target. */
struct sconce__fleet_wait *sconce__fleet_wait_new(const struct sconce_fleet_target *t);
/* Connects.  0, or -errno with *fail_out set: then nothing has begun. */
int sconce__fleet_start(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t,
	struct sconce_fail *fail_out);
/* A record of our own; `fail` may be NULL. */
void sconce__fleet_fail(struct sconce_fail *fail, const char *operation, int errnum, const char *what);
/* A copy of the socket's record (a hook may try something that fails, too); of our own where there was no memory for it. */
void sconce__fleet_failure(const struct sconce_fleet_conn *c, const char *operation, int errnum, struct sconce_fail *fail_out);

/* ---- conn.c ---- */

/* Makes a connection that is nobody's yet: sconce_close() makes away with it.  0, -ENOMEM, -ESHUTDOWN. */
int sconce__fleet_conn_new(struct sconce__fleet *f, struct sconce_fleet_conn **conn_out);
/* It is the fleet's. */
void sconce__fleet_conn_join(struct sconce__fleet *f, struct sconce_fleet_conn *c);
/* Whether its connect has failed for want of fds or memory, though that is not told yet. */
bool sconce__fleet_is_short(const struct sconce_fleet_conn *c);
/* Calls init unless it was. */
void sconce__fleet_conn_tell(struct sconce_fleet_conn *c);
/* Calls init and failed, and closes. */
void sconce__fleet_conn_fail(struct sconce_fleet_conn *c, const struct sconce_fail *fail);

#endif

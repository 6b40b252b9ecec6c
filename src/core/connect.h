/* What the files of the connect share: connect.c has the state machine, connect_name.c the look-ups before it, race.c the
 * attempts that overlap. */
#ifndef SCONCE_CONNECT_H
#define SCONCE_CONNECT_H

#include "core.h"

enum connect_kind {
	CONNECT_ADDRS,			/* to each of addrs, until one answers */
	CONNECT_OWN,			/* the application has begun it */
	CONNECT_HANDSHAKE		/* only the handshake, on a socket that was open */
};

struct sconce__connect {
	enum connect_kind kind;
	int type;			/* SOCK_... */
	int errnum;			/* what was decided */
	bool bound;			/* a local address was asked for */
	bool timed;			/* SCONCE_TIMEOUT_CONNECT is the option's */
	struct sconce_addr addr;	/* being tried; len 0: none yet */
	struct sconce_addr bind[2];	/* the local address: of AF_INET6 [1], of the others [0]; len 0: none of that family */
	struct sconce_socket_options options;
	struct sconce_endpoint *names;	/* that are being looked up, or NULL */
	struct sconce_resolve *lookup;
	struct race *race;		/* NULL: one address after the other */
	size_t next, count;
	struct sconce_addr *addrs;	/* `one`, or on the heap */
	struct sconce_addr one[];
};

/* connect.c */
/* A socket with its options that has begun to connect to c->addr; *again_out tells that it goes on.  The fd or -errno,
 * with the record set. */
int sconce__connect_begin(struct sconce_sock *s, bool *again_out);
/* Makes the fd, which is connecting or connected, the socket's.  0; or -errno, with the record set and the fd closed. */
int sconce__connect_open(struct sconce_sock *s, int fd);
/* The fd is connected: the handshake, if there is one, or success. */
void sconce__connect_connected(struct sconce_sock *s);
/* Sets the record of the address that is being tried. */
void sconce__connect_failed(struct sconce_sock *s, const char *operation, int errnum);
/* Tries the addresses; with happy=, in race.c. */
void sconce__connect_try(struct sconce_sock *s);

/* connect_name.c */
/* What of the endpoint needs no look-up, into c->bind.  0; -EAGAIN: its names must be looked up; -EINVAL. */
int sconce__connect_bind_literal(struct sconce__connect *c, const struct sconce_endpoint *ep);
/* Looks up what must be, then tries.  0 or -errno, with nothing begun. */
int sconce__connect_lookup(struct sconce_sock *s, const struct sconce_endpoint *ep);

/* race.c */
/* False: there is no memory, one after the other will do. */
bool sconce__race_start(struct sconce_sock *s);
void sconce__race_free(struct sconce_loop *l, struct race *race);

#endif

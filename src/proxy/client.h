/* Connections from clients: one request after the other. */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include "service.h"

/* Where a client stands.  From COLLECT on it is on proxy->busy.
 *
 *	IDLE -> HEAD -> COLLECT -> WAIT -> SENT -> ANSWER -> DRAIN -> IDLE
 *
 * with steps left out that need no time.  A backend is attached in SENT and ANSWER. */
enum client_state {
	CLIENT_IDLE,		/* nothing of a request has come */
	CLIENT_HEAD,		/* part of a head has */
	CLIENT_COLLECT,		/* the body's beginning is collected before a backend is asked for */
	CLIENT_WAIT,		/* for a backend */
	CLIENT_SENT,		/* a backend has the request, or gets it; nothing of the answer has been passed on */
	CLIENT_ANSWER,		/* part of the answer has */
	CLIENT_DRAIN,		/* answered: has to take what is queued */
	CLIENT_ENDING		/* sconce_close_flush() */
};

struct client {
	struct sconce_sock sock;
	struct service	*service;
	struct backend	*backend;	/* in SENT and ANSWER */
	struct link	busy;		/* of proxy->busy */
	struct link	waiting;	/* of service->waiting, in WAIT */
	struct partial	*partial;	/* in HEAD: what has come of it */
	struct request	*request;	/* what a backend is to get first; NULL when it can no longer be sent again */
	struct sconce_http_body body;	/* of the request, as far as it has been read from this socket */
	double		since;		/* HEAD: its first byte; WAIT: the wait; later: the last progress seen */
	uint64_t	moved;		/* bytes read for the present exchange, either way */
	uint64_t	progress;	/* what the last tick saw */
	uint8_t		state;		/* enum client_state */
	uint8_t		method;		/* enum sconce_http_method */
	uint8_t		minor;		/* HTTP/1.minor */
	bool		asked_keep;	/* the client wants to stay connected */
	bool		keep;		/* and it was told that it may */
	bool		chunked;	/* so is its request's body */
	bool		expects;	/* it waits for a 100 before its body */
	bool		uploading;	/* the rest of the body goes to the backend as it comes */
	bool		ended;		/* the end of its input has been read */
	bool		probed;		/* after that it was asked whether it is still there */
	bool		until_close;	/* the present answer lasts until we close */
	bool		fresh;		/* wants a new connection: a kept one has failed it */
	char		peer[64];	/* its address, for X-Forwarded-For */
};

/* For sconce_listener_ops: takes a connection.  Returns 0 or -errno. */
int client_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer);

/* The client whose base `s` is. */
struct client *client_of(struct sconce_sock *s);

/* For the backend's side: */

/* Part of the answer was written, with this result of sconce_write(); true if the client is still there. */
bool client_wrote(struct client *c, int result);
/* The answer is complete and the backend detached: on to the next request, or the end. */
void client_answered(struct client *c);
/* No answer will come: one of our own instead (an HTTP status), or, if part has been passed on, a cut. */
void client_fail(struct client *c, int status, const char *why);
/* Closes, and cuts what it is tied to. */
void client_close(struct client *c, int reason);
/* The queue has to be waited for once more: the backend ended before it said anything. */
void client_retry(struct client *c);

/* For proxy.c: */

/* Looks whether the client waits for too long. */
void client_check(struct client *c, double now);
/* Closes `s` if it is a client that does nothing, or a backend that has no client; counts other clients in *left, a
 * size_t.  For sconce_each(), when nobody new is served.  With proxy->draining idle clients have DRAIN_IDLE_SECONDS. */
bool client_close_idle(struct sconce_sock *s, void *left);

#endif

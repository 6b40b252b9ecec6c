/* Connections to nodes. */
#ifndef PROXY_BACKEND_H
#define PROXY_BACKEND_H

#include "client.h"

enum backend_state {
	BACKEND_CONNECTING,
	BACKEND_IDLE,		/* on service->idle */
	BACKEND_SENT,		/* has a client's request; no complete response head yet */
	BACKEND_BODY,		/* the response's body is being passed on */
	BACKEND_CLOSED
};

/* How the client learns where the body ends. */
enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct backend {
	struct sconce_sock sock;
	struct service	*service;
	struct node	*node;
	struct client	*client;	/* in SENT and BODY */
	struct link	idle;		/* of service->idle, in IDLE */
	struct partial	*partial;	/* in SENT: what has come of the response head */
	struct sconce_http_body body;	/* of the response, as far as it has been read */
	uint64_t	transferring;	/* bytes of it that a transfer is to move; 0: none is under way */
	int64_t		uses;		/* requests sent */
	double		free_since;	/* when its last response was complete */
	uint8_t		state;		/* enum backend_state */
	uint8_t		framing;	/* enum framing */
	bool		keep;		/* it may be used again after this response */
	bool		begun;		/* something of the response has come */
};

/* Connects to the node; service_offer() follows.  Returns 0 or -errno. */
int backend_connect(struct service *sv, struct node *node);
/* Gives it a client's request. */
void backend_use(struct backend *b, struct client *c);
/* Whether one without a client is as it was left: no end, and no byte that would be taken for the next answer (HZ-5). */
bool backend_fresh(struct backend *b);
/* Closes and cuts; the client, if any, is the caller's to deal with. */
void backend_close(struct backend *b, int reason);
/* The connection ended (0) or failed: what that means for the client. */
void backend_lost(struct backend *b, int errnum);
/* The response is complete (or given up): parts the two. */
void backend_done(struct backend *b, bool reusable);
struct backend *backend_of(struct sconce_sock *s);
bool backend_is(const struct sconce_sock *s);

/* ---- answer.c ---- */

/* event_read, in SENT and BODY. */
void answer_read_head(struct backend *b);
void answer_read_body(struct backend *b);
/* The client has taken all that was queued: more of the body may come. */
void answer_resume(struct backend *b);

#endif

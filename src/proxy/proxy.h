/* The daemon: what all of its parts share.
 *
 *   main.c      options, the steps of a start; the rest of the process's life is sconce/process.h's
 *   config.c    files -> lines -> commands; errors with their place
 *   command.c   the command table, for files (and consoles)
 *   param.c     parameters of services and pools, by name
 *   service.c   a listener, its queue of clients that want a backend, its idle backends
 *   pool.c      nodes, and which of them takes the next connection
 *   client.c    a connection from a client: one request after the other
 *   request.c   the request as it goes to a backend;  upload.c  the rest of its body
 *   backend.c   a connection to a node
 *   answer.c    the response, from a backend to its client
 *   partial.c   heads that come in pieces;  recode.c  bodies that are chunked
 *   page.c      responses of our own;  demo.c
 *
 * A request's way:  client -> service (queue) -> backend -> client.  While a backend has it, client->backend and
 * backend->client point at each other; whoever closes one of them clears both (client_unlink, backend_unlink). */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <sconce/sconce.h>
#include <sconce/http.h>
#include <sconce/process.h>
#include "list.h"

/* Limits that are not parameters. */
enum {
	IO_BYTES = 256 * 1024,		/* the buffer that every read goes to */
	OUT_BYTES = 72 * 1024,		/* a response head, rewritten: SCONCE_HTTP_HEAD_BYTES and what we add */
	FIRST_READ = 16 * 1024,		/* of a request: what is pipelined behind it is copied, so not more */
	SPLICE_BYTES = 32 * 1024,	/* shorter runs of a body are copied, not spliced */
	DRAIN_SECONDS = 30,		/* for busy clients at the end, unless --drain says otherwise */
	LINGER_SECONDS = 5,		/* for the peer to read what was sent before a close */
	DRAIN_IDLE_SECONDS = 5,		/* for an idle client whose request may be on its way, at a restart */
	RETRY_SECONDS = 1,		/* a node that refused is left alone; Retry-After */
	DISTRUST_SECONDS = 60,		/* a node that says more than its answers */
	LOG_LINES = 20,			/* a second: the rest are only counted */
	SHORTAGE_SECONDS = 60,		/* between two lines about a lack of descriptors or the like */
	OWN_FDS = 16			/* what the loop, its pipes, signals and the three standard ones take */
};
#define TICK_SECONDS 0.25		/* how often what waits is looked at */

struct service;

struct proxy {
	struct sconce_process *process;	/* never NULL; the caller's */
	struct sconce_log *log;		/* its log; NULL when nothing is to be logged */
	struct sconce_loop *loop;
	struct link	services;	/* struct service, in the order created */
	struct link	pools;		/* struct pool */
	struct link	busy;		/* struct client with a request under way */
	struct sconce_timer tick;	/* runs while one is busy */
	struct sconce_timer grace;	/* runs while we stop, unless the process has a deadline for that */
	size_t		client_count;
	size_t		listener_count;
	bool		stopping;	/* nobody is served but those who are there */
	bool		draining;	/* that is for a restart, and they may still be idle */
	time_t		date_time;	/* what `date` says */
	char		date[SCONCE_HTTP_DATE_BYTES];
	double		shortage_quiet;	/* nothing more is said about a lack of descriptors until then */
	/* Scratch, valid until the hook in progress returns. */
	char		*io;		/* IO_BYTES */
	char		*out;		/* OUT_BYTES */
	struct sconce_http_field fields[SCONCE_HTTP_FIELDS];
};

/* Makes an empty daemon on a loop of its own; its log is the one that the process has by now.  Returns 0 or -errno. */
int proxy_init(struct proxy *p, struct sconce_process *process);
/* Frees it, with all services and pools. */
void proxy_fini(struct proxy *p);
/* Stops accepting, closes what is idle, lets what is busy end, and ends the process.  `timed`: those who are busy have
 * as long as the process's option `drain` says; else proxy_leave() is called some time. */
void proxy_stop(struct proxy *p, bool timed);
/* The same in a process that only keeps its clients, for a restart: idle ones may have sent a request that is on its
 * way, and are closed somewhat later. */
void proxy_drain(struct proxy *p);
/* Ends the process at once, whoever is busy. */
void proxy_leave(struct proxy *p);
/* A client has come to be busy: the tick runs. */
void proxy_tick(struct proxy *p);
/* The last of what proxy_stop() waits for may have gone. */
void proxy_check_stopped(struct proxy *p);
/* Whether an error (an errno) means that descriptors, local ports or memory have run out; if so says it, once a
 * minute. */
bool proxy_shortage(struct proxy *p, int errnum);
/* Shares the descriptors that RLIMIT_NOFILE allows: half of those that we do not need ourselves are for backends, and
 * the listeners get equal parts of the other half as the limit of their connections. */
void proxy_share_fds(struct proxy *p);
/* A listener has as many connections as it may: said once a minute. */
void proxy_full(struct service *sv);
/* The date, for header fields. */
const char *proxy_date(struct proxy *p);

#endif

/* What the files of the server share.
 *
 *	server.c		its life: the steps of a process in their order, and its end
 *	server_options.c	options, where to listen, rules of access
 *	server_listen.c		listeners and datagram sockets, their inheritance, and whose they are among workers
 *	server_client.c		clients
 *
 * It uses nothing but the public headers. */
#ifndef SERVER_PRIVATE_H
#define SERVER_PRIVATE_H

#include <sconce/restart.h>
#include <sconce/server.h>
#include <sconce/timer.h>

enum { SERVER_STEPS = 16 };

/* A socket that the server is reached by. */
struct server_port {
	struct server_port	*next;
	struct sconce_server	*server;
	const struct sconce_endpoint *ep;	/* as configured, of s->eps: the key of a restart */
	unsigned		worker;		/* which of them uses it */
	bool			datagrams;
	bool			inherited;	/* from before a restart, or a service manager's */
	union {
		struct sconce_listener	listener;
		struct sconce_dgram	dgram;
	};
};

enum server_phase {
	SERVER_STARTING,
	SERVER_SERVING,
	SERVER_ENDING		/* server_close has begun */
};

/* What the end is for. */
enum server_end {
	SERVER_STOP,
	SERVER_RESTART,		/* clients are closed, then the program is executed */
	SERVER_DRAIN		/* a restart's child, which keeps its clients */
};

struct sconce__server {
	struct sconce_filter	*filter;	/* NULL: bytes, or lines */
	struct sconce_acl	*acl;
	struct sconce_process_ops process_ops;
	struct sconce_stream_ops stream_ops;	/* which of them are there depends on the program's */
	struct sconce_endpoint	*eps;		/* where to listen */
	size_t			ep_count;
	struct server_port	*ports;
	struct sconce_client	*clients;	/* all there are, in no order */
	struct sconce_timer	dequeue;
	const char		*early[SERVER_STEPS];	/* steps taken before there was a log */
	unsigned		early_count;
	enum server_phase	phase;
	enum server_end		end;
	bool			full;		/* max_clients: nothing is accepted */
	size_t			counted;	/* clients that count for that: those who were not turned away */
	bool			ended;		/* all that the end asks for is done */
	enum server_end		ended_for;	/* which end that was: a restart may become a stop */
	bool			others;		/* the clients are a child's by now, see SERVER_RESTART */
	bool			wants_stdout;
	bool			fatal;
	int			status;
	double			began;		/* sconce_now() */
	uint64_t		cut;		/* clients that the end has cut off */
	char			**argv;		/* ours, as sconce_conf_argv() leaves it */
};

/* Logs that a step is taken, at level 4. */
void sconce__server_step(struct sconce_server *sv, const char *name);

/* server_options.c */
int sconce__server_conf(struct sconce_server *sv);
int sconce__server_eps(struct sconce_server *sv);
int sconce__server_acl(struct sconce_server *sv, struct sconce_acl **acl_out);

/* server_listen.c */
int sconce__server_bind(struct sconce_server *sv, struct sconce_fail *fail);
void sconce__server_pause(struct sconce_server *sv, bool on);
void sconce__server_pause_accept(struct sconce_server *sv, bool on);
int sconce__server_own_paths(struct sconce_server *sv, struct sconce_fail *fail);
/* Says in the log where it listens. */
void sconce__server_announce(struct sconce_server *sv);
/* Closes the ports of others than this worker (-1: all). */
void sconce__server_close_ports(struct sconce_server *sv, int but_worker);

/* server_client.c */
void sconce__server_client_ops(struct sconce_server *sv);
int sconce__server_accept(struct sconce_server *sv, int fd, const struct sconce_addr *peer);
bool sconce__server_allows(struct sconce_server *sv, const struct sconce_addr *peer);
/* Whether max_clients is reached, after it or the clients have changed. */
void sconce__server_judge_full(struct sconce_server *sv);
/* Sends what is queued, and closes all. */
void sconce__server_cut(struct sconce_server *sv);
/* The last client has gone. */
void sconce__server_empty(struct sconce_server *sv);

#endif

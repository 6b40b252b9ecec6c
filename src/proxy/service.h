/* Services: an address to listen on, and what is done for those who come. */
#ifndef PROXY_SERVICE_H
#define PROXY_SERVICE_H

#include "pool.h"

struct client;
struct backend;

enum role { ROLE_NONE, ROLE_REVERSE_PROXY };

/* What SET changes of a service (param.c has the names and defaults; seconds and bytes). */
struct service_conf {
	enum role	role;
	char		*listen;	/* as written; NULL: none */
	struct pool	*pool;
	bool		persist_client;
	bool		persist_backend;
	bool		server_tokens;
	int64_t		persist_client_idle_timeout;
	int64_t		idle_timeout;
	int64_t		connect_timeout;
	int64_t		queue_timeout;
	int64_t		backend_persist_cache;
	int64_t		connect_ahead;
	int64_t		max_backend_uses;
	int64_t		buffer_size;
	int64_t		buffer_backend_connect;
};

struct service {
	struct link	link;		/* of proxy->services */
	struct proxy	*proxy;
	char		*name;
	struct service_conf conf;
	uint64_t	set, failed;	/* param.c's: which parameters SET has given a value, or a wrong one */
	bool		enabled;	/* ENABLE was said */
	bool		listening;	/* and done */
	struct sconce_listener listener;
	/* Head lines that are always the same. */
	char		persist_lines[64]; /* to clients that are kept */
	char		request_lines[2][64]; /* to backends, for requests of HTTP/1.0 and 1.1 */

	struct link	waiting;	/* clients that want a backend, first come first */
	unsigned	waiting_count;
	unsigned	fresh_count;	/* of these: will only have a new connection */
	struct link	idle;		/* backends that want a client; the longest idle first */
	unsigned	idle_count;
	unsigned	idle_low;	/* the fewest since the last trim: more than nobody needed */
	unsigned	connecting;	/* backends that are being connected */
	unsigned	open;		/* backends in all */
	struct sconce_timer trim;	/* runs while more are idle than backend_persist_cache */
};

/* Makes a service without a role; NULL without memory.  `name` is copied. */
struct service *service_new(struct proxy *p, const char *name);
/* Frees it; its listener, clients and backends are gone. */
void service_free(struct service *sv);
struct service *service_find(const struct proxy *p, const char *name);

/* Opens the listener, or takes over the one that there was before a restart, or that a service manager has opened.
 * Returns 0 or -errno. */
int service_open(struct service *sv);
/* The same, but does not open a new one: then it is 0, too. */
int service_take_over(struct service *sv);
/* In a trial of a restart: whether it could listen.  Returns 0 or -errno. */
int service_try(struct service *sv);
/* Closes it; what is connected stays. */
void service_close(struct service *sv);

/* Gives the client a backend now, or when one is free, or answers it with 503. */
void service_want(struct service *sv, struct client *c);
/* The client no longer wants one. */
void service_unwant(struct service *sv, struct client *c);
/* A backend is free: it gets the next client, or becomes idle. */
void service_offer(struct service *sv, struct backend *b);
/* A backend is idle no more. */
void service_unidle(struct service *sv, struct backend *b);
/* Connects as many backends as are wanted and allowed; answers all with 503 if the pool is dead. */
void service_spawn(struct service *sv);

#endif

/* Pools: named sets of nodes, used by services. */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "proxy.h"

/* One server that backends connect to. */
struct node {
	struct pool	*pool;
	char		*text;		/* ip:port, as listed */
	struct sconce_addr addr;
	unsigned	open;		/* connections, those being made included */
	unsigned	connecting;	/* those being made */
	bool		down;		/* the last connect failed: tried with one at a time */
	bool		starved;	/* and the last one for want of something here: nothing is known of the node */
	bool		removed;	/* takes no new connections; freed with the last old one */
	double		rest_until;	/* left alone until then, in the loop's time */
	double		distrust_until;	/* its connections are used once until then */
};

/* What SET changes of a pool. */
struct pool_conf {
	int64_t		node_max_connections;
	int64_t		balance_method;	/* "random" is all there is to say */
};

struct pool {
	struct link	link;		/* of proxy->pools */
	struct proxy	*proxy;
	char		*name;
	struct pool_conf conf;
	struct node	**nodes;	/* in the order added */
	unsigned	node_count;
	unsigned	turn;		/* where the next search begins: equals take turns */
};

/* Makes a pool without nodes; NULL without memory.  `name` is copied. */
struct pool *pool_new(struct proxy *p, const char *name);
/* Frees it with its nodes; nothing of theirs may be connected. */
void pool_free(struct pool *pool);
/* The pool of that name, or NULL. */
struct pool *pool_find(const struct proxy *p, const char *name);

/* Adds a node, ip[:port] or [ip6][:port] (port 80 if left out) or a unix path; one that is there already is replaced.
 * Returns 0, -EINVAL with *fail_out set, or -ENOMEM. */
int pool_add(struct pool *pool, const char *text, struct sconce_fail *fail_out);
/* Removes a node; one that is not there is fine.  Its connections are not reused.  Returns as pool_add(). */
int pool_remove(struct pool *pool, const char *text, struct sconce_fail *fail_out);

/* Of the record of an endpoint that is wrong, what is wrong with it. */
const char *endpoint_reason(const struct sconce_fail *fail);

/* The node that should get the next connection: of those that may have one, the one with the fewest.  NULL: none may. */
struct node *pool_pick(struct pool *pool);
/* Whether nothing can be expected of any node for now: all refused lately, and none has a connection. */
bool pool_dead(const struct pool *pool);

/* A connect to the node could not be made for want of something here (proxy_shortage()): it rests for a moment. */
void node_starved(struct node *node);
/* A connect to the node failed, or succeeded. */
void node_failed(struct node *node, const char *why);
void node_answers(struct node *node);
/* Bytes came behind a response of the node: the next answer may be as wrong, and look like another's (HZ-5). */
void node_distrust(struct node *node);
bool node_distrusted(const struct node *node);
/* A connection to the node is begun, or gone. */
void node_open(struct node *node);
void node_close(struct node *node);

#endif

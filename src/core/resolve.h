/* What the three files of look-ups share: resolve.c has the functions, those who ask and the threads; resolve_addr.c finds
 * the names of addresses; resolve_cares.c asks nameservers by c-ares. */
#ifndef SCONCE_RESOLVE_H
#define SCONCE_RESOLVE_H

#include "core.h"

enum { ADDRS_MAX = 32, NAME_SIZE = 256 };

/* A question. */
struct question {
	char host[256], service[64];		/* of an address: its text, and "" */
	int family, type;
	unsigned flags;
	bool name;				/* the name of `addr` is asked for */
	struct sconce_addr addr;
};

/* What is being done about it. */
enum lookup_way {
	WAY_THREAD,			/* a thread runs the resolver */
	WAY_PORT,			/* a thread looks for the service's number; WAY_QUERY comes next */
	WAY_QUERY			/* the nameservers are asked */
};

struct sconce__lookup {
	struct sconce__lookup *next, **prevp;	/* the loop's */
	struct sconce_loop *loop;
	struct sconce_resolve *askers, **tail;
	struct question q;
	sconce_resolver_fn *fn;			/* NULL: the default, or c-ares */
	sconce_addr_resolver_fn *addr_fn;	/* the same for a name */
	void *arg;				/* of the one or the other */
	enum lookup_way way;
	int port;				/* WAY_QUERY: of the addresses */
	atomic_bool unwanted;			/* nobody asks any more: a thread need not begin */
	bool skipped;				/* none has */
	struct sconce__call *end;		/* WAY_QUERY: tells of the answer, when there is one */
	/* the answer */
	int count;				/* or EAI_... */
	int errnum;				/* with EAI_SYSTEM */
	union {
		struct sconce_addr addrs[ADDRS_MAX];
		char name[NAME_SIZE];		/* `count` is 1 */
	};
};

/* resolve.c */
/* "localhost", and all below it. */
bool sconce__is_localhost(const char *host);
/* These, and the other names of this host itself. */
bool sconce__is_loopback_name(const char *host);
/* The query has come to its end: its answer is in `u`; or `status` is -ECANCELED, and it may be begun again.  Only notes
 * it: no hook runs, and `u` stays. */
void sconce__query_ended(struct sconce__lookup *u, int status);

/* resolve_addr.c */
/* In a thread: asks for u->name. */
void sconce__name_work(struct sconce__lookup *u);
/* Takes a name that was found, with its final dot or without.  1, or EAI_NONAME: it cannot be the name of a host. */
int sconce__name_take(struct sconce__lookup *u, const char *name);

/* resolve_cares.c */
/* Whether the nameservers can be asked this, and the loop is ready to. */
bool sconce__cares_takes(struct sconce_loop *l, const struct question *q);
/* Asks them for the addresses of u->q.host, or the name of u->q.addr.  sconce__query_ended() comes once, perhaps before this returns. */
void sconce__cares_query(struct sconce__lookup *u);

#endif

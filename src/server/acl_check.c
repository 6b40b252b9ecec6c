/* Access rules that see names: the look-ups of one peer.  Called by servers.
 *
 *	the name of the address -> (double) the addresses of the name -> acl.c decides
 *
 * What the set says about look-ups is read at each step: it may change meanwhile. */
#include "acl_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT = 5 };			/* seconds, where none is said */

struct sconce_acl_check {
	struct sconce_acl *acl;		/* a reference */
	struct sconce_loop *loop;
	struct sconce_addr peer;	/* unmapped */
	struct sconce_resolve *resolve;	/* the look-up under way */
	double deadline;		/* sconce_now() */
	sconce_acl_fn *done;
	void *arg;
	char host[256];			/* its name, not yet proved */
};

static void
finish(struct sconce_acl_check *c, const struct sconce_acl_verdict *v)
{
	struct sconce_acl *acl = c->acl;	/* until `done` has returned: it has the rule */
	struct sconce_loop *loop = c->loop;
	sconce_acl_fn *done = c->done;
	void *arg = c->arg;

	free(c);
	done(loop, arg, v);
	sconce_acl_unref(acl);
}

static void
decide(struct sconce_acl_check *c, const char *host)
{
	struct sconce_acl_verdict v;

	sconce_acl_check(c->acl, &c->peer, host, &v);
	finish(c, &v);
}

static bool
same_host(const struct sconce_addr *a, const struct sconce_addr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
}

/* The name's addresses, or none. */
static void
led_back(struct sconce_loop *loop, void *arg, const struct sconce_addr *addrs, size_t count, const struct sconce_fail *fail)
{
	struct sconce_acl_check *c = arg;
	struct sconce_acl_verdict v;

	(void)loop;
	for (size_t i = 0; i < count; i++) {
		struct sconce_addr a = addrs[i];

		sconce_addr_unmap(&a);
		if (same_host(&a, &c->peer)) {
			decide(c, c->host);
			return;
		}
	}
	sconce__acl_deny(&v, "its name %.80s does not lead back to it%s%s", c->host, fail != NULL ? ": " : "",
	    fail != NULL ? fail->text : "");
	finish(c, &v);
}

/* Asks whether the name leads back. */
static void
prove(struct sconce_acl_check *c, const char *name)
{
	double left = c->deadline - sconce_now(c->loop);
	struct sconce_acl_verdict v;
	int r;

	strcpy(c->host, name);			/* which is no longer than a name may be */
	r = sconce_resolve(c->loop, name, "0", c->peer.any.sa_family, SOCK_STREAM, 0, left > 0.001 ? left : 0.001, led_back, c,
	    &c->resolve);
	if (r == 0)
		return;
	sconce__acl_deny(&v, "its name %.80s cannot be looked up: %s", name, sconce_strerror(r));
	finish(c, &v);
}

/* The address's name, or none. */
static void
named(struct sconce_loop *loop, void *arg, const char *name, const struct sconce_fail *fail)
{
	struct sconce_acl_check *c = arg;
	enum sconce_acl_lookup lookup = sconce_acl_lookup(c->acl);
	struct sconce_acl_verdict v;

	(void)loop;
	if (name != NULL && lookup == SCONCE_ACL_DOUBLE) {
		prove(c, name);
	} else if (name == NULL && (lookup == SCONCE_ACL_DOUBLE || fail->errnum == ECANCELED)) {
		sconce__acl_deny(&v, "it has no name: %s", fail->text);	/* ECANCELED: nobody is let into a loop that ends */
		finish(c, &v);
	} else {
		decide(c, name);
	}
}

/* Whether the verdict may depend on the peer's name. */
static bool
wants_name(const struct sconce_acl *acl, const struct sconce_addr *peer)
{
	enum sconce_acl_lookup lookup = sconce_acl_lookup(acl);

	if ((lookup != SCONCE_ACL_REVERSE && lookup != SCONCE_ACL_DOUBLE) || peer->len < sizeof(peer->in))
		return false;
	return peer->any.sa_family == AF_INET || (peer->any.sa_family == AF_INET6 && peer->len >= sizeof(peer->in6));
}

static int
begin(struct sconce_acl_check *c, double timeout)
{
	sconce_addr_unmap(&c->peer);
	c->deadline = sconce_now(c->loop) + timeout;
	return sconce_resolve_addr(c->loop, &c->peer, timeout, named, c, &c->resolve);
}

int
sconce_acl_start(struct sconce_acl *acl, struct sconce_loop *loop, const struct sconce_addr *peer, double timeout,
	sconce_acl_fn *done, void *arg, struct sconce_acl_check **check_out, struct sconce_acl_verdict *verdict_out)
{
	struct sconce_acl_check *c;
	int r;

	if (!wants_name(acl, peer)) {
		sconce_acl_check(acl, peer, NULL, verdict_out);
		return 1;
	}
	if (sconce__acl_denies(acl, peer, verdict_out))
		return 1;
	c = malloc(sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	*c = (struct sconce_acl_check){ .acl = acl, .loop = loop, .peer = *peer, .done = done, .arg = arg };
	r = begin(c, timeout > 0 ? timeout : TIMEOUT);
	if (r < 0) {
		free(c);
		return r;
	}
	sconce_acl_ref(acl);
	if (check_out != NULL)
		*check_out = c;
	return 0;
}

void
sconce_acl_cancel(struct sconce_acl_check *c)
{
	if (c == NULL)
		return;
	sconce_resolve_cancel(c->resolve);
	sconce_acl_unref(c->acl);
	free(c);
}

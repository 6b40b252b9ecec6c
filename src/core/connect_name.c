/* The look-ups before a connect: of the local address, if it is a name, then of the remote one.  Called by connect.c. */
#include "connect.h"

#include <stdio.h>

/* The local address in the place of its family. */
static void
set_bind(struct sconce__connect *c, const struct sconce_addr *a)
{
	struct sconce_addr *to = &c->bind[a->any.sa_family == AF_INET6];

	if (to->len == 0)
		*to = *a;
}

/* The path of a unix datagram socket; "@": the kernel finds a name. */
static int
bind_unix(struct sconce__connect *c, const char *path)
{
	int r = sconce__addr_unix(path, &c->bind[0]);

	if (r == 0 && strcmp(path, "@") == 0)
		c->bind[0].len = sizeof(sa_family_t);
	return r;
}

/* Every address of a family, and the port. */
static int
bind_any(struct sconce__connect *c, struct sconce_endpoint *local)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct sconce_addr a;
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		local->family = families[i];
		r = sconce__endpoint_addr(local, &a);
		if (r == 0)
			set_bind(c, &a);
	}
	return r;
}

/* The local end as an endpoint of its own.  False: there is none. */
static bool
local_of(const struct sconce_endpoint *ep, struct sconce_endpoint *local)
{
	if (ep->bind_host[0] == '\0' && ep->bind_service[0] == '\0')
		return false;
	sconce_endpoint_init(local);
	local->family = ep->family;
	local->type = ep->type;
	strcpy(local->host, ep->bind_host[0] != '\0' ? ep->bind_host : "*");
	strcpy(local->service, ep->bind_service[0] != '\0' ? ep->bind_service : "0");
	return true;
}

int
sconce__connect_bind_literal(struct sconce__connect *c, const struct sconce_endpoint *ep)
{
	struct sconce_endpoint local;
	struct sconce_addr a;
	int r;

	if (ep->family == AF_UNIX && ep->type == SOCK_DGRAM && ep->bind_host[0] == '\0') {
		c->bound = true;
		return bind_unix(c, "@");	/* without a name it could not be answered */
	}
	if (!local_of(ep, &local))
		return 0;
	c->bound = true;
	if (ep->family == AF_UNIX)
		return bind_unix(c, ep->bind_host);
	if (strcmp(local.host, "*") == 0)
		return bind_any(c, &local);
	r = sconce__endpoint_addr(&local, &a);
	if (r == 0)
		set_bind(c, &a);
	return r;
}

/* ---- look-ups ---- */

/* It has failed: `fail` is the record. */
static void
give_up(struct sconce_sock *s, const struct sconce_fail *fail)
{
	sconce__fail_copy(s, fail);
	sconce__connect_decide(s, fail->errnum);
}

/* The families take turns, the first one's first (RFC 8305, 4). */
static void
interleave(const struct sconce_addr *from, size_t count, struct sconce_addr *to)
{
	size_t at[2] = { 0, 0 };
	int family = from[0].any.sa_family;

	for (size_t n = 0; n < count; n++) {
		for (int tries = 0; tries < 2; tries++) {
			size_t *i = &at[(n + (size_t)tries) & 1];
			bool first = ((n + (size_t)tries) & 1) == 0;

			while (*i < count && (from[*i].any.sa_family == family) != first)
				++*i;
			if (*i < count) {
				to[n] = from[(*i)++];
				break;
			}
		}
	}
}

static void
host_found(struct sconce_loop *l, void *arg, const struct sconce_addr *addrs, size_t count, const struct sconce_fail *fail)
{
	struct sconce_sock *s = arg;
	struct sconce__connect *c = s->_side->connect;

	c->lookup = NULL;
	if (fail != NULL) {
		give_up(s, fail);
		return;
	}
	c->count = count;
	if (count > 1)
		c->addrs = l_alloc(l, count * sizeof(*addrs));
	if (c->addrs == NULL) {			/* the first must do */
		c->addrs = c->one;
		c->count = 1;
	}
	if (c->options.happy_ms > 0)
		interleave(addrs, c->count, c->addrs);
	else
		memcpy(c->addrs, addrs, c->count * sizeof(*addrs));
	l_free(l, c->names);
	c->names = NULL;
	sconce__connect_try(s);
}

static int
lookup_host(struct sconce_sock *s)
{
	struct sconce__connect *c = s->_side->connect;
	const struct sconce_endpoint *ep = c->names;

	return sconce_resolve(s->loop, ep->host, ep->service, ep->family, ep->type, SCONCE_RESOLVE_CONFIGURED, 0, host_found, s,
		&c->lookup);
}

static void
bind_found(struct sconce_loop *l, void *arg, const struct sconce_addr *addrs, size_t count, const struct sconce_fail *fail)
{
	struct sconce_sock *s = arg;
	struct sconce__connect *c = s->_side->connect;
	struct sconce_endpoint local;
	int r;

	(void)l;
	c->lookup = NULL;
	if (fail != NULL) {
		give_up(s, fail);
		return;
	}
	local_of(c->names, &local);
	if (strcmp(local.host, "*") == 0) {	/* only the port was asked for; it is that of either family */
		snprintf(local.service, sizeof(local.service), "%d", sconce_addr_port(&addrs[0]));
		bind_any(c, &local);
	}
	for (size_t i = 0; i < count; i++)
		set_bind(c, &addrs[i]);
	r = lookup_host(s);
	if (r < 0) {
		sconce__connect_failed(s, "getaddrinfo", -r);
		sconce__connect_decide(s, -r);
	}
}

int
sconce__connect_lookup(struct sconce_sock *s, const struct sconce_endpoint *ep)
{
	struct sconce__connect *c = s->_side->connect;
	struct sconce_endpoint local;
	int r;

	c->names = l_alloc(s->loop, sizeof(*c->names));
	if (c->names == NULL)
		return -ENOMEM;
	*c->names = *ep;
	if (!c->bound || c->bind[0].len > 0 || c->bind[1].len > 0) {
		r = lookup_host(s);
	} else {
		local_of(ep, &local);
		r = sconce_resolve(s->loop, local.host, local.service, local.family, local.type, SCONCE_RESOLVE_PASSIVE, 0,
			bind_found, s, &c->lookup);
	}
	if (r < 0)
		sconce__connect_failed(s, "getaddrinfo", -r);
	return r;
}

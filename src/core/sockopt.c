/* Socket options of endpoints: from struct sconce_socket_options to the kernel, before bind or connect.  Called by bind.c
 * and connect.c. */
#include "core.h"

#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>

struct setting {
	int level, name, value;		/* value -1: leave it */
	const char *label;
};

static int
failed(struct sconce_fail *fail, const struct sconce_addr *a, const char *label, int errnum)
{
	char addr[SCONCE_ADDR_TEXT], what[SCONCE_ADDR_TEXT + 32];

	snprintf(what, sizeof(what), "%s for %s", label, sconce_addr_text(a, addr, sizeof(addr)));
	sconce__fail_fill(fail, "setsockopt", errnum, what);
	return -errnum;
}

static int
apply(struct sconce_loop *l, int fd, const struct sconce_addr *a, const struct setting *set, size_t count,
	struct sconce_fail *fail)
{
	for (size_t i = 0; i < count; i++) {
		if (set[i].value < 0)
			continue;
		if (l->be->setsockopt(fd, set[i].level, set[i].name, &set[i].value, sizeof(int), l->ctx) < 0)
			return failed(fail, a, set[i].label, errno);
	}
	return 0;
}

/* Those that few ask for. */
static int
apply_rare(struct sconce_loop *l, int fd, const struct sconce_addr *a, const struct sconce_socket_options *o, bool any,
	struct sconce_fail *fail)
{
	bool v6 = a->any.sa_family == AF_INET6;
	const struct setting set[] = {
		{ SOL_SOCKET, SO_REUSEPORT, o->reuseport == 1 ? 1 : -1, "SO_REUSEPORT" },
		{ IPPROTO_TCP, TCP_DEFER_ACCEPT, o->deferaccept > 0 ? o->deferaccept : -1, "TCP_DEFER_ACCEPT" },
		{ IPPROTO_TCP, TCP_FASTOPEN, o->fastopen > 0 ? o->fastopen : -1, "TCP_FASTOPEN" },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, o->user_timeout, "TCP_USER_TIMEOUT" },
		{ IPPROTO_TCP, TCP_KEEPIDLE, o->keepidle, "TCP_KEEPIDLE" },
		{ IPPROTO_TCP, TCP_KEEPINTVL, o->keepinterval, "TCP_KEEPINTVL" },
		{ IPPROTO_TCP, TCP_KEEPCNT, o->keepcount, "TCP_KEEPCNT" },
		{ IPPROTO_IP, IP_TOS, !v6 || any ? o->tos : -1, "IP_TOS" },
		{ IPPROTO_IPV6, IPV6_TCLASS, v6 ? o->tos : -1, "IPV6_TCLASS" },
		{ SOL_SOCKET, SO_RCVBUF, o->rcvbuf, "SO_RCVBUF" },
		{ SOL_SOCKET, SO_SNDBUF, o->sndbuf, "SO_SNDBUF" },
	};
	int r = apply(l, fd, a, set, sizeof(set) / sizeof(set[0]), fail);

	if (r == 0 && o->dev[0] != '\0' &&
	    l->be->setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->dev, (socklen_t)strlen(o->dev), l->ctx) < 0)
		r = failed(fail, a, "SO_BINDTODEVICE", errno);
	return r;
}

static int
keepalive_of(const struct sconce_socket_options *o)
{
	if (o->keepalive >= 0)
		return o->keepalive == 1 ? 1 : -1;
	return o->keepidle >= 0 || o->keepinterval >= 0 || o->keepcount >= 0 ? 1 : -1;
}

int
sconce__socket_options(struct sconce_loop *l, int fd, const struct sconce_addr *a, const struct sconce_socket_options *o,
	unsigned how, struct sconce_fail *fail)
{
	int family = a->any.sa_family;
	bool inet46 = family == AF_INET || family == AF_INET6, tcp = inet46 && !(how & HOW_DGRAM);
	bool in = inet46 && (how & HOW_PASSIVE), any = how & HOW_ANY;
	const struct setting set[] = {
		{ SOL_SOCKET, SO_REUSEADDR, in && (tcp ? o->reuse != 0 : o->reuse == 1) ? 1 : -1, "SO_REUSEADDR" },
		/* always said, whatever the system's default: a port alone is both families, [::] is v6 (NS-61) */
		{ IPPROTO_IPV6, IPV6_V6ONLY, family != AF_INET6 ? -1 : o->v6only >= 0 ? o->v6only : in ? !any : -1,
		    "IPV6_V6ONLY" },
		/* set once here: what is accepted inherits it */
		{ IPPROTO_TCP, TCP_NODELAY, tcp && o->nodelay != 0 ? 1 : -1, "TCP_NODELAY" },
		{ SOL_SOCKET, SO_KEEPALIVE, keepalive_of(o), "SO_KEEPALIVE" },
	};
	int r = apply(l, fd, a, set, sizeof(set) / sizeof(set[0]), fail);

	return r < 0 ? r : apply_rare(l, fd, a, o, any, fail);
}

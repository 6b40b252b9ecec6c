/* The error queue of an inet socket: what the network has sent back (IP_RECVERR, ip(7)).  Called when receiving or
 * sending met an error, when the fd was readable for nothing, and when the core was told of an error. */
#include "dgram_private.h"

#include <time.h>

#include <linux/errqueue.h>
#include <netinet/in.h>

enum {
	PAYLOAD = 2048,			/* bytes of a returned datagram that are told */
	AT_ONCE = 64			/* entries of one call; the fd stays readable while there are more */
};

/* The record, and behind it the address of who reports it, as far as the message has one. */
struct entry {
	struct sock_extended_err ee;
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} offender;
};

/* Finds it.  False: the message has none. */
static bool
find(struct msghdr *msg, struct entry *out)
{
	memset(out, 0, sizeof(*out));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t len = c->cmsg_len > CMSG_LEN(0) ? c->cmsg_len - CMSG_LEN(0) : 0;

		if ((c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR) &&
		    (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_RECVERR))
			continue;
		memcpy(out, CMSG_DATA(c), len < sizeof(*out) ? len : sizeof(*out));
		return len >= sizeof(out->ee);
	}
	return false;
}

static void
put_offender(const struct entry *entry, struct sconce_addr *out)
{
	sa_family_t family = entry->offender.any.sa_family;

	out->len = 0;
	if (family == AF_INET) {
		out->in = entry->offender.in;
		out->in.sin_port = 0;
		out->len = sizeof(out->in);
	} else if (family == AF_INET6) {
		out->in6 = entry->offender.in6;
		out->in6.sin6_port = 0;
		out->len = sizeof(out->in6);
		sconce_addr_unmap(out);
	}
}

/* Tells one entry.  False: it is not the network's.  (What this host itself finds wrong the send has said too.) */
static bool
tell(struct sconce_dgram *d, struct sconce_dgram_error *e, const struct entry *entry)
{
	const struct sock_extended_err *ee = &entry->ee;

	if (ee->ee_errno == EMSGSIZE)
		d->_d->mtu = ee->ee_info;
	if (ee->ee_origin != SO_EE_ORIGIN_ICMP && ee->ee_origin != SO_EE_ORIGIN_ICMP6)
		return false;
	e->operation = "icmp";
	e->errnum = (int)ee->ee_errno;
	e->icmp_type = ee->ee_type;
	e->icmp_code = ee->ee_code;
	e->mtu = ee->ee_errno == EMSGSIZE ? ee->ee_info : 0;
	put_offender(entry, &e->from);
	sconce_addr_unmap(&e->to);
	if (d->ops->event_error != NULL)
		d->ops->event_error(d, e);
	return true;
}

unsigned
sconce__dgram_errors(struct sconce_dgram *d)
{
	char payload[PAYLOAD];
	union {
		struct cmsghdr align;
		char room[256];
	} control;
	unsigned told = 0;

	if (!dgram_is_inet(d->_d))
		return 0;
	for (int i = 0; i < AT_ONCE && !d->sock.closed; i++) {
		struct sconce_dgram_error e = { .data = payload };
		struct iovec iov = { .iov_base = payload, .iov_len = sizeof(payload) };
		struct msghdr msg = {
			.msg_name = &e.to.any, .msg_namelen = sizeof(e.to.un), .msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};
		ssize_t n = sconce_raw_recvmsg(&d->sock, &msg, MSG_ERRQUEUE);
		struct entry entry;

		if (n < 0)
			break;
		e.len = (size_t)n;
		e.to.len = msg.msg_namelen;
		told += find(&msg, &entry) && tell(d, &e, &entry);
	}
	return told;
}

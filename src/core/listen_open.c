/* Opening listeners: one, or several of which all must succeed.  listen.c is what they do then.
 * Every address is bound first, then all listen, and only then they become listeners: until the last step whatever fails
 * leaves nothing behind, and nobody has been answered. */
#include "core.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

enum { PORT_TRIES = 16, NAME_ADDRS = 32 };

/* A socket on its way to become a listener. */
struct opening {
	const struct sconce_endpoint *ep;
	struct sconce_addr addr;
	struct sconce__path path;
	int fd;				/* -1: not bound */
	bool adopted;			/* the caller's, until all is well */
	bool chosen;			/* its port was 0 */
};

static int
failed_fd(struct sconce_fail *fail, int r, int fd)
{
	char what[32];

	snprintf(what, sizeof(what), "on fd %d", fd);
	sconce__fail_fill(fail, "listen", -r, what);
	return r;
}

/* ---- one ---- */

static void
undo(struct sconce_loop *l, struct opening *o)
{
	if (o->fd < 0)
		return;
	sconce__path_unlink(&o->path);
	if (!o->adopted)
		l->be->close(o->fd, l->ctx);
	o->fd = -1;
}

/* Binds, or finds the fd of fd://N to be one that listens. */
static int
open_one(struct sconce_loop *l, struct opening *o, struct sconce_fail *fail)
{
	int listening = 0, r;
	socklen_t len = sizeof(listening);

	o->adopted = o->ep->fd >= 0;
	if (!o->adopted) {
		r = sconce__open_bound(l, NULL, o->ep, &o->addr, &o->path, fail);
		o->fd = r < 0 ? -1 : r;
		return r < 0 ? r : 0;
	}
	if (l->be->getsockopt(o->ep->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len, l->ctx) < 0)
		return failed_fd(fail, -errno, o->ep->fd);
	if (!listening)
		return failed_fd(fail, -EINVAL, o->ep->fd);
	o->fd = o->ep->fd;
	return 0;
}

static int
listen_one(struct sconce_loop *l, const struct opening *o, struct sconce_fail *fail)
{
	int backlog = o->ep->options.backlog;

	if (o->adopted || l->be->listen(o->fd, backlog > 0 ? backlog : SOMAXCONN, l->ctx) == 0)
		return 0;
	return sconce__fail_addr(fail, "listen", -errno, &o->addr);
}

/* The listener itself.  0; or -errno, and the fd is still the opening's. */
static int
begin_one(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops, const struct opening *o,
	struct sconce_fail *fail)
{
	int one = 1, r;

	memset(l, 0, sizeof(*l));
	l->addr = o->addr;
	l->_defer = o->ep->options.deferaccept > 0;
	l->v4_only = sconce__endpoint_any(o->ep) && o->addr.any.sa_family == AF_INET;
	if (!o->adopted)
		loop->fresh_fd = o->fd;
	r = sconce__listener_begin(l, loop, ops, o->fd, &o->path);
	loop->fresh_fd = -1;
	if (r < 0)
		return o->adopted ? failed_fd(fail, r, o->fd) : sconce__fail_addr(fail, "listen", r, &o->addr);
	if (o->adopted && l->addr.any.sa_family != AF_UNIX)
		loop->be->setsockopt(o->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one), loop->ctx);
	return 0;
}

/* ---- several ---- */

struct batch {
	struct sconce_loop *loop;
	struct opening *all;
	size_t count, max;
	struct sconce_fail *fail;
	bool taken;			/* a number that was chosen for one address is not free for another */
};

static void
undo_all(struct batch *b)
{
	while (b->count > 0)
		undo(b->loop, &b->all[--b->count]);
}

static bool
same_host(const struct sconce_addr *a, const struct sconce_addr *b)
{
	struct sconce_addr x = *a, y = *b;

	if (x.any.sa_family == AF_UNIX || x.any.sa_family != y.any.sa_family)
		return false;
	sconce__addr_set_port(&x, 0);
	sconce__addr_set_port(&y, 0);
	return x.len == y.len && memcmp(&x.any, &y.any, x.len) == 0;
}

/* The number that the kernel chose for another address of the same text; 0: none yet. */
static int
chosen_port(const struct batch *b, const struct opening *o)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct opening *other = &b->all[i];

		if (other->chosen && o->ep->text[0] != '\0' && strcmp(other->ep->text, o->ep->text) == 0 &&
		    !same_host(&other->addr, &o->addr))
			return sconce_addr_port(&other->addr);
	}
	return 0;
}

/* The address with the port that the kernel chose. */
static void
ask_port(struct sconce_loop *l, struct opening *o)
{
	struct sconce_addr a;

	memset(&a, 0, sizeof(a));
	a.len = sizeof(a.un);
	if (l->be->getsockname(o->fd, &a.any, &a.len, l->ctx) == 0 && a.len <= sizeof(a.un))
		o->addr = a;
}

/* Binds one more. */
static int
add(struct batch *b, const struct sconce_endpoint *ep, const struct sconce_addr *a)
{
	struct opening *o;
	bool inet46 = ep->fd < 0 && a->any.sa_family != AF_UNIX;
	int port = 0, r;

	if (b->count == b->max) {
		sconce__fail_fill(b->fail, "listen", ENOBUFS, ep->text);
		return -ENOBUFS;
	}
	o = &b->all[b->count];
	memset(o, 0, sizeof(*o));
	o->ep = ep;
	o->addr = *a;
	o->chosen = inet46 && sconce_addr_port(a) == 0;
	if (o->chosen) {
		port = chosen_port(b, o);
		sconce__addr_set_port(&o->addr, port);
	}
	r = open_one(b->loop, o, b->fail);
	b->taken = r == -EADDRINUSE && port != 0;
	if (r < 0)
		return r;
	if (o->chosen)
		ask_port(b->loop, o);
	b->count++;
	return 0;
}

/* Whether this failure only tells that the host has no such family. */
static bool
no_family(const struct sconce_endpoint *ep, const struct sconce_addr *a, int r)
{
	return ep->family == AF_UNSPEC && a->any.sa_family == AF_INET6 && (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL);
}

/* Every address of an endpoint; `all` false: the first that can be bound. */
static int
add_endpoint(struct batch *b, const struct sconce_endpoint *ep, bool all)
{
	struct sconce_addr addrs[NAME_ADDRS];
	size_t before = b->count;
	int count = 1, r, why = -EADDRNOTAVAIL;

	r = sconce__endpoint_check(ep, SOCK_STREAM, b->fail);
	memset(&addrs[0], 0, sizeof(addrs[0]));
	if (r == 0 && ep->fd < 0)
		r = count = sconce__endpoint_addrs(b->loop, ep, addrs, NAME_ADDRS, b->fail);
	if (r < 0)
		return r;
	for (int i = 0; i < count; i++) {
		int j = 0;

		while (j < i && (addrs[j].len != addrs[i].len || memcmp(&addrs[j].any, &addrs[i].any, addrs[i].len) != 0))
			j++;
		if (j < i)
			continue;		/* a name may have an address twice */
		r = add(b, ep, &addrs[i]);
		if (r < 0)
			why = r;
		if (r == 0 && !all)
			return 0;
		if (r < 0 && all && !no_family(ep, &addrs[i], r))
			return r;
	}
	return b->count > before ? 0 : why;
}

static int
bind_all(struct batch *b, const struct sconce_endpoint *eps, size_t count, bool all)
{
	int r = 0;

	for (int tries = 0; tries < PORT_TRIES; tries++) {
		for (size_t i = 0; i < count && r == 0; i++)
			r = add_endpoint(b, &eps[i], all);
		if (r == 0)
			return 0;
		undo_all(b);
		if (!b->taken)
			return r;
		b->taken = false;
		if (tries < PORT_TRIES - 1)
			r = 0;			/* another number, please */
	}
	return r;
}

/* Makes listeners of what is bound.  0; or -errno, with nothing left behind. */
static int
begin_all(struct batch *b, struct sconce_listener *const *listeners, const struct sconce_listener_ops *ops)
{
	size_t begun = 0;
	int r = 0;

	for (size_t i = 0; i < b->count && r == 0; i++)
		r = listen_one(b->loop, &b->all[i], b->fail);
	while (r == 0 && begun < b->count) {
		r = begin_one(listeners[begun], b->loop, ops, &b->all[begun], b->fail);
		begun += r == 0;
	}
	if (r == 0)
		return 0;
	while (begun > 0)
		sconce__sock_remove_now(&listeners[--begun]->sock);
	undo_all(b);
	return r;
}

static int
open_all(struct sconce_listener *const *listeners, struct opening *room, size_t max, struct sconce_loop *loop,
	const struct sconce_listener_ops *ops, const struct sconce_endpoint *eps, size_t count, bool all,
	struct sconce_fail *fail_out)
{
	struct sconce_fail fail = { .operation = NULL };
	struct batch b = { .loop = loop, .all = room, .max = max, .fail = &fail };
	int r = bind_all(&b, eps, count, all);

	if (r == 0)
		r = begin_all(&b, listeners, ops);
	if (r < 0 && fail_out != NULL)
		*fail_out = fail;
	return r < 0 ? r : (int)b.count;
}

/* ---- the calls ---- */

static int
check_ops(struct sconce_loop *loop, const struct sconce_listener_ops *ops, struct sconce_fail *fail_out)
{
	if (loop->freeing) {
		sconce__fail_fill(fail_out, "listen", ESHUTDOWN, "");
		return -ESHUTDOWN;
	}
	if (sconce__listener_complete(ops))
		return 0;
	sconce__fail_fill(fail_out, "listen", EINVAL, "without accept or name");
	return -EINVAL;
}

int
sconce_listen_endpoint(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops,
	const struct sconce_endpoint *ep, struct sconce_fail *fail_out)
{
	struct opening room;
	int r = check_ops(loop, ops, fail_out);

	if (r == 0)
		r = open_all(&l, &room, 1, loop, ops, ep, 1, false, fail_out);
	return r < 0 ? r : 0;
}

int
sconce_listen(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops,
	const char *endpoint, struct sconce_fail *fail_out)
{
	struct sconce_endpoint ep;
	int r = check_ops(loop, ops, fail_out);

	if (r == 0)
		r = sconce_endpoint_parse(endpoint, SCONCE_ENDPOINT_LISTEN, NULL, &ep, fail_out);
	return r < 0 ? r : sconce_listen_endpoint(l, loop, ops, &ep, fail_out);
}

int
sconce_listen_fd(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops, int fd,
	struct sconce_fail *fail_out)
{
	struct sconce_endpoint ep;

	if (fd < 0 || !sconce__listener_complete(ops))
		return failed_fd(fail_out, fd < 0 ? -EBADF : -EINVAL, fd);
	sconce_endpoint_init(&ep);
	ep.type = 0;
	ep.fd = fd;
	return sconce_listen_endpoint(l, loop, ops, &ep, fail_out);
}

int
sconce_listen_all(struct sconce_listener *const *listeners, size_t max, struct sconce_loop *loop,
	const struct sconce_listener_ops *ops, const struct sconce_endpoint *eps, size_t count, struct sconce_fail *fail_out)
{
	struct opening *room;
	int r = check_ops(loop, ops, fail_out);

	if (r < 0)
		return r;
	room = l_alloc(loop, (max > 0 ? max : 1) * sizeof(*room));
	if (room == NULL) {
		sconce__fail_fill(fail_out, "listen", ENOMEM, "");
		return -ENOMEM;
	}
	r = open_all(listeners, room, max, loop, ops, eps, count, true, fail_out);
	l_free(loop, room);
	return r;
}

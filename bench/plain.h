/* What the servers without a queue of their own share (raw epoll, libev, libevent's events, uv_try_write): the
 * listening socket, and the bytes that the kernel has refused. */
#ifndef PLAIN_H
#define PLAIN_H

#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#include "net.h"
#include "server.h"

enum {
	PLAIN_BUFFER = 64 * 1024,	/* for one read: the customary size */
	PLAIN_FRAME = 64,		/* a message of the frames workloads */
	PLAIN_IDLE_SECONDS = 60,	/* a connection that says nothing for so long is closed */
	PLAIN_BACKLOG = 4096,
	PLAIN_ACCEPTS = 64		/* connections accepted in one event */
};

static inline bool
plain_deferred(const char *endpoint)
{
	return strstr(endpoint, "?deferaccept=") != NULL;
}

/* The options that connections inherit are set here, once, as sconce does. */
static inline int
plain_listen(const char *endpoint)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const char *defer = strstr(endpoint, "?deferaccept=");
	struct sockaddr_in addr;

	if (fd < 0)
		server_die("socket");
	if (!net_parse(endpoint, &addr)) {
		errno = EINVAL;
		server_die(endpoint);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (defer != NULL) {
		int seconds = atoi(defer + strlen("?deferaccept="));

		setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
	}
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, PLAIN_BACKLOG) < 0)
		server_die(endpoint);
	return fd;
}

/* To be called when connections can be answered. */
static inline void
plain_ready(int listener)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	char text[64];

	if (getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
		server_die("getsockname");
	snprintf(text, sizeof(text), "%s:%u", inet_ntoa(addr.sin_addr), ntohs(addr.sin_port));
	server_ready(text);
}

/* Bytes that wait until the kernel takes them; `data` is NULL while none do. */
struct plain_rest {
	char *data;
	size_t off, len;		/* the first that waits, and the end */
};

static inline void
plain_keep(struct plain_rest *r, const char *data, size_t len)
{
	char *grown;

	if (r->off > 0) {
		memmove(r->data, r->data + r->off, r->len - r->off);
		r->len -= r->off;
		r->off = 0;
	}
	grown = realloc(r->data, r->len + len);
	if (grown == NULL)
		server_die("realloc");
	memcpy(grown + r->len, data, len);
	r->data = grown;
	r->len += len;
}

static inline void
plain_drop(struct plain_rest *r)
{
	free(r->data);
	*r = (struct plain_rest){.data = NULL};
}

/* Sends, and keeps what is refused.  Returns false when the connection is broken. */
static inline bool
plain_send(int fd, struct plain_rest *r, const char *data, size_t len)
{
	ssize_t n = 0;

	if (r->data == NULL) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if ((size_t)n == len)
			return true;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n < 0)
			n = 0;
	}
	plain_keep(r, data + n, len - (size_t)n);
	return true;
}

/* Sends of what was kept; `data` is NULL when all has gone.  Returns false when the connection is broken. */
static inline bool
plain_resend(int fd, struct plain_rest *r)
{
	ssize_t n = send(fd, r->data + r->off, r->len - r->off, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	r->off += (size_t)n;
	if (r->off == r->len)
		plain_drop(r);
	return true;
}

/* The place of a connection among all that hear a broadcast. */
struct plain_seat {
	struct plain_seat *prev, *next;
};

static inline void
plain_join(struct plain_seat *all, struct plain_seat *seat)
{
	seat->next = all;
	seat->prev = all->prev;
	seat->prev->next = all->prev = seat;
}

static inline void
plain_leave(struct plain_seat *seat)
{
	seat->prev->next = seat->next;
	seat->next->prev = seat->prev;
}

#define PLAIN_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif

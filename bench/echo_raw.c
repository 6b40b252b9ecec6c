/* The same server written by hand on level-triggered epoll: what a careful programmer would do without a
 * library, and nothing more.  The reference of every ratio. */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "server.h"

enum { BUFFER = 64 * 1024, EVENTS = 256 };

struct conn {
	int fd;
	char *rest;		/* what the kernel has refused; NULL: nothing, and reads are watched */
	size_t off, len;
};

static int epoll;
static char buffer[BUFFER];

static void
die(const char *what)
{
	fprintf(stderr, "bench/echo_raw: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
conn_close(struct conn *c)
{
	close(c->fd);
	free(c->rest);
	free(c);
}

static void
conn_watch(struct conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		die("epoll_ctl");
}

/* Keeps what could not be sent, and waits until it can. */
static void
conn_keep(struct conn *c, const char *data, size_t len)
{
	c->rest = malloc(len);
	if (c->rest == NULL)
		die("malloc");
	memcpy(c->rest, data, len);
	c->off = 0;
	c->len = len;
	conn_watch(c, EPOLLOUT);
}

static void
conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, buffer, sizeof(buffer), 0), sent;

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			conn_close(c);
		return;
	}
	sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
	if (sent == n)
		return;
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		conn_close(c);
	else
		conn_keep(c, buffer + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
}

static void
conn_write(struct conn *c)
{
	ssize_t sent = send(c->fd, c->rest + c->off, c->len - c->off, MSG_NOSIGNAL);

	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_close(c);
		return;
	}
	c->off += (size_t)sent;
	if (c->off == c->len) {
		free(c->rest);
		c->rest = NULL;
		conn_watch(c, EPOLLIN);
	}
}

static void
accept_all(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

		if (c == NULL)
			die("calloc");
		c->fd = fd;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
			die("epoll_ctl");
	}
}

static int
listen_on(const char *endpoint)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	char text[64];

	if (fd < 0)
		die("socket");
	if (!net_parse(endpoint, &addr)) {
		errno = EINVAL;
		die(endpoint);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		die(endpoint);
	snprintf(text, sizeof(text), "%s:%u", inet_ntoa(addr.sin_addr), ntohs(addr.sin_port));
	server_ready(text);
	return fd;
}

int
main(int argc, char **argv)
{
	int listener = listen_on(server_endpoint(argc, argv));
	struct epoll_event ev = {.events = EPOLLIN}, events[EVENTS];

	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) < 0)
		die("epoll");
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == NULL)
				accept_all(listener);
			else if (c->rest != NULL)
				conn_write(c);
			else
				conn_read(c);
		}
	}
}

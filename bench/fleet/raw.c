/* The reference: a client by hand on level-triggered epoll.  One connect after the other, and after every 64 a look at what has
 * become of them; each connection is a struct of its own.  No timeouts, no records, no failure but an errno. */
#include "fleet.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, EVENTS = 64 };

struct conn {
	int fd;
	bool open;
};

static int poll_fd;
static unsigned connected, failed;

static void
watch(struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (epoll_ctl(poll_fd, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

static void
bind_local(int fd, unsigned i)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + i % LOCALS)};
	int one = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
		die("bind");
}

static struct conn *
begin(const struct work *work, unsigned i)
{
	const struct sockaddr_in *addr = &work->addrs[i % SERVERS];
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (c == NULL)
		die("calloc");
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (work->how == HOW_BIND)
		bind_local(c->fd, i);
	if (connect(c->fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(c, EPOLL_CTL_ADD, EPOLLOUT);
	return c;
}

static void
ready(struct conn *c)
{
	int errnum = 0;
	socklen_t len = sizeof(errnum);

	if (c->open)
		return;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
	c->open = true;
	if (errnum != 0) {
		failed++;
		watch(c, EPOLL_CTL_DEL, 0);
		return;
	}
	connected++;
	watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void
look(int wait_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(poll_fd, events, EVENTS, wait_ms);

	for (int i = 0; i < n; i++)
		ready(events[i].data.ptr);
}

void
client_raw(const struct work *work, struct sample *out)
{
	struct conn **conns = calloc(work->count, sizeof(struct conn *));
	struct linger hard = {.l_onoff = 1};
	double heap, begun, cpu;

	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (conns == NULL || poll_fd < 0)
		die("epoll_create1");
	heap = heap_now();
	cpu = cpu_now();
	begun = now();
	for (unsigned i = 0; i < work->count; i++) {
		conns[i] = begin(work, i);
		if (i % BATCH == BATCH - 1)
			look(0);
	}
	while (connected + failed < work->count)
		look(1000);
	out->seconds = now() - begun;
	out->cpu = cpu_now() - cpu;
	out->heap = (heap_now() - heap) / work->count;
	out->connected = connected;
	out->failed = failed;
	for (unsigned i = 0; i < work->count; i++) {
		setsockopt(conns[i]->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(conns[i]->fd);
	}
}

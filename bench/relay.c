/* The relays on level-triggered epoll: the reference for sconce_relay(). */
struct watch {
	char none[1];			/* the kernel knows all */
};

#include "relay.h"

enum { EVENTS = 256 };

static int epoll;

static void
control(int op, struct end *e, uint32_t watched)
{
	struct epoll_event ev = {.events = watched, .data.ptr = e};

	if (epoll_ctl(epoll, op, e->fd, &ev) < 0)
		server_die("epoll_ctl");
}

static void
watch_begin(struct end *e)
{
	control(EPOLL_CTL_ADD, e, EPOLLIN);
}

static void
watch_change(struct end *e, uint32_t events)
{
	control(EPOLL_CTL_MOD, e, events);
}

static void
watch_end(struct end *e)
{
	(void)e;
}

static void
serve(int listener)
{
	struct epoll_event ev = {.events = EPOLLIN}, events[EVENTS];
	int n;

	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) < 0)
		server_die("epoll");
	for (;;) {
		n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr != NULL)
				end_event(events[i].data.ptr, events[i].events);
			else
				accepted(listener);
		}
		bury();
	}
}

int
main(int argc, char **argv)
{
	relay_main(argc, argv);
}

/* The same relays on bare libev: what the loop alone costs. */
#include <ev.h>

struct watch {
	ev_io io;
};

#include "relay.h"

static struct ev_loop *loop;

static void
ready(EV_P_ ev_io *w, int revents)
{
	(void)EV_A;
	end_event(w->data, (revents & EV_READ ? EPOLLIN : 0) | (revents & EV_WRITE ? EPOLLOUT : 0));
	bury();				/* what was closed is not pending any more */
}

static void
watch_begin(struct end *e)
{
	ev_io_init(&e->watch.io, ready, e->fd, EV_READ);
	e->watch.io.data = e;
	ev_io_start(loop, &e->watch.io);
}

static void
watch_change(struct end *e, uint32_t events)
{
	ev_io_stop(loop, &e->watch.io);
	ev_io_modify(&e->watch.io, (events & EPOLLIN ? EV_READ : 0) | (events & EPOLLOUT ? EV_WRITE : 0));
	if (events != 0)
		ev_io_start(loop, &e->watch.io);
}

static void
watch_end(struct end *e)
{
	ev_io_stop(loop, &e->watch.io);
}

static void
listener_ready(EV_P_ ev_io *w, int revents)
{
	(void)EV_A;
	(void)revents;
	accepted(w->fd);
}

static void
serve(int listener)
{
	ev_io w;

	loop = ev_default_loop(EVFLAG_NOENV);
	if (loop == NULL)
		server_die("libev");
	ev_io_init(&w, listener_ready, listener, EV_READ);
	ev_io_start(loop, &w);
	ev_run(loop, 0);
	server_die("libev");
}

int
main(int argc, char **argv)
{
	relay_main(argc, argv);
}

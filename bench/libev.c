/* The servers on bare libev, as its manual has it: one watcher to read, one to write, started while it is
 * needed, and an idle timeout that is checked when it fires ("echo": lazy, the manual's advice for many
 * timeouts) or set again by each message ("timeout"). */
#include <ev.h>

#include "plain.h"

struct conn {
	ev_io in, out;
	ev_timer idle;
	ev_tstamp last;			/* when something came */
	struct plain_rest rest;
	struct plain_seat seat;		/* broadcast only */
};

struct workload {
	const char *name;
	bool again;			/* sets the timeout again at each message */
	bool broadcasts;
};

static const struct workload *workload;
static char buffer[PLAIN_BUFFER];
static struct plain_seat all = {.prev = &all, .next = &all};
static struct conn *sender;		/* broadcast: who spoke last; not read while `stuck` is not 0 */
static size_t stuck;			/* broadcast: connections with a rest */

static void
conn_close(struct ev_loop *loop, struct conn *c)
{
	ev_io_stop(loop, &c->in);
	ev_io_stop(loop, &c->out);
	ev_timer_stop(loop, &c->idle);
	if (workload->broadcasts) {
		plain_leave(&c->seat);
		stuck -= c->rest.data != NULL;
		if (sender == c)
			sender = NULL;
		else if (stuck == 0 && sender != NULL)
			ev_io_start(loop, &sender->in);
	}
	close(c->in.fd);
	plain_drop(&c->rest);
	free(c);
}

static void
broadcast(struct ev_loop *loop, struct conn *from, size_t len)
{
	sender = from;
	for (struct plain_seat *seat = all.next; seat != &all; seat = seat->next) {
		struct conn *to = PLAIN_CONTAINER_OF(seat, struct conn, seat);
		bool was_stuck = to->rest.data != NULL;

		if (to == from)
			continue;
		if (!plain_send(to->in.fd, &to->rest, buffer, len))
			shutdown(to->in.fd, SHUT_RDWR);	/* its own event closes it */
		if (to->rest.data != NULL && !was_stuck) {
			stuck++;
			ev_io_start(loop, &to->out);
		}
	}
	if (stuck > 0)
		ev_io_stop(loop, &from->in);
}

static void
echo(struct ev_loop *loop, struct conn *c, size_t len)
{
	if (!plain_send(c->in.fd, &c->rest, buffer, len)) {
		conn_close(loop, c);
	} else if (c->rest.data != NULL) {
		ev_io_stop(loop, &c->in);
		ev_io_start(loop, &c->out);
	}
}

static void
conn_read(struct ev_loop *loop, ev_io *w, int events)
{
	struct conn *c = PLAIN_CONTAINER_OF(w, struct conn, in);
	ssize_t n = recv(w->fd, buffer, sizeof(buffer), 0);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(loop, c);
		return;
	}
	if (workload->again)
		ev_timer_again(loop, &c->idle);
	else
		c->last = ev_now(loop);
	if (workload->broadcasts)
		broadcast(loop, c, (size_t)n);
	else
		echo(loop, c, (size_t)n);
}

static void
conn_write(struct ev_loop *loop, ev_io *w, int events)
{
	struct conn *c = PLAIN_CONTAINER_OF(w, struct conn, out);

	(void)events;
	if (!plain_resend(w->fd, &c->rest)) {
		conn_close(loop, c);
		return;
	}
	if (c->rest.data != NULL)
		return;
	ev_io_stop(loop, &c->out);
	if (!workload->broadcasts)
		ev_io_start(loop, &c->in);
	else if (--stuck == 0 && sender != NULL)
		ev_io_start(loop, &sender->in);
}

/* With the lazy timeout it may have spoken since. */
static void
conn_idle(struct ev_loop *loop, ev_timer *w, int events)
{
	struct conn *c = PLAIN_CONTAINER_OF(w, struct conn, idle);
	ev_tstamp left = c->last + PLAIN_IDLE_SECONDS - ev_now(loop);

	(void)events;
	if (workload->again || left <= 0) {
		conn_close(loop, c);
		return;
	}
	w->repeat = left;
	ev_timer_again(loop, w);
}

static void
conn_new(struct ev_loop *loop, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		server_die("calloc");
	ev_io_init(&c->in, conn_read, fd, EV_READ);
	ev_io_init(&c->out, conn_write, fd, EV_WRITE);
	ev_init(&c->idle, conn_idle);
	c->idle.repeat = PLAIN_IDLE_SECONDS;
	c->last = ev_now(loop);
	ev_io_start(loop, &c->in);
	ev_timer_again(loop, &c->idle);
	if (workload->broadcasts)
		plain_join(&all, &c->seat);
}

static void
accept_some(struct ev_loop *loop, ev_io *w, int events)
{
	int fd;

	(void)events;
	for (int i = 0; i < PLAIN_ACCEPTS && (fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; i++)
		conn_new(loop, fd);
}

static const struct workload workloads[] = {
	{"echo", .again = false},
	{"timeout", .again = true},
	{"broadcast", .broadcasts = true},
};

int
main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	struct ev_loop *loop = ev_default_loop(EVFLAG_NOENV);
	int fd;
	ev_io listener;

	workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]), sizeof(workloads[0]));
	fd = plain_listen(args.endpoint);
	if (loop == NULL)
		server_die("ev_default_loop");
	ev_io_init(&listener, accept_some, fd, EV_READ);
	ev_io_start(loop, &listener);
	plain_ready(fd);
	ev_run(loop, 0);
	return 1;
}

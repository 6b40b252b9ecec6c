/* The servers on libevent: raw events, and ("-bev") bufferevents.  Both with the allowances its manual gives
 * for speed: events are part of our object, one persistent event to read, one to write that is added while it
 * is needed. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/listener.h>

#include "plain.h"

enum { BEV_HIGH = 256 * 1024 };		/* bytes in an output buffer above which the connection is not read */

/* A connection on raw events. */
struct conn {
	struct event in, out;
	struct plain_rest rest;
	struct plain_seat seat;		/* broadcast only */
};

/* A connection on a bufferevent. */
struct bev {
	struct bufferevent *bev;
	bool stuck;			/* broadcast: its output buffer is full */
	struct plain_seat seat;		/* broadcast only */
};

struct workload {
	const char *name;
	void (*accept)(evutil_socket_t fd);
	bool timed;			/* closes idle connections; firing re-arms an event's timeout */
	bool broadcasts;
	void (*bev_read)(struct bufferevent *bev, void *arg);
};

static const struct workload *workload;
static const struct timeval idle = {.tv_sec = PLAIN_IDLE_SECONDS};
static struct event_base *base;
static char buffer[PLAIN_BUFFER];
static struct plain_seat all = {.prev = &all, .next = &all};
static size_t stuck;			/* broadcast: connections with a rest, or stuck */
static struct conn *sender;		/* broadcast: who spoke last; not read while `stuck` is not 0 */
static struct bev *bev_sender;		/* the same */

/* ---- raw events ---- */

static void
conn_read_on(struct conn *c)
{
	event_add(&c->in, workload->timed ? &idle : NULL);
}

static void
conn_close(struct conn *c)
{
	int fd = event_get_fd(&c->in);

	event_del(&c->in);
	event_del(&c->out);
	if (workload->broadcasts) {
		plain_leave(&c->seat);
		stuck -= c->rest.data != NULL;
		if (sender == c)
			sender = NULL;
		else if (stuck == 0 && sender != NULL)
			conn_read_on(sender);
	}
	close(fd);
	plain_drop(&c->rest);
	free(c);
}

static void
broadcast(struct conn *from, size_t len)
{
	sender = from;
	for (struct plain_seat *seat = all.next; seat != &all; seat = seat->next) {
		struct conn *to = PLAIN_CONTAINER_OF(seat, struct conn, seat);
		bool was_stuck = to->rest.data != NULL;
		int fd = event_get_fd(&to->in);

		if (to == from)
			continue;
		if (!plain_send(fd, &to->rest, buffer, len))
			shutdown(fd, SHUT_RDWR);	/* its own event closes it */
		if (to->rest.data != NULL && !was_stuck) {
			stuck++;
			event_add(&to->out, NULL);
		}
	}
	if (stuck > 0)
		event_del(&from->in);
}

static void
conn_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	ssize_t n = (what & EV_TIMEOUT) ? 0 : recv(fd, buffer, sizeof(buffer), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c);
	} else if (workload->broadcasts) {
		broadcast(c, (size_t)n);
	} else if (!plain_send(fd, &c->rest, buffer, (size_t)n)) {
		conn_close(c);
	} else if (c->rest.data != NULL) {
		event_del(&c->in);
		event_add(&c->out, NULL);
	}
}

static void
conn_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)what;
	if (!plain_resend(fd, &c->rest)) {
		conn_close(c);
		return;
	}
	if (c->rest.data != NULL)
		return;
	event_del(&c->out);
	if (!workload->broadcasts)
		conn_read_on(c);
	else if (--stuck == 0 && sender != NULL)
		conn_read_on(sender);
}

static void
conn_accept(evutil_socket_t fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		server_die("calloc");
	event_assign(&c->in, base, fd, EV_READ | EV_PERSIST, conn_read, c);
	event_assign(&c->out, base, fd, EV_WRITE | EV_PERSIST, conn_write, c);
	conn_read_on(c);
	if (workload->broadcasts)
		plain_join(&all, &c->seat);
}

/* ---- bufferevents ---- */

static size_t
bev_waiting(const struct bev *b)
{
	return evbuffer_get_length(bufferevent_get_output(b->bev));
}

static void
bev_close(struct bev *b)
{
	if (workload->broadcasts) {
		plain_leave(&b->seat);
		stuck -= b->stuck;
		if (bev_sender == b)
			bev_sender = NULL;
		else if (stuck == 0 && bev_sender != NULL)
			bufferevent_enable(bev_sender->bev, EV_READ);
	}
	bufferevent_free(b->bev);
	free(b);
}

static void
bev_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
		bev_close(arg);
}

static void
bev_restrain(struct bev *b)
{
	if (bev_waiting(b) > BEV_HIGH)
		bufferevent_disable(b->bev, EV_READ);
}

/* The buffers' chains move over; nothing is copied. */
static void
bev_echo(struct bufferevent *bev, void *arg)
{
	bufferevent_write_buffer(bev, bufferevent_get_input(bev));
	bev_restrain(arg);
}

static void
bev_frames(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	char frame[PLAIN_FRAME];

	while (evbuffer_get_length(input) >= sizeof(frame)) {
		evbuffer_remove(input, frame, sizeof(frame));
		bufferevent_write(bev, frame, sizeof(frame));
	}
	bev_restrain(arg);
}

static void
bev_broadcast(struct bufferevent *bev, void *arg)
{
	struct bev *from = arg;
	size_t len = bufferevent_read(bev, buffer, sizeof(buffer));

	bev_sender = from;
	for (struct plain_seat *seat = all.next; seat != &all; seat = seat->next) {
		struct bev *to = PLAIN_CONTAINER_OF(seat, struct bev, seat);

		if (to == from)
			continue;
		bufferevent_write(to->bev, buffer, len);
		if (!to->stuck && bev_waiting(to) > BEV_HIGH) {
			to->stuck = true;
			stuck++;
		}
	}
	if (stuck > 0)
		bufferevent_disable(bev, EV_READ);
}

/* The output buffer has drained. */
static void
bev_write(struct bufferevent *bev, void *arg)
{
	struct bev *b = arg;

	if (!workload->broadcasts) {
		if (!(bufferevent_get_enabled(bev) & EV_READ))
			bufferevent_enable(bev, EV_READ);
		return;
	}
	if (!b->stuck)
		return;
	b->stuck = false;
	if (--stuck == 0 && bev_sender != NULL)
		bufferevent_enable(bev_sender->bev, EV_READ);
}

static void
bev_accept(evutil_socket_t fd)
{
	struct bev *b = calloc(1, sizeof(*b));

	if (b == NULL || (b->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE)) == NULL)
		server_die("bufferevent");
	bufferevent_set_max_single_read(b->bev, PLAIN_BUFFER);
	bufferevent_set_max_single_write(b->bev, PLAIN_BUFFER);
	bufferevent_setcb(b->bev, workload->bev_read, bev_write, bev_event, b);
	if (workload->timed)
		bufferevent_set_timeouts(b->bev, &idle, NULL);
	if (workload->broadcasts)
		plain_join(&all, &b->seat);
	bufferevent_enable(b->bev, EV_READ);
}

/* ---- the server ---- */

static const struct workload workloads[] = {
	{"echo", conn_accept, .timed = false},
	{"timeout", conn_accept, .timed = true},
	{"broadcast", conn_accept, .broadcasts = true},
	{"echo-bev", bev_accept, .bev_read = bev_echo},
	{"frames-bev", bev_accept, .bev_read = bev_frames},
	{"timeout-bev", bev_accept, .timed = true, .bev_read = bev_echo},
	{"broadcast-bev", bev_accept, .broadcasts = true, .bev_read = bev_broadcast},
};

static void
accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr, int len, void *arg)
{
	(void)listener, (void)addr, (void)len, (void)arg;
	workload->accept(fd);
}

int
main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	int fd;

	workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]), sizeof(workloads[0]));
	fd = plain_listen(args.endpoint);
	base = event_base_new();
	if (base == NULL || evconnlistener_new(base, accepted, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, fd) == NULL)
		server_die("libevent");
	plain_ready(fd);
	event_base_dispatch(base);
	return 1;
}

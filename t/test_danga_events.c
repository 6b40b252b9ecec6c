/* Danga::Socket's 10-events: a listener, an outgoing connection and the accepted one; 16 assertions, once on the default
 * backend and once on poll (DS-108, DS-110).
 *
 * Each has a counterpart in C, three of them in another form:
 *   - "the descriptor map is a live reference with 3 entries": there is no map; sconce_count() and sconce_each() are always live;
 *   - "after Reset the same reference has 0": there is no Reset (DS-29); sconce_loop_free() destroys all objects;
 *   - "the poller is epoll" is asked of libev.
 * The two that have none are the plan's own count (34) and that loading the module works. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/ev.h>

static struct pair p;
static struct sconce_listener listener;
static struct end *outgoing, *accepted;
static int calls, asserted, listener_closed, step;
static bool done;

#define IS(a, op, b) do { \
		ck_assert_int_##op((a), (b)); \
		asserted++; \
	} while (0)

/* "Hello!\n" comes as Hello, lo (pushed back), Hel and lo (pushed back again), !\n (the kernel's). DS-109, DS-72 */
static void
accepted_read(struct end *e)
{
	static const struct {
		size_t ask;
		const char *get, *push;
	} script[] = {
		{ 5, "Hello", "lo" },
		{ 3, "lo", "Hello" },
		{ 3, "Hel", NULL },
		{ 3, "lo", NULL },
		{ 3, "!\n", NULL },
	};
	char buf[8];
	ssize_t n;

	ck_assert_int_lt(step, 5);
	n = sconce_read(&e->sock, buf, script[step].ask);
	IS(n, eq, (ssize_t)strlen(script[step].get));
	ck_assert_mem_eq(buf, script[step].get, (size_t)n);
	if (script[step].push != NULL)
		ck_assert_int_eq(sconce_unread(&e->sock, script[step].push, strlen(script[step].push)), 0);
	if (++step == 5) {
		sconce_watch_read(&e->sock, false);
		done = true;
	}
}

static int
listener_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct sconce_addr addr;
	char text[80];

	(void)l;
	accepted = end_open(&p, "in", NULL, fd);
	accepted->on.read = accepted_read;
	sconce_addr_text(peer, text, sizeof(text));
	IS(strncmp(text, "127.0.0.1:", 10), eq, 0);
	IS(sconce_local(&accepted->sock, &addr), eq, 0);
	sconce_addr_text(&addr, text, sizeof(text));
	IS(strncmp(text, "127.0.0.1:", 10), eq, 0);
	return 0;
}

static void
listener_event_close(struct sconce_listener *l)
{
	(void)l;
	listener_closed++;
}

static const struct sconce_listener_ops listener_ops = {
	.name = "listener", .accept = listener_accept, .event_close = listener_event_close,
};

/* Fires when the connect is done, after event_connect. */
static void
outgoing_write(struct end *e)
{
	IS(e->connects, eq, 1);
	IS(sconce_write(&e->sock, "Hello!\n", 7), eq, SCONCE_GATHERED);
	sconce_watch_write(&e->sock, false);
}

/* A connect that the application has begun. */
static void
connect_outgoing(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	sin.sin_port = htons((uint16_t)sconce_addr_port(&listener.addr));
	r = connect(fd, (struct sockaddr *)&sin, sizeof(sin));
	ck_assert(r == 0 || errno == EINPROGRESS);
	outgoing = end_open(&p, "out", NULL, fd);
	outgoing->on.write = outgoing_write;
	ck_assert_int_eq(sconce_connecting(&outgoing->sock), 0);
	ck_assert_int_eq(sconce_watch_write(&outgoing->sock, true), 0);
}

static bool
post_loop(struct sconce_loop *l, void *arg)
{
	(void)arg;
	calls++;
	if (calls == 1)
		IS(sconce_listen(&listener, l, &listener_ops, "tcp://127.0.0.1:0", NULL), eq, 0);
	if (calls == 3) {
		connect_outgoing();
		IS(sconce_count(l), eq, 2);
	}
	return !done && calls < 200;
}

static bool
count_each(struct sconce_sock *s, void *arg)
{
	(void)s;
	++*(int *)arg;
	return true;
}

static void
run(unsigned backend)
{
	struct sconce_loop_options opts = { .backend_flags = backend };
	int each = 0, fds = t_fd_count();

	calls = asserted = listener_closed = step = 0;
	done = false;
	pair_open_loop(&p, &opts);
	ck_assert_uint_eq(ev_backend(sconce_loop_ev(p.loop)), backend != 0 ? backend : EVBACKEND_EPOLL);	/* DS-108 */
	IS(sconce_count(p.loop), eq, 0);
	sconce_loop_set_timeout(p.loop, 0.01);
	ck_assert_double_eq(sconce_loop_timeout(p.loop), 0.01);
	ck_assert_int_eq(sconce_post_loop_add(p.loop, post_loop, NULL), 0);
	IS(sconce_loop_run(p.loop), eq, SCONCE_LOOP_POST);
	ck_assert(done);
	sconce_each(p.loop, count_each, &each);
	IS(each, eq, 3);
	ck_assert_uint_eq(sconce_count(p.loop), 3);
	pair_free(&p);
	IS(t_fd_count(), eq, fds);
	ck_assert_int_eq(listener_closed, 1);
}

/* DS-109, DS-110: the whole story, on epoll and on poll. */
START_TEST(test_events_story)
{
	run(_i == 0 ? 0 : EVBACKEND_POLL);
	ck_assert_int_eq(asserted, 16);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("danga_events");
	TCase *c = t_case(s, "events");

	tcase_add_loop_test(c, test_events_story, 0, 2);
	return s;
}

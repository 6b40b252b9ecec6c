/* Allocation number n fails, for every n: whatever is asked either works or says why not, and nothing leaks.  HZ-22 */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_N = 2000 };

static const char question[] = "half a record and the rest\n";
enum { QUESTION = sizeof(question) - 1, ANSWER = QUESTION - 5 + QUESTION };

/* One run of a small server and its client; everything of the embedder's is static, so that only the library allocates. */
static struct scene {
	struct sconce_loop *loop;
	struct sconce_listener listener;
	struct conn {
		struct sconce_sock sock;
		bool used, ended, destroyed;
		char in[4096];
		size_t in_len;
	} client, server[4];
	int servers;
	struct sconce_timer timer;
	int listener_gone, fired, calls, dones, wants;
	bool refused;			/* somebody has said -ENOMEM, or closed */
} v;

static struct conn *
conn_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct conn, sock);
}

/* The result of a call: it may fail for want of memory alone (or since an earlier one did). */
static bool
ok(long r)
{
	if (r >= 0)
		return true;
	ck_assert_msg(r == -ENOMEM || r == -EPIPE || r == -EBADF || r == -EAGAIN || r == -EBUSY, "result %ld", r);
	v.refused = true;
	return false;
}

static void
conn_destroy(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);

	ck_assert(!c->destroyed);
	c->destroyed = true;
}

static void
done(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	(void)arg;
	(void)status;
	v.dones++;
}

static void
server_read(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0) {
		sconce_close_flush(s, 1);
		return;
	}
	if (n == -ENOMEM)
		v.refused = true;
	if (n < 0) {
		if (n != -EAGAIN)
			sconce_close(s, SCONCE_REASON_ERROR);
		return;
	}
	if (((const char *)data)[n - 1] != '\n') {	/* not complete: pushed back until it is */
		if (!ok(sconce_unread(s, data, (size_t)n)))
			sconce_close(s, SCONCE_REASON_ERROR);
		return;
	}
	(void)c;
	v.wants += 2;
	if (!ok(sconce_write(s, data, (size_t)n)) | !ok(sconce_write_cb(s, done, NULL)) |
	    !ok(sconce_write_ref(s, question, sizeof(question) - 1, done, NULL)))
		sconce_close(s, SCONCE_REASON_ERROR);
}

static const struct sconce_sock_ops server_ops = { .name = "server", .event_read = server_read, .destroy = conn_destroy };

static int
accept_one(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct conn *c = &v.server[v.servers];
	int r;

	(void)peer;
	if (v.servers == 4)
		return -EMFILE;
	r = sconce_sock_init(&c->sock, l->sock.loop, &server_ops, fd);
	if (!ok(r))
		return r;
	c->used = true;
	v.servers++;
	ok(sconce_listener_count(l, &c->sock));
	ok(sconce_set_timeout(&c->sock, SCONCE_TIMEOUT_INPUT, 5));
	ok(sconce_set_timeout(&c->sock, SCONCE_TIMEOUT_LIFETIME, 5));
	ok(sconce_set_marks(&c->sock, 100, 1000));
	return 0;
}

static void
listener_destroy(struct sconce_listener *l)
{
	(void)l;
	v.listener_gone++;
}

static const struct sconce_listener_ops listener_ops = {
	.name = "oom", .accept = accept_one, .destroy = listener_destroy,
};

static void
client_read(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);
	ssize_t n = sconce_read(s, c->in + c->in_len, sizeof(c->in) - c->in_len);

	if (n > 0)
		c->in_len += (size_t)n;
	if (n == 0 || (n < 0 && n != -EAGAIN))
		sconce_close(s, SCONCE_REASON_EOF);
	if (c->in_len >= ANSWER)
		sconce_close(s, SCONCE_REASON_LOCAL);
}

static void
client_connect(struct sconce_sock *s, int errnum)
{
	if (errnum != 0 || !ok(sconce_write(s, question + 5, 5)) || !ok(sconce_write(s, question, 0)))
		sconce_close(s, SCONCE_REASON_CONNECT);
}

static const struct sconce_sock_ops client_ops = {
	.name = "client", .event_read = client_read, .event_connect = client_connect, .destroy = conn_destroy,
};

static void
rest(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	v.fired++;
	if (v.client.used && !v.client.destroyed && !v.client.sock.closed &&
	    !ok(sconce_write(&v.client.sock, question + 10, sizeof(question) - 11)))
		sconce_close(&v.client.sock, SCONCE_REASON_LOCAL);
}

static void
call(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	(void)status;
	v.calls++;
}

static bool
go_on(struct sconce_sock *s, void *arg)
{
	(void)s;
	(void)arg;
	return true;
}

static void
open_client(void)
{
	struct sconce_addr to = v.listener.addr;
	int r = sconce_sock_init(&v.client.sock, v.loop, &client_ops, -1);

	if (!ok(r))
		return;
	v.client.used = true;
	if (!ok(sconce_connect_addr(&v.client.sock, &to)))
		sconce_close(&v.client.sock, SCONCE_REASON_CONNECT);
	else
		ok(sconce_set_post_loop(&v.client.sock, go_on, NULL));
}

static bool
over(void)
{
	return !v.client.used || v.client.destroyed;
}

/* The whole of it.  Returns whether nothing at all was refused. */
static bool
act(const struct sconce_loop_options *opts)
{
	struct sconce_fail fail;
	int calls = 0, r;

	memset(&v, 0, sizeof(v));
	if (!ok(sconce_loop_new(opts, &v.loop)))
		return false;
	r = sconce_listen(&v.listener, v.loop, &listener_ops, "127.0.0.1:0", &fail);
	if (ok(r)) {
		open_client();
		sconce_timer_init(&v.timer, v.loop, rest, NULL);
		sconce_timer_start(&v.timer, 0.001);
		calls += ok(sconce_defer(v.loop, NULL, call, NULL));
		for (int i = 0; i < 1000 && !over(); i++) {
			sconce_loop_step(v.loop, 0.002);
			if (i > 400 && v.client.used && !v.client.destroyed && v.refused)
				sconce_close(&v.client.sock, SCONCE_REASON_LOCAL);
		}
		ck_assert_msg(over(), "neither done nor refused");
		sconce_verify(v.loop);
	}
	ck_assert_int_eq(sconce_loop_free(v.loop), 0);
	ck_assert_int_eq(v.listener_gone, r == 0);
	ck_assert_int_eq(v.client.used, v.client.destroyed);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(v.server[i].used, v.server[i].destroyed);
	ck_assert_int_eq(v.calls, calls);
	ck_assert_int_eq(v.dones, v.wants);		/* each exactly once, also of calls that failed */
	return !v.refused && v.client.in_len == ANSWER;
}

/* _i == 0: allocation n fails and the later ones work; 1: all from n on fail. */
START_TEST(test_oom_every_allocation_of_a_server)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	int fds = t_fd_count();
	bool whole = false;
	long n;

	for (n = 1; n < MAX_N; n++) {
		fault_reset();
		fault.alloc_fail = n;
		fault.alloc_fail_all = _i == 1;
		whole = act(&opts);
		ck_assert_msg(fault.live == 0, "n %ld: %ld allocations leaked", n, fault.live);
		ck_assert_msg(t_fd_count() == fds, "n %ld: fds leaked", n);
		if (fault.failed == 0)
			break;			/* there are no more than n */
	}
	ck_assert(whole);			/* with nothing refused all of it works */
	ck_assert_int_gt(n, 15);
	ck_assert_int_lt(n, MAX_N);
}
END_TEST

/* With a few more features: pairs with transfers, watches, signals, timers bound, accounting. */
static void
watched(struct sconce_watch *w, unsigned events, void *arg)
{
	(void)events;
	(void)arg;
	sconce_watch_stop(w);
}

static void
signalled(struct sconce_loop *l, int signo, void *arg)
{
	(void)l;
	(void)signo;
	(void)arg;
}

static bool
loop_post(struct sconce_loop *l, void *arg)
{
	(void)l;
	(void)arg;
	return true;
}

static void
passive_read(struct sconce_sock *s)
{
	char buf[1024];

	while (sconce_read(s, buf, sizeof(buf)) > 0)
		;
}

static const struct sconce_sock_ops passive_ops = { .name = "passive", .event_read = passive_read, .destroy = conn_destroy };

static void
open_passive(struct conn *c, int fd)
{
	if (!ok(sconce_sock_init(&c->sock, v.loop, &passive_ops, fd)))
		close(fd);
	else
		c->used = true;
}

static void
features(struct conn *a, struct conn *b, int fd, int pipe_fd)
{
	static char bulk[100 * 1024];
	struct sconce_watch w = { 0 };
	char c;

	v.wants += 4;
	ok(sconce_transfer(&a->sock, &b->sock, 3, done, NULL));
	ok(sconce_write(&b->sock, bulk, sizeof(bulk)));
	ok(sconce_write_cb(&b->sock, done, NULL));
	ok(sconce_write_ref(&b->sock, bulk, sizeof(bulk), done, NULL));
	ok(sconce_printf(&b->sock, "%2000d", 1));
	ok(sconce_relay(&b->sock, &a->sock, done, NULL));
	ok(sconce_watch_start(&w, v.loop, pipe_fd, SCONCE_READ, watched, NULL));
	ok(sconce_signal(v.loop, SIGUSR1, signalled, NULL));
	ok(sconce_post_loop_add(v.loop, loop_post, NULL));
	ok(sconce_timer_bind(&v.timer, &a->sock));
	ok(sconce_set_accounting(v.loop, true));
	ok(sconce_set_cap(&a->sock, 1 << 20));
	ok(sconce_set_timeout(&b->sock, SCONCE_TIMEOUT_OUTPUT, 1));
	ck_assert_int_eq(send(fd, "abcdef", 6, 0), 6);
	for (int i = 0; i < 10; i++) {
		sconce_loop_step(v.loop, 0);
		while (recv(fd, &c, 1, MSG_DONTWAIT) > 0 && i < 3)
			;
	}
	sconce_watch_stop(&w);
}

static void
act_features(const struct sconce_loop_options *opts)
{
	int one[2], two[2], pipe_fds[2];

	memset(&v, 0, sizeof(v));
	if (!ok(sconce_loop_new(opts, &v.loop)))
		return;
	wire_make(WIRE_UNIX, one);
	wire_make(WIRE_UNIX, two);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
	open_passive(&v.server[0], one[0]);
	open_passive(&v.server[1], two[0]);
	sconce_timer_init(&v.timer, v.loop, rest, NULL);
	sconce_timer_start(&v.timer, 0.001);
	if (v.server[0].used && v.server[1].used)
		features(&v.server[0], &v.server[1], one[1], pipe_fds[0]);
	sconce_verify(v.loop);
	ck_assert_int_eq(sconce_loop_free(v.loop), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(v.server[i].used, v.server[i].destroyed);
	ck_assert_int_eq(v.dones, v.wants);
	close(one[1]);
	close(two[1]);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

START_TEST(test_oom_every_allocation_of_features)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	int fds = t_fd_count();
	long n;

	for (n = 1; n < MAX_N; n++) {
		fault_reset();
		fault.alloc_fail = n;
		fault.alloc_fail_all = _i == 1;
		act_features(&opts);
		ck_assert_msg(fault.live == 0, "n %ld: %ld allocations leaked", n, fault.live);
		ck_assert_msg(t_fd_count() == fds, "n %ld: fds leaked", n);
		if (fault.failed == 0)
			break;
	}
	ck_assert_int_gt(n, 20);
	ck_assert_int_lt(n, MAX_N);
}
END_TEST

/* What cannot fail does not allocate: closing in every way, watching, holding, cancelling, with no memory at all. */
START_TEST(test_oom_ends_never_allocate)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	static struct pair p;
	struct end *e[6];
	int fds[2];

	pair_open_loop(&p, &opts);
	for (int i = 0; i < 6; i += 2) {
		wire_make(WIRE_UNIX, fds);
		e[i] = end_open(&p, "e", NULL, fds[0]);
		e[i + 1] = end_open(&p, "f", NULL, fds[1]);
	}
	pair_turn(&p, 2);
	for (int i = 0; i < 6; i++)
		sconce_write(&e[i]->sock, "bye", 3);
	fault_reset();
	fault.alloc_fail = 1;
	fault.alloc_fail_all = true;
	sconce_watch_read(&e[5]->sock, false);
	sconce_watch_write(&e[5]->sock, true);
	sconce_pause(&e[5]->sock, SCONCE_PAUSE_APP);
	sconce_resume(&e[5]->sock, SCONCE_PAUSE_APP);
	sconce_hold(&e[4]->sock);
	sconce_release(&e[4]->sock);
	ck_assert_int_eq(sconce_set_timeout(&e[4]->sock, SCONCE_TIMEOUT_INPUT, 1), 0);
	ck_assert_int_eq(sconce_set_timeout(&e[4]->sock, SCONCE_TIMEOUT_LIFETIME, 0), 0);
	sconce_close(&e[0]->sock, SCONCE_REASON_LOCAL);
	sconce_close_flush(&e[1]->sock, 1);
	sconce_abort(&e[2]->sock);
	ck_assert_int_eq(sconce_shutdown(&e[3]->sock, SHUT_RDWR), 0);
	pair_turn(&p, 5);
	ck_assert_int_eq(fault.allocs, 0);
	ck_assert_uint_eq(e[0]->destroys + e[1]->destroys + e[2]->destroys, 3);
	fault.alloc_fail = 0;
	pair_free(&p);
	ck_assert_int_eq(fault.live, 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("oom");
	TCase *c = t_case(s, "oom");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, test_oom_every_allocation_of_a_server, 0, 2);
	tcase_add_loop_test(c, test_oom_every_allocation_of_features, 0, 2);
	tcase_add_test(c, test_oom_ends_never_allocate);
	return s;
}

/* The multiplexer without memory: allocation number n fails, for every n of a short run.  Every event that a handle owes comes, in its
 * order, nothing leaks, and what failed says so.  HZ-22, EM-21 */
#include "starve.h"

#include "harness.h"
#include "backend_poll.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/sconce.h>

enum { MAX_N = 600, HANDLES = 8 };

/* What the run has seen; check allocates when it asserts, so that waits until memory is back. */
static struct {
	struct sconce_mux *m;
	bool wrong;
	struct seen {
		struct sconce_mux_handle *h;
		bool used, began, closing, closed;
	} seen[HANDLES];
} v;

static struct seen *
seen_of(struct sconce_mux_handle *h)
{
	for (int i = 0; i < HANDLES; i++)
		if (v.seen[i].used && !v.seen[i].closed && v.seen[i].h == h)
			return &v.seen[i];
	for (int i = 0; i < HANDLES; i++)
		if (!v.seen[i].used) {
			v.seen[i] = (struct seen){ .h = h, .used = true };
			return &v.seen[i];
		}
	v.wrong = true;
	return &v.seen[0];
}

static void
note(const struct sconce_event *ev)
{
	struct seen *s;

	if (ev->handle == NULL)
		return;
	s = seen_of(ev->handle);
	if (s->closed || (s->closing && (ev->type == SCONCE_EVENT_READ || ev->type == SCONCE_EVENT_CLOSING)))
		v.wrong = true;
	s->closing |= ev->type == SCONCE_EVENT_CLOSING;
	s->closed |= ev->type == SCONCE_EVENT_CLOSED;
	if (ev->type == SCONCE_EVENT_CLOSED && !s->closing)
		v.wrong = true;
	if (ev->type == SCONCE_EVENT_READ && sconce_mux_kind(ev->handle) == SCONCE_MUX_STREAM)
		sconce_mux_send(ev->handle, ev->data, ev->len);
	if (ev->type == SCONCE_EVENT_ERROR && ev->fail.errnum == 0)
		v.wrong = true;
}

static void
take_some(int n)
{
	struct sconce_event ev;

	for (int i = 0; i < n; i++)
		if (sconce_mux_next(v.m, 0, &ev) == 1)
			note(&ev);
}

/* Only results for want of memory are right, or none. */
static void
allow(int r)
{
	if (r < 0 && r != -ENOMEM && r != -EPIPE && r != -EBADF)
		v.wrong = true;
}

/* A listener, a connection to it that says something half and whole, a pair, a datagram socket, an event of one's own, closes.  All that
 * is opened is closed again. */
static void
run(struct sconce_filter *f)
{
	struct sconce_mux_options o = { .filter = f };
	struct sconce_mux_handle *l = NULL, *c = NULL, *p = NULL, *d = NULL;
	struct sconce_event own = { .type = SCONCE_EVENT_USER };
	struct sconce_addr a = { .len = 0 };
	char url[64], text[SCONCE_ADDR_TEXT];
	int fds[2] = { -1, -1 };

	allow(sconce_mux_listen(v.m, "tcp://127.0.0.1:0", &o, &l, NULL));
	if (l != NULL && sconce_local(sconce_mux_sock(l), &a) == 0) {
		snprintf(url, sizeof(url), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
		allow(sconce_mux_connect(v.m, url, &o, &c, NULL));
	}
	if (c != NULL)
		allow(sconce_mux_send(c, "half", 4));
	take_some(6);
	if (c != NULL && sconce_mux_count(v.m) > 1)
		allow(sconce_mux_push(v.m, &own));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 && sconce_mux_add(v.m, fds[0], NULL, &p) < 0)
		close(fds[0]);
	if (p != NULL && write(fds[1], "line\nrest", 9) != 9)
		v.wrong = true;
	allow(sconce_mux_listen(v.m, "udp://127.0.0.1:0", NULL, &d, NULL));
	if (d != NULL && sconce_local(sconce_mux_sock(d), &a) == 0)
		allow(sconce_mux_sendto(d, &a, "packet", 6));
	take_some(8);
	if (fds[1] >= 0)
		close(fds[1]);
	if (d != NULL)
		sconce_mux_close(d);
	take_some(8);
	if (l != NULL)
		sconce_mux_close(l);
	take_some(12);
}

static struct sconce_filter *
lines(void)
{
	struct sconce_filter *f = NULL;

	ck_assert_int_eq(sconce_filter_split("\n", 1, &f), 0);
	return f;
}

START_TEST(test_mux_allocation_n_fails)
{
	struct sconce_loop_options opts = { .backend = backend_poll() };	/* libev aborts where it has no memory */
	struct sconce_filter *f = lines();
	struct sconce_loop *loop;
	int n;

	if (!STARVE_WORKS)
		return sconce_filter_unref(f);
	for (n = 1; n < MAX_N; n++) {
		memset(&v, 0, sizeof(v));
		starve_failed = 0;
		starve_left = n;
		loop = NULL;
		if (sconce_loop_new(&opts, &loop) == 0 && sconce_mux_new(loop, NULL, &v.m) == 0)
			run(f);
		starve_left = 0;
		if (v.m != NULL) {
			take_some(20);			/* with memory: what was owed is still there */
			sconce_verify(loop);
			ck_assert_int_eq(sconce_mux_free(v.m), 0);
		}
		ck_assert_int_eq(sconce_loop_free(loop), 0);
		ck_assert_msg(!v.wrong, "allocation %d", n);
		if (starve_failed == 0)
			break;
	}
	ck_assert_int_gt(n, 30);
	ck_assert_int_lt(n, MAX_N);
	sconce_filter_unref(f);
}
END_TEST

/* A send that has no room for its SENT sends nothing. */
START_TEST(test_mux_send_without_room_sends_nothing)
{
	struct sconce_mux_handle *h;
	int fds[2], r = 0, sent = 0, got = 0;
	char buf[4096];

	if (!STARVE_WORKS)
		return;
	memset(&v, 0, sizeof(v));
	ck_assert_int_eq(sconce_mux_new(NULL, NULL, &v.m), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_mux_add(v.m, fds[0], NULL, &h), 0);
	for (int i = 0; i < 200 && r >= 0; i++) {
		starve_left = 1;
		r = sconce_mux_send(h, "x", 1);
		starve_left = 0;
		sent += r >= 0;
	}
	ck_assert_int_eq(r, -ENOMEM);
	got = (int)recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT);
	ck_assert_int_eq(got, sent);
	ck_assert_int_eq(sconce_mux_send(h, "y", 1), SCONCE_SENT);
	ck_assert_int_eq(sconce_mux_free(v.m), 0);
	close(fds[1]);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_oom");
	TCase *c = t_case(s, "oom");

	tcase_add_test(c, test_mux_allocation_n_fails);
	tcase_add_test(c, test_mux_send_without_room_sends_nothing);
	return s;
}

/* Fleets without memory: allocation number n fails, for every n of a short run.  Every connection that was begun is told its
 * end once, nothing leaks, no target is lost, and the fleet can still be stopped.  HZ-22 */
#include "starve.h"

#include "harness.h"
#include "backend_poll.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/fleet.h>
#include <sconce/sconce.h>

enum { MAX_N = 800, TARGETS = 6, STEPS = 400 };

struct probe {
	struct sconce_fleet_conn conn;
	unsigned inits, results, closes;
};

/* check allocates when it asserts, so that waits until memory is back. */
static struct {
	struct sconce_fleet fleet;
	struct sconce_listener door;
	char endpoint[SCONCE_ADDR_TEXT];
	unsigned given, begun, queued, inits, failed, closed, dones;
	bool wrong;
} v;

static struct probe *
probe_of(struct sconce_fleet_conn *c)
{
	return SCONCE_CONTAINER_OF(c, struct probe, conn);
}

static void
probe_init(struct sconce_fleet_conn *c)
{
	v.wrong |= probe_of(c)->inits++ != 0;
	v.inits++;
	if (sconce_stream_put_bytes(&c->stream, "hello", 5) < 0)
		sconce_close(&c->stream.sock, SCONCE_REASON_LOCAL);
	sconce_fleet_set_timeout(c, 5);
}

static void
probe_connected(struct sconce_fleet_conn *c)
{
	struct probe *p = probe_of(c);

	v.wrong |= p->inits != 1 || p->results++ != 0;
}

static void
probe_failed(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct probe *p = probe_of(c);

	v.wrong |= p->inits != 1 || p->results++ != 0 || fail->errnum == 0 || fail->text[0] == '\0';
	v.failed++;
}

static void
probe_record(struct sconce_fleet_conn *c, const struct sconce_record *rec)
{
	v.wrong |= rec->len != 5;
	sconce_fleet_shutdown(c);
}

static void
probe_closed(struct sconce_fleet_conn *c)
{
	v.wrong |= probe_of(c)->inits != 1 || probe_of(c)->closes++ != 0;
	v.closed++;
}

static const struct sconce_fleet_ops probe_ops = {
	.name = "probe", .size = sizeof(struct probe), .offset = offsetof(struct probe, conn),
	.init = probe_init, .connected = probe_connected, .failed = probe_failed, .record = probe_record, .closed = probe_closed,
};

/* The other end sends everything back, and ends when the connection does. */
struct guest {
	struct sconce_sock sock;
};

static void
guest_event_read(struct sconce_sock *s)
{
	char buf[256];
	ssize_t n = sconce_read(s, buf, sizeof(buf));

	if (n == -EAGAIN || (n > 0 && sconce_write(s, buf, (size_t)n) >= 0))
		return;
	sconce_close(s, SCONCE_REASON_EOF);
}

static void
guest_destroy(struct sconce_sock *s)
{
	free(SCONCE_CONTAINER_OF(s, struct guest, sock));
}

static const struct sconce_sock_ops guest_ops = {
	.name = "guest", .event_read = guest_event_read, .destroy = guest_destroy,
};

static int
door_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct guest *g = malloc(sizeof(*g));
	int r = g == NULL ? -ENOMEM : sconce_sock_init(&g->sock, l->sock.loop, &guest_ops, fd);

	(void)peer;
	if (r < 0)
		free(g);
	return r;
}

static const struct sconce_listener_ops door_ops = { .name = "door", .accept = door_accept };

static bool
give(struct sconce_fleet *f, void *arg, struct sconce_fleet_target *target_out)
{
	(void)f, (void)arg;
	if (v.given == TARGETS)
		return false;
	target_out->endpoint = ++v.given % 3 == 0 ? "no port" : v.endpoint;
	return true;
}

static void
note_done(struct sconce_fleet *f, void *arg)
{
	(void)arg;
	v.wrong |= f->count != 0;
	v.dones++;
}

static void
allow(int r)
{
	v.wrong |= r < 0 && r != -ENOMEM;
}

static void
run(struct sconce_loop *loop)
{
	static const char *const bind[] = { "127.0.0.1", "127.0.0.2" };
	struct sconce_fleet_options opts = { .max_in_flight = 3, .bind = bind, .bind_count = 2 };
	struct sconce_fleet_target t = { .endpoint = v.endpoint, .bind = "127.0.0.3" };
	struct sconce_fail fail;
	int r;

	r = sconce_listen(&v.door, loop, &door_ops, "127.0.0.1:0", NULL);
	allow(r);
	if (r < 0)
		return;
	sconce_addr_text(&v.door.addr, v.endpoint, sizeof(v.endpoint));
	r = sconce_fleet_init(&v.fleet, loop, &probe_ops, &opts);
	allow(r);
	if (r < 0)
		return;
	r = sconce_fleet_connect(&v.fleet, v.endpoint, NULL, NULL, &fail);
	allow(r);
	v.wrong |= r < 0 && (fail.errnum != ENOMEM || fail.text[0] == '\0');
	v.begun += r == 0;
	r = sconce_fleet_queue(&v.fleet, NULL, &t, NULL);
	allow(r);
	v.queued += r == 0;
	sconce_fleet_feed(&v.fleet, give, NULL);
	for (int i = 0; i < 40; i++)
		sconce_loop_step(loop, 0);
}

/* With memory again: what was left is done. */
static void
finish(struct sconce_loop *loop)
{
	if (v.fleet._f == NULL)
		return;
	for (int i = 0; i < STEPS && (v.given < TARGETS || v.fleet.count > 0 || v.fleet.waiting > 0); i++)
		sconce_loop_step(loop, 0.002);
	v.wrong |= v.given != TARGETS || v.fleet.count != 0 || v.fleet.waiting != 0;
	v.wrong |= v.fleet.started != v.begun + v.queued + TARGETS;
	sconce_fleet_stop(&v.fleet, 1, note_done, NULL);
	sconce_loop_step(loop, 0);
	v.wrong |= v.dones != 1;
	sconce_fleet_fini(&v.fleet);
}

START_TEST(test_fleet_allocation_n_fails)
{
	struct sconce_loop_options opts = { .backend = backend_poll() };	/* libev aborts where it has no memory */
	int n;

	if (!STARVE_WORKS)
		return;
	for (n = 1; n < MAX_N; n++) {
		struct sconce_loop *loop = NULL;

		memset(&v, 0, sizeof(v));
		starve_failed = 0;
		starve_left = n;
		if (sconce_loop_new(&opts, &loop) == 0)
			run(loop);
		starve_left = 0;
		if (loop != NULL)
			finish(loop);
		ck_assert_int_eq(sconce_loop_free(loop), 0);
		ck_assert_msg(!v.wrong, "allocation %d: given %u, begun %u, queued %u, init %u, failed %u, closed %u, done %u", n,
		    v.given, v.begun, v.queued, v.inits, v.failed, v.closed, v.dones);
		ck_assert_uint_eq(v.inits, v.closed);
		if (starve_failed == 0)
			break;
	}
	ck_assert_int_gt(n, 60);
	ck_assert_int_lt(n, MAX_N);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("fleet_oom");
	TCase *tcase = t_case(suite, "oom");

	tcase_add_test(tcase, test_fleet_allocation_n_fails);
	return suite;
}

/* What the tests of fleets share: a type of connection that writes down what it is told, in one log of all connections
 * ("a.init a.connected a.record(hello) a.closed "), and does what the test put into `on`.  The other ends are plain sockets. */
#ifndef TEST_FLEET_H
#define TEST_FLEET_H

#include "test_net.h"

#include <stdarg.h>

#include <sconce/fleet.h>

struct probe {
	char before[24];		/* the connection is not the first member */
	struct sconce_fleet_conn conn;
	unsigned inits, results, ends, closes;	/* init; connected or failed; error or timeout; closed */
};

static struct sconce_fleet fleet;
static char fleet_log[8192];
static uint64_t log_id;			/* of the connection that was told last */

/* What the hooks do besides. */
static struct {
	void (*init)(struct sconce_fleet_conn *c), (*connected)(struct sconce_fleet_conn *c), (*drained)(struct sconce_fleet_conn *c);
	void (*closed)(struct sconce_fleet_conn *c);
	void (*failed)(struct sconce_fleet_conn *c, const struct sconce_fail *fail);
	void (*error)(struct sconce_fleet_conn *c, const struct sconce_fail *fail);
	void (*timeout)(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase);
	void (*record)(struct sconce_fleet_conn *c, const struct sconce_record *rec);
} on;

static const char *const reasons[] = {
	"none", "local", "eof", "error", "timeout", "connect", "hup", "abort", "overflow", "detach", "loop",
};

static struct probe *
probe_of(struct sconce_fleet_conn *c)
{
	return SCONCE_CONTAINER_OF(c, struct probe, conn);
}

/* Its name in the log is what was given as `arg`. */
static void __attribute__((format(printf, 2, 3)))
say(struct sconce_fleet_conn *c, const char *format, ...)
{
	size_t len = strlen(fleet_log);
	va_list args;
	int n = snprintf(fleet_log + len, sizeof(fleet_log) - len, "%s.", c->arg != NULL ? (const char *)c->arg : "");

	va_start(args, format);
	if (n > 0 && len + (size_t)n < sizeof(fleet_log))
		vsnprintf(fleet_log + len + n, sizeof(fleet_log) - len - (size_t)n, format, args);
	va_end(args);
	log_id = sconce_fleet_id(c);
}

static void
probe_init(struct sconce_fleet_conn *c)
{
	struct probe *p = probe_of(c);

	ck_assert_uint_eq(p->inits++ + p->results + p->ends + p->closes, 0);
	say(c, "init ");
	if (on.init != NULL)
		on.init(c);
}

static void
probe_connected(struct sconce_fleet_conn *c)
{
	struct probe *p = probe_of(c);

	ck_assert(p->inits == 1 && p->results++ == 0 && p->ends == 0 && p->closes == 0);
	say(c, "connected ");
	if (on.connected != NULL)
		on.connected(c);
}

static void
probe_failed(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct probe *p = probe_of(c);

	ck_assert(p->inits == 1 && p->results++ == 0 && p->closes == 0);
	say(c, "failed(%s %d) ", fail->operation, fail->errnum);
	ck_assert_str_ne(fail->text, "");
	if (on.failed != NULL)
		on.failed(c, fail);
}

static void
probe_record(struct sconce_fleet_conn *c, const struct sconce_record *rec)
{
	struct probe *p = probe_of(c);

	ck_assert(p->results == 1 && p->closes == 0);
	say(c, "record(%.*s) ", (int)(rec->len < 40 ? rec->len : 40), (const char *)rec->data);
	if (on.record != NULL)
		on.record(c, rec);
}

static void
probe_drained(struct sconce_fleet_conn *c)
{
	say(c, "drained ");
	if (on.drained != NULL)
		on.drained(c);
}

static void
probe_error(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct probe *p = probe_of(c);

	ck_assert(p->results == 1 && p->ends++ == 0 && p->closes == 0);
	say(c, "error(%s %d) ", fail->operation, fail->errnum);
	ck_assert_str_ne(fail->text, "");
	if (on.error != NULL)
		on.error(c, fail);
}

static void
probe_timeout(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase)
{
	struct probe *p = probe_of(c);

	ck_assert(p->inits == 1 && p->closes == 0);
	say(c, "timeout(%s) ", phase == SCONCE_FLEET_OPEN ? "open" : phase == SCONCE_FLEET_CONNECTING ? "connecting" : "?");
	if (on.timeout != NULL)
		on.timeout(c, phase);
}

static void
probe_closed(struct sconce_fleet_conn *c)
{
	struct probe *p = probe_of(c);
	int reason = c->stream.sock.reason;

	ck_assert(p->inits == 1 && p->closes++ == 0);
	ck_assert_int_eq(sconce_fleet_phase(c), SCONCE_FLEET_ENDING);
	say(c, "closed(%s) ", reason < (int)(sizeof(reasons) / sizeof(reasons[0])) ? reasons[reason] : "user");
	if (on.closed != NULL)
		on.closed(c);
}

#define PROBE_OPS \
	.name = "probe", .size = sizeof(struct probe), .offset = offsetof(struct probe, conn), \
	.init = probe_init, .connected = probe_connected, .failed = probe_failed, .drained = probe_drained, \
	.error = probe_error, .timeout = probe_timeout, .closed = probe_closed

static const struct sconce_fleet_ops probe_ops NET_UNUSED = { PROBE_OPS, .record = probe_record };

static NET_UNUSED void
fleet_clear(void)
{
	memset(&on, 0, sizeof(on));
	fleet_log[0] = '\0';
}

/* The fixture of most: the loop, and `fleet` with default options. */
static NET_UNUSED void
fleet_setup(void)
{
	fleet_clear();
	net_setup();
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, NULL), 0);
}

static NET_UNUSED void
fleet_setup_with(const struct sconce_fleet_options *opts)
{
	fleet_clear();
	net_setup();
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, opts), 0);
}

/* Every connection has been told its end, whoever ended it. */
static NET_UNUSED void
fleet_check_tally(const struct sconce_fleet *f)
{
	ck_assert_uint_eq(f->count, 0);
	ck_assert_uint_eq(f->started, f->closed);
	ck_assert_uint_le(f->connected + f->failed, f->started);
}

static NET_UNUSED void
fleet_teardown(void)
{
	net_teardown();
	fleet_check_tally(&fleet);
	sconce_fleet_fini(&fleet);
}

static NET_UNUSED TCase *
fleet_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, fleet_setup, fleet_teardown);
	return tcase;
}

/* Begins a connection that is called `name` in the log. */
static NET_UNUSED struct sconce_fleet_conn *
fleet_begin(struct sconce_fleet *f, const char *endpoint, const char *name)
{
	struct sconce_fleet_target t = { .arg = (void *)(uintptr_t)name };
	struct sconce_fleet_conn *c = NULL;
	struct sconce_fail fail = { .errnum = 0 };
	int r = sconce_fleet_connect(f, endpoint, &t, &c, &fail);

	ck_assert_msg(r == 0, "%s", fail.text);
	return c;
}

/* One connection that is open, and its other end in *peer_out. */
static NET_UNUSED struct sconce_fleet_conn *
fleet_open(struct sconce_fleet *f, const char *name, int *peer_out)
{
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text));
	uint64_t before = f->connected;
	struct sconce_fleet_conn *c = fleet_begin(f, text, name);

	*peer_out = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(*peer_out, 0);
	close(lfd);
	NET_UNTIL(f->connected == before + 1);
	return c;
}

static NET_UNUSED void
plain_say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* A listener that accepts nothing and whose backlog is full: who connects now gets no answer.  Its two guests are in `guests`. */
static NET_UNUSED int
plain_full(char *text, size_t size, int guests[2])
{
	int lfd = plain_listen(0, text, size);
	struct sconce_addr a;

	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	guests[0] = plain_connect(&a);
	guests[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	connect(guests[1], &a.any, a.len);
	return lfd;
}

static NET_UNUSED void
plain_full_close(int lfd, int guests[2])
{
	close(guests[0]);
	close(guests[1]);
	close(lfd);
}

#endif

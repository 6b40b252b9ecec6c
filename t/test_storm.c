/* Everything at once: sockets that write, lend, read, push back, pause, transfer, half-close, close, detach and hold at random, from
 * every hook, over a kernel that interrupts, shortens, refuses, resets and runs out of memory.  Every byte that arrives is the
 * right one, every completion runs once and in order, every object is destroyed once, and when it is over nothing is stuck.
 *
 * STORM_SEED=n runs that seed alone, STORM_SEEDS=n so many. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS = 8, TURNS = 60, PERIOD = 251, BULK = 1024 * 1024, LARGEST = 300 * 1024 };

struct conn {
	struct sconce_sock sock;
	struct conn *peer;
	bool destroyed, err, saw_end;
	bool gone;			/* detached, or sends what another socket reads: nobody knows which bytes */
	bool blind;			/* a transfer has taken of what it reads */
	uint64_t sent, received;	/* bytes accepted; bytes read and not pushed back */
	unsigned asked, answered;	/* completions */
	unsigned last;			/* number of the last one that ran with 0 */
	int holds;
	struct sconce_timer timer;
};

struct asked {
	struct conn *conn;
	unsigned number;
	bool ordered;			/* among the others of its socket */
};

static struct conn conns[CONNS];
static struct sconce_loop *loop;
static unsigned seed, destroys;
static uint64_t state;
static bool calm;			/* no more deeds: what is under way ends */
static int file;
static char pattern[BULK + PERIOD];

static unsigned
roll(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

static struct conn *
conn_of(const struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct conn, sock);
}

static void deeds(struct conn *c, int count);

/* ---- writing ---- */

static void
done(struct sconce_sock *s, void *arg, int status)
{
	struct asked *a = arg;
	struct conn *c = a->conn;

	ck_assert_ptr_eq(conn_of(s), c);
	ck_assert_int_le(status, 0);
	if (status == 0 && a->ordered) {
		ck_assert_msg(a->number > c->last, "seed %u: completion %u after %u", seed, a->number, c->last);
		c->last = a->number;
	}
	c->answered++;
	free(a);
	if (roll(4) == 0)
		deeds(c, 1);
}

static struct asked *
ask(struct conn *c, bool ordered)
{
	struct asked *a = malloc(sizeof(*a));

	ck_assert_ptr_nonnull(a);
	*a = (struct asked){ .conn = c, .number = ++c->asked, .ordered = ordered };
	return a;
}

static size_t
size(void)
{
	static const size_t up_to[] = { 4, 200, 5000, 70000, LARGEST };

	return 1 + roll((unsigned)up_to[roll(5)]);
}

static void
send_some(struct conn *c)
{
	uint64_t at = c->sent % PERIOD;
	char *from = pattern + at;
	size_t n = size();
	struct iovec iov[2] = { { from, n / 3 }, { from + n / 3, n - n / 3 } };
	struct asked *a;
	int r;

	if (sconce_queued(&c->sock) > 4 * LARGEST)
		return;
	switch (roll(6)) {
	case 0:
		r = sconce_writev(&c->sock, iov, 2);
		break;
	case 1:
		n = 0;
		r = sconce_write_cb(&c->sock, done, ask(c, true));
		break;
	case 2:
		a = roll(2) ? ask(c, true) : NULL;
		r = sconce_write_ref(&c->sock, from, n, a != NULL ? done : NULL, a);
		break;
	case 3:
		a = roll(2) ? ask(c, true) : NULL;
		r = sconce_write_file(&c->sock, file, (off_t)at, n, a != NULL ? done : NULL, a);
		break;
	default:
		r = sconce_write(&c->sock, from, n);
	}
	if (r >= 0)
		c->sent += n;
}

/* ---- reading ---- */

static void
read_some(struct conn *c)
{
	static char buf[128 * 1024];
	const void *data = buf;
	size_t back;
	ssize_t n = roll(2) ? sconce_read_shared(&c->sock, &data) : sconce_read(&c->sock, buf, 1 + roll(sizeof(buf)));

	if (n == 0) {
		c->saw_end = true;
		if (!calm && roll(2))
			sconce_close(&c->sock, SCONCE_REASON_EOF);
	}
	if (n <= 0)
		return;
	if (!c->peer->gone && !c->blind)
		ck_assert_msg(memcmp(data, pattern + c->received % PERIOD, (size_t)n) == 0, "seed %u: wrong bytes at %lu", seed,
			(unsigned long)c->received);
	c->received += (size_t)n;
	if (calm || roll(4) != 0)
		return;
	back = 1 + roll((unsigned)n);
	if (sconce_unread(&c->sock, (const char *)data + (size_t)n - back, back) == 0)
		c->received -= back;
}

/* ---- ends and wishes ---- */

static void
release(struct sconce_loop *l, void *arg, int status)
{
	struct conn *c = arg;

	(void)l;
	(void)status;
	c->holds--;
	sconce_release(&c->sock);
}

static void
release_fd(struct sconce_loop *l, void *arg, int status)
{
	struct conn *c = arg;

	(void)l;
	(void)status;
	c->holds--;
	sconce_release_fd(&c->sock);
}

static void
hold(struct conn *c)
{
	bool fd = roll(2);

	if (fd)
		sconce_hold_fd(&c->sock);
	else
		sconce_hold(&c->sock);
	c->holds++;
	if (sconce_defer(loop, NULL, fd ? release_fd : release, c) < 0)
		(fd ? release_fd : release)(loop, c, 0);
}

static void
later(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	if (status == 0)
		deeds(arg, 2);
}

static void
join(struct conn *from, struct conn *to)
{
	if (from == to || to->destroyed)
		return;
	from->blind = to->gone = true;
	if (roll(3) > 0) {
		sconce_transfer(&from->sock, &to->sock, roll(2) ? SCONCE_TO_END : roll(200000), done, ask(to, true));
		return;
	}
	from->gone = to->blind = true;
	sconce_relay(&from->sock, &to->sock, done, ask(from, false));
}

static void
end_it(struct conn *c)
{
	static char buf[BULK];
	size_t len;
	int fd;

	switch (roll(6)) {
	case 0: sconce_close(&c->sock, SCONCE_REASON_LOCAL); break;
	case 1: sconce_close_flush(&c->sock, 0.01); break;
	case 2: sconce_abort(&c->sock); break;
	case 3:
		fd = sconce_detach(&c->sock, buf, sizeof(buf), &len);
		if (fd < 0)
			break;
		c->gone = true;
		close(fd);
		break;
	default: sconce_shutdown(&c->sock, roll(4) == 0 ? SHUT_RDWR : SHUT_WR);
	}
}

static void
wish(struct conn *c)
{
	switch (roll(12)) {
	case 0: sconce_watch_read(&c->sock, false); break;
	case 1: case 2: sconce_watch_read(&c->sock, true); break;
	case 3: sconce_watch_write(&c->sock, roll(2)); break;
	case 4: sconce_set_gather(&c->sock, roll(2)); break;
	case 5: sconce_flush(&c->sock); break;
	case 6: sconce_pause(&c->sock, SCONCE_PAUSE_APP); break;
	case 7: case 8: sconce_resume(&c->sock, SCONCE_PAUSE_APP); break;
	case 9: sconce_set_marks(&c->sock, roll(1000), 1000 + roll(100000)); break;
	case 10: sconce_set_timeout(&c->sock, (enum sconce_timeout_kind)roll(SCONCE_TIMEOUT_KINDS), roll(3) * 0.001); break;
	default:
		sconce_timer_start(&c->timer, roll(3) * 0.0005);
		sconce_timer_bind(&c->timer, &c->sock);
	}
}

static void
deed(struct conn *c)
{
	switch (roll(24)) {
	case 0: sconce_defer(loop, &c->sock, later, c); break;
	case 1: case 2: hold(c); break;
	case 3:
		if (roll(4) == 0)
			end_it(c);
		break;
	case 4:
		if (roll(8) == 0)
			join(c, &conns[roll(CONNS)]);
		break;
	case 5: read_some(c); break;
	case 6: case 7: case 8: case 9: case 10: case 11: send_some(c); break;
	default: wish(c);
	}
}

/* Does things to `c`, or to any other. */
static void
deeds(struct conn *c, int count)
{
	for (int i = 0; i < count && !calm; i++) {
		if (c == NULL || c->destroyed || roll(4) == 0)
			c = &conns[roll(CONNS)];
		if (!c->destroyed)
			deed(c);
	}
}

/* ---- hooks ---- */

static void event_read(struct sconce_sock *s) { read_some(conn_of(s)); deeds(conn_of(s), (int)roll(3)); }
static void event_some(struct sconce_sock *s) { deeds(conn_of(s), (int)roll(3)); }
static void event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind) { deeds(conn_of(s), kind % 2 + 1); }
static void tick(struct sconce_timer *t, void *arg) { (void)t; deeds(arg, 2); }

static void
event_write(struct sconce_sock *s)
{
	if (roll(2))
		sconce_watch_write(s, false);
	deeds(conn_of(s), 1);
}

static void
event_err(struct sconce_sock *s, int errnum)
{
	ck_assert_int_gt(errnum, 0);
	ck_assert(!conn_of(s)->err);
	conn_of(s)->err = true;
	deeds(conn_of(s), 1);
}

static void
destroy(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);

	ck_assert(!c->destroyed);
	ck_assert(calm || c->holds == 0);
	ck_assert_msg(c->answered == c->asked, "seed %u: %u completions asked, %u ran", seed, c->asked, c->answered);
	c->destroyed = true;
	destroys++;
	deeds(NULL, 1);
}

static const struct sconce_sock_ops conn_ops = {
	.name = "conn", .event_read = event_read, .event_write = event_write, .event_err = event_err, .event_hup = event_some,
	.event_low = event_some, .event_high = event_some, .event_drain = event_some, .event_timeout = event_timeout,
	.event_close = event_some, .destroy = destroy,
};

/* ---- the storm ---- */

static void
weather(void)
{
	static const size_t limits[] = { 0, 0, 1, 7, 1000, 50000 };
	const struct conn *c = &conns[roll(CONNS)];

	fault.eintr = roll(4) == 0;
	fault.fd = !c->destroyed && c->sock.fd > 0 ? c->sock.fd : 0;
	fault.max_send = limits[roll(6)];
	fault.max_recv = limits[roll(6)];
	fault.send_again = roll(4) == 0 ? roll(5) : 0;
	fault.recv_again = roll(4) == 0 ? roll(3) : 0;
	fault.send_errno = roll(60) == 0 ? ECONNRESET : 0;
	fault.recv_errno = roll(60) == 0 ? ECONNRESET : 0;
	fault.no_splice = roll(8) == 0;
	fault.alloc_fail = roll(6) == 0 ? 1 + roll(10) : 0;
}

static void
calm_down(struct conn *c)
{
	if (c->destroyed || c->sock.closed)
		return;
	sconce_watch_read(&c->sock, true);
	sconce_resume(&c->sock, SCONCE_PAUSE_APP);
	sconce_watch_write(&c->sock, false);
	sconce_timer_stop(&c->timer);
	for (int k = 0; k < SCONCE_TIMEOUT_KINDS; k++)
		sconce_set_timeout(&c->sock, (enum sconce_timeout_kind)k, 0);
}

static bool
is_open(const struct conn *c)
{
	return !c->destroyed && !c->sock.closed && !c->gone && !c->err;
}

/* Whoever is open and sends reaches a peer that is open and reads. */
static void
check_flow(struct conn *c)
{
	struct conn *to = c->peer;
	uint64_t got;

	if (!is_open(c) || sconce_write(&c->sock, "", 0) < 0 || !is_open(to) || to->saw_end || to->blind || sconce_paused(&to->sock) != 0)
		return;
	ck_assert_msg(c->asked == c->answered, "seed %u: a completion is stuck", seed);
	ck_assert_msg(sconce_queued(&c->sock) == 0, "seed %u: %lu bytes are stuck", seed, (unsigned long)sconce_queued(&c->sock));
	got = to->received + sconce_unread_bytes(&to->sock);	/* what was pushed back without progress waits for more */
	ck_assert_msg(got == c->sent, "seed %u: %lu sent, %lu arrived", seed, (unsigned long)c->sent, (unsigned long)got);
}

static void
settle(void)
{
	calm = true;
	memset(&fault, 0, offsetof(struct fault, send));
	for (int i = 0; i < CONNS; i++)
		calm_down(&conns[i]);
	for (int quiet = 0, turns = 0; quiet < 4 && turns < 3000; turns++)
		quiet = sconce_loop_step(loop, 0.004) > 0 ? 0 : quiet + 1;
	sconce_verify(loop);
	for (int i = 0; i < CONNS; i++)
		check_flow(&conns[i]);
}

static void
begin(unsigned n)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	int fds[2];

	seed = n;
	state = n;
	calm = false;
	destroys = 0;
	memset(conns, 0, sizeof(conns));
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	for (int i = 0; i < CONNS; i++) {
		if (i % 2 == 0)
			wire_make((enum wire)(i / 2 % WIRES), fds);
		conns[i].peer = &conns[i ^ 1];
		ck_assert_int_eq(sconce_sock_init(&conns[i].sock, loop, &conn_ops, fds[i % 2]), 0);
		sconce_timer_init(&conns[i].timer, loop, tick, &conns[i]);
	}
}

static void
run_seed(unsigned n)
{
	begin(n);
	for (int turn = 0; turn < TURNS; turn++) {
		weather();
		deeds(NULL, 3);
		ck_assert_int_ge(sconce_loop_step(loop, roll(4) == 0 ? 0.0005 : 0), 0);
		if (turn % 8 == 0)
			sconce_verify(loop);
	}
	settle();
	for (int i = 0; i < CONNS; i++)
		sconce_timer_bind(&conns[i].timer, NULL);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert_uint_eq(destroys, CONNS);
	ck_assert_msg(fault.live == 0, "seed %u: %ld allocations leaked", seed, fault.live);
}

/* Two halves of the seeds.  HZ-1, HZ-11, HZ-22 */
START_TEST(test_storm_leaves_nothing_wrong)
{
	const char *one = getenv("STORM_SEED"), *many = getenv("STORM_SEEDS");
	unsigned count = many != NULL ? (unsigned)atoi(many) : 120;

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i % PERIOD);
	file = memfd_create("pattern", MFD_CLOEXEC);
	ck_assert_int_eq(write(file, pattern, sizeof(pattern)), (ssize_t)sizeof(pattern));
	if (one != NULL)
		run_seed((unsigned)atoi(one));
	else
		for (unsigned n = (unsigned)_i; n < count; n += 2)
			run_seed(n);
	close(file);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("storm");
	TCase *c = t_case(s, "storm");

	tcase_set_timeout(c, 600);
	tcase_add_loop_test(c, test_storm_leaves_nothing_wrong, 0, 2);
	return s;
}

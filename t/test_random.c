/* Random runs of the socket object: any calls, from hooks and outside, over a wire that fails, with little memory.  What arrives
 * is always a prefix of what was written, completions come once, and once the faults end everything arrives. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENDS = 6, ROUNDS = 300, STREAM = 4 * 1024 * 1024 };

static struct pair p;
static char stream[STREAM];
static int file;
static uint64_t seed;

/* What the test knows of an end beyond `struct end`. */
struct side {
	struct end *e, *peer;
	uint64_t wrote, got;		/* bytes accepted here; bytes of the peer's that were consumed here */
	int pending;			/* completions that must come */
	bool out, high;			/* still writing; the last of high and low was high */
	bool holding;
};
static struct side sides[ENDS];
static bool settling;

static unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static struct side *
side_of(struct end *e)
{
	return e->arg;
}

static void
completed(struct sconce_sock *s, void *arg, int status)
{
	struct side *d = arg;

	(void)s;
	ck_assert_int_le(status, 0);
	ck_assert_int_gt(d->pending, 0);
	d->pending--;
}

static void
account(struct side *d, int r, uint64_t n)
{
	if (r >= 0)
		d->wrote += n;
	else
		ck_assert(r == -EPIPE || r == -ENOMEM || r == -ENOBUFS);
}

static size_t
some(void)
{
	static const unsigned sizes[] = { 10, 300, 5000, 40000, 100000 };

	return 1 + rnd(sizes[rnd(5)]);
}

static void
write_some(struct side *d)
{
	struct sconce_sock *s = &d->e->sock;
	size_t n = some(), cut = rnd((unsigned)n + 1);
	char *at = stream + d->wrote;
	struct iovec iov[3] = { { at, cut / 2 }, { at + cut / 2, cut - cut / 2 }, { at + cut, n - cut } };

	if (d->wrote + n > STREAM || d->e->destroys > 0)
		return;
	switch (rnd(6)) {
	case 0:
	case 1:
		account(d, sconce_write(s, at, n), n);
		break;
	case 2:
		account(d, sconce_writev(s, iov, 3), n);
		break;
	case 3:
		d->pending++;
		account(d, sconce_write_ref(s, at, n, completed, d), n);
		break;
	case 4:
		d->pending++;
		account(d, sconce_write_file(s, file, (off_t)d->wrote, n, completed, d), n);
		break;
	case 5:
		d->pending++;
		account(d, sconce_write_cb(s, completed, d), 0);
		break;
	}
}

static void
do_something(struct side *d)
{
	struct sconce_sock *s = &d->e->sock;

	if (d->e->destroys > 0 || settling)
		return;
	switch (rnd(16)) {
	case 0:
		sconce_watch_read(s, rnd(2));
		break;
	case 1:
		sconce_watch_write(s, rnd(4) == 0);
		break;
	case 2:
		sconce_set_gather(s, rnd(2));
		break;
	case 3:
		sconce_flush(s);
		break;
	case 4:
		sconce_set_marks(s, rnd(1000), 1000 + rnd(20000));
		break;
	case 5:
		sconce_set_cap(s, rnd(2) ? 50000 : 100000000);
		break;
	case 6:
		if (!d->holding)
			sconce_hold(s);
		else
			sconce_release(s);
		d->holding = !d->holding;
		break;
	case 7:
		rnd(2) ? sconce_pause(s, SCONCE_PAUSE_APP) : sconce_resume(s, SCONCE_PAUSE_APP);
		break;
	default:
		write_some(d);
		if (rnd(2))
			write_some(&sides[rnd(ENDS)]);
		break;
	}
}

/* Consumes what was read, or pushes a part of it back. */
static void
consume(struct side *d, const char *data, size_t n)
{
	size_t back = rnd(4) == 0 ? rnd((unsigned)n) : 0;
	struct side *from = side_of(d->peer);

	ck_assert_uint_le(d->got + n, from->wrote);
	ck_assert_msg(memcmp(data, stream + d->got, n) == 0, "wrong bytes at %lu", (unsigned long)d->got);
	if (back > 0 && sconce_unread(&d->e->sock, data + n - back, back) < 0)
		back = 0;
	d->got += n - back;
}

static void
on_read(struct end *e)
{
	struct side *d = side_of(e);
	static char buf[70000];
	const void *data = buf;
	ssize_t n;

	for (int i = rnd(3); i >= 0; i--) {
		if (rnd(2))
			n = sconce_read(&e->sock, buf, some() % sizeof(buf) + 1), data = buf;
		else
			n = sconce_read_shared(&e->sock, &data);
		if (n > 0)
			consume(d, data, (size_t)n);
		else
			ck_assert(n == 0 || n == -EAGAIN || n == -ENOMEM || n == -ECONNRESET || n == -EPIPE);
		if (n == 0)
			e->ended = true;
	}
	if (rnd(3) == 0)
		do_something(d);
}

static void
on_any(struct end *e)
{
	if (rnd(2))
		do_something(side_of(e));
}

static void
on_high(struct end *e)
{
	ck_assert(!side_of(e)->high);
	side_of(e)->high = true;
	on_any(e);
}

static void
on_low(struct end *e)
{
	ck_assert(side_of(e)->high);
	side_of(e)->high = false;
	on_any(e);
}

static void
start(void)
{
	struct sconce_loop_options opts = { .backend = fault_backend(), .high = 50000, .low = 10000 };
	int fds[2];

	settling = false;
	pair_open_loop(&p, &opts);
	memset(sides, 0, sizeof(sides));
	for (int i = 0; i < ENDS; i += 2) {
		enum wire wire = rnd(2) ? WIRE_TCP : WIRE_UNIX;

		wire_make(wire, fds);
		if (wire == WIRE_UNIX && rnd(2))	/* (a narrow TCP waits for timers) */
			wire_narrow(fds[0]);
		sides[i].e = end_open(&p, "l", NULL, fds[0]);
		sides[i + 1].e = end_open(&p, "r", NULL, fds[1]);
		sides[i].peer = sides[i + 1].e;
		sides[i + 1].peer = sides[i].e;
	}
	for (int i = 0; i < ENDS; i++) {
		struct end *e = sides[i].e;

		e->arg = &sides[i];
		sides[i].out = true;
		e->on.read = on_read;
		e->on.write = e->on.drain = on_any;
		e->on.high = on_high;
		e->on.low = on_low;
	}
	fault.eintr = rnd(2);
}

static void
disturb(bool memory)
{
	static const size_t limits[] = { 0, 0, 1, 100, 7777 };

	fault.max_send = limits[rnd(5)];
	fault.max_recv = limits[rnd(5)];
	fault.send_again = rnd(3) == 0 ? rnd(4) : 0;
	fault.recv_again = rnd(3) == 0 ? rnd(3) : 0;
	fault.no_splice = rnd(2);
	fault.alloc_fail = memory && rnd(2) ? 1 + rnd(6) : 0;
	fault.alloc_fail_all = rnd(8) == 0;
}

static void
calm(void)
{
	fault.max_send = fault.max_recv = 0;
	fault.send_again = fault.recv_again = 0;
	fault.alloc_fail = 0;
	fault.alloc_fail_all = false;
	fault.eintr = false;
}

static bool
all_arrived(void)
{
	for (int i = 0; i < ENDS; i++) {
		struct side *d = &sides[i], *from = side_of(d->peer);

		if (d->e->destroys > 0 || d->peer->destroys > 0 || d->e->sock.closed || d->peer->sock.closed)
			continue;
		if (d->got < from->wrote || sconce_queued_items(&d->e->sock) > 0)
			return false;
	}
	return true;
}

/* Reads everything; nothing else happens any more. */
static void
read_all(struct end *e)
{
	struct side *d = side_of(e);
	static char buf[65536];
	ssize_t n;

	while ((n = sconce_read(&e->sock, buf, sizeof(buf))) > 0) {
		ck_assert_uint_le(d->got + (size_t)n, side_of(d->peer)->wrote);
		ck_assert(memcmp(buf, stream + d->got, (size_t)n) == 0);
		d->got += (size_t)n;
	}
}

static void
settle(void)
{
	calm();
	settling = true;
	for (int i = 0; i < ENDS; i++) {
		struct end *e = sides[i].e;

		if (e->destroys > 0)
			continue;
		e->on.read = read_all;
		e->on.write = e->on.drain = NULL;
		sconce_resume(&e->sock, SCONCE_PAUSE_APP);
		sconce_watch_read(&e->sock, true);
		sconce_watch_write(&e->sock, false);
	}
	for (int i = 0; i < 3000 && !all_arrived(); i++)
		sconce_loop_step(p.loop, 0.002);
	if (!all_arrived())
		sconce_dump(p.loop, stderr);
	ck_assert_msg(all_arrived(), "something never arrived");
}

/* Ends all of them, each in some way. */
static void
finish(void)
{
	int fd;

	for (int i = 0; i < ENDS; i++) {
		struct end *e = sides[i].e;

		if (e->destroys > 0)
			continue;
		switch (rnd(6)) {
		case 0:
			sconce_close(&e->sock, 0);
			break;
		case 1:
			sconce_abort(&e->sock);
			break;
		case 2:
			sconce_close_flush(&e->sock, 0.01);
			break;
		case 3:
			sconce_shutdown(&e->sock, (int)rnd(3));
			break;
		case 4:
			fd = sconce_detach(&e->sock, stream, 0, NULL);
			if (fd >= 0)
				close(fd);
			break;
		default:
			break;
		}
		write_some(&sides[i]);
	}
	pair_turn(&p, (int)rnd(4));
	for (int i = 0; i < ENDS; i++)
		if (sides[i].holding && sides[i].e->destroys == 0)
			sconce_release(&sides[i].e->sock);
	pair_free(&p);
	for (int i = 0; i < ENDS; i++)
		ck_assert_int_eq(sides[i].pending, 0);
	ck_assert_int_eq(fault.live, 0);
}

static void
run(uint64_t with, bool memory)
{
	seed = with * 7919 + 1;
	rnd(1);
	start();
	for (int i = 0; i < ROUNDS; i++) {
		if (rnd(10) == 0)
			disturb(memory);
		for (int n = rnd(4); n > 0; n--)
			do_something(&sides[rnd(ENDS)]);
		sconce_loop_step(p.loop, 0);
		sconce_verify(p.loop);
	}
	if (rnd(2))
		settle();
	calm();
	finish();
}

/* HZ-8, HZ-11: short and refused sends, interruptions, everything in any order. */
START_TEST(test_random_calls)
{
	for (uint64_t i = 0; i < 4; i++)
		run((uint64_t)_i * 10 + i, false);
}
END_TEST

/* HZ-22: the same while memory comes and goes. */
START_TEST(test_random_calls_with_little_memory)
{
	for (uint64_t i = 0; i < 4; i++)
		run((uint64_t)_i * 10 + i + 5000, true);
}
END_TEST

static void
setup(void)
{
	bytes_fill(stream, sizeof(stream), 0);
	file = memfd_create("t", MFD_CLOEXEC);
	ck_assert_int_eq(write(file, stream, sizeof(stream)), (ssize_t)sizeof(stream));
}

static void
teardown(void)
{
	close(file);
}

Suite *
t_suite(void)
{
	Suite *s = suite_create("random");
	TCase *c = t_case(s, "random");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 30);
	tcase_add_loop_test(c, test_random_calls, 0, 10);
	tcase_add_loop_test(c, test_random_calls_with_little_memory, 0, 10);
	return s;
}

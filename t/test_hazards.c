/* The hazards of this kind of program (rows HZ), each on real sockets. */
#include "harness.h"
#include "pair.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pair p;

static void
reset(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	close(fd);
}

/* ---- HZ-1: every hook x everything that ends sockets ---- */

enum place { AT_READ, AT_WRITE, AT_ERR, AT_HUP, AT_CONNECT, AT_LOW, AT_HIGH, AT_DRAIN, AT_TIMEOUT, AT_CLOSE, AT_DESTROY,
	AT_DONE, AT_CANCELLED, AT_TIMER, AT_DEFER, AT_POSTED, AT_SOCK_POST, AT_LOOP_POST, AT_TRANSFER, AT_UNREAD, PLACES };
static const char *const place_names[] = { "read", "write", "err", "hup", "connect", "low", "high", "drain", "timeout", "close",
	"destroy", "done", "cancelled", "timer", "defer", "posted", "sock_post", "loop_post", "transfer", "unread" };

enum deed { CLOSE_SELF, CLOSE_PEER, CLOSE_ALL, CLOSE_THEN_WRITE, CLOSE_IN_POST_LOOP, CLOSE_TWICE, ABORT_OTHERS, CLOSE_FLUSH, SHUT_BOTH,
	DETACH, HOLD_AND_CLOSE, DEEDS };

enum { ENDS = 9 };

static struct {
	enum place place;
	enum deed deed;
	int skip;			/* so many times the place is passed before the deed */
	int done;
	struct end *held;
	struct counted late;
	struct sconce_timer timer;
	bool post_closes;
} deed;

static struct end *
end_at(int i)
{
	return i == 0 ? &p.a : i == 1 ? &p.b : i - 2 < p.other_count ? &p.others[i - 2] : NULL;
}

static bool
alive(const struct end *e)
{
	return e != NULL && e->used && e->destroys == 0;
}

/* The end that the deed is done to "self"; where the hook has none, or may not touch its own, any. */
static struct end *
subject(struct end *self)
{
	for (int i = 0; !alive(self) && i < ENDS; i++)
		self = end_at(i);
	return alive(self) ? self : NULL;
}

static struct end *
peer_of(struct end *e)
{
	for (int i = 0; i < ENDS; i++) {
		struct end *o = end_at(i);

		if (o != e && alive(o) && (e != &p.a || o == &p.b) && (e != &p.b || o == &p.a))
			return o;
	}
	return e;
}

static void
each_other(struct end *self, void (*fn)(struct sconce_sock *s))
{
	for (int i = 0; i < ENDS; i++)
		if (end_at(i) != self && alive(end_at(i)))
			fn(&end_at(i)->sock);
}

static void
close_local(struct sconce_sock *s)
{
	sconce_close(s, SCONCE_REASON_LOCAL);
}

static void
release_held(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	(void)status;
	if (deed.held != NULL)
		sconce_release_fd(&deed.held->sock);
	deed.held = NULL;
}

static void
detach_and_close(struct sconce_sock *s)
{
	char unread[64];
	size_t len;
	int fd = sconce_detach(s, unread, sizeof(unread), &len);

	if (fd >= 0)
		close(fd);
	else
		sconce_close(s, SCONCE_REASON_LOCAL);
}

static void
close_then_write(struct sconce_sock *s)
{
	sconce_close(s, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_write(s, "x", 1), -EPIPE);
	ck_assert_int_eq(sconce_write_cb(s, count_done, &deed.late), -EPIPE);
	ck_assert_int_eq(sconce_shutdown(s, SHUT_WR), -EBADF);
	ck_assert_int_eq(sconce_unread(s, "x", 1), -EBADF);
	ck_assert_int_eq((int)sconce_watching(s), 0);
	sconce_watch_read(s, true);
	sconce_watch_write(s, true);
}

static void
close_twice(struct sconce_sock *s)
{
	bool first = !s->closed;

	sconce_close(s, SCONCE_REASON_USER + 1);
	sconce_close(s, SCONCE_REASON_USER + 2);
	sconce_abort(s);
	sconce_close_flush(s, 0);
	ck_assert(!first || s->reason == SCONCE_REASON_USER + 1);
}

static void
do_deed(struct end *e)
{
	switch (deed.deed) {
	case CLOSE_SELF: close_local(&e->sock); break;
	case CLOSE_PEER: close_local(&peer_of(e)->sock); break;
	case CLOSE_ALL: each_other(NULL, close_local); break;
	case CLOSE_THEN_WRITE: close_then_write(&e->sock); break;
	case CLOSE_IN_POST_LOOP: deed.post_closes = true; break;
	case CLOSE_TWICE: close_twice(&e->sock); break;
	case ABORT_OTHERS: each_other(e, sconce_abort); break;
	case CLOSE_FLUSH: sconce_close_flush(&e->sock, 0.001); break;
	case SHUT_BOTH: sconce_shutdown(&e->sock, SHUT_RDWR); break;
	case DETACH: detach_and_close(&e->sock); break;
	case HOLD_AND_CLOSE:
		if (e->closes == 0 && !e->sock.closed) {
			deed.held = e;
			sconce_hold_fd(&e->sock);
			sconce_defer(p.loop, NULL, release_held, NULL);
		}
		close_local(&e->sock);
		break;
	case DEEDS: break;
	}
}

/* The scene has come to `where`, in a hook of `self`. */
static void
pass(enum place where, struct end *self)
{
	struct end *e;

	if (where != deed.place || deed.done > 0 || deed.skip-- > 0)
		return;
	if (where == AT_DESTROY)
		self = NULL;			/* it is nobody's any more */
	e = subject(self);
	deed.done++;
	if (e != NULL)
		do_deed(e);
}

static void
on_read(struct end *e)
{
	char buf[4096];
	ssize_t n = sconce_read(&e->sock, buf, sizeof(buf));

	pass(e->n == 77 ? AT_UNREAD : AT_READ, e);
	if (n > 0 && e->n != 77 && !e->sock.closed && e == &p.others[1]) {
		e->n = 77;			/* once: what comes back is pushed-back input */
		sconce_unread(&e->sock, buf, (size_t)n);
	}
}

static void on_write(struct end *e) { if (++e->n > 2) sconce_watch_write(&e->sock, false); pass(AT_WRITE, e); }
static void on_err(struct end *e, int errnum) { (void)errnum; pass(AT_ERR, e); }
static void on_hup(struct end *e) { pass(AT_HUP, e); }
static void on_connect(struct end *e, int errnum) { (void)errnum; pass(AT_CONNECT, e); }
static void on_low(struct end *e) { pass(AT_LOW, e); }
static void on_high(struct end *e) { pass(AT_HIGH, e); }
static void on_drain(struct end *e) { pass(AT_DRAIN, e); }
static void on_timeout(struct end *e, enum sconce_timeout_kind kind) { (void)kind; pass(AT_TIMEOUT, e); }
static void on_close(struct end *e) { pass(AT_CLOSE, e); }
static void on_destroy(struct end *e) { pass(AT_DESTROY, e); }

static void
on_done(struct sconce_sock *s, void *arg, int status)
{
	struct counted *c = arg;

	c->calls++;
	pass(status == 0 ? AT_DONE : AT_CANCELLED, end_of(s));
}

static void
on_transfer(struct sconce_sock *s, void *arg, int status)
{
	struct counted *c = arg;

	(void)status;
	c->calls++;
	pass(AT_TRANSFER, end_of(s));
}

static void on_timer(struct sconce_timer *t, void *arg) { (void)t; (void)arg; pass(AT_TIMER, NULL); }
static void on_defer(struct sconce_loop *l, void *arg, int status) { (void)l; (void)arg; (void)status; pass(AT_DEFER, NULL); }
static void on_posted(struct sconce_loop *l, void *arg, int status) { (void)l; (void)arg; (void)status; pass(AT_POSTED, NULL); }

static bool
on_sock_post(struct sconce_sock *s, void *arg)
{
	(void)arg;
	pass(AT_SOCK_POST, end_of(s));
	return true;
}

static bool
on_loop_post(struct sconce_loop *l, void *arg)
{
	(void)l;
	(void)arg;
	if (deed.post_closes)
		each_other(NULL, close_local);
	deed.post_closes = false;
	pass(AT_LOOP_POST, NULL);
	return true;
}

static void
set_hooks(struct end *e)
{
	e->on.read = on_read;
	e->on.write = on_write;
	e->on.err = on_err;
	e->on.hup = on_hup;
	e->on.connect = on_connect;
	e->on.low = on_low;
	e->on.high = on_high;
	e->on.drain = on_drain;
	e->on.timeout = on_timeout;
	e->on.close = on_close;
	e->on.destroy = on_destroy;
}

/* The other end of wire `fds`, and what the test keeps of it. */
static struct end *
add_end(const char *tag, enum wire wire, int *kept_out)
{
	int fds[2];
	struct end *e;

	wire_make(wire, fds);
	*kept_out = fds[1];
	e = end_open(&p, tag, NULL, fds[0]);
	set_hooks(e);
	return e;
}

static int
listening_fd(struct sconce_addr *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr = (struct sconce_addr){ .in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
		.len = sizeof(addr->in) };
	ck_assert_int_eq(bind(fd, &addr->any, addr->len), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	ck_assert_int_eq(getsockname(fd, &addr->any, &addr->len), 0);
	return fd;
}

static char bulk[400 * 1024];

/* A scene in which every hook and callback there is runs at least once. */
static void
play(struct counted *done, struct counted *moved)
{
	struct sconce_addr addr;
	int kept[7], fd = listening_fd(&addr);
	struct end *c, *u, *r, *src, *dst, *x;

	pair_open(&p, WIRE_UNIX);
	set_hooks(&p.a);
	set_hooks(&p.b);
	c = end_open(&p, "c", NULL, -1);
	set_hooks(c);
	u = add_end("u", WIRE_UNIX, &kept[0]);
	r = add_end("r", WIRE_TCP, &kept[1]);
	src = add_end("s", WIRE_UNIX, &kept[2]);
	dst = add_end("d", WIRE_UNIX, &kept[3]);
	x = add_end("x", WIRE_UNIX, &kept[4]);
	ck_assert_int_eq(sconce_connect_addr(&c->sock, &addr), 0);
	sconce_set_marks(&p.a.sock, 64 * 1024, 128 * 1024);
	sconce_write(&p.a.sock, bulk, sizeof(bulk));
	sconce_write_cb(&p.a.sock, on_done, done);
	sconce_write_cb(&p.a.sock, on_done, done);
	sconce_write(&dst->sock, "head", 4);
	sconce_write_cb(&dst->sock, on_done, done);
	sconce_transfer(&src->sock, &dst->sock, 6, on_transfer, moved);
	ck_assert_int_eq(send(kept[2], "source", 6, 0), 6);
	ck_assert_int_eq(send(kept[0], "pushed", 6, 0), 6);
	sconce_watch_write(&x->sock, true);
	sconce_watch_read(&r->sock, false);
	sconce_set_timeout(&x->sock, SCONCE_TIMEOUT_ALARM, 0.001);
	sconce_set_timeout(&u->sock, SCONCE_TIMEOUT_INPUT, 0.001);
	sconce_timer_init(&deed.timer, p.loop, on_timer, NULL);
	sconce_timer_start(&deed.timer, 0.0005);
	sconce_timer_bind(&deed.timer, &x->sock);
	sconce_defer(p.loop, &x->sock, on_defer, NULL);
	sconce_post(p.loop, on_posted, NULL);
	sconce_set_post_loop(&x->sock, on_sock_post, NULL);
	sconce_set_post_loop(&p.b.sock, on_sock_post, NULL);
	sconce_post_loop_add(p.loop, on_loop_post, NULL);
	for (int turn = 0; turn < 30; turn++) {
		sconce_loop_step(p.loop, 0);
		for (double begin = t_seconds(); turn == 12 && t_seconds() - begin < 0.003;)
			sconce_loop_step(p.loop, 0.001);	/* timers and timeouts */
		if (turn == 3)
			reset(kept[1]);
		if (turn == 18 && alive(src) && alive(dst))
			sconce_transfer(&src->sock, &dst->sock, SCONCE_TO_END, on_transfer, moved);
		if (turn == 24 && alive(dst) && !dst->sock.closed) {
			sconce_write_ref(&dst->sock, bulk, sizeof(bulk), on_done, done);
			sconce_write_cb(&dst->sock, on_done, done);
			sconce_close(&dst->sock, SCONCE_REASON_LOCAL);
		}
	}
	sconce_verify(p.loop);
	release_held(p.loop, NULL, 0);
	sconce_timer_bind(&deed.timer, NULL);
	pair_free(&p);
	sconce_timer_stop(&deed.timer);
	close(fd);
	close(kept[0]);
	for (int i = 2; i < 5; i++)
		close(kept[i]);
}

/* In each hook and callback: close oneself, one's peer, all, close and write on, close from a post-loop callback, close twice, abort all
 * others, flush, half-close, detach, hold: every object is destroyed exactly once, no completion is lost, and (sanitizer)
 * nothing freed is touched.  HZ-1 */
START_TEST(test_hazards_every_hook_and_every_end)
{
	for (int d = 0; d < DEEDS; d++) {
		for (int skip = 0; skip < 3; skip++) {
			struct counted done = { 0 }, moved = { 0 };
			int late;

			memset(&deed, 0, sizeof(deed));
			deed.place = (enum place)_i;
			deed.deed = (enum deed)d;
			deed.skip = skip;
			play(&done, &moved);
			late = deed.deed == CLOSE_THEN_WRITE && deed.done > 0;
			ck_assert_msg(skip > 0 || deed.done == 1, "%s never came", place_names[_i]);
			ck_assert_int_ge(done.calls, 3);
			ck_assert_int_ge(moved.calls, 1);
			ck_assert_msg(deed.late.calls == late, "%s %d: %d late completions", place_names[_i], d, deed.late.calls);
		}
	}
}
END_TEST

/* ---- HZ-2: fd numbers reused ---- */

enum { CELLS = 8, ROUNDS = 3000 };

struct cell {
	struct sconce_sock sock;
	int peer;
	uint32_t serial;
	int slot;
};

static struct cell *cells[CELLS];
static uint32_t serials, seed;
static bool ending;

static unsigned
roll(unsigned n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % n;
}

static const struct sconce_sock_ops cell_ops;

static void
cell_open(struct sconce_loop *l, int slot)
{
	struct cell *c = malloc(sizeof(*c));
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	ck_assert_ptr_nonnull(c);
	c->peer = fds[1];
	c->serial = ++serials;
	c->slot = slot;
	ck_assert_int_eq(sconce_sock_init(&c->sock, l, &cell_ops, fds[0]), 0);
	if (slot >= 0)
		cells[slot] = c;
}

static struct cell *
cell_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct cell, sock);
}

/* Closes the cell in a slot and puts a new one there at once, or in its destroy. */
static void
cell_replace(struct sconce_loop *l, int slot)
{
	sconce_close(&cells[slot]->sock, SCONCE_REASON_LOCAL);
	if (roll(2) == 0) {
		cells[slot]->slot = -1;
		cell_open(l, slot);
	}
}

static void
cell_read(struct sconce_sock *s)
{
	uint32_t got[4];
	struct cell *c = cell_of(s);
	ssize_t n = sconce_read(s, got, sizeof(got));

	ck_assert_msg(n == sizeof(got[0]) && got[0] == c->serial, "a stale event reached the new owner of fd %d", s->fd);
	for (unsigned i = roll(4); i > 0; i--)
		cell_replace(s->loop, (int)roll(CELLS));
}

static void
cell_destroy(struct sconce_sock *s)
{
	struct cell *c = cell_of(s);

	close(c->peer);
	if (c->slot >= 0 && !ending)
		cell_open(s->loop, c->slot);	/* gets the number that was just closed */
	free(c);
}

static const struct sconce_sock_ops cell_ops = { .name = "cell", .event_read = cell_read, .destroy = cell_destroy };

/* Three thousand batches in which sockets close each other and new ones are opened, while events of the old ones wait: whoever is told of
 * input has input of its own.  HZ-2 */
START_TEST(test_hazards_reused_fds_get_no_stale_events)
{
	struct sconce_loop *l;

	serials = seed = 0;
	ending = false;
	ck_assert_int_eq(sconce_loop_new(NULL, &l), 0);
	for (int i = 0; i < CELLS; i++)
		cell_open(l, i);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CELLS; i++)
			if (!cells[i]->sock.closed)
				ck_assert_int_eq(send(cells[i]->peer, &cells[i]->serial, 4, 0), 4);
		ck_assert_int_ge(sconce_loop_step(l, 0), 0);
		/* what was sent to sockets that the batch has not reached is read before the next */
		ck_assert_int_ge(sconce_loop_step(l, 0), 0);
	}
	ck_assert_uint_gt(serials, ROUNDS);
	ck_assert_int_lt(cells[0]->sock.fd, 100);
	ending = true;
	ck_assert_int_eq(sconce_loop_free(l), 0);
}
END_TEST

/* ---- HZ-8: bounded memory ---- */

/* A reader that does not read costs no more than the cap, and what the kernel takes. */
START_TEST(test_hazards_slow_reader_costs_at_most_the_cap)
{
	enum { CAP = 256 * 1024 };
	size_t before, held;
	int r = 0, refused = 0;

	pair_open(&p, WIRE_UNIX);
	sconce_watch_read(&p.b.sock, false);
	ck_assert_int_eq(sconce_set_cap(&p.a.sock, CAP), 0);
	ck_assert_int_eq(sconce_set_marks(&p.a.sock, CAP / 8, CAP / 2), 0);
	pair_turn(&p, 3);
	before = mallinfo2().uordblks;
	for (int i = 0; i < 64 * 1024; i++) {
		r = sconce_write(&p.a.sock, bulk, 1024);
		refused += r == -ENOBUFS;
		if (i % 64 == 0)
			pair_turn(&p, 1);
	}
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_int_gt(refused, 60 * 1024);
	ck_assert_uint_le(sconce_queued(&p.a.sock), CAP);
	held = mallinfo2().uordblks - before;
	ck_assert_msg(held < 2 * CAP, "%zu bytes held", held);
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.highs, 1);
	ck_assert_uint_eq(p.a.lows, 0);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, sconce_queued(&p.a.sock) == 0);
	ck_assert_uint_eq(p.a.lows, 1);
	ck_assert_uint_eq(p.a.drains, 1);
	ck_assert_int_ge(sconce_write(&p.a.sock, bulk, 1024), 0);
	pair_free(&p);
}
END_TEST

static uint64_t produced, level;

static void
produce(struct end *e)
{
	while (produced < 32 * 1024 * 1024 && sconce_write(&e->sock, bulk, 16 * 1024) > 0)
		produced += 16 * 1024;
	if (sconce_queued(&e->sock) > level)
		level = sconce_queued(&e->sock);
}

/* A producer that heeds the result holds next to nothing, however much passes through. */
START_TEST(test_hazards_heeding_producer_holds_little)
{
	pair_open(&p, WIRE_UNIX);
	produced = level = 0;
	p.a.on.drain = p.a.on.write = produce;
	p.b.on.read = on_read;
	memset(&deed, 0, sizeof(deed));
	deed.place = PLACES;
	sconce_watch_write(&p.a.sock, true);
	for (int i = 0; i < 20000 && produced < 32 * 1024 * 1024; i++)
		sconce_loop_step(p.loop, 0.01);
	ck_assert_uint_ge(produced, 32 * 1024 * 1024);
	ck_assert_uint_le(level, 256 * 1024);
	pair_free(&p);
}
END_TEST

/* ---- HZ-10: quiet after every fault ---- */

enum idle_kind { ID_RST, ID_RST_PAUSED, ID_RST_QUEUED, ID_FIN, ID_FIN_SHUT, ID_FIN_PAUSED, ID_HALF_PAUSED, ID_HUP_PAUSED, ID_EOF_QUEUED,
	ID_UNREAD, ID_UNREAD_SHARED, ID_UNREAD_FIN, ID_CONNECT_FAILED, ID_LINGER, ID_SHUT_RD, ID_SHUT_BOTH, ID_DATA_PAUSED, ID_PIPE_HUP,
	ID_QUEUED, IDLES };

static void
keep_back(struct end *e)
{
	char buf[64];
	const void *data = buf;
	ssize_t n = e->reading == READ_SHARED_ONCE ? sconce_read_shared(&e->sock, &data) : sconce_read(&e->sock, buf, sizeof(buf));

	if (n > 0)
		sconce_unread(&e->sock, data, (size_t)n);	/* half a record: not enough yet */
	if (n == 0)
		e->ended = true;
}

static void
fill(struct end *e)
{
	while (sconce_queued(&e->sock) < 100 * 1024)
		ck_assert_int_ge(sconce_write(&e->sock, bulk, 64 * 1024), 0);
	pair_turn(&p, 3);
	ck_assert_uint_gt(sconce_queued(&e->sock), 0);
}

static struct end *
tcp_end(int *kept)
{
	int fds[2];

	wire_make(WIRE_TCP, fds);
	*kept = fds[1];
	return end_open(&p, "a", NULL, fds[0]);
}

/* Brings the fault about.  Returns the fd to close afterwards, -1 for none. */
static int
bring_about(enum idle_kind kind)
{
	struct sconce_addr addr;
	struct end *e;
	int kept = -1, fds[2];

	if (kind == ID_CONNECT_FAILED) {
		close(listening_fd(&addr));
		e = end_open(&p, "a", NULL, -1);
		ck_assert_int_eq(sconce_connect_addr(&e->sock, &addr), 0);
		return -1;
	}
	if (kind == ID_PIPE_HUP || kind == ID_HUP_PAUSED) {
		if (kind == ID_PIPE_HUP)
			ck_assert_int_eq(pipe(fds), 0);
		else
			wire_make(WIRE_UNIX, fds);
		e = end_open(&p, "a", NULL, fds[0]);
		if (kind == ID_HUP_PAUSED)
			sconce_watch_read(&e->sock, false);
		pair_turn(&p, 2);
		close(fds[1]);
		return -1;
	}
	e = tcp_end(&kept);
	pair_turn(&p, 2);
	if (kind == ID_RST_PAUSED || kind == ID_FIN_PAUSED || kind == ID_HALF_PAUSED || kind == ID_DATA_PAUSED)
		sconce_watch_read(&e->sock, false);
	if (kind == ID_FIN_SHUT || kind == ID_SHUT_BOTH)
		sconce_shutdown(&e->sock, kind == ID_SHUT_BOTH ? SHUT_RDWR : SHUT_WR);
	if (kind == ID_SHUT_RD)
		sconce_shutdown(&e->sock, SHUT_RD);
	if (kind == ID_RST_QUEUED || kind == ID_EOF_QUEUED || kind == ID_QUEUED)
		fill(e);
	if (kind == ID_UNREAD || kind == ID_UNREAD_SHARED || kind == ID_UNREAD_FIN) {
		e->reading = kind == ID_UNREAD_SHARED ? READ_SHARED_ONCE : READ_ONCE;
		e->on.read = keep_back;
		ck_assert_int_eq(send(kept, "half a rec", 10, 0), 10);
	}
	if (kind == ID_LINGER)
		sconce_close_flush(&e->sock, 30);
	pair_turn(&p, 3);
	if (kind == ID_RST || kind == ID_RST_PAUSED || kind == ID_RST_QUEUED) {
		reset(kept);
		return -1;
	}
	if (kind == ID_FIN || kind == ID_FIN_SHUT || kind == ID_FIN_PAUSED) {
		close(kept);
		return -1;
	}
	if (kind == ID_HALF_PAUSED || kind == ID_EOF_QUEUED || kind == ID_UNREAD_FIN)
		ck_assert_int_eq(shutdown(kept, SHUT_WR), 0);
	if (kind == ID_DATA_PAUSED)
		ck_assert_int_eq(send(kept, "data", 4, 0), 4);
	return kept;
}

static void
stays_quiet(enum idle_kind kind)
{
	double wall = t_seconds(), cpu = t_cpu_seconds();

	for (int i = 0; i < 10; i++) {
		double begin = t_seconds();

		ck_assert_msg(sconce_loop_step(p.loop, 0.02) == 0, "kind %d: %s", kind, p.log);
		ck_assert_msg(t_seconds() - begin > 0.0195, "kind %d: the wait ended early", kind);
	}
	wall = t_seconds() - wall;
	cpu = t_cpu_seconds() - cpu;
	ck_assert_msg(cpu < 0.010, "kind %d: %g s of CPU in %g s", kind, cpu, wall);
}

/* After each fault that leaves the socket open the loop sleeps: no hook, whole waits, next to no CPU.  HZ-10 */
START_TEST(test_hazards_idle_after_fault_sleeps)
{
	int kept;

	pair_open_loop(&p, NULL);
	kept = bring_about((enum idle_kind)_i);
	for (int i = 0; i < 10; i++)
		sconce_loop_step(p.loop, 0.002);	/* what it brings is told by now */
	ck_assert_uint_eq(p.others[0].destroys, 0);
	pair_log_clear(&p);
	stays_quiet((enum idle_kind)_i);
	if (kept >= 0)
		close(kept);
	pair_free(&p);
}
END_TEST

/* ---- HZ-11: signals, pipes, pieces ---- */

static volatile sig_atomic_t alarms;

static void
on_alarm(int signo)
{
	(void)signo;
	alarms = alarms + 1;
}

static void
storm(bool on)
{
	struct sigaction action = { .sa_handler = on_alarm };	/* no SA_RESTART */
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, on ? &often : &never, NULL), 0);
}

static char big[4 * 1024 * 1024];

/* Signals all the time, and every call interrupted before it works: 4 MiB arrive whole, timers are kept.  HZ-11 */
START_TEST(test_hazards_interrupted_calls_lose_nothing)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	double begin;

	pair_open_with(&p, WIRE_TCP, NULL, NULL, &opts);
	fault.eintr = true;
	bytes_fill(big, sizeof(big), 3);
	storm(true);
	ck_assert_int_ge(sconce_write_ref(&p.a.sock, big, sizeof(big), NULL, NULL), 0);
	PAIR_UNTIL(&p, p.b.in_len == sizeof(big));
	begin = t_seconds();
	sconce_set_timeout(&p.a.sock, SCONCE_TIMEOUT_ALARM, 0.02);
	PAIR_UNTIL(&p, p.a.timeouts == 1);
	ck_assert_double_ge(t_seconds() - begin, 0.0199);
	storm(false);
	ck_assert_int_gt(alarms, 5);
	ck_assert(bytes_are(p.b.in, p.b.in_len, 3));
	pair_free(&p);
}
END_TEST

/* More items than the kernel takes in one vector, sent a byte at a time: order, completions and accounting hold.  HZ-11 */
START_TEST(test_hazards_many_items_one_byte_each)
{
	enum { ITEMS = 2 * IOV_MAX + 7 };
	struct sconce_loop_options opts = { .backend = fault_backend() };
	struct counted done = { 0 };

	pair_open_with(&p, WIRE_UNIX, NULL, NULL, &opts);
	pair_turn(&p, 2);
	fault.fd = sconce_fd(&p.a.sock);
	fault.max_send = 1;
	bytes_fill(big, 3 * ITEMS, 0);
	for (int i = 0; i < ITEMS; i++)
		ck_assert_int_ge(sconce_write_ref(&p.a.sock, big + 3 * i, 3, count_done, &done), 0);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 3 * ITEMS);
	ck_assert_uint_eq(sconce_queued_items(&p.a.sock), ITEMS);
	for (int i = 0; i < 100000 && p.b.in_len < 3 * ITEMS; i++) {
		sconce_loop_step(p.loop, 0);
		/* a completion runs when its bytes have gone, never before */
		ck_assert_int_le(done.calls, (int)(fault.sent / 3));
	}
	ck_assert_uint_eq(p.b.in_len, 3 * ITEMS);
	ck_assert(bytes_are(p.b.in, p.b.in_len, 0));
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	pair_quiet(&p);
	ck_assert_int_eq(done.calls, ITEMS);
	pair_free(&p);
}
END_TEST

/* The same through kernel buffers that are as small as they can be. */
START_TEST(test_hazards_smallest_buffers)
{
	int fds[2];
	struct end *c, *d;

	pair_open_loop(&p, NULL);
	wire_make(WIRE_UNIX, fds);
	wire_narrow(fds[0]);
	wire_narrow(fds[1]);
	c = end_open(&p, "c", NULL, fds[0]);
	d = end_open(&p, "d", NULL, fds[1]);
	d->reading = READ_ONCE;
	d->read_size = 1;
	bytes_fill(big, 20000, 5);
	for (int i = 0; i < 20000; i += 1000)
		ck_assert_int_ge(sconce_write(&c->sock, big + i, 1000), 0);
	for (int i = 0; i < 100000 && d->in_len < 20000; i++)
		sconce_loop_step(p.loop, 0.001);
	ck_assert_uint_eq(d->in_len, 20000);
	ck_assert(bytes_are(d->in, 20000, 5));
	ck_assert_uint_eq(c->drains, 1);
	pair_free(&p);
}
END_TEST

/* Writing to a broken pipe and a broken socket is an error, not a signal: the socket even where SIGPIPE is left alone.  HZ-11 */
START_TEST(test_hazards_broken_pipe_is_an_error)
{
	struct sconce_loop_options keep = { .flags = SCONCE_LOOP_KEEP_SIGPIPE };
	int fds[2];
	struct end *e;

	signal(SIGPIPE, SIG_DFL);
	pair_open_loop(&p, _i == 0 ? NULL : &keep);
	if (_i == 0)
		ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	else
		wire_make(WIRE_UNIX, fds);
	e = end_open(&p, "w", NULL, fds[1]);
	sconce_watch_read(&e->sock, false);
	close(fds[0]);
	sconce_write(&e->sock, "x", 1);
	PAIR_UNTIL(&p, e->errs == 1);
	ck_assert_int_eq(e->errnum, EPIPE);
	ck_assert_int_eq(sconce_write(&e->sock, "x", 1), -EPIPE);
	pair_free(&p);
}
END_TEST

/* ---- HZ-12: storms ---- */

static int signals_told;

static void
told(struct sconce_loop *l, int signo, void *arg)
{
	(void)l;
	(void)arg;
	ck_assert_int_eq(signo, SIGALRM);
	signals_told++;
}

static void
defer_for_ever(struct sconce_loop *l, void *arg, int status)
{
	++*(int *)arg;
	if (status == 0)
		sconce_defer(l, NULL, defer_for_ever, arg);
}

/* A storm of signals told by the loop, and a call that defers itself for ever: I/O goes on, and the last signal is not lost.
 * HZ-12 */
START_TEST(test_hazards_signal_storm_and_endless_calls)
{
	struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { { 0, 0 }, { 0, 0 } };
	int calls = 0, seen;

	signals_told = 0;
	pair_open(&p, WIRE_TCP);
	ck_assert_int_eq(sconce_signal(p.loop, SIGALRM, told, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	sconce_defer(p.loop, NULL, defer_for_ever, &calls);
	bytes_fill(big, sizeof(big), 9);
	ck_assert_int_ge(sconce_write(&p.a.sock, big, sizeof(big)), 0);
	for (double begin = t_seconds(); t_seconds() - begin < 10 &&
	    !(p.b.in_len == sizeof(big) && signals_told > 10);)
		sconce_loop_step(p.loop, 0.002);
	ck_assert_uint_eq(p.b.in_len, sizeof(big));
	ck_assert_int_gt(signals_told, 10);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	pair_turn(&p, 2);
	seen = signals_told;
	raise(SIGALRM);
	pair_turn(&p, 2);
	ck_assert_int_eq(signals_told, seen + 1);
	ck_assert_int_gt(calls, 10);
	ck_assert_int_eq(sconce_signal(p.loop, SIGALRM, NULL, NULL), 0);
	pair_free(&p);
}
END_TEST

/* ---- HZ-14: what a child gets ---- */

static int
accept_none(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	(void)l;
	(void)fd;
	(void)peer;
	return -ECONNREFUSED;
}

static const struct sconce_listener_ops listener_ops = { .name = "none", .accept = accept_none };

static void
child_ended(struct sconce_loop *l, pid_t pid, int status, void *arg)
{
	(void)l;
	(void)pid;
	(void)status;
	++*(int *)arg;
}

/* How many fds a program has that this process starts now. */
static int
fds_after_exec(void)
{
	int fds[2], n = 0, status;
	char text[4096];
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execl("/bin/ls", "ls", "/proc/self/fd", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while ((got = read(fds[0], text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < got; i++)
			n += text[i] == '\n';
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	return n;
}

/* A program that is started inherits nothing of ours: not the loop's fds, sockets, pipes, nor pidfds.  HZ-14 */
START_TEST(test_hazards_exec_inherits_nothing)
{
	int before = fds_after_exec(), ended = 0, fds[2], open;
	struct sconce_listener l;
	struct counted moved = { 0 };
	struct end *c, *d;
	pid_t pid;

	pair_open(&p, WIRE_TCP);
	ck_assert_int_eq(sconce_listen(&l, p.loop, &listener_ops, "127.0.0.1:0", NULL), 0);
	ck_assert_int_eq(sconce_signal(p.loop, SIGUSR2, told, NULL), 0);
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	ck_assert_int_eq(sconce_child(p.loop, pid, child_ended, &ended), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);	/* inheritable until they are ours */
	c = end_open(&p, "c", NULL, fds[0]);
	d = end_open(&p, "d", NULL, fds[1]);
	sconce_watch_read(&c->sock, false);
	sconce_watch_read(&p.b.sock, true);
	sconce_write(&p.a.sock, bulk, sizeof(bulk));
	sconce_transfer(&p.b.sock, &d->sock, SCONCE_TO_END, count_done, &moved);	/* through a pipe of the loop's */
	pair_turn(&p, 5);
	open = t_fd_count();
	ck_assert_int_gt(open, 8);
	ck_assert_int_eq(fds_after_exec(), before);
	kill(pid, SIGKILL);
	PAIR_UNTIL(&p, ended == 1);
	pair_free(&p);
}
END_TEST

/* In a child that goes on with the loop exactly the fds that the parent had are there, and none is left when it is freed.
 * HZ-14 */
START_TEST(test_hazards_fork_fds_are_what_was_meant)
{
	int before = t_fd_count(), open, status;
	pid_t pid;

	pair_open(&p, WIRE_UNIX);
	ck_assert_int_eq(sconce_signal(p.loop, SIGUSR2, told, NULL), 0);
	pair_turn(&p, 3);
	open = t_fd_count();
	pid = fork();
	if (pid == 0) {
		if (sconce_loop_fork(p.loop) != 0)
			_exit(1);
		pair_turn(&p, 3);
		if (t_fd_count() != open)
			_exit(2);
		sconce_loop_free(p.loop);
		_exit(t_fd_count() == before ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(t_fd_count(), open);
	pair_free(&p);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("hazards");
	TCase *hooks = t_case(s, "hooks"), *fds = t_case(s, "fds"), *memory = t_case(s, "memory"), *idle = t_case(s, "idle"),
	    *signals = t_case(s, "signals"), *forks = t_case(s, "fork");

	tcase_set_timeout(hooks, 30);
	tcase_add_loop_test(hooks, test_hazards_every_hook_and_every_end, 0, PLACES);
	tcase_set_timeout(fds, 30);
	tcase_add_test(fds, test_hazards_reused_fds_get_no_stale_events);
	tcase_add_test(memory, test_hazards_slow_reader_costs_at_most_the_cap);
	tcase_add_test(memory, test_hazards_heeding_producer_holds_little);
	tcase_add_loop_test(idle, test_hazards_idle_after_fault_sleeps, 0, IDLES);
	tcase_set_timeout(signals, 30);
	tcase_add_test(signals, test_hazards_interrupted_calls_lose_nothing);
	tcase_add_test(signals, test_hazards_many_items_one_byte_each);
	tcase_add_test(signals, test_hazards_smallest_buffers);
	tcase_add_loop_test(signals, test_hazards_broken_pipe_is_an_error, 0, 2);
	tcase_add_test(signals, test_hazards_signal_storm_and_endless_calls);
	tcase_add_test(forks, test_hazards_exec_inherits_nothing);
	tcase_add_test(forks, test_hazards_fork_fds_are_what_was_meant);
	return s;
}

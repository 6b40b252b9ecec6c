/* One socket's input as an item of another's queue: copied, spliced, limited, broken off; and the relay of two. */
#include "harness.h"
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* in -> src ~ dst -> out: what is written to `in` is to come out of `out`. */
static struct pair p;
static struct end *in, *src, *dst, *out;
static char big[8 * 1024 * 1024];

static void
setup_wire(enum wire wire)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	int fds[2];

	pair_open_with(&p, wire, NULL, NULL, &opts);
	in = &p.a;
	src = &p.b;
	wire_make(wire, fds);
	dst = end_open(&p, "dst", NULL, fds[0]);
	out = end_open(&p, "out", NULL, fds[1]);
	src->on.read = NULL;
	src->reading = READ_NOTHING;
	pair_quiet(&p);
	fault_reset();
}

static void
setup(void)
{
	setup_wire(WIRE_UNIX);
}

static void
setup_tcp(void)
{
	setup_wire(WIRE_TCP);
}

static void
teardown(void)
{
	pair_free(&p);
}

static const size_t sizes[] = { 1, 100, 32 * 1024 - 1, 32 * 1024, 64 * 1024, 64 * 1024 + 1, 1000000, sizeof(big) };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* Exactly so many bytes, then the completion; by splice and without; what follows is not taken. */
START_TEST(test_transfer_sizes)
{
	size_t n = sizes[_i / 2];
	struct counted c = { 0 };

	fault.no_splice = _i % 2;
	sconce_write(&dst->sock, "<", 1);
	ck_assert_int_ge(sconce_transfer(&src->sock, &dst->sock, n, count_done, &c), 0);
	ck_assert_uint_eq(sconce_paused(&src->sock), SCONCE_PAUSE_FLOW);
	sconce_write(&dst->sock, ">", 1);
	sconce_write_ref(&in->sock, big, n, NULL, NULL);
	sconce_write(&in->sock, "rest", 4);
	PAIR_UNTIL(&p, out->in_len == n + 2);
	ck_assert_int_eq(out->in[0], '<');
	ck_assert(bytes_are(out->in + 1, n, 0));
	ck_assert_int_eq(out->in[n + 1], '>');
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, 0);
	ck_assert_uint_eq(sconce_transferred(&src->sock), n);
	ck_assert_uint_eq(sconce_paused(&src->sock), 0);
	ck_assert_uint_eq(sconce_queued(&dst->sock), 0);
	if (n >= 1000000 && !fault.no_splice)
		ck_assert_uint_gt(fault.splice, 0);
	src->reading = READ_ALL;
	PAIR_UNTIL(&p, src->in_len == 4);
	ck_assert_mem_eq(src->in, "rest", 4);
}
END_TEST

/* To the end: everything, whatever there was, status 0. */
START_TEST(test_transfer_to_end)
{
	size_t n = sizes[_i / 2];
	struct counted c = { 0 };

	fault.no_splice = _i % 2;
	sconce_transfer(&src->sock, &dst->sock, SCONCE_TO_END, count_done, &c);
	sconce_write_cb(&dst->sock, log_done, (void *)(uintptr_t)"behind");
	sconce_write_ref(&in->sock, big, n, NULL, NULL);
	sconce_shutdown(&in->sock, SHUT_WR);
	PAIR_UNTIL(&p, c.calls == 1);
	PAIR_UNTIL(&p, out->in_len == n);
	ck_assert_int_eq(c.status, 0);
	ck_assert(bytes_are(out->in, n, 0));
	ck_assert_uint_eq(sconce_transferred(&src->sock), n);
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "behind=0 "));
}
END_TEST

/* A source that ends too early: -ENODATA; what is behind waits for the completion, then goes on. */
START_TEST(test_transfer_source_ends_early)
{
	sconce_transfer(&src->sock, &dst->sock, _i == 0 ? 1000 : 1000000, log_done, (void *)(uintptr_t)"T");
	sconce_write(&dst->sock, ">", 1);
	sconce_write_ref(&in->sock, big, 600, NULL, NULL);
	sconce_shutdown(&in->sock, SHUT_WR);
	PAIR_UNTIL(&p, out->in_len == 601);
	ck_assert(bytes_are(out->in, 600, 0));
	ck_assert_ptr_nonnull(strstr(p.log, "T=-61 "));
	ck_assert_uint_eq(sconce_transferred(&src->sock), 600);
	ck_assert_uint_eq(dst->errs, 0);
}
END_TEST

/* Without a completion nobody would notice: dst's sending fails. */
START_TEST(test_transfer_source_ends_early_without_done)
{
	sconce_transfer(&src->sock, &dst->sock, 1000, NULL, NULL);
	sconce_write(&dst->sock, ">", 1);
	sconce_write_ref(&in->sock, big, 600, NULL, NULL);
	sconce_shutdown(&in->sock, SHUT_WR);
	PAIR_UNTIL(&p, dst->errs == 1);
	ck_assert_int_eq(dst->errnum, ENODATA);
	pair_quiet(&p);
	ck_assert_uint_eq(out->in_len, 600);
}
END_TEST

/* The source is closed: -ECANCELED, what it gave is delivered, and the destination lives on. */
START_TEST(test_transfer_source_closed)
{
	sconce_transfer(&src->sock, &dst->sock, 1000000, log_done, (void *)(uintptr_t)"T");
	sconce_write(&dst->sock, ">", 1);
	sconce_write_ref(&in->sock, big, 600, NULL, NULL);
	PAIR_UNTIL(&p, out->in_len == 600);
	sconce_close(&src->sock, 0);
	PAIR_UNTIL(&p, out->in_len == 601);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-125 "));
	ck_assert_uint_eq(src->destroys, 1);
}
END_TEST

/* The destination is closed: -ECANCELED before its farewell, and the source is read again. */
START_TEST(test_transfer_destination_closed)
{
	sconce_transfer(&src->sock, &dst->sock, 1000000, log_done, (void *)(uintptr_t)"T");
	sconce_write_ref(&in->sock, big, 600, NULL, NULL);
	PAIR_UNTIL(&p, out->in_len == 600);
	src->reading = READ_ALL;
	sconce_close(&dst->sock, 0);
	pair_log_clear(&p);
	pair_turn(&p, 1);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-125 dst.close dst.destroy "));
	sconce_write(&in->sock, "again", 5);
	PAIR_UNTIL(&p, src->in_len == 5);
}
END_TEST

static void
close_dst(struct end *e)
{
	sconce_close(&dst->sock, 0);
	sconce_watch_write(&e->sock, false);
}

/* ... but not before the completion has told that the transfer is over, though its input waits all the time. */
START_TEST(test_transfer_source_reads_after_done)
{
	fault.fd = dst->sock.fd;
	fault.send_again = -1;
	sconce_write(&dst->sock, "x", 1);
	pair_quiet(&p);
	sconce_unread(&src->sock, "pushed back", 11);
	sconce_transfer(&src->sock, &dst->sock, 1000000, log_done, (void *)(uintptr_t)"T");
	pair_quiet(&p);
	out->on.write = close_dst;			/* among the I/O of a turn: its step 4 comes before the completion */
	pair_log_clear(&p);
	sconce_watch_write(&out->sock, true);
	PAIR_UNTIL(&p, strstr(p.log, "b.read ") != NULL);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-125 "));
	ck_assert(strstr(p.log, "T=-125 ") < strstr(p.log, "b.read "));
}
END_TEST

/* Until then it may already begin the next one, which keeps it from being read. */
START_TEST(test_transfer_next_before_done)
{
	sconce_transfer(&src->sock, &dst->sock, 1000000, log_done, (void *)(uintptr_t)"T");
	pair_quiet(&p);
	sconce_close(&dst->sock, 0);
	ck_assert_int_ge(sconce_transfer(&src->sock, &out->sock, 3, log_done, (void *)(uintptr_t)"U"), 0);
	pair_log_clear(&p);
	sconce_write(&in->sock, "abcdef", 6);
	PAIR_UNTIL(&p, strstr(p.log, "b.read ") != NULL);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-125 "));
	ck_assert(strstr(p.log, "U=") < strstr(p.log, "b.read "));
}
END_TEST

/* The source fails: its error is the status. */
START_TEST(test_transfer_source_fails)
{
	sconce_transfer(&src->sock, &dst->sock, SCONCE_TO_END, log_done, (void *)(uintptr_t)"T");
	fault.fd = src->sock.fd;
	fault.recv_errno = ETIMEDOUT;
	sconce_write(&in->sock, "x", 1);
	PAIR_UNTIL(&p, src->errs == 1);
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-110 "));
	ck_assert_uint_eq(dst->errs, 0);
}
END_TEST

/* The destination's send fails: the status, event_err of the destination, and the source is free. */
START_TEST(test_transfer_destination_fails)
{
	sconce_transfer(&src->sock, &dst->sock, SCONCE_TO_END, log_done, (void *)(uintptr_t)"T");
	fault.fd = dst->sock.fd;
	fault.send_errno = ECONNRESET;
	sconce_write(&in->sock, "x", 1);
	PAIR_UNTIL(&p, dst->errs == 1);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-104 "));
	ck_assert_uint_eq(sconce_paused(&src->sock), 0);
}
END_TEST

/* Only as much is read as the destination takes: with a stuck one the source's peer gets stuck, too. */
START_TEST(test_transfer_back_pressure)
{
	struct end *all[] = { in, src, dst, out };
	int size = 64 * 1024;
	unsigned before = 0;

	for (int i = 0; i < 4; i++) {		/* or TCP's buffers grow to hold all of it */
		setsockopt(all[i]->sock.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(all[i]->sock.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
	fault.no_splice = _i;
	sconce_watch_read(&out->sock, false);
	sconce_transfer(&src->sock, &dst->sock, SCONCE_TO_END, NULL, NULL);
	sconce_write_ref(&in->sock, big, sizeof(big), NULL, NULL);
	for (int i = 0; i < 30; i++)
		sconce_loop_step(p.loop, 0.01);
	pair_quiet(&p);
	ck_assert_uint_gt(sconce_queued(&in->sock), 1024 * 1024);
	ck_assert_uint_le(sconce_queued(&dst->sock), 1024 * 1024);
	for (int i = 0; i < 100 && before != fault.recv + fault.splice + fault.send; i++) {	/* TCP moves on for a while */
		before = fault.recv + fault.splice + fault.send;
		for (int j = 0; j < 10; j++)
			sconce_loop_step(p.loop, 0.002);
	}
	pair_turn(&p, 20);
	ck_assert_uint_eq(fault.recv + fault.splice + fault.send, before);
	ck_assert_uint_eq(sconce_watching(&src->sock), 0);
	sconce_watch_read(&out->sock, true);
	PAIR_UNTIL(&p, out->in_len == sizeof(big));
	ck_assert(bytes_are(out->in, sizeof(big), 0));
}
END_TEST

/* A destination that turns out not to take splices, with input in the pipe already: copied instead. */
START_TEST(test_transfer_destination_refuses_splice)
{
	sconce_watch_read(&out->sock, false);
	sconce_transfer(&src->sock, &dst->sock, 4000000, log_done, (void *)(uintptr_t)"T");
	sconce_write_ref(&in->sock, big, 4000000, NULL, NULL);
	pair_quiet(&p);
	ck_assert_uint_gt(fault.splice, 0);
	fault.no_splice = true;
	sconce_watch_read(&out->sock, true);
	PAIR_UNTIL(&p, out->in_len == 4000000);
	ck_assert(bytes_are(out->in, 4000000, 0));
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "T=0 "));
}
END_TEST

/* A slow destination, a few bytes a time: nothing lost, nothing twice. */
START_TEST(test_transfer_slow_destination)
{
	fault.no_splice = _i;
	fault.fd = dst->sock.fd;
	fault.max_send = 1777;
	fault.eintr = true;
	sconce_transfer(&src->sock, &dst->sock, 300000, NULL, NULL);
	sconce_write(&dst->sock, ">", 1);
	sconce_write_ref(&in->sock, big, 300000, NULL, NULL);
	PAIR_UNTIL(&p, out->in_len == 300001);
	ck_assert(bytes_are(out->in, 300000, 0));
}
END_TEST

/* A slow source, one byte a turn: the same, and nothing spins between. */
START_TEST(test_transfer_slow_source)
{
	sconce_transfer(&src->sock, &dst->sock, 100000, NULL, NULL);
	for (int i = 0; i < 100; i++) {
		sconce_write(&in->sock, big + i, 1);
		PAIR_UNTIL(&p, out->in_len == (size_t)i + 1);
	}
	pair_quiet(&p);
	fault_reset();
	pair_turn(&p, 20);
	ck_assert_uint_eq(fault.recv + fault.splice, 0);
	ck_assert(bytes_are(out->in, 100, 0));
}
END_TEST

/* Whether this user may have them so: there is a limit to all of his together. */
static bool
pipes_are_large(void)
{
	int fds[2];
	bool large;

	ck_assert_int_eq(pipe(fds), 0);
	large = fcntl(fds[1], F_SETPIPE_SZ, 1024 * 1024) >= 0;
	close(fds[0]);
	close(fds[1]);
	return large;
}

/* A splice that brought no more than a packet of 64 KiB and the end of a message has brought all there was: it is not tried
 * again before the kernel tells of more.  Behind several packets it is. */
START_TEST(test_transfer_splices_once_a_packet)
{
	size_t pieces = (size_t)_i + 1, n = pieces * 66000;

	if (!pipes_are_large())
		return;
	sconce_transfer(&src->sock, &dst->sock, sizeof(big), NULL, NULL);
	pair_quiet(&p);
	fault_reset();
	for (size_t i = 0; i < pieces; i++)
		ck_assert_int_eq(send(sconce_fd(&in->sock), big + i * 66000, 66000, 0), 66000);
	pair_turn(&p, 1);
	ck_assert_uint_eq(fault.splice, pieces == 1 ? 2 : 3);
	PAIR_UNTIL(&p, out->in_len == n);
	ck_assert(bytes_are(out->in, n, 0));
	ck_assert_uint_eq(fault.splice, pieces == 1 ? 2 : 3);
}
END_TEST

/* A pipe that could not be enlarged, and is full, does not end the turn's share. */
START_TEST(test_transfer_small_pipes_are_filled_again)
{
	char bytes[66000];

	fault.small_pipes = true;
	sconce_transfer(&src->sock, &dst->sock, sizeof(big), NULL, NULL);
	pair_quiet(&p);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(send(sconce_fd(&in->sock), big + i * 66000, 66000, 0), 66000);
	out->reading = READ_NOTHING;
	out->on.read = NULL;
	pair_turn(&p, 1);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(recv(sconce_fd(&out->sock), bytes, sizeof(bytes), MSG_WAITALL | MSG_DONTWAIT), 66000);
	fault.small_pipes = false;
}
END_TEST

/* Pushed-back bytes of the source go first; they count. */
START_TEST(test_transfer_pushed_back_first)
{
	sconce_watch_read(&src->sock, false);
	sconce_write(&in->sock, big + 10, 50000);
	sconce_unread(&src->sock, big, 10);
	sconce_transfer(&src->sock, &dst->sock, _i == 0 ? 5 : 40000, log_done, (void *)(uintptr_t)"T");
	PAIR_UNTIL(&p, out->in_len == (_i == 0 ? 5u : 40000u));
	pair_quiet(&p);
	ck_assert(bytes_are(out->in, out->in_len, 0));
	ck_assert_uint_eq(sconce_unread_bytes(&src->sock), _i == 0 ? 5u : 0u);
}
END_TEST

/* Bytes pushed back while the transfer waits go, too. */
START_TEST(test_transfer_pushed_back_while_waiting)
{
	sconce_transfer(&src->sock, &dst->sock, 5, log_done, (void *)(uintptr_t)"T");
	pair_quiet(&p);
	sconce_unread(&src->sock, "12345", 5);
	PAIR_UNTIL(&p, out->in_len == 5);
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "T=0 "));
}
END_TEST

/* Wrong calls: an answer, and the completion all the same. */
START_TEST(test_transfer_refusals)
{
	struct sconce_loop *other;
	static struct end e;
	struct counted c = { 0 };

	ck_assert_int_eq(sconce_transfer(&src->sock, &src->sock, 1, count_done, &c), -EINVAL);
	ck_assert_int_ge(sconce_transfer(&src->sock, &dst->sock, SCONCE_TO_END, NULL, NULL), 0);
	ck_assert_int_eq(sconce_transfer(&src->sock, &in->sock, 1, count_done, &c), -EBUSY);
	ck_assert_int_ge(sconce_transfer(&in->sock, &dst->sock, 0, count_done, &c), 0);
	ck_assert_int_eq(sconce_loop_new(NULL, &other), 0);
	memset(&e, 0, sizeof(e));
	e.pair = &p;
	ck_assert_int_eq(sconce_sock_init(&e.sock, other, &end_ops, -1), 0);
	ck_assert_int_eq(sconce_transfer(&e.sock, &dst->sock, 1, count_done, &c), -EINVAL);
	ck_assert_int_eq(sconce_loop_free(other), 0);
	sconce_close(&out->sock, 0);
	ck_assert_int_eq(sconce_transfer(&out->sock, &dst->sock, 1, count_done, &c), -EBADF);
	ck_assert_int_eq(sconce_transfer(&in->sock, &out->sock, 1, count_done, &c), -EPIPE);
	ck_assert_int_eq(c.calls, 0);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 5);		/* the one of 0 bytes waits behind the other transfer */
	sconce_close(&src->sock, 0);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 6);
}
END_TEST

/* Detaching the source while it is read for another is refused. */
START_TEST(test_transfer_source_cannot_be_detached)
{
	sconce_transfer(&src->sock, &dst->sock, 100, NULL, NULL);
	ck_assert_int_eq(sconce_detach(&src->sock, NULL, 0, NULL), -EBUSY);
	ck_assert_int_eq(sconce_detach(&dst->sock, NULL, 0, NULL), -EBUSY);
}
END_TEST

static void
detach_src(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	src->n = sconce_detach(&src->sock, NULL, 0, NULL);
}

/* Nor while its completion is still to come; in that it can. */
START_TEST(test_transfer_source_is_detached_in_done)
{
	sconce_transfer(&src->sock, &dst->sock, 100, detach_src, (void *)(uintptr_t)"T");
	sconce_close(&dst->sock, 0);
	ck_assert_int_eq(sconce_detach(&src->sock, NULL, 0, NULL), -EBUSY);
	PAIR_UNTIL(&p, src->destroys == 1);
	ck_assert_int_ge(src->n, 0);
	close(src->n);
}
END_TEST

/* A megabyte of bytes before a transfer uses up the turn; the transfer still begins. */
START_TEST(test_transfer_behind_a_full_share)
{
	int size = 8 * 1024 * 1024;

	setsockopt(dst->sock.fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(out->sock.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	sconce_write_ref(&dst->sock, big, 1024 * 1024, NULL, NULL);
	sconce_transfer(&src->sock, &dst->sock, 5, NULL, NULL);
	sconce_write(&in->sock, "12345", 5);
	PAIR_UNTIL(&p, out->in_len == 1024 * 1024 + 5);
}
END_TEST

/* Two transfers in a row into one destination, from two sources: in order. */
START_TEST(test_transfer_two_sources_in_order)
{
	int fds[2];
	struct end *in2, *src2;

	wire_make(WIRE_UNIX, fds);
	in2 = end_open(&p, "in2", NULL, fds[0]);
	src2 = end_open(&p, "src2", NULL, fds[1]);
	sconce_transfer(&src->sock, &dst->sock, 100000, NULL, NULL);
	sconce_transfer(&src2->sock, &dst->sock, 100000, NULL, NULL);
	sconce_write(&in2->sock, big + 100000, 100000);
	pair_quiet(&p);
	ck_assert_uint_eq(out->in_len, 0);
	sconce_write(&in->sock, big, 100000);
	PAIR_UNTIL(&p, out->in_len == 200000);
	ck_assert(bytes_are(out->in, 200000, 0));
}
END_TEST

/* Binds a socket to a port of 127.0.0.1 and gives its endpoint's text. */
static int
bind_any(char *text, size_t size)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	snprintf(text, size, "127.0.0.1:%d", ntohs(sin.sin_port));
	return fd;
}

enum { CONNECTS, REFUSED, REFUSED_RELAY, OUTCOMES };

/* A source that is still connecting is waited for.  That it cannot is told to it as ever, and is no end of input. */
START_TEST(test_transfer_source_connecting)
{
	struct counted c = { 0 };
	struct end *to, *up;
	char text[32], got[8];
	int fd = bind_any(text, sizeof(text)), fds[2], peer;

	wire_make(WIRE_UNIX, fds);
	to = end_open(&p, "to", NULL, fds[0]);	/* new: the loop looks at it before it looks at `up` */
	up = end_open(&p, "up", NULL, -1);
	if (_i == CONNECTS)
		ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(sconce_connect(&up->sock, text), 0);
	if (_i == REFUSED_RELAY)
		ck_assert_int_eq(sconce_relay(&to->sock, &up->sock, count_done, &c), 0);
	else
		ck_assert_int_ge(sconce_transfer(&up->sock, &to->sock, SCONCE_TO_END, count_done, &c), 0);
	PAIR_UNTIL(&p, up->connects == 1);
	ck_assert_int_eq(up->errnum, _i == CONNECTS ? 0 : ECONNREFUSED);
	if (_i == CONNECTS) {
		peer = accept(fd, NULL, NULL);
		ck_assert_int_eq(write(peer, "hello", 5), 5);
		close(peer);
	} else if (_i == REFUSED) {
		pair_quiet(&p);
		ck_assert_int_eq(c.calls, 0);	/* it may be connected again */
		sconce_close(&up->sock, 0);
	}
	PAIR_UNTIL(&p, c.calls == 1);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, _i == CONNECTS ? 0 : _i == REFUSED ? -ECANCELED : -ECONNREFUSED);
	ck_assert_int_eq(recv(fds[1], got, sizeof(got), MSG_DONTWAIT), _i == CONNECTS ? 5 : -1);
	ck_assert_uint_eq(up->connects, 1);
	ck_assert_uint_eq(up->errs, 0);
	close(fds[1]);
	close(fd);
}
END_TEST

/* A source whose connect and two transfers end in one turn, the first before it is told that it is connected, the other behind:
 * all are told, and it is read from then on. */
START_TEST(test_transfer_source_connecting_fails_twice)
{
	static const char *const tags[] = { "T", "U" };
	struct end *to[2], *up = end_open(&p, "up", NULL, -1);
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[2], peers[2], peer;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(un);
	char text[64];

	ck_assert_int_eq(bind(lfd, (struct sockaddr *)&un, sizeof(sa_family_t)), 0);	/* the kernel finds a name */
	ck_assert_int_eq(listen(lfd, 1), 0);
	ck_assert_int_eq(getsockname(lfd, (struct sockaddr *)&un, &len), 0);
	snprintf(text, sizeof(text), "unix:///@%.*s", (int)(len - offsetof(struct sockaddr_un, sun_path) - 1), un.sun_path + 1);
	for (int i = 0; i < 2; i++) {
		wire_make(WIRE_UNIX, fds);
		to[i] = end_open(&p, i == 0 ? "to0" : "to1", NULL, fds[0]);
		peers[i] = fds[1];
	}
	pair_quiet(&p);
	for (int i = 0; i < 2; i++) {
		close(peers[i]);
		sconce_write(&to[i]->sock, "x", 1);
		if (i == 0)				/* the loop sees to to0, up, to1, as they have come */
			ck_assert_int_eq(sconce_connect(&up->sock, text), 0);
		ck_assert_int_ge(sconce_transfer(&up->sock, &to[i]->sock, 100, log_done, (void *)(uintptr_t)tags[i]), 0);
		sconce_flush(&to[i]->sock);		/* there is nobody: the transfer is over, though not told yet */
	}
	PAIR_UNTIL(&p, up->connects == 1 && to[0]->errs == 1 && to[1]->errs == 1);
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-32 "));
	ck_assert_ptr_nonnull(strstr(p.log, "U=-32 "));
	ck_assert_uint_eq(sconce_paused(&up->sock), 0);
	peer = accept(lfd, NULL, NULL);
	ck_assert_int_eq(write(peer, "hello", 5), 5);
	PAIR_UNTIL(&p, up->in_len == 5);
	close(peer);
	close(lfd);
}
END_TEST

static void
wish_again(struct end *e)
{
	sconce_watch_write(&e->sock, true);
}

/* A wish to write behind a transfer that waits for its source lets the loop sleep, and is fulfilled afterwards. */
START_TEST(test_transfer_waiting_with_watch_write_does_not_spin)
{
	double start;

	sconce_transfer(&src->sock, &dst->sock, 5, NULL, NULL);
	dst->on.write = wish_again;
	sconce_watch_write(&dst->sock, true);
	pair_turn(&p, 5);
	start = t_seconds();
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(sconce_loop_step(p.loop, 0.01), 0);
	ck_assert(t_seconds() - start > 0.04);
	ck_assert_uint_eq(dst->writes, 0);
	sconce_write(&in->sock, "12345", 5);
	PAIR_UNTIL(&p, dst->writes > 0);
	dst->on.write = NULL;
	sconce_watch_write(&dst->sock, false);
	PAIR_UNTIL(&p, out->in_len == 5);
}
END_TEST

/* Fills the pipe of a transfer whose destination takes no more; returns how much is in it. */
static uint64_t
fill_the_pipe(void)
{
	sconce_watch_read(&out->sock, false);
	sconce_transfer(&src->sock, &dst->sock, 4000000, log_done, (void *)(uintptr_t)"T");
	sconce_write_ref(&in->sock, big, 4000000, NULL, NULL);
	pair_quiet(&p);
	ck_assert_uint_gt(fault.splice, 0);
	ck_assert_uint_gt(sconce_queued(&dst->sock), 0);
	return sconce_queued(&dst->sock);
}

/* HZ-22: no memory for what has to be copied out of the pipe: it stays there until there is some, nobody fails. */
START_TEST(test_transfer_destination_refuses_splice_without_memory)
{
	fill_the_pipe();
	fault.no_splice = fault.alloc_fail_all = true;
	fault.alloc_fail = 1;
	sconce_watch_read(&out->sock, true);
	for (int i = 0; i < PAIR_TURNS && fault.failed < 3; i++)
		sconce_loop_step(p.loop, 0);
	ck_assert_int_ge(fault.failed, 3);
	ck_assert_uint_eq(dst->errs, 0);
	fault.alloc_fail_all = false;
	fault.alloc_fail = 0;
	PAIR_UNTIL(&p, out->in_len == 4000000);
	ck_assert(bytes_are(out->in, 4000000, 0));
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "T=0 "));
}
END_TEST

/* What was in the pipe has not been sent: `unsent` tells, whoever goes first. */
START_TEST(test_transfer_unsent_counts_the_pipe)
{
	uint64_t stuck = fill_the_pipe();

	if (_i == 1) {
		sconce_close(&out->sock, 0);
		PAIR_UNTIL(&p, dst->errs == 1);
	}
	sconce_close(&dst->sock, 0);
	pair_turn(&p, 2);
	ck_assert_uint_eq(dst->unsent, stuck);
}
END_TEST

/* The source is closed: what it gave is delivered, what is in the pipe too. */
START_TEST(test_transfer_source_closed_delivers_the_pipe)
{
	uint64_t given = fill_the_pipe();

	given += sconce_transferred(&src->sock);
	sconce_close(&src->sock, 0);
	pair_quiet(&p);
	sconce_watch_read(&out->sock, true);
	PAIR_UNTIL(&p, strstr(p.log, "T=-125 ") != NULL);
	pair_quiet(&p);
	ck_assert_uint_eq(out->in_len, given);
	ck_assert(bytes_are(out->in, given, 0));
}
END_TEST

static uint64_t seed, expected;
static bool busy, settling;

static unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static void
part_done(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	(void)arg;
	if (status != 0 && status != -ENOMEM)
		ck_assert_int_eq(status, settling ? -ECANCELED : 0);
	busy = false;
}

static void
check_out(struct end *e)
{
	static char buf[100000];
	ssize_t n = sconce_read(&e->sock, buf, 1 + rnd(sizeof(buf)));

	if (n > 0) {
		ck_assert(memcmp(buf, big + expected, (size_t)n) == 0);
		expected += (uint64_t)n;
	}
}

/* Moves the next part of the stream, in some way: as a transfer, or read, partly pushed back, and written. */
static void
move_part(struct end *e)
{
	static char buf[100000];
	static const unsigned limits[] = { 20, 3000, 50000, 300000 };
	size_t n = 1 + rnd(limits[rnd(4)]), back;
	ssize_t r;

	(void)e;
	if (busy)
		return;
	if (rnd(3) > 0) {
		busy = true;
		sconce_transfer(&src->sock, &dst->sock, n, part_done, NULL);
		return;
	}
	r = sconce_read(&src->sock, buf, n < sizeof(buf) ? n : sizeof(buf));
	if (r <= 0)
		return;
	back = settling ? 0 : rnd((unsigned)r + 1);
	if (sconce_unread(&src->sock, buf + r - back, back) < 0)
		back = 0;
	fault.alloc_fail = 0;
	ck_assert_int_ge(sconce_write(&dst->sock, buf, (size_t)r - back), 0);
}

/* HZ-22, HZ-11: a stream moved in parts by all means, over failing calls and little memory: every byte once, in order. */
START_TEST(test_transfer_random_parts)
{
	static const size_t limits[] = { 0, 0, 100, 7777, 60000 };
	uint64_t from = 0;

	seed = (uint64_t)_i * 7919 + 1;
	rnd(1);
	expected = 0;
	busy = settling = false;
	src->on.read = move_part;
	out->on.read = check_out;
	for (int i = 0; i < 600; i++) {
		size_t n = 1 + rnd(20000);

		if (rnd(10) == 0) {
			fault.eintr = rnd(2);
			fault.max_send = limits[rnd(5)];
			fault.max_recv = limits[rnd(5)];
			fault.send_again = rnd(3) == 0 ? rnd(4) : 0;
			fault.no_splice = rnd(3) == 0;
			fault.alloc_fail = rnd(3) == 0 ? 1 + rnd(6) : 0;
			sconce_watch_read(&out->sock, rnd(3) > 0);
		}
		if (sconce_write_ref(&in->sock, big + from, n, NULL, NULL) >= 0)
			from += n;
		if (rnd(3) == 0)
			move_part(NULL);
		sconce_loop_step(p.loop, 0);
		sconce_verify(p.loop);
	}
	fault.max_send = fault.max_recv = 0;
	fault.send_again = fault.alloc_fail = 0;
	sconce_watch_read(&out->sock, true);
	settling = true;
	if (!busy)
		move_part(NULL);
	PAIR_UNTIL(&p, expected == from);
}
END_TEST

/* ---- relay ---- */

/* Both ways, each end passed on as a half-close; done once, when both have ended. Neither is closed.  (IM-23) */
START_TEST(test_relay_both_ways)
{
	ck_assert_int_eq(sconce_relay(&src->sock, &dst->sock, log_done, (void *)(uintptr_t)"R"), 0);
	sconce_write_ref(&in->sock, big, sizeof(big), NULL, NULL);
	sconce_write_ref(&out->sock, big + 1000, 3000000, NULL, NULL);
	sconce_shutdown(&in->sock, SHUT_WR);
	PAIR_UNTIL(&p, out->ended);
	ck_assert_uint_eq(out->in_len, sizeof(big));
	ck_assert(bytes_are(out->in, sizeof(big), 0));
	ck_assert_ptr_null(strstr(p.log, "R="));
	sconce_write(&out->sock, "last", 4);		/* half-closed: the answer still comes */
	sconce_shutdown(&out->sock, SHUT_WR);
	PAIR_UNTIL(&p, in->ended);
	ck_assert_uint_eq(in->in_len, 3000004);
	ck_assert(bytes_are(in->in, 3000000, 1000));
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "R=0 "));
	ck_assert(!src->sock.closed && !dst->sock.closed);
}
END_TEST

/* One side is closed: done once, with an error. */
START_TEST(test_relay_side_closed)
{
	static struct counted c;

	c = (struct counted){ 0 };
	sconce_relay(&src->sock, &dst->sock, count_done, &c);
	sconce_write(&in->sock, "x", 1);
	PAIR_UNTIL(&p, out->in_len == 1);
	sconce_close(_i == 0 ? &src->sock : &dst->sock, 0);
	PAIR_UNTIL(&p, c.calls == 1);
	ck_assert_int_eq(c.status, -ECANCELED);
	sconce_close(_i == 0 ? &dst->sock : &src->sock, 0);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 1);
}
END_TEST

static void
close_both(struct sconce_sock *s, void *arg, int status)
{
	count_done(s, arg, status);
	sconce_close(&src->sock, 0);
	sconce_close(&dst->sock, 0);
}

/* A reset on one side, and both closed in the completion. */
START_TEST(test_relay_reset_closes_both_in_done)
{
	static struct counted c;

	c = (struct counted){ 0 };
	sconce_relay(&src->sock, &dst->sock, close_both, &c);
	sconce_write_ref(&in->sock, big, 1000000, NULL, NULL);
	pair_turn(&p, 2);
	if (_i == 0)
		sconce_abort(&in->sock);
	else
		sconce_abort(&out->sock);
	PAIR_UNTIL(&p, src->destroys == 1 && dst->destroys == 1);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_lt(c.status, 0);
}
END_TEST

/* Relay of what is closed already: refused, and told from the loop. */
START_TEST(test_relay_refused)
{
	static struct counted c;

	sconce_close(&dst->sock, 0);
	ck_assert_int_lt(sconce_relay(&src->sock, &dst->sock, count_done, &c), 0);
	ck_assert_int_eq(c.calls, 0);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_lt(c.status, 0);
}
END_TEST

/* A relay whose second half cannot be has not begun the first either. */
START_TEST(test_relay_refused_has_begun_nothing)
{
	struct counted c = { 0 };
	struct end *other;
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	other = end_open(&p, "other", NULL, fds[0]);
	ck_assert_int_ge(sconce_transfer(&src->sock, &other->sock, SCONCE_TO_END, NULL, NULL), 0);
	ck_assert_int_eq(sconce_relay(_i == 0 ? &src->sock : &dst->sock, _i == 0 ? &dst->sock : &src->sock, count_done, &c), -EBUSY);
	ck_assert_uint_eq(sconce_paused(&dst->sock), 0);
	sconce_write(&out->sock, "hello", 5);
	PAIR_UNTIL(&p, dst->in_len == 5);
	pair_quiet(&p);
	ck_assert_uint_eq(sconce_queued_items(&src->sock) + sconce_queued_items(&dst->sock), 0);
	ck_assert_uint_eq(in->in_len, 0);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, -EBUSY);
	close(fds[1]);
}
END_TEST

/* HZ-22: without memory, an error has begun nothing, and a success that is none is told by done(). */
START_TEST(test_relay_without_memory)
{
	static struct counted c;	/* done() may run when the loop is freed */
	int r;

	c = (struct counted){ 0 };
	fault.alloc_fail = 1 + _i;
	fault.failed = 0;
	r = sconce_relay(&src->sock, &dst->sock, count_done, &c);
	fault.alloc_fail = 0;
	pair_quiet(&p);
	if (fault.failed == 0 || r < 0)
		ck_assert_int_eq(r, fault.failed == 0 ? 0 : -ENOMEM);
	ck_assert_int_eq(c.calls, fault.failed > 0);
	ck_assert_int_eq(c.status, fault.failed > 0 ? -ENOMEM : 0);
	if (r < 0)
		ck_assert_uint_eq(sconce_paused(&src->sock) | sconce_paused(&dst->sock), 0);
}
END_TEST

static const struct sconce_sock_ops bare_ops = { .name = "bare", .event_close = end_event_close, .destroy = end_destroy };

/* A source without hooks whose peer goes while its input waits for a slow destination is not closed under the
 * transfer: all of the input arrives, and the completion tells how it ended. */
START_TEST(test_transfer_bare_source_peer_gone)
{
	static struct counted c;
	int one[2], two[2];
	struct end *from, *to;
	size_t got = 0, sent = 0;
	char buf[4096];
	ssize_t n;

	c = (struct counted){ 0 };
	wire_make(WIRE_TCP, one);
	wire_make(WIRE_UNIX, two);
	wire_narrow(two[0]);
	wire_narrow(two[1]);
	fcntl(two[1], F_SETFL, O_NONBLOCK);
	fcntl(one[1], F_SETFL, O_NONBLOCK);
	from = end_open(&p, "from", &bare_ops, one[0]);
	to = end_open(&p, "to", &bare_ops, two[0]);
	while ((n = write(one[1], big + sent, 100000)) > 0)
		sent += (size_t)n;
	sconce_transfer(&from->sock, &to->sock, SCONCE_TO_END, count_done, &c);
	pair_turn(&p, 20);
	ck_assert_int_eq(c.calls, 0);
	if (_i == 0)
		sconce_shutdown(&from->sock, SHUT_WR);	/* with the peer's end: both directions are gone */
	close(one[1]);
	for (int i = 0; i < 20000 && (c.calls == 0 || got < sent); i++) {
		n = read(two[1], buf, sizeof(buf));
		if (n > 0) {
			ck_assert(bytes_are(buf, (size_t)n, got));
			got += (size_t)n;
		}
		sconce_loop_step(p.loop, n > 0 ? 0 : 0.002);
	}
	ck_assert_uint_eq(got, sent);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, 0);
	ck_assert_uint_eq(from->closes, 0);
	close(two[1]);
	sconce_close(&from->sock, 0);
	sconce_close(&to->sock, 0);
}
END_TEST

/* A relay in progress when the loop goes: told once, nothing left. */
START_TEST(test_relay_loop_free)
{
	static struct counted c;

	sconce_relay(&src->sock, &dst->sock, count_done, &c);
	sconce_watch_read(&out->sock, false);
	sconce_write_ref(&in->sock, big, sizeof(big), NULL, NULL);
	pair_turn(&p, 20);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("transfer");
	TCase *c;

	bytes_fill(big, sizeof(big), 0);	/* once: the tests are forked from here */
	c = t_case(s, "transfer");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 20);
	tcase_add_loop_test(c, test_transfer_sizes, 0, 2 * SIZES);
	tcase_add_loop_test(c, test_transfer_to_end, 0, 2 * SIZES);
	tcase_add_loop_test(c, test_transfer_source_ends_early, 0, 2);
	tcase_add_test(c, test_transfer_source_ends_early_without_done);
	tcase_add_test(c, test_transfer_source_closed);
	tcase_add_test(c, test_transfer_destination_closed);
	tcase_add_test(c, test_transfer_source_reads_after_done);
	tcase_add_test(c, test_transfer_next_before_done);
	tcase_add_test(c, test_transfer_source_fails);
	tcase_add_test(c, test_transfer_destination_fails);
	tcase_add_loop_test(c, test_transfer_back_pressure, 0, 2);
	tcase_add_loop_test(c, test_transfer_slow_destination, 0, 2);
	tcase_add_test(c, test_transfer_slow_source);
	tcase_add_loop_test(c, test_transfer_splices_once_a_packet, 0, 2);
	tcase_add_test(c, test_transfer_small_pipes_are_filled_again);
	tcase_add_test(c, test_transfer_destination_refuses_splice);
	tcase_add_loop_test(c, test_transfer_pushed_back_first, 0, 2);
	tcase_add_test(c, test_transfer_pushed_back_while_waiting);
	tcase_add_test(c, test_transfer_refusals);
	tcase_add_test(c, test_transfer_source_cannot_be_detached);
	tcase_add_test(c, test_transfer_source_is_detached_in_done);
	tcase_add_test(c, test_transfer_behind_a_full_share);
	tcase_add_test(c, test_transfer_two_sources_in_order);
	tcase_add_loop_test(c, test_transfer_source_connecting, 0, OUTCOMES);
	tcase_add_test(c, test_transfer_source_connecting_fails_twice);
	tcase_add_test(c, test_transfer_waiting_with_watch_write_does_not_spin);
	tcase_add_test(c, test_transfer_destination_refuses_splice_without_memory);
	tcase_add_loop_test(c, test_transfer_unsent_counts_the_pipe, 0, 2);
	tcase_add_test(c, test_transfer_source_closed_delivers_the_pipe);
	tcase_add_loop_test(c, test_transfer_random_parts, 0, 20);

	c = t_case(s, "transfer_tcp");
	tcase_add_checked_fixture(c, setup_tcp, teardown);
	tcase_set_timeout(c, 20);
	tcase_add_loop_test(c, test_transfer_sizes, 0, 2 * SIZES);
	tcase_add_loop_test(c, test_transfer_to_end, 0, 2 * SIZES);
	tcase_add_loop_test(c, test_transfer_back_pressure, 0, 2);
	tcase_add_loop_test(c, test_transfer_slow_destination, 0, 2);
	tcase_add_loop_test(c, test_transfer_random_parts, 100, 120);

	c = t_case(s, "bare");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, test_transfer_bare_source_peer_gone, 0, 2);

	c = t_case(s, "relay");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_relay_both_ways);
	tcase_add_loop_test(c, test_relay_side_closed, 0, 2);
	tcase_add_test(c, test_relay_refused);
	tcase_add_loop_test(c, test_relay_refused_has_begun_nothing, 0, 2);
	tcase_add_loop_test(c, test_relay_without_memory, 0, 12);
	tcase_add_test(c, test_relay_loop_free);

	c = t_case(s, "relay_tcp");
	tcase_add_checked_fixture(c, setup_tcp, teardown);
	tcase_add_test(c, test_relay_both_ways);
	tcase_add_loop_test(c, test_relay_reset_closes_both_in_done, 0, 2);
	return s;
}

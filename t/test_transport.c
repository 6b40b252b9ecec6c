/* The transport slot, proven by one that transforms bytes, stalls, asks for the other direction and shakes hands; DS-11, DS-54. */
#include "test_net.h"

#include "core.h"

/* ---- the transport ---- */

struct veil {
	unsigned seed;			/* 0: it never stalls and takes all it is given */
	size_t most;			/* bytes per call */
	bool swap;			/* its reads may ask for WRITE */
	uint64_t in_at, out_at;		/* bytes so far: they decide the key */
	/* reading ahead */
	bool ahead;			/* reads all there is into `held` */
	char held[65536];
	size_t held_at, held_len;
	int ahead_end;			/* the end has been read */
	char ahead_bye;			/* a byte that is the peer's end; 0: none */
	/* handshake: `rounds` times a byte out and a byte in */
	int rounds, handshakes;
	bool byte_out;
	int handshake_error;
	/* asking for the other direction until something has come or gone */
	bool write_waits_for_byte, read_waits_for_room;
	int shutdown_stalls;
	int shutdown_want;
	int shutdowns;
	int read_error, write_error;
	int reads, writes, finis;
	bool heap;
};

static unsigned
veil_random(struct veil *v)
{
	v->seed = v->seed * 1103515245 + 12345;
	return v->seed >> 16 & 0x7fff;
}

static char
key(uint64_t at)
{
	return (char)(at * 7 + 3);
}

/* How many bytes this call handles; 0: it stalls. */
static size_t
portion(struct veil *v)
{
	if (v->seed == 0)
		return v->most;
	if (veil_random(v) % 3 == 0)
		return 0;
	return 1 + veil_random(v) % v->most;
}

static int
veil_handshake(struct sconce_sock *s, void *state)
{
	struct veil *v = state;
	char byte = 'h';
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	ssize_t n;

	v->handshakes++;
	if (v->handshake_error != 0)
		return -v->handshake_error;
	while (v->rounds > 0) {
		if (!v->byte_out) {
			n = sconce_raw_writev(s, &iov, 1);
			if (n != 1)
				return (int)n;
			v->byte_out = true;
		}
		n = sconce_raw_readv(s, &iov, 1);
		if (n == 0)
			return -ECONNRESET;
		if (n != 1)
			return (int)n;
		ck_assert_int_eq(byte, 'h');
		v->byte_out = false;
		v->rounds--;
	}
	return 0;
}

/* Bytes of `held` into iov[0]. */
static ssize_t
give_held(struct veil *v, const struct iovec *iov)
{
	size_t n = v->held_len - v->held_at;

	if (n > iov->iov_len)
		n = iov->iov_len;
	if (n > v->most)
		n = v->most;
	memcpy(iov->iov_base, v->held + v->held_at, n);
	v->held_at += n;
	return (ssize_t)n;
}

static ssize_t
read_ahead(struct sconce_sock *s, struct veil *v, const struct iovec *out)
{
	struct iovec iov = { .iov_base = v->held, .iov_len = sizeof(v->held) };
	ssize_t n;

	if (v->held_at < v->held_len)
		return v->ahead_bye != 0 && v->held[v->held_at] == v->ahead_bye ? 0 : give_held(v, out);
	if (v->ahead_end)
		return 0;
	n = sconce_raw_readv(s, &iov, 1);
	if (n <= 0) {
		v->ahead_end = n == 0;
		return n;
	}
	v->held_at = 0;
	v->held_len = (size_t)n;
	for (size_t i = 0; i < v->held_len; i++)
		v->held[i] ^= key(v->in_at++);
	return give_held(v, out);
}

static ssize_t
veil_readv(struct sconce_sock *s, void *state, const struct iovec *iov, int count)
{
	struct veil *v = state;
	struct iovec part = iov[0];
	char *p = part.iov_base, byte = 'r';
	size_t want;
	ssize_t n;

	ck_assert_int_ge(count, 1);
	v->reads++;
	if (v->read_error != 0)
		return -v->read_error;
	if (v->write_waits_for_byte) {	/* whoever reads finds it */
		n = sconce_raw_readv(s, &(struct iovec){ .iov_base = &byte, .iov_len = 1 }, 1);
		if (n != 1)
			return n;
		v->write_waits_for_byte = false;
	}
	if (v->read_waits_for_room) {
		n = sconce_raw_writev(s, &(struct iovec){ .iov_base = &byte, .iov_len = 1 }, 1);
		if (n != 1)
			return n;
		v->read_waits_for_room = false;
	}
	if (v->ahead)
		return read_ahead(s, v, iov);
	want = portion(v);
	if (want == 0)
		return v->swap && veil_random(v) % 2 ? SCONCE_WANT_WRITE : SCONCE_WANT_READ;
	if (part.iov_len > want)
		part.iov_len = want;
	n = sconce_raw_readv(s, &part, 1);
	for (ssize_t i = 0; i < n; i++)
		p[i] ^= key(v->in_at++);
	return n;
}

static ssize_t
veil_writev(struct sconce_sock *s, void *state, const struct iovec *iov, int count)
{
	struct veil *v = state;
	char buf[4096], byte;
	size_t want = portion(v), len = 0;
	ssize_t n;

	v->writes++;
	if (v->write_error != 0)
		return -v->write_error;
	if (v->write_waits_for_byte) {
		n = sconce_raw_readv(s, &(struct iovec){ .iov_base = &byte, .iov_len = 1 }, 1);
		if (n != 1)
			return n;
		v->write_waits_for_byte = false;
	}
	if (want == 0)
		return SCONCE_WANT_WRITE;
	if (want > sizeof(buf))
		want = sizeof(buf);
	for (int i = 0; i < count; i++)
		for (size_t j = 0; j < iov[i].iov_len && len < want; j++, len++)
			buf[len] = (char)(((char *)iov[i].iov_base)[j] ^ key(v->out_at + len));
	n = sconce_raw_writev(s, &(struct iovec){ .iov_base = buf, .iov_len = len }, 1);
	if (n > 0)
		v->out_at += (uint64_t)n;
	return n;
}

static int
veil_shutdown(struct sconce_sock *s, void *state)
{
	struct veil *v = state;

	v->shutdowns++;
	if (v->shutdown_stalls-- > 0)
		return v->shutdown_want;
	return shutdown(sconce_fd(s), SHUT_WR) < 0 ? -errno : 0;
}

static size_t
veil_pending(const struct sconce_sock *s, const void *state)
{
	const struct veil *v = state;

	(void)s;
	return v->held_len - v->held_at;
}

static void
veil_fini(struct sconce_sock *s, void *state)
{
	struct veil *v = state;

	(void)s;
	v->finis++;
	note(conn_of(s), 'F');
	if (v->heap)
		free(v);
}

static const struct sconce_transport veil = {
	.name = "veil", .readv = veil_readv, .writev = veil_writev, .shutdown = veil_shutdown, .pending = veil_pending,
	.fini = veil_fini,
};
static const struct sconce_transport veil_shaking = {
	.name = "shaking veil", .handshake = veil_handshake, .readv = veil_readv, .writev = veil_writev,
	.shutdown = veil_shutdown, .pending = veil_pending, .fini = veil_fini,
};
static const struct sconce_transport veil_simple = { .name = "simple", .readv = veil_readv, .writev = veil_writev };

/* ---- fixtures ---- */

static struct conn a, b;
static struct veil va, vb;
static int far;				/* the plain end of a pair whose other end is `a` */

static void
veil_init(struct veil *v)
{
	memset(v, 0, sizeof(*v));
	v->most = 4096;
}

/* Both ends are ours. */
static void
pair_open(void)
{
	int sv[2], small = 4096;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	for (int i = 0; i < 2; i++)
		setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	conn_init(&a, &conn_ops, sv[0]);
	conn_init(&b, &conn_ops, sv[1]);
	veil_init(&va);
	veil_init(&vb);
}

/* One end is plain. */
static void
half_open(const struct sconce_sock_ops *ops)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&a, ops, sv[0]);
	far = sv[1];
	veil_init(&va);
}

static void
check_far_reads(const char *text)
{
	char buf[256];
	size_t len = strlen(text);

	ck_assert_uint_eq(plain_read(far, buf, len), len);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq((char)(buf[i] ^ key(i)), text[i]);
}

static void
far_writes(const char *text, size_t at)
{
	size_t len = strlen(text);
	char buf[256];

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(text[i] ^ key(at + i));
	ck_assert_int_eq(write(far, buf, len), (ssize_t)len);
}

static void
fill(char *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		buf[i] = (char)(seed >> 24);
	}
}

/* ---- bytes ---- */

enum { BULK = 100000 };

static void
exchange(unsigned seed, size_t most, bool swap)
{
	static char out_a[BULK], out_b[BULK];
	size_t len = most < 8 ? 3000 : BULK;

	pair_open();
	va.seed = seed;
	vb.seed = seed == 0 ? 0 : seed + 1000;
	va.most = vb.most = most;
	va.swap = swap;		/* two ends whose reads both wait for room may wait for each other */
	va.shutdown_stalls = vb.shutdown_stalls = seed % 3;
	va.shutdown_want = vb.shutdown_want = SCONCE_WANT_WRITE;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_eq(sconce_set_transport(&b.sock, &veil, &vb), 0);
	fill(out_a, len, seed);
	fill(out_b, len, seed + 1);
	ck_assert_int_ge(sconce_write(&a.sock, out_a, len / 2), 0);
	ck_assert_int_ge(sconce_write_ref(&a.sock, out_a + len / 2, len - len / 2, conn_done, NULL), 0);
	ck_assert_int_ge(sconce_write(&b.sock, out_b, len), 0);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_WR), 0);
	ck_assert_int_eq(sconce_shutdown(&b.sock, SHUT_WR), 0);
	for (int i = 0; i < 200000 && !(a.end && b.end); i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0.1), 0);
	ck_assert(a.end && b.end);
	ck_assert_uint_eq(a.in_len, len);
	ck_assert_uint_eq(b.in_len, len);
	ck_assert_int_eq(memcmp(a.in, out_b, len), 0);
	ck_assert_int_eq(memcmp(b.in, out_a, len), 0);
	ck_assert_int_eq(a.done_status, 0);
	ck_assert_int_eq(va.shutdowns, (int)(seed % 3) + 1);
	sconce_verify(loop);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	sconce_close(&b.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(va.finis, 1);
	ck_assert_int_eq(vb.finis, 1);
	ck_assert_ptr_nonnull(strstr(a.log, "XFZ"));
}

/* Bytes that are transformed arrive whole and in order in both directions, and so do the ends; DS-54. */
START_TEST(test_transport_bytes_arrive_in_order)
{
	exchange(0, 4096, false);
	exchange(0, 1, false);
}
END_TEST

/* Whatever the transport's stalls and portions are, also when reading waits for writing; DS-54. */
START_TEST(test_transport_random_stalls_lose_nothing)
{
	for (unsigned seed = 1; seed <= 40; seed++)
		exchange(seed, seed % 4 == 0 ? 1 : 1 + seed * 53 % 3000, seed % 2);
}
END_TEST

/* A write that waits for input: only that is watched, nothing spins, and it goes on when input comes, paused or not. */
START_TEST(test_transport_write_wants_read_goes_on_with_input)
{
	for (int paused = 0; paused < 2; paused++) {
		half_open(&conn_ops);
		va.write_waits_for_byte = true;
		if (paused)
			sconce_watch_read(&a.sock, false);
		ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
		ck_assert_int_ge(sconce_write(&a.sock, "hello", 5), 0);
		ck_assert_int_ge(sconce_write_cb(&a.sock, conn_done, NULL), 0);
		for (int i = 0; i < 10; i++)
			ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
		ck_assert_int_le(va.writes, 2);
		ck_assert_uint_eq(sconce_queued(&a.sock), 5);
		ck_assert_int_eq(write(far, "!", 1), 1);
		NET_UNTIL(strchr(a.log, 'd') != NULL);
		ck_assert_uint_eq(a.in_len, 0);
		check_far_reads("hello");
		ck_assert_int_eq(a.done_status, 0);
		sconce_close(&a.sock, SCONCE_REASON_LOCAL);
		net_settle();
		close(far);
	}
}
END_TEST

/* A read that waits for room: readable input does not spin, and is read when there is room. */
START_TEST(test_transport_read_wants_write_goes_on_with_room)
{
	char junk[65536], got[65536];
	size_t full = 0, drained = 0;
	ssize_t n;

	half_open(&conn_ops);
	memset(junk, 'j', sizeof(junk));
	while ((n = send(sconce_fd(&a.sock), junk, sizeof(junk), MSG_DONTWAIT)) > 0)
		full += (size_t)n;
	va.read_waits_for_room = true;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	far_writes("hello", 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	ck_assert_int_le(va.reads, 2);
	ck_assert_uint_eq(a.in_len, 0);
	while (drained < full)
		drained += plain_read(far, got, full - drained < sizeof(got) ? full - drained : sizeof(got));
	NET_UNTIL(a.in_len == 5);
	ck_assert_int_eq(memcmp(a.in, "hello", 5), 0);
	ck_assert_uint_eq(plain_read(far, got, 1), 1);
	ck_assert_int_eq(got[0], 'r');
	close(far);
}
END_TEST

static void
read_a_little(struct conn *c)
{
	char buf[10];
	ssize_t n = sconce_read(&c->sock, buf, sizeof(buf));

	if (n > 0) {
		c->in = realloc(c->in, c->in_len + (size_t)n);
		memcpy(c->in + c->in_len, buf, (size_t)n);
		c->in_len += (size_t)n;
	}
	c->end = n == 0;
}

/* What a transport holds is offered without the kernel's saying so, and the loop does not sleep over it.  (IM-24) */
START_TEST(test_transport_pending_is_offered_without_sleep)
{
	static char text[201];
	double start;

	half_open(&conn_ops);
	a.on_read = read_a_little;
	va.ahead = true;
	va.most = 7;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	memset(text, 'p', 200);
	far_writes(text, 0);
	close(far);
	start = sconce_now(loop);
	for (int i = 0; i < 200 && !a.end; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 5), 0);
	ck_assert_uint_eq(a.in_len, 200);
	ck_assert(a.end);
	ck_assert(sconce_now(loop) - start < 2);
}
END_TEST

/* What is pending waits while reads are paused, and comes when they are on again. */
START_TEST(test_transport_pending_paused_waits)
{
	half_open(&conn_ops);
	a.on_read = read_a_little;
	va.ahead = true;
	va.most = 3;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	far_writes("0123456789", 0);
	ck_assert_int_ge(sconce_loop_step(loop, 1), 0);
	sconce_watch_read(&a.sock, false);
	net_settle();
	ck_assert_uint_lt(a.in_len, 10);
	sconce_watch_read(&a.sock, true);
	NET_UNTIL(a.in_len == 10);
	ck_assert_int_eq(memcmp(a.in, "0123456789", 10), 0);
	close(far);
}
END_TEST

static void
read_twelve(struct conn *c)
{
	const void *data;
	ssize_t n = sconce_read_shared(&c->sock, &data);

	if (n > 0 && n < 3)			/* not yet enough */
		ck_assert_int_eq(sconce_unread(&c->sock, data, (size_t)n), 0);
	else if (n > 0)
		c->in_len += (size_t)n;
}

/* What a transport holds behind pushed-back bytes is offered, too. */
START_TEST(test_transport_pending_behind_pushed_back_is_offered)
{
	half_open(&conn_ops);
	a.on_read = read_twelve;
	va.ahead = true;
	va.most = 4;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	far_writes("ab", 0);
	net_settle();
	far_writes("0123456789AB", 2);
	NET_UNTIL(a.in_len == 14);
	close(far);
}
END_TEST

/* A transfer from a socket that still shakes hands waits for the end of that, and takes nothing of it. */
START_TEST(test_transport_transfer_waits_for_handshake)
{
	char got[5];
	int sv[2];

	half_open(&conn_ops);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&b, &conn_ops, sv[0]);
	va.rounds = 1;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_int_ge(sconce_transfer(&a.sock, &b.sock, 5, conn_done, NULL), 0);
	net_settle();
	ck_assert_int_eq(va.reads, 0);
	ck_assert_int_eq(write(far, "h", 1), 1);
	far_writes("hello", 0);
	NET_UNTIL(strchr(b.log, 'd') != NULL);
	ck_assert_int_eq(b.done_status, 0);
	ck_assert_uint_eq(plain_read(sv[1], got, 5), 5);
	ck_assert_int_eq(memcmp(got, "hello", 5), 0);
	close(sv[1]);
	close(far);
}
END_TEST

static void
shake_and_write(struct conn *c)
{
	char byte;

	if (sconce_read(&c->sock, &byte, 1) != 1)
		return;
	ck_assert_int_eq(sconce_set_transport(&c->sock, &veil_shaking, &va), 0);
	ck_assert_int_eq(sconce_write(&c->sock, "abc", 3), SCONCE_QUEUED);
	c->on_read = NULL;
}

/* A hook that begins a handshake is told that what it writes waits. */
START_TEST(test_transport_handshake_begun_in_hook_queues)
{
	char byte;

	half_open(&conn_ops);
	a.on_read = shake_and_write;
	va.rounds = 1;
	ck_assert_int_eq(write(far, "!", 1), 1);
	NET_UNTIL(va.handshakes > 0 && a.on_read == NULL);
	net_settle();
	ck_assert_uint_eq(sconce_queued(&a.sock), 3);
	ck_assert_int_eq(write(far, "h", 1), 1);
	NET_UNTIL(sconce_queued(&a.sock) == 0);
	ck_assert_int_eq(read(far, &byte, 1), 1);
	ck_assert_int_eq(byte, 'h');
	check_far_reads("abc");
	close(far);
}
END_TEST

/* The peer's end that a transport holds, behind more input, ends the wait of sconce_close_flush(). */
START_TEST(test_transport_close_flush_end_inside_closes_at_once)
{
	half_open(&conn_ops);
	va.ahead = true;
	va.ahead_bye = 'E';
	va.most = 4;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	sconce_close_flush(&a.sock, 60);
	net_settle();
	ck_assert_ptr_null(strchr(a.log, 'X'));
	far_writes("0123456789abE", 0);
	net_settle();
	ck_assert_ptr_nonnull(strchr(a.log, 'X'));
	ck_assert_int_eq(a.reason, SCONCE_REASON_LOCAL);
	close(far);
}
END_TEST

/* A transport's errors are the socket's. */
START_TEST(test_transport_errors_are_told)
{
	half_open(&conn_ops);
	va.read_error = EBADMSG;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	far_writes("x", 0);
	NET_UNTIL(strchr(a.log, 'E') != NULL);
	ck_assert_int_eq(a.err, EBADMSG);
	ck_assert_int_eq(a.read_error, -EBADMSG);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	close(far);
	half_open(&conn_ops);
	va.write_error = EIO;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_ge(sconce_write_ref(&a.sock, "x", 1, conn_done, NULL), 0);
	NET_UNTIL(strchr(a.log, 'E') != NULL);
	ck_assert_int_eq(a.err, EIO);
	ck_assert_int_eq(a.done_status, -EIO);
	close(far);
}
END_TEST

/* Pushed-back input stays in front of what the transport gives. */
START_TEST(test_transport_set_keeps_pushed_back_input)
{
	half_open(&conn_ops);
	ck_assert_int_eq(sconce_unread(&a.sock, "front", 5), 0);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	far_writes("back", 0);
	NET_UNTIL(a.in_len == 9);
	ck_assert_int_eq(memcmp(a.in, "frontback", 9), 0);
	close(far);
}
END_TEST

/* A transfer through transports copies, and its bytes arrive. */
START_TEST(test_transport_transfer_goes_through)
{
	static char text[201];
	char got[201];

	pair_open();
	far = -1;
	memset(text, 't', 200);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	{
		int sv[2];
		static struct conn src;

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		conn_init(&src, &conn_ops, sv[0]);
		far = sv[1];
		veil_init(&vb);
		vb.ahead = true;
		vb.most = 11;
		ck_assert_int_eq(sconce_set_transport(&src.sock, &veil, &vb), 0);
		ck_assert_int_ge(sconce_transfer(&src.sock, &a.sock, SCONCE_TO_END, conn_done, NULL), 0);
		far_writes(text, 0);
		close(far);
	}
	NET_UNTIL(a.done_status == 0 && strchr(a.log, 'd') != NULL);
	NET_UNTIL(b.in_len == 200);
	for (size_t i = 0; i < 200; i++)
		got[i] = (char)(b.in[i] ^ key(i));
	ck_assert_int_eq(memcmp(got, text, 200), 0);
}
END_TEST

/* ---- ends ---- */

/* close_flush sends what is queued through the transport, then lets it end the direction, stalls and all. */
START_TEST(test_transport_close_flush_ends_through_it)
{
	char byte;

	half_open(&conn_ops);
	va.shutdown_stalls = 2;
	va.shutdown_want = SCONCE_WANT_WRITE;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_ge(sconce_write(&a.sock, "bye", 3), 0);
	sconce_close_flush(&a.sock, 5);
	net_settle();
	check_far_reads("bye");
	ck_assert_int_eq(read(far, &byte, 1), 0);
	ck_assert_int_eq(va.shutdowns, 3);
	close(far);
	NET_UNTIL(strchr(a.log, 'Z') != NULL);
	ck_assert_str_eq(a.log, "XFZ");
}
END_TEST

/* A shutdown that waits for input goes on when it comes. */
START_TEST(test_transport_shutdown_wants_read_goes_on)
{
	char byte;

	half_open(&conn_ops);
	sconce_watch_read(&a.sock, false);
	va.shutdown_stalls = 1;
	va.shutdown_want = SCONCE_WANT_READ;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_WR), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	ck_assert_int_eq(va.shutdowns, 1);
	ck_assert_int_eq(write(far, "!", 1), 1);
	NET_UNTIL(va.shutdowns == 2);
	ck_assert_int_eq(read(far, &byte, 1), 0);
	close(far);
}
END_TEST

/* Without a shutdown of its own the fd is shut down; without pending and fini nothing is asked. */
START_TEST(test_transport_missing_entries_have_defaults)
{
	char byte;

	half_open(&conn_ops);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_simple, &va), 0);
	ck_assert_int_ge(sconce_write(&a.sock, "abc", 3), 0);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_WR), 0);
	net_settle();
	check_far_reads("abc");
	ck_assert_int_eq(read(far, &byte, 1), 0);
	far_writes("d", 0);
	NET_UNTIL(a.in_len == 1);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(va.finis, 0);
	close(far);
}
END_TEST

/* ---- handshakes ---- */

/* A connecting socket shakes hands before event_connect; what was written before goes after, transformed. */
START_TEST(test_transport_handshake_precedes_event_connect)
{
	char text[64], byte;
	int lfd = plain_listen(1, text, sizeof(text));

	conn_init(&a, &conn_ops, -1);
	veil_init(&va);
	va.rounds = 3;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	ck_assert_int_eq(sconce_write(&a.sock, "hello", 5), SCONCE_QUEUED);
	far = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		struct pollfd p = { .fd = far, .events = POLLIN };

		NET_UNTIL(poll(&p, 1, 0) == 1);
		ck_assert_int_eq(read(far, &byte, 1), 1);
		ck_assert_int_eq(byte, 'h');
		net_settle();
		ck_assert_str_eq(a.log, "");
		ck_assert_uint_eq(sconce_paused(&a.sock) & SCONCE_PAUSE_TRANSPORT, SCONCE_PAUSE_TRANSPORT);
		ck_assert_int_eq(sconce_read(&a.sock, &byte, 1), -EAGAIN);
		ck_assert_int_eq(write(far, "h", 1), 1);
	}
	NET_UNTIL(a.log[0] == 'C');
	ck_assert_int_eq(a.connect_errnum, 0);
	ck_assert_int_le(va.handshakes, 6);
	net_settle();
	check_far_reads("hello");
	far_writes("you", 0);
	NET_UNTIL(a.in_len == 3);
	ck_assert_int_eq(memcmp(a.in, "you", 3), 0);
	ck_assert_uint_eq(sconce_paused(&a.sock), 0);
	close(far);
	close(lfd);
}
END_TEST

/* Set when the connect has worked at once and nobody knows yet: it still shakes hands first. */
START_TEST(test_transport_set_behind_connect_still_shakes_hands)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[128];

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/sconce-test-%d", (int)getpid());
	snprintf(text, sizeof(text), "unix://%s", addr.sun_path);
	ck_assert_int_eq(bind(lfd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(lfd, 1), 0);
	conn_init(&a, &conn_ops, -1);
	veil_init(&va);
	va.rounds = 1;
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	net_settle();
	ck_assert_int_gt(va.handshakes, 0);
	ck_assert_str_eq(a.log, "");
	far = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(write(far, "h", 1), 1);
	NET_UNTIL(a.log[0] == 'C');
	ck_assert_int_eq(a.connect_errnum, 0);
	close(far);
	close(lfd);
	unlink(addr.sun_path);
}
END_TEST

/* A refused connect never reaches the handshake. */
START_TEST(test_transport_connect_refused_no_handshake)
{
	char text[64];

	plain_nobody(text, sizeof(text));
	conn_init(&a, &conn_ops, -1);
	veil_init(&va);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	net_settle();
	ck_assert_str_eq(a.log, "C");
	ck_assert_int_eq(a.connect_errnum, ECONNREFUSED);
	ck_assert_int_eq(va.handshakes, 0);
}
END_TEST

/* A handshake that fails fails the connect; what was written is cancelled and nothing of it leaves. */
START_TEST(test_transport_handshake_failure_fails_connect)
{
	const struct sconce_sock_ops *const tables[] = { &conn_ops, &bare_ops };
	char text[64], byte;
	int lfd = plain_listen(4, text, sizeof(text));

	for (int i = 0; i < 2; i++) {
		conn_init(&a, tables[i], -1);
		veil_init(&va);
		va.handshake_error = EPROTO;
		ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
		ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);	/* while connecting */
		ck_assert_int_eq(sconce_write_ref(&a.sock, "secret", 6, conn_done, NULL), SCONCE_QUEUED);
		net_settle();
		far = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
		ck_assert_int_eq(a.done_status, -EPROTO);
		ck_assert_int_eq(read(far, &byte, 1), 0);
		if (i == 0) {
			ck_assert_str_eq(a.log, "Cd");
			ck_assert_int_eq(a.connect_errnum, EPROTO);
			ck_assert_str_eq(a.fail, "handshake shaking veil: Protocol error");
			ck_assert_int_eq(sconce_fd(&a.sock), -1);
			ck_assert_int_eq(va.finis, 0);
			sconce_close(&a.sock, SCONCE_REASON_LOCAL);
			net_settle();
		} else {
			ck_assert_int_eq(a.reason, SCONCE_REASON_CONNECT);
			ck_assert_int_eq(a.errnum, EPROTO);
		}
		ck_assert_int_eq(va.finis, 1);
		close(far);
	}
	close(lfd);
}
END_TEST

/* A peer that says nothing, or leaves, ends the handshake: by time, by its own read. */
START_TEST(test_transport_handshake_stalled_or_left_is_told)
{
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text));

	conn_init(&a, &conn_ops, -1);
	veil_init(&va);
	va.rounds = 1;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	ck_assert_int_eq(sconce_set_timeout(&a.sock, SCONCE_TIMEOUT_CONNECT, 2), 0);
	net_settle();
	ck_assert_str_eq(a.log, "");
	net_pass(3);
	net_settle();
	ck_assert_str_eq(a.log, "C");
	ck_assert_int_eq(a.connect_errnum, ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(a.fail, "handshake"));
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	far = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	close(far);
	conn_init(&b, &conn_ops, -1);
	veil_init(&vb);
	vb.rounds = 1;
	ck_assert_int_eq(sconce_set_transport(&b.sock, &veil_shaking, &vb), 0);
	ck_assert_int_eq(sconce_connect(&b.sock, text), 0);
	net_settle();
	far = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	close(far);
	NET_UNTIL(b.log[0] == 'C');
	ck_assert_int_eq(b.connect_errnum, ECONNRESET);
	close(lfd);
}
END_TEST

/* On an open socket the handshake begins at once, and event_connect tells its end; input waits until then. */
START_TEST(test_transport_handshake_on_open_socket_is_told)
{
	half_open(&conn_ops);
	va.rounds = 1;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_str_eq(a.log, "");
	ck_assert_int_ge(sconce_write(&a.sock, "abc", 3), 0);
	ck_assert_int_eq(write(far, "h", 1), 1);
	far_writes("xyz", 0);
	NET_UNTIL(a.in_len == 3);
	ck_assert_int_eq(a.log[0], 'C');
	ck_assert_int_eq(memcmp(a.in, "xyz", 3), 0);
	net_settle();
	{
		char byte;

		ck_assert_int_eq(read(far, &byte, 1), 1);
		ck_assert_int_eq(byte, 'h');
	}
	check_far_reads("abc");
	close(far);
}
END_TEST

/* When it fails there, the socket is told, and closed: what was accepted cannot be connected again. */
START_TEST(test_transport_handshake_on_open_socket_failure_closes)
{
	char byte;

	half_open(&conn_ops);
	va.handshake_error = EPROTO;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_int_ge(sconce_write(&a.sock, "secret", 6), 0);
	ck_assert_str_eq(a.log, "");		/* not inside the call */
	net_settle();
	ck_assert_str_eq(a.log, "CXFZ");
	ck_assert_int_eq(a.connect_errnum, EPROTO);
	ck_assert_int_eq(a.reason, SCONCE_REASON_CONNECT);
	ck_assert_int_eq(a.errnum, EPROTO);
	ck_assert_int_eq(read(far, &byte, 1), 0);
	close(far);
}
END_TEST

/* A close during a handshake is silent. */
START_TEST(test_transport_close_in_handshake_is_silent)
{
	half_open(&conn_ops);
	va.rounds = 1;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	ck_assert_int_ge(sconce_write_cb(&a.sock, conn_done, NULL), 0);
	net_settle();
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_ptr_null(strchr(a.log, 'C'));
	ck_assert_int_eq(a.done_status, -ECANCELED);
	ck_assert_int_eq(va.finis, 1);
	close(far);
}
END_TEST

/* What the handshake read along is offered as soon as it has ended. */
START_TEST(test_transport_handshake_read_ahead_is_offered)
{
	double start;

	half_open(&conn_ops);
	va.ahead = true;
	va.handshakes = 0;
	memcpy(va.held, "early", 5);
	va.held_len = 5;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &va), 0);
	start = sconce_now(loop);
	for (int i = 0; i < 20 && a.in_len < 5; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 5), 0);
	ck_assert(sconce_now(loop) - start < 2);
	ck_assert_str_eq(a.log, "CR");
	ck_assert_int_eq(memcmp(a.in, "early", 5), 0);
	close(far);
}
END_TEST

/* ---- setting one ---- */

/* Refused while output is queued or a handshake goes on, and on a closed socket: the state stays the caller's. */
START_TEST(test_set_transport_refused_state_stays)
{
	half_open(&conn_ops);
	ck_assert_int_ge(sconce_write(&a.sock, "x", 1), 0);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), -EBUSY);
	net_settle();
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_eq(sconce_detach(&a.sock, NULL, 0, NULL), -EBUSY);
	ck_assert_ptr_eq(sconce_transport_state(&a.sock, &veil), &va);
	ck_assert_ptr_null(sconce_transport_state(&a.sock, &veil_simple));
	veil_init(&vb);
	vb.rounds = 1;
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil_shaking, &vb), 0);
	ck_assert_int_eq(va.finis, 1);		/* replaced */
	ck_assert_int_eq(sconce_set_transport(&a.sock, NULL, NULL), -EBUSY);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), -EBADF);
	net_settle();
	ck_assert_int_eq(va.finis, 1);
	ck_assert_int_eq(vb.finis, 1);
	close(far);
}
END_TEST

/* NULL is plain again. */
START_TEST(test_set_transport_null_is_plain)
{
	char buf[8];

	half_open(&conn_ops);
	ck_assert_ptr_null(sconce_transport_state(&a.sock, &veil));
	ck_assert_int_eq(sconce_set_transport(&a.sock, NULL, NULL), 0);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_eq(sconce_set_transport(&a.sock, NULL, NULL), 0);
	ck_assert_int_eq(va.finis, 1);
	ck_assert_int_ge(sconce_write(&a.sock, "plain", 5), 0);
	net_settle();
	ck_assert_uint_eq(plain_read(far, buf, 5), 5);
	ck_assert_int_eq(memcmp(buf, "plain", 5), 0);
	ck_assert_int_eq(write(far, "too", 3), 3);
	NET_UNTIL(a.in_len == 3);
	ck_assert_int_eq(memcmp(a.in, "too", 3), 0);
	close(far);
}
END_TEST

/* Without memory it is refused and nothing has changed; HZ-22. */
START_TEST(test_set_transport_no_memory_is_refused)
{
	int r = -ENOMEM;

	alloc_left = -1;
	backend.alloc = failing_alloc;
	half_open(&conn_ops);
	va.rounds = 1;
	for (int n = 0; n < 8 && r < 0; n++) {
		alloc_left = n;
		r = sconce_set_transport(&a.sock, &veil_shaking, &va);
		alloc_left = -1;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_int_eq(va.handshakes + va.finis, 0);
			sconce_verify(loop);
		}
	}
	ck_assert_int_eq(r, 0);
	close(far);
}
END_TEST

/* What is not a socket can have a transport too. */
START_TEST(test_transport_on_pipes_works)
{
	int fds[2];
	char buf[8];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	conn_init(&a, &conn_ops, fds[0]);
	conn_init(&b, &conn_ops, fds[1]);
	sconce_watch_read(&b.sock, false);
	veil_init(&va);
	veil_init(&vb);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &veil, &va), 0);
	ck_assert_int_eq(sconce_set_transport(&b.sock, &veil, &vb), 0);
	ck_assert_int_ge(sconce_write(&b.sock, "through", 7), 0);
	NET_UNTIL(a.in_len == 7);
	ck_assert_int_eq(memcmp(a.in, "through", 7), 0);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	conn_init(&a, &conn_ops, -1);
	ck_assert_int_eq(sconce_raw_readv(&a.sock, &(struct iovec){ buf, 8 }, 1), -EBADF);
	ck_assert_int_eq(sconce_raw_writev(&a.sock, &(struct iovec){ buf, 8 }, 1), -EBADF);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("transport");
	TCase *bytes = net_case(suite, "bytes"), *ends = net_case(suite, "ends"), *shake = net_case(suite, "handshake"),
	    *set = net_case(suite, "set");

	tcase_set_timeout(bytes, 30);
	tcase_add_test(bytes, test_transport_bytes_arrive_in_order);
	tcase_add_test(bytes, test_transport_random_stalls_lose_nothing);
	tcase_add_test(bytes, test_transport_write_wants_read_goes_on_with_input);
	tcase_add_test(bytes, test_transport_read_wants_write_goes_on_with_room);
	tcase_add_test(bytes, test_transport_pending_is_offered_without_sleep);
	tcase_add_test(bytes, test_transport_pending_paused_waits);
	tcase_add_test(bytes, test_transport_pending_behind_pushed_back_is_offered);
	tcase_add_test(bytes, test_transport_errors_are_told);
	tcase_add_test(bytes, test_transport_set_keeps_pushed_back_input);
	tcase_add_test(bytes, test_transport_transfer_goes_through);
	tcase_add_test(bytes, test_transport_transfer_waits_for_handshake);
	tcase_add_test(ends, test_transport_close_flush_ends_through_it);
	tcase_add_test(ends, test_transport_close_flush_end_inside_closes_at_once);
	tcase_add_test(ends, test_transport_shutdown_wants_read_goes_on);
	tcase_add_test(ends, test_transport_missing_entries_have_defaults);
	tcase_add_test(shake, test_transport_handshake_precedes_event_connect);
	tcase_add_test(shake, test_transport_set_behind_connect_still_shakes_hands);
	tcase_add_test(shake, test_transport_connect_refused_no_handshake);
	tcase_add_test(shake, test_transport_handshake_failure_fails_connect);
	tcase_add_test(shake, test_transport_handshake_stalled_or_left_is_told);
	tcase_add_test(shake, test_transport_handshake_on_open_socket_is_told);
	tcase_add_test(shake, test_transport_handshake_on_open_socket_failure_closes);
	tcase_add_test(shake, test_transport_close_in_handshake_is_silent);
	tcase_add_test(shake, test_transport_handshake_begun_in_hook_queues);
	tcase_add_test(shake, test_transport_handshake_read_ahead_is_offered);
	tcase_add_test(set, test_set_transport_refused_state_stays);
	tcase_add_test(set, test_set_transport_null_is_plain);
	tcase_add_test(set, test_set_transport_no_memory_is_refused);
	tcase_add_test(set, test_transport_on_pipes_works);
	return suite;
}

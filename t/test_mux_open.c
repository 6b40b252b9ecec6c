/* Handles of the multiplexer: what an fd is taken for, manual ones, pipes, accepting, endpoints. */
#include "test_mux.h"

#include <netinet/in.h>

static int peer;

static int
status_flags(int fd)
{
	return fcntl(fd, F_GETFL);
}

static int
tcp_socket(bool listening)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (listening)
		ck_assert_int_eq(listen(fd, 8), 0);
	return fd;
}

static void
seqpackets(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

/* ---- add ---- */

/* EM-25, EM-27, EM-43, EM-53: what an fd is is found out, and it becomes non-blocking. */
START_TEST(test_add_finds_out_what_it_is)
{
	struct sconce_mux_handle *h[5];
	int fds[5], pipes[2], other;

	fds[0] = tcp_socket(true);
	fds[1] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	fds[2] = pipes[0];
	fds[3] = pipes[1];
	wire_make(WIRE_UNIX, pipes);
	fds[4] = pipes[0];
	other = pipes[1];
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(status_flags(fds[i]) & O_NONBLOCK, 0);
		ck_assert_int_eq(sconce_mux_add(m, fds[i], NULL, &h[i]), 0);
		ck_assert_int_eq(status_flags(fds[i]) & O_NONBLOCK, O_NONBLOCK);
		ck_assert_int_eq(sconce_mux_fd(h[i]), fds[i]);
		ck_assert_ptr_eq(sconce_mux_of(h[i]), m);
	}
	ck_assert_int_eq(sconce_mux_kind(h[0]), SCONCE_MUX_LISTENER);
	ck_assert_int_eq(sconce_mux_kind(h[1]), SCONCE_MUX_DGRAM);
	ck_assert_int_eq(sconce_mux_kind(h[2]), SCONCE_MUX_STREAM);
	ck_assert_int_eq(sconce_mux_kind(h[3]), SCONCE_MUX_STREAM);
	ck_assert_int_eq(sconce_mux_kind(h[4]), SCONCE_MUX_STREAM);
	ck_assert(sconce_mux_is_socket(h[0]) && sconce_mux_is_socket(h[1]) && sconce_mux_is_socket(h[4]));
	ck_assert(!sconce_mux_is_socket(h[2]) && !sconce_mux_is_socket(h[3]));
	close(other);
}
END_TEST

/* EM-42: they are listed in the order they were added, manual ones too. */
START_TEST(test_each_lists_handles_in_order)
{
	struct sconce_mux_handle *h[3], *at = NULL;
	int peers[3];

	for (int i = 0; i < 3; i++)
		h[i] = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .manual_read = i == 1, .manual_write = i == 1 }, &peers[i]);
	ck_assert_uint_eq(sconce_mux_count(m), 3);
	for (int i = 0; i < 3; i++) {
		at = sconce_mux_each(m, at);
		ck_assert_ptr_eq(at, h[i]);
	}
	ck_assert_ptr_null(sconce_mux_each(m, at));
	for (int i = 0; i < 3; i++)
		close(peers[i]);
}
END_TEST

/* EM-25: what does not go together is refused, and the fd stays the caller's. */
START_TEST(test_add_refused_leaves_fd_alone)
{
	struct sconce_filter *f = lines();
	struct sconce_mux_options filtered = { .filter = f }, both = { .stream = true, .datagram = true };
	int fds[2], udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct sconce_mux_handle *h = (void *)&fds;

	wire_make(WIRE_UNIX, fds);
	ck_assert_int_eq(sconce_mux_add(m, -1, NULL, &h), -EBADF);
	ck_assert_int_eq(sconce_mux_add(m, 9999, NULL, &h), -EBADF);
	ck_assert_int_eq(sconce_mux_add(m, file, NULL, &h), -EPERM);
	ck_assert_int_eq(sconce_mux_add(m, udp, &filtered, &h), -EINVAL);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], &both, &h), -EINVAL);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], &(struct sconce_mux_options){ .listen = true }, &h), -EINVAL);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], &(struct sconce_mux_options){ .datagram = true }, &h), -EPROTOTYPE);
	ck_assert_ptr_eq(h, (void *)&fds);
	ck_assert_uint_eq(sconce_mux_count(m), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, NULL), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), -EEXIST);
	sconce_filter_unref(f);
	close(udp);
	close(file);
	close(fds[1]);
}
END_TEST

/* EM-26: a socket that listens is one even with a type said; EM-27: SEQPACKET keeps its records apart. */
START_TEST(test_add_seqpacket_keeps_records_apart)
{
	struct sconce_event ev;
	struct sconce_mux_handle *h, *l;
	int fds[2], listener = tcp_socket(true);

	ck_assert_int_eq(sconce_mux_add(m, listener, &(struct sconce_mux_options){ .listen = true, .stream = true }, &l), 0);
	ck_assert_int_eq(sconce_mux_kind(l), SCONCE_MUX_LISTENER);
	seqpackets(fds);
	say(fds[1], "one");
	say(fds[1], "two!");
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), 0);
	mux_expect(SCONCE_EVENT_READY);
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.len, 3);
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.len, 4);
	ck_assert_mem_eq(ev.data, "two!", 4);
	close(fds[1]);
}
END_TEST

/* EM-1: what is said once for all holds for what is added without options; EM-32: read_size is the most of one READ. */
START_TEST(test_new_defaults_are_those_of_handles)
{
	static char defaulted[] = "defaulted";
	struct sconce_mux_options defaults = { .read_size = 3, .meta = defaulted };
	struct sconce_mux_handle *h;

	ck_assert_int_eq(sconce_mux_free(m), 0);
	ck_assert_int_eq(sconce_mux_new(NULL, &defaults, &m), 0);
	defaults.read_size = 1;				/* it has copied them */
	h = mux_pair(WIRE_UNIX, NULL, &peer);
	ck_assert_str_eq(sconce_mux_meta(h), "defaulted");
	say(peer, "abcdefgh");
	MUX_UNTIL(tracks[0].len >= 11);
	ck_assert_str_eq(tracks[0].data, "abc|def|gh|");
	close(peer);
}
END_TEST

/* ---- manual handles ---- */

/* EM-30: can_read is repeated while nobody reads, and nothing is read. */
START_TEST(test_manual_read_is_told_until_it_is_read)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .manual_read = true }, &peer);
	struct sconce_event ev;
	char buf[8];

	mux_expect(SCONCE_EVENT_READY);
	ck_assert_int_eq(status_flags(sconce_mux_fd(h)) & O_NONBLOCK, O_NONBLOCK);
	say(peer, "abc");
	for (int i = 0; i < 3; i++) {
		ev = mux_expect(SCONCE_EVENT_CAN_READ);
		ck_assert_ptr_eq(ev.handle, h);
	}
	ck_assert_int_eq(read(sconce_mux_fd(h), buf, sizeof(buf)), 3);
	ck_assert_int_eq(sconce_mux_next(m, 0.005, &ev), 0);
	ck_assert_int_eq(sconce_mux_send(h, "out", 3), SCONCE_SENT);
	mux_expect(SCONCE_EVENT_SENT);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 3);
	close(peer);
	mux_expect(SCONCE_EVENT_CAN_READ);		/* the end is read by hand as well */
	ck_assert_int_eq(read(sconce_mux_fd(h), buf, sizeof(buf)), 0);
	sconce_mux_close(h);
	MUX_UNTIL(tracks[0].closed);
}
END_TEST

/* EM-29, EM-19: can_write is repeated while the kernel would take something; sending is refused. */
START_TEST(test_manual_write_is_told_while_it_may)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .manual_write = true }, &peer);
	static char fill[4096];
	struct sconce_event ev;
	int i;

	mux_expect(SCONCE_EVENT_CAN_WRITE);
	mux_expect(SCONCE_EVENT_CAN_WRITE);
	ck_assert_int_eq(sconce_mux_send(h, "x", 1), -EINVAL);
	say(peer, "in");				/* it reads by itself */
	MUX_UNTIL(tracks[0].reads == 1);
	while (write(sconce_mux_fd(h), fill, sizeof(fill)) > 0)
		;
	mux_settle();
	ck_assert_int_eq(sconce_mux_next(m, 0.005, &ev), 0);
	for (i = 0; i < 1000 && sconce_mux_next(m, 0, &ev) == 0; i++)
		ck_assert_int_gt(read(peer, fill, sizeof(fill)), 0);
	ck_assert_int_eq(ev.type, SCONCE_EVENT_CAN_WRITE);
	close(peer);
}
END_TEST

/* EM-31: with both manual the fd stays as blocking as it was. */
START_TEST(test_manual_both_leaves_fd_blocking)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX,
		&(struct sconce_mux_options){ .manual_read = true, .manual_write = true }, &peer);
	struct sconce_event ev;
	char c;

	ck_assert_int_eq(status_flags(sconce_mux_fd(h)) & O_NONBLOCK, 0);
	say(peer, "x");
	do
		ev = mux_get();
	while (ev.type != SCONCE_EVENT_CAN_READ);
	ck_assert_int_eq(read(sconce_mux_fd(h), &c, 1), 1);
	mux_expect(SCONCE_EVENT_CAN_WRITE);
	ck_assert_int_eq(close(sconce_mux_remove(h)), 0);
	close(peer);
}
END_TEST

/* EM-28, EM-13: accepting is repeated until somebody accepts; EM-31: a listener is not blocking all the same. */
START_TEST(test_manual_accept_is_told_until_accepted)
{
	struct sconce_mux_options manual = { .manual_accept = true, .manual_read = true, .manual_write = true };
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &manual), *h;
	struct sconce_event ev;
	int fd;

	ck_assert_int_eq(status_flags(sconce_mux_fd(l)) & O_NONBLOCK, O_NONBLOCK);
	peer = plain_connect(l);
	for (int i = 0; i < 3; i++) {
		ev = mux_expect(SCONCE_EVENT_ACCEPTING);
		ck_assert_ptr_eq(ev.handle, l);
	}
	fd = accept4(sconce_mux_fd(l), NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(sconce_mux_next(m, 0.005, &ev), 0);
	ck_assert_int_eq(sconce_mux_add(m, fd, NULL, &h), 0);
	say(peer, "x");
	mux_expect(SCONCE_EVENT_READY);
	mux_expect(SCONCE_EVENT_READ);
	close(peer);
}
END_TEST

/* ---- pipes ---- */

/* EM-55, EM-12: which way a pipe goes is found out: the reading end is never READY nor written to, the other is never read. */
START_TEST(test_add_pipe_goes_one_way)
{
	struct sconce_mux_handle *in, *out;
	struct sconce_event ev;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], &(struct sconce_mux_options){ .meta = "i" }, &in), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[1], &(struct sconce_mux_options){ .meta = "o" }, &out), 0);
	ck_assert_int_eq(sconce_mux_send(in, "x", 1), -EPIPE);
	ck_assert_int_eq(sconce_mux_send(out, "abc", 3), SCONCE_SENT);
	ev = mux_get();
	ev = mux_get();
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_ptr_eq(ev.handle, in);
	ck_assert_uint_eq(ev.len, 3);
	ck_assert_str_eq(order, "o.ready o.sent i.read ");
	sconce_mux_close(out);
	MUX_UNTIL(tracks[0].closed + tracks[1].closed == 2);
	ck_assert_str_eq(order, "o.ready o.sent i.read o.closing o.closed i.closing i.closed ");
}
END_TEST

/* EM-55, EM-10: a pipe whose reader goes away is an error and an end, once, and no signal. */
START_TEST(test_add_pipe_without_reader_ends)
{
	struct sconce_mux_handle *out;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[1], NULL, &out), 0);
	mux_expect(SCONCE_EVENT_READY);
	close(fds[0]);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_int_eq(tracks[0].closing, 1);
	ck_assert_int_le(tracks[0].errors, 1);
}
END_TEST

/* ---- accepting ---- */

/* EM-11: a connection is managed when it is told of; a TCP peer has an address and no credentials. */
START_TEST(test_accept_tcp_tells_parent_and_peer)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL);
	struct sconce_addr local;
	struct sconce_event ev;
	socklen_t len = sizeof(local.un);

	peer = plain_connect(l);
	getsockname(peer, &local.any, &len);
	ev = mux_expect(SCONCE_EVENT_ACCEPTED);
	ck_assert_ptr_eq(ev.parent, l);
	ck_assert_int_eq(sconce_addr_port(ev.from), ntohs(local.in.sin_port));
	ck_assert_int_eq(ev.cred.pid, 0);
	ck_assert_ptr_eq(sconce_mux_each(m, l), ev.handle);
	close(peer);
}
END_TEST

/* EM-11, EM-39: a unix peer has credentials; the path is found where three slashes say, and goes away. */
START_TEST(test_accept_unix_tells_credentials)
{
	char path[64], url[80];
	struct sconce_mux_handle *l, *c;
	struct sconce_event ev;

	snprintf(path, sizeof(path), "/tmp/test_mux.%d", (int)getpid());
	snprintf(url, sizeof(url), "unix://%s", path);
	l = mux_listening(url, NULL);
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &c, NULL), 0);
	do
		ev = mux_get();
	while (ev.type != SCONCE_EVENT_ACCEPTED);
	ck_assert_int_eq(ev.cred.pid, getpid());
	ck_assert_uint_eq(ev.cred.uid, getuid());
	ck_assert_uint_eq(ev.cred.gid, getgid());
	sconce_mux_kill(l, 0);
	mux_settle();
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* EM-35, EM-37, EM-34: accepted connections have the listener's options, but its filter's state each for themselves; not its free_meta. */
START_TEST(test_accept_inherits_options)
{
	static char inherited[] = "inherited";
	struct sconce_filter *f = split(",");
	struct sconce_mux_options o = { .filter = f, .meta = inherited };
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &o);
	struct sconce_event ev;

	sconce_filter_unref(f);				/* it has its own reference */
	peer = plain_connect(l);
	ev = mux_expect(SCONCE_EVENT_ACCEPTED);
	ck_assert_str_eq(sconce_mux_meta(ev.handle), inherited);
	ck_assert_int_eq(sconce_mux_kind(ev.handle), SCONCE_MUX_STREAM);
	say(peer, "a,b");
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.len, 1);
	ck_assert_ptr_nonnull(ev.record);
	close(peer);
}
END_TEST

/* EM-11, HZ-9: without fds the listener says so once, is not over, and goes on when there are some again. */
START_TEST(test_accept_without_fds_is_one_error)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .meta = "l" });
	struct rlimit old, low;
	struct sconce_event ev;
	double cpu;

	peer = plain_connect(l);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = (rlim_t)peer + 1;		/* (lower numbers are in use) */
	setrlimit(RLIMIT_NOFILE, &low);
	ev = mux_expect(SCONCE_EVENT_ERROR);
	cpu = t_cpu_seconds();
	ck_assert_ptr_eq(ev.handle, l);
	ck_assert_int_eq(ev.fail.errnum, EMFILE);
	ck_assert_str_eq(ev.fail.operation, "accept");
	ck_assert_int_eq(sconce_mux_next(m, 0.12, &ev), 0);
	ck_assert(t_cpu_seconds() - cpu < 0.05);
	setrlimit(RLIMIT_NOFILE, &old);
	mux_expect(SCONCE_EVENT_ACCEPTED);
	ck_assert_int_eq(tracks[0].errors, 1);
	ck_assert_int_eq(tracks[0].closing, 0);
	close(peer);
}
END_TEST

/* A connection whose listener is removed before it is told of has no parent. */
START_TEST(test_remove_listener_orphans_what_is_queued)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL), *first;
	struct sconce_event ev;
	int second;

	peer = plain_connect(l);
	second = plain_connect(l);
	ev = mux_expect(SCONCE_EVENT_ACCEPTED);
	first = ev.handle;
	for (int i = 0; i < 5 && sconce_mux_has_events(m) == 0; i++)
		sconce_loop_step(sconce_mux_loop(m), 0.01);
	close(sconce_mux_remove(l));
	ev = mux_expect(SCONCE_EVENT_ACCEPTED);
	ck_assert_ptr_ne(ev.handle, first);
	ck_assert_ptr_null(ev.parent);
	close(peer);
	close(second);
}
END_TEST

/* ---- endpoints ---- */

/* EM-38, EM-39, EM-40, EM-57: the grammar is that of sconce/endpoint.h, its options hold, and what is wrong is refused at once. */
START_TEST(test_listen_and_connect_take_endpoints)
{
	struct sconce_mux_handle *l = mux_listening("tcp://localhost:0?rcvbuf=20000&backlog=7", NULL), *h;
	struct sconce_addr a;
	struct sconce_fail fail = { .operation = NULL };
	static const char *const wrong[] = { "foo://x", "tcp://127.0.0.1", "tcp://:80x", "tcp://h:99999", "" };
	char url[64];
	int size = 0;
	socklen_t len = sizeof(size);

	getsockopt(sconce_mux_fd(l), SOL_SOCKET, SO_RCVBUF, &size, &len);
	ck_assert_int_eq(size, 40000);			/* the kernel counts twice */
	sconce_local(sconce_mux_sock(l), &a);
	snprintf(url, sizeof(url), "tcp://localhost:%d", sconce_addr_port(&a));
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, &fail), 0);
	MUX_UNTIL(strstr(order, "ready") != NULL);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		fail.operation = NULL;
		ck_assert_int_eq(sconce_mux_connect(m, wrong[i], NULL, NULL, &fail), -EINVAL);
		ck_assert_str_eq(fail.operation, "parse");
		ck_assert_int_lt(sconce_mux_listen(m, wrong[i], NULL, NULL, &fail), 0);
	}
	ck_assert_int_eq(sconce_mux_connect(m, url, &(struct sconce_mux_options){ .datagram = true, .stream = true }, NULL, &fail), -EINVAL);
	ck_assert_int_eq(sconce_mux_connect(m, url, &(struct sconce_mux_options){ .listen = true }, NULL, NULL), -EINVAL);
	mux_settle();
	ck_assert_uint_eq(sconce_mux_count(m), 3);
}
END_TEST

/* Options that do not go together are refused, and it is said which. */
START_TEST(test_options_that_contradict_say_so)
{
	struct sconce_filter *f = fixed(1);
	const struct {
		struct sconce_mux_options o;
		const char *endpoint, *says;
		bool listens;
	} wrong[] = {
		{ { .filter = f }, "udp://127.0.0.1:9", "a filter needs a stream", false },
		{ { .out_filter = f }, "udp://127.0.0.1:0", "a filter needs a stream", true },
		{ { .stream = true, .datagram = true }, "tcp://127.0.0.1:9", "cannot be a stream and of datagrams", false },
		{ { .stream = true }, "udp://127.0.0.1:0", "no stream", true },
		{ { .listen = true }, "udp://127.0.0.1:0", "does not listen", true },
		{ { .listen = true }, "tcp://127.0.0.1:9", "does not listen", false },
	};
	struct sconce_fail fail;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *e = wrong[i].endpoint;

		ck_assert_int_eq(wrong[i].listens ? sconce_mux_listen(m, e, &wrong[i].o, NULL, &fail) :
		    sconce_mux_connect(m, e, &wrong[i].o, NULL, &fail), -EINVAL);
		ck_assert_msg(strstr(fail.text, wrong[i].says) != NULL && strstr(fail.text, e) == fail.text, "%s", fail.text);
		ck_assert_str_eq(fail.operation, "parse");
	}
	ck_assert_uint_eq(sconce_mux_count(m), 0);
	sconce_filter_unref(f);
}
END_TEST

/* A busy address is refused at once, with its name. */
START_TEST(test_listen_busy_address_is_refused)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0?reuse=0", NULL);
	struct sconce_addr a;
	struct sconce_fail fail;
	char url[64], text[SCONCE_ADDR_TEXT];

	sconce_local(sconce_mux_sock(l), &a);
	snprintf(url, sizeof(url), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	ck_assert_int_eq(sconce_mux_listen(m, url, NULL, NULL, &fail), -EADDRINUSE);
	ck_assert_str_eq(fail.operation, "bind");
	ck_assert_ptr_nonnull(strstr(fail.text, text));
}
END_TEST

/* EM-12: a connect of the application's own that goes on ends in READY. */
START_TEST(test_add_connecting_socket_becomes_ready)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .meta = "l" }), *h;
	struct sconce_addr a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	sconce_local(sconce_mux_sock(l), &a);
	ck_assert(connect(fd, &a.any, a.len) == 0 || errno == EINPROGRESS);
	ck_assert_int_eq(sconce_mux_add(m, fd, &(struct sconce_mux_options){ .meta = "c" }, &h), 0);
	ck_assert_int_ge(sconce_mux_send(h, "x", 1), 0);
	MUX_UNTIL(strstr(order, "read ") != NULL);
	ck_assert_str_eq(track_of(h)->log, "ready sent ");
}
END_TEST

/* With `manual_read` too, which is told of as soon as it is connected. */
START_TEST(test_add_connecting_manual_socket_tells_can_read)
{
	int listener = tcp_socket(true), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sconce_addr a = { .len = sizeof(a.un) };
	struct sconce_mux_handle *h;

	getsockname(listener, &a.any, &a.len);
	ck_assert(connect(fd, &a.any, a.len) == 0 || errno == EINPROGRESS);
	ck_assert_int_eq(sconce_mux_add(m, fd, &(struct sconce_mux_options){ .manual_read = true }, &h), 0);
	mux_expect(SCONCE_EVENT_READY);
	peer = accept(listener, NULL, NULL);
	say(peer, "x");
	mux_expect(SCONCE_EVENT_CAN_READ);
	close(peer);
	close(listener);
}
END_TEST

/* A connection that both ends have shut has no peer any more, but is no connect that goes on: what it has is read. */
START_TEST(test_add_socket_shut_both_ways_is_read)
{
	struct sconce_addr a = { .len = sizeof(a.un) };
	struct sconce_mux_handle *h;
	int fds[2];

	wire_make(WIRE_TCP, fds);
	say(fds[1], "last words");
	shutdown(fds[1], SHUT_WR);
	shutdown(fds[0], SHUT_WR);
	for (int i = 0; i < 1000 && getpeername(fds[0], &a.any, &a.len) == 0; i++)
		sconce_loop_step(sconce_mux_loop(m), 0.001);
	ck_assert_int_eq(getpeername(fds[0], &a.any, &a.len), -1);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "ready read closing closed ");
	ck_assert_str_eq(tracks[0].data, "last words|");
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_EOF);
	close(fds[1]);
}
END_TEST

/* One that never was connected is an error. */
START_TEST(test_add_socket_never_connected_is_error)
{
	struct sconce_mux_handle *h;

	ck_assert_int_eq(sconce_mux_add(m, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL, &h), 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "error closing closed ");
	ck_assert_int_eq(tracks[0].fail.errnum, ENOTCONN);
}
END_TEST

/* EM-12: an fd that cannot be written to yet becomes READY when it can, and before what was sent is SENT. */
START_TEST(test_add_full_socket_is_ready_later)
{
	static char fill[1 << 16];
	struct sconce_mux_handle *h;
	struct sconce_event ev;
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (write(fds[0], fill, sizeof(fill)) > 0)
		;
	ck_assert_int_eq(sconce_mux_add(m, fds[0], &(struct sconce_mux_options){ .manual_read = _i == 2 }, &h), 0);
	if (_i == 1)
		ck_assert_int_eq(sconce_mux_send(h, "x", 1), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_mux_next(m, 0.005, &ev), 0);
	say(fds[1], "in");
	mux_expect(_i == 2 ? SCONCE_EVENT_CAN_READ : SCONCE_EVENT_READ);	/* which does not keep it from being read */
	if (_i == 2)
		ck_assert_int_eq(read(fds[0], fill, sizeof(fill)), 2);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (read(fds[1], fill, sizeof(fill)) > 0)
		;
	mux_expect(SCONCE_EVENT_READY);
	mux_settle();
	ck_assert_str_eq(tracks[0].log, _i == 2 ? "can_read ready " : _i == 1 ? "read ready sent " : "read ready ");
	say(fds[1], "x");
	mux_expect(_i == 2 ? SCONCE_EVENT_CAN_READ : SCONCE_EVENT_READ);
	close(fds[1]);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_open");
	TCase *c = mux_case(s, "add");

	tcase_add_test(c, test_add_finds_out_what_it_is);
	tcase_add_test(c, test_each_lists_handles_in_order);
	tcase_add_test(c, test_add_refused_leaves_fd_alone);
	tcase_add_test(c, test_add_seqpacket_keeps_records_apart);
	tcase_add_test(c, test_new_defaults_are_those_of_handles);
	tcase_add_test(c, test_add_pipe_goes_one_way);
	tcase_add_test(c, test_add_pipe_without_reader_ends);
	tcase_add_test(c, test_add_connecting_socket_becomes_ready);
	tcase_add_loop_test(c, test_add_full_socket_is_ready_later, 0, 3);
	tcase_add_test(c, test_add_connecting_manual_socket_tells_can_read);
	tcase_add_test(c, test_add_socket_shut_both_ways_is_read);
	tcase_add_test(c, test_add_socket_never_connected_is_error);
	c = mux_case(s, "manual");
	tcase_add_test(c, test_manual_read_is_told_until_it_is_read);
	tcase_add_test(c, test_manual_write_is_told_while_it_may);
	tcase_add_test(c, test_manual_both_leaves_fd_blocking);
	tcase_add_test(c, test_manual_accept_is_told_until_accepted);
	c = mux_case(s, "accept");
	tcase_add_test(c, test_accept_tcp_tells_parent_and_peer);
	tcase_add_test(c, test_accept_unix_tells_credentials);
	tcase_add_test(c, test_accept_inherits_options);
	tcase_add_test(c, test_accept_without_fds_is_one_error);
	tcase_add_test(c, test_remove_listener_orphans_what_is_queued);
	tcase_add_test(c, test_listen_and_connect_take_endpoints);
	tcase_add_test(c, test_options_that_contradict_say_so);
	tcase_add_test(c, test_listen_busy_address_is_refused);
	return s;
}

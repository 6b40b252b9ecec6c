/* Looking inside: listings, the dump, sconce_verify(), the trace, accounting. */
#include "test_net.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "core.h"

static struct conn a, b, c;
static int far;

static void
open_one(struct conn *conn, const struct sconce_sock_ops *ops)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(conn, ops, sv[0]);
	far = sv[1];
}

/* ---- listings ---- */

static int seen;
static struct sconce_sock *seen_socks[8];

static bool
see(struct sconce_sock *s, void *arg)
{
	if (seen < 8)
		seen_socks[seen] = s;
	seen++;
	return arg == NULL || seen < *(int *)arg;
}

/* Every object is counted and met, closed ones until they are destroyed, the library's own never; DS-31, DS-32, IM-10. */
START_TEST(test_each_meets_what_count_counts)
{
	static struct sconce_listener l;
	static const struct sconce_listener_ops ops = { .name = "l", .accept = (int (*)(struct sconce_listener *, int,
		const struct sconce_addr *))abort };
	int two = 2;

	ck_assert_uint_eq(sconce_count(loop), 0);
	ck_assert_uint_eq(sconce_each(loop, see, NULL), 0);
	conn_init(&a, &conn_ops, -1);
	conn_init(&b, &conn_ops, -1);
	ck_assert_int_eq(sconce_listen(&l, loop, &ops, "127.0.0.1:0", NULL), 0);
	ck_assert_uint_eq(sconce_count(loop), 3);
	seen = 0;
	ck_assert_uint_eq(sconce_each(loop, see, NULL), 3);
	ck_assert_ptr_eq(seen_socks[0], &a.sock);
	ck_assert_ptr_eq(seen_socks[1], &b.sock);
	ck_assert_ptr_eq(seen_socks[2], &l.sock);
	seen = 0;
	ck_assert_uint_eq(sconce_each(loop, see, &two), 2);	/* until false */
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	ck_assert_uint_eq(sconce_count(loop), 3);
	seen = 0;
	ck_assert_uint_eq(sconce_each(loop, see, NULL), 3);
	ck_assert_ptr_null(sconce_find(loop, a.sock.id));
	sconce_close(&l.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_uint_eq(sconce_count(loop), 1);
	seen = 0;
	ck_assert_uint_eq(sconce_each(loop, see, NULL), 1);
	ck_assert_ptr_eq(seen_socks[0], &b.sock);
}
END_TEST

static int watch_calls;

static void
watched(struct sconce_watch *w, unsigned events, void *arg)
{
	char byte;

	(void)w;
	(void)events;
	ck_assert_int_eq(read(*(int *)arg, &byte, 1), 1);
	watch_calls++;
}

/* Foreign watches are no sockets: not counted, not met; a loop goes with one running. */
START_TEST(test_each_does_not_meet_watches)
{
	static struct sconce_watch w;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	conn_init(&a, &conn_ops, -1);
	ck_assert_int_eq(sconce_watch_start(&w, loop, fds[0], SCONCE_READ, watched, &fds[0]), 0);
	ck_assert_uint_eq(sconce_count(loop), 1);
	seen = watch_calls = 0;
	ck_assert_uint_eq(sconce_each(loop, see, NULL), 1);
	ck_assert_ptr_eq(seen_socks[0], &a.sock);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	NET_UNTIL(watch_calls == 1);
	net_teardown();
	ck_assert_int_eq(strcmp(a.log, "XZ"), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static struct conn *made[300];
static int made_count;

static void
made_destroy(struct sconce_sock *s)
{
	conn_destroy(s);
	free(conn_of(s));
}

static const struct sconce_sock_ops made_ops = { .name = "made", .destroy = made_destroy };

static bool
close_all_make_one(struct sconce_sock *s, void *arg)
{
	(void)arg;
	if (s->ops == &made_ops)
		return true;
	seen++;
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	sconce_close(&b.sock, SCONCE_REASON_LOCAL);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	for (int i = 0; i < 100; i++) {
		made[made_count] = calloc(1, sizeof(*made[0]));
		conn_init(made[made_count++], &made_ops, -1);
	}
	return true;
}

/* Whoever is met may close anybody, and make new ones without end. */
START_TEST(test_each_closing_and_making_is_safe)
{
	conn_init(&a, &conn_ops, -1);
	conn_init(&b, &conn_ops, -1);
	conn_init(&c, &conn_ops, -1);
	seen = made_count = 0;
	ck_assert_uint_ge(sconce_each(loop, close_all_make_one, NULL), 3);
	ck_assert_int_eq(seen, 3);
	ck_assert_uint_eq(sconce_count(loop), 303);
	net_settle();
	ck_assert_uint_eq(sconce_count(loop), 300);
}
END_TEST

static void
check_line(struct conn *conn, const char *format, ...) SCONCE_PRINTF(2, 3);

static void
check_line(struct conn *conn, const char *format, ...)
{
	char line[512], want[512];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	ck_assert_int_eq(sconce_describe(&conn->sock, line, sizeof(line)), (int)strlen(want));
	ck_assert_str_eq(line, want);
}

/* A line says who, what is watched, in which state, between whom, and what is queued; DS-57. */
START_TEST(test_describe_default_tells_state)
{
	char text[64], near_text[SCONCE_ADDR_TEXT], line[64];
	int lfd = plain_listen(1, text, sizeof(text)), fd;
	struct sconce_addr near;

	conn_init(&a, &conn_ops, -1);
	check_line(&a, "conn#1 fd -1 RW unconnected queued 0");
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	check_line(&a, "conn#1 fd %d W connecting -> %s queued 0", sconce_fd(&a.sock), text);
	NET_UNTIL(a.log[0] == 'C');
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(sconce_local(&a.sock, &near), 0);
	sconce_addr_text(&near, near_text, sizeof(near_text));
	check_line(&a, "conn#1 fd %d R open %s <- %s queued 0", sconce_fd(&a.sock), near_text, text);
	sconce_watch_write(&a.sock, true);
	ck_assert_int_eq(sconce_write(&a.sock, "abc", 3), SCONCE_GATHERED);
	check_line(&a, "conn#1 fd %d RW open %s <- %s queued 3", sconce_fd(&a.sock), near_text, text);
	sconce_pause(&a.sock, SCONCE_PAUSE_RATE);
	sconce_watch_write(&a.sock, false);
	sconce_flush(&a.sock);
	check_line(&a, "conn#1 fd %d - open %s <- %s queued 0 paused:rate", sconce_fd(&a.sock), near_text, text);
	/* any size: always terminated, and the whole length told */
	for (size_t size = 0; size < sizeof(line); size++) {
		memset(line, '#', sizeof(line));
		ck_assert_int_eq(sconce_describe(&a.sock, line, size), sconce_describe_default(&a.sock, NULL, 0));
		if (size > 0)
			ck_assert_uint_eq(strlen(line), size - 1);
		ck_assert_int_eq(line[size], '#');
	}
	sconce_close_flush(&a.sock, 5);
	sconce_describe(&a.sock, line, sizeof(line));
	ck_assert_ptr_nonnull(strstr(line, " ending "));
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	check_line(&a, "conn#1 fd %d - closed %s <- %s reason 1 errno 0 unsent 0", sconce_fd(&a.sock), near_text, text);
	close(fd);
	close(lfd);
}
END_TEST

static int
describe_nastily(const struct sconce_sock *s, char *buf, size_t size)
{
	(void)s;
	return snprintf(buf, size, "one\ntwo\x1b[31m\x7f" "three");
}

static const struct sconce_sock_ops nasty_ops = { .name = "nasty", .describe = describe_nastily };

/* The dump has a line per object, whatever its describe prints, and a summary. */
START_TEST(test_dump_one_line_each_and_summary)
{
	char *text = NULL, *end;
	size_t size = 0;
	int lines = 0;
	FILE *out = open_memstream(&text, &size);

	open_one(&a, &conn_ops);
	conn_init(&b, &nasty_ops, -1);
	ck_assert_int_eq(sconce_set_timeout(&a.sock, SCONCE_TIMEOUT_LIFETIME, 10), 0);
	sconce_dump(loop, out);
	fclose(out);
	for (end = text; *end != '\0'; end++) {
		lines += *end == '\n';
		ck_assert(*end == '\n' || (unsigned char)*end >= 0x20);
	}
	ck_assert_int_eq(lines, 6);
	ck_assert_int_eq(strncmp(text, "conn#1 ", 7), 0);
	ck_assert_ptr_nonnull(strstr(text, "\none?two?[31m?three\n"));
	ck_assert_ptr_nonnull(strstr(text, "loop: 2 sockets, backend libev, turn 0"));
	ck_assert_ptr_nonnull(strstr(text, "timers: next in "));
	ck_assert_ptr_nonnull(strstr(text, "marks: low 262144 high 1048576"));
	free(text);
	sconce_set_timeout(&a.sock, SCONCE_TIMEOUT_LIFETIME, 0);
	out = open_memstream(&text, &size);
	sconce_dump(loop, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "timers: none, idle timeouts 0"));
	free(text);
	close(far);
}
END_TEST

/* ---- verify ---- */

static void
verify_in_hook(struct conn *conn)
{
	char buf[8];

	sconce_verify(conn->sock.loop);
	ck_assert_int_ge(sconce_write(&conn->sock, "x", 1), 0);
	sconce_verify(conn->sock.loop);
	sconce_read(&conn->sock, buf, sizeof(buf));
}

/* A sound loop passes, inside hooks too, with timers, timeouts, queues and pushed-back bytes. */
START_TEST(test_verify_sound_loop_passes)
{
	static struct sconce_timer timers[50];
	static char big[4 << 20];

	open_one(&a, &conn_ops);
	a.on_read = verify_in_hook;
	ck_assert_int_eq(write(far, "x", 1), 1);
	NET_UNTIL(a.log[0] == 'R');
	for (int i = 0; i < 50; i++) {
		sconce_timer_init(&timers[i], loop, (sconce_timer_fn *)abort, NULL);
		sconce_timer_start(&timers[i], 1000 + i * 37 % 50);
		sconce_verify(loop);
	}
	ck_assert_int_eq(sconce_set_timeout(&a.sock, SCONCE_TIMEOUT_INPUT, 30), 0);
	ck_assert_int_eq(sconce_write(&a.sock, big, sizeof(big)), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_write_cb(&a.sock, conn_done, NULL), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_unread(&a.sock, "back", 4), 0);
	sconce_verify(loop);
	for (int i = 0; i < 50; i += 2)
		sconce_timer_stop(&timers[i]);
	sconce_verify(loop);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	sconce_verify(loop);
	for (int i = 1; i < 50; i += 2)
		sconce_timer_stop(&timers[i]);
	close(far);
}
END_TEST

/* A loop whose counts are wrong does not. */
START_TEST(test_verify_wrong_count_aborts)
{
	conn_init(&a, &conn_ops, -1);
	loop->count++;
	sconce_verify(loop);
}
END_TEST

/* Nor one whose queue does not add up. */
START_TEST(test_verify_wrong_queue_aborts)
{
	conn_init(&a, &conn_ops, -1);
	ck_assert_int_eq(sconce_write(&a.sock, "abc", 3), SCONCE_QUEUED);
	a.sock._queue->bytes++;
	sconce_verify(loop);
}
END_TEST

/* ---- trace ---- */

static char traced[8192];
static int traced_lines;
static bool trace_quiet;		/* notes the first of a kind only */

static void
trace(struct sconce_loop *l, const struct sconce_trace *e, void *arg)
{
	char line[256];
	size_t at = strlen(traced);

	ck_assert_ptr_eq(l, loop);
	ck_assert_ptr_eq(arg, &traced_lines);
	traced_lines++;
	if (e->sock != NULL)		/* the one thing that it may do; not traced itself */
		sconce_describe(e->sock, line, sizeof(line));
	errno = EDOM;			/* and it may leave errno as it likes */
	snprintf(line, sizeof(line), "%s:%s:", e->what, e->name);
	if (at < sizeof(traced) - 100 && !(trace_quiet && strstr(traced, line) != NULL))
		snprintf(traced + at, sizeof(traced) - at, "%s%lld\n", line, (long long)e->result);
}

static void
trace_start(void)
{
	traced[0] = '\0';
	traced_lines = 0;
	sconce_set_trace(loop, trace, &traced_lines);
}

/* The lines are there, in this order, others perhaps between. */
static void
check_traced(const char *const *lines)
{
	const char *at = traced;

	for (; *lines != NULL; lines++) {
		at = strstr(at, *lines);
		ck_assert_msg(at != NULL, "no '%s' in its place in:\n%s", *lines, traced);
	}
}

/* Calls with their results, hooks and states are told as they happen; DS-42, EM-56, TM-32. */
START_TEST(test_trace_tells_calls_hooks_states)
{
	static const char *const success[] = { "state:open:-1\n", "call:socket:", "call:setsockopt:0\n",
		"call:connect:-115\n", "state:connecting:0\n", "call:arm:2\n", "call:getsockopt:0\n", "state:connected:0\n",
		"hook:event_connect:0\n", "call:send:5\n", "call:arm:1\n", "hook:event_read:0\n", "call:recv:3\n",
		"state:closed:1\n", "hook:event_close:1\n", "call:close:0\n", "hook:destroy:0\n", NULL };
	char text[64], buf[8];
	int lfd = plain_listen(1, text, sizeof(text)), fd, count;

	trace_start();
	conn_init(&a, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	ck_assert_int_eq(sconce_write(&a.sock, "hello", 5), SCONCE_QUEUED);
	net_settle();
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 5), 5);
	ck_assert_int_eq(write(fd, "you", 3), 3);
	NET_UNTIL(a.in_len == 3);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	check_traced(success);
	sconce_set_trace(loop, NULL, NULL);
	count = traced_lines;
	conn_init(&a, &conn_ops, -1);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(traced_lines, count);
	close(fd);
	close(lfd);
}
END_TEST

/* Off, the loop calls its backend as it is: nothing stands between. */
START_TEST(test_trace_off_leaves_nothing_between)
{
	const struct sconce_backend *be = loop->be;
	void *ctx = loop->ctx;

	ck_assert(!loop->observed);
	trace_start();
	ck_assert_ptr_ne(loop->be, be);
	ck_assert(loop->observed);
	ck_assert_ptr_eq(sconce_backend_ctx(loop), ctx);
	ck_assert_ptr_nonnull(sconce_loop_ev(loop));
	sconce_set_trace(loop, NULL, NULL);
	ck_assert_ptr_eq(loop->be, be);
	ck_assert_ptr_eq(loop->ctx, ctx);
	ck_assert(!loop->observed);
	sconce_set_trace(loop, NULL, NULL);
	ck_assert_ptr_eq(loop->be, be);
}
END_TEST

static struct conn served;
static struct sconce_listener listener;

static int
serve(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	(void)peer;
	conn_init(&served, &conn_ops, fd);
	sconce_close(&l->sock, SCONCE_REASON_LOCAL);
	return 0;
}

static const struct sconce_listener_ops serving_ops = { .name = "serving", .accept = serve };

enum { FILE_SIZE = 600000 };

/* A file of so many bytes, all 'f'. */
static int
make_file(void)
{
	char path[] = "/tmp/sconce-test-XXXXXX", bytes[10000];
	int fd = mkostemp(path, O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	memset(bytes, 'f', sizeof(bytes));
	for (int i = 0; i < FILE_SIZE / (int)sizeof(bytes); i++)
		ck_assert_int_eq(write(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	return fd;
}

/* Under a trace everything works as without: listening, files, splices, pipes; and each call is told. */
START_TEST(test_trace_every_kind_of_call_is_passed_on)
{
	static const char *const calls[] = { "call:bind:0\n", "call:listen:0\n", "call:accept4:", "call:sendfile:",
		"call:splice:", "call:pipe2:0\n", "call:shutdown:0\n", "call:readv:", "call:writev:" };
	char text[SCONCE_ADDR_TEXT];
	int file = make_file(), fds[2];

	trace_quiet = true;
	trace_start();
	ck_assert_int_eq(sconce_listen(&listener, loop, &serving_ops, "127.0.0.1:0", NULL), 0);
	conn_init(&a, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&a.sock, sconce_addr_text(&listener.addr, text, sizeof(text))), 0);
	ck_assert_int_ge(sconce_write_file(&a.sock, file, 0, FILE_SIZE, conn_done, NULL), 0);
	ck_assert_int_eq(sconce_write(&a.sock, "x", 1), SCONCE_QUEUED);
	NET_UNTIL(a.log[0] == 'C' && served.in_len == FILE_SIZE + 1);
	ck_assert_int_eq(a.done_status, 0);
	open_one(&b, &conn_ops);
	ck_assert_int_ge(sconce_transfer(&served.sock, &b.sock, FILE_SIZE, conn_done, NULL), 0);
	ck_assert_int_ge(sconce_write_file(&a.sock, file, 0, FILE_SIZE, NULL, NULL), 0);
	for (size_t got = 0; got < FILE_SIZE; ) {
		char bytes[65536];
		ssize_t n;

		ck_assert_int_ge(sconce_loop_step(loop, 0.01), 0);
		n = recv(far, bytes, sizeof(bytes), MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
	}
	NET_UNTIL(strchr(b.log, 'd') != NULL);
	ck_assert_int_eq(b.done_status, 0);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_WR), 0);
	NET_UNTIL(served.end);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	conn_init(&c, &conn_ops, fds[1]);
	sconce_watch_read(&c.sock, false);
	ck_assert_int_ge(sconce_write(&c.sock, "through", 7), 0);
	sconce_close(&b.sock, SCONCE_REASON_LOCAL);
	net_settle();
	close(far);
	conn_init(&b, &conn_ops, fds[0]);
	NET_UNTIL(b.in_len == 7);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		ck_assert_msg(strstr(traced, calls[i]) != NULL, "no '%s' in:\n%s", calls[i], traced);
	close(file);
}
END_TEST

static bool trace_on;

static void
toggle_trace(struct conn *conn)
{
	char buf[8];

	trace_on = !trace_on;
	sconce_set_trace(conn->sock.loop, trace_on ? trace : NULL, &traced_lines);
	ck_assert_int_gt(sconce_read(&conn->sock, buf, sizeof(buf)), 0);
}

/* A hook may turn it on and off. */
START_TEST(test_trace_toggled_in_hook_works)
{
	traced[0] = '\0';
	trace_on = false;
	open_one(&a, &conn_ops);
	a.on_read = toggle_trace;
	for (int i = 0; i < 20; i++) {
		int before = traced_lines;

		ck_assert_int_eq(write(far, "x", 1), 1);
		for (int j = 0; j < 3; j++)
			ck_assert_int_ge(sconce_loop_step(loop, 0.01), 0);
		ck_assert_int_eq(trace_on, i % 2 == 0);
		ck_assert(!trace_on || traced_lines > before);
	}
	trace_start();				/* a loop may be freed under it */
	close(far);
}
END_TEST

/* A trace does not change what is done: every call's errno is passed on untouched, wake-ups from other threads too. */
START_TEST(test_trace_errors_are_passed_on)
{
	char text[64];

	plain_nobody(text, sizeof(text));
	trace_quiet = false;
	trace_start();
	conn_init(&a, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&a.sock, text), 0);
	net_settle();
	ck_assert_int_eq(a.connect_errnum, ECONNREFUSED);
	conn_init(&b, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&b.sock, "/no/such/path"), 0);
	net_settle();
	ck_assert_int_eq(b.connect_errnum, ENOENT);
	ck_assert_ptr_nonnull(strstr(traced, "call:connect:-2\n"));
	ck_assert_ptr_nonnull(strstr(traced, "state:connect_failed:2\n"));
	open_one(&c, &conn_ops);
	ck_assert_int_eq(sconce_read(&c.sock, text, sizeof(text)), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(traced, "call:recv:-11\n"));
	close(far);
}
END_TEST

static int posts;

static void
posted(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	(void)status;
	posts++;
}

static atomic_bool posting;

static void *
post_much(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++)
		if (sconce_post(loop, posted, NULL) != 0)
			abort();
	atomic_store(&posting, false);
	return NULL;
}

/* It may be turned on and off while other threads post. */
START_TEST(test_trace_toggled_while_threads_post_works)
{
	pthread_t thread;

	posts = 0;
	atomic_store(&posting, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, post_much, NULL), 0);
	for (int i = 0; i < 1000000 && (atomic_load(&posting) || posts < 2000); i++) {
		sconce_set_trace(loop, i % 2 ? trace : NULL, &traced_lines);
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	}
	pthread_join(thread, NULL);
	ck_assert_int_eq(posts, 2000);
}
END_TEST

/* ---- accounting ---- */

static const struct sconce_account *
account_of(const struct sconce_account *all, size_t count, const char *type, const char *hook)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].type, type) == 0 && strcmp(all[i].hook, hook) == 0)
			return &all[i];
	return NULL;
}

static void
work_hard(struct conn *conn)
{
	volatile unsigned sum = 0;
	char buf[8];

	sconce_read(&conn->sock, buf, sizeof(buf));
	for (unsigned i = 0; i < 3000000; i++)
		sum += i;
	(void)sum;
}

/* How often each hook of each type ran, and how long; off it counts nothing and keeps what it has; DS-40. */
START_TEST(test_accounting_counts_calls_and_time)
{
	struct sconce_account all[32];
	const struct sconce_account *r;
	size_t count;

	ck_assert_uint_eq(sconce_accounting(loop, all, 32), 0);
	open_one(&a, &conn_ops);
	a.on_read = work_hard;
	ck_assert_int_eq(sconce_set_accounting(loop, true), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(write(far, "x", 1), 1);
		for (int j = 0; j < 3; j++)
			ck_assert_int_ge(sconce_loop_step(loop, 0.005), 0);
	}
	ck_assert_int_ge(sconce_write_cb(&a.sock, conn_done, NULL), 0);
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(sconce_set_accounting(loop, false), 0);
	ck_assert(!loop->observed);
	count = sconce_accounting(loop, all, 32);
	r = account_of(all, count, "conn", "event_read");
	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(r->calls, 3);
	ck_assert(r->seconds > 0.0005 && r->seconds < 5);
	r = account_of(all, count, "conn", "destroy");
	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(r->calls, 1);
	ck_assert_ptr_nonnull(account_of(all, count, "conn", "completion"));
	close(far);
	/* kept while off, however many are asked for */
	open_one(&b, &conn_ops);
	sconce_close(&b.sock, SCONCE_REASON_LOCAL);
	net_settle();
	close(far);
	ck_assert_uint_eq(sconce_accounting(loop, all, 32), count);
	ck_assert_uint_eq(account_of(all, count, "conn", "destroy")->calls, 1);
	ck_assert_uint_eq(sconce_accounting(loop, NULL, 0), count);
	all[1].calls = 99;
	ck_assert_uint_eq(sconce_accounting(loop, all, 1), count);
	ck_assert_uint_eq(all[1].calls, 99);
	ck_assert_int_eq(sconce_set_accounting(loop, true), 0);	/* cleared */
	ck_assert_uint_eq(sconce_accounting(loop, all, 32), 0);
}
END_TEST

static void
deferred(struct sconce_loop *l, void *arg, int status)
{
	(void)arg;
	(void)status;
	sconce_set_accounting(l, true);		/* in the middle of a call that is being accounted */
}

static char names[100][16];
static struct sconce_sock_ops many_ops[100];

/* Many types get an account each, and what belongs to no socket is the loop's. */
START_TEST(test_accounting_many_types_each_has_one)
{
	static struct conn many[100];
	struct sconce_account all[128];
	size_t count;

	ck_assert_int_eq(sconce_set_accounting(loop, true), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(names[i], sizeof(names[i]), "t%d", i / 2);	/* types of the same name are one */
		many_ops[i] = conn_ops;
		many_ops[i].name = names[i];
		conn_init(&many[i], &many_ops[i], -1);
		sconce_close(&many[i].sock, SCONCE_REASON_LOCAL);
	}
	net_settle();
	count = sconce_accounting(loop, all, 128);
	ck_assert_uint_eq(count, 100);		/* 50 types, event_close and destroy */
	ck_assert_uint_eq(account_of(all, count, "t49", "event_close")->calls, 2);
	ck_assert_int_eq(sconce_defer(loop, NULL, deferred, NULL), 0);
	net_settle();
	ck_assert_int_eq(sconce_defer(loop, NULL, deferred, NULL), 0);
	net_settle();
	count = sconce_accounting(loop, all, 128);
	ck_assert_ptr_nonnull(account_of(all, count, "loop", "deferred"));
}
END_TEST

/* Without memory accounting is refused, a trace stays off, and addresses are asked for anew; HZ-22. */
START_TEST(test_inspect_no_memory_is_harmless)
{
	struct sconce_addr addr;

	backend.alloc = failing_alloc;
	open_one(&a, &conn_ops);
	alloc_left = 0;
	ck_assert_int_eq(sconce_set_accounting(loop, true), -ENOMEM);
	ck_assert(!loop->observed);
	sconce_set_trace(loop, trace, &traced_lines);
	ck_assert(!loop->observed);
	ck_assert_int_eq(sconce_peer(&a.sock, &addr), 0);
	ck_assert_int_eq(sconce_peer(&a.sock, &addr), 0);
	alloc_left = -1;
	close(far);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("inspect");
	TCase *listing = net_case(suite, "listing"), *verifying = net_case(suite, "verify"), *tracing = net_case(suite, "trace"),
	    *accounting = net_case(suite, "accounting");

	tcase_add_test(listing, test_each_meets_what_count_counts);
	tcase_add_test(listing, test_each_does_not_meet_watches);
	tcase_add_test(listing, test_each_closing_and_making_is_safe);
	tcase_add_test(listing, test_describe_default_tells_state);
	tcase_add_test(listing, test_dump_one_line_each_and_summary);
	tcase_add_test(verifying, test_verify_sound_loop_passes);
	t_add_abort(verifying, test_verify_wrong_count_aborts);
	t_add_abort(verifying, test_verify_wrong_queue_aborts);
	tcase_add_test(tracing, test_trace_tells_calls_hooks_states);
	tcase_add_test(tracing, test_trace_every_kind_of_call_is_passed_on);
	tcase_add_test(tracing, test_trace_off_leaves_nothing_between);
	tcase_add_test(tracing, test_trace_toggled_in_hook_works);
	tcase_add_test(tracing, test_trace_errors_are_passed_on);
	tcase_add_test(tracing, test_trace_toggled_while_threads_post_works);
	tcase_add_test(accounting, test_accounting_counts_calls_and_time);
	tcase_add_test(accounting, test_accounting_many_types_each_has_one);
	tcase_add_test(accounting, test_inspect_no_memory_is_harmless);
	return suite;
}

/* The ways to end a socket, what runs afterwards and when; holds, ids, detach. */
#include "harness.h"
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pair p;
static char big[4 * 1024 * 1024];

static void
setup(void)
{
	pair_open_counted(&p, WIRE_UNIX, 1000, 10000);
}

static void
setup_tcp(void)
{
	pair_open_counted(&p, WIRE_TCP, 1000, 10000);
}

static void
teardown(void)
{
	pair_free(&p);
}

static int
fd_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* ---- close ---- */

/* DS-51, DS-7, DS-1: silent at once; fd and memory wait for the end of the turn; the first reason wins. */
START_TEST(test_close_outside_hook)
{
	int fd = p.a.sock.fd;
	uint64_t id = p.a.sock.id;

	sconce_close(&p.a.sock, SCONCE_REASON_USER + 1);
	sconce_close(&p.a.sock, SCONCE_REASON_EOF);
	sconce_abort(&p.a.sock);
	sconce_close_flush(&p.a.sock, 5);
	ck_assert(p.a.sock.closed);
	ck_assert_uint_eq(p.a.closes, 0);
	ck_assert(fd_open(fd));
	ck_assert_ptr_null(sconce_find(p.loop, id));
	ck_assert_uint_eq(sconce_watching(&p.a.sock), 0);
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_WR), -EBADF);
	ck_assert_int_eq(sconce_unread(&p.a.sock, "x", 1), -EBADF);
	ck_assert_int_eq(sconce_read(&p.a.sock, (char[1]){ 0 }, 1), -EBADF);
	ck_assert_int_eq(sconce_watch_read(&p.a.sock, true), 0);
	sconce_pause(&p.a.sock, SCONCE_PAUSE_APP);
	sconce_resume(&p.a.sock, SCONCE_PAUSE_APP);
	ck_assert_str_eq(p.log, "");
	pair_turn(&p, 1);
	ck_assert_str_eq(p.log, "a.close a.destroy ");
	ck_assert(!fd_open(fd));
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_USER + 1);
	ck_assert_int_eq(p.a.close_fd, fd);
}
END_TEST

/* DS-31: a closed object counts until it is destroyed. */
START_TEST(test_close_counts_until_destroyed)
{
	ck_assert_uint_eq(sconce_count(p.loop), 2);
	sconce_close(&p.a.sock, 0);
	ck_assert_uint_eq(sconce_count(p.loop), 2);
	pair_turn(&p, 1);
	ck_assert_uint_eq(sconce_count(p.loop), 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_LOCAL);	/* 0 and less say nothing */
}
END_TEST

static void
close_in_timer(struct sconce_timer *t, void *arg)
{
	(void)t;
	sconce_close(&((struct end *)arg)->sock, 0);
}

/* DS-90: a close in a timer is seen by the peer in the same turn, not at the next wake-up. */
START_TEST(test_close_in_timer_does_not_wait)
{
	struct sconce_timer t;
	double before = sconce_now(p.loop);

	sconce_timer_init(&t, p.loop, close_in_timer, &p.a);
	sconce_timer_start(&t, 0.001);
	for (int i = 0; i < 100 && !p.b.ended; i++)
		sconce_loop_step(p.loop, 5);
	ck_assert(p.b.ended);
	ck_assert(sconce_now(p.loop) - before < 2);
}
END_TEST

/* "BYE", then close: it is delivered. */
START_TEST(test_close_offers_what_was_gathered)
{
	ck_assert_int_eq(sconce_write(&p.a.sock, "BYE", 3), SCONCE_GATHERED);
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"C");
	sconce_close(&p.a.sock, 0);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, 3);
	ck_assert_mem_eq(p.b.in, "BYE", 3);
	ck_assert_uint_eq(p.a.unsent, 0);
	ck_assert_ptr_nonnull(strstr(p.log, "C=0 a.close a.destroy "));
}
END_TEST

static void
write_bye_and_close(struct end *e)
{
	ck_assert_int_eq(sconce_read(&e->sock, (char[1]){ 0 }, 1), 1);
	sconce_write(&e->sock, "BYE", 3);
	sconce_close(&e->sock, 0);
	ck_assert_int_eq(sconce_write(&e->sock, "more", 4), -EPIPE);
}

/* The same inside a hook. */
START_TEST(test_close_in_hook_offers_what_was_gathered)
{
	p.a.on.read = write_bye_and_close;
	sconce_write(&p.b.sock, "!", 1);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, 3);
}
END_TEST

/* The offer is one: what the kernel refuses is counted and dropped. I-9 */
START_TEST(test_close_refused_counts_unsent)
{
	fault.fd = p.a.sock.fd;
	fault.max_send = 2;
	sconce_write(&p.a.sock, "BYEBYE", 6);
	sconce_close(&p.a.sock, 0);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, 2);
	ck_assert_uint_eq(p.a.unsent, 4);
}
END_TEST

/* DS-91, DS-93: many closed in one turn are all gone after it, fds and entries. */
START_TEST(test_close_many_in_one_turn)
{
	int before = t_fd_count(), fds[2];

	for (int i = 0; i < 4; i++) {
		wire_make(WIRE_UNIX, fds);
		end_open(&p, "x", NULL, fds[0]);
		end_open(&p, "y", NULL, fds[1]);
	}
	for (int i = 0; i < 8; i++)
		sconce_close(&p.others[i].sock, 0);
	ck_assert_int_eq(t_fd_count(), before + 8);
	pair_turn(&p, 1);
	ck_assert_int_eq(t_fd_count(), before);
	ck_assert_uint_eq(sconce_count(p.loop), 2);
}
END_TEST

static const struct sconce_sock_ops bare_ops = { .name = "bare", .destroy = end_destroy };

/* A type with no hook but destroy: errors and hang-ups close it. */
START_TEST(test_close_missing_hooks_default)
{
	struct end *c, *d;
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "c", &bare_ops, fds[0]);
	d = end_open(&p, "d", NULL, fds[1]);
	pair_quiet(&p);
	sconce_close(&d->sock, 0);
	PAIR_UNTIL(&p, c->destroys == 1);
	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "e", &bare_ops, fds[0]);
	fault.fd = fds[0];
	fault.send_errno = EPIPE;
	sconce_write(&c->sock, "x", 1);
	PAIR_UNTIL(&p, c->destroys == 1);
	close(fds[1]);
}
END_TEST

/* ---- any hook may close any socket (HZ-1) ---- */

enum { HOOK_READ, HOOK_WRITE, HOOK_ERR, HOOK_HUP, HOOK_HIGH, HOOK_LOW, HOOK_DRAIN, HOOK_TIMEOUT, HOOK_DONE, HOOK_CLOSE,
	HOOK_DESTROY, HOOK_UNREAD, HOOKS };
enum { ACT_SELF, ACT_PEER, ACT_THIRD, ACT_ALL, ACT_WRITE_CLOSE_WRITE, ACT_TWICE, ACT_ABORT, ACT_FLUSH, ACT_DETACH_THIRD,
	ACT_LARGE_AND_CLOSE, ACTS };

static int act, acted;

static void
do_act(struct end *e)
{
	struct end *third = &p.others[0];
	bool gone = e->destroys > 0;
	int fd;

	if (acted++ > 0)
		return;
	if ((act == ACT_PEER || act == ACT_ALL) && p.b.destroys == 0)
		sconce_close(&p.b.sock, 0);
	if (act == ACT_THIRD || act == ACT_ALL)
		sconce_close(&third->sock, 0);
	if (act == ACT_DETACH_THIRD) {
		fd = sconce_detach(&third->sock, NULL, 0, NULL);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	if (gone)
		return;
	switch (act) {
	case ACT_SELF:
	case ACT_ALL:
		sconce_close(&e->sock, 0);
		break;
	case ACT_WRITE_CLOSE_WRITE:
		sconce_write(&e->sock, "x", 1);
		sconce_close(&e->sock, 0);
		ck_assert_int_eq(sconce_write(&e->sock, "y", 1), -EPIPE);
		sconce_write_cb(&e->sock, log_done, (void *)(uintptr_t)"late");
		break;
	case ACT_TWICE:
		sconce_close(&e->sock, 0);
		sconce_close(&e->sock, 0);
		break;
	case ACT_ABORT:
		sconce_abort(&e->sock);
		break;
	case ACT_FLUSH:
		sconce_close_flush(&e->sock, 0.001);
		break;
	case ACT_LARGE_AND_CLOSE:
		sconce_write(&third->sock, big, sizeof(big));
		sconce_write(&e->sock, big, sizeof(big));
		sconce_write_ref(&e->sock, big, sizeof(big), log_done, (void *)(uintptr_t)"R");
		sconce_close(&e->sock, 0);
		break;
	default:
		break;
	}
}

static void
act_err(struct end *e, int errnum)
{
	(void)errnum;
	do_act(e);
}

static void
act_timeout(struct end *e, enum sconce_timeout_kind kind)
{
	(void)kind;
	do_act(e);
}

static void
act_done(struct sconce_sock *s, void *arg, int status)
{
	(void)arg;
	(void)status;
	do_act(end_of(s));
}

static void
refuse_then_take(size_t len)
{
	fault.fd = p.a.sock.fd;
	fault.send_again = 2;
	sconce_write(&p.a.sock, big, len);
}

static void
provoke(int hook)
{
	struct end *a = &p.a;

	switch (hook) {
	case HOOK_READ:
		a->on.read = do_act;
		sconce_write(&p.b.sock, "!", 1);
		break;
	case HOOK_UNREAD:
		a->on.read = do_act;
		sconce_unread(&a->sock, "!", 1);
		break;
	case HOOK_WRITE:
		a->on.write = do_act;
		sconce_watch_write(&a->sock, true);
		break;
	case HOOK_ERR:
		a->on.err = act_err;
		fault.fd = a->sock.fd;
		fault.send_errno = EPIPE;
		sconce_write(&a->sock, "x", 1);
		break;
	case HOOK_HUP:
		a->on.hup = do_act;
		sconce_watch_read(&a->sock, false);
		pair_turn(&p, 1);
		sconce_close(&p.b.sock, 0);
		break;
	case HOOK_HIGH:
		a->on.high = do_act;
		refuse_then_take(20000);
		break;
	case HOOK_LOW:
		a->on.low = do_act;
		refuse_then_take(20000);
		break;
	case HOOK_DRAIN:
		a->on.drain = do_act;
		refuse_then_take(100);
		break;
	case HOOK_TIMEOUT:
		a->on.timeout = act_timeout;
		sconce_set_timeout(&a->sock, SCONCE_TIMEOUT_ALARM, 0.001);
		break;
	case HOOK_DONE:
		sconce_write(&a->sock, "x", 1);
		sconce_write_cb(&a->sock, act_done, NULL);
		break;
	case HOOK_CLOSE:
		a->on.close = do_act;
		sconce_close(&a->sock, 0);
		break;
	case HOOK_DESTROY:
		a->on.destroy = do_act;
		sconce_close(&a->sock, 0);
		break;
	}
}

/* HZ-1, DS-28: every hook x what it may do to itself, its peer, a third; no hook after close, each farewell once. */
START_TEST(test_close_from_every_hook)
{
	int fds[2];

	act = _i % ACTS;
	acted = 0;
	wire_make(WIRE_UNIX, fds);
	end_open(&p, "c", NULL, fds[0]);
	end_open(&p, "d", NULL, fds[1]);
	pair_quiet(&p);
	provoke(_i / ACTS);
	sconce_write(&p.others[1].sock, "also ready", 10);
	PAIR_UNTIL(&p, acted > 0);
	pair_turn(&p, 10);
	sconce_verify(p.loop);
}
END_TEST

static void
close_other(struct end *e)
{
	struct end *other = e == &p.a ? &p.b : &p.a;

	e->n++;
	sconce_close(&other->sock, 0);
	sconce_watch_write(&e->sock, false);
}

/* DS-28: of two objects ready in one batch the first closes the second, which gets nothing. */
START_TEST(test_close_peer_ready_in_the_same_batch)
{
	p.a.on.write = p.b.on.write = close_other;
	sconce_watch_write(&p.a.sock, true);
	sconce_watch_write(&p.b.sock, true);
	pair_turn(&p, 3);
	ck_assert_int_eq(p.a.n + p.b.n, 1);
	ck_assert_uint_eq(p.a.destroys + p.b.destroys, 1);
}
END_TEST

/* ---- close_flush ---- */

/* Queue, SHUT_WR, the peer's end, close; no hook but the farewells. */
START_TEST(test_close_flush_lingers_until_peer_ends)
{
	sconce_watch_read(&p.b.sock, false);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"C");
	pair_quiet(&p);
	sconce_close_flush(&p.a.sock, 30);
	pair_log_clear(&p);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
	ck_assert(!p.a.sock.closed);
	ck_assert_uint_ne(sconce_paused(&p.a.sock) & SCONCE_PAUSE_ENDING, 0);
	sconce_write(&p.b.sock, "ignored", 7);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, sizeof(big));
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.closes, 0);		/* it waits for the peer */
	sconce_close(&p.b.sock, 0);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_uint_eq(p.a.unsent, 0);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_LOCAL);
	ck_assert_uint_eq(p.a.reads + p.a.drains + p.a.lows + p.a.errs + p.a.hups, 0);
	ck_assert_ptr_nonnull(strstr(p.log, "C=0 "));
}
END_TEST

static void
end_flush(struct end *e)
{
	sconce_close_flush(&e->sock, 30);
}

/* A peer that vanishes while bytes wait: what is lost has a reason, even when only the hang-up is told. */
START_TEST(test_close_flush_peer_gone)
{
	sconce_watch_read(&p.a.sock, false);
	sconce_watch_read(&p.b.sock, false);
	pair_quiet(&p);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	pair_turn(&p, 2);
	sconce_close(&p.b.sock, 0);
	pair_turn(&p, 1);
	sconce_close_flush(&p.a.sock, 30);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_ERROR);
	ck_assert_int_eq(p.a.close_errnum, EPIPE);
	ck_assert_uint_gt(p.a.unsent, 0);
	ck_assert_uint_eq(p.a.errs + p.a.hups, 0);
}
END_TEST

/* The same while a transfer in its queue waits for a source that says nothing: no send would tell. */
START_TEST(test_close_flush_peer_gone_in_transfer)
{
	struct end *src;
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	src = end_open(&p, "src", NULL, fds[0]);
	ck_assert_int_ge(sconce_transfer(&src->sock, &p.a.sock, SCONCE_TO_END, log_done, (void *)(uintptr_t)"T"), 0);
	sconce_watch_read(&p.a.sock, false);
	pair_quiet(&p);
	sconce_close_flush(&p.a.sock, 30);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.destroys, 0);
	sconce_close(&p.b.sock, 0);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_ERROR);
	ck_assert_ptr_nonnull(strstr(p.log, "T=-32 "));
	close(fds[1]);
}
END_TEST

/* Called in a hook, it keeps the next one of the same dispatch from running: event_drain after event_low ... */
START_TEST(test_close_flush_in_low_silences_drain)
{
	sconce_watch_read(&p.b.sock, false);
	sconce_set_marks(&p.a.sock, 0, 1);
	p.a.on.low = end_flush;
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	pair_quiet(&p);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.a.lows == 1);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.drains, 0);
}
END_TEST

/* ... and event_err after the input that is offered before it. */
START_TEST(test_close_flush_in_read_silences_err)
{
	p.a.on.read = end_flush;
	fault.fd = p.a.sock.fd;
	fault.send_errno = EPIPE;
	sconce_write(&p.a.sock, "x", 1);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_uint_eq(p.a.reads, 1);
	ck_assert_uint_eq(p.a.errs + p.a.hups, 0);
}
END_TEST

/* A peer that never closes: the deadline ends it. */
START_TEST(test_close_flush_deadline)
{
	double before = sconce_now(p.loop);

	p.b.reading = READ_ALL;
	sconce_write(&p.a.sock, "x", 1);
	sconce_close_flush(&p.a.sock, 0.05);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert(sconce_now(p.loop) - before >= 0.05);
	ck_assert(sconce_now(p.loop) - before < 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_LOCAL);
	ck_assert_uint_eq(p.b.in_len, 1);
}
END_TEST

/* A peer that never reads: the same, with what is left counted. */
START_TEST(test_close_flush_deadline_with_unsent)
{
	sconce_watch_read(&p.b.sock, false);
	sconce_write(&p.a.sock, big, sizeof(big));
	sconce_close_flush(&p.a.sock, 0.02);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_TIMEOUT);
	ck_assert_uint_gt(p.a.unsent, 0);
}
END_TEST

/* With no_linger it closes as soon as the queue has gone. */
START_TEST(test_close_flush_no_linger)
{
	sconce_set_no_linger(&p.a.sock, true);
	sconce_write(&p.a.sock, big, sizeof(big));
	sconce_close_flush(&p.a.sock, -1);
	PAIR_UNTIL(&p, p.b.in_len == sizeof(big));
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.destroys, 1);
	ck_assert_uint_eq(p.a.unsent, 0);
}
END_TEST

/* A peer that goes on sending: 64 KiB are discarded, then it is closed. */
START_TEST(test_close_flush_discards_64_kib)
{
	sconce_close_flush(&p.a.sock, 30);
	pair_quiet(&p);
	sconce_write(&p.b.sock, big, 60000);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.closes, 0);
	sconce_write(&p.b.sock, big, 6000);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_uint_eq(p.a.reads, 0);
}
END_TEST

/* A peer that has half-closed before still gets all, and there is nothing to wait for. */
START_TEST(test_close_flush_half_closed_peer)
{
	sconce_shutdown(&p.b.sock, SHUT_WR);
	PAIR_UNTIL(&p, p.a.ended);
	sconce_write(&p.a.sock, big, sizeof(big));
	sconce_close_flush(&p.a.sock, 30);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, sizeof(big));
	PAIR_UNTIL(&p, p.a.destroys == 1);
}
END_TEST

/* Close and abort end it at once; twice is once. */
START_TEST(test_close_flush_then_close)
{
	sconce_close_flush(&p.a.sock, 30);
	sconce_close_flush(&p.a.sock, 30);
	pair_turn(&p, 2);
	if (_i == 0)
		sconce_close(&p.a.sock, SCONCE_REASON_USER);
	else
		sconce_abort(&p.a.sock);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.destroys, 1);
	ck_assert_int_eq(p.a.reason, _i == 0 ? SCONCE_REASON_USER : SCONCE_REASON_ABORT);
}
END_TEST

/* A send that fails meanwhile ends it, reason ERROR. */
START_TEST(test_close_flush_failed_send)
{
	fault.fd = p.a.sock.fd;
	fault.send_errno = EPIPE;
	sconce_write(&p.a.sock, "x", 1);
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"C");
	sconce_close_flush(&p.a.sock, 30);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_ERROR);
	ck_assert_int_eq(p.a.close_errnum, EPIPE);
	ck_assert_uint_eq(p.a.errs, 0);
	ck_assert_ptr_nonnull(strstr(p.log, "C=-32 "));
}
END_TEST

/* A pipe has nothing to linger for. */
START_TEST(test_close_flush_pipe_closes_when_sent)
{
	struct end *w;
	char buf[8];
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	w = end_open(&p, "w", NULL, fds[1]);
	sconce_watch_read(&w->sock, false);
	if (_i == 1)
		sconce_write(&w->sock, "bye", 3);
	sconce_close_flush(&w->sock, 30);
	pair_quiet(&p);
	ck_assert_uint_eq(w->destroys, 1);
	ck_assert_int_eq(read(fds[0], buf, sizeof(buf)), _i == 1 ? 3 : 0);
	close(fds[0]);
}
END_TEST

/* Before a connect has ended: refused, it closes without event_connect; accepted, the queue still goes. */
START_TEST(test_close_flush_while_connecting)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char text[64], buf[16];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	struct end *c;

	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	snprintf(text, sizeof(text), "tcp://127.0.0.1:%d", ntohs(((struct sockaddr_in *)&addr)->sin_port));
	if (_i == 1)
		close(fd);
	c = end_open(&p, "c", NULL, -1);
	ck_assert_int_eq(sconce_connect(&c->sock, text), 0);
	ck_assert_int_eq(sconce_write(&c->sock, "BYE", 3), SCONCE_QUEUED);
	sconce_close_flush(&c->sock, 5);
	if (_i == 0) {
		peer = accept(fd, NULL, NULL);
		pair_quiet(&p);
		ck_assert_int_eq(recv(peer, buf, sizeof(buf), 0), 3);
		ck_assert_int_eq(recv(peer, buf, sizeof(buf), 0), 0);
		close(peer);
		close(fd);
	}
	PAIR_UNTIL(&p, c->destroys == 1);
	ck_assert_uint_eq(c->connects, 0);
	ck_assert_uint_eq(c->unsent, _i == 0 ? 0u : 3u);
}
END_TEST

/* Freeing the loop does not wait for the peer. */
START_TEST(test_close_flush_loop_free)
{
	sconce_watch_read(&p.b.sock, false);
	sconce_write(&p.a.sock, big, sizeof(big));
	sconce_close_flush(&p.a.sock, 30);
}
END_TEST

/* ---- abort ---- */

/* The peer sees a reset, nothing that waited is sent. */
START_TEST(test_abort_is_a_reset)
{
	sconce_write(&p.a.sock, "never", 5);
	sconce_abort(&p.a.sock);
	PAIR_UNTIL(&p, p.b.errs == 1);
	ck_assert_int_eq(p.b.errnum, ECONNRESET);
	ck_assert_int_eq(p.b.last, -ECONNRESET);
	ck_assert_uint_eq(p.b.in_len, 0);
	ck_assert_uint_eq(p.b.hups, 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_ABORT);
	ck_assert_uint_eq(p.a.unsent, 5);
}
END_TEST

static void
write_and_abort(struct end *e)
{
	sconce_write(&e->sock, "never", 5);
	sconce_abort(&e->sock);
}

/* What the hook that aborts has gathered was accepted, and is unsent. */
START_TEST(test_abort_in_hook_counts_what_was_gathered)
{
	p.a.on.read = write_and_abort;
	sconce_write(&p.b.sock, "x", 1);
	PAIR_UNTIL(&p, p.a.closes == 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_ABORT);
	ck_assert_uint_eq(p.a.unsent, 5);
}
END_TEST

/* ---- shutdown ---- */

/* Writing ends behind the queue; the other direction goes on: a peer that half-closes still gets its answer. */
START_TEST(test_shutdown_write_goes_behind_the_queue)
{
	sconce_watch_read(&p.b.sock, false);
	sconce_write(&p.a.sock, big, sizeof(big));
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_WR), 0);
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_WR), 0);
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, 77), -EINVAL);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
	pair_quiet(&p);
	ck_assert_uint_eq(fault.shutdown, 0);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, sizeof(big));
	ck_assert_uint_eq(fault.shutdown, 1);
	sconce_write(&p.b.sock, "answer", 6);
	PAIR_UNTIL(&p, p.a.in_len == 6);
	ck_assert_uint_eq(p.a.hups + p.b.hups, 0);
	ck_assert(!p.a.sock.closed && !p.b.sock.closed);
}
END_TEST

/* DS-25: the peer's end after our own: read, then hang-up, once. */
START_TEST(test_shutdown_both_sides_is_hup_once)
{
	sconce_write(&p.a.sock, "BYE", 3);
	sconce_shutdown(&p.a.sock, SHUT_WR);
	PAIR_UNTIL(&p, p.b.ended);
	ck_assert_uint_eq(p.b.in_len, 3);
	pair_log_clear(&p);
	sconce_shutdown(&p.b.sock, SHUT_WR);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_uint_eq(p.b.hups, 1);
	ck_assert(strstr(p.log, "a.read ") < strstr(p.log, "a.hup "));
	pair_turn(&p, 5);
	ck_assert_uint_eq(p.a.hups, 1);
}
END_TEST

/* Reading can be ended, too: at once, and for ever. */
START_TEST(test_shutdown_read)
{
	sconce_write(&p.b.sock, "unread", 6);
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_RD), 0);
	ck_assert_int_eq(sconce_read(&p.a.sock, (char[10]){ 0 }, 10), 0);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.reads, 0);
	sconce_write(&p.a.sock, "still", 5);
	PAIR_UNTIL(&p, p.b.in_len == 5);
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_RDWR), 0);
	PAIR_UNTIL(&p, p.b.ended);
}
END_TEST

/* The end has been read before: what was pushed back goes all the same. */
START_TEST(test_shutdown_read_after_the_end_drops_what_was_pushed_back)
{
	sconce_close(&p.b.sock, 0);
	PAIR_UNTIL(&p, p.a.ended);
	ck_assert_int_eq(sconce_unread(&p.a.sock, "abc", 3), 0);
	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_RD), 0);
	ck_assert_uint_eq(sconce_unread_bytes(&p.a.sock), 0);
	ck_assert_int_eq(sconce_read(&p.a.sock, (char[10]){ 0 }, 10), 0);
}
END_TEST

/* ---- detach ---- */

/* DS-52, DS-93, DS-45, IM-4: the fd is the caller's, open, unwatched; what was gathered is sent, what was pushed back handed over. */
START_TEST(test_detach_gives_fd_and_unread)
{
	char buf[8];
	size_t len = 99;
	int fd = p.a.sock.fd;

	sconce_write(&p.a.sock, "BYE", 3);
	sconce_unread(&p.a.sock, "left", 4);
	ck_assert_int_eq(sconce_detach(&p.a.sock, buf, 3, &len), -ENOBUFS);
	ck_assert_uint_eq(len, 99);
	ck_assert(!p.a.sock.closed);
	ck_assert_int_eq(sconce_detach(&p.a.sock, buf, sizeof(buf), &len), fd);
	ck_assert_uint_eq(len, 4);
	ck_assert_mem_eq(buf, "left", 4);
	ck_assert_int_eq(p.a.sock.fd, -1);
	ck_assert_int_eq(sconce_detach(&p.a.sock, buf, sizeof(buf), &len), -EBADF);
	pair_quiet(&p);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_DETACH);
	ck_assert_int_eq(p.a.close_fd, -1);
	ck_assert_uint_eq(p.a.destroys, 1);
	ck_assert_uint_eq(sconce_count(p.loop), 1);
	ck_assert(fd_open(fd));
	ck_assert_mem_eq(p.b.in, "BYE", 3);
	end_open(&p, "again", NULL, fd);		/* it can be attached again */
	sconce_write(&p.b.sock, "hello", 5);
	PAIR_UNTIL(&p, p.others[0].in_len == 5);
}
END_TEST

static int detached;

static void
detach_it(struct end *e)
{
	detached = sconce_detach(&e->sock, NULL, 0, NULL);
}

/* Inside its own hook; no event of the fd reaches the loop any more. */
START_TEST(test_detach_in_hook)
{
	char buf[8];

	p.a.on.read = detach_it;
	sconce_write(&p.b.sock, "!", 1);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_int_ge(detached, 0);
	ck_assert_int_eq(recv(detached, buf, 8, 0), 1);
	ck_assert_int_eq(send(detached, "raw", 3, 0), 3);
	PAIR_UNTIL(&p, p.b.in_len == 3);
	pair_quiet(&p);
	close(detached);
}
END_TEST

/* Not while output is stuck; then nothing has changed. */
START_TEST(test_detach_stuck_is_busy)
{
	sconce_watch_read(&p.b.sock, false);
	sconce_write(&p.a.sock, big, sizeof(big));
	ck_assert_int_eq(sconce_detach(&p.a.sock, NULL, 0, NULL), -EBUSY);
	ck_assert(!p.a.sock.closed);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.in_len == sizeof(big));
	ck_assert(bytes_are(p.b.in, sizeof(big), 0));
}
END_TEST

/* ---- holds ---- */

/* A hold keeps the memory: destroy waits, event_close and close(2) do not. */
START_TEST(test_hold_keeps_memory)
{
	int fd = p.a.sock.fd;

	sconce_hold(&p.a.sock);
	sconce_hold(&p.a.sock);
	sconce_close(&p.a.sock, 0);
	pair_turn(&p, 3);
	ck_assert_uint_eq(p.a.closes, 1);
	ck_assert_uint_eq(p.a.destroys, 0);
	ck_assert(!fd_open(fd));
	ck_assert_int_eq(p.a.sock.fd, -1);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
	sconce_release(&p.a.sock);
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.destroys, 0);
	sconce_release(&p.a.sock);
	ck_assert_uint_eq(p.a.destroys, 0);		/* from the loop */
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.destroys, 1);
}
END_TEST

/* A hold of the fd keeps event_close and close(2) waiting, too. */
START_TEST(test_hold_fd_keeps_fd)
{
	int fd = p.a.sock.fd;

	sconce_hold_fd(&p.a.sock);
	sconce_hold(&p.a.sock);
	sconce_close(&p.a.sock, 0);
	pair_turn(&p, 3);
	ck_assert_uint_eq(p.a.closes, 0);
	ck_assert(fd_open(fd));
	sconce_release_fd(&p.a.sock);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.closes, 1);
	ck_assert(!fd_open(fd));
	ck_assert_uint_eq(p.a.destroys, 0);
	sconce_hold_fd(&p.a.sock);			/* of the fd nothing is left to hold */
	sconce_release(&p.a.sock);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.destroys, 0);
	sconce_release_fd(&p.a.sock);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.destroys, 1);
}
END_TEST

static void
done_releases_fd(struct sconce_sock *s, void *arg, int status)
{
	count_done(s, arg, status);
	sconce_release_fd(s);
}

/* A held fd does not hold completions back: one of them may be what it is held for. */
START_TEST(test_hold_fd_completions_do_not_wait)
{
	static struct counted c;

	sconce_watch_read(&p.b.sock, false);
	sconce_hold_fd(&p.a.sock);
	sconce_write_ref(&p.a.sock, big, sizeof(big), done_releases_fd, &c);
	pair_turn(&p, 2);
	sconce_close(&p.a.sock, 0);
	pair_turn(&p, 3);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, -ECANCELED);
	ck_assert_uint_eq(p.a.closes, 1);
	ck_assert_uint_eq(p.a.destroys, 1);
}
END_TEST

static void
release_it(struct end *e)
{
	sconce_release(&e->sock);
}

/* The last release may come from event_close itself; and holds do not survive the loop. */
START_TEST(test_hold_released_in_event_close)
{
	p.a.on.close = release_it;
	sconce_hold(&p.a.sock);
	sconce_close(&p.a.sock, 0);
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.destroys, 1);
	sconce_hold(&p.b.sock);
	sconce_hold_fd(&p.b.sock);
}
END_TEST

/* As many releases as holds: the next is misuse. */
START_TEST(test_release_without_hold_aborts)
{
	sconce_release(&p.a.sock);
}
END_TEST

/* ---- ids ---- */

/* An id finds its socket while it is open, and nothing ever after.  (IM-21) */
START_TEST(test_find_by_id)
{
	uint64_t a = p.a.sock.id, b = p.b.sock.id, last = b;
	int fds[2];

	ck_assert_uint_ne(a, 0);
	ck_assert_uint_ne(a, b);
	ck_assert_ptr_eq(sconce_find(p.loop, a), &p.a.sock);
	ck_assert_ptr_eq(sconce_find(p.loop, b), &p.b.sock);
	ck_assert_ptr_null(sconce_find(p.loop, 0));
	ck_assert_ptr_null(sconce_find(p.loop, UINT64_MAX));
	sconce_close(&p.a.sock, 0);
	ck_assert_ptr_null(sconce_find(p.loop, a));
	pair_turn(&p, 1);
	for (int i = 0; i < 4; i++) {
		struct end *e;

		wire_make(WIRE_UNIX, fds);
		close(fds[1]);
		e = end_open(&p, "n", NULL, fds[0]);	/* takes the free slot */
		ck_assert_uint_gt(e->sock.id, last);
		last = e->sock.id;
		ck_assert_ptr_null(sconce_find(p.loop, a));
		ck_assert_ptr_eq(sconce_find(p.loop, last), &e->sock);
		sconce_close(&e->sock, 0);
		pair_turn(&p, 2);
	}
}
END_TEST

static struct end many[2000];

/* More sockets than a step of the table; every id finds its own. */
START_TEST(test_find_among_many)
{
	uint64_t ids[2000];

	for (int i = 0; i < 2000; i++) {
		memset(&many[i], 0, sizeof(many[i]));
		many[i].pair = &p;
		ck_assert_int_eq(sconce_sock_init(&many[i].sock, p.loop, &bare_ops, -1), 0);
		ids[i] = many[i].sock.id;
	}
	for (int i = 0; i < 2000; i += 2)
		sconce_close(&many[i].sock, 0);
	pair_turn(&p, 1);
	for (int i = 0; i < 2000; i++)
		ck_assert_ptr_eq(sconce_find(p.loop, ids[i]), i % 2 == 0 ? NULL : &many[i].sock);
	ck_assert_uint_eq(sconce_count(p.loop), 1002);
	for (int i = 1; i < 2000; i += 2)
		sconce_close(&many[i].sock, 0);
	pair_turn(&p, 1);
	ck_assert_uint_eq(sconce_count(p.loop), 2);
	for (int i = 0; i < 2000; i++)
		ck_assert_uint_eq(many[i].destroys, 1);
}
END_TEST

/* Freeing the loop closes what is left, with its own reason. */
START_TEST(test_loop_free_closes_what_is_left)
{
	static struct counted c;
	int before = t_fd_count();

	pair_open(&p, WIRE_UNIX);
	sconce_watch_read(&p.b.sock, false);
	sconce_write(&p.a.sock, big, sizeof(big));
	sconce_write_cb(&p.a.sock, count_done, &c);
	pair_free(&p);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_LOOP);
	ck_assert_uint_gt(p.a.unsent, 0);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, -ECANCELED);
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("close");
	TCase *c;

	bytes_fill(big, sizeof(big), 0);	/* once: the tests are forked from here */
	c = t_case(s, "close");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_close_outside_hook);
	tcase_add_test(c, test_close_counts_until_destroyed);
	tcase_add_test(c, test_close_in_timer_does_not_wait);
	tcase_add_test(c, test_close_offers_what_was_gathered);
	tcase_add_test(c, test_close_in_hook_offers_what_was_gathered);
	tcase_add_test(c, test_close_refused_counts_unsent);
	tcase_add_test(c, test_close_many_in_one_turn);
	tcase_add_test(c, test_close_missing_hooks_default);
	tcase_add_test(c, test_close_peer_ready_in_the_same_batch);
	tcase_add_loop_test(c, test_close_from_every_hook, 0, HOOKS * ACTS);

	c = t_case(s, "close_flush");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_close_flush_lingers_until_peer_ends);
	tcase_add_test(c, test_close_flush_peer_gone);
	tcase_add_test(c, test_close_flush_peer_gone_in_transfer);
	tcase_add_test(c, test_close_flush_in_low_silences_drain);
	tcase_add_test(c, test_close_flush_in_read_silences_err);
	tcase_add_test(c, test_close_flush_deadline);
	tcase_add_test(c, test_close_flush_deadline_with_unsent);
	tcase_add_test(c, test_close_flush_no_linger);
	tcase_add_test(c, test_close_flush_discards_64_kib);
	tcase_add_test(c, test_close_flush_half_closed_peer);
	tcase_add_loop_test(c, test_close_flush_then_close, 0, 2);
	tcase_add_test(c, test_close_flush_failed_send);
	tcase_add_loop_test(c, test_close_flush_pipe_closes_when_sent, 0, 2);
	tcase_add_loop_test(c, test_close_flush_while_connecting, 0, 2);
	tcase_add_test(c, test_close_flush_loop_free);

	c = t_case(s, "tcp");
	tcase_add_checked_fixture(c, setup_tcp, teardown);
	tcase_add_test(c, test_close_flush_lingers_until_peer_ends);
	tcase_add_test(c, test_close_flush_half_closed_peer);
	tcase_add_test(c, test_close_offers_what_was_gathered);
	tcase_add_test(c, test_abort_is_a_reset);
	tcase_add_test(c, test_abort_in_hook_counts_what_was_gathered);
	tcase_add_test(c, test_shutdown_write_goes_behind_the_queue);
	tcase_add_test(c, test_shutdown_both_sides_is_hup_once);

	c = t_case(s, "shutdown");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_shutdown_write_goes_behind_the_queue);
	tcase_add_test(c, test_shutdown_both_sides_is_hup_once);
	tcase_add_test(c, test_shutdown_read);
	tcase_add_test(c, test_shutdown_read_after_the_end_drops_what_was_pushed_back);

	c = t_case(s, "detach");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_detach_gives_fd_and_unread);
	tcase_add_test(c, test_detach_in_hook);
	tcase_add_test(c, test_detach_stuck_is_busy);

	c = t_case(s, "hold");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_hold_keeps_memory);
	tcase_add_test(c, test_hold_fd_keeps_fd);
	tcase_add_test(c, test_hold_fd_completions_do_not_wait);
	tcase_add_test(c, test_hold_released_in_event_close);

	c = tcase_create("misuse");			/* they leave fds */
	tcase_add_checked_fixture(c, setup, NULL);
	suite_add_tcase(s, c);
	t_add_abort(c, test_release_without_hold_aborts);

	c = t_case(s, "id");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_find_by_id);
	tcase_add_test(c, test_find_among_many);

	c = t_case(s, "loop");
	tcase_add_test(c, test_loop_free_closes_what_is_left);
	return s;
}

/* The multiplexer under random use: handles are opened, written to, closed, killed and removed at any time, the other ends come and go,
 * and still every handle's events come in their order, each began handle ends once, and nothing is left.  EM-21, HZ-1, HZ-2 */
#include "test_mux.h"

enum { SEEDS = 12, STEPS = 3000, HANDLES = 24, PEERS = 48 };

static unsigned state;

static unsigned
roll(unsigned n)
{
	state = state * 1103515245u + 12345u;
	return (state >> 16) % n;
}

/* What is known of a handle, in its meta. */
struct life {
	struct sconce_mux_handle *h;	/* NULL: none */
	int began, closing, closed, errors, last;
	bool killed;
	bool stream;
};

static struct life lives[HANDLES];
static int peers[PEERS];
static int metas, freed;
static char endpoint[64];
static struct sconce_filter *some_lines;

static void
free_life(void *meta)
{
	struct life *l = meta;

	ck_assert_ptr_nonnull(l->h);
	l->h = NULL;
	freed++;
}

static struct life *
free_slot(void)
{
	for (int i = 0; i < HANDLES; i++)
		if (lives[i].h == NULL)
			return &lives[i];
	return NULL;
}

static void
begin(struct life *l, struct sconce_mux_handle *h)
{
	*l = (struct life){ .h = h, .stream = sconce_mux_kind(h) == SCONCE_MUX_STREAM };
	sconce_mux_set_meta(h, l, free_life);
	metas++;
}

static void
keep_peer(int fd)
{
	int i = (int)roll(PEERS);

	if (peers[i] >= 0)
		close(peers[i]);
	peers[i] = fd;
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void
open_one(void)
{
	struct sconce_mux_options o = { .filter = roll(2) ? some_lines : NULL, .manual_read = roll(8) == 0,
		.manual_write = roll(12) == 0, .linger = 0.01 };
	struct sconce_mux_handle *h;
	struct life *l = free_slot();
	int fds[2];

	if (l == NULL)
		return;
	switch (roll(4)) {
	case 0:
		ck_assert_int_eq(sconce_mux_connect(m, endpoint, &o, &h, NULL), 0);
		break;
	case 1:
		ck_assert_int_eq(sconce_mux_listen(m, "udp://127.0.0.1:0", NULL, &h, NULL), 0);
		break;
	default:
		wire_make(roll(3) == 0 ? WIRE_TCP : WIRE_UNIX, fds);
		ck_assert_int_eq(sconce_mux_add(m, fds[0], &o, &h), 0);
		keep_peer(fds[1]);
	}
	begin(l, h);
}

static void
use_handle(struct life *l)
{
	static const char data[100000] = "one\ntwo\n";

	switch (roll(15)) {
	case 0:
		sconce_mux_close(l->h);
		break;
	case 1:
		sconce_mux_kill(l->h, 0);
		l->killed = true;
		break;
	case 2:
		close(sconce_mux_remove(l->h));
		break;
	case 3:
		sconce_mux_set_filter(l->h, roll(2) ? some_lines : NULL);
		break;
	case 4:
		sconce_mux_send(l->h, data, sizeof(data));
		break;
	case 5:
		sconce_mux_push(m, &(struct sconce_event){ .type = SCONCE_EVENT_USER, .handle = l->h });
		break;
	case 6:
		if (l->stream && sconce_mux_fd(l->h) >= 0)
			sconce_set_timeout(sconce_mux_sock(l->h), SCONCE_TIMEOUT_LIFETIME, 0.001);
		break;
	case 7:
		sconce_mux_pause(l->h);
		break;
	case 8:
		sconce_mux_resume(l->h);
		break;
	case 9:
		sconce_mux_close_flush(l->h, 0.01);
		break;
	default:
		sconce_mux_send(l->h, data, 8);
	}
}

static void
use_peer(int i)
{
	char buf[4096];
	struct linger hard = { .l_onoff = 1 };

	if (peers[i] < 0)
		return;
	switch (roll(8)) {
	case 0:
		setsockopt(peers[i], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(peers[i]);
		peers[i] = -1;
		break;
	case 1:
		shutdown(peers[i], SHUT_WR);
		break;
	case 2:
		close(peers[i]);
		peers[i] = -1;
		break;
	case 3:
		ck_assert_int_ne(read(peers[i], buf, sizeof(buf)), -2);
		break;
	default:
		send(peers[i], "half\nand", roll(9), MSG_NOSIGNAL);
	}
}

/* Accepted ones have no meta: they get one, or go at once. */
static void
accepted(const struct sconce_event *ev)
{
	struct life *l = free_slot();

	ck_assert_ptr_null(sconce_mux_meta(ev->handle));
	if (l != NULL)
		begin(l, ev->handle);
	else
		sconce_mux_kill(ev->handle, 0);
}

static bool
is_there(const struct sconce_mux_handle *h)
{
	for (struct sconce_mux_handle *i = sconce_mux_each(m, NULL); i != NULL; i = sconce_mux_each(m, i))
		if (i == h)
			return true;
	return false;
}

static void
check(const struct sconce_event *ev)
{
	bool input = ev->type == SCONCE_EVENT_READ || ev->type == SCONCE_EVENT_READ_LAST;
	struct life *l;

	ck_assert(ev->handle == NULL || is_there(ev->handle));
	l = ev->handle != NULL ? sconce_mux_meta(ev->handle) : NULL;
	if (ev->type == SCONCE_EVENT_ACCEPTED)
		accepted(ev);
	if (l == NULL || ev->type >= SCONCE_EVENT_USER)
		return;
	ck_assert_ptr_eq(l->h, ev->handle);
	ck_assert_int_eq(l->closed, 0);
	ck_assert(!input || (l->closing == 0 && l->last == 0 && !l->killed));
	l->began += ev->type == SCONCE_EVENT_READY;
	l->last += ev->type == SCONCE_EVENT_READ_LAST;
	l->errors += ev->type == SCONCE_EVENT_ERROR;
	l->closing += ev->type == SCONCE_EVENT_CLOSING;
	l->closed += ev->type == SCONCE_EVENT_CLOSED;
	ck_assert_int_le(l->began, 1);
	ck_assert_int_le(l->closing, 1);
	ck_assert(!l->stream || l->errors <= 1);
	ck_assert(!l->stream || ev->type != SCONCE_EVENT_ERROR || l->closing == 0);
	if (ev->type == SCONCE_EVENT_CLOSED)
		ck_assert(l->closing == 1 || l->killed);
	if (ev->len > 0)				/* what is borrowed can be read */
		ck_assert_ptr_null(memchr(ev->data, '#', ev->len));
}

static void
take(int events)
{
	struct sconce_event ev;

	for (int i = 0; i < events; i++) {
		int r = sconce_mux_next(m, 0, &ev);

		ck_assert_int_ge(r, 0);
		if (r != 1)
			return;
		check(&ev);
		if (ev.type == SCONCE_EVENT_CLOSED && roll(2))	/* valid until the next call: its event will have none */
			sconce_mux_push(m, &(struct sconce_event){ .type = SCONCE_EVENT_USER, .handle = ev.handle });
		if (roll(20) == 0 && ev.handle != NULL && sconce_mux_meta(ev.handle) != NULL && ev.type != SCONCE_EVENT_CLOSED)
			use_handle(sconce_mux_meta(ev.handle));
	}
}

START_TEST(test_mux_random_use_keeps_the_order)
{
	struct sconce_mux_handle *listener = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .linger = 0.01 });
	struct sconce_addr a;
	char text[SCONCE_ADDR_TEXT];

	state = (unsigned)_i * 7919 + 1;
	metas = freed = 0;
	memset(lives, 0, sizeof(lives));
	some_lines = lines();
	for (int i = 0; i < PEERS; i++)
		peers[i] = -1;
	sconce_local(sconce_mux_sock(listener), &a);
	snprintf(endpoint, sizeof(endpoint), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	for (int i = 0; i < STEPS; i++) {
		struct life *l = &lives[roll(HANDLES)];

		if (roll(6) == 0)
			open_one();
		else if (roll(2))
			use_peer((int)roll(PEERS));
		else if (l->h != NULL && l->closed == 0)
			use_handle(l);
		for (int turns = roll(8) == 0 ? 5 : 0; turns > 0; turns--)	/* by others: handles rest */
			sconce_loop_step(sconce_mux_loop(m), 0);
		take((int)roll(6));
		if (i % 500 == 0)
			sconce_verify(sconce_mux_loop(m));
	}
	ck_assert_int_gt(metas, 100);
	if (_i % 2 == 0) {				/* all end by themselves, or with the multiplexer */
		for (int i = 0; i < HANDLES; i++)
			if (lives[i].h != NULL)
				sconce_mux_close(lives[i].h);
		for (int i = 0; i < 1000 && freed < metas; i++)
			take(10);
	}
	ck_assert_int_eq(sconce_mux_free(m), 0);
	m = NULL;
	ck_assert_int_eq(freed, metas);
	sconce_filter_unref(some_lines);
	for (int i = 0; i < PEERS; i++)
		if (peers[i] >= 0)
			close(peers[i]);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_random");
	TCase *c = mux_case(s, "random");

	tcase_add_loop_test(c, test_mux_random_use_keeps_the_order, 0, SEEDS);
	return s;
}

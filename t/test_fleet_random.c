/* Fleets under random use, against a model: connections are begun, queued and fed, to places that answer, refuse and say nothing;
 * they are written to, shut down, closed, aborted, given more time, from outside and from every hook, also others than the hook's
 * own; the other ends come and go; fleets are stopped and made anew, and the loop ends in the middle.  Each is told what it is due,
 * in its order, its end once; and the counts are right.  TM-8, TM-24, HZ-1, HZ-21 */
#include "test_fleet.h"

enum { SEEDS = 40, STEPS = 700, FLEETS = 2, PEERS = 64 };

static unsigned state;

static unsigned
roll(unsigned n)
{
	state = state * 1103515245u + 12345u;
	return (state >> 16) % n;
}

/* What is known of a fleet. */
struct model {
	struct sconce_fleet fleet;
	size_t alive;			/* connections whose init has run, and closed has not */
	uint64_t ended;
	unsigned dones;			/* that are due */
	bool stopping;
};

/* And of a connection. */
struct ship {
	struct sconce_fleet_conn conn;
	unsigned inits, results, ends, closes;
	bool shut;			/* no hook but closed is due */
};

static struct model models[FLEETS];
static int peers[PEERS];
static char open_text[64], closed_text[64], full_text[64];
static bool freeing;
static uint64_t began, opened, failed, expired;	/* over all fleets: whether the test has tested anything */

static struct ship *
ship_of(struct sconce_fleet_conn *c)
{
	return SCONCE_CONTAINER_OF(c, struct ship, conn);
}

static struct model *
model_of(const struct sconce_fleet *f)
{
	return SCONCE_CONTAINER_OF(f, struct model, fleet);
}

static const char *
some_endpoint(void)
{
	static const char *const others[] = { "no port", "unix:///no/such/place", "127.0.0.1:1?bind=192.0.2.1" };

	switch (roll(8)) {
	case 0:
		return closed_text;
	case 1:
		return full_text;
	case 2:
		return others[roll(3)];
	default:
		return open_text;
	}
}

static bool
give(struct sconce_fleet *f, void *arg, struct sconce_fleet_target *target_out)
{
	ck_assert_ptr_eq(arg, model_of(f));
	if (roll(3) == 0)
		return false;
	target_out->endpoint = some_endpoint();
	target_out->connect_timeout = 1 + roll(4);
	return true;
}

static struct sconce_fleet_conn *picked;
static unsigned pick_left;

static void
pick(struct sconce_fleet_conn *c, void *arg)
{
	(void)arg;
	if (pick_left-- == 0)
		picked = c;
}

/* Any connection of any fleet, or NULL. */
static struct sconce_fleet_conn *
some_conn(void)
{
	struct sconce_fleet *f = &models[roll(FLEETS)].fleet;

	picked = NULL;
	if (f->count > 0) {
		pick_left = roll((unsigned)f->count);
		sconce_fleet_each(f, pick, NULL);
	}
	return picked;
}

static void
done(struct sconce_fleet *f, void *arg)
{
	struct model *m = model_of(f);

	ck_assert_ptr_eq(arg, m);
	ck_assert_uint_eq(m->dones, 1);
	ck_assert_uint_eq(f->count, 0);
	ck_assert_uint_eq(m->alive, 0);
	m->dones = 0;
}

static void
act_on(struct sconce_fleet_conn *c)
{
	static char bytes[200000];
	struct ship *s = ship_of(c);

	switch (roll(8)) {
	case 0:
		sconce_close(&c->stream.sock, SCONCE_REASON_USER);
		s->shut = true;
		break;
	case 1:
		sconce_abort(&c->stream.sock);
		s->shut = true;
		break;
	case 2:
		sconce_fleet_shutdown(c);
		s->shut = true;
		break;
	case 3:
		sconce_fleet_set_timeout(c, 1 + roll(3));
		break;
	case 4:
		sconce_write(&c->stream.sock, bytes, roll(4) == 0 ? sizeof(bytes) : 10);
		break;
	default:
		sconce_fleet_send(c->fleet, sconce_fleet_id(c), "hello", 5);
		break;
	}
}

static void
begin_some(struct model *m)
{
	struct sconce_fleet_target t = { .connect_timeout = 1 + roll(4), .input_timeout = 1 + roll(10) };
	uint64_t before = m->fleet.started;
	int r;

	if (roll(3) == 0) {
		r = sconce_fleet_queue(&m->fleet, some_endpoint(), &t, NULL);
		ck_assert(r == 0 || r == -EINVAL || r == -EPIPE);
		return;
	}
	r = sconce_fleet_connect(&m->fleet, some_endpoint(), &t, NULL, NULL);
	ck_assert(r == 0 || r == -EINVAL || (r == -EPIPE && m->stopping) || (r == -ESHUTDOWN && freeing));
	ck_assert_uint_eq(m->fleet.started, before + (r == 0));
}

/* Something, to anybody. */
static void
act(void)
{
	struct model *m = &models[roll(FLEETS)];
	struct sconce_fleet_conn *c = some_conn();

	switch (roll(16)) {
	case 0:
		begin_some(m);
		break;
	case 1:
		if (roll(10) == 0)
			sconce_fleet_abort(&m->fleet);
		break;
	case 2:
		if (roll(12) == 0) {
			m->stopping = true;
			m->dones = 1;
			sconce_fleet_stop(&m->fleet, roll(3), done, m);
		}
		break;
	case 3:
		sconce_fleet_set_max(&m->fleet, 1 + roll(20));
		break;
	case 4:
		if (!m->stopping)
			sconce_fleet_feed(&m->fleet, roll(3) == 0 ? NULL : give, m);
		break;
	default:
		if (c != NULL && roll(3) == 0)
			act_on(c);
		break;
	}
}

static void
act_in_hook(struct sconce_fleet_conn *c)
{
	if (roll(4) == 0)
		act_on(c);
	if (roll(4) == 0)
		act();
}

static bool
is_shut(struct sconce_fleet_conn *c)
{
	return sconce_fleet_phase(c) == SCONCE_FLEET_ENDING;
}

static void
ship_init(struct sconce_fleet_conn *c)
{
	struct ship *s = ship_of(c);
	struct model *m = model_of(c->fleet);

	ck_assert(s->inits++ == 0 && s->results + s->ends + s->closes == 0);
	m->alive++;
	act_in_hook(c);
}

static void
ship_connected(struct sconce_fleet_conn *c)
{
	struct ship *s = ship_of(c);

	ck_assert(!s->shut && s->inits == 1 && s->results++ == 0 && s->ends == 0 && s->closes == 0);
	act_in_hook(c);
}

static void
ship_failed(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct ship *s = ship_of(c);

	ck_assert(!s->shut && s->inits == 1 && s->results++ == 0 && s->closes == 0 && fail->errnum > 0);
	act_in_hook(c);
	ck_assert(fail->errnum > 0);
}

static void
ship_record(struct sconce_fleet_conn *c, const struct sconce_record *rec)
{
	struct ship *s = ship_of(c);

	(void)rec;
	ck_assert(!s->shut && s->results == 1 && s->ends == 0 && s->closes == 0);
	act_in_hook(c);
}

static void
ship_drained(struct sconce_fleet_conn *c)
{
	struct ship *s = ship_of(c);

	ck_assert(!s->shut && s->results == 1 && s->closes == 0);
	act_in_hook(c);
}

static void
ship_error(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct ship *s = ship_of(c);

	ck_assert(!s->shut && s->results == 1 && s->ends++ == 0 && s->closes == 0 && fail->errnum >= 0);
	act_in_hook(c);
}

static void
ship_timeout(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase)
{
	struct ship *s = ship_of(c);

	ck_assert(!s->shut && s->inits == 1 && s->ends == 0 && s->closes == 0);
	ck_assert_uint_eq(s->results, phase == SCONCE_FLEET_OPEN);
	act_in_hook(c);
}

static void
ship_closed(struct sconce_fleet_conn *c)
{
	struct ship *s = ship_of(c);
	struct model *m = model_of(c->fleet);

	ck_assert(s->inits == 1 && s->closes++ == 0 && is_shut(c));
	ck_assert_ptr_null(sconce_fleet_find(c->fleet, sconce_fleet_id(c)));
	m->alive--;
	m->ended++;
	ck_assert_uint_eq(m->ended, c->fleet->closed);
	if (roll(4) == 0)
		act();
}

static const struct sconce_fleet_ops ship_ops = {
	.name = "ship", .size = sizeof(struct ship), .offset = offsetof(struct ship, conn),
	.init = ship_init, .connected = ship_connected, .failed = ship_failed, .record = ship_record, .drained = ship_drained,
	.error = ship_error, .timeout = ship_timeout, .closed = ship_closed,
};

static void
launch(struct model *m)
{
	struct sconce_fleet_options opts = { .max_in_flight = 1 + roll(20), .input_timeout = 1 + roll(20), .linger = 1 + roll(4) };

	memset(m, 0, sizeof(*m));
	ck_assert_int_eq(sconce_fleet_init(&m->fleet, loop, &ship_ops, &opts), 0);
}

static void
add_up(const struct sconce_fleet *f)
{
	ck_assert_uint_eq(f->started, f->closed);
	began += f->started;
	opened += f->connected;
	failed += f->failed;
	expired += f->timed_out;
}

/* A fleet that has stopped makes room for a new one. */
static void
relaunch(struct model *m)
{
	if (!m->stopping || m->dones > 0 || m->fleet.count > 0)
		return;
	add_up(&m->fleet);
	sconce_fleet_fini(&m->fleet);
	launch(m);
}

/* The other ends come, talk, listen and go. */
static void
play_peers(int lfd)
{
	static char waste[65536];
	int i = (int)roll(PEERS), fd = peers[i];

	if (fd < 0) {
		peers[i] = accept4(lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		return;
	}
	switch (roll(5)) {
	case 0:
		close(fd);
		peers[i] = -1;
		break;
	case 1:
		shutdown(fd, SHUT_WR);
		break;
	case 2:
		while (recv(fd, waste, sizeof(waste), 0) > 0)
			;
		break;
	default:
		send(fd, "one\ntwo\nthr", roll(12), MSG_NOSIGNAL);
		break;
	}
}

START_TEST(test_random_use_keeps_the_promises)
{
	int guests[2], lfd, full, before = t_fd_count();

	state = (unsigned)_i * 7919u + 1;
	freeing = false;
	began = opened = failed = expired = 0;
	net_setup();
	lfd = plain_listen(64, open_text, sizeof(open_text));
	fcntl(lfd, F_SETFL, O_NONBLOCK);
	full = plain_full(full_text, sizeof(full_text), guests);
	plain_nobody(closed_text, sizeof(closed_text));
	memset(peers, -1, sizeof(peers));
	for (int i = 0; i < FLEETS; i++)
		launch(&models[i]);
	for (int step = 0; step < STEPS; step++) {
		act();
		play_peers(lfd);
		if (roll(30) == 0)
			skew += (int64_t)(1 + roll(3)) * 500000000;
		sconce_loop_step(loop, 0);
		relaunch(&models[roll(FLEETS)]);
	}
	sconce_verify(loop);
	freeing = true;
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	for (int i = 0; i < FLEETS; i++) {
		struct model *m = &models[i];

		ck_assert_uint_eq(m->alive, 0);
		ck_assert_uint_eq(m->fleet.count, 0);
		add_up(&m->fleet);
		sconce_fleet_fini(&m->fleet);
	}
	for (int i = 0; i < PEERS; i++)
		if (peers[i] >= 0)
			close(peers[i]);
	ck_assert_msg(began > 50 && opened > 15 && failed > 5 && expired > 0, "began %u, opened %u, failed %u, expired %u",
	    (unsigned)began, (unsigned)opened, (unsigned)failed, (unsigned)expired);
	plain_full_close(full, guests);
	close(lfd);
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("fleet_random");
	TCase *tcase = t_case(suite, "random");

	tcase_add_loop_test(tcase, test_random_use_keeps_the_promises, 0, SEEDS);
	return suite;
}

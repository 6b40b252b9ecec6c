/* Loops in threads, posts between them; to be run under the thread sanitizer as well.  No ck_assert in the threads: they count what is
 * wrong. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/sconce.h>

enum { THREADS = 4, POSTERS = 8, ROUNDS = 300, POSTS = 1000 };

static atomic_int wrong;

static void
expect(bool right)
{
	if (!right)
		atomic_fetch_add(&wrong, 1);
}

/* ---- echo in every thread ---- */

struct talker {
	struct sconce_sock sock;
	struct talk *talk;
	bool echoes;
};

struct talk {
	struct sconce_loop *loop;
	struct talker client, server;
	struct sconce_timer beat;
	int rounds, beats, destroyed;
};

static struct talker *
talker_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct talker, sock);
}

static void
talker_read(struct sconce_sock *s)
{
	struct talker *t = talker_of(s);
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0) {
		sconce_close(s, SCONCE_REASON_EOF);
		return;
	}
	if (n < 0)
		return;
	if (t->echoes) {
		expect(sconce_write(s, data, (size_t)n) == SCONCE_GATHERED);
		return;
	}
	expect(n == 5 && memcmp(data, "hello", 5) == 0);
	if (++t->talk->rounds < ROUNDS)
		sconce_write(s, "hello", 5);
	else
		sconce_close(s, SCONCE_REASON_LOCAL);
}

static void
talker_destroy(struct sconce_sock *s)
{
	struct talk *talk = talker_of(s)->talk;

	if (++talk->destroyed == 2)
		sconce_timer_stop(&talk->beat);
}

static const struct sconce_sock_ops talker_ops = {
	.name = "talker", .event_read = talker_read, .destroy = talker_destroy,
};

static void
beat(struct sconce_timer *t, void *arg)
{
	(void)t;
	((struct talk *)arg)->beats++;
}

static int
talk_begin(struct talk *t)
{
	int fds[2];

	memset(t, 0, sizeof(*t));
	t->client.talk = t->server.talk = t;
	t->server.echoes = true;
	if (sconce_loop_new(NULL, &t->loop) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	if (sconce_sock_init(&t->client.sock, t->loop, &talker_ops, fds[0]) != 0 ||
	    sconce_sock_init(&t->server.sock, t->loop, &talker_ops, fds[1]) != 0)
		return -1;
	sconce_timer_init(&t->beat, t->loop, beat, t);
	sconce_timer_start_every(&t->beat, 0.001, 0.001);
	sconce_set_timeout(&t->server.sock, SCONCE_TIMEOUT_INPUT, 10);
	return sconce_write(&t->client.sock, "hello", 5) > 0 ? 0 : -1;
}

static void *
talk_thread(void *arg)
{
	struct talk t;

	(void)arg;
	for (int i = 0; i < 3; i++) {		/* loops come and go */
		expect(talk_begin(&t) == 0);
		expect(sconce_loop_run(t.loop) == SCONCE_LOOP_IDLE);
		expect(t.rounds == ROUNDS && t.destroyed == 2);
		expect(sconce_loop_free(t.loop) == 0);
	}
	return NULL;
}

/* Loops in several threads do not know of each other.  DS-104 */
START_TEST(test_threads_a_loop_in_each)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, talk_thread, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(atomic_load(&wrong), 0);
}
END_TEST

/* Two loops in one thread, turned by turns.  DS-104 */
START_TEST(test_threads_two_loops_in_one)
{
	static struct talk one, two;

	ck_assert_int_eq(talk_begin(&one), 0);
	ck_assert_int_eq(talk_begin(&two), 0);
	for (int i = 0; i < 10 * ROUNDS && (one.destroyed < 2 || two.destroyed < 2); i++) {
		ck_assert_int_ge(sconce_loop_step(one.loop, 0), 0);
		ck_assert_int_ge(sconce_loop_step(two.loop, 0), 0);
	}
	ck_assert_int_eq(one.rounds, ROUNDS);
	ck_assert_int_eq(two.rounds, ROUNDS);
	ck_assert_int_eq(sconce_loop_free(one.loop), 0);
	ck_assert_int_eq(sconce_loop_free(two.loop), 0);
	ck_assert_int_eq(atomic_load(&wrong), 0);
}
END_TEST

/* ---- posts ---- */

struct poster {
	struct sconce_loop *loop;
	pthread_t thread;
	int next;			/* the number expected next; the loop's thread only */
};

struct message {
	struct poster *from;
	int number;
};

static int arrived;

static void
receive(struct sconce_loop *l, void *arg, int status)
{
	struct message *m = arg;

	expect(status == 0 && m->number == m->from->next);
	m->from->next++;
	free(m);
	if (++arrived == POSTERS * POSTS)
		sconce_loop_stop(l);
}

static void *
post_many(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++) {
		struct message *m = malloc(sizeof(*m));

		expect(m != NULL);
		*m = (struct message){ .from = p, .number = i };
		expect(sconce_post(p->loop, receive, m) == 0);
	}
	return NULL;
}

/* Posts from eight threads: each exactly once, in order per thread, and no wake-up is lost.  HZ-12 */
START_TEST(test_threads_posts_from_eight)
{
	static struct poster posters[POSTERS];
	struct sconce_loop *l;

	arrived = 0;
	ck_assert_int_eq(sconce_loop_new(NULL, &l), 0);
	sconce_loop_ref(l);
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){ .loop = l };
		ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
	}
	ck_assert_int_eq(sconce_loop_run(l), SCONCE_LOOP_STOPPED);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(posters[i].thread, NULL);
	ck_assert_int_eq(arrived, POSTERS * POSTS);
	ck_assert_int_eq(atomic_load(&wrong), 0);
	sconce_loop_unref(l);
	ck_assert_int_eq(sconce_loop_free(l), 0);
}
END_TEST

static struct sconce_loop *ball_loops[2];
static int ball;			/* handed over with each post */

static void
kick(struct sconce_loop *l, void *arg, int status)
{
	(void)arg;
	bool last = ++ball >= ROUNDS;

	expect(status == 0);
	if (ball <= ROUNDS)			/* it is the other's from here on */
		expect(sconce_post(l == ball_loops[0] ? ball_loops[1] : ball_loops[0], kick, NULL) == 0);
	if (last)
		sconce_loop_stop(l);
}

static void *
ball_thread(void *arg)
{
	expect(sconce_loop_run(arg) == SCONCE_LOOP_STOPPED);
	return NULL;
}

/* Two loops that sleep wake each other, three hundred times.  HZ-12 */
START_TEST(test_threads_loops_wake_each_other)
{
	pthread_t thread;

	ball = 0;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sconce_loop_new(NULL, &ball_loops[i]), 0);
		sconce_loop_ref(ball_loops[i]);
	}
	ck_assert_int_eq(sconce_post(ball_loops[0], kick, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, ball_thread, ball_loops[1]), 0);
	ck_assert_int_eq(sconce_loop_run(ball_loops[0]), SCONCE_LOOP_STOPPED);
	pthread_join(thread, NULL);
	ck_assert_int_eq(ball, ROUNDS + 1);
	for (int i = 0; i < 2; i++) {
		sconce_loop_unref(ball_loops[i]);
		ck_assert_int_eq(sconce_loop_free(ball_loops[i]), 0);
	}
	ck_assert_int_eq(atomic_load(&wrong), 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("threads");
	TCase *c = t_case(s, "threads");

	tcase_set_timeout(c, 30);
	tcase_add_test(c, test_threads_a_loop_in_each);
	tcase_add_test(c, test_threads_two_loops_in_one);
	tcase_add_test(c, test_threads_posts_from_eight);
	tcase_add_test(c, test_threads_loops_wake_each_other);
	return s;
}

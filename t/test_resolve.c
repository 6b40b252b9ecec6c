/* Look-ups: numeric ones, names in the pool, joined ones, deadlines, cancelling; and the default resolver.
 *
 * The resolver of most tests waits in its thread until the test lets it go. */
#include "test_net.h"

#include <netdb.h>
#include <pthread.h>

/* ---- a resolver that answers when it is told ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	int calls;
	unsigned flags;			/* of the last call */
	int answer;			/* how many addresses, or EAI_... */
	int first_port;
	pthread_t thread;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void
gate_set(bool open, int answer)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = open;
	gate.answer = answer;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static int
gate_calls(void)
{
	int calls;

	pthread_mutex_lock(&gate.lock);
	calls = gate.calls;
	pthread_mutex_unlock(&gate.lock);
	return calls;
}

static int
gated(void *arg, const char *host, const char *service, int family, int type, unsigned flags, struct sconce_addr *addrs,
	size_t max)
{
	int answer;

	(void)family;
	(void)type;
	ck_assert_ptr_eq(arg, &gate);
	pthread_mutex_lock(&gate.lock);
	gate.calls++;
	gate.flags = flags;
	gate.thread = pthread_self();
	pthread_cond_broadcast(&gate.changed);
	while (!gate.open)
		pthread_cond_wait(&gate.changed, &gate.lock);
	answer = gate.answer;
	pthread_mutex_unlock(&gate.lock);
	if (strcmp(host, "nobody") == 0)
		return EAI_NONAME;
	errno = EMFILE;			/* which EAI_SYSTEM means */
	for (int i = 0; i < answer && i < (int)max; i++) {
		memset(&addrs[i], 0, sizeof(addrs[i]));
		addrs[i].in.sin_family = AF_INET;
		addrs[i].in.sin_addr.s_addr = htonl(0x7f000001 + (uint32_t)i);
		addrs[i].in.sin_port = htons((uint16_t)(atoi(service) + i));
		addrs[i].len = sizeof(addrs[i].in);
	}
	return answer;
}

static void
gate_setup(void)
{
	net_setup();
	gate.calls = 0;
	gate_set(false, 1);
	sconce_set_resolver(loop, gated, &gate);
}

static void
gate_teardown(void)
{
	gate_set(true, 1);		/* freeing waits for who works */
	net_teardown();
}

/* ---- one who asks ---- */

struct asker {
	int calls, errnum, gai;
	size_t count;
	struct sconce_addr first;
	char operation[32], text[160];
	struct sconce_resolve *handle, *cancels;	/* done() cancels that */
	bool again;			/* done() asks once more */
};

static void asked(struct sconce_loop *l, void *arg, const struct sconce_addr *addrs, size_t count, const struct sconce_fail *fail);

static int
ask(struct asker *a, const char *host, const char *service, double timeout)
{
	return sconce_resolve(loop, host, service, AF_UNSPEC, SOCK_STREAM, 0, timeout, asked, a, &a->handle);
}

static void
asked(struct sconce_loop *l, void *arg, const struct sconce_addr *addrs, size_t count, const struct sconce_fail *fail)
{
	struct asker *a = arg;

	(void)l;
	a->calls++;
	a->count = count;
	ck_assert_int_eq(count == 0, fail != NULL);
	if (count > 0)
		a->first = addrs[0];
	if (fail != NULL) {
		a->errnum = fail->errnum;
		a->gai = fail->gai;
		snprintf(a->operation, sizeof(a->operation), "%s", fail->operation);
		snprintf(a->text, sizeof(a->text), "%s", fail->text);
	}
	sconce_resolve_cancel(a->cancels);
	a->cancels = NULL;
	if (a->again) {
		a->again = false;
		ck_assert_int_eq(ask(a, "again", "80", 0), 0);
	}
}

static struct asker a, b, c, d;

static void
askers_clear(void)
{
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memset(&c, 0, sizeof(c));
}

/* ---- numeric ones ---- */

/* Numeric hosts and ports are answered from the loop, never inside the call, and no thread is asked. */
START_TEST(test_resolve_numeric_needs_no_thread)
{
	static const struct { const char *host, *service, *text; } cases[] = {
		{ "127.0.0.1", "80", "127.0.0.1:80" }, { "::1", "0", "[::1]:0" },
	};
	char text[SCONCE_ADDR_TEXT];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		askers_clear();
		ck_assert_int_eq(ask(&a, cases[i].host, cases[i].service, 1), 0);
		ck_assert_int_eq(a.calls, 0);
		net_settle();
		ck_assert_int_eq(a.calls, 1);
		ck_assert_uint_eq(a.count, 1);
		ck_assert_str_eq(sconce_addr_text(&a.first, text, sizeof(text)), cases[i].text);
	}
	ck_assert_int_eq(gate_calls(), 0);
	askers_clear();
	ck_assert_int_eq(ask(&a, "127.0.0.1", "80", 1), 0);
	sconce_resolve_cancel(a.handle);
	net_settle();
	ck_assert_int_eq(a.calls, 0);
	sconce_resolve_cancel(NULL);
}
END_TEST

/* Wrong questions are refused at once. */
START_TEST(test_resolve_wrong_question_is_einval)
{
	char longer[300];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	askers_clear();
	ck_assert_int_eq(ask(&a, "", "80", 0), -EINVAL);
	ck_assert_int_eq(ask(&a, "name", "", 0), -EINVAL);
	ck_assert_int_eq(ask(&a, longer, "80", 0), -EINVAL);
	ck_assert_int_eq(ask(&a, "name", longer, 0), -EINVAL);
	net_settle();
	ck_assert_int_eq(a.calls, 0);
}
END_TEST

/* ---- names ---- */

/* A name is looked up in another thread, and the loop turns meanwhile; TM-14. */
START_TEST(test_resolve_name_does_not_block_the_loop)
{
	char text[SCONCE_ADDR_TEXT];

	askers_clear();
	gate_set(false, 3);
	ck_assert_int_eq(ask(&a, "some.name", "80", 0), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
	ck_assert_int_eq(a.calls, 0);
	gate_set(true, 3);
	NET_UNTIL(a.calls == 1);
	ck_assert_uint_eq(a.count, 3);
	ck_assert_str_eq(sconce_addr_text(&a.first, text, sizeof(text)), "127.0.0.1:80");
	ck_assert(!pthread_equal(gate.thread, pthread_self()));
	ck_assert_uint_eq(gate.flags, 0);
}
END_TEST

/* Equal questions under way are one look-up; others are not; everybody is told once. */
START_TEST(test_resolve_equal_names_are_joined)
{
	askers_clear();
	ck_assert_int_eq(ask(&a, "same", "80", 0), 0);
	ck_assert_int_eq(ask(&b, "SAME", "80", 5), 0);
	ck_assert_int_eq(ask(&c, "same", "81", 0), 0);
	memset(&d, 0, sizeof(d));
	ck_assert_int_eq(ask(&d, "other", "80", 0), 0);
	gate_set(true, 1);
	NET_UNTIL(a.calls == 1 && b.calls == 1 && c.calls == 1 && d.calls == 1);
	ck_assert_int_eq(gate_calls(), 3);
	ck_assert_int_eq(ntohs(b.first.in.sin_port), 80);
	ck_assert_int_eq(ntohs(c.first.in.sin_port), 81);
	askers_clear();				/* one that has ended is not joined */
	ck_assert_int_eq(ask(&a, "same", "80", 0), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_int_eq(gate_calls(), 4);
}
END_TEST

/* No address: EADDRNOTAVAIL with getaddrinfo's number and text; an unknown service is getservbyname's; SF-6, SF-7, SF-13. */
START_TEST(test_resolve_failure_has_gai_and_text)
{
	askers_clear();
	gate_set(true, 1);
	ck_assert_int_eq(ask(&a, "nobody", "80", 0), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_int_eq(a.errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(a.gai, EAI_NONAME);
	ck_assert_str_eq(a.operation, "getaddrinfo");
	ck_assert_str_eq(a.text, "getaddrinfo nobody:80: Name or service not known");
	gate_set(true, EAI_SERVICE);
	ck_assert_int_eq(ask(&b, "name", "nothing", 0), 0);
	NET_UNTIL(b.calls == 1);
	ck_assert_int_eq(b.errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(b.gai, EAI_SERVICE);
	ck_assert_str_eq(b.operation, "getservbyname");
	gate_set(true, 0);			/* no address at all is no success */
	ck_assert_int_eq(ask(&c, "name", "80", 0), 0);
	NET_UNTIL(c.calls == 1);
	ck_assert_int_eq(c.gai, EAI_NONAME);
}
END_TEST

/* What is no matter of names is told as what it is. */
START_TEST(test_resolve_other_failures_have_their_errno)
{
	askers_clear();
	gate_set(true, EAI_SYSTEM);
	ck_assert_int_eq(ask(&a, "name", "80", 0), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_int_eq(a.errnum, EMFILE);
	ck_assert_int_eq(a.gai, 0);
	ck_assert_str_eq(a.text, "getaddrinfo name:80: Too many open files");
	gate_set(true, EAI_MEMORY);
	ck_assert_int_eq(ask(&b, "name", "80", 0), 0);
	NET_UNTIL(b.calls == 1);
	ck_assert_int_eq(b.errnum, ENOMEM);
	gate_set(true, EAI_NONAME);		/* "*" is nothing to connect to */
	ck_assert_int_eq(ask(&c, "*", "80", 0), 0);
	NET_UNTIL(c.calls == 1);
	ck_assert_int_eq(c.gai, EAI_NONAME);
}
END_TEST

/* A resolver that claims more than it had room for gave what there was room for. */
START_TEST(test_resolve_many_addresses_are_cut)
{
	askers_clear();
	gate_set(true, 100);
	ck_assert_int_eq(ask(&a, "name", "80", 0), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_uint_eq(a.count, 32);
}
END_TEST

static int late_result;

static void
ask_late(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	ck_assert_int_eq(status, -ECANCELED);
	late_result = ask(&a, "name", "80", 0);
}

/* While the loop is being freed nothing is looked up. */
START_TEST(test_resolve_loop_being_freed_is_eagain)
{
	askers_clear();
	late_result = 0;
	ck_assert_int_eq(sconce_defer(loop, NULL, ask_late, NULL), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_int_eq(late_result, -EAGAIN);
	ck_assert_int_eq(a.calls, 0);
}
END_TEST

/* A deadline that passes is ETIMEDOUT; the late answer is dropped, and who joined with more time still gets it. */
START_TEST(test_resolve_deadline_is_etimedout)
{
	askers_clear();
	ck_assert_int_eq(ask(&a, "slow", "80", 2), 0);
	ck_assert_int_eq(ask(&b, "slow", "80", 4), 0);
	net_settle();
	net_pass(3);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(a.errnum, ETIMEDOUT);
	ck_assert_int_eq(a.gai, 0);
	ck_assert_str_eq(a.text, "getaddrinfo slow:80: Connection timed out");
	ck_assert_int_eq(b.calls, 0);
	gate_set(true, 1);
	NET_UNTIL(b.calls == 1);
	net_settle();
	ck_assert_uint_eq(b.count, 1);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(gate_calls(), 1);
}
END_TEST

/* Cancelled, nothing is told; a late look-up does not keep the loop running, and can be joined again. */
START_TEST(test_resolve_cancel_is_silent)
{
	askers_clear();
	ck_assert_int_eq(ask(&a, "slow", "80", 0), 0);
	ck_assert_int_eq(ask(&b, "slow", "80", 0), 0);
	sconce_resolve_cancel(a.handle);
	sconce_resolve_cancel(b.handle);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);	/* though the thread works on */
	ck_assert_int_eq(ask(&c, "slow", "80", 0), 0);
	gate_set(true, 1);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);	/* which waits for the answer */
	ck_assert_int_eq(a.calls + b.calls, 0);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(gate_calls(), 1);
}
END_TEST

/* A look-up that nobody waits for any more ends without a trace. */
START_TEST(test_resolve_cancelled_answer_is_dropped)
{
	askers_clear();
	ck_assert_int_eq(ask(&a, "slow", "80", 0), 0);
	sconce_resolve_cancel(a.handle);
	gate_set(true, 1);
	ck_assert_int_eq(ask(&b, "other", "80", 0), 0);
	NET_UNTIL(b.calls == 1);
	net_settle();
	ck_assert_int_eq(a.calls, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* Look-ups that nobody waits for are not made before those that somebody does; one that is asked for again meanwhile is. */
START_TEST(test_resolve_abandoned_do_not_hold_up_others)
{
	char name[16];

	askers_clear();
	for (int i = 0; i < 4; i++) {		/* one for each thread */
		snprintf(name, sizeof(name), "busy%d", i);
		ck_assert_int_eq(ask(&a, name, "80", 0), 0);
		NET_UNTIL(gate_calls() == i + 1);
		sconce_resolve_cancel(a.handle);
	}
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "dead%d", i);
		ck_assert_int_eq(ask(&a, name, "80", 0), 0);
		sconce_resolve_cancel(a.handle);
	}
	ck_assert_int_eq(ask(&c, "dead7", "80", 0), 0);
	ck_assert_int_eq(ask(&b, "living", "80", 0), 0);
	gate_set(true, 1);
	NET_UNTIL(b.calls == 1 && c.calls == 1);
	ck_assert_int_eq(gate_calls(), 6);
	ck_assert_int_eq(a.calls, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* done() may cancel the others of its look-up, and ask again. */
START_TEST(test_resolve_done_cancels_and_asks_again)
{
	askers_clear();
	ck_assert_int_eq(ask(&a, "same", "80", 0), 0);
	ck_assert_int_eq(ask(&b, "same", "80", 0), 0);
	a.cancels = b.handle;
	a.again = true;
	gate_set(true, 1);
	NET_UNTIL(a.calls == 2);
	net_settle();
	ck_assert_int_eq(b.calls, 0);
	ck_assert_int_eq(gate_calls(), 2);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* Freed with look-ups under way, with and without askers, literal or not, the loop tells who waits, and leaves nothing. */
START_TEST(test_resolve_loop_freed_is_ecanceled)
{
	askers_clear();
	for (int i = 0; i < 6; i++) {		/* more than there are threads */
		char host[16];

		snprintf(host, sizeof(host), "host%d", i);
		ck_assert_int_eq(ask(&a, host, "80", 10), 0);
	}
	ck_assert_int_eq(ask(&c, "gone", "80", 10), 0);
	sconce_resolve_cancel(c.handle);
	ck_assert_int_eq(ask(&b, "127.0.0.1", "80", 0), 0);
	gate_set(true, 1);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_int_eq(a.calls, 6);
	ck_assert_int_eq(b.calls, 1);
	ck_assert_int_eq(b.errnum, ECANCELED);
	ck_assert_int_eq(c.calls, 0);
}
END_TEST

/* In a forked child, whose threads stayed behind, look-ups are begun again. */
START_TEST(test_resolve_forked_child_looks_up_again)
{
	int status;
	pid_t pid;

#ifdef __SANITIZE_THREAD__
	return;				/* it wants no threads behind a fork */
#endif
	askers_clear();
	ck_assert_int_eq(ask(&a, "slow", "80", 0), 0);
	while (gate_calls() == 0)
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	pid = fork();
	if (pid == 0) {
		pthread_mutex_init(&gate.lock, NULL);
		pthread_cond_init(&gate.changed, NULL);
		gate.open = true;
		if (sconce_loop_fork(loop) != 0)
			_exit(2);
		for (int i = 0; i < 500 && a.calls == 0; i++)
			sconce_loop_step(loop, 0.01);
		_exit(a.calls == 1 && a.count == 1 && gate_calls() == 2 ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	gate_set(true, 1);
	NET_UNTIL(a.calls == 1);
}
END_TEST

/* Without memory a look-up is refused, and leaves nothing; HZ-22. */
START_TEST(test_resolve_no_memory_is_refused)
{
	static const char *const hosts[] = { "name", "127.0.0.1" };

	gate_set(true, 1);
	for (int i = 0; i < 2; i++) {
		int r = -ENOMEM, failures = 0;

		backend.alloc = failing_alloc;
		for (int n = 0; r < 0; n++, failures++) {
			askers_clear();
			alloc_left = n;
			r = ask(&a, hosts[i], "80", 1);
			alloc_left = -1;
			ck_assert(r == 0 || r == -ENOMEM);
			net_settle();
			ck_assert_int_le(n, 10);
		}
		NET_UNTIL(a.calls == 1);
		ck_assert_int_eq(failures > 0, 1);
	}
}
END_TEST

/* ---- the default resolver ---- */

/* localhost has an address by the default resolver, of the family that is asked for; services have numbers. */
START_TEST(test_resolver_default_knows_localhost)
{
	struct sconce_addr addrs[8];
	char text[SCONCE_ADDR_TEXT];
	int r = sconce_resolver_default(NULL, "localhost", "80", AF_INET, SOCK_STREAM, SCONCE_RESOLVE_CONFIGURED, addrs, 8);

	ck_assert_int_ge(r, 1);
	ck_assert_str_eq(sconce_addr_text(&addrs[0], text, sizeof(text)), "127.0.0.1:80");
	ck_assert_int_ge(sconce_resolver_default(NULL, "localhost", "80", AF_UNSPEC, SOCK_STREAM, SCONCE_RESOLVE_CONFIGURED, addrs, 1),
		1);
	ck_assert_int_eq(sconce_resolver_default(NULL, "*", "80", AF_INET, SOCK_DGRAM, SCONCE_RESOLVE_PASSIVE, addrs, 8), 1);
	ck_assert_str_eq(sconce_addr_text(&addrs[0], text, sizeof(text)), "0.0.0.0:80");
	ck_assert_int_eq(sconce_resolver_default(NULL, "*", "80", AF_UNSPEC, SOCK_DGRAM, SCONCE_RESOLVE_PASSIVE, addrs, 8), 1);
	ck_assert_str_eq(sconce_addr_text(&addrs[0], text, sizeof(text)), "[::]:80");
	ck_assert_int_ge(sconce_resolver_default(NULL, "127.0.0.1", "80", AF_UNSPEC, SOCK_STREAM, SCONCE_RESOLVE_CONFIGURED, addrs,
		8), 1);
	ck_assert_int_lt(sconce_resolver_default(NULL, "127.0.0.1", "no-such-service", AF_UNSPEC, SOCK_STREAM, 0, addrs, 8), 0);
	if (access("/etc/services", R_OK) == 0) {
		ck_assert_int_ge(sconce_resolver_default(NULL, "127.0.0.1", "http", AF_UNSPEC, SOCK_STREAM, 0, addrs, 8), 1);
		ck_assert_str_eq(sconce_addr_text(&addrs[0], text, sizeof(text)), "127.0.0.1:80");
	}
}
END_TEST

/* The default is what a loop has, and what it has again after NULL. */
START_TEST(test_set_resolver_null_is_the_default)
{
	char text[SCONCE_ADDR_TEXT];

	askers_clear();
	sconce_set_resolver(loop, NULL, NULL);
	ck_assert_int_eq(sconce_resolve(loop, "localhost", "80", AF_INET, SOCK_STREAM, SCONCE_RESOLVE_CONFIGURED, 10, asked, &a,
		NULL), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_str_eq(sconce_addr_text(&a.first, text, sizeof(text)), "127.0.0.1:80");
	ck_assert_int_eq(gate_calls(), 0);
}
END_TEST

static TCase *
gate_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, gate_setup, gate_teardown);
	return tcase;
}

Suite *
t_suite(void)
{
	Suite *suite = suite_create("resolve");
	TCase *numeric = gate_case(suite, "numeric"), *names = gate_case(suite, "names"), *standard = gate_case(suite, "default");

	tcase_add_test(numeric, test_resolve_numeric_needs_no_thread);
	tcase_add_test(numeric, test_resolve_wrong_question_is_einval);
	tcase_add_test(names, test_resolve_name_does_not_block_the_loop);
	tcase_add_test(names, test_resolve_equal_names_are_joined);
	tcase_add_test(names, test_resolve_failure_has_gai_and_text);
	tcase_add_test(names, test_resolve_other_failures_have_their_errno);
	tcase_add_test(names, test_resolve_many_addresses_are_cut);
	tcase_add_test(names, test_resolve_loop_being_freed_is_eagain);
	tcase_add_test(names, test_resolve_deadline_is_etimedout);
	tcase_add_test(names, test_resolve_cancel_is_silent);
	tcase_add_test(names, test_resolve_cancelled_answer_is_dropped);
	tcase_add_test(names, test_resolve_abandoned_do_not_hold_up_others);
	tcase_add_test(names, test_resolve_done_cancels_and_asks_again);
	tcase_add_test(names, test_resolve_loop_freed_is_ecanceled);
	tcase_add_test(names, test_resolve_forked_child_looks_up_again);
	tcase_add_test(names, test_resolve_no_memory_is_refused);
	tcase_add_test(standard, test_resolver_default_knows_localhost);
	tcase_add_test(standard, test_set_resolver_null_is_the_default);
	return suite;
}

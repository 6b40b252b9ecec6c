/* Names of addresses: in the pool, joined, deadlines, cancelling, what is no name; and the default.
 *
 * The function that finds names waits in its thread until the test lets it go. */
#include "test_net.h"

#include <netdb.h>
#include <pthread.h>

/* ---- one that finds names when it is told ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	int calls;
	int answer;			/* 0 or EAI_... */
	char name[512];
	char address[SCONCE_ADDR_TEXT];	/* of the last call */
	pthread_t thread;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void
gate_set(bool open, int answer, const char *name)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = open;
	gate.answer = answer;
	snprintf(gate.name, sizeof(gate.name), "%s", name);
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
gated(void *arg, const struct sconce_addr *addr, char *name_out, size_t size)
{
	int answer;

	ck_assert_ptr_eq(arg, &gate);
	pthread_mutex_lock(&gate.lock);
	gate.calls++;
	gate.thread = pthread_self();
	sconce_addr_text(addr, gate.address, sizeof(gate.address));
	while (!gate.open)
		pthread_cond_wait(&gate.changed, &gate.lock);
	answer = gate.answer;
	if (answer == 0)
		memcpy(name_out, gate.name, strlen(gate.name) < size ? strlen(gate.name) + 1 : size);
	pthread_mutex_unlock(&gate.lock);
	errno = EMFILE;			/* which EAI_SYSTEM means */
	return answer;
}

/* ---- one who asks ---- */

struct asker {
	int calls, errnum, gai;
	bool found;
	char name[256], operation[32], text[160];
	struct sconce_resolve *handle, *cancels;	/* done() cancels that */
	bool again;			/* done() asks once more */
};

static struct asker a, b, c;

static void asked(struct sconce_loop *l, void *arg, const char *name, const struct sconce_fail *fail);

static struct sconce_addr
address(const char *endpoint)
{
	struct sconce_addr addr;

	ck_assert_int_eq(sconce_addr_parse(endpoint, &addr, NULL), 0);
	return addr;
}

static int
ask(struct asker *who, const char *endpoint, double timeout)
{
	struct sconce_addr addr = address(endpoint);

	return sconce_resolve_addr(loop, &addr, timeout, asked, who, &who->handle);
}

static void
asked(struct sconce_loop *l, void *arg, const char *name, const struct sconce_fail *fail)
{
	struct asker *who = arg;

	ck_assert_ptr_eq(l, loop);
	ck_assert_int_eq(name == NULL, fail != NULL);
	who->calls++;
	who->found = name != NULL;
	if (name != NULL) {
		ck_assert_uint_lt(strlen(name), sizeof(who->name));
		strcpy(who->name, name);
	} else {
		who->errnum = fail->errnum;
		who->gai = fail->gai;
		snprintf(who->operation, sizeof(who->operation), "%s", fail->operation);
		snprintf(who->text, sizeof(who->text), "%s", fail->text);
	}
	sconce_resolve_cancel(who->cancels);
	who->cancels = NULL;
	if (who->again) {
		who->again = false;
		ck_assert_int_eq(ask(who, "192.0.2.9:0", 0), 0);
	}
}

static void
askers_clear(void)
{
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memset(&c, 0, sizeof(c));
}

static void
gate_setup(void)
{
	net_setup();
	askers_clear();
	gate.calls = 0;
	gate_set(false, 0, "a.example.com");
	sconce_set_addr_resolver(loop, gated, &gate);
}

static void
gate_teardown(void)
{
	gate_set(true, 0, "a.example.com");	/* freeing waits for who works */
	net_teardown();
}

/* ---- names ---- */

/* A name is looked up in another thread, and the loop turns meanwhile; NS-58. */
START_TEST(test_resolve_addr_does_not_block_the_loop)
{
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
	ck_assert_int_eq(a.calls, 0);
	gate_set(true, 0, "A.Example.com.");
	NET_UNTIL(a.calls == 1);
	ck_assert_str_eq(a.name, "A.Example.com");	/* without the dot */
	ck_assert_str_eq(gate.address, "192.0.2.1:0");
	ck_assert(!pthread_equal(gate.thread, pthread_self()));
	ck_assert_int_eq(ask(&b, "[2001:db8::1]:80", 0), 0);
	NET_UNTIL(b.calls == 1);
	ck_assert_str_eq(gate.address, "[2001:db8::1]:0");
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* Equal addresses under way, whatever their ports and their form, are one look-up; others are not. */
START_TEST(test_resolve_addr_equal_ones_are_joined)
{
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	ck_assert_int_eq(ask(&b, "[::ffff:192.0.2.1]:81", 5), 0);
	ck_assert_int_eq(ask(&c, "192.0.2.2:80", 0), 0);
	gate_set(true, 0, "a.example.com");
	NET_UNTIL(a.calls == 1 && b.calls == 1 && c.calls == 1);
	ck_assert_int_eq(gate_calls(), 2);
	ck_assert_str_eq(b.name, "a.example.com");
}
END_TEST

/* What has begun is not changed by another function, nor joined by who asks that. */
START_TEST(test_set_addr_resolver_is_for_later_ones)
{
	ck_assert_int_eq(ask(&a, "127.0.0.1:0", 0), 0);
	sconce_set_addr_resolver(loop, NULL, NULL);
	ck_assert_int_eq(ask(&b, "127.0.0.1:0", 10), 0);	/* the system's, whatever it says */
	NET_UNTIL(b.calls == 1);
	ck_assert_int_eq(a.calls, 0);
	gate_set(true, 0, "gated");
	NET_UNTIL(a.calls == 1);
	ck_assert_str_eq(a.name, "gated");
	ck_assert_int_eq(gate_calls(), 1);
}
END_TEST

/* No name is EADDRNOTAVAIL with getnameinfo's number and text; other failures are what they are. */
START_TEST(test_resolve_addr_failure_has_gai_and_text)
{
	gate_set(true, EAI_NONAME, "");
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_int_eq(a.errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(a.gai, EAI_NONAME);
	ck_assert_str_eq(a.operation, "getnameinfo");
	ck_assert_str_eq(a.text, "getnameinfo 192.0.2.1: Name or service not known");
	gate_set(true, EAI_SYSTEM, "");
	ck_assert_int_eq(ask(&b, "[2001:db8::1]:80", 0), 0);
	NET_UNTIL(b.calls == 1);
	ck_assert_int_eq(b.errnum, EMFILE);
	ck_assert_int_eq(b.gai, 0);
	ck_assert_str_eq(b.text, "getnameinfo 2001:db8::1: Too many open files");
	gate_set(true, 1, "a.example.com");	/* which is no answer */
	ck_assert_int_eq(ask(&c, "192.0.2.1:80", 0), 0);
	NET_UNTIL(c.calls == 1);
	ck_assert_int_eq(c.gai, EAI_FAIL);
}
END_TEST

/* What is no address of IPv4 or IPv6 is refused. */
START_TEST(test_resolve_addr_wrong_address_is_einval)
{
	struct sconce_addr none = { .len = 0 }, path = { .un.sun_family = AF_UNIX, .len = sizeof(path.un) };
	struct sconce_addr half = address("[::1]:1");

	half.len = sizeof(half.in);
	ck_assert_int_eq(sconce_resolve_addr(loop, &none, 0, asked, &a, NULL), -EINVAL);
	ck_assert_int_eq(sconce_resolve_addr(loop, &path, 0, asked, &a, NULL), -EINVAL);
	ck_assert_int_eq(sconce_resolve_addr(loop, &half, 0, asked, &a, NULL), -EINVAL);
	net_settle();
	ck_assert_int_eq(a.calls, 0);
}
END_TEST

/* ---- what is no name ---- */

/* Whether this, found for an address, is told as its name. */
static bool
is_name(const char *name)
{
	askers_clear();
	gate_set(true, 0, name);
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	NET_UNTIL(a.calls == 1);
	if (!a.found)
		ck_assert_int_eq(a.gai, EAI_NONAME);
	return a.found;
}

/* Who has an address says what it is called: what is no host's name counts as none, and no address gets through as one. */
START_TEST(test_resolve_addr_wrong_name_is_none)
{
	static const char *const right[] = {
		"a", "A.b", "a_b-c.9d", "1.2.3.4.in-addr.arpa", "xn--a.example", "1.2.3.4x", "0xg", "1.example.com", "-a", "1-2",
	};
	static const char *const wrong[] = {
		"", ".", "..", "a..b", ".a", "a..", "1.2.3.4", "1.2.3.4.", "127.1", "2130706433", "0x7f000001", "a.1", "a.0x1F", "::1", "[::1]",
		"a b", "a/b", "a:80", "*.example.com", "a\nb", "fe80::1%eth0",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com",
	};

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		ck_assert_msg(is_name(right[i]), "%s", right[i]);
		ck_assert_str_eq(a.name, right[i]);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!is_name(wrong[i]), "%s", wrong[i]);
}
END_TEST

/* Of all bytes only those of host names pass; HZ-18. */
START_TEST(test_resolve_addr_name_has_bytes_of_names_only)
{
	for (int byte = 1; byte < 256; byte++) {
		char name[] = { 'a', (char)byte, 'b', '\0' };
		bool right = byte < 0x80 && (strchr("-_.", byte) != NULL || (byte >= '0' && byte <= '9') ||
		    ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'));

		ck_assert_msg(is_name(name) == right, "byte %d", byte);
	}
}
END_TEST

/* A name has 253 bytes at most; one that was not ended is cut, and no name. */
START_TEST(test_resolve_addr_long_name_is_none)
{
	char name[512];

	memset(name, 'a', sizeof(name));
	for (size_t i = 63; i < sizeof(name); i += 64)
		name[i] = '.';
	name[sizeof(name) - 1] = '\0';
	ck_assert(!is_name(name));
	name[255] = '\0';
	ck_assert(!is_name(name));
	name[254] = '\0';
	ck_assert(!is_name(name));
	name[253] = '.';
	ck_assert(is_name(name));
	name[253] = '\0';
	ck_assert(is_name(name));
	ck_assert_str_eq(a.name, name);
}
END_TEST

/* ---- time, cancelling, the end ---- */

/* A deadline that passes is ETIMEDOUT; the late answer is dropped, and who joined with more time still gets it. */
START_TEST(test_resolve_addr_deadline_is_etimedout)
{
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 2), 0);
	ck_assert_int_eq(ask(&b, "192.0.2.1:80", 4), 0);
	net_settle();
	net_pass(3);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(a.errnum, ETIMEDOUT);
	ck_assert_str_eq(a.text, "getnameinfo 192.0.2.1: Connection timed out");
	ck_assert_int_eq(b.calls, 0);
	gate_set(true, 0, "a.example.com");
	NET_UNTIL(b.calls == 1);
	net_settle();
	ck_assert(b.found);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(gate_calls(), 1);
}
END_TEST

/* Cancelled, nothing is told, and the loop is not kept running; it can be joined again. */
START_TEST(test_resolve_addr_cancel_is_silent)
{
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	ck_assert_int_eq(ask(&b, "192.0.2.1:80", 0), 0);
	NET_UNTIL(gate_calls() == 1);
	sconce_resolve_cancel(a.handle);
	sconce_resolve_cancel(b.handle);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(ask(&c, "192.0.2.1:80", 0), 0);
	gate_set(true, 0, "a.example.com");
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(a.calls + b.calls, 0);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(gate_calls(), 1);
}
END_TEST

/* done() may cancel the others of its look-up, and ask again. */
START_TEST(test_resolve_addr_done_cancels_and_asks_again)
{
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	ck_assert_int_eq(ask(&b, "192.0.2.1:80", 0), 0);
	a.cancels = b.handle;
	a.again = true;
	gate_set(true, 0, "a.example.com");
	NET_UNTIL(a.calls == 2);
	net_settle();
	ck_assert_int_eq(b.calls, 0);
	ck_assert_int_eq(gate_calls(), 2);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

static int late_result;

static void
ask_late(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	ck_assert_int_eq(status, -ECANCELED);
	late_result = ask(&c, "192.0.2.3:80", 0);
}

/* Freed with look-ups under way the loop tells who waits, begins no other, and leaves nothing. */
START_TEST(test_resolve_addr_loop_freed_is_ecanceled)
{
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 10), 0);
	ck_assert_int_eq(ask(&b, "192.0.2.2:80", 10), 0);
	sconce_resolve_cancel(b.handle);
	ck_assert_int_eq(sconce_defer(loop, NULL, ask_late, NULL), 0);
	gate_set(true, 0, "a.example.com");
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(a.errnum, ECANCELED);
	ck_assert_int_eq(b.calls, 0);
	ck_assert_int_eq(late_result, -EAGAIN);
	ck_assert_int_eq(c.calls, 0);
}
END_TEST

/* In a forked child, whose threads stayed behind, look-ups are begun again. */
START_TEST(test_resolve_addr_forked_child_looks_up_again)
{
	int status;
	pid_t pid;

#ifdef __SANITIZE_THREAD__
	return;				/* it wants no threads behind a fork */
#endif
	ck_assert_int_eq(ask(&a, "192.0.2.1:80", 0), 0);
	NET_UNTIL(gate_calls() == 1);
	pid = fork();
	if (pid == 0) {
		pthread_mutex_init(&gate.lock, NULL);
		pthread_cond_init(&gate.changed, NULL);
		gate.open = true;
		if (sconce_loop_fork(loop) != 0)
			_exit(2);
		for (int i = 0; i < 500 && a.calls == 0; i++)
			sconce_loop_step(loop, 0.01);
		_exit(a.calls == 1 && a.found && gate_calls() == 2 ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	gate_set(true, 0, "a.example.com");
	NET_UNTIL(a.calls == 1);
}
END_TEST

/* Without memory a look-up is refused, and leaves nothing; HZ-22. */
START_TEST(test_resolve_addr_no_memory_is_refused)
{
	int r = -ENOMEM, n;

	gate_set(true, 0, "a.example.com");
	backend.alloc = failing_alloc;
	for (n = 0; r < 0; n++) {
		askers_clear();
		alloc_left = n;
		r = ask(&a, "192.0.2.1:80", 1);
		alloc_left = -1;
		ck_assert(r == 0 || r == -ENOMEM);
		net_settle();
		ck_assert_int_le(n, 10);
	}
	NET_UNTIL(a.calls == 1);
	ck_assert_int_gt(n, 2);
	ck_assert(a.found);
}
END_TEST

/* ---- the default ---- */

/* The default says what the system says: of 127.0.0.1, where /etc/hosts has it, localhost. */
START_TEST(test_addr_resolver_default_is_getnameinfo)
{
	struct sconce_addr addr = address("127.0.0.1:0");
	char expected[256], name[256] = "", small[2];
	int r = getnameinfo(&addr.any, addr.len, expected, sizeof(expected), NULL, 0, NI_NAMEREQD);

	ck_assert_int_eq(sconce_addr_resolver_default(NULL, &addr, name, sizeof(name)), r);
	sconce_set_addr_resolver(loop, NULL, NULL);
	ck_assert_int_eq(ask(&a, "127.0.0.1:80", 10), 0);
	NET_UNTIL(a.calls == 1);
	ck_assert_int_eq(gate_calls(), 0);
	if (r != 0)
		return;
	ck_assert_str_eq(name, expected);
	ck_assert_str_eq(a.name, expected);
	ck_assert_int_lt(sconce_addr_resolver_default(NULL, &addr, small, sizeof(small)), 0);
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
	Suite *suite = suite_create("resolve_addr");
	TCase *names = gate_case(suite, "names"), *none = gate_case(suite, "no names"), *ends = gate_case(suite, "ends");

	tcase_add_test(names, test_resolve_addr_does_not_block_the_loop);
	tcase_add_test(names, test_resolve_addr_equal_ones_are_joined);
	tcase_add_test(names, test_set_addr_resolver_is_for_later_ones);
	tcase_add_test(names, test_resolve_addr_failure_has_gai_and_text);
	tcase_add_test(names, test_resolve_addr_wrong_address_is_einval);
	tcase_add_test(names, test_addr_resolver_default_is_getnameinfo);
	tcase_add_test(none, test_resolve_addr_wrong_name_is_none);
	tcase_add_test(none, test_resolve_addr_name_has_bytes_of_names_only);
	tcase_add_test(none, test_resolve_addr_long_name_is_none);
	tcase_add_test(ends, test_resolve_addr_deadline_is_etimedout);
	tcase_add_test(ends, test_resolve_addr_cancel_is_silent);
	tcase_add_test(ends, test_resolve_addr_done_cancels_and_asks_again);
	tcase_add_test(ends, test_resolve_addr_loop_freed_is_ecanceled);
	tcase_add_test(ends, test_resolve_addr_forked_child_looks_up_again);
	tcase_add_test(ends, test_resolve_addr_no_memory_is_refused);
	return suite;
}

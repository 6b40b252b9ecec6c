/* Access rules that see names: look-ups, proofs, time, cancelling, a loop that ends, memory.
 *
 * Names and addresses are found by functions of the test's own, which wait in their threads while a gate is shut. */
#include "starve.h"

#include "test_net.h"

#include <netdb.h>
#include <pthread.h>

#include <sconce/acl.h>

/* ---- what names there are ---- */

/* A kind of look-up. */
struct gate {
	bool shut;
	int count;			/* how often asked */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct gate reverse, forward;
static int forward_family;		/* of the last one */

static void
gate_set(struct gate *g, bool shut)
{
	pthread_mutex_lock(&lock);
	g->shut = shut;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void
gate_pass(struct gate *g)
{
	pthread_mutex_lock(&lock);
	g->count++;
	while (g->shut)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static int
gate_count(const struct gate *g)
{
	int count;

	pthread_mutex_lock(&lock);
	count = g->count;
	pthread_mutex_unlock(&lock);
	return count;
}

static int
names(void *arg, const struct sconce_addr *addr, char *name_out, size_t size)
{
	static const struct { const char *addr, *name; } all[] = {
		{ "1.2.3.4", "A.example.com." }, { "1.2.3.5", "h" }, { "1.2.3.6", "nowhere.example.com" }, { "1.2.3.7", "10.0.0.1" },
		{ "1.2.3.8", "six.example.com" }, { "2001:db8::1", "six.example.com" },
	};
	char text[SCONCE_ADDR_TEXT];

	(void)arg;
	gate_pass(&reverse);
	sconce_addr_host(addr, text, sizeof(text));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].addr, text) == 0)
			return snprintf(name_out, size, "%s", all[i].name) < 0;
	return EAI_NONAME;
}

static int
addresses(void *arg, const char *host, const char *service, int family, int type, unsigned flags, struct sconce_addr *out,
	size_t max)
{
	static const struct { const char *name, *addr; } all[] = {
		{ "A.example.com", "9.9.9.9" }, { "A.example.com", "1.2.3.4" }, { "h", "9.9.9.9" }, { "six.example.com", "2001:db8::2" },
		{ "six.example.com", "2001:db8::1" }, { "six.example.com", "::ffff:1.2.3.8" },
	};
	size_t count = 0;

	(void)arg;
	(void)service;
	(void)type;
	(void)flags;
	gate_pass(&forward);
	forward_family = family;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && count < max; i++) {
		char endpoint[80];

		if (strcmp(all[i].name, host) != 0)
			continue;
		snprintf(endpoint, sizeof(endpoint), strchr(all[i].addr, ':') != NULL ? "[%s]:0" : "%s:0", all[i].addr);
		if (sconce_addr_parse(endpoint, &out[count++], NULL) != 0)
			return EAI_FAIL;
	}
	return count > 0 ? (int)count : EAI_NONAME;
}

/* ---- one who asks ---- */

struct asker {
	int calls;
	struct sconce_acl_verdict verdict;
	char rule[64];			/* the verdict's, during the call */
	struct sconce_acl_check *check;
	bool unrefs;			/* done() gives the test's reference back */
};

static struct sconce_acl *acl;
static struct asker a, b;

static void
asked(struct sconce_loop *l, void *arg, const struct sconce_acl_verdict *verdict)
{
	struct asker *who = arg;

	ck_assert_ptr_eq(l, loop);
	if (who->unrefs) {
		sconce_acl_unref(acl);
		acl = NULL;
	}
	who->calls++;
	who->verdict = *verdict;
	snprintf(who->rule, sizeof(who->rule), "%s", verdict->rule != NULL ? verdict->rule : "");
}

static struct sconce_addr
peer_of(const char *endpoint)
{
	struct sconce_addr peer;

	ck_assert_int_eq(sconce_addr_parse(endpoint, &peer, NULL), 0);
	return peer;
}

static int
ask(struct asker *who, const char *endpoint, double timeout)
{
	struct sconce_addr peer = peer_of(endpoint);

	memset(who, 0, sizeof(*who));
	return sconce_acl_start(acl, loop, &peer, timeout, asked, who, &who->check, &who->verdict);
}

/* Asks, waits for the end, and tells whether the peer is allowed; it must have taken a look-up. */
static bool
allows(const char *endpoint)
{
	ck_assert_int_eq(ask(&a, endpoint, 0), 0);
	ck_assert_int_eq(a.calls, 0);
	NET_UNTIL(a.calls == 1);
	return a.verdict.allowed;
}

static void
add(enum sconce_acl_kind kind, const char *rule)
{
	ck_assert_int_eq(sconce_acl_add(acl, kind, rule, NULL), 0);
}

static void
check_setup(void)
{
	net_setup();
	reverse = forward = (struct gate){ .count = 0 };
	sconce_set_resolver(loop, addresses, NULL);
	sconce_set_addr_resolver(loop, names, NULL);
	ck_assert_int_eq(sconce_acl_new(&acl), 0);
	sconce_acl_set_lookup(acl, SCONCE_ACL_REVERSE);
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
}

static void
check_teardown(void)
{
	gate_set(&reverse, false);
	gate_set(&forward, false);
	sconce_acl_unref(acl);
	net_teardown();
}

/* ---- no look-up ---- */

/* Where nobody's name is asked for, and for peers of unix sockets, the verdict is there at once; NS-58: off by default. */
START_TEST(test_start_without_look_up_is_decided_at_once)
{
	struct sconce_addr path = { .un.sun_family = AF_UNIX, .len = sizeof(sa_family_t) }, none = { .len = 0 };
	struct sconce_addr half = peer_of("[::1]:1");
	struct sconce_acl *fresh;

	ck_assert_int_eq(sconce_acl_new(&fresh), 0);
	ck_assert_int_eq(sconce_acl_lookup(fresh), SCONCE_ACL_NO_LOOKUP);
	sconce_acl_unref(fresh);
	add(SCONCE_ACL_ALLOW, "1\\.2\\.3\\.4");
	ck_assert_int_eq(sconce_acl_start(acl, loop, &path, 0, asked, &a, NULL, &a.verdict), 1);
	ck_assert(a.verdict.allowed);
	ck_assert_int_eq(sconce_acl_start(acl, loop, &none, 0, asked, &a, NULL, &a.verdict), 1);
	ck_assert(!a.verdict.allowed);
	half.len = sizeof(half.in);
	ck_assert_int_eq(sconce_acl_start(acl, loop, &half, 0, asked, &a, NULL, &a.verdict), 1);
	ck_assert(!a.verdict.allowed);
	sconce_acl_set_lookup(acl, SCONCE_ACL_NO_LOOKUP);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 1);
	ck_assert(a.verdict.allowed);
	ck_assert_int_eq(ask(&a, "[::ffff:1.2.3.4]:9", 0), 1);
	ck_assert(a.verdict.allowed);
	ck_assert_int_eq(ask(&a, "1.2.3.5:9", 0), 1);
	ck_assert(!a.verdict.allowed);
	net_settle();
	ck_assert_int_eq(a.calls, 0);
	ck_assert_int_eq(reverse.count, 0);
}
END_TEST

/* With autofail everybody is denied, and nobody looked up; NS-59. */
START_TEST(test_start_autofail_denies)
{
	add(SCONCE_ACL_ALLOW, ".*");
	sconce_acl_set_lookup(acl, SCONCE_ACL_AUTOFAIL);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 1);
	ck_assert(!a.verdict.allowed);
	ck_assert_str_eq(a.verdict.why, "denied: no name leads back (autofail)");
	ck_assert_int_eq(reverse.count, 0);
}
END_TEST

/* Who is denied by the address is so at once, whatever the name. */
START_TEST(test_start_denied_address_is_not_looked_up)
{
	add(SCONCE_ACL_CIDR_DENY, "1.2.3.0/30");
	add(SCONCE_ACL_DENY, "1\\.2\\.3\\.[45]");
	ck_assert_int_eq(ask(&a, "1.2.3.1:9", 0), 1);
	ck_assert_str_eq(a.verdict.why, "denied by cidr_deny 1.2.3.0/30");
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 1);
	ck_assert_str_eq(a.verdict.why, "denied by deny 1\\.2\\.3\\.[45]");
	ck_assert_int_eq(reverse.count, 0);
}
END_TEST

/* ---- names ---- */

/* Rules see the name that is looked up, and the loop turns meanwhile; NS-56, NS-58. */
START_TEST(test_start_reverse_rules_see_the_name)
{
	add(SCONCE_ACL_ALLOW, ".*\\.example\\.com");
	gate_set(&reverse, true);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
	ck_assert_int_eq(a.calls, 0);
	gate_set(&reverse, false);
	NET_UNTIL(a.calls == 1);
	ck_assert(a.verdict.allowed);
	ck_assert_str_eq(a.rule, ".*\\.example\\.com");
	ck_assert_str_eq(a.verdict.host, "A.example.com");
	ck_assert(!allows("1.2.3.9:9"));
	ck_assert_str_eq(a.verdict.why, "denied: no rule allows it");
	ck_assert_str_eq(a.verdict.host, "");
	ck_assert(!allows("1.2.3.5:9"));
	ck_assert_str_eq(a.verdict.host, "h");
	ck_assert_int_eq(forward.count, 0);
	add(SCONCE_ACL_DENY, "a\\.example\\..*");
	ck_assert(!allows("1.2.3.4:9"));
	ck_assert_str_eq(a.rule, "a\\.example\\..*");
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* A name that reads as an address does not let its owner in as that. */
START_TEST(test_start_reverse_address_as_name_is_none)
{
	add(SCONCE_ACL_ALLOW, "10\\.0\\.0\\.1");
	ck_assert(!allows("1.2.3.7:9"));
	ck_assert_str_eq(a.verdict.host, "");
}
END_TEST

/* A name is believed when it leads back to the address, of either family, and before any rule is asked; NS-59. */
START_TEST(test_start_double_name_must_lead_back)
{
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	ck_assert(allows("1.2.3.4:9"));
	ck_assert_str_eq(a.verdict.host, "A.example.com");
	ck_assert_int_eq(forward_family, AF_INET);
	ck_assert(allows("[::ffff:1.2.3.4]:9"));
	ck_assert(allows("[2001:db8::1]:9"));
	ck_assert_int_eq(forward_family, AF_INET6);
	ck_assert(allows("1.2.3.8:9"));		/* whose name has it in another form */
	add(SCONCE_ACL_ALLOW, ".*");
	ck_assert(!allows("1.2.3.5:9"));	/* h, which is 9.9.9.9 */
	ck_assert_str_eq(a.verdict.why, "denied: its name h does not lead back to it");
	ck_assert_str_eq(a.verdict.host, "");
	ck_assert(!allows("1.2.3.6:9"));
	ck_assert_str_eq(a.verdict.why, "denied: its name nowhere.example.com does not lead back to it: "
	    "getaddrinfo nowhere.example.com:0: Name or service not known");
	ck_assert(!allows("1.2.3.9:9"));
	ck_assert_str_eq(a.verdict.why, "denied: it has no name: getnameinfo 1.2.3.9: Name or service not known");
	ck_assert(allows("1.2.3.4:9"));
	ck_assert_str_eq(a.rule, ".*");
}
END_TEST

/* What the set says is what counts when the answer comes. */
START_TEST(test_start_changed_set_counts)
{
	gate_set(&reverse, true);
	ck_assert_int_eq(ask(&a, "1.2.3.5:9", 0), 0);
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	gate_set(&reverse, false);
	NET_UNTIL(a.calls == 1);
	ck_assert(!a.verdict.allowed);
	ck_assert_int_eq(forward.count, 1);
	gate_set(&reverse, true);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 0);
	add(SCONCE_ACL_CIDR_DENY, "1.2.3.4");
	gate_set(&reverse, false);
	NET_UNTIL(a.calls == 1);
	ck_assert_str_eq(a.rule, "1.2.3.4");
}
END_TEST

/* ---- time, the end ---- */

/* What takes too long is no name; both look-ups share the time, which is 5 s where none is said. */
START_TEST(test_start_timeout_is_no_name)
{
	add(SCONCE_ACL_ALLOW, "1\\.2\\.3\\..*");
	gate_set(&reverse, true);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 2), 0);
	ck_assert_int_eq(ask(&b, "1.2.3.5:9", 0), 0);
	net_settle();
	net_pass(2.1);
	ck_assert_int_eq(a.calls, 1);
	ck_assert(a.verdict.allowed);
	ck_assert_str_eq(a.verdict.host, "");
	net_pass(2.8);
	ck_assert_int_eq(b.calls, 0);
	net_pass(0.2);
	ck_assert_int_eq(b.calls, 1);
	gate_set(&reverse, false);
	net_settle();
	ck_assert_int_eq(a.calls + b.calls, 2);
}
END_TEST

/* With double look-ups it is a denial, in the first and in the second. */
START_TEST(test_start_double_timeout_is_denied)
{
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	gate_set(&reverse, true);
	gate_set(&forward, true);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 3), 0);
	ck_assert_int_eq(ask(&b, "1.2.3.5:9", 5), 0);
	net_settle();
	net_pass(4);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_str_eq(a.verdict.why, "denied: it has no name: getnameinfo 1.2.3.4: Connection timed out");
	gate_set(&reverse, false);
	NET_UNTIL(gate_count(&forward) == 1);
	net_pass(0.9);
	ck_assert_int_eq(b.calls, 0);
	net_pass(0.2);
	ck_assert_int_eq(b.calls, 1);
	ck_assert_str_eq(b.verdict.why, "denied: its name h does not lead back to it: getaddrinfo h:0: Connection timed out");
	gate_set(&forward, false);
	net_settle();
	ck_assert_int_eq(a.calls + b.calls, 2);
}
END_TEST

/* Cancelled, in the first look-up or in the second, nothing is told, and the loop is not kept running. */
START_TEST(test_cancel_is_silent)
{
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	for (int second = 0; second < 2; second++) {
		struct gate *g = second ? &forward : &reverse;

		g->count = 0;
		gate_set(g, true);
		ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 0);
		NET_UNTIL(gate_count(g) == 1);
		sconce_acl_cancel(a.check);
		ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
		gate_set(g, false);
		net_settle();
		ck_assert_int_eq(a.calls, 0);
	}
	sconce_acl_cancel(NULL);
}
END_TEST

/* A check under way keeps its rules: the application may give its reference back, also in done(). */
START_TEST(test_start_keeps_the_set)
{
	add(SCONCE_ACL_ALLOW, "a\\.example\\.com");
	gate_set(&reverse, true);
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 0);
	ck_assert_int_eq(ask(&b, "1.2.3.5:9", 0), 0);
	sconce_acl_cancel(b.check);
	sconce_acl_unref(acl);
	acl = NULL;
	gate_set(&reverse, false);
	NET_UNTIL(a.calls == 1);
	ck_assert_str_eq(a.rule, "a\\.example\\.com");
	ck_assert_int_eq(sconce_acl_new(&acl), 0);
	sconce_acl_set_lookup(acl, SCONCE_ACL_REVERSE);
	add(SCONCE_ACL_ALLOW, "a\\.example\\.com");
	ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 0);
	a.unrefs = true;
	NET_UNTIL(a.calls == 1);
	ck_assert_str_eq(a.rule, "a\\.example\\.com");
	ck_assert_ptr_null(acl);
}
END_TEST

static int late_result;

static void
ask_late(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	ck_assert_int_eq(status, -ECANCELED);
	late_result = ask(&b, "1.2.3.9:9", 0);
}

/* Freed with checks under way the loop tells a denial, whatever the rules, begins no other check, and leaves nothing. */
START_TEST(test_start_loop_freed_is_denied)
{
	for (int lookup = SCONCE_ACL_REVERSE; lookup <= SCONCE_ACL_DOUBLE; lookup++) {
		sconce_acl_set_lookup(acl, (enum sconce_acl_lookup)lookup);
		ck_assert_int_eq(ask(&a, "1.2.3.4:9", 0), 0);
		ck_assert_int_eq(sconce_defer(loop, NULL, ask_late, NULL), 0);
		ck_assert_int_eq(sconce_loop_free(loop), 0);
		ck_assert_int_eq(a.calls, 1);
		ck_assert(!a.verdict.allowed);
		ck_assert_int_eq(late_result, -EAGAIN);
		ck_assert_int_eq(b.calls, 0);
		net_setup();
		sconce_set_resolver(loop, addresses, NULL);
		sconce_set_addr_resolver(loop, names, NULL);
	}
}
END_TEST

/* Without memory a check is refused, or denied, and leaves nothing; HZ-22. */
START_TEST(test_start_no_memory_is_no_admission)
{
	int refused = 0, denied = 0, n;

	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	backend.alloc = failing_alloc;
	for (n = 0; n < 30; n++) {
		int r;

		alloc_left = n;
		r = ask(&a, "1.2.3.4:9", 0);
		ck_assert(r == 0 || r == -ENOMEM);
		if (r == 0)
			NET_UNTIL(a.calls == 1);
		refused += r < 0;
		denied += r == 0 && !a.verdict.allowed;
		alloc_left = -1;
		net_settle();
	}
	ck_assert_int_gt(refused, 0);
	ck_assert_int_gt(denied, 0);
	ck_assert(a.verdict.allowed);
	if (STARVE_WORKS) {
		struct sconce_addr peer = peer_of("1.2.3.4:9");

		starve_left = 1;
		n = sconce_acl_start(acl, loop, &peer, 0, asked, &a, NULL, &a.verdict);
		starve_left = 0;
		ck_assert_int_eq(n, -ENOMEM);
		ck_assert_int_eq(starve_failed, 1);
	}
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("acl_check");
	TCase *once = t_case(suite, "at once"), *names_case = t_case(suite, "names"), *ends = t_case(suite, "ends");

	tcase_add_checked_fixture(once, check_setup, check_teardown);
	tcase_add_checked_fixture(names_case, check_setup, check_teardown);
	tcase_add_checked_fixture(ends, check_setup, check_teardown);
	tcase_add_test(once, test_start_without_look_up_is_decided_at_once);
	tcase_add_test(once, test_start_autofail_denies);
	tcase_add_test(once, test_start_denied_address_is_not_looked_up);
	tcase_add_test(names_case, test_start_reverse_rules_see_the_name);
	tcase_add_test(names_case, test_start_reverse_address_as_name_is_none);
	tcase_add_test(names_case, test_start_double_name_must_lead_back);
	tcase_add_test(names_case, test_start_changed_set_counts);
	tcase_add_test(ends, test_start_timeout_is_no_name);
	tcase_add_test(ends, test_start_double_timeout_is_denied);
	tcase_add_test(ends, test_cancel_is_silent);
	tcase_add_test(ends, test_start_keeps_the_set);
	tcase_add_test(ends, test_start_loop_freed_is_denied);
	tcase_add_test(ends, test_start_no_memory_is_no_admission);
	return suite;
}

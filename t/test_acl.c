/* Access rules without look-ups: what they decide, how they are matched, which are refused. */
/* The expressions' libraries are to be starved, too: they must see this program's malloc(). */
#pragma GCC visibility push(default)
#include "starve.h"
#pragma GCC visibility pop

#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <sconce/acl.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct sconce_acl *acl;
static struct sconce_acl_verdict verdict;

static void
setup(void)
{
	ck_assert_int_eq(sconce_acl_new(&acl), 0);
}

static void
teardown(void)
{
	sconce_acl_unref(acl);
}

static struct sconce_addr
address(const char *text)
{
	struct sconce_addr a = { .len = sizeof(a.in) };

	if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
		return a;
	}
	a.len = sizeof(a.in6);
	a.in6.sin6_family = AF_INET6;
	ck_assert_int_eq(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
	return a;
}

static void
add(enum sconce_acl_kind kind, const char *rule)
{
	struct sconce_fail fail;
	int r = sconce_acl_add(acl, kind, rule, &fail);

	ck_assert_msg(r == 0, "%s: %s", rule, r == 0 ? "" : fail.text);
}

static bool
allows(const char *peer, const char *host)
{
	struct sconce_addr a = address(peer);
	bool allowed = sconce_acl_check(acl, &a, host, &verdict);

	ck_assert_int_eq(allowed, verdict.allowed);
	ck_assert_int_eq(strncmp(verdict.why, allowed ? "allowed" : "denied", allowed ? 7 : 6), 0);
	return allowed;
}

/* Whether a set of this one rule allows the peer. */
static bool
rule_allows(enum sconce_acl_kind kind, const char *rule, const char *peer, const char *host)
{
	bool allowed;

	teardown();
	setup();
	add(kind, rule);
	allowed = allows(peer, host);
	return allowed;
}

/* ---- the vectors ---- */

struct vector {
	const char *peer, *host;
	const char *rules[SCONCE_ACL_KINDS];
	bool allowed;
};

#define DENY [SCONCE_ACL_DENY]
#define CIDR_DENY [SCONCE_ACL_CIDR_DENY]
#define ALLOW [SCONCE_ACL_ALLOW]
#define CIDR_ALLOW [SCONCE_ACL_CIDR_ALLOW]

/* The verdicts of Net::Server; NS-27, NS-56. */
START_TEST(test_check_vectors_have_the_known_verdict)
{
	static const struct vector vectors[] = {
		{ "1.2.3.4", NULL, { NULL }, true },
		{ "1.2.3.4", NULL, { ALLOW = "1\\.2\\.3\\.4" }, true },
		{ "1.2.3.4", NULL, { ALLOW = "1\\.2\\.3" }, false },
		{ "1.2.3.4", NULL, { DENY = "9\\.9\\.9\\.9" }, false },
		{ "1.2.3.4", NULL, { ALLOW = "1.*", DENY = "1.*" }, false },
		{ "::ffff:1.2.3.4", NULL, { ALLOW = "1\\.2\\.3\\.4" }, true },
		{ "::ffff:1.2.3.4", NULL, { ALLOW = "::ffff:1\\.2\\.3\\.4" }, false },
		{ "1.2.3.4", NULL, { CIDR_ALLOW = "1.2.0.0/16" }, true },
		{ "1.2.3.4", NULL, { CIDR_ALLOW = "1.2.0.0/16", CIDR_DENY = "1.2.3.0/24" }, false },
		{ "1.2.3.4", NULL, { CIDR_ALLOW = "::1/128" }, false },
		{ "::1", NULL, { CIDR_ALLOW = "::1/128" }, true },
		{ "1.2.3.4", "a.example.com", { ALLOW = ".*\\.example\\.com" }, true },
		{ "1.2.3.4", NULL, { ALLOW = ".*\\.example\\.com" }, false },
		{ "1.2.3.4", NULL, { CIDR_ALLOW = "1.2.3.4" }, true },
	};

	for (size_t i = 0; i < COUNT(vectors); i++) {
		const struct vector *v = &vectors[i];

		teardown();
		setup();
		for (int kind = 0; kind < SCONCE_ACL_KINDS; kind++)
			if (v->rules[kind] != NULL)
				add((enum sconce_acl_kind)kind, v->rules[kind]);
		ck_assert_msg(allows(v->peer, v->host) == v->allowed, "vector %zu: %s", i, verdict.why);
	}
}
END_TEST

/* The kinds are asked in their order, and rules of a kind in that in which they were added. */
START_TEST(test_check_order_is_deny_cidr_deny_allow_cidr_allow)
{
	static const struct { enum sconce_acl_kind kind; const char *rule, *why; } steps[] = {
		{ SCONCE_ACL_CIDR_ALLOW, "1.2.0.0/16", "allowed by cidr_allow 1.2.0.0/16" },
		{ SCONCE_ACL_CIDR_ALLOW, "1.2.3.0/24", "allowed by cidr_allow 1.2.0.0/16" },
		{ SCONCE_ACL_ALLOW, "1.*", "allowed by allow 1.*" },
		{ SCONCE_ACL_CIDR_DENY, "1.2.3.4", "denied by cidr_deny 1.2.3.4" },
		{ SCONCE_ACL_DENY, ".*4", "denied by deny .*4" },
	};

	ck_assert(allows("1.2.3.4", NULL));
	ck_assert_str_eq(verdict.why, "allowed: there are no rules");
	ck_assert_ptr_null(verdict.rule);
	for (size_t i = 0; i < COUNT(steps); i++) {
		add(steps[i].kind, steps[i].rule);
		allows("1.2.3.4", NULL);
		ck_assert_str_eq(verdict.why, steps[i].why);
		ck_assert_str_eq(verdict.rule, i == 1 ? steps[0].rule : steps[i].rule);
	}
	ck_assert(!allows("9.9.9.9", NULL));
	ck_assert_str_eq(verdict.why, "denied: no rule allows it");
	ck_assert_ptr_null(verdict.rule);
}
END_TEST

/* Peers of unix sockets are allowed whatever the rules; those of no known kind only where there are none; NS-56. */
START_TEST(test_check_unix_peer_is_allowed)
{
	struct sconce_addr a = { .un.sun_family = AF_UNIX, .un.sun_path = "/x", .len = sizeof(sa_family_t) }, none = { .len = 0 };

	ck_assert(sconce_acl_check(acl, &none, NULL, NULL));
	add(SCONCE_ACL_DENY, ".*");
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	ck_assert_int_eq(sconce_acl_lookup(acl), SCONCE_ACL_DOUBLE);
	ck_assert(sconce_acl_check(acl, &a, NULL, &verdict));
	ck_assert_str_eq(verdict.why, "allowed: it is at a unix socket");
	a.len = sizeof(a.un);
	ck_assert(sconce_acl_check(acl, &a, NULL, NULL));
	sconce_acl_set_lookup(acl, SCONCE_ACL_NO_LOOKUP);
	ck_assert(!sconce_acl_check(acl, &none, NULL, NULL));
	teardown();
	setup();
	add(SCONCE_ACL_ALLOW, ".*");
	ck_assert(!sconce_acl_check(acl, &none, NULL, NULL));
	a.any.sa_family = AF_INET;
	a.len = 4;				/* half an address */
	ck_assert(!sconce_acl_check(acl, &a, NULL, NULL));
}
END_TEST

/* With double look-ups who has no name is denied before any rule; with autofail everybody is; NS-59. */
START_TEST(test_check_double_without_name_is_denied)
{
	add(SCONCE_ACL_ALLOW, ".*");
	sconce_acl_set_lookup(acl, SCONCE_ACL_DOUBLE);
	ck_assert(!allows("1.2.3.4", NULL));
	ck_assert_str_eq(verdict.why, "denied: it has no name");
	ck_assert(allows("1.2.3.4", "a.example.com"));
	ck_assert_str_eq(verdict.host, "a.example.com");
	sconce_acl_set_lookup(acl, SCONCE_ACL_AUTOFAIL);
	ck_assert(!allows("1.2.3.4", "a.example.com"));
}
END_TEST

/* ---- expressions ---- */

/* An expression stands for all of a text, alternations and unbalanced parentheses included. */
START_TEST(test_check_expression_is_anchored)
{
	static const struct { const char *rule, *peer; bool allowed; } cases[] = {
		{ "1\\.1\\.1\\.1|2\\.2\\.2\\.2", "1.1.1.1", true }, { "1\\.1\\.1\\.1|2\\.2\\.2\\.2", "2.2.2.2", true },
		{ "1\\.1\\.1\\.1|2\\.2\\.2\\.2", "1.1.1.12", false }, { "1\\.1\\.1\\.1|2\\.2\\.2\\.2", "12.2.2.2", false },
		{ "1\\.1\\.1\\.1|1\\.1\\.1\\.12", "1.1.1.12", true }, { "(1|12)\\.1\\.1\\.1", "12.1.1.1", true },
		{ "^1\\.1\\.1\\.1$", "1.1.1.1", true }, { "1", "1.1.1.1", false }, { ".*", "1.1.1.1", true },
		{ "1.1.1.", "1.1.1.1", false }, { "x*", "1.1.1.1", false }, { "[0-9.]{7}", "1.1.1.1", true },
		{ "FE80::[A-F]", "fe80::a", true }, { "2001:db8::1", "2001:0db8:0:0:0:0:0:1", true },
		{ "2001:db8:0:0:0:0:0:1", "2001:db8::1", false },
	};
	struct sconce_fail fail;

	for (size_t i = 0; i < COUNT(cases); i++)
		ck_assert_msg(rule_allows(SCONCE_ACL_ALLOW, cases[i].rule, cases[i].peer, NULL) == cases[i].allowed, "%s %s",
		    cases[i].rule, cases[i].peer);
	ck_assert_int_eq(sconce_acl_add(acl, SCONCE_ACL_ALLOW, "1.1.1.1)|(.*", &fail), -EINVAL);
}
END_TEST

/* Names are compared without regard to case and to a final dot; the address and the name are both tried. */
START_TEST(test_check_name_is_matched_like_the_address)
{
	char host[300];

	ck_assert(rule_allows(SCONCE_ACL_ALLOW, "a\\.Example\\.com", "1.2.3.4", "A.exaMPLE.com."));
	ck_assert_str_eq(verdict.host, "A.exaMPLE.com");
	ck_assert(!rule_allows(SCONCE_ACL_ALLOW, "example\\.com", "1.2.3.4", "a.example.com"));
	ck_assert(!rule_allows(SCONCE_ACL_ALLOW, "a\\.example\\.com|b", "1.2.3.4", "a.example.com.evil"));
	ck_assert(rule_allows(SCONCE_ACL_ALLOW, "1\\.2\\.3\\.4", "1.2.3.4", "a.example.com"));
	ck_assert(!rule_allows(SCONCE_ACL_DENY, ".*\\.example\\.com", "1.2.3.4", "a.example.com"));
	ck_assert_str_eq(verdict.why, "denied by deny .*\\.example\\.com");
	ck_assert(!rule_allows(SCONCE_ACL_CIDR_ALLOW, "9.9.9.9", "1.2.3.4", "9.9.9.9"));
	memset(host, 'a', sizeof(host));
	host[255] = '\0';
	ck_assert(rule_allows(SCONCE_ACL_ALLOW, "a*", "1.2.3.4", host));
	host[255] = 'a';			/* half of a longer one is another's */
	host[256] = '\0';
	ck_assert(!rule_allows(SCONCE_ACL_ALLOW, "a*", "1.2.3.4", host));
	ck_assert_str_eq(verdict.host, "");
}
END_TEST

/* The scope of a link-local address is no part of its text. */
START_TEST(test_check_scope_is_cut_off)
{
	struct sconce_addr a = address("fe80::1");

	add(SCONCE_ACL_ALLOW, "fe80::1");
	a.in6.sin6_scope_id = if_nametoindex("lo");
	ck_assert(sconce_acl_check(acl, &a, NULL, NULL));
	a.in6.sin6_scope_id = 4000000000u;
	ck_assert(sconce_acl_check(acl, &a, NULL, NULL));
}
END_TEST

/* Each byte there is, in a rule and in a name, leaves the verdict one line; HZ-18. */
START_TEST(test_check_verdict_is_one_line)
{
	char rule[16], host[16];
	struct sconce_fail fail;

	for (int byte = 1; byte < 256; byte++) {
		bool added;

		teardown();
		setup();
		snprintf(rule, sizeof(rule), "a%c.*", byte);
		snprintf(host, sizeof(host), "a%cb", byte);
		added = sconce_acl_add(acl, SCONCE_ACL_ALLOW, rule, &fail) == 0;
		if (!added)
			for (const char *p = fail.text; *p != '\0'; p++)
				ck_assert((unsigned char)*p >= 0x20 && *p != 0x7f);
		allows("1.2.3.4", host);
		for (const char *p = verdict.why; *p != '\0'; p++)
			ck_assert((unsigned char)*p >= 0x20 && *p != 0x7f);
		for (const char *p = verdict.host; *p != '\0'; p++)
			ck_assert((unsigned char)*p >= 0x20 && *p != 0x7f);
		if (added && byte != '|')	/* as given */
			ck_assert(verdict.rule == NULL || strcmp(verdict.rule, rule) == 0);
	}
}
END_TEST

/* ---- networks ---- */

/* A network has the addresses that its first bits say; of IPv4 and IPv6 each knows its own; NS-57. */
START_TEST(test_check_network_has_its_addresses)
{
	static const struct { const char *rule, *peer; bool allowed; } cases[] = {
		{ "10.0.0.0/8", "10.255.255.255", true }, { "10.0.0.0/8", "11.0.0.0", false },
		{ "1.2.3.4/16", "1.2.255.1", true }, { "1.2.3.4/16", "1.3.3.4", false },	/* the host's part does not matter */
		{ "0.0.0.0/0", "200.1.2.3", true }, { "0.0.0.0/0", "::1", false }, { "::/0", "::1", true }, { "::/0", "1.2.3.4", false },
		{ "1.2.3.4", "1.2.3.4", true }, { "1.2.3.4", "1.2.3.5", false }, { "1.2.3.4/32", "1.2.3.5", false },
		{ "1.2.3.4/31", "1.2.3.5", true }, { "1.2.3.128/25", "1.2.3.127", false }, { "1.2.3.128/25", "1.2.3.200", true },
		{ "1.2.3.4/00", "9.9.9.9", true },
		{ "2001:db8::/32", "2001:db8:ffff::1", true }, { "2001:db8::/32", "2001:db9::", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true }, { "2001:db8::/33", "2001:db8:8000::1", false },
		{ "fe80::1", "fe80::1", true }, { "fe80::1", "fe80::2", false }, { "2001:DB8::/127", "2001:db8::1", true },
		{ "::ffff:1.2.3.0/120", "1.2.3.200", true }, { "::ffff:1.2.3.0/120", "1.2.4.77", false },
		{ "::ffff:1.2.3.4", "::ffff:1.2.3.4", true }, { "::ffff:0:0/96", "9.9.9.9", true }, { "::ffff:0:0/96", "::1", false },
		{ "1.2.3.0/24", "::ffff:1.2.3.4", true },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		ck_assert_msg(rule_allows(SCONCE_ACL_CIDR_ALLOW, cases[i].rule, cases[i].peer, NULL) == cases[i].allowed, "%s %s",
		    cases[i].rule, cases[i].peer);
		ck_assert(!rule_allows(SCONCE_ACL_CIDR_DENY, cases[i].rule, cases[i].peer, NULL));
		ck_assert_int_eq(verdict.rule != NULL, cases[i].allowed);
	}
}
END_TEST

/* ---- what is refused ---- */

static void
ck_refused(enum sconce_acl_kind kind, const char *rule, const char *text)
{
	struct sconce_fail fail = { .errnum = 0 };

	ck_assert_msg(sconce_acl_add(acl, kind, rule, &fail) == -EINVAL, "taken: %s", rule);
	ck_assert_int_eq(sconce_acl_add(acl, kind, rule, NULL), -EINVAL);
	ck_assert_int_eq(fail.errnum, EINVAL);
	ck_assert_str_eq(fail.operation, "parse");
	if (text != NULL)
		ck_assert_str_eq(fail.text, text);
}

/* A malformed network is refused when it is configured, not when somebody connects; AC-12, NS-57. */
START_TEST(test_add_malformed_network_is_einval)
{
	static const char *const wrong[] = {
		"", "x", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4/", "1.2.3.4/", "1.2.3.4/x", "1.2.3.4/33", "1.2.3.4/99", "1.2.3.4/-1",
		"1.2.3.4/+1", "1.2.3.4/ 8", "1.2.3.4/8 ", " 1.2.3.4", "1.2.3.4/255.0.0.0", "1.2.3.4/0008", "1.2.3.4/8/8",
		"/8", "*", "0/0", "::/129",
		"[::1]", "::1%lo", "fe80::1%lo/64", ":::", "1::2::3", "2001:db8::/", "::ffff:1.2.3.0/24", "::ffff:1.2.3.0/95", "localhost",
		"1.2.3.4-1.2.3.9",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:/12",
	};

	for (size_t i = 0; i < COUNT(wrong); i++) {
		ck_refused(SCONCE_ACL_CIDR_ALLOW, wrong[i], NULL);
		ck_refused(SCONCE_ACL_CIDR_DENY, wrong[i], NULL);
	}
	ck_refused(SCONCE_ACL_CIDR_ALLOW, "1.2.3.4/99", "cidr_allow 1.2.3.4/99: wrong number of bits; of IPv4 it is /0 to /32");
	ck_refused(SCONCE_ACL_CIDR_DENY, "::1/x", "cidr_deny ::1/x: wrong number of bits; of IPv6 it is /0 to /128");
	ck_refused(SCONCE_ACL_CIDR_DENY, "::ffff:1.2.3.0/24",
	    "cidr_deny ::ffff:1.2.3.0/24: wrong number of bits; behind ::ffff: it is /96 to /128");
	ck_refused(SCONCE_ACL_CIDR_ALLOW, "x/1",
	    "cidr_allow x/1: no network; write 10.0.0.0/8, 2001:db8::/32 or a single address");
	ck_assert(allows("1.2.3.4", NULL));	/* what was refused is no rule */
}
END_TEST

/* A wrong expression is refused with what is wrong; so are an empty and an endless one. */
START_TEST(test_add_wrong_expression_is_einval)
{
	char text[1100];
	struct sconce_fail fail;

	ck_refused(SCONCE_ACL_DENY, "", "deny : there is nothing");
	ck_refused(SCONCE_ACL_ALLOW, "(", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "a)", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "[a", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "*.example.com", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "(*a", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "a|+", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "a\\", NULL);
	ck_refused(SCONCE_ACL_ALLOW, "a{3,2}", NULL);
	memset(text, '1', sizeof(text));
	text[1025] = '\0';
	ck_assert_int_eq(sconce_acl_add(acl, SCONCE_ACL_DENY, text, &fail), -EINVAL);
	ck_assert_str_eq(fail.text, "deny 111111111111111111111111111111111111111111111111...: longer than 1024 bytes");
	text[1024] = '\0';
	add(SCONCE_ACL_DENY, text);
	ck_assert(!allows("1.2.3.4", NULL));
	ck_assert_ptr_null(verdict.rule);
}
END_TEST

#if HAVE_PCRE2

/* Expressions are Perl's. */
START_TEST(test_check_perl_expressions_are_known)
{
	struct sconce_fail fail;

	ck_assert(rule_allows(SCONCE_ACL_ALLOW, "\\d+\\.(?:2|5)\\.\\d{1,3}?\\.\\d", "1.2.3.4", NULL));
	ck_assert(!rule_allows(SCONCE_ACL_ALLOW, "\\d+\\.(?:2|5)\\.\\d{1,3}?\\.\\d", "1.2.3.44", NULL));
	ck_assert(rule_allows(SCONCE_ACL_ALLOW, "(?!10\\.).*", "1.2.3.4", NULL));
	ck_assert(!rule_allows(SCONCE_ACL_ALLOW, "(?!10\\.).*", "10.2.3.4", NULL));
	ck_assert(rule_allows(SCONCE_ACL_ALLOW, "(\\d)\\.\\1\\.\\1\\.\\1", "1.1.1.1", NULL));
	ck_assert(!rule_allows(SCONCE_ACL_ALLOW, "(?x) 1.2.3 # \n", "1.2.3.4", NULL));
	ck_assert_int_eq(sconce_acl_add(acl, SCONCE_ACL_ALLOW, "1.2.(3", &fail), -EINVAL);
	ck_assert_str_eq(fail.text, "allow 1.2.(3: missing closing parenthesis (at byte 7)");
}
END_TEST

/* A rule that would take for ever denies where it denies, and does not match where it allows. */
START_TEST(test_check_endless_expression_is_a_denial)
{
	static const char *const endless[] = { "((a+)+)+(?<!a)", "(a|aa)+(?<!a)", "(a*)*(?<!a)", "((a?){30})*(?<!a)" };
	char host[201];
	double from;

	memset(host, 'a', 200);
	host[200] = '\0';
	from = t_seconds();
	for (size_t i = 0; i < COUNT(endless); i++) {
		char why[160];

		ck_assert(!rule_allows(SCONCE_ACL_ALLOW, endless[i], "1.2.3.4", host));
		ck_assert_str_eq(verdict.why, "denied: no rule allows it");
		teardown();
		setup();
		add(SCONCE_ACL_CIDR_ALLOW, "0.0.0.0/0");
		add(SCONCE_ACL_DENY, endless[i]);
		ck_assert(!allows("1.2.3.4", host));
		snprintf(why, sizeof(why), "denied by deny %s, which takes too long", endless[i]);
		ck_assert_str_eq(verdict.why, why);
		ck_assert(allows("1.2.3.4", "b"));	/* and others are not concerned */
	}
	add(SCONCE_ACL_CIDR_ALLOW, "::/0");	/* of the address that is so as well, whatever the name */
	ck_assert(allows("2001:db8:1111:2222:3333:4444:5555:6666", "b"));
	add(SCONCE_ACL_DENY, "(([0-9a-f:]+)+)+(?<!6)");
	ck_assert(!allows("2001:db8:1111:2222:3333:4444:5555:6666", "z"));
	ck_assert(allows("::6", "z"));
	ck_assert_double_lt(t_seconds() - from, 5);
}
END_TEST

/* A name that is no UTF-8, where the rule says it is, is not let past a denial. */
START_TEST(test_check_expression_that_fails_is_a_denial)
{
	add(SCONCE_ACL_ALLOW, ".*");
	add(SCONCE_ACL_DENY, "(*UTF)x");
	ck_assert(allows("1.2.3.4", "y"));
	ck_assert(!allows("1.2.3.4", "\xff\xfe"));
}
END_TEST

#else

/* What is Perl's, and would mean something else or nothing to the C library, is refused. */
START_TEST(test_add_perl_expression_without_pcre2_is_einval)
{
	static const char *const perl[] = {
		"\\d+", "\\D", "\\w", "\\.\\s", "\\b1", "(1)\\1", "\\Q.\\E", "\\x31", "\\<1", "\\>1", "\\`1", "\\'1",
		"(?:1|2)", "(?i)1", "(?=1)", "(*UTF)1", "1.*?", "1+?", "1??", "1{1,3}?", "1*+", "1++", "1?+", "1**", "1{2}{3}",
		"[\\d.]+", "[^\\w]", "[]\\d]", "[[:digit:]\\.]", "{", "1{", "1{,3}", "1{x}", "1{2,3",
	};

	for (size_t i = 0; i < COUNT(perl); i++)
		ck_refused(SCONCE_ACL_ALLOW, perl[i], NULL);
	ck_refused(SCONCE_ACL_ALLOW, "\\d", "allow \\d: \\d: that is Perl's, and this library was built without PCRE2; "
	    "write [0-9] for \\d, [A-Za-z0-9_] for \\w");
	ck_refused(SCONCE_ACL_DENY, "(?:1)",
	    "deny (?:1): (?: that is Perl's, and this library was built without PCRE2; write (...) for (?:...)");
}
END_TEST

/* What both understand alike is taken. */
START_TEST(test_add_posix_expression_is_taken)
{
	static const struct { const char *rule, *peer; } right[] = {
		{ "[0-9]+\\.(2|5)\\.[0-9]{1,3}\\.[0-9]", "1.2.3.4" }, { "[[:digit:].]{7}", "1.2.3.4" }, { "[^]a-z]+", "1.2.3.4" },
		{ "(1|x)[.]2[.]3[.](4)?", "1.2.3.4" }, { "[]:[:digit:]]+", "::1" }, { "\\:\\:1", "::1" }, { "[1.]{7,}", "1.1.1.1" },
	};

	for (size_t i = 0; i < COUNT(right); i++)
		ck_assert_msg(rule_allows(SCONCE_ACL_ALLOW, right[i].rule, right[i].peer, NULL), "%s", right[i].rule);
}
END_TEST

/* Repeats of repeats, which the C library writes out, are refused before they eat the memory. */
START_TEST(test_add_too_many_repeats_is_einval)
{
	ck_refused(SCONCE_ACL_DENY, "((((1{1,99}){1,99}){1,99}){1,99}){1,99}", NULL);
	ck_refused(SCONCE_ACL_DENY, "1{99999999999999999999}", NULL);
	ck_refused(SCONCE_ACL_DENY, "((1{30000,}){0,0}){30000,1}", NULL);
	add(SCONCE_ACL_DENY, "(1{1,3}\\.){3}1{1,3}");
	ck_assert(!allows("1.11.111.1", NULL));
	ck_assert_ptr_nonnull(verdict.rule);
}
END_TEST

#endif

/* ---- life, memory ---- */

/* The last reference frees the set, whichever it is. */
START_TEST(test_unref_last_frees)
{
	struct sconce_acl *other = sconce_acl_ref(acl);

	ck_assert_ptr_eq(other, acl);
	add(SCONCE_ACL_DENY, "1.*");
	add(SCONCE_ACL_CIDR_DENY, "2.0.0.0/8");
	sconce_acl_unref(other);
	ck_assert(!allows("1.2.3.4", NULL));
	sconce_acl_unref(NULL);
	ck_assert_ptr_null(sconce_acl_ref(NULL));
}
END_TEST

/* A rule without memory is refused, and what there was stays; HZ-22. */
START_TEST(test_add_no_memory_is_enomem)
{
	static const struct { enum sconce_acl_kind kind; const char *rule; } rules[] = {
		{ SCONCE_ACL_ALLOW, "2\\.(3|4).*" }, { SCONCE_ACL_CIDR_ALLOW, "2.0.0.0/8" },
	};
	struct sconce_acl *made;

	for (size_t i = 0; i < COUNT(rules) && STARVE_WORKS; i++) {
		struct sconce_fail fail;
		int r = -ENOMEM, n;

		add(SCONCE_ACL_ALLOW, "1.*");
		for (n = 1; r < 0; n++) {
			starve_left = n;
			r = sconce_acl_add(acl, rules[i].kind, rules[i].rule, &fail);
			starve_left = 0;
			ck_assert_msg(r == 0 || r == -ENOMEM, "allocation %d: %d", n, r);
			if (r < 0)
				ck_assert_int_eq(fail.errnum, ENOMEM);
			ck_assert_int_eq(allows("2.3.0.0", NULL), r == 0);
			ck_assert(allows("1.2.3.4", NULL));
			ck_assert_int_lt(n, 500);
		}
		ck_assert_int_gt(n, 2);
		teardown();
		setup();
	}
	if (!STARVE_WORKS)
		return;
	starve_left = 1;
	ck_assert_int_eq(sconce_acl_new(&made), -ENOMEM);
	starve_left = 0;
}
END_TEST

/* Without memory to try it a rule that denies does, and one that allows does not; HZ-22. */
START_TEST(test_check_no_memory_is_no_admission)
{
	int starved = 0;

	if (!STARVE_WORKS)
		return;
	for (int kind = SCONCE_ACL_DENY; kind <= SCONCE_ACL_ALLOW; kind += SCONCE_ACL_ALLOW - SCONCE_ACL_DENY) {
		for (int n = 1; n < 50; n++) {
			struct sconce_addr peer = address(kind == SCONCE_ACL_DENY ? "9.2.3.4" : "1.2.3.2");
			bool allowed;

			teardown();
			setup();
			add(SCONCE_ACL_CIDR_ALLOW, "9.0.0.0/8");
			add((enum sconce_acl_kind)kind, "1.*2");
			starve_failed = 0;
			starve_left = n;
			allowed = sconce_acl_check(acl, &peer, NULL, NULL);
			starve_left = 0;
			ck_assert_int_eq(allowed, starve_failed == 0);
			starved += starve_failed > 0;
		}
	}
	ck_assert_int_gt(starved, 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("acl");
	TCase *rules = t_case(suite, "rules");

	tcase_add_checked_fixture(rules, setup, teardown);
	tcase_add_test(rules, test_check_vectors_have_the_known_verdict);
	tcase_add_test(rules, test_check_order_is_deny_cidr_deny_allow_cidr_allow);
	tcase_add_test(rules, test_check_unix_peer_is_allowed);
	tcase_add_test(rules, test_check_double_without_name_is_denied);
	tcase_add_test(rules, test_check_expression_is_anchored);
	tcase_add_test(rules, test_check_name_is_matched_like_the_address);
	tcase_add_test(rules, test_check_scope_is_cut_off);
	tcase_add_test(rules, test_check_verdict_is_one_line);
	tcase_add_test(rules, test_check_network_has_its_addresses);
	tcase_add_test(rules, test_add_malformed_network_is_einval);
	tcase_add_test(rules, test_add_wrong_expression_is_einval);
#if HAVE_PCRE2
	tcase_add_test(rules, test_check_perl_expressions_are_known);
	tcase_add_test(rules, test_check_endless_expression_is_a_denial);
	tcase_add_test(rules, test_check_expression_that_fails_is_a_denial);
#else
	tcase_add_test(rules, test_add_perl_expression_without_pcre2_is_einval);
	tcase_add_test(rules, test_add_posix_expression_is_taken);
	tcase_add_test(rules, test_add_too_many_repeats_is_einval);
#endif
	tcase_add_test(rules, test_unref_last_frees);
	tcase_add_test(rules, test_add_no_memory_is_enomem);
	tcase_add_test(rules, test_check_no_memory_is_no_admission);
	return suite;
}

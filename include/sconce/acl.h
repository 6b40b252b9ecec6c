/* Who may connect: rules by address, by network and by host name, in the order and with the verdicts of Net::Server
 * (NS-56..59).
 *
 *	no rules at all: allowed.  Otherwise, the first that matches: deny, cidr_deny, allow, cidr_allow; else denied.
 *	Peers of unix sockets are always allowed.
 *
 * `allow` and `deny` are regular expressions that must match the whole of the address, as sconce_addr_host() writes it
 * but without a scope ("fe80::1", not "fe80::1%eth0"), or the whole of the peer's name, where it is known; in either
 * case, and without the name's final dot.  They are Perl's with PCRE2, otherwise POSIX's extended ones, where \d and the
 * like, which POSIX does not know, are refused.  A rule that takes too long to be tried, or for which there is no
 * memory, denies where it is a `deny` and does not match where it is an `allow`.
 *
 * An address ::ffff:1.2.3.4 is 1.2.3.4 before any rule sees it: an expression written for ::ffff:1.2.3.4 never matches,
 * a network ::ffff:1.2.3.0/120 is 1.2.3.0/24.  Other networks of IPv6, ::/0 too, have no address of IPv4.
 *
 * A set is changed in one thread at a time; sconce_acl_check(), _ref() and _unref() may run in several. */
#ifndef SCONCE_ACL_H
#define SCONCE_ACL_H

#include <stdbool.h>
#include <sconce/endpoint.h>

SCONCE_BEGIN_DECLS

enum sconce_acl_kind {
	SCONCE_ACL_DENY,		/* in the order they are asked */
	SCONCE_ACL_CIDR_DENY,
	SCONCE_ACL_ALLOW,
	SCONCE_ACL_CIDR_ALLOW,
	SCONCE_ACL_KINDS		/* (how many there are) */
};

/* Whether the peer's name is looked up, and believed. */
enum sconce_acl_lookup {
	SCONCE_ACL_NO_LOOKUP,
	SCONCE_ACL_REVERSE,		/* its name is asked for; rules see it */
	SCONCE_ACL_DOUBLE,		/* and must lead back to the address, else denied */
	SCONCE_ACL_AUTOFAIL		/* as if it never did: for tests of rules (NS-59) */
};

struct sconce_acl;

/* Makes an empty set of rules, without look-ups: everybody is allowed.  Returns 0 or -ENOMEM. */
SCONCE_API int sconce_acl_new(struct sconce_acl **acl_out);
/* A set may be shared by servers; a check under way has a reference of its own.  The last reference frees the set.  NULL
 * is allowed. */
SCONCE_API struct sconce_acl *sconce_acl_ref(struct sconce_acl *acl);
SCONCE_API void sconce_acl_unref(struct sconce_acl *acl);

/* Adds a rule behind those of its kind, for checks that are decided from now on; `rule` is copied, at most 1024 bytes.
 * A network is an address and "/" and bits, or a bare address (all bits); bits of the host part do not matter
 * (1.2.3.4/16 is 1.2.0.0/16).
 * Returns 0; -EINVAL with what is wrong (NS-57), or -ENOMEM, in *fail_out (may be NULL), operation "parse". */
SCONCE_API int sconce_acl_add(struct sconce_acl *acl, enum sconce_acl_kind kind, const char *rule,
	struct sconce_fail *fail_out);

/* For checks that begin, or have their next look-up, from now on. */
SCONCE_API void sconce_acl_set_lookup(struct sconce_acl *acl, enum sconce_acl_lookup lookup);
SCONCE_API enum sconce_acl_lookup sconce_acl_lookup(const struct sconce_acl *acl);

/* What was decided. */
struct sconce_acl_verdict {
	bool allowed;
	const char *rule;		/* the rule that decided, as it was given, the set's; NULL: none did */
	/* One line: "allowed by cidr_allow 10.0.0.0/8", "denied: no rule allows it", "denied: it has no name" ... */
	char why[160];
	char host[256];			/* the peer's name; "": none, not asked for, or (DOUBLE) not believed */
};

/* Decides at once, with the name that is given, of which nothing is looked up: rules see it, and SCONCE_ACL_DOUBLE
 * believes it.  NULL, "", or one of more than 255 bytes: none.  verdict_out may be NULL.
 * Returns verdict_out->allowed. */
SCONCE_API bool sconce_acl_check(const struct sconce_acl *acl, const struct sconce_addr *peer, const char *host,
	struct sconce_acl_verdict *verdict_out);

/* The end of a check that needs look-ups, from the loop.  `verdict` is valid during the call. */
typedef void sconce_acl_fn(struct sconce_loop *loop, void *arg, const struct sconce_acl_verdict *verdict);
struct sconce_acl_check;

/* Decides, asking for the peer's name first where the set says so; the loop is never blocked.  With SCONCE_ACL_REVERSE
 * what fails, or takes longer than `timeout` seconds (0: 5, for all look-ups together), counts as no name: do not deny
 * by name alone.  With SCONCE_ACL_DOUBLE it denies.  Who is denied by the address alone is denied without a look-up.
 * `acl` gets a reference until the end; `peer` is copied.
 * Returns 1 when nothing had to be looked up: *verdict_out is set, `done` will not be called.  0, with *check_out (may
 * be NULL), valid until `done` is called: `done` comes once, from the loop, unless sconce_acl_cancel() comes first; when
 * the loop is freed before, with a denial.  -ENOMEM or -EAGAIN (no thread, or the loop is being freed): nobody has
 * decided. */
SCONCE_API int sconce_acl_start(struct sconce_acl *acl, struct sconce_loop *loop, const struct sconce_addr *peer,
	double timeout, sconce_acl_fn *done, void *arg, struct sconce_acl_check **check_out,
	struct sconce_acl_verdict *verdict_out);
/* `done` will not be called.  Not from `done` itself.  NULL is allowed. */
SCONCE_API void sconce_acl_cancel(struct sconce_acl_check *check);

SCONCE_END_DECLS

#endif

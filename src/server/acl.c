/* Access rules: what they are and what they decide.  Called by servers, and by acl_check.c when names have been looked up. */
#include "acl_private.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULE_MAX = 1024 };		/* bytes of a rule's text */

struct net {
	int family;
	unsigned bits;			/* of `addr` that count */
	unsigned char addr[16];
};

struct rule {
	struct rule *next;
	struct acl_regex *regex;	/* or NULL: */
	struct net net;
	char text[];
};

struct sconce_acl {
	atomic_uint refs;
	enum sconce_acl_lookup lookup;
	struct rule *rules[SCONCE_ACL_KINDS], **tail[SCONCE_ACL_KINDS];
};

/* Whom rules are asked about. */
struct subject {
	struct sconce_addr addr;	/* unmapped */
	char text[SCONCE_ADDR_TEXT];	/* of the address, without its scope */
	const char *host;		/* without a final dot; "": none */
};

static const char *const kind_names[SCONCE_ACL_KINDS] = { "deny", "cidr_deny", "allow", "cidr_allow" };

/* ---- a set's life ---- */

int
sconce_acl_new(struct sconce_acl **acl_out)
{
	struct sconce_acl *acl = calloc(1, sizeof(*acl));

	if (acl == NULL)
		return -ENOMEM;
	atomic_init(&acl->refs, 1);
	for (int kind = 0; kind < SCONCE_ACL_KINDS; kind++)
		acl->tail[kind] = &acl->rules[kind];
	*acl_out = acl;
	return 0;
}

struct sconce_acl *
sconce_acl_ref(struct sconce_acl *acl)
{
	if (acl != NULL)
		atomic_fetch_add(&acl->refs, 1);
	return acl;
}

static void
rule_free(struct rule *rule)
{
	sconce__acl_regex_free(rule->regex);
	free(rule);
}

void
sconce_acl_unref(struct sconce_acl *acl)
{
	struct rule *rule;

	if (acl == NULL || atomic_fetch_sub(&acl->refs, 1) > 1)
		return;
	for (int kind = 0; kind < SCONCE_ACL_KINDS; kind++) {
		while ((rule = acl->rules[kind]) != NULL) {
			acl->rules[kind] = rule->next;
			rule_free(rule);
		}
	}
	free(acl);
}

void
sconce_acl_set_lookup(struct sconce_acl *acl, enum sconce_acl_lookup lookup)
{
	acl->lookup = lookup;
}

enum sconce_acl_lookup
sconce_acl_lookup(const struct sconce_acl *acl)
{
	return acl->lookup;
}

/* ---- rules ---- */

/* One line stays one line. */
static void
text_clean(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static int
failed(struct sconce_fail *fail, int errnum, enum sconce_acl_kind kind, const char *rule, const char *why)
{
	if (fail == NULL)
		return -errnum;
	*fail = (struct sconce_fail){ .operation = "parse", .errnum = errnum };
	snprintf(fail->text, sizeof(fail->text), "%s %.48s%s: %s", kind_names[kind], rule, strlen(rule) > 48 ? "..." : "", why);
	text_clean(fail->text);
	return -errnum;
}

/* "24" of at most `max`, or -1. */
static int
bits_parse(const char *text, int max)
{
	size_t len = strlen(text);
	int bits;

	if (len == 0 || len > 3 || strspn(text, "0123456789") != len)
		return -1;
	bits = atoi(text);
	return bits <= max ? bits : -1;
}

static bool
is_mapped(const struct net *net)
{
	struct in6_addr a;

	memcpy(&a, net->addr, sizeof(a));
	return net->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a);
}

/* ::ffff:1.2.3.0/120 is 1.2.3.0/24. */
static void
net_unmap(struct net *net)
{
	net->family = AF_INET;
	net->bits -= 96;
	memcpy(net->addr, net->addr + 12, 4);
}

/* Gives NULL, or what is wrong. */
static const char *
net_parse(const char *text, struct net *net)
{
	size_t len = strcspn(text, "/");
	char addr[INET6_ADDRSTRLEN];
	int bits;

	*net = (struct net){ .family = memchr(text, ':', len) != NULL ? AF_INET6 : AF_INET };
	memcpy(addr, text, len < sizeof(addr) ? len : 0);
	addr[len < sizeof(addr) ? len : 0] = '\0';
	if (inet_pton(net->family, addr, net->addr) != 1)
		return "no network; write 10.0.0.0/8, 2001:db8::/32 or a single address";
	bits = net->family == AF_INET ? 32 : 128;
	if (text[len] == '/')
		bits = bits_parse(text + len + 1, bits);
	if (bits < 0)
		return net->family == AF_INET ? "wrong number of bits; of IPv4 it is /0 to /32" :
		    "wrong number of bits; of IPv6 it is /0 to /128";
	if (is_mapped(net) && bits < 96)
		return "wrong number of bits; behind ::ffff: it is /96 to /128";
	net->bits = (unsigned)bits;
	if (is_mapped(net))
		net_unmap(net);
	return NULL;
}

static int
rule_parse(struct rule *rule, enum sconce_acl_kind kind, char *why, size_t size)
{
	const char *wrong;

	if (kind == SCONCE_ACL_DENY || kind == SCONCE_ACL_ALLOW)
		return sconce__acl_regex_new(rule->text, &rule->regex, why, size);
	wrong = net_parse(rule->text, &rule->net);
	if (wrong == NULL)
		return 0;
	snprintf(why, size, "%s", wrong);
	return -EINVAL;
}

int
sconce_acl_add(struct sconce_acl *acl, enum sconce_acl_kind kind, const char *text, struct sconce_fail *fail_out)
{
	size_t len = strlen(text);
	struct rule *rule;
	char why[160];
	int r;

	assert((unsigned)kind < SCONCE_ACL_KINDS);
	if (len == 0 || len > RULE_MAX)
		return failed(fail_out, EINVAL, kind, text, len == 0 ? "there is nothing" : "longer than 1024 bytes");
	rule = calloc(1, sizeof(*rule) + len + 1);
	if (rule == NULL)
		return failed(fail_out, ENOMEM, kind, text, "no memory");
	memcpy(rule->text, text, len + 1);
	r = rule_parse(rule, kind, why, sizeof(why));
	if (r < 0) {
		rule_free(rule);
		return failed(fail_out, -r, kind, text, r == -ENOMEM ? "no memory" : why);
	}
	*acl->tail[kind] = rule;
	acl->tail[kind] = &rule->next;
	return 0;
}

static bool
has_rules(const struct sconce_acl *acl)
{
	for (int kind = 0; kind < SCONCE_ACL_KINDS; kind++)
		if (acl->rules[kind] != NULL)
			return true;
	return false;
}

/* ---- matching ---- */

static enum acl_match
regex_match(const struct acl_regex *regex, const struct subject *who)
{
	enum acl_match match = sconce__acl_regex_match(regex, who->text), by_host;

	if (match == ACL_YES || who->host[0] == '\0')
		return match;
	by_host = sconce__acl_regex_match(regex, who->host);
	return by_host != ACL_NO ? by_host : match;
}

static enum acl_match
net_match(const struct net *net, const struct subject *who)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;
	unsigned char addr[16];

	if (net->family != who->addr.any.sa_family)
		return ACL_NO;
	if (net->family == AF_INET)
		memcpy(addr, &who->addr.in.sin_addr, 4);
	else
		memcpy(addr, &who->addr.in6.sin6_addr, 16);
	if (memcmp(addr, net->addr, whole) != 0)
		return ACL_NO;
	return rest == 0 || (addr[whole] ^ net->addr[whole]) >> (8 - rest) == 0 ? ACL_YES : ACL_NO;
}

/* The first rule of a kind that matches, or NULL.  What cannot be found out counts as a match where it denies. */
static const struct rule *
find(const struct sconce_acl *acl, enum sconce_acl_kind kind, const struct subject *who, enum acl_match *match_out)
{
	bool denies = kind == SCONCE_ACL_DENY || kind == SCONCE_ACL_CIDR_DENY;

	for (const struct rule *rule = acl->rules[kind]; rule != NULL; rule = rule->next) {
		*match_out = rule->regex != NULL ? regex_match(rule->regex, who) : net_match(&rule->net, who);
		if (*match_out == ACL_YES || (denies && *match_out == ACL_UNKNOWN))
			return rule;
	}
	return NULL;
}

/* ---- verdicts ---- */

void
sconce__acl_deny(struct sconce_acl_verdict *v, const char *format, ...)
{
	size_t at;
	va_list ap;

	memset(v, 0, sizeof(*v));
	at = (size_t)snprintf(v->why, sizeof(v->why), "denied: ");
	va_start(ap, format);
	vsnprintf(v->why + at, sizeof(v->why) - at, format, ap);
	va_end(ap);
	text_clean(v->why);
}

static void
allow(struct sconce_acl_verdict *v, const char *why)
{
	memset(v, 0, sizeof(*v));
	v->allowed = true;
	snprintf(v->why, sizeof(v->why), "allowed: %s", why);
}

/* Whether a rule of this kind decides. */
static bool
decided(const struct sconce_acl *acl, enum sconce_acl_kind kind, const struct subject *who, struct sconce_acl_verdict *v)
{
	enum acl_match match;
	const struct rule *rule = find(acl, kind, who, &match);

	if (rule == NULL)
		return false;
	memset(v, 0, sizeof(*v));
	v->allowed = kind == SCONCE_ACL_ALLOW || kind == SCONCE_ACL_CIDR_ALLOW;
	v->rule = rule->text;
	snprintf(v->why, sizeof(v->why), "%s by %s %.100s%s", v->allowed ? "allowed" : "denied", kind_names[kind], rule->text,
	    match == ACL_UNKNOWN ? ", which takes too long" : "");
	text_clean(v->why);
	return true;
}

/* Fills in whom rules are asked about.  False: it has no address that they know.  `host` is kept by reference. */
static bool
subject_set(struct subject *who, const struct sconce_addr *peer, const char *host)
{
	*who = (struct subject){ .addr = *peer, .host = host };
	sconce_addr_unmap(&who->addr);
	sconce_addr_host(&who->addr, who->text, sizeof(who->text));
	who->text[strcspn(who->text, "%")] = '\0';
	return who->addr.len >= sizeof(who->addr.in) &&
	    (who->addr.any.sa_family == AF_INET ||
	    (who->addr.any.sa_family == AF_INET6 && who->addr.len >= sizeof(who->addr.in6)));
}

bool
sconce__acl_denies(const struct sconce_acl *acl, const struct sconce_addr *peer, struct sconce_acl_verdict *v)
{
	struct subject who;

	return subject_set(&who, peer, "") &&
	    (decided(acl, SCONCE_ACL_DENY, &who, v) || decided(acl, SCONCE_ACL_CIDR_DENY, &who, v));
}

static void
decide(const struct sconce_acl *acl, const struct sconce_addr *peer, const char *host, struct sconce_acl_verdict *v)
{
	struct subject who;
	bool known = subject_set(&who, peer, host);

	if (peer->len >= sizeof(sa_family_t) && peer->any.sa_family == AF_UNIX) {
		allow(v, "it is at a unix socket");
		return;
	}
	if (acl->lookup == SCONCE_ACL_AUTOFAIL) {
		sconce__acl_deny(v, "no name leads back (autofail)");
		return;
	}
	if (acl->lookup == SCONCE_ACL_DOUBLE && host[0] == '\0') {
		sconce__acl_deny(v, "it has no name");
		return;
	}
	if (!has_rules(acl)) {
		allow(v, "there are no rules");
		return;
	}
	if (!known) {
		sconce__acl_deny(v, "its address is of no kind that rules know");
		return;
	}
	for (int kind = 0; kind < SCONCE_ACL_KINDS; kind++)
		if (decided(acl, (enum sconce_acl_kind)kind, &who, v))
			return;
	sconce__acl_deny(v, "no rule allows it");
}

bool
sconce_acl_check(const struct sconce_acl *acl, const struct sconce_addr *peer, const char *host,
	struct sconce_acl_verdict *verdict_out)
{
	struct sconce_acl_verdict v;
	char name[sizeof(v.host)] = "";
	size_t len = host != NULL ? strlen(host) : 0;

	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len < sizeof(name) && len > 0)
		memcpy(name, host, len);	/* the rest are zeros; half a name would be another */
	decide(acl, peer, name, &v);
	text_clean(name);
	memcpy(v.host, name, sizeof(name));
	if (verdict_out != NULL)
		*verdict_out = v;
	return v.allowed;
}

/* The names of addresses: who is asked, and what is a name.  Called by resolve.c, where such look-ups are made, joined and
 * told as all others are, by resolve_cares.c and by applications.
 *
 * Whoever has an address decides what name it gets, and people compare such names with rules and write them to logs.  So
 * nothing passes that is no host name, nor what reads as an address. */
#include "resolve.h"

#include <arpa/inet.h>
#include <netdb.h>

enum { NAME_MAX_LEN = 253, LABEL_MAX_LEN = 63 };	/* RFC 1035, 2.3.4, as text */

int
sconce_addr_resolver_default(void *arg, const struct sconce_addr *addr, char *name_out, size_t size)
{
	(void)arg;
	return getnameinfo(&addr->any, addr->len, name_out, (socklen_t)size, NULL, 0, NI_NAMEREQD);
}

void
sconce_set_addr_resolver(struct sconce_loop *l, sconce_addr_resolver_fn *fn, void *arg)
{
	l->addr_resolver = fn;
	l->addr_resolver_arg = arg;
}

/* Letters, digits, '-', and '_', which hosts have though they should not; of 7 bits, whatever the locale. */
static bool
is_label(const char *label, size_t len)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return len > 0 && len <= LABEL_MAX_LEN && strspn(label, chars) >= len;
}

/* Whether the last label is a number, in one of inet_aton(3)'s ways: no top-level domain is, but every IPv4 address. */
static bool
ends_in_number(const char *label, size_t len)
{
	size_t digits = strspn(label, "0123456789");

	if (len > 1 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
		digits = 2 + strspn(label + 2, "0123456789abcdefABCDEF");
	return digits >= len;
}

/* The length of a host's name without its final dot; 0: it is none. */
static size_t
host_name(const char *name)
{
	size_t all = strlen(name), len;
	const char *label = name;

	if (all > 0 && name[all - 1] == '.')
		all--;
	if (all == 0 || all > NAME_MAX_LEN)
		return 0;
	for (;; label += len + 1) {
		len = strcspn(label, ".");
		if (!is_label(label, len))
			return 0;
		if (label + len == name + all)
			return ends_in_number(label, len) ? 0 : all;
	}
}

int
sconce__name_take(struct sconce__lookup *u, const char *name)
{
	size_t len = name != NULL ? host_name(name) : 0;

	if (len == 0)
		return EAI_NONAME;
	memmove(u->name, name, len);
	u->name[len] = '\0';
	return 1;
}

void
sconce__name_work(struct sconce__lookup *u)
{
	sconce_addr_resolver_fn *fn = u->addr_fn != NULL ? u->addr_fn : sconce_addr_resolver_default;
	int r = fn(u->arg, &u->q.addr, u->name, sizeof(u->name));

	u->name[sizeof(u->name) - 1] = '\0';
	u->count = r == 0 ? sconce__name_take(u, u->name) : r < 0 ? r : EAI_FAIL;
}

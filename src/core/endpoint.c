/* The one endpoint parser: text -> address and options.  Called by listen.c, connect.c and sconce_addr_parse().
 *
 *	endpoint = [scheme "://"] place ["?" option *("&" option)]
 *
 * The scheme decides which place is meant: inet (host ":" port) or unix (a path or "@" name); without one
 * the place's first character does.  A scheme is a row of `schemes`, an option a row of `options`; names and
 * services will go where host() and port() refuse them now. */
#include "core.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum { ROLE_LISTEN = 1, ROLE_CONNECT = 2 };
enum { TEXT_MAX = 1024, QUOTE_MAX = 40 };

struct slice {
	const char *p;
	size_t len;
};
/* For printf's "%.*s": a piece of the text, cut where the line would become too long. */
#define QUOTE(s) (int)((s).len < QUOTE_MAX ? (s).len : QUOTE_MAX), (s).p

struct parse {
	const char *text;		/* the whole */
	unsigned roles;			/* what it may be for */
	struct endpoint *ep;
	struct slice bind;		/* the options bind= and bindport=, whose family comes later */
	int bind_port;
	struct sconce_fail *fail;	/* or NULL */
};

/* Gives -EINVAL, and one line that says why. */
static int SCONCE_PRINTF(2, 3)
refuse(const struct parse *p, const char *format, ...)
{
	char why[100];
	struct slice text = { p->text, strlen(p->text) };
	va_list args;

	if (p->fail == NULL)
		return -EINVAL;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	*p->fail = (struct sconce_fail){ .operation = "parse", .errnum = EINVAL };
	snprintf(p->fail->text, sizeof(p->fail->text), "endpoint '%.*s%s': %s", QUOTE(text),
		text.len > QUOTE_MAX ? "..." : "", why);
	sconce__text_clean(p->fail->text);
	return -EINVAL;
}

/* ---- small things ---- */

/* Cuts `s` at the first `c`: what is before it stays, what is behind it is returned (p NULL: there is none). */
static struct slice
cut(struct slice *s, char c)
{
	const char *at = s->len > 0 ? memchr(s->p, c, s->len) : NULL;
	struct slice rest = { NULL, 0 };

	if (at != NULL) {
		rest.p = at + 1;
		rest.len = s->len - (size_t)(at + 1 - s->p);
		s->len = (size_t)(at - s->p);
	}
	return rest;
}

static bool
slice_is(struct slice s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static bool
all_of(struct slice s, const char *chars)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '\0' || strchr(chars, s.p[i]) == NULL)
			return false;
	return s.len > 0;
}

/* A number from `min` to `max`, digits only, or -1. */
static int
number(struct slice s, int base, int min, int max)
{
	long long n = 0;

	if (!all_of(s, base == 8 ? "01234567" : "0123456789"))
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		n = n * base + (s.p[i] - '0');
		if (n > max)
			return -1;
	}
	return n < min ? -1 : (int)n;
}

/* ---- inet ---- */

static int
port(const struct parse *p, struct slice s, int *port_out)
{
	int n = number(s, 10, 0, 65535);

	if (n < 0 && all_of(s, "0123456789"))
		return refuse(p, "port '%.*s' is above 65535", QUOTE(s));
	if (n < 0)
		return refuse(p, "'%.*s' is not a port: services are not looked up yet, give a number", QUOTE(s));
	*port_out = n;
	return 0;
}

/* "%eth0" or "%2" behind a link-local address. */
static int
zone(const struct parse *p, struct slice s, uint32_t *scope_out)
{
	char name[IF_NAMESIZE];
	int n = number(s, 10, 1, INT_MAX);

	if (n > 0) {
		*scope_out = (uint32_t)n;
		return 0;
	}
	if (s.len > 0 && s.len < sizeof(name)) {
		memcpy(name, s.p, s.len);
		name[s.len] = '\0';
		*scope_out = if_nametoindex(name);
		if (*scope_out != 0)
			return 0;
	}
	return refuse(p, "no interface '%.*s'", QUOTE(s));
}

static int
host_v6(const struct parse *p, struct slice s, struct sockaddr_in6 *in6)
{
	struct slice whole = s, scope = cut(&s, '%');
	char text[INET6_ADDRSTRLEN];

	in6->sin6_family = AF_INET6;
	if (slice_is(whole, "*"))
		return 0;
	if (s.len < sizeof(text)) {
		memcpy(text, s.p, s.len);
		text[s.len] = '\0';
		if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
			return scope.p != NULL ? zone(p, scope, &in6->sin6_scope_id) : 0;
	}
	return refuse(p, "'%.*s' is not an IPv6 address", QUOTE(whole));
}

static int
host_v4(const struct parse *p, struct slice s, struct sockaddr_in *in)
{
	char text[INET_ADDRSTRLEN];

	in->sin_family = AF_INET;
	if (slice_is(s, "*") || slice_is(s, "0"))
		return 0;
	if (s.len > 0 && s.len < sizeof(text)) {
		memcpy(text, s.p, s.len);
		text[s.len] = '\0';
		if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
			return 0;
	}
	return refuse(p, "'%.*s' is not an IPv4 address", QUOTE(s));
}

/* A numeric host of `family` (0: whichever it is written as) without a port into *a.  `v6`: it stood in brackets. */
static int
host(const struct parse *p, struct slice s, bool v6, int family, struct sconce_addr *a)
{
	int r;

	if (s.len == 0)
		return refuse(p, "no address");
	if (slice_is(s, "*") && p->roles == ROLE_CONNECT)
		return refuse(p, "'*' is every address: give the one to connect to");
	if (v6 && family == AF_INET)
		return refuse(p, "'%.*s' is not an IPv4 address", QUOTE(s));
	if (!v6 && !slice_is(s, "*") && !all_of(s, "0123456789."))
		return refuse(p, "'%.*s': names are not looked up yet, give a numeric address", QUOTE(s));
	memset(a, 0, sizeof(*a));
	if (v6 || family == AF_INET6) {
		r = host_v6(p, s, &a->in6);
		a->len = sizeof(a->in6);
	} else {
		r = host_v4(p, s, &a->in);
		a->len = sizeof(a->in);
	}
	return r;
}

static void
set_port(struct sconce_addr *a, int n)
{
	if (a->any.sa_family == AF_INET6)
		a->in6.sin6_port = htons((uint16_t)n);
	else
		a->in.sin_port = htons((uint16_t)n);
}

/* A port alone: every address, v6 and v4. */
static int
inet_any(const struct parse *p, struct slice s)
{
	struct sconce_addr *a = &p->ep->addr;
	int n, r;

	if (!(p->roles & ROLE_LISTEN))
		return refuse(p, "a port alone: give the address to connect to");
	r = port(p, s, &n);
	if (r < 0)
		return r;
	a->in6.sin6_family = AF_INET6;
	a->len = sizeof(a->in6);
	set_port(a, n);
	p->ep->any = true;
	return 0;
}

/* host ":" port, "[" v6 "]:" port, or, where `bare`, a port. */
static int
inet(const struct parse *p, struct slice s, int family, bool bare)
{
	struct slice h = s, rest;
	bool v6 = s.len > 0 && s.p[0] == '[';
	int n, r;

	if (s.len == 0)
		return refuse(p, "no address");
	if (bare && all_of(s, "0123456789"))
		return inet_any(p, s);
	if (v6) {
		h.p++, h.len--;
		rest = cut(&h, ']');
		if (rest.p == NULL)
			return refuse(p, "'[' without ']'");
		if (rest.len > 0 && rest.p[0] != ':')
			return refuse(p, "'%.*s' after ']' is not a port", QUOTE(rest));
		if (rest.len > 0)
			rest.p++, rest.len--;
	} else {
		rest = cut(&h, ':');
		if (rest.p == NULL && !all_of(h, "0123456789.*"))
			return refuse(p, "'%.*s' is neither address and port nor a path", QUOTE(h));
		if (rest.p != NULL && memchr(rest.p, ':', rest.len) != NULL)
			return refuse(p, "an IPv6 address stands in brackets: [::1]:80");
	}
	if (rest.len == 0)
		return refuse(p, "no port");
	r = host(p, h, v6, family, &p->ep->addr);
	if (r == 0)
		r = port(p, rest, &n);
	if (r < 0)
		return r;
	if (n == 0 && p->roles == ROLE_CONNECT)
		return refuse(p, "port 0 cannot be connected to");
	set_port(&p->ep->addr, n);
	return 0;
}

/* ---- unix ---- */

/* "/path" or "@name"; `url`: "/@name" too. */
static int
unix_place(const struct parse *p, struct slice s, bool url)
{
	struct sconce_addr *a = &p->ep->addr;
	size_t head = offsetof(struct sockaddr_un, sun_path), room = sizeof(a->un.sun_path) - 1;

	if (url && s.len >= 2 && s.p[0] == '/' && s.p[1] == '@')
		s.p++, s.len--;
	if (s.len == 0 || (s.p[0] != '/' && s.p[0] != '@'))
		return refuse(p, "'%.*s' is not a path from the root (unix:///path)", QUOTE(s));
	if (s.len == 1)
		return refuse(p, s.p[0] == '@' ? "no name after '@'" : "'/' is not a socket's path");
	if (s.len > room)
		return refuse(p, "a path of %zu bytes: at most %zu", s.len, room);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, s.p, s.len);
	a->len = (socklen_t)(head + s.len);
	if (s.p[0] == '@')
		a->un.sun_path[0] = '\0';	/* abstract: the length ends it */
	else
		a->len++;			/* a path's NUL counts */
	return 0;
}

/* ---- schemes ---- */

enum place { PLACE_INET, PLACE_UNIX, PLACE_LATER };

static const struct scheme {
	const char *name;
	enum place place;
	int family;			/* of PLACE_INET; 0: either */
} schemes[] = {
	{ "tcp", PLACE_INET, 0 }, { "tcp4", PLACE_INET, AF_INET }, { "tcp6", PLACE_INET, AF_INET6 },
	{ "unix", PLACE_UNIX, 0 },
	{ "udp", PLACE_LATER, 0 }, { "udp4", PLACE_LATER, 0 }, { "udp6", PLACE_LATER, 0 },
	{ "unix_dgram", PLACE_LATER, 0 }, { "fd", PLACE_LATER, 0 },
};

static const struct scheme *
find_scheme(struct slice s)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (slice_is(s, schemes[i].name))
			return &schemes[i];
	return NULL;
}

/* Everything before the options. */
static int
place(const struct parse *p, struct slice s)
{
	struct slice name = s, rest = cut(&name, ':');
	const struct scheme *scheme;

	if (s.len > 0 && (s.p[0] == '/' || s.p[0] == '@'))
		return unix_place(p, s, false);
	if (rest.len < 2 || memcmp(rest.p, "//", 2) != 0)
		return inet(p, s, 0, true);
	rest.p += 2, rest.len -= 2;
	scheme = find_scheme(name);
	if (scheme == NULL)
		return refuse(p, "unknown scheme '%.*s'", QUOTE(name));
	if (scheme->place == PLACE_LATER)
		return refuse(p, "'%s' is not supported yet", scheme->name);
	if (scheme->place == PLACE_UNIX)
		return unix_place(p, rest, true);
	return inet(p, rest, scheme->family, false);
}

/* ---- options ---- */

enum { FOR_TCP = 1, FOR_V6 = 2, FOR_UNIX = 4, FOR_PATH = 8 };

static const struct option {
	const char *name;
	unsigned roles, places;		/* ROLE_..., FOR_...: any of them will do */
	size_t offset;			/* of an int of struct endpoint; NO_OFFSET: bind */
	int base, min, max;
} options[] = {
#define NO_OFFSET SIZE_MAX
#define AT(member) offsetof(struct endpoint, member)
	{ "backlog", ROLE_LISTEN, FOR_TCP | FOR_UNIX, AT(backlog), 10, 1, INT_MAX },
	{ "reuse", ROLE_LISTEN, FOR_TCP, AT(reuse), 10, 0, 1 },
	{ "reuseport", ROLE_LISTEN, FOR_TCP, AT(reuseport), 10, 0, 1 },
	{ "v6only", ROLE_LISTEN, FOR_V6, AT(v6only), 10, 0, 1 },
	{ "deferaccept", ROLE_LISTEN, FOR_TCP, AT(deferaccept), 10, 0, 86400 },
	{ "mode", ROLE_LISTEN, FOR_PATH, AT(mode), 8, 0, 0777 },
	{ "nodelay", ROLE_LISTEN | ROLE_CONNECT, FOR_TCP, AT(nodelay), 10, 0, 1 },
	{ "keepalive", ROLE_LISTEN | ROLE_CONNECT, FOR_TCP, AT(keepalive), 10, 0, 1 },
	{ "rcvbuf", ROLE_LISTEN | ROLE_CONNECT, FOR_TCP | FOR_UNIX, AT(rcvbuf), 10, 1, INT_MAX / 2 },
	{ "sndbuf", ROLE_LISTEN | ROLE_CONNECT, FOR_TCP | FOR_UNIX, AT(sndbuf), 10, 1, INT_MAX / 2 },
	{ "bind", ROLE_CONNECT, FOR_TCP, NO_OFFSET, 0, 0, 0 },
	{ "bindport", ROLE_CONNECT, FOR_TCP, NO_OFFSET, 10, 1, 65535 },
#undef AT
};

static unsigned
place_bits(const struct endpoint *ep)
{
	switch (ep->addr.any.sa_family) {
	case AF_UNIX:
		return FOR_UNIX | (ep->addr.un.sun_path[0] != '\0' ? FOR_PATH : 0);
	case AF_INET6:
		return FOR_TCP | FOR_V6;
	default:
		return FOR_TCP;
	}
}

static const struct option *
find_option(struct slice name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (slice_is(name, options[i].name))
			return &options[i];
	return NULL;
}

static const char *
place_word(unsigned places)
{
	return places & FOR_TCP ? "tcp" : places & FOR_V6 ? "IPv6" : "unix paths";
}

/* One "name=value". */
static int
option(struct parse *p, struct slice s)
{
	struct slice name = s, value = cut(&name, '=');
	const struct option *o = find_option(name);
	int n, *to;

	if (o == NULL)
		return refuse(p, "unknown option '%.*s'", QUOTE(name));
	if (!(o->roles & p->roles))
		return refuse(p, "option '%s' is for %s", o->name,
			o->roles == ROLE_LISTEN ? "listening" : "connecting");
	if (!(o->places & place_bits(p->ep)))
		return refuse(p, "option '%s' is for %s", o->name, place_word(o->places));
	if (value.len == 0)
		return refuse(p, "option '%s' has no value", o->name);
	if (o->offset == NO_OFFSET && o->base == 0) {
		if (p->bind.p != NULL)
			return refuse(p, "option '%s' is given twice", o->name);
		p->bind = value;
		return 0;
	}
	to = o->offset == NO_OFFSET ? &p->bind_port : (int *)(void *)((char *)p->ep + o->offset);
	if (*to != -1)
		return refuse(p, "option '%s' is given twice", o->name);
	n = number(value, o->base, o->min, o->max);
	if (n < 0 && o->base == 8)
		return refuse(p, "option 'mode' takes an octal number up to 777, not '%.*s'", QUOTE(value));
	if (n < 0)
		return refuse(p, "option '%s' takes a number from %d to %d, not '%.*s'", o->name, o->min, o->max,
			QUOTE(value));
	*to = n;
	return 0;
}

/* The options bind= and bindport=, in the family of the address. */
static int
bind_option(const struct parse *p)
{
	struct endpoint *ep = p->ep;
	struct slice s = p->bind;
	bool v6 = ep->addr.any.sa_family == AF_INET6;
	struct parse any = *p;			/* where "*" is welcome */
	int r;

	if (s.p == NULL && p->bind_port < 0)
		return 0;
	if (s.p == NULL)
		s = (struct slice){ "*", 1 };
	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
		s.p++, s.len -= 2;
	any.roles |= ROLE_LISTEN;
	r = host(&any, s, memchr(s.p, ':', s.len) != NULL, ep->addr.any.sa_family, &ep->bind);
	if (r < 0)
		return r;
	if ((ep->bind.any.sa_family == AF_INET6) != v6)
		return refuse(p, "'%.*s' is not an IPv%c address", QUOTE(s), v6 ? '6' : '4');
	set_port(&ep->bind, p->bind_port > 0 ? p->bind_port : 0);
	ep->has_bind = true;
	return 0;
}

void
sconce__endpoint_none(struct endpoint *ep)
{
	memset(ep, 0, sizeof(*ep));
	ep->backlog = ep->nodelay = ep->reuse = ep->reuseport = ep->v6only = ep->deferaccept = -1;
	ep->rcvbuf = ep->sndbuf = ep->keepalive = ep->mode = -1;
}

static int
parse(const char *text, unsigned roles, struct endpoint *out, struct sconce_fail *fail)
{
	struct endpoint ep;
	struct parse p = { .text = text, .roles = roles, .ep = &ep, .bind_port = -1, .fail = fail };
	struct slice s = { text, strlen(text) }, rest, next;
	int r;

	sconce__endpoint_none(&ep);
	if (s.len == 0)
		return refuse(&p, "nothing there");
	if (s.len > TEXT_MAX)
		return refuse(&p, "%zu bytes: at most %d", s.len, TEXT_MAX);
	rest = cut(&s, '?');
	r = place(&p, s);
	for (; r == 0 && rest.p != NULL; rest = next) {
		next = cut(&rest, '&');
		r = option(&p, rest);
	}
	if (r == 0)
		r = bind_option(&p);
	if (r == 0)
		*out = ep;
	return r;
}

int
sconce__endpoint_parse(const char *text, bool listening, struct endpoint *out, struct sconce_fail *fail)
{
	return parse(text, listening ? ROLE_LISTEN : ROLE_CONNECT, out, fail);
}

int
sconce_addr_parse(const char *endpoint, struct sconce_addr *addr_out, struct sconce_fail *fail_out)
{
	struct endpoint ep;
	int r = parse(endpoint, ROLE_LISTEN | ROLE_CONNECT, &ep, fail_out);

	if (r == 0)
		*addr_out = ep.addr;
	return r;
}

/* ---- on a socket ---- */

struct setting {
	int level, name, value;		/* value -1: leave it */
	const char *label;
};

static int
apply(struct sconce_loop *l, int fd, const struct endpoint *ep, const struct setting *set, size_t count,
	struct sconce_fail *fail)
{
	char addr[SCONCE_ADDR_TEXT], what[SCONCE_ADDR_TEXT + 32];

	for (size_t i = 0; i < count; i++) {
		if (set[i].value < 0)
			continue;
		if (l->be->setsockopt(fd, set[i].level, set[i].name, &set[i].value, sizeof(int), l->ctx) == 0)
			continue;
		int errnum = errno;

		sconce_addr_text(&ep->addr, addr, sizeof(addr));
		snprintf(what, sizeof(what), "%s for %s", set[i].label, addr);
		sconce__fail_fill(fail, "setsockopt", errnum, what);
		return -errnum;
	}
	return 0;
}

int
sconce__endpoint_options(struct sconce_loop *l, int fd, const struct endpoint *ep, bool listening,
	struct sconce_fail *fail)
{
	int family = ep->addr.any.sa_family;
	bool inet46 = family == AF_INET || family == AF_INET6, in = inet46 && listening;
	const struct setting set[] = {
		{ SOL_SOCKET, SO_REUSEADDR, in && ep->reuse != 0 ? 1 : -1, "SO_REUSEADDR" },
		{ SOL_SOCKET, SO_REUSEPORT, ep->reuseport == 1 ? 1 : -1, "SO_REUSEPORT" },
		/* always said, whatever the system's default: a port alone is both families, [::] is v6 */
		{ IPPROTO_IPV6, IPV6_V6ONLY, !in || family != AF_INET6 ? -1 : ep->v6only >= 0 ? ep->v6only : !ep->any,
		    "IPV6_V6ONLY" },
		/* set once here: what is accepted inherits it */
		{ IPPROTO_TCP, TCP_NODELAY, inet46 && ep->nodelay != 0 ? 1 : -1, "TCP_NODELAY" },
		{ IPPROTO_TCP, TCP_DEFER_ACCEPT, ep->deferaccept > 0 ? ep->deferaccept : -1, "TCP_DEFER_ACCEPT" },
		{ SOL_SOCKET, SO_RCVBUF, ep->rcvbuf, "SO_RCVBUF" },
		{ SOL_SOCKET, SO_SNDBUF, ep->sndbuf, "SO_SNDBUF" },
		{ SOL_SOCKET, SO_KEEPALIVE, ep->keepalive == 1 ? 1 : -1, "SO_KEEPALIVE" },
	};

	return apply(l, fd, ep, set, sizeof(set) / sizeof(set[0]), fail);
}

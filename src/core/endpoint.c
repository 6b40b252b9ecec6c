/* The one endpoint parser: text -> struct sconce_endpoint.  Called by listen.c, bind.c, connect.c and sconce_addr_parse().
 *
 *	endpoint = [scheme "://"] place ["?" option *("&" option)]
 *
 * The scheme decides which place is meant: inet (host ":" port), unix (a path or "@" name) or an fd; without one
 * the place's first character does.  A scheme is a row of `schemes`, an option a row of `options`.  Where there are defaults
 * a place without scheme may also be a port spec, see spec.c. */
#include "parse.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ROLE_LISTEN SCONCE_ENDPOINT_LISTEN
#define ROLE_CONNECT SCONCE_ENDPOINT_CONNECT
#define refuse sconce__refuse

int
sconce__refuse(const struct parse *p, const char *format, ...)
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

/* ---- inet ---- */

/* A service as registries have them; one that begins with a digit is a mistyped number. */
static bool
is_service(struct slice s)
{
	if (s.len == 0 || s.len >= sizeof(((struct sconce_endpoint *)NULL)->service) || !isalpha((unsigned char)s.p[0]))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.p[i]) && strchr("-_+.", s.p[i]) == NULL)
			return false;
	return true;
}

/* Whether `s` is a port, into `to`, which has room for a service. */
static int
port_text(const struct parse *p, struct slice s, char *to)
{
	int n = slice_number(s, 10, 0, 65535);

	if (n >= 0) {
		snprintf(to, sizeof(p->ep->service), "%d", n);
		return 0;
	}
	if (all_of(s, "0123456789"))
		return refuse(p, "port '%.*s' is above 65535", QUOTE(s));
	if (!is_service(s))
		return refuse(p, "'%.*s' is not a port: a number, or a service's name", QUOTE(s));
	slice_copy(s, to);
	return 0;
}

int
sconce__parse_port(const struct parse *p, struct slice s)
{
	int r = port_text(p, s, p->ep->service);

	if (r == 0 && p->roles == ROLE_CONNECT && strcmp(p->ep->service, "0") == 0)
		return refuse(p, "port 0 cannot be connected to");
	return r;
}

/* Letters, digits, hyphens and underscores, in labels between dots. */
static bool
is_name(struct slice s)
{
	size_t label = 0;

	if (s.len == 0 || s.len > 253)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '.' ? label == 0 : (c >= 0x80 || (!isalnum(c) && c != '-' && c != '_') || label == 63))
			return false;
		label = c == '.' ? 0 : label + 1;
	}
	return true;
}

/* Whether `s` is a host of the family (AF_UNSPEC: any), into `to`; the family of a literal is added. */
static int
host_text(const struct parse *p, struct slice s, bool v6, int *family, char *to)
{
	bool literal = v6 || all_of(s, "0123456789.");
	struct sconce_addr a;
	struct slice zone = s;
	int r;

	if (!literal && !slice_is(s, "*") && !is_name(s))
		return refuse(p, "'%.*s' is not an address or a name", QUOTE(s));
	if (v6 && *family == AF_INET)
		return refuse(p, "'%.*s' is not an IPv4 address", QUOTE(s));
	if (s.len >= sizeof(p->ep->host))
		return refuse(p, "'%.*s' is not an IPv%c address", QUOTE(s), v6 ? '6' : '4');
	slice_copy(s, to);
	if (!literal)
		return 0;
	if (*family == AF_UNSPEC)
		*family = v6 ? AF_INET6 : AF_INET;
	r = sconce__addr_literal(to, *family, &a);
	if (r == 0)
		return 0;
	to[0] = '\0';
	if (r == -ENODEV) {
		zone = cut(&zone, '%');
		return refuse(p, "no interface '%.*s'", QUOTE(zone));
	}
	return refuse(p, "'%.*s' is not an IPv%c address", QUOTE(s), *family == AF_INET6 ? '6' : '4');
}

int
sconce__parse_host(const struct parse *p, struct slice s, bool v6)
{
	if (s.len == 0)
		return refuse(p, "no address");
	if (slice_is(s, "*") && p->roles == ROLE_CONNECT)
		return refuse(p, "'*' is every address: give the one to connect to");
	return host_text(p, s, v6, &p->ep->family, p->ep->host);
}

/* A port alone: every address, v6 and v4. */
static int
inet_any(const struct parse *p, struct slice s)
{
	if (!(p->roles & ROLE_LISTEN))
		return refuse(p, "a port alone: give the address to connect to");
	strcpy(p->ep->host, "*");
	return sconce__parse_port(p, s);
}

/* What is behind "[" v6 "]", without its colon. */
static int
behind_bracket(const struct parse *p, struct slice *h, struct slice *rest)
{
	h->p++, h->len--;
	*rest = cut(h, ']');
	if (rest->p == NULL)
		return refuse(p, "'[' without ']'");
	if (rest->len > 0 && rest->p[0] != ':')
		return refuse(p, "'%.*s' after ']' is not a port", QUOTE(*rest));
	if (rest->len > 0)
		rest->p++, rest->len--;
	return 0;
}

/* "tcp://80": a port alone stands without scheme. */
static int
no_host(const struct parse *p, struct slice scheme, struct slice port)
{
	if (!(p->roles & ROLE_LISTEN))
		return refuse(p, "no host: say %.*s://HOST:%.*s", QUOTE(scheme), QUOTE(port));
	if (slice_is(scheme, "tcp"))
		return refuse(p, "no host: say tcp://*:%.*s or %.*s", QUOTE(port), QUOTE(port));
	return refuse(p, "no host: say %.*s://*:%.*s", QUOTE(scheme), QUOTE(port));
}

/* host ":" port, "[" v6 "]:" port, or, without scheme (p NULL), a port. */
static int
inet(const struct parse *p, struct slice s, struct slice scheme)
{
	struct slice h = s, rest;
	bool v6 = s.len > 0 && s.p[0] == '[';
	int r = 0;

	if (s.len == 0)
		return refuse(p, "no address");
	if (all_of(s, "0123456789"))
		return scheme.p == NULL ? inet_any(p, s) : no_host(p, scheme, s);
	if (v6) {
		r = behind_bracket(p, &h, &rest);
		if (r < 0)
			return r;
	} else {
		rest = cut(&h, ':');
		if (rest.p == NULL && !slice_is(h, "*") && !is_name(h))
			return refuse(p, "'%.*s' is neither address and port nor a path", QUOTE(h));
		if (rest.p != NULL && memchr(rest.p, ':', rest.len) != NULL)
			return refuse(p, "an IPv6 address stands in brackets: [::1]:80");
	}
	if (rest.len == 0)
		return refuse(p, "no port");
	r = sconce__parse_host(p, h, v6);
	if (r == 0)
		r = sconce__parse_port(p, rest);
	/* without defaults "*:80" is every IPv4 address, as 0.0.0.0:80; "80" is every one there is */
	if (r == 0 && p->defaults == NULL && p->ep->family == AF_UNSPEC && strcmp(p->ep->host, "*") == 0)
		p->ep->family = AF_INET;
	return r;
}

/* ---- unix, fds ---- */

int
sconce__parse_path(const struct parse *p, struct slice s)
{
	size_t room = sizeof(p->ep->path) - 1;

	if (s.len == 0)
		return refuse(p, "no path");
	if (slice_is(s, "@"))
		return refuse(p, "no name after '@'");
	if (slice_is(s, "/"))
		return refuse(p, "'/' is not a socket's path");
	if (s.len > room)
		return refuse(p, "a path of %zu bytes: at most %zu", s.len, room);
	slice_copy(s, p->ep->path);
	p->ep->family = AF_UNIX;
	return 0;
}

/* The path of a URL: "/@name" is abstract too. */
static int
unix_place(const struct parse *p, struct slice s)
{
	if (s.len >= 2 && s.p[0] == '/' && s.p[1] == '@')
		s.p++, s.len--;
	return sconce__parse_path(p, s);
}

static int
fd_place(const struct parse *p, struct slice s)
{
	int n = slice_number(s, 10, 0, INT_MAX);

	if (n < 0)
		return refuse(p, "'%.*s' is not the number of an fd", QUOTE(s));
	p->ep->fd = n;
	return 0;
}

/* ---- schemes ---- */

static const struct scheme {
	const char *name, *proto;
	int family, type;		/* AF_UNSPEC: either, or an fd */
} schemes[] = {
	{ "tcp", "tcp", AF_UNSPEC, SOCK_STREAM },
	{ "tcp4", "tcp", AF_INET, SOCK_STREAM },
	{ "tcp6", "tcp", AF_INET6, SOCK_STREAM },
	{ "udp", "udp", AF_UNSPEC, SOCK_DGRAM },
	{ "udp4", "udp", AF_INET, SOCK_DGRAM },
	{ "udp6", "udp", AF_INET6, SOCK_DGRAM },
	{ "unix", "unix", AF_UNIX, SOCK_STREAM },
	{ "unix_dgram", "unix_dgram", AF_UNIX, SOCK_DGRAM },
	{ "fd", "fd", AF_UNSPEC, 0 },
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
place(struct parse *p, struct slice s)
{
	struct slice name = s, rest = cut(&name, ':');
	const struct scheme *scheme;

	if (rest.len < 2 || memcmp(rest.p, "//", 2) != 0 || (s.len > 0 && (s.p[0] == '/' || s.p[0] == '@'))) {
		if (p->defaults != NULL)
			return sconce__parse_spec(p, s);
		if (s.len == 0 || (s.p[0] != '/' && s.p[0] != '@'))
			return inet(p, s, (struct slice){ NULL, 0 });
		strcpy(p->ep->proto, "unix");
		return sconce__parse_path(p, s);
	}
	rest.p += 2, rest.len -= 2;
	scheme = find_scheme(name);
	if (scheme == NULL)
		return refuse(p, "unknown scheme '%.*s'", QUOTE(name));
	strcpy(p->ep->proto, scheme->proto);
	p->ep->family = scheme->family;
	p->ep->type = scheme->type;
	if (scheme->type == 0)
		return fd_place(p, rest);
	return scheme->family == AF_UNIX ? unix_place(p, rest) : inet(p, rest, name);
}

/* ---- options ---- */

enum { FOR_TCP = 1, FOR_UDP = 2, FOR_V6 = 4, FOR_UNIX = 8, FOR_UNIX_DGRAM = 16, FOR_PATH = 32,
	FOR_INET = FOR_TCP | FOR_UDP, FOR_ALL = FOR_INET | FOR_UNIX | FOR_UNIX_DGRAM };
enum { ROLE_BOTH = ROLE_LISTEN | ROLE_CONNECT };
enum kind { NUMBER, OCTAL, SECONDS, TEXT, BIND, BIND_PORT };	/* what its value is; SECONDS: kept as ms */

static const struct option {
	const char *name;
	unsigned roles, places;		/* ROLE_..., FOR_...: any of them will do */
	enum kind kind;
	size_t offset;			/* in struct sconce_endpoint: of an int, or a text */
	int min, max;			/* TEXT: the room it has */
} options[] = {
#define AT(member) offsetof(struct sconce_endpoint, member)
#define OF(member) offsetof(struct sconce_endpoint, options.member)
#define ROOM(member) 0, (int)sizeof(((struct sconce_endpoint *)NULL)->options.member)
	{ "backlog", ROLE_LISTEN, FOR_TCP | FOR_UNIX, NUMBER, OF(backlog), 1, INT_MAX },
	{ "reuse", ROLE_BOTH, FOR_INET, NUMBER, OF(reuse), 0, 1 },
	{ "reuseport", ROLE_BOTH, FOR_INET, NUMBER, OF(reuseport), 0, 1 },
	{ "v6only", ROLE_BOTH, FOR_V6, NUMBER, OF(v6only), 0, 1 },
	{ "deferaccept", ROLE_LISTEN, FOR_TCP, NUMBER, OF(deferaccept), 0, 86400 },
	{ "fastopen", ROLE_LISTEN, FOR_TCP, NUMBER, OF(fastopen), 0, INT_MAX },
	{ "mode", ROLE_LISTEN, FOR_PATH, OCTAL, OF(mode), 0, 0777 },
	{ "owner", ROLE_LISTEN, FOR_PATH, TEXT, OF(owner), ROOM(owner) },
	{ "group", ROLE_LISTEN, FOR_PATH, TEXT, OF(group), ROOM(group) },
	{ "nodelay", ROLE_BOTH, FOR_TCP, NUMBER, OF(nodelay), 0, 1 },
	{ "keepalive", ROLE_BOTH, FOR_TCP, NUMBER, OF(keepalive), 0, 1 },
	{ "keepidle", ROLE_BOTH, FOR_TCP, NUMBER, OF(keepidle), 1, 32767 },
	{ "keepinterval", ROLE_BOTH, FOR_TCP, NUMBER, OF(keepinterval), 1, 32767 },
	{ "keepcount", ROLE_BOTH, FOR_TCP, NUMBER, OF(keepcount), 1, 127 },
	{ "user_timeout", ROLE_BOTH, FOR_TCP, NUMBER, OF(user_timeout), 0, INT_MAX },
	{ "tos", ROLE_BOTH, FOR_INET, NUMBER, OF(tos), 0, 255 },
	{ "dev", ROLE_BOTH, FOR_INET, TEXT, OF(dev), ROOM(dev) },
	{ "rcvbuf", ROLE_BOTH, FOR_ALL, NUMBER, OF(rcvbuf), 1, INT_MAX / 2 },
	{ "sndbuf", ROLE_BOTH, FOR_ALL, NUMBER, OF(sndbuf), 1, INT_MAX / 2 },
	{ "timeout", ROLE_CONNECT, FOR_ALL, SECONDS, OF(timeout_ms), 0, 2000000 },
	{ "happy", ROLE_CONNECT, FOR_TCP, NUMBER, OF(happy_ms), 0, 60000 },
	{ "bind", ROLE_CONNECT, FOR_INET | FOR_UNIX_DGRAM, BIND, AT(bind_host), 0, 0 },
	{ "bindport", ROLE_CONNECT, FOR_INET, BIND_PORT, AT(bind_service), 1, 65535 },
#undef AT
#undef OF
#undef ROOM
};

static unsigned
place_bits(const struct sconce_endpoint *ep)
{
	bool stream = ep->type == SOCK_STREAM;

	if (ep->fd >= 0)
		return 0;
	if (ep->family == AF_UNIX)
		return (stream ? FOR_UNIX : FOR_UNIX_DGRAM) | (ep->path[0] != '@' ? FOR_PATH : 0);
	return (stream ? FOR_TCP : FOR_UDP) | (ep->family != AF_INET ? FOR_V6 : 0);
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
	return places & FOR_TCP ? "tcp" : places & FOR_UDP ? "udp" : places & FOR_V6 ? "IPv6" : "unix paths";
}

/* "2.5" seconds, in ms, rounded up: 0 would mean no time at all; -1: it is no such number. */
static int
milliseconds(struct slice s, int max)
{
	struct slice fraction = cut(&s, '.');
	int secs = slice_number(s, 10, 0, max), ms = 0, scale = 100;
	bool more = false;

	if (secs < 0 || (fraction.p != NULL && !all_of(fraction, "0123456789")))
		return -1;
	for (size_t i = 0; i < fraction.len; i++, scale /= 10) {
		ms += (fraction.p[i] - '0') * scale;
		more |= scale == 0 && fraction.p[i] != '0';
	}
	return secs * 1000 + ms + more;
}

/* A number into *to. */
static int
option_number(const struct parse *p, const struct option *o, struct slice value, int *to)
{
	int n;

	if (o->kind == SECONDS)
		n = milliseconds(value, o->max);
	else
		n = slice_number(value, o->kind == OCTAL ? 8 : 10, o->min, o->max);
	if (n < 0 && o->kind == OCTAL)
		return refuse(p, "option 'mode' takes an octal number up to 777, not '%.*s'", QUOTE(value));
	if (n < 0)
		return refuse(p, "option '%s' takes a number from %d to %d, not '%.*s'", o->name, o->min, o->max,
			QUOTE(value));
	*to = n;
	return 0;
}

/* The option bind=: what it may be depends on the address. */
static int
option_bind(const struct parse *p, struct slice s, char *to)
{
	struct sconce_endpoint other;
	struct parse q = *p;
	int family = p->ep->family, r;

	if (family == AF_UNIX) {
		other.path[0] = '\0';
		q.ep = &other;
		r = slice_is(s, "@") ? 0 : sconce__parse_path(&q, s);	/* "@": the kernel finds a name */
		if (r == 0)
			slice_copy(s, to);
		return r;
	}
	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
		s.p++, s.len -= 2;
	return host_text(p, s, memchr(s.p, ':', s.len) != NULL, &family, to);
}

static int
option_text(const struct parse *p, const struct option *o, struct slice value, char *to)
{
	if (o->kind == BIND)
		return option_bind(p, value, to);
	if (o->kind == BIND_PORT) {
		if (all_of(value, "0123456789") && slice_number(value, 10, o->min, o->max) < 0)
			return refuse(p, "option '%s' takes a number from %d to %d, not '%.*s'", o->name, o->min, o->max,
				QUOTE(value));
		return port_text(p, value, to);
	}
	if (value.len >= (size_t)o->max)
		return refuse(p, "option '%s' takes at most %d bytes", o->name, o->max - 1);
	slice_copy(value, to);
	return 0;
}

/* One "name=value". */
static int
option(const struct parse *p, struct slice s)
{
	struct slice name = s, value = cut(&name, '=');
	const struct option *o = find_option(name);
	char *at;
	int *number;

	if (o == NULL)
		return refuse(p, "unknown option '%.*s'", QUOTE(name));
	if (!(o->roles & p->roles))
		return refuse(p, "option '%s' is for %s", o->name, o->roles == ROLE_LISTEN ? "listening" : "connecting");
	if (!(o->places & place_bits(p->ep)))
		return refuse(p, "option '%s' is for %s", o->name, place_word(o->places));
	if (value.len == 0)
		return refuse(p, "option '%s' has no value", o->name);
	at = (char *)p->ep + o->offset;
	number = (int *)(void *)at;
	if (o->kind >= TEXT ? *at != '\0' : *number != -1)
		return refuse(p, "option '%s' is given twice", o->name);
	return o->kind >= TEXT ? option_text(p, o, value, at) : option_number(p, o, value, number);
}

/* ---- the whole ---- */

void
sconce_endpoint_init(struct sconce_endpoint *ep)
{
	struct sconce_socket_options *o = &ep->options;

	memset(ep, 0, sizeof(*ep));
	ep->type = SOCK_STREAM;
	ep->fd = -1;
	strcpy(ep->proto, "tcp");
	o->backlog = o->reuse = o->reuseport = o->v6only = o->nodelay = o->keepalive = o->keepidle = o->keepinterval = -1;
	o->keepcount = o->user_timeout = o->deferaccept = o->fastopen = o->tos = o->rcvbuf = o->sndbuf = o->mode = -1;
	o->timeout_ms = o->happy_ms = -1;
}

/* One endpoint for each IP version: what the text says, then its address, then the defaults. */
static int
versions(struct parse *p, struct sconce_endpoint *list)
{
	struct sconce_endpoint *ep = p->ep;
	unsigned ipv = p->ipv;
	int r = 0, count = 0;

	if (p->defaults != NULL && ep->family == AF_UNSPEC && ep->fd < 0 && ipv == 0 && p->defaults->ipv != NULL)
		r = sconce__parse_ipv(p, p->defaults->ipv, &ipv);
	if (r < 0)
		return r;
	if (ep->family != AF_UNSPEC || ep->fd >= 0 || ipv == 0 || (ipv & IPV_ANY)) {
		list[0] = *ep;
		return 1;
	}
	for (int i = 0; i < 2; i++) {
		if (!(ipv & (i == 0 ? IPV6 : IPV4)))
			continue;
		list[count] = *ep;
		list[count++].family = i == 0 ? AF_INET6 : AF_INET;
	}
	return count;
}

int
sconce_endpoint_parse(const char *text, unsigned roles, const struct sconce_endpoint_defaults *defaults,
	struct sconce_endpoint *list_out, struct sconce_fail *fail)
{
	struct sconce_endpoint ep;
	struct parse p = { .text = text, .roles = roles, .defaults = defaults, .ep = &ep, .fail = fail };
	struct slice s = { text, strlen(text) }, rest, next;
	int r;

	sconce_endpoint_init(&ep);
	if (s.len == 0 && (defaults == NULL || defaults->service == NULL))
		return refuse(&p, "nothing there");
	if (s.len >= sizeof(ep.text))
		return refuse(&p, "%zu bytes: at most %zu", s.len, sizeof(ep.text) - 1);
	slice_copy(s, ep.text);
	rest = cut(&s, '?');
	r = place(&p, s);
	for (; r == 0 && rest.p != NULL; rest = next) {
		next = cut(&rest, '&');
		r = option(&p, rest);
	}
	return r < 0 ? r : versions(&p, list_out);
}

int
sconce__endpoint_addr(const struct sconce_endpoint *ep, struct sconce_addr *out)
{
	char *end;
	long n;

	if (ep->family == AF_UNIX)
		return sconce__addr_unix(ep->path, out);
	n = strtol(ep->service, &end, 10);
	if (end == ep->service || *end != '\0')
		return -EAGAIN;
	if (n < 0 || n > 65535)
		return -EINVAL;
	if (sconce__addr_literal(ep->host, ep->family, out) < 0)
		return -EAGAIN;
	sconce__addr_set_port(out, (int)n);
	return 0;
}

int
sconce_addr_parse(const char *endpoint, struct sconce_addr *addr_out, struct sconce_fail *fail_out)
{
	struct sconce_endpoint ep;
	struct parse p = { .text = endpoint, .ep = &ep, .fail = fail_out };
	int r = sconce_endpoint_parse(endpoint, ROLE_BOTH, NULL, &ep, fail_out);

	if (r < 0)
		return r;
	if (ep.fd >= 0)
		return refuse(&p, "an fd is not an address");
	if (ep.type != SOCK_STREAM)		/* whoever takes an address connects or listens */
		return refuse(&p, "an address of a datagram socket is written without '%s://'", ep.proto);
	if (sconce__endpoint_addr(&ep, addr_out) == 0)
		return 0;
	return refuse(&p, "a name, which would have to be looked up: give a numeric address and port");
}

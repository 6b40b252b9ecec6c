/* Port specs as Net::Server has them: host, port, protocol and IP version, in any mix of separators.  Called by endpoint.c for a
 * text without scheme where there are defaults.
 *
 *	localhost:20203/tcp/IPv4     [::1]:80     "localhost, 20203, tcp, IPv6"     20203/IPv4/IPv6     /path|sock_dgram|unix
 *
 * Words that say a protocol, socket type or version are taken off the end, and, unless what is left is a path, out of the middle;
 * then the last word is the port and what is before it the host. */
#include "parse.h"

#define refuse sconce__refuse

static const char separators[] = ",|:/ \t";

static bool
is_separator(char c)
{
	return c != '\0' && strchr(separators, c) != NULL;
}

/* ---- words ---- */

enum word_kind { WORD_IPV, WORD_PROTO, WORD_TYPE };

static const struct word {
	const char *name, *proto;
	enum word_kind kind;
	int value;			/* IPV_..., or SOCK_... */
} words[] = {
	{ "ipv4", NULL, WORD_IPV, IPV4 }, { "ipv6", NULL, WORD_IPV, IPV6 }, { "ipv*", NULL, WORD_IPV, IPV_ANY },
	{ "tcp", "tcp", WORD_PROTO, SOCK_STREAM }, { "udp", "udp", WORD_PROTO, SOCK_DGRAM },
	{ "unix", "unix", WORD_PROTO, SOCK_STREAM }, { "unixdgram", "unix_dgram", WORD_PROTO, SOCK_DGRAM },
	{ "unix_dgram", "unix_dgram", WORD_PROTO, SOCK_DGRAM },
	{ "ssl", "ssl", WORD_PROTO, SOCK_STREAM }, { "ssleay", "ssleay", WORD_PROTO, SOCK_STREAM },
	{ "sock_stream", NULL, WORD_TYPE, SOCK_STREAM }, { "sock_dgram", NULL, WORD_TYPE, SOCK_DGRAM },
};

static const struct word *
find_word(struct slice s)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (slice_is(s, words[i].name))
			return &words[i];
	return NULL;
}

/* What the words have said. */
struct said {
	unsigned ipv;
	const struct word *proto, *type;
};

static int
say(const struct parse *p, const struct word *w, struct said *said)
{
	const struct word **at = w->kind == WORD_PROTO ? &said->proto : &said->type;

	if (w->kind == WORD_IPV) {
		said->ipv |= (unsigned)w->value;
		return 0;
	}
	if (*at != NULL && *at != w)
		return refuse(p, "'%s' and '%s' contradict each other", (*at)->name, w->name);
	*at = w;
	return 0;
}

/* Takes words off the end, each with the separators before it. */
static int
take_last(const struct parse *p, struct slice *s, struct said *said)
{
	for (;;) {
		size_t from = s->len, end;
		const struct word *w;
		int r;

		while (from > 0 && !is_separator(s->p[from - 1]))
			from--;
		w = find_word((struct slice){ s->p + from, s->len - from });
		end = from;
		while (end > 0 && is_separator(s->p[end - 1]))
			end--;
		if (w == NULL || end == 0)
			return 0;
		r = say(p, w, said);
		if (r < 0)
			return r;
		s->len = end;
	}
}

/* Takes words out of the middle: `s`, which is `room`, becomes shorter. */
static int
take_middle(const struct parse *p, struct slice *s, char *room, struct said *said)
{
	size_t i = 1;

	while (i < s->len) {
		size_t from = i, end;
		const struct word *w;
		int r;

		if (!is_separator(room[i]) || is_separator(room[i - 1])) {
			i++;
			continue;
		}
		while (from < s->len && is_separator(room[from]))
			from++;
		for (end = from; end < s->len && !is_separator(room[end]); )
			end++;
		w = find_word((struct slice){ room + from, end - from });
		if (w == NULL) {
			i = from;
			continue;
		}
		r = say(p, w, said);
		if (r < 0)
			return r;
		memmove(room + i, room + end, s->len - end);
		s->len -= end - i;
	}
	return 0;
}

/* ---- host and port ---- */

static struct slice
trim(struct slice s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.len--;
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* The host, which may stand in brackets even if it is a name. */
static int
host(const struct parse *p, struct slice s)
{
	const char *other = p->defaults->host;

	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
		s.p++, s.len -= 2;
	if (s.len == 0 && other != NULL)
		s = (struct slice){ other, strlen(other) };
	else if (s.len == 0)
		s = (struct slice){ "*", 1 };
	return sconce__parse_host(p, s, memchr(s.p, ':', s.len) != NULL);
}

/* Where the last word begins, and where what is before it ends. */
static void
split(struct slice s, struct slice *head, struct slice *last)
{
	size_t from = s.len, end;

	while (from > 0 && !is_separator(s.p[from - 1]))
		from--;
	for (end = from; end > 0 && is_separator(s.p[end - 1]); )
		end--;
	/* "::1:80": one colon separates, the others are the address's */
	if (end == 0 && from > 1)
		end = from - 1;
	*last = (struct slice){ s.p + from, s.len - from };
	*head = (struct slice){ s.p, end };
}

static int
inet(const struct parse *p, struct slice s)
{
	struct slice head, port;
	int r;

	split(s, &head, &port);
	if (s.len == 0) {
		const char *service = p->defaults->service;

		if (service == NULL)
			return refuse(p, "no port");
		port = (struct slice){ service, strlen(service) };
	}
	if (port.len == 0)
		return refuse(p, "no port after '%.*s'", QUOTE(head));
	r = host(p, head);
	return r < 0 ? r : sconce__parse_port(p, port);
}

/* ---- the whole ---- */

int
sconce__parse_ipv(const struct parse *p, const char *text, unsigned *ipv_out)
{
	unsigned ipv = 0;

	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '4')
			ipv |= IPV4;
		else if (*c == '6')
			ipv |= IPV6;
		else if (*c == '*')
			ipv |= IPV_ANY;
		else if (strchr("ipvIPV", *c) == NULL && !is_separator(*c))
			return refuse(p, "'%.20s' is not an IP version: 4, 6, * or v4v6", text);
	}
	if (ipv == 0)
		return refuse(p, "'%.20s' is not an IP version: 4, 6, * or v4v6", text);
	*ipv_out = ipv;
	return 0;
}

static bool
is_unix_word(const struct word *w)
{
	return strncmp(w->proto, "unix", 4) == 0;
}

/* The protocol and type: what the words say, or the defaults. */
static int
protocol(const struct parse *p, struct said *said, bool path)
{
	const char *name = p->defaults->proto;
	const struct word *w = said->proto;

	if (w == NULL && path)
		name = "unix";
	if (w == NULL) {
		struct slice s = { name != NULL ? name : "tcp", strlen(name != NULL ? name : "tcp") };

		w = find_word(s);
		if (w == NULL || w->kind != WORD_PROTO)
			return refuse(p, "'%.*s' is not a protocol", QUOTE(s));
	}
	said->proto = w;
	strcpy(p->ep->proto, w->proto);
	p->ep->type = said->type != NULL ? said->type->value : w->value;
	if (said->type != NULL && said->type->value != w->value && !is_unix_word(w))
		return refuse(p, "'%s' is not for %s", said->type->name, w->name);
	return 0;
}

/* One version fixes the family; a literal must be of it. */
static void
set_family(struct parse *p, unsigned ipv)
{
	p->ipv = ipv;
	if (ipv == IPV4)
		p->ep->family = AF_INET;
	else if (ipv == IPV6)
		p->ep->family = AF_INET6;
}

int
sconce__parse_spec(struct parse *p, struct slice s)
{
	char room[sizeof(p->ep->text)];
	struct said said = { 0 };
	bool is_unix;
	int r;

	s = trim(s);
	r = take_last(p, &s, &said);
	if (r < 0)
		return r;
	if (said.proto != NULL)
		is_unix = is_unix_word(said.proto);
	else
		is_unix = s.len > 0 && (s.p[0] == '/' || s.p[0] == '@');
	slice_copy(s, room);
	s.p = room;
	if (!is_unix)
		r = take_middle(p, &s, room, &said);
	if (r == 0)
		r = protocol(p, &said, is_unix);
	if (r < 0)
		return r;
	if (is_unix_word(said.proto))
		return sconce__parse_path(p, s);
	set_family(p, said.ipv);
	r = inet(p, s);
	if (r == 0 && said.ipv == (IPV4 | IPV6) && p->ep->family != AF_UNSPEC)
		return refuse(p, "'%.40s' is of one IP version", p->ep->host);
	return r;
}

/* The command table.  A line is split into words, lower-cased up to the first '=' (D.3), and handed to the command
 * of its first word. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ifaddrs.h>

#include <sconce/conf.h>

/* ---- failing ---- */

static bool fail_at(struct command *c, struct word where, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says what is wrong and where; false, for the caller to return. */
static bool
fail_at(struct command *c, struct word where, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(c->message, sizeof(c->message), format, ap);
	va_end(ap);
	c->wrong = where;
	return false;
}

/* The best candidate so far for what may have been meant. */
struct nearest {
	const char	*wanted;
	const char	*best;
	unsigned	distance;
};

static void
nearest_try(struct nearest *n, const char *name)
{
	size_t len = strlen(n->wanted);
	unsigned d = sconce_conf_distance(n->wanted, len, name, strlen(name));

	if (d == 0)
		return;				/* right, but not in this place */
	if (n->best == NULL ? d <= 1 + len / 3 : d < n->distance) {
		n->best = name;
		n->distance = d;
	}
}

static void
nearest_hint(struct command *c, const struct nearest *n)
{
	if (n->best != NULL)
		snprintf(c->hint, sizeof(c->hint), "did you mean '%.120s'?", n->best);
}

/* Hints at the service or pool of a like name. */
static void
hint_object(struct command *c, const char *wanted, bool services, bool pools)
{
	struct proxy *p = c->from->proxy;
	struct nearest n = { .wanted = wanted };

	for (struct link *l = p->services.next; services && l != &p->services; l = l->next)
		nearest_try(&n, SCONCE_CONTAINER_OF(l, struct service, link)->name);
	for (struct link *l = p->pools.next; pools && l != &p->pools; l = l->next)
		nearest_try(&n, SCONCE_CONTAINER_OF(l, struct pool, link)->name);
	nearest_hint(c, &n);
}

/* ---- the commands ---- */

static bool
usage(struct command *c, const char *text)
{
	struct word where = c->words[0], last = c->has_value ? c->value_word : c->words[c->word_count - 1];

	where.length = last.column + last.length - where.column;
	return fail_at(c, where, "usage: %s", text);
}

static bool
is(struct word w, const char *text)
{
	return strcmp(w.text, text) == 0;
}

/* Names are letters, digits and underscores. */
static bool
good_name(struct command *c, struct word w)
{
	for (const char *p = w.text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return fail_at(c, w, "'%s' is not a name: letters, digits and '_'", w.text);
	if (strlen(w.text) >= sizeof(c->from->implied))
		return fail_at(c, w, "the name is too long");
	return true;
}

static void
imply(struct command *c, struct word name)
{
	snprintf(c->from->implied, sizeof(c->from->implied), "%s", name.text);
	c->from->implied_failed = false;
}

/* What is wrong with it has been said; the lines that mean the object which could not be created are passed over. */
static bool
create_failed(struct command *c)
{
	c->from->implied_failed = true;
	return false;
}

static bool
run_create(struct command *c)
{
	struct proxy *p = c->from->proxy;
	struct word name = c->words[2];
	struct pool *pool;
	bool service;

	if (c->word_count != 3 || c->has_value || !(is(c->words[1], "service") || is(c->words[1], "pool")))
		return usage(c, "CREATE {SERVICE|POOL} <name>");
	if (!good_name(c, name))
		return create_failed(c);
	if (service_find(p, name.text) != NULL) {
		fail_at(c, name, "service '%s' already exists", name.text);
		return create_failed(c);
	}
	if (pool_find(p, name.text) != NULL) {
		fail_at(c, name, "pool '%s' already exists (services and pools share their names)", name.text);
		return create_failed(c);
	}
	service = is(c->words[1], "service");
	if (service && service_new(p, name.text) == NULL)
		return fail_at(c, name, "out of memory");
	if (!service) {
		pool = pool_new(p, name.text);
		if (pool == NULL)
			return fail_at(c, name, "out of memory");
		param_init_pool(pool);
	}
	imply(c, name);
	return true;
}

static bool
run_use(struct command *c)
{
	struct word name = c->words[1];

	if (c->word_count != 2 || c->has_value)
		return usage(c, "USE <service or pool>");
	if (service_find(c->from->proxy, name.text) == NULL && pool_find(c->from->proxy, name.text) == NULL) {
		hint_object(c, name.text, true, true);
		return fail_at(c, name, "Non-existent pool or service '%s'", name.text);
	}
	imply(c, name);
	return true;
}

/* POOL n ADD ip:port, or POOL ADD n ip:port (PB-46). */
static bool
run_pool(struct command *c)
{
	struct word verb = c->words[2], name = c->words[1], node = c->words[3];
	struct sconce_fail fail = { .errnum = 0 };
	struct pool *pool;
	int error;

	if (c->word_count != 4 || c->has_value)
		return usage(c, "POOL <name> {ADD|REMOVE} <ip>[:<port>]");
	if (!is(verb, "add") && !is(verb, "remove")) {
		verb = c->words[1];
		name = c->words[2];
	}
	if (!is(verb, "add") && !is(verb, "remove"))
		return fail_at(c, c->words[2], "Invalid command: must be 'add' or 'remove'");
	pool = pool_find(c->from->proxy, name.text);
	if (pool == NULL) {
		if (service_find(c->from->proxy, name.text) != NULL)
			return fail_at(c, name, "'%s' is a service, not a pool", name.text);
		hint_object(c, name.text, false, true);
		return fail_at(c, name, "Pool '%s' not found", name.text);
	}
	error = is(verb, "add") ? pool_add(pool, node.text, &fail) : pool_remove(pool, node.text, &fail);
	if (error == -EINVAL)
		return fail_at(c, node, "%s", endpoint_reason(&fail));
	return error == 0 || fail_at(c, node, "%s", sconce_strerror(error));
}

/* ---- SET, DEFAULT ---- */

static struct word
part(struct word w, unsigned begin, unsigned length)
{
	return (struct word){ w.text + begin, w.column + begin, length };
}

/* What a setter said becomes the command's result, at the name or at the value. */
static bool
param_outcome(struct command *c, enum param_result result, enum param_kind kind, struct word name)
{
	struct nearest n = { .wanted = name.text };
	const char *candidate;

	switch (result) {
	case PARAM_OK:
		return true;
	case PARAM_UNKNOWN:
		for (unsigned i = 0; (candidate = param_name(kind, i)) != NULL; i++)
			nearest_try(&n, candidate);
		nearest_hint(c, &n);
		break;
	case PARAM_VALUE:
		c->wrong = c->value_word;
		return false;
	case PARAM_NO_MEMORY:
		return fail_at(c, name, "out of memory");
	default:
		break;
	}
	c->wrong = name;
	return false;
}

/* "n.param", "n param" or "param" (PB-44): finds the object's name and the parameter's. */
static bool
split_target(struct command *c, struct word *object, struct word *param)
{
	struct word first = c->words[1];
	const char *dot = strchr(first.text, '.');
	unsigned at;

	*object = (struct word){ c->from->implied, first.column, first.length };
	*param = first;
	if (c->word_count == 3) {
		*object = first;
		*param = c->words[2];
	} else if (dot != NULL) {
		at = (unsigned)(dot - first.text);
		c->text[first.text - c->text + at] = '\0';
		*object = part(first, 0, at);
		*param = part(first, at + 1, first.length - at - 1);
	}
	if (object->text[0] == '\0')
		return fail_at(c, first, "omitted service/pool name not implied from context");
	return true;
}

static bool
run_set(struct command *c)
{
	struct proxy *p = c->from->proxy;
	struct word object, param;
	struct service *sv;
	struct pool *pool;
	enum param_result result;

	if (c->word_count < 2 || c->word_count > 3 || !c->has_value || c->value[0] == '\0')
		return usage(c, "SET [<service>] <param> = <value>");
	if (!split_target(c, &object, &param))
		return false;
	if (object.text == c->from->implied && c->from->implied_failed)
		return false;			/* without a message: CREATE has said it */
	sv = service_find(p, object.text);
	pool = pool_find(p, object.text);
	if (sv == NULL && pool == NULL) {
		hint_object(c, object.text, true, true);
		return fail_at(c, object, "service/pool '%s' does not exist", object.text);
	}
	result = sv != NULL ?
	    param_set_service(sv, c->from->defaults, param.text, c->value, c->message, sizeof(c->message)) :
	    param_set_pool(pool, param.text, c->value, c->message, sizeof(c->message));
	if (result == PARAM_VALUE && is(param, "pool") && service_find(p, c->value) == NULL)
		hint_object(c, c->value, false, true);
	return param_outcome(c, result, sv != NULL ? PARAM_OF_SERVICES : PARAM_OF_POOLS, param);
}

static bool
run_default(struct command *c)
{
	if (c->word_count != 2 || !c->has_value || c->value[0] == '\0')
		return usage(c, "DEFAULT <param> = <value>");
	return param_outcome(c, param_set_default(c->from->defaults, c->words[1].text, c->value, c->message,
	    sizeof(c->message)), PARAM_OF_SERVICES, c->words[1]);
}

/* ---- ENABLE, DISABLE ---- */

/* Whether the service has what it needs.  What is missing because its SET failed has been said. */
static bool
ready(struct command *c, const struct service *sv)
{
	const struct {
		bool		there;
		const char	*param;
		const char	*missing;
	} needs[] = {
		{ sv->conf.role != ROLE_NONE, "role", "no role" },
		{ sv->conf.listen != NULL, "listen", "nothing to listen on" },
		{ sv->conf.pool != NULL, "pool", "no pool" },
	};
	bool all = true;

	if (param_failed(sv, "role"))
		return false;			/* what another role needs is not known */
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		if (needs[i].there)
			continue;
		all = false;
		if (!param_failed(sv, needs[i].param))
			return fail_at(c, c->words[1], "service '%s' has %s", sv->name, needs[i].missing);
	}
	return all;
}

static bool
run_enable(struct command *c)
{
	struct word name = c->words[1];
	bool enable = is(c->words[0], "enable");
	struct service *sv;

	if (c->word_count != 2 || c->has_value)
		return usage(c, "{ENABLE|DISABLE} <service>");
	sv = service_find(c->from->proxy, name.text);
	if (sv == NULL) {
		if (pool_find(c->from->proxy, name.text) != NULL)
			return fail_at(c, name, "'%s' is a pool, not a service", name.text);
		hint_object(c, name.text, true, false);
		return fail_at(c, name, "service '%s' does not exist", name.text);
	}
	if (enable && !ready(c, sv))
		return false;
	sv->enabled = enable;
	return true;
}

/* ---- the table ---- */

static bool
run_later(struct command *c)
{
	return fail_at(c, c->words[0], "command '%.*s' is not supported yet", (int)c->words[0].length,
	    c->line + c->words[0].column);
}

static const struct {
	const char	*name;
	bool		(*run)(struct command *c);
} table[] = {
	{ "create", run_create },
	{ "default", run_default },
	{ "disable", run_enable },
	{ "enable", run_enable },
	{ "header", run_later },
	{ "include", run_later },
	{ "load", run_later },
	{ "mime", run_later },
	{ "pool", run_pool },
	{ "reload", run_later },
	{ "server", run_later },
	{ "set", run_set },
	{ "shutdown", run_later },
	{ "unload", run_later },
	{ "use", run_use },
	{ "verbose", run_later },
	{ "vhost", run_later },
	{ "vpath", run_later },
	{ "xs", run_later },
};

static bool
dispatch(struct command *c)
{
	struct nearest n = { .wanted = c->words[0].text };

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (is(c->words[0], table[i].name))
			return table[i].run(c);
		if (table[i].run != run_later)
			nearest_try(&n, table[i].name);
	}
	nearest_hint(c, &n);
	return fail_at(c, c->words[0], "unknown command: %.*s", (int)c->words[0].length, c->line + c->words[0].column);
}

/* ---- splitting a line ---- */

/* A line while it is being read. */
struct scan {
	const char	*line;
	unsigned	at, end;	/* what is left: line[at..end) */
	unsigned	used;		/* bytes of command->text */
};

static bool
add_text(struct command *c, struct scan *s, const char *text, size_t len)
{
	if (s->used + len >= sizeof(c->text))
		return false;
	memcpy(c->text + s->used, text, len);
	s->used += (unsigned)len;
	return true;
}

/* The IPv4 address of an interface. */
static bool
interface_ip(const char *name, char *out, size_t size)
{
	struct ifaddrs *all, *i;
	struct sconce_addr addr;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (i = all; i != NULL && !found; i = i->ifa_next) {
		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET || strcmp(i->ifa_name, name) != 0)
			continue;
		addr.in = *(struct sockaddr_in *)(void *)i->ifa_addr;
		addr.len = sizeof(addr.in);
		sconce_addr_host(&addr, out, size);
		found = true;
	}
	freeifaddrs(all);
	return found;
}

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* ${ip:eth0} or $NAME at s->at (D.3); what it stands for goes to the text. */
static bool
expand(struct command *c, struct scan *s)
{
	unsigned begin = s->at + 1, n = 0;
	bool braces = begin < s->end && s->line[begin] == '{';
	struct word where = { "", s->at, 1 };
	char name[128], ip[SCONCE_ADDR_TEXT];
	const char *value;

	begin += braces;
	while (begin + n < s->end && (braces ? s->line[begin + n] != '}' :
	    isalnum((unsigned char)s->line[begin + n]) || s->line[begin + n] == '_'))
		n++;
	where.length = least(begin + n + braces, s->end) - s->at;
	if (n == 0 && !braces) {
		s->at++;
		return add_text(c, s, "$", 1) || fail_at(c, where, "line too long");
	}
	if (n >= sizeof(name) || (braces && begin + n >= s->end))
		return fail_at(c, where, "'${' without '}'");
	snprintf(name, sizeof(name), "%.*s", (int)n, s->line + begin);
	s->at = begin + n + braces;
	if (braces) {
		if (strncmp(name, "ip:", 3) != 0)
			return fail_at(c, where, "Unknown config variable: %s", name);
		if (!interface_ip(name + 3, ip, sizeof(ip)))
			return fail_at(c, where, "Can't find IP of interface '%s'", name + 3);
		value = ip;
	} else {
		value = getenv(name);
		if (value == NULL)
			return fail_at(c, where, "environment variable '%s' is not set", name);
	}
	return add_text(c, s, value, strlen(value)) || fail_at(c, where, "line too long");
}

static bool
blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n' || ch == '\f' || ch == '\v';
}

/* One run of letters up to a blank or, if `stop_at_equals`, a '='. */
static bool
scan_word(struct command *c, struct scan *s, bool stop_at_equals, struct word *out)
{
	unsigned begin = s->at, text = s->used;

	while (s->at < s->end && !blank(s->line[s->at]) && !(stop_at_equals && s->line[s->at] == '=')) {
		if (s->line[s->at] == '$') {
			if (!expand(c, s))
				return false;
			continue;
		}
		if (!add_text(c, s, &s->line[s->at], 1))
			return fail_at(c, (struct word){ "", begin, 1 }, "line too long");
		s->at++;
	}
	*out = (struct word){ c->text + text, begin, s->at - begin };
	return add_text(c, s, "", 1) || fail_at(c, *out, "line too long");
}

static void
skip_blanks(struct scan *s)
{
	while (s->at < s->end && blank(s->line[s->at]))
		s->at++;
}

static bool
scan_words(struct command *c, struct scan *s)
{
	struct word w;

	for (skip_blanks(s); s->at < s->end && s->line[s->at] != '='; skip_blanks(s)) {
		if (!scan_word(c, s, true, &w))
			return false;
		if (c->word_count == COMMAND_WORDS)
			return fail_at(c, w, "too many words");
		for (char *p = c->text + (w.text - c->text); w.text[0] != '/' && *p != '\0'; p++)
			*p = (char)tolower((unsigned char)*p);	/* but not paths, which Perlbal has none of */
		c->words[c->word_count++] = w;
	}
	return true;
}

/* What follows the '=': words of any case with single blanks between them. */
static bool
scan_value(struct command *c, struct scan *s)
{
	struct word w;
	size_t len = 0;

	s->at++;
	c->has_value = true;
	skip_blanks(s);
	c->value_word = (struct word){ c->value, s->at, s->end - s->at };
	for (; s->at < s->end; skip_blanks(s)) {
		if (!scan_word(c, s, false, &w))
			return false;
		if (len + strlen(w.text) + 2 > sizeof(c->value))
			return fail_at(c, w, "line too long");
		len += (size_t)snprintf(c->value + len, sizeof(c->value) - len, "%s%s", len > 0 ? " " : "", w.text);
	}
	return true;
}

bool
command_run(struct command *c, struct commands *from, const char *line)
{
	struct scan s = { .line = line, .end = (unsigned)strcspn(line, "#") };

	c->from = from;
	c->line = line;
	c->word_count = 0;
	c->has_value = false;
	c->value[0] = c->message[0] = c->hint[0] = '\0';
	while (s.end > 0 && blank(line[s.end - 1]))
		s.end--;
	if (s.end >= COMMAND_LINE)
		return fail_at(c, (struct word){ "", 0, 1 }, "line too long");
	if (!scan_words(c, &s))
		return false;
	if (s.at < s.end && !scan_value(c, &s))
		return false;
	if (c->word_count > 0)
		return dispatch(c);
	return !c->has_value || fail_at(c, (struct word){ "", 0, s.end }, "invalid command");
}

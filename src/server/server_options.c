/* What a server is told: its options, where it listens, who may connect.  Wrong values are told with the place where
 * they were said. */
#include "server_private.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

/* Rules are tried as soon as they are read, so that a wrong one is told with its place (AC-12), and a reload with one in
 * it changes nothing. */
static bool
check_rule(enum sconce_acl_kind kind, const char *rule, char *why, size_t size)
{
	struct sconce_fail fail = { .text = "there is no memory" };
	struct sconce_acl *acl = NULL;
	int r = sconce_acl_new(&acl);

	if (r == 0)
		r = sconce_acl_add(acl, kind, rule, &fail);
	sconce_acl_unref(acl);
	if (r < 0)
		snprintf(why, size, "%s", fail.text);
	return r == 0;
}

static bool
check_regex(const char *value, char *why, size_t size)
{
	return check_rule(SCONCE_ACL_ALLOW, value, why, size);
}

static bool
check_cidr(const char *value, char *why, size_t size)
{
	return check_rule(SCONCE_ACL_CIDR_ALLOW, value, why, size);
}

static bool
check_backlog(const char *value, char *why, size_t size)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (end != value && *end == '\0' && n >= 1 && n <= 65535)
		return true;
	snprintf(why, size, "'%s' is no number from 1 to 65535", value);
	return false;
}

#define OPTION(member, kind) #member, kind, offsetof(struct sconce_server_options, member)
#define LIST(member, value, help, check) { OPTION(member, SCONCE_CONF_LIST), value, help, 0, 0, check }
/* What is bound stays. */
#define ONCE(member, value, help, check) { OPTION(member, SCONCE_CONF_LIST | SCONCE_CONF_ONCE), value, help, 0, 0, check }

/* Seconds, 23 days at most, as the timeouts of sockets. */
#define SECONDS 0, 2000000

static bool
check_lookups(const char *value, char *why, size_t size)
{
	static const char *const words[] = { "0", "1", "double", "double-detail", "double-autofail", "double-debug" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(value, words[i]) == 0)
			return true;
	snprintf(why, size, "'%s' is none of 0, 1, double, double-detail, double-autofail, double-debug", value);
	return false;
}

static const struct sconce_conf_option server_options[] = {
	{ OPTION(conf_file, SCONCE_CONF_TEXT | SCONCE_CONF_NO_FILE), "FILE", "read options from FILE", 0, 0, NULL },
	ONCE(port, "PORT", "listen on PORT: a port, an endpoint, or host:port/proto; may be said again", NULL),
	ONCE(host, "HOST", "the host of the ports that name none, one for each", NULL),
	ONCE(proto, "PROTO", "their protocols: tcp, udp, unix, unix_dgram", NULL),
	ONCE(ipv, "IPV", "their IP versions: 4, 6, * or v4v6", NULL),
	ONCE(listen, "N", "their backlogs", check_backlog),
	LIST(allow, "REGEX", "let in addresses, or host names, that match REGEX", check_regex),
	LIST(deny, "REGEX", "turn them away", check_regex),
	LIST(cidr_allow, "NET", "let in addresses of the network NET", check_cidr),
	LIST(cidr_deny, "NET", "turn them away", check_cidr),
	{ OPTION(reverse_lookups, SCONCE_CONF_TEXT), "HOW", "look clients' names up: 1, or double to believe only those that lead back",
		0, 0, check_lookups },
	{ OPTION(double_reverse_lookups, SCONCE_CONF_FLAG), NULL, "the same as --reverse_lookups=double", 0, 0, NULL },
	{ OPTION(no_client_stdout, SCONCE_CONF_FLAG), NULL, "leave stdout alone in hooks", 0, 0, NULL },
	{ OPTION(check_for_dequeue, SCONCE_CONF_NUMBER), "SECONDS", "run the queue this often", SECONDS, NULL },
	{ OPTION(max_clients, SCONCE_CONF_INT), "N", "serve N clients at a time, in each process", 0, 1000000000, NULL },
	{ OPTION(timeout, SCONCE_CONF_NUMBER), "SECONDS", "close clients that say nothing for so long", SECONDS, NULL },
	{ OPTION(write_timeout, SCONCE_CONF_NUMBER), "SECONDS", "close clients that take nothing for so long", SECONDS, NULL },
	{ OPTION(lifetime, SCONCE_CONF_NUMBER), "SECONDS", "close clients after so long", SECONDS, NULL },
	{ OPTION(udp_recv_len, SCONCE_CONF_INT), "BYTES", "cut datagrams that are longer", 0, 1024 * 1024, NULL },
	{ OPTION(udp_broadcast, SCONCE_CONF_FLAG), NULL, "allow datagrams to broadcast addresses", 0, 0, NULL },
	{ OPTION(check, SCONCE_CONF_FLAG | SCONCE_CONF_NO_FILE), NULL, "look at the configuration, and exit", 0, 0, NULL },
	{ OPTION(help, SCONCE_CONF_FLAG | SCONCE_CONF_NO_FILE), NULL, "print this, and exit", 0, 0, NULL },
};

int
sconce__server_conf(struct sconce_server *sv)
{
	int r = sconce_conf_add(sv->conf, server_options, sizeof(server_options) / sizeof(server_options[0]), &sv->options);

	if (r == 0)
		r = sconce_process_conf(sv->conf, &sv->process_options);
	if (r == 0)
		r = sconce_conf_set(sv->conf, SCONCE_CONF_DEFAULT, "write_timeout", "60");
	return r;
}

/* ---- where to listen ---- */

/* Of a list that goes along with the ports: the last entry stands for all that follow (NS-60). */
static const char *
beside(const struct sconce_conf_list *list, size_t i)
{
	if (list->count == 0)
		return NULL;
	return list->values[i < list->count ? i : list->count - 1];
}

static int
add_endpoint(struct sconce_server *sv, const struct sconce_endpoint *ep)
{
	struct sconce__server *s = sv->_s;
	struct sconce_endpoint *eps;

	eps = realloc(s->eps, (s->ep_count + 1) * sizeof(*eps));
	if (eps == NULL)
		return -ENOMEM;
	s->eps = eps;
	eps[s->ep_count++] = *ep;
	return 0;
}

static bool
can_serve(struct sconce_server *sv, const struct sconce_endpoint *ep, size_t i)
{
	bool datagrams = ep->type == SOCK_DGRAM;

	if (datagrams && sv->ops->mux_datagram == NULL)
		sconce_conf_error(sv->conf, "port", i, "%s has no use for datagrams", sv->ops->name);
	else if (!datagrams && ep->type != 0 && sv->ops->mux_input == NULL && sv->ops->mux_record == NULL &&
	    sv->ops->mux_connection == NULL)
		sconce_conf_error(sv->conf, "port", i, "%s takes datagrams only", sv->ops->name);
	else
		return true;
	return false;
}

/* Whether the port is a number, or known by its name.  (There is one thread yet.) */
static bool
is_service(const struct sconce_endpoint *ep)
{
	size_t digits = strspn(ep->service, "0123456789");

	return ep->family == AF_UNIX || ep->fd >= 0 || ep->service[digits] == '\0' ||
	    getservbyname(ep->service, ep->type == SOCK_DGRAM ? "udp" : "tcp") != NULL;
}

static int
add_port(struct sconce_server *sv, const char *text, size_t i)
{
	struct sconce_endpoint_defaults defaults = {
		.host = beside(&sv->options.host, i), .service = "20203",
		.proto = beside(&sv->options.proto, i), .ipv = beside(&sv->options.ipv, i),
	};
	const char *backlog = beside(&sv->options.listen, i);
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fail fail;
	int r = 0, count = sconce_endpoint_parse(text, SCONCE_ENDPOINT_LISTEN, &defaults, list, &fail);

	if (count < 0)
		sconce_conf_error(sv->conf, "port", i, "%s", fail.text);
	for (int k = 0; r == 0 && k < count; k++) {
		if (!is_service(&list[k])) {
			sconce_conf_error(sv->conf, "port", i, "there is no service '%s': say a number", list[k].service);
			continue;
		}
		if (backlog != NULL && list[k].options.backlog < 0)
			list[k].options.backlog = (int)strtol(backlog, NULL, 10);
		if (can_serve(sv, &list[k], i))
			r = add_endpoint(sv, &list[k]);
	}
	return r;
}

/* Makes s->eps of the options.  Errors are told to the configuration.  -ENOMEM. */
int
sconce__server_eps(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	int r = 0;

	free(s->eps);
	s->eps = NULL;
	s->ep_count = 0;
	for (size_t i = 0; r == 0 && i < sv->options.port.count; i++)
		r = add_port(sv, sv->options.port.values[i], i);
	if (sv->options.port.count > 0)
		return r;
	r = add_port(sv, "20203", 0);		/* to see whether host, proto and ipv are right */
	s->ep_count = 0;
	return r;
}

/* ---- who may connect ---- */

static enum sconce_acl_lookup
lookup_of(const struct sconce_server_options *o)
{
	const char *how = o->reverse_lookups;

	if (how != NULL && strcmp(how, "double-autofail") == 0)
		return SCONCE_ACL_AUTOFAIL;
	if (o->double_reverse_lookups || (how != NULL && strncmp(how, "double", 6) == 0))
		return SCONCE_ACL_DOUBLE;
	return how != NULL && strcmp(how, "1") == 0 ? SCONCE_ACL_REVERSE : SCONCE_ACL_NO_LOOKUP;
}

static int
add_rules(struct sconce_acl *acl, enum sconce_acl_kind kind, const struct sconce_conf_list *rules)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rules->count; i++)
		r = sconce_acl_add(acl, kind, rules->values[i], NULL);
	return r;
}

/* Makes the rules of the options, which have been checked.  Returns 0, or -ENOMEM. */
int
sconce__server_acl(struct sconce_server *sv, struct sconce_acl **acl_out)
{
	const struct sconce_server_options *o = &sv->options;
	struct sconce_acl *acl;
	int r = sconce_acl_new(&acl);

	if (r < 0)
		return r;
	sconce_acl_set_lookup(acl, lookup_of(o));
	r = add_rules(acl, SCONCE_ACL_DENY, &o->deny);
	if (r == 0)
		r = add_rules(acl, SCONCE_ACL_CIDR_DENY, &o->cidr_deny);
	if (r == 0)
		r = add_rules(acl, SCONCE_ACL_ALLOW, &o->allow);
	if (r == 0)
		r = add_rules(acl, SCONCE_ACL_CIDR_ALLOW, &o->cidr_allow);
	if (r < 0)
		sconce_acl_unref(acl);
	else
		*acl_out = acl;
	return r;
}

/* Targets: what they say, keeping them until there is room, and beginning a connection to one. */
#include "fleet_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
sconce__fleet_fail(struct sconce_fail *fail, const char *operation, int errnum, const char *what)
{
	if (fail == NULL)
		return;
	*fail = (struct sconce_fail){ .operation = operation, .errnum = errnum };
	snprintf(fail->text, sizeof(fail->text), "%s %s: %s", operation, what, sconce_strerror(errnum));
}

void
sconce__fleet_failure(const struct sconce_fleet_conn *c, const char *operation, int errnum, struct sconce_fail *fail_out)
{
	const struct sconce_fail *fail = sconce_failure(&c->stream.sock);

	if (fail != NULL)
		*fail_out = *fail;
	else
		sconce__fleet_fail(fail_out, operation, errnum, sconce_fleet_endpoint(c));
}

/* ---- local addresses ---- */

int
sconce__fleet_bind_parse(const char *text, struct sconce_addr *addr_out, struct sconce_fail *fail_out)
{
	bool bare_v6 = text[0] != '[' && strchr(text, ':') != strrchr(text, ':');
	bool has_port = !bare_v6 && strchr(text[0] == '[' ? text + strcspn(text, "]") : text, ':') != NULL;
	char full[SCONCE_ADDR_TEXT];
	int n = snprintf(full, sizeof(full), bare_v6 ? "[%s]:0" : has_port ? "%s" : "%s:0", text);

	if (n >= (int)sizeof(full) || text[0] == '/' || text[0] == '@' ||
	    sconce_addr_parse(full, addr_out, NULL) < 0 || addr_out->any.sa_family == AF_UNIX) {
		sconce__fleet_fail(fail_out, "parse", EINVAL, "bind address");
		if (fail_out != NULL)
			snprintf(fail_out->text, sizeof(fail_out->text),
			    "bind address '%.60s': say a numeric address, with or without a port", text);
		return -EINVAL;
	}
	return 0;
}

/* The family of a target where it can be told without a look-up, else AF_UNSPEC. */
static int
family_of(const struct sconce_endpoint *ep)
{
	char bytes[sizeof(struct in6_addr)];

	if (ep->family != AF_UNSPEC)
		return ep->family;
	if (inet_pton(AF_INET, ep->host, bytes) == 1)
		return AF_INET;
	return strchr(ep->host, ':') != NULL ? AF_INET6 : AF_UNSPEC;
}

/* The fleet's next local address, of the family if there is one. */
static const struct sconce_addr *
next_bind(struct sconce__fleet *f, int family)
{
	const struct sconce_addr *a = NULL;

	for (size_t i = 0; i < f->bind_count; i++) {
		a = &f->binds[f->bind_next];
		f->bind_next = (f->bind_next + 1) % f->bind_count;
		if (family == AF_UNSPEC || a->any.sa_family == family)
			break;
	}
	return a;		/* where all are of the other family: binding fails, and that is told */
}

/* Which local address a target gets: its own, then the endpoint's, then the fleet's. */
static int
choose_bind(struct sconce__fleet *f, const struct sconce_fleet_target *t, struct sconce_endpoint *ep,
	struct sconce_fail *fail_out)
{
	const struct sconce_addr *local;
	struct sconce_addr own;

	if (t->bind != NULL) {
		if (sconce__fleet_bind_parse(t->bind, &own, fail_out) < 0)
			return -EINVAL;
		local = &own;
	} else {
		if (ep->bind_host[0] != '\0' || ep->bind_service[0] != '\0' || ep->fd >= 0 || ep->family == AF_UNIX)
			return 0;
		local = next_bind(f, family_of(ep));
	}
	if (local == NULL)
		return 0;
	sconce_addr_host(local, ep->bind_host, sizeof(ep->bind_host));
	snprintf(ep->bind_service, sizeof(ep->bind_service), "%d", sconce_addr_port(local));
	return 0;
}

/* ---- what a target says ---- */

static int
parse(const struct sconce_fleet_target *t, struct sconce_endpoint *ep, struct sconce_fail *fail_out)
{
	int r;

	if (t->endpoint == NULL) {
		sconce__fleet_fail(fail_out, "parse", EINVAL, "target without an endpoint");
		return -EINVAL;
	}
	r = sconce_endpoint_parse(t->endpoint, SCONCE_ENDPOINT_CONNECT, NULL, ep, fail_out);
	return r < 0 ? r : 0;
}

int
sconce__fleet_target_check(const struct sconce_fleet_target *t, struct sconce_fail *fail_out)
{
	struct sconce_endpoint ep;
	struct sconce_addr local;
	int r = t->addr != NULL ? 0 : parse(t, &ep, fail_out);

	return r == 0 && t->bind != NULL ? sconce__fleet_bind_parse(t->bind, &local, fail_out) : r;
}

/* An address that is to be bound has to be said as an endpoint. */
static void
endpoint_of_addr(const struct sconce_addr *addr, struct sconce_endpoint *ep)
{
	sconce_endpoint_init(ep);
	ep->family = addr->any.sa_family;
	sconce_addr_host(addr, ep->host, sizeof(ep->host));
	snprintf(ep->service, sizeof(ep->service), "%d", sconce_addr_port(addr));
}

static bool
is_plain(const struct sconce__fleet *f, const struct sconce_fleet_target *t)
{
	bool unix_path = t->addr != NULL && t->addr->any.sa_family == AF_UNIX;

	return t->addr != NULL && t->bind == NULL && (f->bind_count == 0 || unix_path);
}

struct sconce__fleet_wait *
sconce__fleet_wait_new(const struct sconce_fleet_target *t)
{
	size_t endpoint = t->endpoint != NULL ? strlen(t->endpoint) + 1 : 0, bind = t->bind != NULL ? strlen(t->bind) + 1 : 0;
	struct sconce__fleet_wait *w = malloc(sizeof(*w) + endpoint + bind);

	if (w == NULL)
		return NULL;
	w->next = NULL;
	w->target = *t;
	if (t->endpoint != NULL)
		w->target.endpoint = memcpy(w->text, t->endpoint, endpoint);
	if (t->bind != NULL)
		w->target.bind = memcpy(w->text + endpoint, t->bind, bind);
	if (t->addr != NULL) {
		w->addr = *t->addr;
		w->target.addr = &w->addr;
	}
	return w;
}

/* ---- beginning ---- */

static int
keep_text(struct sconce_fleet_conn *c, const struct sconce_fleet_target *t)
{
	char buf[SCONCE_ADDR_TEXT];
	const char *text = t->endpoint != NULL ? t->endpoint : t->addr != NULL ? sconce_addr_text(t->addr, buf, sizeof(buf)) : "";

	c->_endpoint = strdup(text);
	return c->_endpoint != NULL ? 0 : -ENOMEM;
}

/* A kind of timeout is at most 24 days. */
static double
clamp(double secs)
{
	const double most = 24 * 86400.0;

	return secs < most ? secs : most;
}

/* While it connects the alarm is the fleet's: other than SCONCE_TIMEOUT_CONNECT it leaves the decision to a hook. */
static int
set_connect_timeout(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t, int endpoint_ms)
{
	double secs = t->connect_timeout != 0 ? t->connect_timeout : endpoint_ms >= 0 ? endpoint_ms * 1e-3 : f->connect_timeout;

	return secs > 0 ? sconce_set_timeout(&c->stream.sock, SCONCE_TIMEOUT_ALARM, clamp(secs)) : 0;
}

/* It begins to run when reads are watched, which is when the connection is open. */
static void
set_input_timeout(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t)
{
	double secs = t->input_timeout != 0 ? t->input_timeout : f->input_timeout;

	if (secs > 0)
		sconce_set_timeout(&c->stream.sock, SCONCE_TIMEOUT_INPUT, clamp(secs));
}

static int
failed(struct sconce_fleet_conn *c, int r, struct sconce_fail *fail_out)
{
	sconce__fleet_failure(c, "connect", -r, fail_out);
	return r;
}

static int
connect_endpoint(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t,
	struct sconce_fail *fail_out)
{
	struct sconce_endpoint ep;
	int r = 0, ms;

	if (t->addr != NULL)
		endpoint_of_addr(t->addr, &ep);
	else
		r = parse(t, &ep, fail_out);
	if (r == 0)
		r = choose_bind(f, t, &ep, fail_out);
	if (r < 0)
		return r;
	ms = ep.options.timeout_ms;
	ep.options.timeout_ms = -1;
	r = set_connect_timeout(f, c, t, ms);
	if (r == 0)
		r = sconce_connect_endpoint(&c->stream.sock, &ep);
	return r < 0 ? failed(c, r, fail_out) : 0;
}

static int
connect_addr(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t,
	struct sconce_fail *fail_out)
{
	int r = set_connect_timeout(f, c, t, -1);

	if (r == 0)
		r = sconce_connect_addr(&c->stream.sock, t->addr);
	return r < 0 ? failed(c, r, fail_out) : 0;
}

int
sconce__fleet_start(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t,
	struct sconce_fail *fail_out)
{
	int r = keep_text(c, t);

	c->arg = t->arg;
	if (r < 0)
		return failed(c, r, fail_out);
	r = is_plain(f, t) ? connect_addr(f, c, t, fail_out) : connect_endpoint(f, c, t, fail_out);
	if (r == 0)
		set_input_timeout(f, c, t);
	return r;
}

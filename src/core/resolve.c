/* Names: look-ups, joined when they are equal, in the pool's threads or by resolve_cares.c.  Called by connect.c, bind.c
 * and applications.
 *
 *	struct sconce_resolve	one who asks: done(), a deadline
 *	struct sconce__lookup	one question that is worked on, and those who asked it
 *
 * A thread touches nothing of a look-up but its question, which does not change, and its answer, which the loop does not
 * read before the job has come back.  A look-up whose askers have all gone stays until its end, and no longer keeps the
 * loop running. */
#include "resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct sconce_resolve {
	struct sconce_loop *loop;
	sconce_resolve_fn *done;
	sconce_resolve_addr_fn *name_done;	/* the question is for a name */
	void *arg;
	struct sconce_timer timer;
	struct sconce__lookup *lookup;		/* NULL: the answer is `literal`, and a deferred call is on its way */
	struct sconce_resolve *next, **prevp;	/* of the look-up's */
	struct sconce_addr literal;
	struct question q;
};

/* ---- the default resolver ---- */

bool
sconce__is_localhost(const char *host)
{
	size_t len = strlen(host);

	if (len > 0 && host[len - 1] == '.')
		len--;
	return len >= 9 && strncasecmp(host + len - 9, "localhost", 9) == 0 && (len == 9 || host[len - 10] == '.');
}

/* Names of this host itself: they have addresses whatever interfaces there are (RFC 6761, 6.3). */
bool
sconce__is_loopback_name(const char *host)
{
	static const char *const names[] = { "localhost.localdomain", "ip6-localhost", "ip6-loopback" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(host, names[i]) == 0)
			return true;
	return sconce__is_localhost(host);
}

static int
take_addrs(const struct addrinfo *list, struct sconce_addr *out, size_t max)
{
	size_t count = 0;

	for (const struct addrinfo *ai = list; ai != NULL && count < max; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(out->un))
			continue;
		memset(&out[count], 0, sizeof(out[count]));
		memcpy(&out[count].any, ai->ai_addr, ai->ai_addrlen);
		out[count++].len = ai->ai_addrlen;
	}
	return (int)count;
}

int
sconce_resolver_default(void *arg, const char *host, const char *service, int family, int type, unsigned flags,
	struct sconce_addr *addrs_out, size_t max)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = type }, *list;
	bool any = strcmp(host, "*") == 0, local;
	int r;

	(void)arg;
	if (flags & SCONCE_RESOLVE_PASSIVE)
		hints.ai_flags |= AI_PASSIVE;
	/* who names a family wants it, whatever addresses the host has */
	else if ((flags & SCONCE_RESOLVE_CONFIGURED) && family == AF_UNSPEC && !sconce__is_loopback_name(host))
		hints.ai_flags |= AI_ADDRCONFIG;
	if (any && family == AF_UNSPEC)
		hints.ai_family = AF_INET6;		/* for every address, see bind.c */
	/* what is below localhost, and localhost where no file knows it, is this host, and no nameserver's business (RFC 6761, 6.3) */
	local = sconce__is_localhost(host);
	r = local && strlen(host) > 9 ? EAI_NONAME : getaddrinfo(any ? NULL : host, service, &hints, &list);
	if (r != 0 && local) {
		hints.ai_flags = 0;
		r = getaddrinfo(NULL, service, &hints, &list);
	}
	if (r != 0)
		return r;
	r = take_addrs(list, addrs_out, max);
	freeaddrinfo(list);
	return r > 0 ? r : EAI_NONAME;
}

/* ---- questions ---- */

static int
question_set(struct question *q, const char *host, const char *service, int family, int type, unsigned flags)
{
	memset(q, 0, sizeof(*q));
	if (host[0] == '\0' || service[0] == '\0' || strlen(host) >= sizeof(q->host) || strlen(service) >= sizeof(q->service))
		return -EINVAL;
	strcpy(q->host, host);
	strcpy(q->service, service);
	q->family = family;
	q->type = type;
	q->flags = flags;
	return 0;
}

static int
question_set_addr(struct question *q, const struct sconce_addr *addr)
{
	memset(q, 0, sizeof(*q));
	q->name = true;
	q->addr = *addr;
	sconce_addr_unmap(&q->addr);
	if (q->addr.len < sizeof(sa_family_t))
		return -EINVAL;
	q->family = q->addr.any.sa_family;
	if ((q->family != AF_INET || q->addr.len < sizeof(q->addr.in)) &&
	    (q->family != AF_INET6 || q->addr.len < sizeof(q->addr.in6)))
		return -EINVAL;
	sconce__addr_set_port(&q->addr, 0);
	sconce_addr_host(&q->addr, q->host, sizeof(q->host));
	return 0;
}

static bool
question_same(const struct question *a, const struct question *b)
{
	return a->name == b->name && strcasecmp(a->host, b->host) == 0 && strcmp(a->service, b->service) == 0 && a->family == b->family &&
	    a->type == b->type && a->flags == b->flags;
}

static const char *
question_text(const struct question *q, char *buf, size_t size)
{
	const char *form = q->name ? "%.100s" : strchr(q->host, ':') != NULL ? "[%.60s]:%.40s" : "%.60s:%.40s";

	snprintf(buf, size, form, q->host, q->service);
	return buf;
}

/* The record of a failed look-up: `errnum` alone, or an answer below 0. */
static void
question_failed(const struct question *q, int gai, int errnum, struct sconce_fail *fail)
{
	char what[SCONCE_ADDR_TEXT];
	const char *operation = q->name ? "getnameinfo" : gai == EAI_SERVICE ? "getservbyname" : "getaddrinfo";
	const char *why = NULL;

	question_text(q, what, sizeof(what));
	if (gai == EAI_SYSTEM && errnum > 0)
		gai = 0;
	else if (gai == EAI_MEMORY)
		errnum = ENOMEM;
	else if (gai != 0)
		errnum = EADDRNOTAVAIL, why = gai_strerror(gai);
	sconce__fail_fill(fail, operation, errnum, what);
	if (fail == NULL)
		return;
	fail->gai = gai;
	if (why != NULL)
		snprintf(fail->text, sizeof(fail->text), "%s %s: %s", operation, what, why);
	sconce__text_clean(fail->text);
}

int
sconce__resolve_now(struct sconce_loop *l, const char *host, const char *service, int family, int type,
	struct sconce_addr *addrs, size_t max, struct sconce_fail *fail)
{
	sconce_resolver_fn *fn = l->resolver != NULL ? l->resolver : sconce_resolver_default;
	struct sconce_fail failure;
	struct question q;
	int r = question_set(&q, host, service, family, type, SCONCE_RESOLVE_PASSIVE);

	if (r < 0) {
		sconce__fail_fill(fail, "parse", -r, "host or service");
		return r;
	}
	r = fn(l->resolver_arg, q.host, q.service, q.family, q.type, q.flags, addrs, max);
	if (r > 0)
		return (size_t)r < max ? r : (int)max;
	question_failed(&q, r < 0 ? r : EAI_NONAME, errno, &failure);
	if (fail != NULL)
		*fail = failure;
	return -failure.errnum;
}

void
sconce_set_resolver(struct sconce_loop *l, sconce_resolver_fn *fn, void *arg)
{
	l->resolver = fn;
	l->resolver_arg = arg;
}

/* ---- those who ask ---- */

static void
unlink_asker(struct sconce_resolve *r)
{
	struct sconce__lookup *u = r->lookup;

	if (u == NULL)
		return;
	*r->prevp = r->next;
	if (r->next != NULL)
		r->next->prevp = r->prevp;
	else
		u->tail = r->prevp;
	if (u->askers == NULL) {
		sconce__keep(u->loop, -1);	/* nobody waits for the answer */
		atomic_store(&u->unwanted, true);
	}
	r->lookup = NULL;
}

/* What is told: the addresses, or the name, or the failure. */
struct answer {
	const struct sconce_addr *addrs;
	size_t count;
	const char *name;
	const struct sconce_fail *fail;
};

/* Tells the end, and frees the asker. */
static void
finish(struct sconce_resolve *r, struct answer a)
{
	struct sconce_loop *l = r->loop;
	sconce_resolve_fn *done = r->done;
	sconce_resolve_addr_fn *name_done = r->name_done;
	void *arg = r->arg;

	sconce_timer_stop(&r->timer);
	unlink_asker(r);
	l_free(l, r);
	if (name_done != NULL)
		name_done(l, arg, a.name, a.fail);
	else
		done(l, arg, a.addrs, a.count, a.fail);
}

static void
expired(struct sconce_timer *t, void *arg)
{
	struct sconce_resolve *r = arg;
	struct sconce_fail fail;

	(void)t;
	question_failed(&r->q, 0, ETIMEDOUT, &fail);
	finish(r, (struct answer){ .fail = &fail });
}

/* ---- look-ups ---- */

/* In a thread. */
static void
work(void *arg)
{
	struct sconce__lookup *u = arg;
	const struct question *q = &u->q;

	u->skipped = atomic_load(&u->unwanted);
	if (u->skipped)
		return;				/* those behind it are not to wait for it */
	if (q->name)
		sconce__name_work(u);
	else if (u->way == WAY_PORT)
		u->count = sconce_resolver_default(NULL, "*", q->service, AF_INET, q->type, SCONCE_RESOLVE_PASSIVE, u->addrs, 1);
	else if (u->fn != NULL)
		u->count = u->fn(u->arg, q->host, q->service, q->family, q->type, q->flags, u->addrs, ADDRS_MAX);
	else
		u->count = sconce_resolver_default(NULL, q->host, q->service, q->family, q->type, q->flags, u->addrs, ADDRS_MAX);
	u->errnum = errno;
	if (u->count > ADDRS_MAX)
		u->count = ADDRS_MAX;
	if (u->count == 0)
		u->count = EAI_NONAME;
}

static void
forget(struct sconce__lookup *u)
{
	*u->prevp = u->next;
	if (u->next != NULL)
		u->next->prevp = u->prevp;
}

/* Tells all who asked.  `status` -errno: it did not come to an answer. */
static void
tell(struct sconce__lookup *u, int status)
{
	struct sconce_loop *l = u->loop;
	struct answer a = { .fail = NULL };
	struct sconce_fail fail;

	if (status < 0)
		question_failed(&u->q, 0, -status, &fail);
	else if (u->count < 0)
		question_failed(&u->q, u->count, u->errnum, &fail);
	forget(u);
	if (status < 0 || u->count < 0)
		a.fail = &fail;
	else if (u->q.name)
		a.name = u->name;
	else
		a.addrs = u->addrs, a.count = (size_t)u->count;
	while (u->askers != NULL)
		finish(u->askers, a);
	l_free(l, u);
}

/* A service's number, or -1; 0 without one. */
static int
port_number(const char *service)
{
	long port = strtol(service, NULL, 10);

	return service[strspn(service, "0123456789")] == '\0' && port <= UINT16_MAX ? (int)port : -1;
}

static int
query(struct sconce__lookup *u, int port, sconce_call_fn *fn)
{
	u->end = l_alloc(u->loop, sizeof(*u->end));
	if (u->end == NULL)
		return -ENOMEM;
	*u->end = (struct sconce__call){ .fn = fn, .arg = u };
	u->way = WAY_QUERY;
	u->port = port;
	sconce__cares_query(u);
	return 0;
}

/* Sets about it; fn is called at the end.  `port` is the service's number, -1: not known yet. */
static int
begin(struct sconce__lookup *u, int port, sconce_call_fn *fn)
{
	int r;

	if (u->fn != NULL || u->addr_fn != NULL || !sconce__cares_takes(u->loop, &u->q))
		u->way = WAY_THREAD;
	else if (port < 0)
		u->way = WAY_PORT;
	else
		return query(u, port, fn);
	r = sconce_work(u->loop, work, fn, u);
	if (r == 0)
		sconce__keep(u->loop, -1);	/* only those who ask keep the loop running */
	return r;
}

/* What was being done is.  If it stayed behind in a parent process, was passed over while nobody asked, or its nameservers are no
 * longer the loop's, it is begun again. */
static void
answered(struct sconce_loop *l, void *arg, int status)
{
	struct sconce__lookup *u = arg;
	bool skipped = u->way != WAY_QUERY && u->skipped, again = status == -ECANCELED || skipped;
	bool found_port = !skipped && status == 0 && u->way == WAY_PORT && u->count > 0;
	int r = status;

	if (u->way != WAY_QUERY)
		sconce__keep(l, 1);		/* the job's own reference, which goes again now */
	if (u->askers != NULL && !l->freeing && (again || found_port)) {
		r = begin(u, again ? port_number(u->q.service) : sconce_addr_port(&u->addrs[0]), answered);
		if (r == 0)
			return;
	}
	tell(u, r);
}

/* The addresses of localhost where no file knows it. */
static int
loopback(struct sconce__lookup *u)
{
	in_port_t port = htons((uint16_t)u->port);
	int n = 0;

	memset(u->addrs, 0, 2 * sizeof(u->addrs[0]));
	if (u->q.family != AF_INET) {
		u->addrs[n].in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
		u->addrs[n++].len = sizeof(struct sockaddr_in6);
	}
	if (u->q.family != AF_INET6) {
		u->addrs[n].in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		u->addrs[n++].len = sizeof(struct sockaddr_in);
	}
	return n;
}

void
sconce__query_ended(struct sconce__lookup *u, int status)
{
	struct sconce__call *end = u->end;

	if (status == 0 && u->count < 0 && sconce__is_localhost(u->q.host))
		u->count = loopback(u);
	u->end = NULL;
	end->status = status;
	sconce__call_push(u->loop, end);
}

/* Gives a new look-up the loop's resolver; or whether that of another is still it. */
static void
resolver_take(struct sconce__lookup *u)
{
	const struct sconce_loop *l = u->loop;

	u->fn = u->q.name ? NULL : l->resolver;
	u->addr_fn = u->q.name ? l->addr_resolver : NULL;
	u->arg = u->q.name ? l->addr_resolver_arg : l->resolver_arg;
}

static bool
resolver_same(const struct sconce__lookup *u)
{
	const struct sconce_loop *l = u->loop;

	if (u->q.name)
		return u->addr_fn == l->addr_resolver && u->arg == l->addr_resolver_arg;
	return u->fn == l->resolver && u->arg == l->resolver_arg;
}

static struct sconce__lookup *
find(const struct sconce_loop *l, const struct question *q)
{
	struct sconce__lookup *u = l->lookups;

	while (u != NULL && (!question_same(&u->q, q) || !resolver_same(u)))
		u = u->next;
	return u;
}

/* Makes one, whose first asker is to come. */
static int
lookup_new(struct sconce_loop *l, const struct question *q, struct sconce__lookup **out)
{
	struct sconce__lookup *u = sconce__zalloc(l, sizeof(*u));
	int r;

	if (u == NULL)
		return -ENOMEM;
	u->loop = l;
	u->q = *q;
	resolver_take(u);
	u->tail = &u->askers;
	r = begin(u, port_number(q->service), answered);
	if (r < 0) {
		l_free(l, u);
		return r;
	}
	u->next = l->lookups;
	u->prevp = &l->lookups;
	if (u->next != NULL)
		u->next->prevp = &u->next;
	l->lookups = u;
	*out = u;
	return 0;
}

static void
join(struct sconce__lookup *u, struct sconce_resolve *r)
{
	if (u->askers == NULL)
		sconce__keep(u->loop, 1);
	atomic_store(&u->unwanted, false);
	r->lookup = u;
	r->next = NULL;
	r->prevp = u->tail;
	*u->tail = r;
	u->tail = &r->next;
}

/* ---- the calls ---- */

static bool
is_literal(const struct question *q, struct sconce_addr *out)
{
	struct sconce_endpoint ep;

	if (q->name || (strcmp(q->host, "*") == 0 && !(q->flags & SCONCE_RESOLVE_PASSIVE)))
		return false;
	sconce_endpoint_init(&ep);
	ep.family = q->family;
	strcpy(ep.host, q->host);
	strcpy(ep.service, q->service);
	return sconce__endpoint_addr(&ep, out) == 0;
}

/* The answer that needed no look-up.  The asker may have gone, but for its memory. */
static void
tell_literal(struct sconce_loop *l, void *arg, int status)
{
	struct sconce_resolve *r = arg;
	struct sconce_addr a = r->literal;
	struct sconce_fail fail;

	if (r->done == NULL) {
		l_free(l, r);
	} else if (status < 0) {
		question_failed(&r->q, 0, -status, &fail);
		finish(r, (struct answer){ .fail = &fail });
	} else {
		finish(r, (struct answer){ .addrs = &a, .count = 1 });
	}
}

/* Finds or makes the look-up, or the answer. */
static int
ask(struct sconce_resolve *r, double timeout)
{
	struct sconce_loop *l = r->loop;
	struct sconce__lookup *u;
	int e;

	if (is_literal(&r->q, &r->literal))
		return sconce_defer(l, NULL, tell_literal, r);
	u = find(l, &r->q);
	e = u != NULL ? 0 : lookup_new(l, &r->q, &u);
	if (e < 0)
		return e;
	join(u, r);
	if (timeout > 0)
		sconce_timer_start(&r->timer, timeout);
	return 0;
}

/* Begins what `wanted` says, a question and whom to tell. */
static int
start(struct sconce_loop *l, const struct sconce_resolve *wanted, double timeout, struct sconce_resolve **resolve_out)
{
	struct sconce_resolve *r;
	int e;

	if (l->freeing)
		return -EAGAIN;
	r = l_alloc(l, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	*r = *wanted;
	r->loop = l;
	sconce_timer_init(&r->timer, l, expired, r);
	e = ask(r, timeout);
	if (e < 0) {
		l_free(l, r);
		return e;
	}
	if (resolve_out != NULL)
		*resolve_out = r;
	return 0;
}

int
sconce_resolve(struct sconce_loop *l, const char *host, const char *service, int family, int type, unsigned flags,
	double timeout, sconce_resolve_fn *done, void *arg, struct sconce_resolve **resolve_out)
{
	struct sconce_resolve r = { .done = done, .arg = arg };
	int e = question_set(&r.q, host, service, family, type, flags);

	return e < 0 ? e : start(l, &r, timeout, resolve_out);
}

int
sconce_resolve_addr(struct sconce_loop *l, const struct sconce_addr *addr, double timeout, sconce_resolve_addr_fn *done,
	void *arg, struct sconce_resolve **resolve_out)
{
	struct sconce_resolve r = { .name_done = done, .arg = arg };
	int e = question_set_addr(&r.q, addr);

	return e < 0 ? e : start(l, &r, timeout, resolve_out);
}

void
sconce_resolve_cancel(struct sconce_resolve *r)
{
	if (r == NULL)
		return;
	sconce_timer_stop(&r->timer);
	if (r->lookup == NULL) {
		r->done = NULL;			/* its call is on its way */
		return;
	}
	unlink_asker(r);
	l_free(r->loop, r);
}

/* The daemon's beginning, tick and end. */
#include "proxy.h"
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- the tick ---- */

/* Each busy client once.  A look at one may end others, so the list is not walked but turned. */
static void
check_busy(struct proxy *p)
{
	double now = sconce_now(p->loop);
	size_t count = 0;

	for (struct link *l = p->busy.next; l != &p->busy; l = l->next)
		count++;
	for (; count > 0 && !list_empty(&p->busy); count--) {
		struct link *l = p->busy.next;

		list_remove(l);
		list_push_tail(&p->busy, l);
		client_check(SCONCE_CONTAINER_OF(l, struct client, busy), now);
	}
}

static void
tick(struct sconce_timer *t, void *arg)
{
	struct proxy *p = arg;

	check_busy(p);
	for (struct link *l = p->services.next; l != &p->services; l = l->next) {
		struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);

		if (sv->waiting_count > 0)
			service_spawn(sv);	/* nodes that were left alone may be tried again */
	}
	if (list_empty(&p->busy))
		sconce_timer_stop(t);
}

void
proxy_tick(struct proxy *p)
{
	if (!sconce_timer_active(&p->tick))
		sconce_timer_start_every(&p->tick, TICK_SECONDS, TICK_SECONDS);
}

const char *
proxy_date(struct proxy *p)
{
	time_t now = time(NULL);

	if (now != p->date_time) {
		sconce_http_date(p->date, now);
		p->date_time = now;
	}
	return p->date;
}

/* ---- descriptors ---- */

static rlim_t
fd_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? RLIM_INFINITY : limit.rlim_cur;
}

/* Whether a lack of something is to be mentioned, again. */
static bool
shortage_told(struct proxy *p)
{
	double now = sconce_now(p->loop);

	if (now < p->shortage_quiet)
		return false;
	p->shortage_quiet = now + SHORTAGE_SECONDS;
	return true;
}

bool
proxy_shortage(struct proxy *p, int errnum)
{
	char text[80];

	switch (errnum) {
	case EMFILE:
		snprintf(text, sizeof(text), "no descriptors left (limit %llu): raise ulimit -n",
		    (unsigned long long)fd_limit());
		break;
	case ENFILE:
		snprintf(text, sizeof(text), "no descriptors left in the whole system: raise fs.file-max");
		break;
	case EADDRNOTAVAIL:
		snprintf(text, sizeof(text), "no local port or address to connect from");
		break;
	case ENOBUFS:
	case ENOMEM:
		snprintf(text, sizeof(text), "no memory left for sockets");
		break;
	default:
		return false;
	}
	if (shortage_told(p))
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "%s", text);
	return true;
}

void
proxy_full(struct service *sv)
{
	if (shortage_told(sv->proxy))
		sconce_log_line(sv->proxy->log, SCONCE_LOG_WARNING,
		    "service %s: %u clients, and no descriptors for more (limit %llu): raise ulimit -n", sv->name,
		    (unsigned)sv->listener.connections, (unsigned long long)fd_limit());
}

void
proxy_share_fds(struct proxy *p)
{
	rlim_t limit = fd_limit(), ours = OWN_FDS + p->listener_count, share = 0;

	if (limit > UINT32_MAX)
		limit = UINT32_MAX;
	if (p->listener_count > 0 && limit > ours)
		share = (limit - ours) / 2 / p->listener_count;
	for (struct link *l = p->services.next; l != &p->services; l = l->next) {
		struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);

		if (sv->listening)
			sconce_listener_set_limit(&sv->listener, share > 0 ? (uint32_t)share : 1);
	}
}

/* ---- life ---- */

static void
grace_over(struct sconce_timer *t, void *arg)
{
	(void)t;
	proxy_leave(arg);
}

int
proxy_init(struct proxy *p, struct sconce_process *process)
{
	int error;

	memset(p, 0, sizeof(*p));
	p->process = process;
	p->log = sconce_process_log(process);
	list_init(&p->services);
	list_init(&p->pools);
	list_init(&p->busy);
	error = sconce_loop_new(NULL, &p->loop);
	if (error < 0)
		return error;
	p->io = malloc(IO_BYTES);
	p->out = malloc(OUT_BYTES);
	sconce_timer_init(&p->tick, p->loop, tick, p);
	sconce_timer_init(&p->grace, p->loop, grace_over, p);
	if (p->io != NULL && p->out != NULL)
		return 0;
	proxy_fini(p);
	return -ENOMEM;
}

void
proxy_fini(struct proxy *p)
{
	sconce_loop_free(p->loop);
	while (!list_empty(&p->services))
		service_free(SCONCE_CONTAINER_OF(p->services.next, struct service, link));
	while (!list_empty(&p->pools))
		pool_free(SCONCE_CONTAINER_OF(p->pools.next, struct pool, link));
	free(p->io);
	free(p->out);
}

/* ---- the end ---- */

/* Nobody new is served.  Returns how many clients are left. */
static size_t
serve_no_more(struct proxy *p)
{
	size_t left = 0;

	p->stopping = true;
	for (struct link *l = p->services.next; l != &p->services; l = l->next)
		service_close(SCONCE_CONTAINER_OF(l, struct service, link));
	sconce_each(p->loop, client_close_idle, &left);
	return left;
}

static const char *
plural(size_t count)
{
	return count == 1 ? "" : "s";
}

void
proxy_stop(struct proxy *p, bool timed)
{
	double secs = sconce_process_options(p->process)->drain;
	size_t busy = serve_no_more(p);

	if (busy > 0)
		sconce_log_line(p->log, SCONCE_LOG_NOTICE, "stopping: %zu connection%s busy, up to %g s; again ends now",
		    busy, plural(busy), secs);
	if (timed)
		sconce_timer_start(&p->grace, secs);
	proxy_check_stopped(p);
}

void
proxy_drain(struct proxy *p)
{
	p->draining = true;
	serve_no_more(p);
	proxy_check_stopped(p);
}

void
proxy_leave(struct proxy *p)
{
	sconce_timer_stop(&p->grace);
	sconce_log_line(p->log, SCONCE_LOG_WARNING, "%zu connection%s still busy: leaving them", p->client_count,
	    plural(p->client_count));
	sconce_process_exit(p->process, 0);
}

void
proxy_check_stopped(struct proxy *p)
{
	if (p->stopping && p->client_count == 0)
		sconce_process_exit(p->process, 0);
}

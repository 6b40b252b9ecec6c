/* The daemon's beginning, tick and end. */
#include "proxy.h"
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- life ---- */

static void
grace_over(struct sconce_timer *t, void *arg)
{
	struct proxy *p = arg;

	(void)t;
	log_line(p, "%zu clients are still busy: leaving them", p->client_count);
	sconce_loop_stop(p->loop);
}

int
proxy_init(struct proxy *p)
{
	int error;

	memset(p, 0, sizeof(*p));
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

void
proxy_stop(struct proxy *p)
{
	if (p->stopping) {
		sconce_loop_stop(p->loop);
		return;
	}
	p->stopping = true;
	for (struct link *l = p->services.next; l != &p->services; l = l->next)
		service_close(SCONCE_CONTAINER_OF(l, struct service, link));
	sconce_each(p->loop, client_close_idle, NULL);
	sconce_timer_start(&p->grace, GRACE_SECONDS);
	proxy_check_stopped(p);
}

void
proxy_check_stopped(struct proxy *p)
{
	if (p->stopping && p->client_count == 0)
		sconce_loop_stop(p->loop);
}

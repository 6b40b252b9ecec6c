/* A service's listener, its queue (PB-146) and its idle backends (PB-145).
 *
 * Backends are connected for the queue, not for a client: whichever is free first gets whoever waits longest.
 * Idle ones are used in turn, so that all nodes get their share. */
#include "backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIM_SECONDS 1.0

static void trim(struct sconce_timer *t, void *arg);

struct service *
service_new(struct proxy *p, const char *name)
{
	struct service *sv = calloc(1, sizeof(*sv));

	if (sv == NULL)
		return NULL;
	sv->name = strdup(name);
	if (sv->name == NULL) {
		free(sv);
		return NULL;
	}
	sv->proxy = p;
	list_init(&sv->waiting);
	list_init(&sv->idle);
	sconce_timer_init(&sv->trim, p->loop, trim, sv);
	list_push_tail(&p->services, &sv->link);
	return sv;
}

void
service_free(struct service *sv)
{
	list_remove(&sv->link);
	free(sv->conf.listen);
	free(sv->name);
	free(sv);
}

struct service *
service_find(const struct proxy *p, const char *name)
{
	for (struct link *l = p->services.next; l != &p->services; l = l->next) {
		struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);

		if (strcmp(sv->name, name) == 0)
			return sv;
	}
	return NULL;
}

/* ---- the listener ---- */

static void
service_accept_fail(struct sconce_listener *l, const struct sconce_fail *fail)
{
	struct service *sv = SCONCE_CONTAINER_OF(l, struct service, listener);

	if (!proxy_shortage(sv->proxy, fail->errnum))
		sconce_log_line(sv->proxy->log, SCONCE_LOG_WARNING, "service %s: %s: %s", sv->name, fail->operation,
		    sconce_strerror(fail->errnum));
}

static const struct sconce_listener_ops service_listener_ops = {
	.name = "service", .accept = client_accept, .event_fail = service_accept_fail,
};

/* PB-54, PB-67; RFC 9110 7.6.3. */
static void
make_lines(struct service *sv)
{
	snprintf(sv->persist_lines, sizeof(sv->persist_lines), "Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n",
	    (int)sv->conf.persist_client_idle_timeout);
	for (int minor = 0; minor < 2; minor++)
		snprintf(sv->request_lines[minor], sizeof(sv->request_lines[minor]),
		    "Via: 1.%d sconced\r\nConnection: %s\r\n", minor,
		    sv->conf.persist_backend ? "keep-alive" : "close");
}

/* A socket that is there already, from before a restart or a service manager's, or, unless only that is wanted, a new
 * one.  -ENOENT: there is none. */
static int
open_listener(struct service *sv, const struct sconce_endpoint *ep, bool anew)
{
	struct sconce_loop *loop = sv->proxy->loop;
	int fd = sconce_process_inherited(sv->proxy->process, ep), error;

	if (fd < 0)
		return anew ? sconce_listen_endpoint(&sv->listener, loop, &service_listener_ops, ep, NULL) : -ENOENT;
	error = sconce_listen_fd(&sv->listener, loop, &service_listener_ops, fd, NULL);
	if (error < 0)
		close(fd);
	return error;
}

static int
open_service(struct service *sv, bool anew)
{
	struct sconce_endpoint ep[SCONCE_ENDPOINTS];
	int error;

	if (sv->listening)
		return 0;
	error = sconce_endpoint_parse(sv->conf.listen, SCONCE_ENDPOINT_LISTEN, NULL, ep, NULL);
	if (error >= 0)
		error = open_listener(sv, ep, anew);
	if (error < 0)
		return error;
	error = sconce_process_keep(sv->proxy->process, &sv->listener.sock, ep);
	if (error < 0) {
		sconce_close(&sv->listener.sock, SCONCE_REASON_LOCAL);
		return error;
	}
	make_lines(sv);
	sv->listening = true;
	sv->proxy->listener_count++;
	proxy_share_fds(sv->proxy);
	service_spawn(sv);
	return 0;
}

int
service_open(struct service *sv)
{
	return open_service(sv, true);
}

int
service_try(struct service *sv)
{
	struct sconce_endpoint ep[SCONCE_ENDPOINTS];
	int error = sconce_endpoint_parse(sv->conf.listen, SCONCE_ENDPOINT_LISTEN, NULL, ep, NULL);

	return error < 0 ? error : sconce_program_try_bind(ep, NULL);
}

int
service_take_over(struct service *sv)
{
	int error = open_service(sv, false);

	return error == -ENOENT ? 0 : error;
}

void
service_close(struct service *sv)
{
	if (!sv->listening)
		return;
	sconce_close(&sv->listener.sock, SCONCE_REASON_LOCAL);
	sv->listening = false;
	sv->proxy->listener_count--;
	proxy_share_fds(sv->proxy);
}

/* ---- backends for clients ---- */

static void
leave_idle(struct service *sv, struct backend *b)
{
	list_remove(&b->idle);
	sv->idle_count--;
	if (sv->idle_count < sv->idle_low)
		sv->idle_low = sv->idle_count;
}

void
service_unidle(struct service *sv, struct backend *b)
{
	if (link_listed(&b->idle))
		leave_idle(sv, b);
}

/* The idle backend whose turn it is, still as it was left; NULL for none. */
static struct backend *
take_idle(struct service *sv)
{
	while (!list_empty(&sv->idle)) {
		struct backend *b = SCONCE_CONTAINER_OF(sv->idle.next, struct backend, idle);

		leave_idle(sv, b);
		if (backend_fresh(b))
			return b;
		backend_close(b, SCONCE_REASON_EOF);
	}
	return NULL;
}

void
service_want(struct service *sv, struct client *c)
{
	struct backend *b = c->fresh ? NULL : take_idle(sv);

	if (b != NULL) {
		backend_use(b, c);
		if (sv->conf.connect_ahead > 0)
			service_spawn(sv);
		return;
	}
	c->state = CLIENT_WAIT;
	c->since = sconce_now(sv->proxy->loop);
	sv->waiting_count++;
	sv->fresh_count += c->fresh;
	if (c->fresh)
		list_push_head(&sv->waiting, &c->waiting);
	else
		list_push_tail(&sv->waiting, &c->waiting);
	service_spawn(sv);
}

void
service_unwant(struct service *sv, struct client *c)
{
	if (!link_listed(&c->waiting))
		return;
	list_remove(&c->waiting);
	sv->waiting_count--;
	sv->fresh_count -= c->fresh;
}

/* Who has waited longest and may have this backend. */
static struct client *
next_client(struct service *sv, const struct backend *b)
{
	for (struct link *l = sv->waiting.next; l != &sv->waiting; l = l->next) {
		struct client *c = SCONCE_CONTAINER_OF(l, struct client, waiting);

		if (!c->fresh || b->uses == 0)
			return c;
	}
	return NULL;
}

static int64_t
kept_idle(const struct service *sv)
{
	return sv->conf.backend_persist_cache + sv->conf.connect_ahead;
}

void
service_offer(struct service *sv, struct backend *b)
{
	struct client *c = next_client(sv, b);

	if (c != NULL && !backend_fresh(b)) {
		backend_close(b, SCONCE_REASON_EOF);
		return;
	}
	if (c != NULL) {
		service_unwant(sv, c);
		backend_use(b, c);
		return;
	}
	if (sv->proxy->stopping) {
		backend_close(b, SCONCE_REASON_LOCAL);
		return;
	}
	b->state = BACKEND_IDLE;
	list_push_tail(&sv->idle, &b->idle);
	sv->idle_count++;
	if (sv->idle_count > kept_idle(sv) && !sconce_timer_active(&sv->trim))
		sconce_timer_start(&sv->trim, TRIM_SECONDS);
}

/* Of the idle backends those go that backend_persist_cache does not cover (PB-70) and that nobody needed for a
 * second: at once would mean a new connection for every other request when it is busy. */
static void
trim(struct sconce_timer *t, void *arg)
{
	struct service *sv = arg;
	unsigned needless = sv->idle_low;

	for (; needless > kept_idle(sv); needless--)
		backend_close(SCONCE_CONTAINER_OF(sv->idle.next, struct backend, idle), SCONCE_REASON_LOCAL);
	sv->idle_low = sv->idle_count;
	if (sv->idle_count > kept_idle(sv))
		sconce_timer_start(t, TRIM_SECONDS);
}

/* ---- connecting ---- */

/* How many backends should be on their way (PB-100). */
static int64_t
wanted(const struct service *sv)
{
	int64_t others = (int64_t)sv->waiting_count - sv->fresh_count - sv->idle_count;

	if (!sv->proxy->stopping)
		others += sv->conf.connect_ahead;
	return sv->fresh_count + (others > 0 ? others : 0);
}

/* PB-10: nobody waits for a pool that is dead. */
static void
refuse_all(struct service *sv)
{
	while (!list_empty(&sv->waiting))
		client_fail(SCONCE_CONTAINER_OF(sv->waiting.next, struct client, waiting), 503,
		    "No backend is available");
}

void
service_spawn(struct service *sv)
{
	while (sv->connecting < wanted(sv)) {
		struct node *node = pool_pick(sv->conf.pool);
		int error;

		if (node == NULL)
			break;
		error = backend_connect(sv, node);
		if (error < 0) {
			if (!proxy_shortage(sv->proxy, -error))
				sconce_log_line(sv->proxy->log, SCONCE_LOG_WARNING, "service %s: connecting to %s: %s",
				    sv->name, node->text, sconce_strerror(error));
			return;			/* the tick tries again */
		}
	}
	if (sv->waiting_count > 0 && pool_dead(sv->conf.pool))
		refuse_all(sv);
}

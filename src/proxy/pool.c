/* Nodes, and which of them takes the next connection. */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pool *
pool_new(struct proxy *p, const char *name)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->name = strdup(name);
	if (pool->name == NULL) {
		free(pool);
		return NULL;
	}
	pool->proxy = p;
	list_push_tail(&p->pools, &pool->link);
	return pool;
}

static void
node_free(struct node *node)
{
	free(node->text);
	free(node);
}

void
pool_free(struct pool *pool)
{
	for (unsigned i = 0; i < pool->node_count; i++)
		node_free(pool->nodes[i]);
	list_remove(&pool->link);
	free(pool->nodes);
	free(pool->name);
	free(pool);
}

struct pool *
pool_find(const struct proxy *p, const char *name)
{
	for (struct link *l = p->pools.next; l != &p->pools; l = l->next) {
		struct pool *pool = SCONCE_CONTAINER_OF(l, struct pool, link);

		if (strcmp(pool->name, name) == 0)
			return pool;
	}
	return NULL;
}

/* ---- nodes ---- */

/* The text says "endpoint '...': why"; the place is shown in the line itself. */
const char *
endpoint_reason(const struct sconce_fail *fail)
{
	const char *why = strstr(fail->text, "': ");

	return why != NULL ? why + 3 : fail->text;
}

/* PB-46: port 80 if none is given. */
static int
node_parse(const char *text, struct sconce_addr *addr_out, char **text_out, struct sconce_fail *fail_out)
{
	size_t len = strlen(text);
	bool bare = strchr(text, '/') == NULL &&
	    (text[0] == '[' ? text[len - 1] == ']' : strchr(text, ':') == NULL);
	char *full;
	int error;

	if (asprintf(&full, "%s%s", text, bare ? ":80" : "") < 0)
		return -ENOMEM;
	error = sconce_addr_parse(full, addr_out, fail_out);
	if (error == 0 && addr_out->any.sa_family != AF_UNIX && sconce_addr_port(addr_out) == 0) {
		snprintf(fail_out->text, sizeof(fail_out->text), "port 0 cannot be connected to");
		error = -EINVAL;
	}
	if (error < 0)
		free(full);
	else
		*text_out = full;
	return error;
}

static bool
same_addr(const struct sconce_addr *a, const struct sconce_addr *b)
{
	return a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0;
}

/* Takes the node out of the pool.  Connections that it still has keep its memory. */
static void
drop_node(struct pool *pool, unsigned i)
{
	struct node *node = pool->nodes[i];

	pool->node_count--;
	memmove(&pool->nodes[i], &pool->nodes[i + 1], (pool->node_count - i) * sizeof(node));
	node->removed = true;
	if (node->open == 0)
		node_free(node);
}

static void
drop_addr(struct pool *pool, const struct sconce_addr *addr)
{
	for (unsigned i = 0; i < pool->node_count; i++)
		if (same_addr(&pool->nodes[i]->addr, addr)) {
			drop_node(pool, i);
			return;
		}
}

int
pool_add(struct pool *pool, const char *text, struct sconce_fail *fail_out)
{
	struct node *node = calloc(1, sizeof(*node)), **nodes;
	int error = -ENOMEM;

	if (node == NULL)
		return -ENOMEM;
	error = node_parse(text, &node->addr, &node->text, fail_out);
	if (error < 0)
		goto fail;
	nodes = realloc(pool->nodes, (pool->node_count + 1) * sizeof(node));
	if (nodes == NULL) {
		error = -ENOMEM;
		goto fail;
	}
	pool->nodes = nodes;
	drop_addr(pool, &node->addr);
	node->pool = pool;
	nodes[pool->node_count++] = node;
	return 0;
fail:
	node_free(node);
	return error;
}

int
pool_remove(struct pool *pool, const char *text, struct sconce_fail *fail_out)
{
	struct sconce_addr addr;
	char *full;
	int error = node_parse(text, &addr, &full, fail_out);

	if (error < 0)
		return error;
	free(full);
	drop_addr(pool, &addr);
	return 0;
}

/* ---- which one ---- */

/* A node that is down gets one connection to prove itself with. */
static bool
node_available(const struct node *node, double now)
{
	int64_t most = node->pool->conf.node_max_connections;

	if ((most > 0 && node->open >= most) || node->rest_until > now)
		return false;
	return !node->down || node->connecting == 0;
}

struct node *
pool_pick(struct pool *pool)
{
	double now = sconce_now(pool->proxy->loop);
	struct node *best = NULL;

	for (unsigned i = 0; i < pool->node_count; i++) {
		struct node *node = pool->nodes[(pool->turn + i) % pool->node_count];

		if (node_available(node, now) && (best == NULL || node->open < best->open))
			best = node;
	}
	pool->turn++;
	return best;
}

bool
pool_dead(const struct pool *pool)
{
	double now = sconce_now(pool->proxy->loop);

	for (unsigned i = 0; i < pool->node_count; i++)
		if (pool->nodes[i]->open > 0 || pool->nodes[i]->starved || pool->nodes[i]->rest_until <= now)
			return false;
	return true;
}

void
node_starved(struct node *node)
{
	node->rest_until = sconce_now(node->pool->proxy->loop) + TICK_SECONDS / 2;
	node->starved = true;
}

void
node_failed(struct node *node, const char *why)
{
	node->rest_until = sconce_now(node->pool->proxy->loop) + RETRY_SECONDS;
	if (!node->down)
		sconce_log_line(node->pool->proxy->log, SCONCE_LOG_WARNING, "pool %s: node %s is down: %s",
		    node->pool->name, node->text, why);
	node->down = true;
	node->starved = false;
}

void
node_answers(struct node *node)
{
	if (node->down)
		sconce_log_line(node->pool->proxy->log, SCONCE_LOG_NOTICE, "pool %s: node %s is up again",
		    node->pool->name, node->text);
	node->down = node->starved = false;
	node->rest_until = 0;
}

void
node_distrust(struct node *node)
{
	if (!node_distrusted(node))
		sconce_log_line(node->pool->proxy->log, SCONCE_LOG_WARNING,
		    "pool %s: node %s sends more than its answers (look for a Content-Length that is too small, or a body after "
		    "HEAD, 204 or 304): for %d s no connection to it is used twice",
		    node->pool->name, node->text, DISTRUST_SECONDS);
	node->distrust_until = sconce_now(node->pool->proxy->loop) + DISTRUST_SECONDS;
}

bool
node_distrusted(const struct node *node)
{
	return node->distrust_until > 0 && sconce_now(node->pool->proxy->loop) < node->distrust_until;
}

void
node_open(struct node *node)
{
	node->open++;
	node->connecting++;
}

void
node_close(struct node *node)
{
	node->open--;
	if (node->removed && node->open == 0)
		node_free(node);
}

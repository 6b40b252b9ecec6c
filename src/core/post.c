/* Calls from other threads: a list under a mutex, and a wake-up when it was empty.
 *
 * Records come from malloc(), not from the backend's allocator, which need not be safe in other threads. */
#include "core.h"

#include <stdlib.h>

int
sconce__post_init(struct sconce_loop *l)
{
	l->posted.head = NULL;
	l->posted.tail = &l->posted.head;
	l->wake = l->be->wake;
	l->wake_ctx = l->ctx;
	return -pthread_mutex_init(&l->post_lock, NULL);
}

void
sconce__post_push(struct sconce_loop *l, struct sconce__call *c)
{
	bool was_empty;

	c->next = NULL;
	pthread_mutex_lock(&l->post_lock);
	was_empty = l->posted.head == NULL;
	*l->posted.tail = c;
	l->posted.tail = &c->next;
	atomic_store(&l->has_posted, true);
	pthread_mutex_unlock(&l->post_lock);
	if (was_empty)
		l->wake(l->wake_ctx);
}

int
sconce_post(struct sconce_loop *l, sconce_call_fn *fn, void *arg)
{
	struct sconce__call *c = malloc(sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	*c = (struct sconce__call){ .fn = fn, .arg = arg };
	sconce__post_push(l, c);
	return 0;
}

static struct sconce__call *
take(struct sconce_loop *l)
{
	struct sconce__call *head;

	pthread_mutex_lock(&l->post_lock);
	head = l->posted.head;
	l->posted.head = NULL;
	l->posted.tail = &l->posted.head;
	atomic_store(&l->has_posted, false);
	pthread_mutex_unlock(&l->post_lock);
	return head;
}

void
sconce__post_run(struct sconce_loop *l, int status)
{
	struct sconce__call *c, *next;

	for (c = take(l); c != NULL; c = next) {
		int result = l->freeing ? -ECANCELED : status != 0 ? status : c->status;

		next = c->next;
		sconce__enter(l, NULL);
		CALL_HOOK(l, NULL, c->sock_id == CALL_WORK ? "work" : "post", result, c->fn(l, c->arg, result));
		sconce__leave(l);
		if (c->sock_id == CALL_WORK) {
			l->works--;
			sconce__keep(l, -1);
		}
		free(c);
	}
}

void
sconce__post_fork(struct sconce_loop *l)
{
	/* A thread of the parent may have been between two steps: the links count, not the tail. */
	pthread_mutex_init(&l->post_lock, NULL);
	l->posted.tail = &l->posted.head;
	while (*l->posted.tail != NULL)
		l->posted.tail = &(*l->posted.tail)->next;
	atomic_store(&l->has_posted, l->posted.head != NULL);
	if (l->posted.head != NULL)
		sconce__feed_turn(l);
}

void
sconce__post_fini(struct sconce_loop *l)
{
	struct sconce__call *c, *next;

	for (c = take(l); c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	pthread_mutex_destroy(&l->post_lock);
}

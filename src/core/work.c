/* The pool of threads that sconce_work() uses: one per process, for all its loops.
 *
 * Threads are made as they are needed, up to THREADS, and end when the last loop that has used them is freed.
 * They block all signals.  A job that is done goes to its loop as a post.
 *
 * One lock guards all.  A finished job is posted, and leaves running[], under it, and fork() happens under it, so
 * that at any such moment a job is in exactly one place: the queue, running[], or its loop's posts. */
#include "core.h"

#include <signal.h>
#include <stdlib.h>

enum { THREADS = 4 };

struct job {
	struct sconce__call call;		/* first: free(&job->call) frees the job */
	struct job *next;
	struct sconce_loop *loop;
	void (*fn)(void *arg);
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;			/* a job came, or the threads shall end */
	pthread_cond_t done;			/* a job was done */
	struct job *head, **tail;		/* not yet begun */
	size_t queued;
	struct job *running[THREADS];
	struct job *inherited;			/* in a child: the parent's, until their loop goes on here */
	pthread_t threads[THREADS];
	size_t count, idle;			/* threads there are, those that wait */
	size_t users;				/* loops that have used it and live */
	bool end;
} pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
	.tail = &pool.head,
};

/* ---- threads ---- */

static void
queue_put(struct job *job)
{
	job->next = NULL;
	*pool.tail = job;
	pool.tail = &job->next;
	pool.queued++;
	pthread_cond_signal(&pool.wake);
}

static struct job *
queue_take(void)
{
	struct job *job = pool.head;

	pool.head = job->next;
	if (pool.head == NULL)
		pool.tail = &pool.head;
	pool.queued--;
	return job;
}

static void *
thread_main(void *arg)
{
	struct job **running = arg;

	pthread_mutex_lock(&pool.lock);
	for (;;) {
		while (pool.head == NULL && !pool.end) {
			pool.idle++;
			pthread_cond_wait(&pool.wake, &pool.lock);
			pool.idle--;
		}
		if (pool.head == NULL)
			break;
		*running = queue_take();
		pthread_mutex_unlock(&pool.lock);
		(*running)->fn((*running)->call.arg);
		pthread_mutex_lock(&pool.lock);
		sconce__post_push((*running)->loop, &(*running)->call);
		*running = NULL;
		pthread_cond_broadcast(&pool.done);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

static void
before_fork(void)
{
	pthread_mutex_lock(&pool.lock);
}

static void
after_fork_parent(void)
{
	pthread_mutex_unlock(&pool.lock);
}

/* The threads stayed behind.  What they were doing is cancelled here, what was queued begins here. */
static void
after_fork_child(void)
{
	*pool.tail = pool.inherited;
	pool.inherited = pool.head;
	pool.head = NULL;
	pool.tail = &pool.head;
	for (int i = 0; i < THREADS; i++) {
		struct job *job = pool.running[i];

		if (job == NULL)
			continue;
		job->call.status = -ECANCELED;
		job->next = pool.inherited;
		pool.inherited = job;
		pool.running[i] = NULL;
	}
	pool.queued = pool.count = pool.idle = 0;
	pool.end = false;
	pthread_mutex_init(&pool.lock, NULL);
	pthread_cond_init(&pool.wake, NULL);
	pthread_cond_init(&pool.done, NULL);
}

static void
register_fork(void)
{
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* Makes a thread for one more job, unless there are enough.  False: there is none at all. */
static bool
add_thread(void)
{
	sigset_t all, old;
	int r;

	if (pool.count == THREADS || pool.idle > pool.queued)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&pool.threads[pool.count], NULL, thread_main, &pool.running[pool.count]);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		pool.count++;
	return pool.count > 0;
}

/* No loop uses the pool, so nothing is queued.  Gives the lock up meanwhile; sconce_work() waits. */
static void
end_threads(void)
{
	pool.end = true;
	pthread_cond_broadcast(&pool.wake);
	pthread_mutex_unlock(&pool.lock);
	for (size_t i = 0; i < pool.count; i++)
		pthread_join(pool.threads[i], NULL);
	pthread_mutex_lock(&pool.lock);
	pool.count = 0;
	pool.end = false;
	pthread_cond_broadcast(&pool.done);
}

/* ---- jobs ---- */

static void
count_user(struct sconce_loop *l)
{
	if (!l->work_user) {
		l->work_user = true;
		pool.users++;
	}
}

int
sconce_work(struct sconce_loop *l, void (*fn)(void *arg), sconce_call_fn *done, void *arg)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct job *job;

	if (l->freeing)
		return -EAGAIN;
	job = malloc(sizeof(*job));
	if (job == NULL)
		return -ENOMEM;
	*job = (struct job){
		.call = { .fn = done, .arg = arg, .sock_id = CALL_WORK }, .loop = l, .fn = fn,
	};
	pthread_once(&once, register_fork);
	pthread_mutex_lock(&pool.lock);
	while (pool.end)
		pthread_cond_wait(&pool.done, &pool.lock);
	if (!add_thread()) {
		pthread_mutex_unlock(&pool.lock);
		free(job);
		return -EAGAIN;
	}
	count_user(l);
	queue_put(job);
	pthread_mutex_unlock(&pool.lock);
	l->works++;
	sconce__keep(l, 1);
	return 0;
}

/* Takes the loop's jobs out of a list. */
static struct job *
take_out(struct job **list, const struct sconce_loop *l)
{
	struct job *taken = NULL, **tail = &taken, *job;

	while ((job = *list) != NULL) {
		if (job->loop != l) {
			list = &job->next;
			continue;
		}
		*list = job->next;
		job->next = NULL;
		*tail = job;
		tail = &job->next;
	}
	return taken;
}

static void
cancel_all(struct sconce_loop *l, struct job *job)
{
	struct job *next;

	for (; job != NULL; job = next) {
		next = job->next;
		job->call.status = -ECANCELED;
		sconce__post_push(l, &job->call);
	}
}

static struct job *
queue_take_out(const struct sconce_loop *l)
{
	struct job *taken = take_out(&pool.head, l);

	pool.tail = &pool.head;
	pool.queued = 0;
	for (; *pool.tail != NULL; pool.tail = &(*pool.tail)->next)
		pool.queued++;
	return taken;
}

static bool
runs(const struct sconce_loop *l)
{
	for (int i = 0; i < THREADS; i++)
		if (pool.running[i] != NULL && pool.running[i]->loop == l)
			return true;
	return false;
}

void
sconce__work_cancel(struct sconce_loop *l)
{
	if (!l->work_user)
		return;
	pthread_mutex_lock(&pool.lock);
	cancel_all(l, take_out(&pool.inherited, l));
	cancel_all(l, queue_take_out(l));
	while (runs(l))
		pthread_cond_wait(&pool.done, &pool.lock);
	l->work_user = false;
	if (--pool.users == 0)
		end_threads();
	pthread_mutex_unlock(&pool.lock);
}

void
sconce__work_fork(struct sconce_loop *l)
{
	struct job *job, *next;

	if (!l->work_user)
		return;
	pthread_mutex_lock(&pool.lock);
	for (job = take_out(&pool.inherited, l); job != NULL; job = next) {
		next = job->next;
		job->next = NULL;
		if (job->call.status != 0 || !add_thread())
			cancel_all(l, job);
		else
			queue_put(job);
	}
	pthread_mutex_unlock(&pool.lock);
}

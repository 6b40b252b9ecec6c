/* Items, their memory, and completions.
 *
 * A queue exists only while something waits or a completion is due:
 *
 *	head -> BYTES -> CB -> REF -> FILE -> ... tail		what waits, in order
 *	done -> ...						finished, done() not yet run
 *
 * Small items and records come from free lists; each loop keeps a queue and RECORDS records aside, so that bytes which
 * were accepted can always be kept and a completion can always be told. */
#include "core.h"

enum { FREE_MAX = 1024 };		/* items that a free list keeps */

/* ---- memory ---- */

static struct sconce__item *
pop(struct sconce__item **list)
{
	struct sconce__item *it = *list;

	if (it != NULL)
		*list = it->next;
	return it;
}

static void
push(struct sconce__item **list, struct sconce__item *it)
{
	it->next = *list;
	*list = it;
}

static struct sconce__item *
fresh(struct sconce__item *it, enum item_pool pool)
{
	if (it != NULL) {
		memset(it, 0, sizeof(*it));
		it->pool = (uint8_t)pool;
	}
	return it;
}

struct sconce__item *
sconce__record(struct sconce_loop *l)
{
	struct sconce__item *it = pop(&l->free_records);

	if (it != NULL)
		l->free_record_count--;
	else
		it = l_alloc(l, sizeof(*it));
	return fresh(it, POOL_RECORD);
}

struct sconce__item *
sconce__bytes(struct sconce_loop *l, size_t cap)
{
	struct sconce__item *it;

	if (cap <= SMALL_ITEM - sizeof(*it)) {
		cap = SMALL_ITEM - sizeof(*it);
		it = pop(&l->free_small);
		if (it != NULL)
			l->free_small_count--;
		else
			it = l_alloc(l, SMALL_ITEM);
		it = fresh(it, POOL_SMALL);
	} else {
		if (cap > UINT32_MAX)
			return NULL;
		it = fresh(l_alloc(l, sizeof(*it) + cap), POOL_HEAP);
	}
	if (it != NULL) {
		it->kind = ITEM_BYTES;
		it->bytes.cap = (uint32_t)cap;
	}
	return it;
}

static inline void
record_free(struct sconce_loop *l, struct sconce__item *it)
{
	if (unlikely(l->free_record_count == FREE_MAX)) {
		l_free(l, it);
		return;
	}
	l->free_record_count++;
	push(&l->free_records, it);
}

void
sconce__item_free(struct sconce_loop *l, struct sconce__item *it)
{
	if (it->pool == POOL_RECORD) {
		record_free(l, it);
	} else if (it->pool == POOL_SMALL && l->free_small_count < FREE_MAX) {
		l->free_small_count++;
		push(&l->free_small, it);
	} else if (it->pool == POOL_RESERVE) {
		push(&l->reserve, it);
	} else if (it->pool == POOL_GATHER && l->gather == NULL) {
		l->gather = it;
	} else {
		l_free(l, it);
	}
}

bool
sconce__reserve_spare(struct sconce_loop *l, size_t len)
{
	if (l->spare != NULL && l->spare->bytes.cap >= len)
		return true;
	if (len < GATHER_SIZE)
		len = GATHER_SIZE;
	l_free(l, l->spare);
	l->spare = sconce__bytes(l, len);
	return l->spare != NULL;
}

static bool
make_reserve(struct sconce_loop *l)
{
	if (l->reserve_block != NULL)
		return true;
	l->reserve_block = l_alloc(l, RECORDS * sizeof(*l->reserve_block));
	if (l->reserve_block == NULL)
		return false;
	for (int i = 0; i < RECORDS; i++)
		push(&l->reserve, fresh(&l->reserve_block[i], POOL_RESERVE));
	return true;
}

static bool
make_gather(struct sconce_loop *l)
{
	if (l->gather == NULL)
		l->gather = fresh(l_alloc(l, sizeof(*l->gather) + GATHER_SIZE), POOL_GATHER);
	if (l->gather == NULL || !make_reserve(l))
		return false;
	if (l->reserve_queue == NULL)		/* last: where it is, all is */
		l->reserve_queue = l_alloc(l, sizeof(*l->reserve_queue));
	return l->reserve_queue != NULL;
}

static void
queue_free(struct sconce_loop *l, struct sconce__queue *q)
{
	q->head = (struct sconce__item *)(void *)l->free_queues;
	l->free_queues = q;
}

void
sconce__gather_gone(struct sconce_loop *l)
{
	l->gather = NULL;
	if (l->reserve_queue != NULL)
		queue_free(l, l->reserve_queue);
	l->reserve_queue = NULL;
}

bool
sconce__gather_ready(struct sconce_loop *l)
{
	return likely(l->reserve_queue != NULL) || make_gather(l);
}

static void
free_list(struct sconce_loop *l, struct sconce__item *it)
{
	struct sconce__item *next;

	for (; it != NULL; it = next) {
		next = it->next;
		l_free(l, it);
	}
}

void
sconce__queue_fini(struct sconce_loop *l)
{
	struct sconce__queue *q;

	free_list(l, l->free_records);
	free_list(l, l->free_small);
	l_free(l, l->reserve_block);
	l_free(l, l->gather);
	l_free(l, l->spare);
	l_free(l, l->reserve_queue);
	while ((q = l->free_queues) != NULL) {
		l->free_queues = (struct sconce__queue *)(void *)q->head;
		l_free(l, q);
	}
}

/* ---- queues ---- */

static void
queue_set(struct sconce_sock *s, struct sconce__queue *q)
{
	memset(q, 0, sizeof(*q));
	q->done_tail = &q->done;
	s->_queue = q;
}

struct sconce__queue *
sconce__queue(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__queue *q = s->_queue;

	if (q != NULL)
		return q;
	q = l->free_queues;
	if (q != NULL)
		l->free_queues = (struct sconce__queue *)(void *)q->head;
	else
		q = l_alloc(l, sizeof(*q));
	if (q == NULL)
		return NULL;
	queue_set(s, q);
	return q;
}

/* The queue for bytes that were accepted: there is always one. */
struct sconce__queue *
sconce__queue_sure(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if (sconce__queue(s) == NULL) {
		assert(l->reserve_queue != NULL && "bytes are accepted only while a queue is in reserve");
		queue_set(s, l->reserve_queue);
		l->reserve_queue = NULL;
	}
	return s->_queue;
}

void
sconce__queue_trim(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__queue *q = s->_queue;

	if (q == NULL || q->head != NULL || q->done != NULL || q->lost > 0)
		return;
	s->_queue = NULL;
	if (l->reserve_queue == NULL && l->gather != NULL) {
		l->reserve_queue = q;
		return;
	}
	queue_free(l, q);
}

void
sconce__queue_append(struct sconce__queue *q, struct sconce__item *it)
{
	it->next = NULL;
	if (q->head == NULL)
		q->head = it;
	else
		q->tail->next = it;
	q->tail = it;
	q->items++;
	if (it->kind != ITEM_TRANSFER)
		q->bytes += it->len;
	if (it->kind == ITEM_BYTES)
		q->held += it->len;
}

void
sconce__finish_head(struct sconce_sock *s, int status)
{
	struct sconce__queue *q = s->_queue;
	struct sconce__item *it = q->head;

	q->head = it->next;
	if (q->head == NULL)
		q->tail = NULL;
	q->items--;
	if (it->kind != ITEM_TRANSFER)
		q->bytes -= it->len;
	if (it->kind == ITEM_BYTES)
		q->held -= it->len;
	if (it->kind == ITEM_TRANSFER)
		it->src_id = sconce__transfer_end(it->transfer);
	if (it->done == NULL) {
		if (it->kind == ITEM_TRANSFER)
			sconce__transfer_told(s->loop, it->src_id);
		sconce__item_free(s->loop, it);
		return;
	}
	it->status = status;
	it->next = NULL;
	*q->done_tail = it;
	q->done_tail = &it->next;
}

void
sconce__count_lost(struct sconce_sock *s, uint64_t bytes)
{
	if (bytes > 0)
		sconce__queue_sure(s)->lost += bytes;
}

void
sconce__cancel(struct sconce_sock *s, int status)
{
	if (s->_queue == NULL)
		return;
	sconce__count_lost(s, s->_queue->bytes);
	if (s->_queue->head != NULL && s->_queue->head->kind == ITEM_TRANSFER)
		sconce__count_lost(s, sconce__transfer_stuck_bytes(s->_queue->head->transfer));
	while (s->_queue->head != NULL)
		sconce__finish_head(s, status);
	sconce__queue_trim(s);
}

/* ---- completions ---- */

bool
sconce__run_done(struct sconce_sock *s, int max)
{
	struct sconce_loop *l = s->loop;
	struct sconce__queue *q;
	struct sconce__item *it;

	while ((q = s->_queue) != NULL && (it = q->done) != NULL) {
		sconce_done_fn *done = it->done;
		void *arg = it->arg;
		int status = it->status;

		if (max-- == 0)
			return true;
		q->done = it->next;
		if (q->done == NULL)
			q->done_tail = &q->done;
		if (unlikely(it->kind == ITEM_TRANSFER))
			sconce__transfer_told(l, it->src_id);
		if (likely(it->pool == POOL_RECORD))
			record_free(l, it);
		else
			sconce__item_free(l, it);
		CALL_HOOK(l, s, "completion", status, done(s, arg, status));
		if (s->_queue != NULL && s->_queue->done == NULL)
			s->_queue->wait_done = 0;
	}
	sconce__queue_trim(s);
	return false;
}

void
sconce__fail_call(struct sconce_sock *s, sconce_done_fn *done, void *arg, int status)
{
	struct sconce_loop *l = s->loop;
	struct sconce__item *it;

	if (done == NULL)
		return;
	it = sconce__record(l);
	if (it == NULL)
		it = pop(&l->reserve);
	if (it == NULL) {
		done(s, arg, status);		/* not even the reserve is left: see sconce/write.h */
		return;
	}
	it->next = NULL;
	it->done = done;
	it->arg = arg;
	it->status = status;
	if (sconce__queue(s) != NULL) {
		*s->_queue->done_tail = it;
		s->_queue->done_tail = &it->next;
		if (s->closed)
			sconce__sock_relist(s);
		else
			sconce__sock_dirty(s);
		return;
	}
	it->sock = s;
	sconce_hold(s);
	*l->late_tail = it;
	l->late_tail = &it->next;
	sconce__feed(l);
}

void
sconce__late_run(struct sconce_loop *l)
{
	struct sconce__item *batch = l->late, *it;

	l->late = NULL;
	l->late_tail = &l->late;
	while ((it = batch) != NULL) {
		struct sconce_sock *s = it->sock;
		sconce_done_fn *done = it->done;
		void *arg = it->arg;
		int status = it->status;

		batch = it->next;
		sconce__item_free(l, it);
		sconce__enter(l, NULL);
		CALL_HOOK(l, s, "completion", status, done(s, arg, status));
		sconce__leave(l);
		sconce_release(s);
	}
}

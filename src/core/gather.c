/* The gather buffer: what the socket being dispatched writes, until its dispatch ends.
 *
 * It is the loop's, and holds bytes of one socket (gather_owner).  Completions asked for among them are marks:
 *
 *	bytes   |AAAAAAAABBBBBBBBCCCCCCCC      |		gather, gather_len
 *	marks           8       16	24			each knows how many bytes are before it
 *
 * Mostly one send takes all, and the marks are due.  What the kernel refuses becomes queue items, bytes and completions in
 * their order.  While there are marks the owner has nothing in its queue. */
#include "core.h"

/* ---- marks ---- */

static struct sconce__item *
take_mark(struct sconce_loop *l)
{
	struct sconce__item *it = l->marks;

	l->marks = it->next;
	it->next = NULL;
	return it;
}

/* The marks up to `n` bytes are due; the others have `n` bytes less before them. */
static void
marks_due(struct sconce_loop *l, size_t n)
{
	struct sconce_sock *s = l->gather_owner;
	struct sconce__queue *q = sconce__queue_sure(s);

	if (l->marks_tail->mark <= n) {			/* all, as a rule */
		*q->done_tail = l->marks;
		q->done_tail = &l->marks_tail->next;
		l->marks = NULL;
	}
	while (l->marks != NULL && l->marks->mark <= n) {
		struct sconce__item *it = take_mark(l);

		*q->done_tail = it;
		q->done_tail = &it->next;
	}
	for (struct sconce__item *it = l->marks; it != NULL; it = it->next)
		it->mark -= (uint32_t)n;
	sconce__queue_trim(s);
	sconce__sock_dirty(s);
}

void
sconce__gather_sent(struct sconce_loop *l, size_t n)
{
	char *data = item_payload(l->gather);

	l->gather_len -= n;
	if (n > 0 && l->gather_len > 0)
		memmove(data, data + n, l->gather_len);
	if (l->marks != NULL)
		marks_due(l, n);
}

/* ---- into the queue ---- */

static void
parts_free(struct sconce_loop *l, struct sconce__item *it)
{
	struct sconce__item *next;

	for (; it != NULL; it = next) {
		next = it->next;
		sconce__item_free(l, it);
	}
}

/* Appends a copy of the bytes in between to *tail.  Returns the new tail, NULL without memory. */
static struct sconce__item **
copy_part(struct sconce_loop *l, struct sconce__item **tail, size_t from, size_t to)
{
	struct sconce__item *it = sconce__bytes(l, to - from);

	if (it == NULL)
		return NULL;
	memcpy(item_payload(it), item_payload(l->gather) + from, to - from);
	it->len = to - from;
	*tail = it;
	return &it->next;
}

/* The gathered bytes as items, parted where the marks are.  False: no memory. */
static bool
copy_parts(struct sconce_loop *l, struct sconce__item **parts_out)
{
	struct sconce__item *parts = NULL, **tail = &parts, *mark = l->marks;
	size_t at = 0;

	while (at < l->gather_len) {
		size_t to = mark != NULL ? mark->mark : l->gather_len;

		if (to > at)
			tail = copy_part(l, tail, at, to);
		if (tail == NULL) {
			parts_free(l, parts);
			return false;
		}
		at = to;
		if (mark != NULL)
			mark = mark->next;
	}
	*parts_out = parts;
	return true;
}

/* Queues the parts, and each mark as soon as what is before it is queued. */
static void
append_all(struct sconce_loop *l, struct sconce__item *parts)
{
	struct sconce_sock *s = l->gather_owner;
	size_t at = 0;

	while (parts != NULL || l->marks != NULL) {
		struct sconce__item *it = parts;

		if (it == NULL || (l->marks != NULL && l->marks->mark <= at)) {
			it = take_mark(l);
		} else {
			parts = it->next;
			at += it->len;
		}
		sconce__queue_append(s->_queue, it);
	}
	l->gather_len = 0;
	if (l->gather_for == s)
		l->gather_for = NULL;
	if (!(s->_flags & FL_STUCK))
		sconce__sock_dirty(s);
}

bool
sconce__gather_commit(struct sconce_loop *l)
{
	struct sconce__item *parts;

	if (sconce__queue(l->gather_owner) == NULL)
		return false;
	if (!copy_parts(l, &parts)) {
		sconce__queue_trim(l->gather_owner);
		return false;
	}
	append_all(l, parts);
	return true;
}

void
sconce__gather_spill(struct sconce_loop *l)
{
	struct sconce__item *parts;

	sconce__queue_sure(l->gather_owner);
	if (!copy_parts(l, &parts)) {
		parts = l->gather;		/* in one piece: its marks wait for all of it */
		sconce__gather_gone(l);
		parts->kind = ITEM_BYTES;
		parts->next = NULL;
		parts->bytes.off = 0;
		parts->bytes.cap = GATHER_SIZE;
		parts->len = l->gather_len;
	}
	append_all(l, parts);
}

size_t
sconce__gather_drop(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	size_t dropped = 0;

	if (l->gather_for == s)
		l->gather_for = NULL;
	if (l->gather_owner != s)
		return 0;
	dropped = l->gather_len;
	if (l->marks != NULL) {
		sconce__queue_sure(s);
		append_all(l, NULL);
	}
	l->gather_len = 0;
	l->gather_owner = NULL;
	return dropped;
}

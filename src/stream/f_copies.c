/* Records that are kept: what groups wait for, and what functions have made of one record.  For f_group.c, f_map.c
 * and f_frozen.c.
 *
 * A copy is one piece of memory: its items (and those of its items), then all bytes.  The bytes of a group's items
 * stand one behind the other, so that they are the group's too. */
#include "filter_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sconce__copy {
	struct sconce__copy *next;
	struct sconce_record rec;
};

/* Room for a copy, and how much of it is left. */
struct room {
	struct sconce_record *items;
	char *bytes;
};

/* ---- one copy ---- */

/* Adds what a copy of `rec` needs.  False: more than there can be. */
static bool
measure(const struct sconce_record *rec, size_t *items, size_t *bytes)
{
	if (rec->items == NULL) {
		*bytes += rec->len;
		return *bytes >= rec->len;
	}
	*items += rec->count;
	if (*items < rec->count)
		return false;
	for (size_t i = 0; i < rec->count; i++)
		if (!measure(&rec->items[i], items, bytes))
			return false;
	return true;
}

static struct sconce_record
copy(const struct sconce_record *rec, struct room *room)
{
	struct sconce_record mine = *rec, *items = room->items;

	mine.data = room->bytes;
	if (rec->items == NULL) {
		if (rec->len > 0)
			memcpy(room->bytes, rec->data, rec->len);
		room->bytes += rec->len;
		return mine;
	}
	room->items += rec->count;
	for (size_t i = 0; i < rec->count; i++)
		items[i] = copy(&rec->items[i], room);
	mine.items = items;
	mine.len = (size_t)(room->bytes - (const char *)mine.data);
	return mine;
}

static struct sconce__copy *
copy_new(size_t items, size_t bytes, struct room *room_out)
{
	struct sconce__copy *e;

	if (items > (SIZE_MAX - sizeof(*e)) / sizeof(*room_out->items) ||
	    bytes > SIZE_MAX - sizeof(*e) - items * sizeof(*room_out->items))
		return NULL;
	e = malloc(sizeof(*e) + items * sizeof(*room_out->items) + bytes);
	if (e == NULL)
		return NULL;
	e->next = NULL;
	room_out->items = (struct sconce_record *)(void *)(e + 1);
	room_out->bytes = (char *)(room_out->items + items);
	return e;
}

static struct sconce__copy *
copy_of(const struct sconce_record *rec)
{
	size_t items = 0, bytes = 0;
	struct sconce__copy *e;
	struct room room;

	if (!measure(rec, &items, &bytes))
		return NULL;
	e = copy_new(items, bytes, &room);
	if (e != NULL)
		e->rec = copy(rec, &room);
	return e;
}

/* ---- in order ---- */

static int
push(struct sconce__copies *q, struct sconce__copy *e)
{
	if (e == NULL)
		return -ENOMEM;
	if (q->first == NULL)
		q->first = e;
	else
		q->last->next = e;
	q->last = e;
	q->count++;
	q->bytes += e->rec.len;
	return 0;
}

static struct sconce__copy *
pop(struct sconce__copies *q)
{
	struct sconce__copy *e = q->first;

	q->first = e->next;
	q->count--;
	q->bytes -= e->rec.len;
	return e;
}

int
sconce__copies_add(struct sconce__copies *q, const struct sconce_record *rec)
{
	return push(q, copy_of(rec));
}

int
sconce__copies_add_pieces(struct sconce__copies *q, const struct iovec *iov, int count)
{
	struct sconce__copy *e;
	struct room room;
	size_t bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	e = copy_new(0, bytes, &room);
	if (e == NULL)
		return -ENOMEM;
	e->rec = sconce_record_of(room.bytes, bytes);
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > 0)
			memcpy(room.bytes, iov[i].iov_base, iov[i].iov_len);
		room.bytes += iov[i].iov_len;
	}
	return push(q, e);
}

static void
forget_given(struct sconce__copies *q)
{
	free(q->given);
	q->given = NULL;
}

bool
sconce__copies_give(struct sconce__copies *q, struct sconce_record *rec_out)
{
	forget_given(q);
	if (q->count == 0)
		return false;
	q->given = pop(q);
	*rec_out = q->given->rec;
	return true;
}

/* The first `n` records, each of which is copied once more, into the memory of the group. */
int
sconce__copies_group(struct sconce__copies *q, size_t n, struct sconce_record *rec_out)
{
	size_t items = n, bytes = 0, i = 0;
	struct sconce__copy *e = q->first;
	struct sconce_record *members;
	struct room room;

	for (i = 0; i < n; i++, e = e->next)
		if (!measure(&e->rec, &items, &bytes))
			return -ENOMEM;
	e = copy_new(items, bytes, &room);
	if (e == NULL)
		return -ENOMEM;
	forget_given(q);
	e->rec = sconce_record_of(room.bytes, bytes);
	e->rec.items = members = room.items;
	e->rec.count = n;
	room.items += n;
	for (i = 0; i < n; i++) {
		struct sconce__copy *member = pop(q);

		members[i] = copy(&member->rec, &room);
		free(member);
	}
	q->given = e;
	*rec_out = e->rec;
	return 0;
}

void
sconce__copies_fini(struct sconce__copies *q)
{
	forget_given(q);
	while (q->count > 0)
		free(pop(q));
}

/* ---- the sink ---- */

static int
collect(struct sconce__collector *c, const struct iovec *iov, int count, const struct sconce_record *rec)
{
	size_t left = c->max_record;
	int r;

	for (int i = 0; i < count; left -= iov[i].iov_len, i++)
		if (iov[i].iov_len > left)
			return -EMSGSIZE;
	r = rec != NULL ? sconce__copies_add(c->copies, rec) : sconce__copies_add_pieces(c->copies, iov, count);
	if (r == 0)
		c->copies->last->rec.flags |= c->flags;
	return r;
}

static int
collector_add(struct sconce_sink *to, const struct iovec *iov, int count, const struct sconce_record *rec)
{
	struct sconce__collector *c = SCONCE_CONTAINER_OF(to, struct sconce__collector, sink);
	int r = collect(c, iov, count, rec);

	if (r < 0 && c->error == 0)
		c->error = r;
	return r;
}

struct sconce__collector
sconce__collector_of(const struct sconce_filter *f, struct sconce__copies *q, const struct sconce_record *rec)
{
	return (struct sconce__collector){
		.sink = { collector_add }, .copies = q, .max_record = sconce_filter_max_record(f),
		.flags = rec->flags & SCONCE_RECORD_LAST,
	};
}

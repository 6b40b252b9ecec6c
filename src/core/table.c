/* Ids: a serial above a slot number, and the one table of slots behind them.
 *
 * The table grows by chunks and is not indexed by fd: a socket that waits for an address has none, and
 * one that tries the next address changes it.  A free slot holds the number of the next free one, as an
 * odd number where a pointer would be. */
#include "core.h"

enum { CHUNK = 512 };
#define SLOT_MAX ((1u << SLOT_BITS) - 1)

static uint32_t
slot_of(uint64_t id)
{
	return (uint32_t)(id & SLOT_MAX);
}

static struct sconce_sock **
entry(const struct sconce_loop *l, uint32_t slot)
{
	return &l->chunks[slot / CHUNK][slot % CHUNK];
}

static bool
is_free(const struct sconce_sock *p)
{
	return p == NULL || ((uintptr_t)p & 1);
}

static COLD int
grow(struct sconce_loop *l)
{
	struct sconce_sock ***chunks, **chunk;

	if ((uint64_t)l->chunk_count * CHUNK > SLOT_MAX - CHUNK)
		return -ENOMEM;
	if (l->chunk_count % 16 == 0) {
		chunks = l_realloc(l, l->chunks, (l->chunk_count + 16) * sizeof(*chunks));
		if (chunks == NULL)
			return -ENOMEM;
		l->chunks = chunks;
	}
	chunk = sconce__zalloc(l, CHUNK * sizeof(*chunk));
	if (chunk == NULL)
		return -ENOMEM;
	l->chunks[l->chunk_count++] = chunk;
	return 0;
}

int
sconce__table_add(struct sconce_loop *l, struct sconce_sock *s)
{
	uint32_t slot;

	if (l->slot_free != 0) {
		slot = l->slot_free - 1;
		l->slot_free = (uint32_t)((uintptr_t)*entry(l, slot) >> 1);
	} else {
		if (l->slot_used == l->chunk_count * CHUNK && grow(l) < 0)
			return -ENOMEM;
		slot = l->slot_used++;
	}
	*entry(l, slot) = s;
	s->id = ++l->serial << SLOT_BITS | slot;
	return 0;
}

void
sconce__table_remove(struct sconce_loop *l, struct sconce_sock *s)
{
	uint32_t slot = slot_of(s->id);

	assert(*entry(l, slot) == s && "a socket object stays where it was initialised");
	*entry(l, slot) = (struct sconce_sock *)((uintptr_t)l->slot_free << 1 | 1);
	l->slot_free = slot + 1;
}

struct sconce_sock *
sconce__table_at(const struct sconce_loop *l, uint32_t slot)
{
	struct sconce_sock *s;

	if (slot >= l->slot_used)
		return NULL;
	s = *entry(l, slot);
	return is_free(s) ? NULL : s;
}

struct sconce_sock *
sconce__table_get(const struct sconce_loop *l, uint64_t id)
{
	struct sconce_sock *s = sconce__table_at(l, slot_of(id));

	return s != NULL && s->id == id ? s : NULL;
}

void
sconce__table_fini(struct sconce_loop *l)
{
	for (uint32_t i = 0; i < l->chunk_count; i++)
		l_free(l, l->chunks[i]);
	l_free(l, l->chunks);
}

struct sconce_sock *
sconce_find(const struct sconce_loop *loop, uint64_t id)
{
	struct sconce_sock *s = sconce__table_get(loop, id);

	return s != NULL && !s->closed && !(s->_flags & FL_INTERNAL) ? s : NULL;
}

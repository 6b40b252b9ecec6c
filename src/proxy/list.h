/* Intrusive circular lists: a link in the object, another as the list's head. */
#ifndef PROXY_LIST_H
#define PROXY_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;	/* NULL: not on a list */
};

static inline void
list_init(struct link *list)
{
	list->next = list->prev = list;
}

static inline bool
list_empty(const struct link *list)
{
	return list->next == list;
}

static inline bool
link_listed(const struct link *l)
{
	return l->next != NULL;
}

static inline void
list_insert(struct link *l, struct link *before)
{
	l->next = before;
	l->prev = before->prev;
	before->prev->next = l;
	before->prev = l;
}

static inline void
list_push_tail(struct link *list, struct link *l)
{
	list_insert(l, list);
}

static inline void
list_push_head(struct link *list, struct link *l)
{
	list_insert(l, list->next);
}

/* Harmless for a link that is on no list. */
static inline void
list_remove(struct link *l)
{
	if (l->next == NULL)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->next = l->prev = NULL;
}

#endif

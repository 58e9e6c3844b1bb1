/* SPDX-License-Identifier: Apache-2.0 */
/* Doubly linked lists through members of the structures that are in them, and the way back from a member. */
#ifndef HULL_BASE_LIST_H
#define HULL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* The head of a list, or a member's place in one. The head of an empty list points to itself, and so does a member that
 * is in none: removing it again is harmless. */
struct list_node {
	struct list_node *prev, *next;
};
static inline void list_init(struct list_node *n)
{
	n->prev = n->next = n;
}
static inline bool list_empty(const struct list_node *head)
{
	return head->next == head;
}
/* Append. */
static inline void list_add(struct list_node *head, struct list_node *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}
static inline void list_del(struct list_node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}
/* The body may remove `n`, and no other member. */
#define list_each(n, head) \
	for (struct list_node *n = (head)->next, *n##_ = n->next; n != (head); n = n##_, n##_ = n->next)

#endif

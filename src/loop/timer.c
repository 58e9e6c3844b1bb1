/* SPDX-License-Identifier: Apache-2.0 */
/* Timers in the loop; see loop.h. */
#include "loop/loop.h"

#include <stdlib.h>

static void on_timer(uv_timer_t *timer)
{
	struct loop_timer *t = timer->data;
	t->expired(t->owner);
}

struct loop_timer *loop_timer_new(struct loop *loop, uint64_t ms, void *owner, void (*expired)(void *owner))
{
	struct loop_timer *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->owner = owner;
	t->expired = expired;
	uv_timer_init(&loop->uv, &t->timer);
	t->timer.data = t;
	uv_update_time(&loop->uv);
	uv_timer_start(&t->timer, on_timer, ms, 0);
	return t;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void loop_timer_free(struct loop_timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->timer, on_closed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What links, sockets, timers and children have in common; see loop.h. */
#include "loop/loop.h"

static void on_prepare(uv_prepare_t *prepare)
{
	struct loop *loop = prepare->data;
	/* Flushing one link may queue output on another, which goes to the end of the list. */
	while (!loop->corked && !list_empty(&loop->dirty))
		loop_link_flush(container_of(loop->dirty.next, struct loop_link, in_dirty));
	if (loop->idle)
		loop->idle(loop);
}

int loop_init(struct loop *loop, struct hull_error *err)
{
	list_init(&loop->dirty);
	int r = uv_loop_init(&loop->uv);
	if (r < 0)
		return hull_fail(err, r, "cannot set up the event loop: %s", uv_strerror(r));
	uv_prepare_init(&loop->uv, &loop->prepare);
	loop->prepare.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	return 0;
}

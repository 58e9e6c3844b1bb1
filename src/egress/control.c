/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to the keeper, on the EGRESS stream; see egress.h. Lines of the log may be dropped while too many wait; how
 * many were is reported when there is room again. */
#include "egress/internal.h"

#include <stdlib.h>
#include <string.h>

enum { LOG_WAITING_MAX = 1 << 20 };

void control_send(struct egress *g, json_t *j, bool may_be_lost)
{
	_cleanup_(json_decrefp) json_t *own = j;
	if (may_be_lost && g->control_out.len > LOG_WAITING_MAX) {
		g->log_lost++;
		return;
	}
	char *text = own ? json_dumps(own, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t n = text ? strlen(text) : 0;
	if (n) {
		text[n] = '\n';
		hull_buf_add(&g->control_out, text, n + 1);
	}
	free(text);
	loop_stream_push(&g->control, 0, &g->control_out);
}

void control_writable(struct loop_stream *s)
{
	struct egress *g = container_of(s, struct egress, control);
	loop_stream_push(s, 0, &g->control_out);
	if (g->log_lost && g->control_out.len == 0) {
		unsigned lost = g->log_lost;
		g->log_lost = 0;
		control_send(g, json_pack("{s:{s:i}}", "log", "lost", (int)lost), false);
	}
}

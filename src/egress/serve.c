/* SPDX-License-Identifier: Apache-2.0 */
/* The loop, the wire to the keeper, and the handlers of the streams that are opened on it; see egress.h. */
#include "egress/internal.h"
#include "egress/names.h"

#include "base/log.h"
#include "wire/service.h"

static void on_opened(struct loop_link *l, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	struct egress *g = l->owner;
	switch (service) {
	case HULL_SVC_EGRESS:
		control_open(g, id);
		break;
	case HULL_SVC_CONNECT:
		connect_open(g, id, args, len);
		break;
	case HULL_SVC_RESOLVE:
		resolve_open(g, id, args, len);
		break;
	case HULL_SVC_DATAGRAM:
		datagram_open(g, id, args, len);
		break;
	default:
		hull_wire_refuse(l->wire, id, ENOSYS, "not offered here");
	}
}

/* The keeper has ended. Closing the link ends every stream, and what stands behind it. */
static void on_gone(struct loop_link *l, int code, const char *why)
{
	struct egress *g = l->owner;
	g->exit_code = code < 0;
	uv_stop(&g->loop.uv);
	loop_link_close(l);
}

static int open_link(struct egress *g, int fd, struct hull_error *err)
{
	static const struct hull_wire_config config = {
		.side = HULL_WIRE_GUEST,
		.name = "keeper",
		.max_inbound = EGRESS_CONNECTIONS_MAX + EGRESS_FLOWS_MAX + EGRESS_QUESTIONS_MAX + 64,
		.queue_max_control = 16 << 20,
	};
	g->link.owner = g;
	g->link.opened = on_opened;
	g->link.gone = on_gone;
	return loop_link_open(&g->loop, &g->link, fd, false, &config, err);
}

int egress_main(int fd, const struct egress_hooks *hooks)
{
	struct egress *g = calloc(1, sizeof(*g));
	if (!g)
		return 1;
	g->hooks = hooks;
	struct list_node *heads[] = {&g->conns, &g->flows, &g->questions, &g->ports};
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
		list_init(heads[i]);
	g->loop.scratch = g->scratch;
	g->loop.scratch_size = sizeof(g->scratch);
	struct hull_error err = {0};
	int code = 1;
	if (loop_init(&g->loop, &err) == 0 && names_open(g) == 0 && open_link(g, fd, &err) == 0) {
		uv_run(&g->loop.uv, UV_RUN_DEFAULT);
		code = g->exit_code;
	} else {
		hull_log("cannot start: %s", err.msg[0] ? err.msg : "no memory or no random bytes for the names");
	}
	loop_link_close(&g->link);
	/* The process ends here: what is left goes with it. */
	return code;
}

/* egress_main: the loop and what it begins with. */
#include "egress/internal.h"

static void free_conns(struct egress *g)
{
	/* Closes every stream; each takes its connection with it. */
	hull_wire_free(g->wire);
	g->wire = NULL;
}

int egress_main(int fd, const struct egress_hooks *hooks)
{
	struct egress *g = calloc(1, sizeof(*g));
	if (!g)
		return 1;
	g->hooks = hooks;
	struct node *heads[] = {&g->conns, &g->flows, &g->questions, &g->ports};
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
		list_init(heads[i]);
	int code = 1;
	if (uv_loop_init(&g->loop) == 0 && names_open(g) == 0 && link_open(g, fd) == 0) {
		uv_run(&g->loop, UV_RUN_DEFAULT);
		code = g->exit_code;
	}
	if (g->wire)
		free_conns(g);
	/* The process ends here: what is left goes with it. */
	return code;
}

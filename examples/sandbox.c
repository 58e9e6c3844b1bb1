/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox made, a command run in it, and the sandbox removed: libhull in forty lines.
 *
 *     cc sandbox.c -o sandbox $(pkg-config --cflags --libs libhull)
 *     ./sandbox uname -a */
#include <hull.h>

#include <stdio.h>
#include <stdlib.h>

static void on_stage(void *ctx, const char *subject, const char *stage)
{
	if (stage)
		fprintf(stderr, "%s: %s\n", subject, stage);
}

int main(int argc, char **argv)
{
	static const char *const hello[] = {"sh", "-c", "echo hello from $(hostname)", NULL};
	static const int fds[] = {-1, 1, 2};
	const struct hull_callbacks callbacks = {.size = sizeof(callbacks), .stage = on_stage};
	const struct hull_create_spec make = {.size = sizeof(make), .cpus = 1, .memory = 1 << 30};
	const struct hull_exec_spec command = {
		.size = sizeof(command), .argv = argc > 1 ? (const char *const *)argv + 1 : hello, .fds = fds};
	struct hull *hull = NULL;
	struct hull_error err = {0};
	char *name = NULL;

	int code = hull_open(&hull, &callbacks, &err);
	if (code >= 0)
		code = hull_create(hull, &make, &name, &err);
	if (code >= 0)
		code = hull_exec(hull, name, &command, &err);
	if (err.code < 0)
		fprintf(stderr, "%s\n", err.msg);
	if (name && hull_remove(hull, name, HULL_REMOVE_FORCE, &err) < 0)
		fprintf(stderr, "%s is left: %s\n", name, err.msg);
	free(name);
	hull_close(hull);
	return code < 0 ? 125 : code;
}

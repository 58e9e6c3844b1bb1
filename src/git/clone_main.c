/* SPDX-License-Identifier: Apache-2.0 */
/* hull-clone TOP: writes the stream of git/git.h to standard output. hull-keeper starts it at a sandbox's first start
 * with its output on a pipe. As a separate process, it neither blocks the keeper nor exposes git to it. */
#include "git/git.h"

#include "base/debug.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	struct hull_error err = {0};
	if (hull_debug_init(&argc, argv, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 125;
	}
	if (argc != 2 || argv[1][0] != '/') {
		fputs("usage: hull-clone PATH   (started by hull-keeper; see docs/internals/workspace.md)\n", stderr);
		return 125;
	}
	if (hull_git_send(argv[1], 1, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.msg);
	return 1;
}

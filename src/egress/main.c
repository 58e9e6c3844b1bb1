/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress, the program; see egress.h. Started by hull-keeper in a jail that has the host's network and little else
 * (resolver configuration, libraries). First it gives up every system call that it does not need. */
#include "egress/egress.h"

#include "base/debug.h"
#include "base/log.h"
#include "base/text.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	uint64_t fd = 0;
	struct hull_error err = {0};
	hull_log_open(2, "egress");
	if (hull_debug_init(&argc, argv, &err) < 0) {
		fprintf(stderr, "hull-egress: %s\n", err.msg);
		return 125;
	}
	if (argc != 2 || hull_parse_u64(argv[1], 1023, &fd) < 0) {
		fputs("usage: hull-egress FD   (started by hull-keeper; see docs/network.md)\n", stderr);
		return 125;
	}
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_ARENA_MAX, 2);
	setenv("UV_THREADPOOL_SIZE", "16", 1);
	if (egress_confine(&err) < 0) {
		fprintf(stderr, "hull-egress: %s\n", err.msg);
		return 125;
	}
	return egress_main((int)fd, NULL);
}

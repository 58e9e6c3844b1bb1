/* SPDX-License-Identifier: Apache-2.0 */
/* Reports refusals of the network policy after a command failed: few clients show the reason, and TLS cannot carry it.
 */
#include "cli/refused.h"

#include "base/cleanup.h"
#include "cli/out.h"

void refused_tell(struct cli *cli, const char *name, const struct refused_mark *since)
{
	_cleanup_(hull_buf_free) struct hull_buf hosts = {0};
	refused_since(cli->paths, name, since, &hosts);
	if (hosts.len)
		cli_note("the network policy refused %.*s; `hull policy log %s` shows why, `hull policy allow "
			 "--sandbox %s HOST:PORT` allows it",
			 (int)hosts.len, (const char *)hull_buf_bytes(&hosts), name, name);
}

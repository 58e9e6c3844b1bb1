/* SPDX-License-Identifier: Apache-2.0 */
/* See signal_name.h. The guest is Linux on the same architecture, so the signal numbers are equal. */
#include "cli/signal_name.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

enum { NAMED = 31 };

int signal_number(const char *text, struct hull_error *err)
{
	uint64_t n;
	const char *names[NAMED];
	const char *bare = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	if (*text && hull_parse_u64(text, 64, &n) == 0 && n > 0)
		return (int)n;
	for (int i = 0; i < NAMED; i++) {
		names[i] = sigabbrev_np(i + 1);
		if (!names[i])
			names[i] = "";
		if (*bare && strcasecmp(bare, names[i]) == 0)
			return i + 1;
	}
	_cleanup_free_ char *shown = hull_printable(text, strlen(text));
	const char *near = hull_closest(bare, names, NAMED);
	return hull_fail(err, -EINVAL, "\"%s\" is no signal%s%s%s: it takes a name as TERM or KILL, or a number",
			 shown ? shown : "", near && *near ? " (did you mean " : "", near && *near ? near : "",
			 near && *near ? "?)" : "");
}

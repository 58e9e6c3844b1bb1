/* SPDX-License-Identifier: Apache-2.0 */
/* The lines come first in the file: of two values of a variable git takes the later one, so whatever the image or its
 * user has set, here, in ~/.gitconfig or in a repository, wins. */
#include "guest/identity/gitconfig.h"

#include "base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char begin[] = "# Hull: the name and email of the host's user. What is set elsewhere wins.\n";
static const char end[] = "# Hull: end\n";

static bool put_value(struct hull_buf *out, const char *key, const char *value)
{
	if (!value)
		return true;
	if (hull_buf_addf(out, "\t%s = \"", key) < 0)
		return false;
	for (const char *c = value; *c; c++)
		if (((*c == '"' || *c == '\\') && hull_buf_addstr(out, "\\") < 0) || hull_buf_add(out, c, 1) < 0)
			return false;
	return hull_buf_addstr(out, "\"\n") == 0;
}

int hull_gitconfig(const void *had, size_t n, const char *name, const char *email, struct hull_buf *out)
{
	const char *text = had;
	const char *from = n ? memmem(text, n, begin, sizeof(begin) - 1) : NULL;
	const char *to = from ? memmem(from, n - (size_t)(from - text), end, sizeof(end) - 1) : NULL;
	if (!hull_one_line(name, SIZE_MAX) || !hull_one_line(email, SIZE_MAX))
		return -EINVAL;
	if (hull_buf_addstr(out, begin) < 0 || hull_buf_addstr(out, "[user]\n") < 0 || !put_value(out, "name", name) ||
	    !put_value(out, "email", email) || hull_buf_addstr(out, end) < 0)
		return -ENOMEM;
	if (!to)
		return n ? hull_buf_add(out, text, n) : 0;
	to += sizeof(end) - 1;
	int r = hull_buf_add(out, text, (size_t)(from - text));
	return r < 0 ? r : hull_buf_add(out, to, n - (size_t)(to - text));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What git's services in a sandbox say, as git-remote-hull passes it on: whatever the guest puts into it, every line
 * that comes out is one of the few that a helper says there, in printable bytes. The input is packets; the first one is
 * the line with what the service can do. */
#include "remote/remote.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct hull_buf *b, bool list)
{
	char *text = (char *)hull_buf_bytes(b), *end = b->len ? text + b->len : text;
	while (text < end) {
		char *stop = memchr(text, '\n', (size_t)(end - text));
		if (!stop || stop == text)
			abort();
		for (char *c = text; c < stop; c++)
			if ((unsigned char)*c < ' ' || *c == 127)
				abort();
		*stop = '\0';
		bool ok = list ? *text == '@' || hull_streq(text, ":object-format sha256") ||
					  remote_id_ok(text, strcspn(text, " "))
			       : hull_starts(text, "ok refs/heads/a") || hull_starts(text, "error refs/heads/a ");
		if (!ok)
			abort();
		text = stop + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *refs[] = {(char *)"refs/heads/a", NULL};
	_cleanup_(remote_adv_free) struct remote_adv adv = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0}, lines = {0};
	size_t n = 0, len;
	int r, told = 0;
	for (const uint8_t *p = data; (r = remote_pkt(p, size - (size_t)(p - data), &n)) > 0; p += n) {
		if (n < REMOTE_HEAD || n > size - (size_t)(p - data))
			abort();
		if (told >= 0)
			told = remote_adv_line(&adv, (const char *)p + REMOTE_HEAD, n - REMOTE_HEAD, NULL);
		if (hull_buf_add(&lines, p + REMOTE_HEAD, n - REMOTE_HEAD) < 0 || hull_buf_addstr(&lines, "\n") < 0)
			return 0;
	}
	if (remote_list(&adv, &out) == 0)
		check(&out, true);
	(void)remote_find(&adv.refs, "refs/heads/a", &len);
	hull_buf_drain(&out, out.len);
	if (remote_status((const char *)hull_buf_bytes(&lines), lines.len, refs, &out) == 0)
		check(&out, false);
	hull_buf_drain(&out, out.len);
	if (remote_status((const char *)data, size, refs, &out) == 0)
		check(&out, false);
	return 0;
}

/* What git says of a repository in a sandbox, as git-remote-hull passes it on: whatever the guest puts into it, every
 * line that comes out is one of the few that a helper says there, in printable bytes. */
#include "remote/remote.h"

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
	struct hull_buf out = {0};
	if (remote_list((const char *)data, size, &out) == 0)
		check(&out, true);
	hull_buf_drain(&out, out.len);
	if (remote_status((const char *)data, size, refs, &out) == 0)
		check(&out, false);
	hull_buf_free(&out);
	return 0;
}

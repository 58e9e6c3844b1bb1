/* SPDX-License-Identifier: Apache-2.0 */
/* An archive of a guest's, unpacked (src/tar). The first byte: whether one entry was asked for. What is made stays in
 * the target. */
#include "tar/tar.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t n;
};

static ssize_t next(void *ctx, const void **p, struct hull_error *err)
{
	struct input *in = ctx;
	ssize_t n = (ssize_t)in->n;
	*p = in->p;
	in->n = 0;
	return n;
}

static int end(void *ctx, struct hull_error *err)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char outer[] = "/tmp/hull-fuzz-tar-XXXXXX";
	struct stat st;
	if (size == 0 || (strstr(outer, "XXXXXX") && !mkdtemp(outer)))
		return 0;
	_cleanup_close_ int top = open(outer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(top, "in", 0700) < 0)
		abort();
	_cleanup_close_ int dir = openat(top, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	symlinkat("../out", dir, "link");
	struct input in = {data + 1, size - 1};
	bool one = data[0] & 1;
	const struct hull_unpack u = {
		.dir = dir, .entry = one ? "a" : NULL, .name = one ? "a" : NULL, .read = next, .end = end, .ctx = &in};
	hull_unpack(&u, NULL);
	/* Nothing beside it, and the link is what it was. */
	if (faccessat(top, "out", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		abort();
	if (one && (fstatat(dir, "link", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode)))
		abort();
	fchmod(dir, 0700);
	if (hull_remove_tree(top, "in", NULL) < 0)
		abort();
	rmdir(outer);
	memcpy(outer + strlen(outer) - 6, "XXXXXX", 6);
	return 0;
}

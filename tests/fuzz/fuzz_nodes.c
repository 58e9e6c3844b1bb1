/* SPDX-License-Identifier: Apache-2.0 */
/* The table that a share server takes over from the one before it: whatever it says, requests to the nodes in it are
 * answered with nothing of what lies outside of the root. The input stands behind a right description of the root, so
 * that it is looked at. */
#include "../share/raw.h"

#include "base/buf.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { HEAD = 8 + 4 + 4 + 24 + 1, COUNT_AT = 12 };

static char dir[] = "/tmp/hull-fuzz-nodes-XXXXXX";
static int root = -1;

static void remove_dir(void)
{
	hull_remove_tree(AT_FDCWD, dir, NULL);
}

static int set_up(void)
{
	if (!mkdtemp(dir))
		return -1;
	atexit(remove_dir);
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || mkdirat(top, "root", 0755) < 0 || mkdirat(top, "root/a", 0755) < 0 ||
	    mkdirat(top, "secret", 0755) < 0 || symlinkat("../secret", top, "root/b") < 0)
		return -1;
	root = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(top);
	return root < 0 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hull_share *sh;
	struct raw c;
	_cleanup_(hull_buf_free) struct hull_buf all = {0};
	if (size < 4 || (root < 0 && set_up() < 0))
		return 0;
	struct hull_share_config config = {.root_fd = root, .no_watch = true, .max_inodes = 64, .readonly = true};
	if (hull_share_new(&config, &sh, NULL) < 0 || !raw_init(&c, sh) || hull_share_keep(sh, &all) < 0 ||
	    all.len != HEAD || hull_buf_add(&all, data + 4, size - 4) < 0)
		abort();
	memcpy((uint8_t *)(uintptr_t)hull_buf_bytes(&all) + COUNT_AT, data, 4);
	hull_share_adopt(sh, hull_buf_bytes(&all), all.len, NULL);
	raw_hello(&c);
	raw_lookup(&c, FUSE_ROOT_ID, "a");
	for (size_t at = 4; at + 8 <= size && at < 4096; at++) {
		uint64_t id;
		memcpy(&id, data + at, sizeof id);
		if (id != FUSE_ROOT_ID && raw_lookup(&c, id, "secret") != 0)
			abort();
	}
	raw_free(&c);
	hull_share_free(sh);
	return 0;
}

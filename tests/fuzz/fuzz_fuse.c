/* SPDX-License-Identifier: Apache-2.0 */
/* The share server fed with whatever the fuzzer makes of FUSE requests, on a small tree of its own.
 *
 * Input: records of {u16 length, opcode, node, bytes}. Opcode and node go into the header as they are (node ids: small
 * numbers name inodes looked up before), the bytes are the arguments. */
#include "../share/raw.h"

#include "base/bytes.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static uint64_t nodes[8], handles[8];
static struct raw client;
static int root = -1;

static void cleanup(void)
{
	/* What a run made stays small: the names are taken from a few. */
	for (int c = 'a'; c < 'i'; c++) {
		char name[2] = {(char)c, '\0'};
		unlinkat(root, name, 0);
		unlinkat(root, name, AT_REMOVEDIR);
	}
}

static char dir[] = "/tmp/hull-fuzz-fuse-XXXXXX";

static void remove_dir(void)
{
	hull_remove_tree(AT_FDCWD, dir, NULL);
}

static int set_up(void)
{
	if (!mkdtemp(dir))
		return -1;
	atexit(remove_dir);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hull_share *sh;
	struct hull_cur c = hull_cur_make(data, size);
	if (root < 0 && set_up() < 0)
		return 0;
	struct hull_share_config config = {
		.root_fd = root, .no_watch = true, .max_inodes = 64, .max_handles = 16, .max_waits = 2};
	if (hull_share_new(&config, &sh, NULL) < 0 || !raw_init(&client, sh))
		abort();
	raw_hello(&client);
	memset(nodes, 0, sizeof nodes);
	memset(handles, 0, sizeof handles);
	for (int i = 0; i < 64 && hull_cur_left(&c) >= 4; i++) {
		uint16_t len = hull_cur_le16(&c);
		uint8_t op = hull_cur_u8(&c), node = hull_cur_u8(&c);
		size_t n = len < hull_cur_left(&c) ? len : hull_cur_left(&c);
		const uint8_t *p = hull_cur_take(&c, n);
		if (op == FUSE_SETLKW)
			continue; /* waits, as it should */
		raw_begin(&client, op, node < 8 && nodes[node] ? nodes[node] : node);
		/* Arguments that start with a handle: a real one, by number. */
		if (n >= 8 && (node & 0x10)) {
			raw_add(&client, &handles[p[0] % 8], 8);
			p += 8;
			n -= 8;
		}
		raw_add(&client, p, n);
		if (raw_go(&client) == 0 && client.reply_len >= 8) {
			if (op == FUSE_OPEN || op == FUSE_OPENDIR)
				memcpy(&handles[i % 8], client.reply, 8);
			else if (client.reply_len >= sizeof(struct fuse_entry_out))
				memcpy(&nodes[i % 8], client.reply, 8);
		}
	}
	hull_share_free(sh);
	raw_free(&client);
	cleanup();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A FUSE client without a kernel: builds requests by hand, also wrong ones, hands them to the server in this process,
 * and keeps the reply. One per thread. */
#ifndef HULL_TESTS_SHARE_RAW_H
#define HULL_TESTS_SHARE_RAW_H

#include "base/cleanup.h"
#include "share/share.h"

#include <linux/fuse.h>
#include <stdbool.h>
#include <string.h>

struct raw {
	struct hull_share *sh;
	uint8_t *request, *scratch, *reply;
	size_t n, reply_len; /* reply_len counts what is behind the header */
	int error;           /* of the reply; 1 = there was none */
	uint64_t unique;
	uint32_t pid, uid, gid;
	bool marked; /* as the replayer's */
	struct hull_share_transport t;
};

static inline int raw_send(void *ctx, const struct iovec *iov, int count)
{
	struct raw *c = ctx;
	struct fuse_out_header h;
	if (count < 1 || iov[0].iov_len != sizeof h)
		return -EINVAL;
	memcpy(&h, iov[0].iov_base, sizeof h);
	if (h.unique != c->unique)
		return -ENOENT;
	c->error = h.error;
	c->reply_len = 0;
	for (int i = 1; i < count; i++) {
		memcpy(c->reply + c->reply_len, iov[i].iov_base, iov[i].iov_len);
		c->reply_len += iov[i].iov_len;
	}
	return 0;
}

static inline bool raw_init(struct raw *c, struct hull_share *sh)
{
	*c = (struct raw){.sh = sh, .pid = 1234, .uid = 1000, .gid = 1000};
	c->request = aligned_alloc(4096, HULL_SHARE_REQUEST_MAX);
	c->scratch = aligned_alloc(4096, HULL_SHARE_REQUEST_MAX);
	c->reply = aligned_alloc(4096, HULL_SHARE_REQUEST_MAX);
	c->t = (struct hull_share_transport){.send = raw_send, .ctx = c};
	return c->request && c->scratch && c->reply;
}

static inline void raw_free(struct raw *c)
{
	free(c->request);
	free(c->scratch);
	free(c->reply);
}

static inline void raw_begin(struct raw *c, uint32_t opcode, uint64_t node)
{
	struct fuse_in_header h = {.opcode = opcode,
				   .nodeid = node,
				   .pid = c->pid,
				   .uid = c->uid,
				   .gid = c->gid,
				   .unique = c->unique += 2};
	memcpy(c->request, &h, sizeof h);
	c->n = sizeof h;
	if (c->marked)
		hull_share_mark(c->request);
}

static inline void raw_add(struct raw *c, const void *p, size_t n)
{
	if (n > 0 && n <= HULL_SHARE_REQUEST_MAX - c->n) {
		memcpy(c->request + c->n, p, n);
		c->n += n;
	}
}

static inline void raw_name(struct raw *c, const char *name)
{
	raw_add(c, name, strlen(name) + 1);
}

/* Returns the error of the reply, 1 when there was none. */
static inline int raw_go(struct raw *c)
{
	uint32_t len = (uint32_t)c->n;
	memcpy(c->request, &len, sizeof len);
	c->error = 1;
	c->reply_len = 0;
	hull_share_handle(c->sh, &c->t, c->request, c->n, c->scratch);
	return c->error;
}

static inline int raw_hello(struct raw *c)
{
	struct fuse_init_in in = {.major = 7, .minor = 36, .flags = 0xffffffff, .max_readahead = 131072};
	raw_begin(c, FUSE_INIT, 0);
	raw_add(c, &in, sizeof in);
	return raw_go(c);
}

/* The node id of (dir, name), 0 when there is none. */
static inline uint64_t raw_lookup(struct raw *c, uint64_t dir, const char *name)
{
	struct fuse_entry_out out;
	raw_begin(c, FUSE_LOOKUP, dir);
	raw_name(c, name);
	if (raw_go(c) != 0 || c->reply_len != sizeof out)
		return 0;
	memcpy(&out, c->reply, sizeof out);
	return out.nodeid;
}

static inline int raw_open(struct raw *c, uint64_t node, uint32_t opcode, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = {.flags = flags};
	struct fuse_open_out out;
	raw_begin(c, opcode, node);
	raw_add(c, &in, sizeof in);
	int e = raw_go(c);
	if (e == 0) {
		memcpy(&out, c->reply, sizeof out);
		*fh = out.fh;
	}
	return e;
}

static inline int raw_read(struct raw *c, uint64_t node, uint32_t opcode, uint64_t fh, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};
	raw_begin(c, opcode, node);
	raw_add(c, &in, sizeof in);
	return raw_go(c);
}

static inline int raw_write(struct raw *c, uint64_t node, uint64_t fh, const char *text)
{
	struct fuse_write_in in = {.fh = fh, .size = (uint32_t)strlen(text)};
	raw_begin(c, FUSE_WRITE, node);
	raw_add(c, &in, sizeof in);
	raw_add(c, text, strlen(text));
	return raw_go(c);
}

static inline int raw_release(struct raw *c, uint64_t node, uint32_t opcode, uint64_t fh)
{
	struct fuse_release_in in = {.fh = fh};
	raw_begin(c, opcode, node);
	raw_add(c, &in, sizeof in);
	return raw_go(c);
}

static inline int raw_named(struct raw *c, uint32_t opcode, uint64_t node, const void *args, size_t n, const char *a,
			    const char *b)
{
	raw_begin(c, opcode, node);
	raw_add(c, args, n);
	raw_name(c, a);
	if (b)
		raw_name(c, b);
	return raw_go(c);
}

#endif

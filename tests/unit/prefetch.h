/* SPDX-License-Identifier: Apache-2.0 */
/* A relay's part (guest/workspace/prefetch/prefetch.h) between a server in this process and requests by hand: each goes
 * through it first, as in hull-init, and everything the server sends passes it on the way back. */
#ifndef HULL_TESTS_PREFETCH_H
#define HULL_TESTS_PREFETCH_H

#include "../share/raw.h"
#include "scratch.h"

#include "guest/workspace/prefetch/prefetch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char dir[64];
	int fd;
	struct hull_share *sh;
	struct hull_prefetch *prefetch;
	struct raw c;
	unsigned asked; /* requests that reached the server */
	bool hold;      /* do not let the reply pass yet */
	bool tells;     /* tell the server what there is to tell after every request, as hull-init does */
	uint8_t held[4096];
	size_t held_len;
	char stored[40000]; /* what was put into the kernel's page cache last */
	size_t stored_len;
	struct fuse_notify_store_out store;
};

static inline int relay_send(void *ctx, const struct iovec *iov, int count)
{
	struct fixture *f = ctx;
	static _Alignas(8) uint8_t message[256 * 1024];
	struct fuse_out_header h;
	size_t n = 0;
	for (int i = 0; i < count; i++) {
		memcpy(message + n, iov[i].iov_base, iov[i].iov_len);
		n += iov[i].iov_len;
	}
	memcpy(&h, message, sizeof h);
	if (h.unique && f->hold) {
		memcpy(f->held, message, n < sizeof f->held ? n : sizeof f->held);
		f->held_len = n;
		return 0;
	}
	struct hull_prefetch_store store;
	bool ours = hull_prefetch_message(f->prefetch, message, n, &store);
	if (store.len) {
		memcpy(&h, store.head, sizeof h);
		assert_int_equal(h.error, FUSE_NOTIFY_STORE);
		assert_int_equal(h.len, sizeof store.head + store.len);
		memcpy(&f->store, store.head + sizeof h, sizeof f->store);
		memcpy(f->stored, store.data, store.len);
		f->stored_len = store.len;
		return 0;
	}
	if (ours || h.unique == 0)
		return 0;
	return raw_send(&f->c, iov, count);
}

static inline void begin(struct fixture *f)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	struct hull_error err = {0};
	*f = (struct fixture){0};
	assert_true(scratch_make(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		close(openat(f->fd, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	assert_int_equal(mkdirat(f->fd, "sub", 0755), 0);
	close(openat(f->fd, "sub/x", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	struct hull_share_config config = {.root_fd = f->fd, .guest_uid = 1000, .guest_gid = 1000};
	assert_int_equal(hull_share_new(&config, &f->sh, &err), 0);
	assert_true(raw_init(&f->c, f->sh));
	f->prefetch = hull_prefetch_new();
	assert_non_null(f->prefetch);
	f->c.t = (struct hull_share_transport){.send = relay_send, .ctx = f};
	raw_begin(&f->c, HULL_SHARE_RELAY_PREFETCH, 0);
	raw_go(&f->c);
	assert_int_equal(raw_hello(&f->c), 0);
}

static inline void end(struct fixture *f)
{
	char command[160];
	hull_prefetch_free(f->prefetch);
	raw_free(&f->c);
	hull_share_free(f->sh);
	close(f->fd);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
}

/* The request that was built, through the relay: the error of the reply. */
static inline int go(struct fixture *f)
{
	struct hull_prefetch_answer a;
	struct fuse_out_header h;
	uint32_t len = (uint32_t)f->c.n;
	memcpy(f->c.request, &len, sizeof len);
	f->c.error = 1;
	hull_prefetch_request(f->prefetch, f->c.request, f->c.n, &a);
	if (a.forward) {
		f->asked++;
		hull_share_handle(f->sh, &f->c.t, f->c.request, f->c.n, f->c.scratch);
	}
	if (f->tells) {
		_Alignas(8) uint8_t own[HULL_PREFETCH_REQUEST_MAX];
		for (size_t n; (n = hull_prefetch_output(f->prefetch, own)) > 0;)
			hull_share_handle(f->sh, &f->c.t, own, n, f->c.scratch);
	}
	if (a.len) {
		memcpy(&h, a.bytes, sizeof h);
		assert_int_equal(h.len, a.len);
		assert_int_equal(h.unique, f->c.unique);
		f->c.error = h.error;
		f->c.reply_len = a.len - sizeof h;
		memcpy(f->c.reply, a.bytes + sizeof h, f->c.reply_len);
	}
	return f->c.error;
}

static inline uint64_t look(struct fixture *f, uint64_t dir, const char *name)
{
	struct fuse_entry_out out;
	raw_begin(&f->c, FUSE_LOOKUP, dir);
	raw_name(&f->c, name);
	if (go(f) != 0)
		return 0;
	memcpy(&out, f->c.reply, sizeof out);
	return out.nodeid;
}

static inline int named(struct fixture *f, uint32_t opcode, uint64_t node, const void *args, size_t n, const char *name)
{
	raw_begin(&f->c, opcode, node);
	raw_add(&f->c, args, n);
	raw_name(&f->c, name);
	return go(f);
}

static inline int attr(struct fixture *f, uint64_t node, struct fuse_attr_out *out)
{
	const struct fuse_getattr_in in = {0};
	raw_begin(&f->c, FUSE_GETATTR, node);
	raw_add(&f->c, &in, sizeof in);
	int e = go(f);
	if (e == 0)
		memcpy(out, f->c.reply, sizeof *out);
	return e;
}

/* One message of the server's that no request asked for. */
static inline void notified(struct fixture *f, int code, const void *p, size_t n, const char *name)
{
	uint8_t message[256];
	size_t more = name ? strlen(name) + 1 : 0;
	struct fuse_out_header h = {.len = (uint32_t)(sizeof h + n + more), .error = code};
	memcpy(message, &h, sizeof h);
	memcpy(message + sizeof h, p, n);
	if (name)
		memcpy(message + sizeof h + n, name, more);
	struct hull_prefetch_store store;
	assert_false(hull_prefetch_message(f->prefetch, message, h.len, &store));
}

static inline bool watching(struct fixture *f)
{
	struct fuse_entry_out out;
	raw_begin(&f->c, FUSE_LOOKUP, FUSE_ROOT_ID);
	raw_name(&f->c, "a");
	go(f);
	memcpy(&out, f->c.reply, sizeof out);
	return out.entry_valid > 0;
}

/* Where the host's changes cannot be watched nothing is sent ahead, and there is nothing to test. */
static inline void begin_watching(struct fixture *f)
{
	begin(f);
	if (!watching(f)) {
		end(f);
		skip();
	}
}

/* Names and the cookie behind the last one, of what READDIRPLUS gives at `offset`. */
static inline size_t read_dir(struct fixture *f, uint64_t dir, uint64_t offset, uint32_t size, uint64_t *last)
{
	const struct fuse_read_in in = {.offset = offset, .size = size};
	size_t count = 0;
	raw_begin(&f->c, FUSE_READDIRPLUS, dir);
	raw_add(&f->c, &in, sizeof in);
	assert_int_equal(go(f), 0);
	for (size_t at = 0; at < f->c.reply_len; count++) {
		struct fuse_direntplus d;
		memcpy(&d, f->c.reply + at, FUSE_NAME_OFFSET_DIRENTPLUS);
		*last = d.dirent.off;
		at += FUSE_DIRENTPLUS_SIZE(&d);
	}
	return count;
}

static inline uint64_t make_dir(struct fixture *f, uint64_t in, const char *name)
{
	const struct fuse_mkdir_in mk = {.mode = 0755};
	struct fuse_entry_out out;
	assert_int_equal(named(f, FUSE_MKDIR, in, &mk, sizeof mk, name), 0);
	memcpy(&out, f->c.reply, sizeof out);
	return out.nodeid;
}

static inline void make_dir_unanswered_in(struct fixture *f, uint64_t dir, const char *name)
{
	const struct fuse_mkdir_in mk = {.mode = 0755};
	named(f, FUSE_MKDIR, dir, &mk, sizeof mk, name);
}

static inline void make_dir_unanswered(struct fixture *f, const char *name)
{
	make_dir_unanswered_in(f, FUSE_ROOT_ID, name);
}

static inline void host_makes(struct fixture *f, const char *path)
{
	int fd = openat(f->fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static inline int rename_it(struct fixture *f, const char *from, const char *to, uint32_t flags)
{
	const struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = flags};
	raw_begin(&f->c, FUSE_RENAME2, FUSE_ROOT_ID);
	raw_add(&f->c, &in, sizeof in);
	raw_name(&f->c, from);
	raw_name(&f->c, to);
	return go(f);
}

static inline uint64_t create(struct fixture *f, uint64_t in, const char *name, uint64_t *fh)
{
	const struct fuse_create_in how = {.flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0644};
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	assert_int_equal(named(f, FUSE_CREATE, in, &how, sizeof how, name), 0);
	memcpy(&out, f->c.reply, sizeof out);
	*fh = out.open.fh;
	return out.entry.nodeid;
}

#endif

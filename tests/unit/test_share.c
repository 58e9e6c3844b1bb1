/* SPDX-License-Identifier: Apache-2.0 */
/* The share server without a kernel: requests by hand, right and wrong, and the byte-stream transport. */
#include "share_rig.h"

#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void test_read_and_write(void **state)
{
	struct fixture f;
	uint64_t fh = 0;
	begin(&f, (struct hull_share_config){0});
	uint64_t id = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	assert_true(id > FUSE_ROOT_ID);
	assert_int_equal(raw_lookup(&f.c, FUSE_ROOT_ID, "file"), id);
	assert_int_equal(raw_open(&f.c, id, FUSE_OPEN, O_RDWR, &fh), 0);
	assert_int_equal(raw_read(&f.c, id, FUSE_READ, fh, 3, 100), 0);
	assert_int_equal(f.c.reply_len, 4);
	assert_memory_equal(f.c.reply, "tent", 4);
	assert_int_equal(raw_write(&f.c, id, fh, "CON"), 0);
	assert_int_equal(raw_read(&f.c, id, FUSE_READ, fh, 0, 100), 0);
	assert_memory_equal(f.c.reply, "CONtent", 7);
	/* A handle is good for its own inode only, and only until released. */
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
	assert_int_equal(raw_read(&f.c, dir, FUSE_READ, fh, 0, 100), -EBADF);
	assert_int_equal(raw_read(&f.c, id, FUSE_READDIR, fh, 0, 100), -EBADF);
	assert_int_equal(raw_read(&f.c, id, FUSE_READ, fh, 0, UINT32_MAX), -EINVAL);
	assert_int_equal(raw_read(&f.c, id, FUSE_READ, fh, UINT64_MAX, 1), -EINVAL);
	assert_int_equal(raw_release(&f.c, id, FUSE_RELEASE, fh), 0);
	assert_int_equal(raw_read(&f.c, id, FUSE_READ, fh, 0, 100), -EBADF);
	end(&f);
}

static void test_names_that_are_refused(void **state)
{
	static const char *const bad[] = {"", ".", "..", "/", "dir/inner", "../file", "/etc", "dir/"};
	struct fixture f;
	char longest[NAME_MAX + 2];
	begin(&f, (struct hull_share_config){0});
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct fuse_mkdir_in in = {.mode = 0755};
		assert_int_equal(raw_named(&f.c, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, bad[i], NULL), -EINVAL);
		assert_int_equal(raw_named(&f.c, FUSE_MKDIR, FUSE_ROOT_ID, &in, sizeof in, bad[i], NULL), -EINVAL);
		assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, bad[i], NULL), -EINVAL);
	}
	memset(longest, 'x', sizeof longest);
	longest[NAME_MAX + 1] = '\0';
	assert_int_equal(raw_named(&f.c, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, longest, NULL), -ENAMETOOLONG);
	/* A name without its end. */
	raw_begin(&f.c, FUSE_LOOKUP, FUSE_ROOT_ID);
	raw_add(&f.c, "file", 4);
	assert_int_equal(raw_go(&f.c), -EINVAL);
	end(&f);
}

static void test_ids_that_are_not(void **state)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){0});
	uint64_t id = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	for (uint64_t bad = 0; bad < 100; bad++)
		if (bad != FUSE_ROOT_ID) {
			raw_begin(&f.c, FUSE_READLINK, bad);
			assert_int_equal(raw_go(&f.c), -ESTALE);
		}
	struct fuse_forget_in forget = {.nlookup = UINT64_MAX};
	raw_begin(&f.c, FUSE_FORGET, id);
	raw_add(&f.c, &forget, sizeof forget);
	assert_int_equal(raw_go(&f.c), 1);
	raw_begin(&f.c, FUSE_READLINK, id);
	assert_int_equal(raw_go(&f.c), -ESTALE);
	assert_int_not_equal(raw_lookup(&f.c, FUSE_ROOT_ID, "file"), id);
	/* The root cannot be forgotten. */
	raw_begin(&f.c, FUSE_FORGET, FUSE_ROOT_ID);
	raw_add(&f.c, &forget, sizeof forget);
	raw_go(&f.c);
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != 0);
	end(&f);
}

/* Every opcode, cut short at every length, is answered or dropped, and the server still serves. */
static void test_short_requests(void **state)
{
	struct fixture f;
	uint8_t junk[128];
	begin(&f, (struct hull_share_config){0});
	memset(junk, 0x41, sizeof junk);
	for (uint32_t op = 0; op < 70; op++) {
		for (size_t n = 0; n <= sizeof junk; n += 4) {
			if (op == FUSE_INIT)
				continue;
			raw_begin(&f.c, op, FUSE_ROOT_ID);
			raw_add(&f.c, junk, n);
			raw_go(&f.c);
		}
	}
	raw_begin(&f.c, FUSE_LOOKUP, FUSE_ROOT_ID);
	hull_share_handle(f.sh, &f.c.t, f.c.request, 7, f.c.scratch);
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != 0);
	end(&f);
}

static void test_readonly_and_guarded(void **state)
{
	static const char *const guarded[] = {"file", "dir/inner"};
	struct fixture f;
	uint64_t fh = 0;
	struct fuse_rename2_in rename_in = {.newdir = FUSE_ROOT_ID};
	begin(&f, (struct hull_share_config){.guarded = guarded, .guarded_count = 2});
	uint64_t file = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
	uint64_t inner = raw_lookup(&f.c, dir, "inner");
	struct fuse_link_in link_in = {.oldnodeid = inner};
	struct fuse_setattr_in set = {.valid = FATTR_SIZE};
	assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDONLY, &fh), 0);
	assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDWR, &fh), -EROFS);
	assert_int_equal(raw_open(&f.c, inner, FUSE_OPEN, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &rename_in, sizeof rename_in, "dir", "gone"),
			 -EBUSY);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, dir, &rename_in, sizeof rename_in, "inner", "gone"), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_LINK, FUSE_ROOT_ID, &link_in, sizeof link_in, "alias", NULL), -EROFS);
	raw_begin(&f.c, FUSE_SETATTR, inner);
	raw_add(&f.c, &set, sizeof set);
	assert_int_equal(raw_go(&f.c), -EROFS);
	struct fuse_mkdir_in mk = {.mode = 0755};
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, dir, &mk, sizeof mk, "fine", NULL), 0);
	end(&f);
	begin(&f, (struct hull_share_config){.readonly = true});
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "no", NULL), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), -EROFS);
	end(&f);
}

/* What the guest has open, and what it knows of already, is under the guard as well. */
/* As on a file system that takes names in any case for the same: for one file, a second link looks just like it. */
static void test_no_guard_where_case_is_nothing(void **state)
{
	static const char *const around[] = {"dir/inner"};
	struct hull_error err = {0};
	struct fixture f;
	(void)state;
	begin(&f, (struct hull_share_config){.guarded = around, .guarded_count = 1});
	assert_int_equal(linkat(f.fd, "file", f.fd, "FILE", 0), 0);
	assert_int_equal(hull_share_guard(f.sh, "file", &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "in another case"));
	put(f.fd, "DIR", "another");
	assert_int_equal(hull_share_guard(f.sh, "dir", &err), 0);
	end(&f);
}

static void test_guarded_while_it_serves(void **state)
{
	struct fixture f;
	struct hull_error err = {0};
	uint64_t fh = 0, inner_fh = 0;
	struct fuse_mkdir_in mk = {.mode = 0755};
	struct fuse_rename2_in rename_in = {.newdir = FUSE_ROOT_ID};
	begin(&f, (struct hull_share_config){0});
	uint64_t file = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
	uint64_t inner = raw_lookup(&f.c, dir, "inner");
	assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDWR, &fh), 0);
	assert_int_equal(raw_open(&f.c, inner, FUSE_OPEN, O_RDWR, &inner_fh), 0);
	assert_int_equal(raw_write(&f.c, inner, inner_fh, "INNER"), 0);
	assert_int_equal(hull_share_guard(f.sh, "dir/inner", &err), 0);
	assert_int_equal(raw_write(&f.c, inner, inner_fh, "again"), -EROFS);
	assert_int_equal(raw_open(&f.c, inner, FUSE_OPEN, O_RDWR, &inner_fh), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, dir, NULL, 0, "inner", NULL), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &rename_in, sizeof rename_in, "dir", "gone"),
			 -EBUSY);
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, dir, &mk, sizeof mk, "fine", NULL), 0);
	assert_int_equal(raw_write(&f.c, file, fh, "CON"), 0);
	/* The directory that was only on the way becomes guarded itself, with all that is in it. */
	uint64_t fine = raw_lookup(&f.c, dir, "fine");
	assert_int_equal(hull_share_guard(f.sh, "dir", &err), 0);
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, dir, &mk, sizeof mk, "not", NULL), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, fine, &mk, sizeof mk, "not", NULL), -EROFS);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &rename_in, sizeof rename_in, "dir", "gone"),
			 -EROFS);
	/* Twice is once; what cannot be is said. */
	assert_int_equal(hull_share_guard(f.sh, "dir/inner", &err), 0);
	assert_int_equal(raw_write(&f.c, inner, inner_fh, "again"), -EROFS);
	assert_int_equal(hull_share_guard(f.sh, "no/such", &err), -ENOENT);
	assert_int_equal(hull_share_guard(f.sh, "dir/../file", &err), -EINVAL);
	assert_int_equal(hull_share_guard(f.sh, "", &err), -EINVAL);
	assert_int_equal(raw_write(&f.c, file, fh, "con"), 0);
	end(&f);
}

/* A path that is only to stay what it is: it can be written, and nothing can be put in its place. */
static void test_kept_names(void **state)
{
	static const char *const guarded[] = {"dir/inner/"};
	struct fixture f;
	struct hull_error err = {0};
	uint64_t fh = 0;
	struct fuse_mkdir_in mk = {.mode = 0755};
	struct fuse_rename2_in rename_in = {.newdir = FUSE_ROOT_ID};
	struct fuse_rename2_in swap = {.newdir = FUSE_ROOT_ID, .flags = RENAME_EXCHANGE};
	begin(&f, (struct hull_share_config){.guarded = guarded, .guarded_count = 1});
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
	uint64_t inner = raw_lookup(&f.c, dir, "inner");
	assert_int_equal(raw_open(&f.c, inner, FUSE_OPEN, O_RDWR, &fh), 0);
	assert_int_equal(raw_write(&f.c, inner, fh, "INNER"), 0);
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, dir, &mk, sizeof mk, "fine", NULL), 0);
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, dir, NULL, 0, "inner", NULL), -EBUSY);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, dir, &rename_in, sizeof rename_in, "inner", "gone"), -EBUSY);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &rename_in, sizeof rename_in, "dir", "gone"),
			 -EBUSY);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, dir, &swap, sizeof swap, "inner", "file"), -EBUSY);
	assert_int_equal(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &swap, sizeof swap, "file", "dir"), -EBUSY);
	/* Read-only beats it, whichever comes first. */
	assert_int_equal(hull_share_guard(f.sh, "dir/inner", &err), 0);
	assert_int_equal(hull_share_guard(f.sh, "dir/inner/", &err), 0);
	assert_int_equal(raw_write(&f.c, inner, fh, "again"), -EROFS);
	end(&f);
}

static void make_guarded_tree(int at)
{
	assert_int_equal(mkdirat(at, "one", 0755), 0);
	assert_int_equal(mkdirat(at, "one/two", 0755), 0);
	assert_int_equal(mkdirat(at, "one/two/kept", 0755), 0);
	put(at, "one/two/file", "content");
}

/* The host removes what is guarded and makes it anew, as a git checkout does: the names are guarded all the same. */
static void test_guarded_and_made_anew(void **state)
{
	static const char *const guarded[] = {"one/two/file", "one/two/kept/", "one/other"};
	struct fixture f;
	struct hull_error err = {0};
	uint64_t fh = 0;
	struct fuse_rename2_in rename_in = {.newdir = FUSE_ROOT_ID};
	begin(&f, (struct hull_share_config){0});
	make_guarded_tree(f.fd);
	for (size_t i = 0; i < sizeof guarded / sizeof *guarded; i++)
		assert_int_equal(hull_share_guard(f.sh, guarded[i], &err), 0);
	for (int turn = 0; turn < 400; turn++) {
		/* The old ones stay somewhere, so that their numbers are not used again. */
		char aside[32];
		snprintf(aside, sizeof aside, "aside%d", turn);
		assert_int_equal(renameat(f.fd, "one", f.fd, aside), 0);
		make_guarded_tree(f.fd);
		uint64_t one = raw_lookup(&f.c, FUSE_ROOT_ID, "one");
		uint64_t two = raw_lookup(&f.c, one, "two");
		uint64_t file = raw_lookup(&f.c, two, "file");
		assert_true(one && two && file);
		assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDONLY, &fh), 0);
		assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDWR, &fh), -EROFS);
		assert_true(raw_named(&f.c, FUSE_UNLINK, two, NULL, 0, "file", NULL) < 0);
		assert_true(raw_named(&f.c, FUSE_RMDIR, two, NULL, 0, "kept", NULL) < 0);
		assert_true(raw_named(&f.c, FUSE_RENAME2, one, &rename_in, sizeof rename_in, "two", "gone") < 0);
		assert_true(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &rename_in, sizeof rename_in, "one", "gone") <
			    0);
		assert_true(raw_named(&f.c, FUSE_SYMLINK, one, NULL, 0, "other", "/") < 0);
		if (turn == 0) { /* as exact as before, while there is room for that */
			struct fuse_mkdir_in mk = {.mode = 0755};
			assert_int_equal(raw_named(&f.c, FUSE_MKDIR, two, &mk, sizeof mk, "fine", NULL), 0);
			assert_int_equal(raw_named(&f.c, FUSE_RMDIR, two, NULL, 0, "kept", NULL), -EBUSY);
		}
	}
	end(&f);
}

static void test_limits(void **state)
{
	struct fixture f;
	char name[32];
	uint64_t fh = 0;
	int opened = 0, entered = 0;
	begin(&f, (struct hull_share_config){.max_inodes = 10, .max_handles = 5});
	uint64_t file = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	while (opened < 20 && raw_open(&f.c, file, FUSE_OPEN, O_RDONLY, &fh) == 0)
		opened++;
	assert_int_equal(opened, 5);
	assert_int_equal(f.c.error, -ENFILE);
	assert_int_equal(raw_release(&f.c, file, FUSE_RELEASE, fh), 0);
	assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDONLY, &fh), 0);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "n%d", i);
		put(f.fd, name, "x");
		entered += raw_lookup(&f.c, FUSE_ROOT_ID, name) != 0;
	}
	assert_int_equal(entered, 9);
	end(&f);
}

static void test_one_file(void **state)
{
	struct fixture f;
	struct hull_error err = {0};
	uint64_t fh = 0;
	begin(&f, (struct hull_share_config){0});
	struct hull_share_config config = {.root_fd = openat(f.fd, "file", O_PATH | O_CLOEXEC)};
	struct hull_share *sh;
	struct raw c;
	assert_int_equal(hull_share_new(&config, &sh, &err), 0);
	close(config.root_fd);
	assert_true(raw_init(&c, sh));
	assert_int_equal(raw_hello(&c), 0);
	assert_int_equal(raw_open(&c, FUSE_ROOT_ID, FUSE_OPEN, O_RDONLY, &fh), 0);
	assert_int_equal(raw_read(&c, FUSE_ROOT_ID, FUSE_READ, fh, 0, 100), 0);
	assert_memory_equal(c.reply, "content", 7);
	assert_int_equal(raw_open(&c, FUSE_ROOT_ID, FUSE_OPEN, O_RDWR, &fh), -EROFS);
	assert_int_equal(raw_named(&c, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "file", NULL), -ENOTDIR);
	raw_free(&c);
	hull_share_free(sh);
	end(&f);
}

struct served {
	struct hull_share *sh;
	int fd;
	int result;
};

static void *serve(void *arg)
{
	struct served *s = arg;
	struct hull_share_stream *stream = hull_share_stream_new(s->fd, s->fd);
	struct hull_share_transport t = hull_share_stream_transport(stream);
	s->result = hull_share_serve(s->sh, &t, 3, NULL);
	hull_share_stream_free(stream);
	return NULL;
}

static void test_stream(void **state)
{
	struct fixture f;
	pthread_t t;
	int fds[2];
	begin(&f, (struct hull_share_config){0});
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	struct served s = {.sh = f.sh, .fd = fds[1]};
	pthread_create(&t, NULL, serve, &s);
	/* Two requests in one write, cut in the middle of the second. */
	uint8_t out[256];
	size_t n = 0;
	for (int i = 0; i < 2; i++) {
		struct fuse_in_header h = {
			.len = sizeof h + 5, .opcode = FUSE_LOOKUP, .nodeid = 1, .unique = 7u + (unsigned)i};
		memcpy(out + n, &h, sizeof h);
		memcpy(out + n + sizeof h, "file", 5);
		n += h.len;
	}
	assert_int_equal(write(fds[0], out, 50), 50);
	assert_int_equal(write(fds[0], out + 50, n - 50), (ssize_t)(n - 50));
	unsigned seen = 0;
	for (int i = 0; i < 2; i++) {
		uint8_t in[sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out)];
		struct fuse_out_header h;
		assert_int_equal(recv(fds[0], in, sizeof in, MSG_WAITALL), sizeof in);
		memcpy(&h, in, sizeof h);
		assert_int_equal(h.error, 0);
		assert_int_equal(h.len, sizeof in);
		seen |= 1u << (h.unique - 7);
	}
	assert_int_equal(seen, 3);
	/* A length that cannot be: the stream ends, the process does not. */
	struct fuse_in_header bad = {.len = UINT32_MAX};
	assert_int_equal(write(fds[0], &bad, sizeof bad), sizeof bad);
	pthread_join(t, NULL);
	assert_int_equal(s.result, -EPROTO);
	close(fds[0]);
	close(fds[1]);
	end(&f);
}

/* --- a host that refuses --- */

/* Every system call by which the server changes something fails with `code`, as on a disk whose quota is used up. */
static bool refuse_changes(int code)
{
	static const int calls[] = {SCMP_SYS(pwritev2), SCMP_SYS(mkdirat),   SCMP_SYS(symlinkat),
				    SCMP_SYS(linkat),   SCMP_SYS(fallocate), SCMP_SYS(fsync)};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < sizeof calls / sizeof *calls; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)code), calls[i], 0);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)code), SCMP_SYS(openat), 1,
				     SCMP_A2_32(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT));
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r == 0;
}

/* In a child, because a filter stays: its exit code is the number of the first request that was answered otherwise. */
static int refused_requests(int code)
{
	struct fixture f;
	uint64_t fh = 0;
	begin(&f, (struct hull_share_config){0});
	uint64_t id = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	if (raw_open(&f.c, id, FUSE_OPEN, O_RDWR, &fh) != 0 || !refuse_changes(code))
		return 100;
	const struct fuse_mkdir_in mkdir_in = {.mode = 0755};
	const struct fuse_create_in create_in = {.mode = 0644, .flags = O_WRONLY | O_CREAT};
	const struct fuse_link_in link_in = {.oldnodeid = id};
	const struct fuse_fallocate_in fallocate_in = {.fh = fh, .length = 4096};
	const struct fuse_fsync_in fsync_in = {.fh = fh};
	int bad = 0;
	if (raw_write(&f.c, id, fh, "more") != -code)
		bad = 1;
	if (raw_named(&f.c, FUSE_MKDIR, FUSE_ROOT_ID, &mkdir_in, sizeof mkdir_in, "new", NULL) != -code)
		bad = 2;
	if (raw_named(&f.c, FUSE_CREATE, FUSE_ROOT_ID, &create_in, sizeof create_in, "made", NULL) != -code)
		bad = 3;
	if (raw_named(&f.c, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "link", "target") != -code)
		bad = 4;
	if (raw_named(&f.c, FUSE_LINK, FUSE_ROOT_ID, &link_in, sizeof link_in, "second", NULL) != -code)
		bad = 5;
	raw_begin(&f.c, FUSE_FALLOCATE, id);
	raw_add(&f.c, &fallocate_in, sizeof fallocate_in);
	if (raw_go(&f.c) != -code)
		bad = 6;
	raw_begin(&f.c, FUSE_FSYNC, id);
	raw_add(&f.c, &fsync_in, sizeof fsync_in);
	if (raw_go(&f.c) != -code)
		bad = 7;
	/* What it did not touch is as it was, and the server goes on. */
	if (raw_read(&f.c, id, FUSE_READ, fh, 0, 100) != 0 || f.c.reply_len != 7 || memcmp(f.c.reply, "content", 7))
		bad = 8;
	end(&f);
	return bad;
}

static void test_errors_of_the_host(void **state)
{
	static const int codes[] = {EDQUOT, ENOSPC, EIO, EACCES, EFBIG};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		int status = -1;
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(refused_requests(codes[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* In a child: a file that cannot be cut is not opened as if it had been. */
static int uncut_file(void)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){.max_handles = 2});
	const struct fuse_create_in in = {.mode = 0644, .flags = O_WRONLY | O_CREAT | O_TRUNC};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!ctx || seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EIO), SCMP_SYS(ftruncate), 0) < 0 || seccomp_load(ctx) < 0)
		return 100;
	seccomp_release(ctx);
	/* Nor does it keep a handle: there are two. */
	for (int i = 0; i < 5; i++)
		if (raw_named(&f.c, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof in, "file", NULL) != -EIO)
			return 1 + i;
	if (raw_named(&f.c, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof in, "new", NULL) != 0)
		return 10;
	end(&f);
	return 0;
}

static void in_child(int (*run)(void))
{
	int status = -1;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_truncation_that_fails(void **state)
{
	in_child(uncut_file);
}

/* In a child: what belongs to a group that is not mapped is nobody's, though we are in such a group as well. */
static int unmapped_groups(void)
{
	struct fixture f;
	struct fuse_entry_out out;
	const gid_t overflow = 65534, own = 4242;
	const gid_t groups[] = {overflow, own};
	int bad = 0;
	if (setgroups(2, groups) < 0)
		return 100;
	begin(&f, (struct hull_share_config){0});
	if (fchownat(f.fd, "file", (uid_t)-1, overflow, 0) < 0 || fchownat(f.fd, "dir", (uid_t)-1, own, 0) < 0)
		return 101;
	if (raw_lookup(&f.c, FUSE_ROOT_ID, "file") == 0)
		return 1;
	memcpy(&out, f.c.reply, sizeof out);
	if (out.attr.gid != overflow)
		bad = 2;
	if (raw_lookup(&f.c, FUSE_ROOT_ID, "dir") == 0)
		return 3;
	memcpy(&out, f.c.reply, sizeof out);
	if (out.attr.gid != 1000)
		bad = 4;
	end(&f);
	return bad;
}

static void test_groups_that_are_not_mapped(void **state)
{
	if (geteuid() != 0)
		skip(); /* only root can join groups; what is done then is the same */
	in_child(unmapped_groups);
}

/* --- notifications --- */

enum { SEEN_MAX = 4096 };

/* What comes unasked, and what changed on the host. */
struct listener {
	pthread_mutex_t lock;
	pthread_cond_t news;
	uint32_t names, inodes, more, created, overflows;
	char name[SEEN_MAX][16];
};

static int listen_send(void *ctx, const struct iovec *iov, int count)
{
	struct listener *l = ctx;
	struct fuse_out_header h;
	memcpy(&h, iov[0].iov_base, sizeof h);
	pthread_mutex_lock(&l->lock);
	if (h.error == FUSE_NOTIFY_INVAL_ENTRY && l->names < SEEN_MAX && count == 3)
		snprintf(l->name[l->names++], sizeof l->name[0], "%s", (const char *)iov[2].iov_base);
	l->inodes += h.error == FUSE_NOTIFY_INVAL_INODE;
	l->more += h.error == HULL_SHARE_MORE;
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->lock);
	return 0;
}

static void listen_change(void *ctx, const struct hull_share_change *change)
{
	struct listener *l = ctx;
	pthread_mutex_lock(&l->lock);
	l->created += change->event == HULL_SHARE_CREATED;
	l->overflows += change->event == HULL_SHARE_OVERFLOW;
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->lock);
}

#define AWAIT(l, cond)                                             \
	do {                                                       \
		pthread_mutex_lock(&(l)->lock);                    \
		while (!(cond))                                    \
			pthread_cond_wait(&(l)->news, &(l)->lock); \
		pthread_mutex_unlock(&(l)->lock);                  \
	} while (0)

static struct listener listener = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};

static void relay_says(struct fixture *f, uint32_t opcode, uint32_t value)
{
	raw_begin(&f->c, opcode, 0);
	raw_add(&f->c, &value, sizeof value);
	assert_int_equal(raw_go(&f->c), 1); /* no reply */
}

/* After notifications were lost in the guest everything is told again, a part at a time where the relay's queue is
 * bounded; beginning anew when that was lost as well. */
static void test_told_again(void **state)
{
	struct fixture f;
	struct hull_share_transport t = {.send = listen_send, .ctx = &listener, .paced = true};
	char name[16];
	bool told[10] = {false};
	begin(&f, (struct hull_share_config){.max_notified = 4, .changed = listen_change, .ctx = &listener});
	assert_int_equal(hull_share_start(f.sh, &t, NULL), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "n%d", i);
		put(f.fd, name, "x");
		assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, name) != 0);
	}
	memset(&listener.names, 0, 5 * sizeof listener.names);
	relay_says(&f, HULL_SHARE_RELAY_LOST, 0);
	AWAIT(&listener, listener.more == 1 && listener.overflows == 1);
	assert_int_equal(listener.names, 4);
	relay_says(&f, HULL_SHARE_RELAY_GO, 0);
	AWAIT(&listener, listener.more == 2);
	assert_int_equal(listener.names, 8);
	relay_says(&f, HULL_SHARE_RELAY_LOST, 0);
	AWAIT(&listener, listener.more == 3 && listener.overflows == 2);
	assert_int_equal(listener.names, 12);
	relay_says(&f, HULL_SHARE_RELAY_GO, 0);
	AWAIT(&listener, listener.more == 4);
	relay_says(&f, HULL_SHARE_RELAY_GO, 0);
	AWAIT(&listener, listener.names == 18);
	for (uint32_t i = 8; i < 18; i++)
		told[listener.name[i][1] - '0'] = true;
	for (int i = 0; i < 10; i++)
		assert_true(told[i]);
	/* One that is not asked for changes nothing. */
	relay_says(&f, HULL_SHARE_RELAY_GO, 0);
	hull_share_stop(f.sh);
	assert_int_equal(listener.names, 18);
	end(&f);
}

/* A name that does not exist is remembered, for as long as there is room: it is told of again too. */
static void test_absent_names(void **state)
{
	enum { COUNT = 20000 };
	struct fixture f;
	struct hull_share_transport t = {.send = listen_send, .ctx = &listener};
	struct fuse_entry_out out;
	char name[16];
	int hour = 0, seconds = 0, told = 0;
	begin(&f, (struct hull_share_config){.changed = listen_change, .ctx = &listener});
	assert_int_equal(hull_share_start(f.sh, &t, NULL), 0);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof name, "no%d", i);
		assert_int_equal(raw_lookup(&f.c, FUSE_ROOT_ID, name), 0);
		assert_int_equal(f.c.error, 0);
		memcpy(&out, f.c.reply, sizeof out);
		hour += out.entry_valid == 3600;
		seconds += out.entry_valid == 5;
	}
	if (hour + seconds > 0) { /* else this machine cannot watch */
		assert_int_equal(hour + seconds, COUNT);
		assert_in_range(hour, 1, COUNT - 1);
	}
	/* Asked for again it is the same name. */
	assert_int_equal(raw_lookup(&f.c, FUSE_ROOT_ID, "no1"), 0);
	memset(&listener.names, 0, 5 * sizeof listener.names);
	relay_says(&f, HULL_SHARE_RELAY_LOST, 0);
	AWAIT(&listener, listener.overflows == 1);
	for (uint32_t i = 0; i < listener.names; i++)
		told += !strncmp(listener.name[i], "no", 2);
	assert_int_equal(told, hour < SEEN_MAX ? hour : SEEN_MAX);
	hull_share_stop(f.sh);
	end(&f);
}

static void test_another_replayer(void **state)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){0});
	relay_says(&f, HULL_SHARE_RELAY_REPLAYER, f.c.pid);
	f.c.marked = true;
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), -EPERM);
	f.c.marked = false;
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), 0);
	raw_begin(&f.c, HULL_SHARE_RELAY_REPLAYER, 0); /* without its argument */
	assert_int_equal(raw_go(&f.c), 1);
	end(&f);
}

/* Thousands of names that came at once are all announced as new ones. */
static void test_many_announcements(void **state)
{
	enum { COUNT = 3000 };
	struct fixture f;
	struct hull_share_transport t = {.send = listen_send, .ctx = &listener};
	const struct fuse_mknod_in in = {.mode = S_IFREG | 0600};
	char name[16];
	int status = -1, made = 0;
	begin(&f, (struct hull_share_config){.changed = listen_change, .ctx = &listener});
	memset(&listener.names, 0, 5 * sizeof listener.names);
	assert_int_equal(hull_share_start(f.sh, &t, NULL), 0);
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != 0); /* it is watched from here on */
	hull_share_set_replayer(f.sh, 77);
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < COUNT; i++) {
			snprintf(name, sizeof name, "n%d", i);
			if (mknodat(f.fd, name, S_IFREG | 0600, 0) < 0)
				_exit(1);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	AWAIT(&listener, listener.created == COUNT);
	f.c.marked = true;
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof name, "n%d", i);
		made += raw_named(&f.c, FUSE_MKNOD, FUSE_ROOT_ID, &in, sizeof in, name, NULL) == 0;
	}
	assert_int_equal(made, COUNT);
	assert_int_equal(listener.overflows, 0);
	hull_share_stop(f.sh);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_and_write),
		cmocka_unit_test(test_names_that_are_refused),
		cmocka_unit_test(test_ids_that_are_not),
		cmocka_unit_test(test_short_requests),
		cmocka_unit_test(test_readonly_and_guarded),
		cmocka_unit_test(test_no_guard_where_case_is_nothing),
		cmocka_unit_test(test_guarded_while_it_serves),
		cmocka_unit_test(test_kept_names),
		cmocka_unit_test(test_guarded_and_made_anew),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_one_file),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_errors_of_the_host),
		cmocka_unit_test(test_truncation_that_fails),
		cmocka_unit_test(test_told_again),
		cmocka_unit_test(test_absent_names),
		cmocka_unit_test(test_another_replayer),
		cmocka_unit_test(test_many_announcements),
		cmocka_unit_test(test_groups_that_are_not_mapped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

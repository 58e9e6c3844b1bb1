/* SPDX-License-Identifier: Apache-2.0 */
/* The share server taking over what the guest knew of the server before it: nodes are found again, and what a damaged
 * or hostile table says leads nowhere. */
#include "../share/raw.h"
#include "scratch.h"

#include "base/buf.h"
#include "base/bytes.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { RECORDS_AT = 8 + 4 + 4 + 24 + 1 };

struct fixture {
	char dir[64];
	int top, fd; /* what holds it, and the root of the share */
	struct hull_share *sh;
	struct raw c;
	struct hull_buf kept;
};

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void serve(struct fixture *f, struct hull_share_config config)
{
	struct hull_error err = {0};
	config.root_fd = f->fd;
	config.guest_uid = config.guest_gid = 1000;
	assert_int_equal(hull_share_new(&config, &f->sh, &err), 0);
	assert_true(raw_init(&f->c, f->sh));
}

static void stop(struct fixture *f)
{
	raw_free(&f->c);
	hull_share_free(f->sh);
}

static void begin(struct fixture *f, struct hull_share_config config)
{
	*f = (struct fixture){0};
	assert_true(scratch_make(f->dir));
	f->top = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(f->top, "root", 0755), 0);
	assert_int_equal(mkdirat(f->top, "outside", 0755), 0);
	put(f->top, "outside/secret", "secret");
	f->fd = openat(f->top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(f->fd, "dir", 0755), 0);
	assert_int_equal(mkdirat(f->fd, "dir/deep", 0755), 0);
	put(f->fd, "dir/deep/inner", "inner");
	put(f->fd, "file", "content");
	assert_int_equal(symlinkat("../outside", f->fd, "link"), 0);
	assert_int_equal(mknodat(f->fd, "fifo", S_IFIFO | 0644, 0), 0);
	serve(f, config);
	assert_int_equal(raw_hello(&f->c), 0);
}

/* The server ends; another one takes over what it kept. */
static void change(struct fixture *f, struct hull_share_config config)
{
	struct hull_error err = {0};
	assert_int_equal(hull_share_keep(f->sh, &f->kept), 0);
	stop(f);
	serve(f, config);
	assert_int_equal(hull_share_adopt(f->sh, hull_buf_bytes(&f->kept), f->kept.len, &err), 0);
	assert_int_equal(raw_hello(&f->c), 0);
}

static void end(struct fixture *f)
{
	char command[160];
	stop(f);
	hull_buf_free(&f->kept);
	close(f->fd);
	close(f->top);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
}

static int getattr(struct fixture *f, uint64_t node)
{
	const struct fuse_getattr_in in = {0};
	raw_begin(&f->c, FUSE_GETATTR, node);
	raw_add(&f->c, &in, sizeof in);
	return raw_go(&f->c);
}

static int lookup(struct fixture *f, uint64_t node, const char *name)
{
	return raw_named(&f->c, FUSE_LOOKUP, node, NULL, 0, name, NULL);
}

static int open_node(struct fixture *f, uint64_t node)
{
	uint64_t fh;
	return raw_open(&f->c, node, FUSE_OPEN, O_RDONLY, &fh);
}

static void forget(struct fixture *f, uint64_t node)
{
	const struct fuse_forget_in in = {.nlookup = UINT64_MAX};
	raw_begin(&f->c, FUSE_FORGET, node);
	raw_add(&f->c, &in, sizeof in);
	assert_int_equal(raw_go(&f->c), 1);
}

struct nodes {
	uint64_t dir, deep, inner, file;
};
static struct nodes look(struct fixture *f)
{
	struct nodes n;
	n.file = raw_lookup(&f->c, FUSE_ROOT_ID, "file");
	n.dir = raw_lookup(&f->c, FUSE_ROOT_ID, "dir");
	n.deep = raw_lookup(&f->c, n.dir, "deep");
	n.inner = raw_lookup(&f->c, n.deep, "inner");
	assert_true(n.file && n.dir && n.deep && n.inner);
	return n;
}

static void test_goes_on(void **state)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){0});
	struct nodes n = look(&f);
	forget(&f, n.file);
	for (int i = 0; i < 3; i++) { /* from one to the next, also what nobody has used meanwhile */
		change(&f, (struct hull_share_config){0});
		hull_buf_drain(&f.kept, f.kept.len);
	}
	assert_int_equal(raw_lookup(&f.c, n.deep, "inner"), n.inner);
	assert_int_equal(getattr(&f, n.inner), 0);
	assert_int_equal(getattr(&f, n.dir), 0);
	assert_int_equal(raw_lookup(&f.c, FUSE_ROOT_ID, "dir"), n.dir);
	/* What was forgotten before is not known, and its place is free for others. */
	assert_int_equal(getattr(&f, n.file), -ESTALE);
	uint64_t file = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	assert_true(file && file != n.file && file != n.dir && file != n.deep && file != n.inner);
	/* And what is forgotten now is gone, when nothing below it is known. */
	forget(&f, n.dir);
	assert_int_equal(getattr(&f, n.dir), 0);
	forget(&f, n.inner);
	forget(&f, n.deep);
	assert_int_equal(getattr(&f, n.dir), -ESTALE);
	assert_int_equal(getattr(&f, n.deep), -ESTALE);
	end(&f);
}

static void test_others_at_the_name(void **state)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){0});
	struct nodes n = look(&f);
	assert_int_equal(hull_share_keep(f.sh, &f.kept), 0);
	/* The directory is moved, another one has its name; the file is another one. */
	assert_int_equal(renameat(f.fd, "dir", f.fd, "moved"), 0);
	assert_int_equal(mkdirat(f.fd, "dir", 0755), 0);
	assert_int_equal(mkdirat(f.fd, "dir/deep", 0755), 0);
	put(f.fd, "dir/deep/inner", "other");
	put(f.fd, "new", "other");
	assert_int_equal(renameat(f.fd, "new", f.fd, "file"), 0);
	hull_buf_drain(&f.kept, f.kept.len);
	change(&f, (struct hull_share_config){0});
	assert_int_equal(getattr(&f, n.inner), -ESTALE);
	assert_int_equal(lookup(&f, n.deep, "inner"), -ESTALE);
	assert_int_equal(lookup(&f, n.dir, "deep"), -ESTALE);
	assert_int_equal(open_node(&f, n.file), -ESTALE);
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != n.file);
	/* Once it was met where it is now it is itself again, and so is what is in it. */
	assert_int_equal(raw_lookup(&f.c, FUSE_ROOT_ID, "moved"), n.dir);
	assert_int_equal(raw_lookup(&f.c, n.deep, "inner"), n.inner);
	end(&f);
}

static void test_another_root(void **state)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){0});
	struct nodes n = look(&f);
	close(f.fd);
	assert_int_equal(renameat(f.top, "root", f.top, "old"), 0);
	assert_int_equal(mkdirat(f.top, "root", 0755), 0);
	f.fd = openat(f.top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	change(&f, (struct hull_share_config){0});
	assert_int_equal(getattr(&f, n.dir), -ESTALE);
	end(&f);
}

static void test_guards_hold(void **state)
{
	static const char *const guards[] = {"dir/deep"};
	struct fixture f;
	struct hull_share_config config = {.guarded = guards, .guarded_count = 1};
	begin(&f, config);
	struct nodes n = look(&f);
	change(&f, config);
	raw_begin(&f.c, FUSE_UNLINK, n.deep);
	raw_name(&f.c, "inner");
	assert_int_equal(raw_go(&f.c), -EROFS);
	const struct fuse_open_in in = {.flags = O_RDWR};
	raw_begin(&f.c, FUSE_OPEN, n.inner);
	raw_add(&f.c, &in, sizeof in);
	assert_int_equal(raw_go(&f.c), -EROFS);
	/* One that came since is as good. */
	assert_int_equal(open_node(&f, n.inner), 0);
	end(&f);
}

/* --- hostile tables --- */

struct key {
	uint64_t dev, ino, generation;
};

/* The key of what has the name, as the server knows it. */
static struct key key_of(int dir, const char *name)
{
	struct hull_share *sh = NULL;
	struct raw c;
	struct hull_buf b = {0};
	struct hull_share_config config = {.root_fd = dir, .no_watch = true};
	assert_int_equal(hull_share_new(&config, &sh, NULL), 0);
	assert_true(raw_init(&c, sh));
	assert_int_equal(raw_hello(&c), 0);
	assert_true(raw_lookup(&c, FUSE_ROOT_ID, name) != 0);
	assert_int_equal(hull_share_keep(sh, &b), 0);
	struct hull_cur in = hull_cur_make(hull_buf_bytes(&b) + RECORDS_AT + 16, b.len - RECORDS_AT - 16);
	struct key key;
	key.dev = hull_cur_le64(&in);
	key.ino = hull_cur_le64(&in);
	key.generation = hull_cur_le64(&in);
	hull_buf_free(&b);
	raw_free(&c);
	hull_share_free(sh);
	return key;
}

static const uint64_t EVIL = (uint64_t)7 << 32 | 1;

/* A table of `count` records as they are given, in front of a right root. */
static int adopt(struct fixture *f, struct hull_buf *records, uint32_t count)
{
	struct hull_buf all = {0};
	stop(f);
	serve(f, (struct hull_share_config){.no_watch = true});
	assert_int_equal(hull_share_keep(f->sh, &all), 0);
	assert_int_equal(all.len, RECORDS_AT);
	memcpy((uint8_t *)(uintptr_t)hull_buf_bytes(&all) + 12, &count, 4);
	if (records->len)
		hull_buf_add(&all, hull_buf_bytes(records), records->len);
	int r = hull_share_adopt(f->sh, hull_buf_bytes(&all), all.len, NULL);
	assert_int_equal(raw_hello(&f->c), 0);
	hull_buf_free(&all);
	hull_buf_drain(records, records->len);
	return r;
}

static void record(struct hull_buf *b, uint64_t id, uint64_t parent, struct key key, uint32_t type, const char *name,
		   size_t len)
{
	const uint8_t tail[2] = {1, (uint8_t)len};
	hull_buf_le64(b, id);
	hull_buf_le64(b, parent);
	hull_buf_le64(b, key.dev);
	hull_buf_le64(b, key.ino);
	hull_buf_le64(b, key.generation);
	hull_buf_le64(b, 1);
	hull_buf_le32(b, type);
	hull_buf_add(b, tail, sizeof tail);
	hull_buf_add(b, name, len);
}

static void test_hostile_names(void **state)
{
	static const char *const names[] = {"..", ".", "", "dir/deep", "../outside", "/", "/etc"};
	struct fixture f;
	struct hull_buf b = {0};
	begin(&f, (struct hull_share_config){.no_watch = true});
	struct key top = key_of(f.top, "root"), outside = key_of(f.top, "outside");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		record(&b, EVIL, FUSE_ROOT_ID, outside, S_IFDIR, names[i], strlen(names[i]));
		assert_int_equal(adopt(&f, &b, 1), -EBADMSG);
		assert_int_equal(lookup(&f, EVIL, "secret"), -ESTALE);
	}
	record(&b, EVIL, FUSE_ROOT_ID, outside, S_IFDIR, "di\0r", 4);
	assert_int_equal(adopt(&f, &b, 1), -EBADMSG);
	/* The right key, at names where it is not: not even through a link. */
	static const char *const wrong[] = {"link", "dir", "file", "fifo", "nothing"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		record(&b, EVIL, FUSE_ROOT_ID, outside, S_IFDIR, wrong[i], strlen(wrong[i]));
		assert_int_equal(adopt(&f, &b, 1), 0);
		assert_int_equal(lookup(&f, EVIL, "secret"), -ESTALE);
		assert_int_equal(getattr(&f, EVIL), -ESTALE);
	}
	/* The root below itself. */
	record(&b, EVIL, FUSE_ROOT_ID, top, S_IFDIR, "dir", 3);
	assert_true(adopt(&f, &b, 1) < 0);
	hull_buf_free(&b);
	end(&f);
}

static void test_hostile_types(void **state)
{
	struct fixture f;
	struct hull_buf b = {0};
	begin(&f, (struct hull_share_config){.no_watch = true});
	struct key link = key_of(f.fd, "link"), fifo = key_of(f.fd, "fifo"), dir = key_of(f.fd, "dir");
	record(&b, EVIL, FUSE_ROOT_ID, link, S_IFDIR, "link", 4);
	assert_int_equal(adopt(&f, &b, 1), 0);
	assert_int_equal(lookup(&f, EVIL, "secret"), -ESTALE);
	record(&b, EVIL, FUSE_ROOT_ID, fifo, S_IFREG, "fifo", 4);
	assert_int_equal(adopt(&f, &b, 1), 0);
	assert_int_equal(open_node(&f, EVIL), -ESTALE);
	record(&b, EVIL, FUSE_ROOT_ID, dir, S_IFREG, "dir", 3);
	assert_int_equal(adopt(&f, &b, 1), 0);
	assert_int_equal(open_node(&f, EVIL), -ESTALE);
	record(&b, EVIL, FUSE_ROOT_ID, dir, 0, "dir", 3);
	assert_int_equal(adopt(&f, &b, 1), -EBADMSG);
	hull_buf_free(&b);
	end(&f);
}

static void test_hostile_ids(void **state)
{
	static const uint64_t ids[] = {0,
				       FUSE_ROOT_ID,
				       (uint64_t)7 << 32,
				       (uint64_t)7 << 32 | UINT32_MAX,
				       (uint64_t)7 << 32 | (3u << 20),
				       (uint64_t)0x80000000 << 32 | 1,
				       UINT64_MAX};
	struct fixture f;
	struct hull_buf b = {0};
	begin(&f, (struct hull_share_config){.no_watch = true});
	struct key dir = key_of(f.fd, "dir"), file = key_of(f.fd, "file");
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		record(&b, ids[i], FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
		assert_int_equal(adopt(&f, &b, 1), -EBADMSG);
	}
	/* Twice the same id, twice the same file, a parent that is none, that comes later, that is itself. */
	record(&b, EVIL, FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
	record(&b, EVIL, FUSE_ROOT_ID, file, S_IFREG, "file", 4);
	assert_int_equal(adopt(&f, &b, 2), -EBADMSG);
	assert_int_equal(getattr(&f, EVIL), -ESTALE); /* nothing of it is taken */
	record(&b, EVIL, FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
	record(&b, EVIL + 1, FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
	assert_int_equal(adopt(&f, &b, 2), -EBADMSG);
	record(&b, EVIL, FUSE_ROOT_ID, file, S_IFREG, "file", 4);
	record(&b, EVIL + 1, EVIL, dir, S_IFDIR, "dir", 3);
	assert_int_equal(adopt(&f, &b, 2), -EBADMSG);
	record(&b, EVIL, EVIL, dir, S_IFDIR, "dir", 3);
	assert_int_equal(adopt(&f, &b, 1), -EBADMSG);
	/* More than there are, and less. */
	record(&b, EVIL, FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
	assert_int_equal(adopt(&f, &b, UINT32_MAX), -EBADMSG);
	record(&b, EVIL, FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
	assert_int_equal(adopt(&f, &b, 0), -EBADMSG);
	record(&b, EVIL + 100000, FUSE_ROOT_ID, dir, S_IFDIR, "dir", 3);
	assert_int_equal(adopt(&f, &b, 1), 0);
	assert_int_equal(getattr(&f, EVIL + 100000), 0);
	hull_buf_free(&b);
	end(&f);
}

/* Every length, and every byte another one: refused, or harmless. */
static void test_damaged(void **state)
{
	struct fixture f;
	begin(&f, (struct hull_share_config){.no_watch = true});
	struct nodes n = look(&f);
	assert_int_equal(hull_share_keep(f.sh, &f.kept), 0);
	stop(&f);
	_cleanup_free_ uint8_t *bytes = malloc(f.kept.len);
	for (size_t i = 0; i < f.kept.len; i++) {
		serve(&f, (struct hull_share_config){.no_watch = true});
		_cleanup_free_ uint8_t *part = malloc(i + 1); /* for the sanitizer: nothing behind it */
		memcpy(part, hull_buf_bytes(&f.kept), i);
		assert_int_equal(hull_share_adopt(f.sh, part, i, NULL), -EBADMSG);
		stop(&f);
		for (unsigned bit = 0; bit < 8; bit++) {
			serve(&f, (struct hull_share_config){.no_watch = true});
			memcpy(bytes, hull_buf_bytes(&f.kept), f.kept.len);
			bytes[i] ^= (uint8_t)(1u << bit);
			hull_share_adopt(f.sh, bytes, f.kept.len, NULL);
			raw_hello(&f.c);
			assert_true(lookup(&f, n.dir, "secret") != 0 || f.c.reply_len == 0 ||
				    ((const struct fuse_entry_out *)(const void *)f.c.reply)->nodeid == 0);
			open_node(&f, n.inner);
			raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
			raw_lookup(&f.c, FUSE_ROOT_ID, "file");
			forget(&f, n.inner);
			forget(&f, n.dir);
			stop(&f);
		}
	}
	serve(&f, (struct hull_share_config){.no_watch = true});
	end(&f);
}

/* --- watching --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static bool through;
static char heard[64];

static void on_synced(void *ctx)
{
	pthread_mutex_lock(&lock);
	through = true;
	pthread_cond_signal(&told);
	pthread_mutex_unlock(&lock);
}

static void on_change(void *ctx, const struct hull_share_change *c)
{
	pthread_mutex_lock(&lock);
	if (c->event == HULL_SHARE_MODIFIED)
		snprintf(heard, sizeof heard, "%s", c->path);
	pthread_mutex_unlock(&lock);
}

static void sync_share(struct fixture *f)
{
	pthread_mutex_lock(&lock);
	through = false;
	hull_share_sync(f->sh);
	while (!through)
		pthread_cond_wait(&told, &lock);
	pthread_mutex_unlock(&lock);
}

static int send_nothing(void *ctx, const struct iovec *iov, int count)
{
	return 0;
}

/* Nobody asks for anything in the directory: its watch is there again by itself. */
static void test_watched_again(void **state)
{
	const struct hull_share_config config = {.changed = on_change, .synced = on_synced};
	const struct hull_share_transport t = {.send = send_nothing};
	struct fixture f;
	struct fuse_entry_out out;
	begin(&f, config);
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != 0);
	memcpy(&out, f.c.reply, sizeof out);
	if (out.entry_valid == 0) {
		end(&f);
		skip(); /* nothing can be watched here */
	}
	look(&f);
	change(&f, config);
	assert_int_equal(hull_share_start(f.sh, &t, NULL), 0);
	sync_share(&f);
	put(f.fd, "dir/deep/inner", "changed");
	sync_share(&f); /* ours: an event of this process's own is none; another's is */
	assert_string_equal(heard, "");
	char command[160];
	snprintf(command, sizeof command, "echo other >%s/root/dir/deep/inner", f.dir);
	assert_int_equal(system(command), 0);
	sync_share(&f);
	assert_string_equal(heard, "dir/deep/inner");
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on),       cmocka_unit_test(test_others_at_the_name),
		cmocka_unit_test(test_another_root),  cmocka_unit_test(test_guards_hold),
		cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_hostile_types),
		cmocka_unit_test(test_hostile_ids),   cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_watched_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

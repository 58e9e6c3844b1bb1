/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept beside a file of a workspace: the record, and what the guest and the host each see of it. */
#include "share_rig.h"
#include "share/meta.h"

#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* The test is skipped where the file system of /tmp keeps no attributes. */
static void begin_with_attributes(struct fixture *f)
{
	begin(f, (struct hull_share_config){0});
	bool kept = fsetxattr(f->fd, "user.test", "x", 1, 0) == 0;
	fremovexattr(f->fd, "user.test");
	if (!kept) {
		end(f);
		skip();
	}
}

static struct fuse_attr attr_of(struct fixture *f, const char *name)
{
	struct fuse_entry_out out = {0};
	assert_int_not_equal(raw_lookup(&f->c, FUSE_ROOT_ID, name), 0);
	memcpy(&out, f->c.reply, sizeof out);
	return out.attr;
}

static ssize_t record_of(const struct fixture *f, const char *name, struct share_meta *m)
{
	char path[128];
	uint8_t value[64];
	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	ssize_t n = lgetxattr(path, SHARE_META_NAME, value, sizeof value);
	if (n >= 0)
		assert_true(share_meta_parse(value, (size_t)n, m));
	return n < 0 ? -errno : n;
}

static int set(struct fixture *f, const char *name, uint32_t valid, uint32_t uid, uint32_t mode)
{
	const struct fuse_setattr_in in = {.valid = valid, .uid = uid, .gid = uid, .mode = mode};
	uint64_t node = raw_lookup(&f->c, FUSE_ROOT_ID, name);
	assert_int_not_equal(node, 0);
	raw_begin(&f->c, FUSE_SETATTR, node);
	raw_add(&f->c, &in, sizeof in);
	return raw_go(&f->c);
}

static mode_t host_mode(const struct fixture *f, const char *name)
{
	struct stat st;
	assert_int_equal(fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode;
}

static void make(struct fixture *f, const char *name, uint32_t uid, uint32_t mode, uint32_t rdev)
{
	const struct fuse_mknod_in in = {.mode = mode, .rdev = rdev};
	const struct fuse_mkdir_in dir = {.mode = mode};
	f->c.uid = f->c.gid = uid;
	if (S_ISDIR(mode))
		assert_int_equal(raw_named(&f->c, FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof dir, name, NULL), 0);
	else
		assert_int_equal(raw_named(&f->c, FUSE_MKNOD, FUSE_ROOT_ID, &in, sizeof in, name, NULL), 0);
}

static void test_records_that_are_none(void **state)
{
	const struct share_meta good = {.mode = S_IFREG | 0640, .host = 0640, .uid = 999, .gid = 998};
	uint8_t b[SHARE_META_SIZE + 1] = {0};
	struct share_meta m;
	(void)state;
	share_meta_format(&good, b);
	assert_true(share_meta_parse(b, SHARE_META_SIZE, &m));
	assert_memory_equal(&m, &good, sizeof m);
	for (size_t n = 0; n <= sizeof b; n++)
		assert_int_equal(share_meta_parse(b, n, &m), n == SHARE_META_SIZE);
	const struct share_meta bad[] = {
		{.mode = S_IFLNK | 0777},
		{.mode = 0644},
		{.mode = S_IFREG | 0x10000},
		{.mode = S_IFREG, .host = 02000},
		{.mode = S_IFREG, .uid = UINT32_MAX},
		{.mode = S_IFREG, .gid = UINT32_MAX},
		{.mode = S_IFREG, .rdev = 1},
		{.mode = S_IFIFO, .rdev = 1},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		share_meta_format(&bad[i], b);
		assert_false(share_meta_parse(b, SHARE_META_SIZE, &m));
	}
	share_meta_format(&good, b);
	b[2] = 2; /* a version to come */
	assert_false(share_meta_parse(b, SHARE_META_SIZE, &m));
}

static void test_ordinary_files_have_none(void **state)
{
	struct fixture f;
	struct share_meta m;
	(void)state;
	begin(&f, (struct hull_share_config){0});
	make(&f, "f", 1000, S_IFREG | 0444, 0);
	make(&f, "d", 1000, S_IFDIR | 0555, 0);
	assert_true(record_of(&f, "f", &m) < 0 && record_of(&f, "d", &m) < 0);
	assert_int_equal(host_mode(&f, "f") & 07777, 0444);
	assert_int_equal(host_mode(&f, "d") & 07777, 0555);
	assert_int_equal(set(&f, "f", FATTR_MODE, 0, 0755), 0);
	assert_true(record_of(&f, "f", &m) < 0);
	assert_int_equal(host_mode(&f, "f") & 07777, 0755);
	end(&f);
}

static void test_owners_and_modes(void **state)
{
	struct fixture f;
	struct share_meta m;
	(void)state;
	begin_with_attributes(&f);
	make(&f, "f", 0, S_IFREG | 0400, 0);
	struct fuse_attr a = attr_of(&f, "f");
	assert_true(a.uid == 0 && a.gid == 0 && a.mode == (S_IFREG | 0400));
	assert_int_equal(host_mode(&f, "f") & 07777, 0600);
	assert_int_equal(set(&f, "f", FATTR_UID | FATTR_GID, 999, 0), 0);
	assert_int_equal(set(&f, "f", FATTR_MODE, 0, 06755), 0);
	a = attr_of(&f, "f");
	assert_true(a.uid == 999 && a.gid == 999 && a.mode == (S_IFREG | 06755));
	assert_int_equal(host_mode(&f, "f") & 07777, 0755);
	/* A new owner, and a write, take the set-id bits. */
	assert_int_equal(set(&f, "f", FATTR_UID | FATTR_GID, 998, 0), 0);
	assert_int_equal(attr_of(&f, "f").mode, S_IFREG | 0755);
	assert_int_equal(set(&f, "f", FATTR_MODE, 0, 04755), 0);
	assert_int_equal(set(&f, "f", FATTR_KILL_SUIDGID, 0, 0), 0);
	assert_int_equal(attr_of(&f, "f").mode, S_IFREG | 0755);
	/* The host's user changes the mode: that is what holds. */
	assert_int_equal(fchmodat(f.fd, "f", 0640, 0), 0);
	a = attr_of(&f, "f");
	assert_true(a.uid == 998 && a.mode == (S_IFREG | 0640));
	/* As the host has it again: nothing is kept. */
	assert_int_equal(set(&f, "f", FATTR_UID | FATTR_GID, 1000, 0), 0);
	assert_true(record_of(&f, "f", &m) < 0);
	assert_int_equal(host_mode(&f, "f") & 07777, 0640);
	end(&f);
}

static void test_nodes_are_inert_on_the_host(void **state)
{
	static const struct {
		const char *name;
		uint32_t mode, rdev;
	} nodes[] = {{"fifo", S_IFIFO | 0600, 0},
		     {"sock", S_IFSOCK | 0755, 0},
		     {"chr", S_IFCHR | 0666, 0x103},
		     {"blk", S_IFBLK | 0660, 0x800}};
	struct fixture f;
	(void)state;
	begin_with_attributes(&f);
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		make(&f, nodes[i].name, 0, nodes[i].mode, nodes[i].rdev);
		struct fuse_attr a = attr_of(&f, nodes[i].name);
		assert_true(a.mode == nodes[i].mode && a.rdev == nodes[i].rdev);
		assert_true(S_ISREG(host_mode(&f, nodes[i].name)));
		uint64_t fh, node = raw_lookup(&f.c, FUSE_ROOT_ID, nodes[i].name);
		assert_int_equal(raw_open(&f.c, node, FUSE_OPEN, O_RDWR, &fh), -EPERM);
	}
	end(&f);
}

static void test_setgid_directory(void **state)
{
	struct fixture f;
	(void)state;
	begin_with_attributes(&f);
	make(&f, "d", 0, S_IFDIR | 0755, 0);
	assert_int_equal(set(&f, "d", FATTR_UID | FATTR_GID | FATTR_MODE, 999, 02775), 0);
	const struct fuse_mkdir_in in = {.mode = 0755};
	struct fuse_entry_out out;
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "d");
	f.c.uid = f.c.gid = 1000;
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, dir, &in, sizeof in, "in", NULL), 0);
	memcpy(&out, f.c.reply, sizeof out);
	assert_true(out.attr.uid == 1000 && out.attr.gid == 999 && out.attr.mode == (S_IFDIR | 02755));
	end(&f);
}

/* The guest cannot see the record, nor write one. */
static void test_hidden(void **state)
{
	struct fixture f;
	struct share_meta m;
	(void)state;
	begin_with_attributes(&f);
	make(&f, "f", 0, S_IFREG | 0644, 0);
	assert_true(record_of(&f, "f", &m) > 0);
	uint64_t node = raw_lookup(&f.c, FUSE_ROOT_ID, "f");
	const struct fuse_getxattr_in get = {.size = 100};
	assert_int_equal(raw_named(&f.c, FUSE_GETXATTR, node, &get, sizeof get, SHARE_META_NAME, NULL), -ENODATA);
	raw_begin(&f.c, FUSE_LISTXATTR, node);
	raw_add(&f.c, &get, sizeof get);
	assert_int_equal(raw_go(&f.c), 0);
	assert_int_equal(f.c.reply_len, 0);
	const struct fuse_setxattr_in set_in = {.size = 2};
	assert_int_equal(raw_named(&f.c, FUSE_SETXATTR, node, &set_in, sizeof set_in, SHARE_META_NAME, "x"), -EPERM);
	assert_int_equal(raw_named(&f.c, FUSE_REMOVEXATTR, node, NULL, 0, SHARE_META_NAME, NULL), -ENODATA);
	assert_true(record_of(&f, "f", &m) > 0);
	/* One of a stranger's that is none changes nothing; neither does one that says a file is a directory. */
	char path[128];
	uint8_t b[SHARE_META_SIZE];
	snprintf(path, sizeof path, "%s/f", f.dir);
	assert_int_equal(setxattr(path, SHARE_META_NAME, "nonsense", 8, 0), 0);
	assert_true(attr_of(&f, "f").uid == 1000 && attr_of(&f, "f").mode == (S_IFREG | 0644));
	share_meta_format(&(struct share_meta){.mode = S_IFDIR | 0777, .host = 0644}, b);
	assert_int_equal(setxattr(path, SHARE_META_NAME, b, sizeof b, 0), 0);
	assert_true(attr_of(&f, "f").uid == 1000 && attr_of(&f, "f").mode == (S_IFREG | 0644));
	end(&f);
}

/* --- symlinks: their owner is in their time of access --- */

static int64_t host_atime(const struct fixture *f, const char *name)
{
	struct stat st;
	assert_int_equal(fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_atim.tv_sec;
}

static void test_symlink_times_that_are_owners(void **state)
{
	const int64_t first = INT64_C(1) << 33;
	uint32_t uid = 0, gid = 0;
	(void)state;
	assert_true(share_meta_link_parse(first, 0, &uid, &gid) && uid == 0 && gid == 0);
	assert_true(share_meta_link_parse(first + 999, 998, &uid, &gid) && uid == 999 && gid == 998);
	assert_true(share_meta_link_parse(first + UINT32_MAX - 1, 999999999, &uid, &gid) && uid == UINT32_MAX - 1);
	assert_false(share_meta_link_parse(first - 1, 0, &uid, &gid));
	assert_false(share_meta_link_parse(first + UINT32_MAX, 0, &uid, &gid));
	assert_false(share_meta_link_parse(first, 1000000000, &uid, &gid));
	assert_false(share_meta_link_parse(first, UTIME_NOW, &uid, &gid));
	assert_false(share_meta_link_parse(INT64_MAX, 0, &uid, &gid));
	assert_false(share_meta_link_parse(INT64_MIN, 0, &uid, &gid));
	assert_false(share_meta_link_parse(time(NULL), 0, &uid, &gid));
}

static bool owned(struct fixture *f, const char *name, uint32_t uid)
{
	struct fuse_attr a = attr_of(f, name);
	assert_true(a.mode == (S_IFLNK | 0777));
	assert_true(a.atime < UINT64_C(1) << 33); /* the guest sees no trace */
	return a.uid == uid && a.gid == uid;
}

static void test_symlink_owners(void **state)
{
	struct fixture f;
	char target[16];
	(void)state;
	begin(&f, (struct hull_share_config){0});
	f.c.uid = f.c.gid = 1000;
	assert_int_equal(raw_named(&f.c, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "plain", "x"), 0);
	assert_true(owned(&f, "plain", 1000) && host_atime(&f, "plain") < INT64_C(1) << 33);
	f.c.uid = f.c.gid = 0;
	assert_int_equal(raw_named(&f.c, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "l", "x"), 0);
	assert_true(owned(&f, "l", 0) && owned(&f, "plain", 1000));
	assert_int_equal(set(&f, "l", FATTR_UID | FATTR_GID, 999, 0), 0);
	assert_true(owned(&f, "l", 999));
	assert_int_equal(set(&f, "l", FATTR_MODE, 0, 0700), -EOPNOTSUPP);
	/* What the host does to the name, and reading it, leave the owner. */
	assert_int_equal(readlinkat(f.fd, "l", target, sizeof target), 1);
	assert_int_equal(renameat(f.fd, "l", f.fd, "m"), 0);
	assert_int_equal(linkat(f.fd, "m", f.fd, "n", 0), 0);
	assert_int_equal(unlinkat(f.fd, "m", 0), 0);
	assert_true(owned(&f, "n", 999));
	/* The guest sets times: that of access is what holds the owner. */
	struct fuse_setattr_in in = {.valid = FATTR_ATIME | FATTR_MTIME, .atime = 42, .mtime = 43};
	raw_begin(&f.c, FUSE_SETATTR, raw_lookup(&f.c, FUSE_ROOT_ID, "n"));
	raw_add(&f.c, &in, sizeof in);
	assert_int_equal(raw_go(&f.c), 0);
	assert_true(owned(&f, "n", 999) && attr_of(&f, "n").mtime == 43);
	/* It cannot set one that is an owner. */
	in.atime = UINT64_C(1) << 33;
	raw_begin(&f.c, FUSE_SETATTR, raw_lookup(&f.c, FUSE_ROOT_ID, "plain"));
	raw_add(&f.c, &in, sizeof in);
	assert_int_equal(raw_go(&f.c), 0);
	assert_true(owned(&f, "plain", 1000) && attr_of(&f, "plain").mtime == 43);
	in.atime = 42;
	raw_begin(&f.c, FUSE_SETATTR, raw_lookup(&f.c, FUSE_ROOT_ID, "plain"));
	raw_add(&f.c, &in, sizeof in);
	assert_int_equal(raw_go(&f.c), 0);
	assert_int_equal(host_atime(&f, "plain"), 42);
	/* A group that nanoseconds cannot hold, and the guest's own user, leave nothing. */
	assert_int_equal(set(&f, "plain", FATTR_UID | FATTR_GID, 1000000000, 0), 0);
	assert_true(owned(&f, "plain", 1000) && host_atime(&f, "plain") == 42);
	assert_int_equal(set(&f, "n", FATTR_UID | FATTR_GID, 1000, 0), 0);
	assert_true(owned(&f, "n", 1000) && host_atime(&f, "n") < INT64_C(1) << 33);
	/* The host's user sets the time: it is the guest's user's. */
	assert_int_equal(set(&f, "n", FATTR_UID | FATTR_GID, 999, 0), 0);
	assert_true(owned(&f, "n", 999));
	assert_int_equal(utimensat(f.fd, "n", NULL, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(owned(&f, "n", 1000));
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_that_are_none),
		cmocka_unit_test(test_ordinary_files_have_none),
		cmocka_unit_test(test_owners_and_modes),
		cmocka_unit_test(test_nodes_are_inert_on_the_host),
		cmocka_unit_test(test_setgid_directory),
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_symlink_times_that_are_owners),
		cmocka_unit_test(test_symlink_owners),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

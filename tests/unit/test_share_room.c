/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the host's file system a workspace may take (src/share/room.c). */
#include "share/server.h"
#include "share_rig.h"

static struct fuse_kstatfs statfs_of(struct fixture *f)
{
	struct fuse_statfs_out out;
	raw_begin(&f->c, FUSE_STATFS, FUSE_ROOT_ID);
	assert_int_equal(raw_go(&f->c), 0);
	memcpy(&out, f->c.reply, sizeof out);
	return out.st;
}

/* As if nothing above the limit was free. */
static void test_nothing_is_left(void **state)
{
	struct fixture f;
	uint64_t fh = 0;
	(void)state;
	begin(&f, (struct hull_share_config){.keep_free = INT64_MAX});
	uint64_t node = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	assert_int_equal(raw_open(&f.c, node, FUSE_OPEN, O_RDWR, &fh), 0);
	assert_int_equal(raw_write(&f.c, node, fh, "more"), -ENOSPC);
	struct fuse_fallocate_in take = {.fh = fh, .length = 1};
	raw_begin(&f.c, FUSE_FALLOCATE, node);
	raw_add(&f.c, &take, sizeof take);
	assert_int_equal(raw_go(&f.c), -ENOSPC);
	const struct fuse_copy_file_range_in copy = {
		.fh_in = fh, .nodeid_out = node, .fh_out = fh, .off_out = 100, .len = 5};
	raw_begin(&f.c, FUSE_COPY_FILE_RANGE, node);
	raw_add(&f.c, &copy, sizeof copy);
	assert_int_equal(raw_go(&f.c), -ENOSPC);
	const struct fuse_mkdir_in dir = {.mode = 0755};
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof dir, "d", NULL), -ENOSPC);
	assert_int_equal(raw_named(&f.c, FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof dir, "file", NULL), -EEXIST);
	assert_int_equal(raw_named(&f.c, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "l", "target"), -ENOSPC);
	const struct fuse_create_in create = {.flags = O_RDWR, .mode = 0644};
	assert_int_equal(raw_named(&f.c, FUSE_CREATE, FUSE_ROOT_ID, &create, sizeof create, "new", NULL), -ENOSPC);
	assert_int_equal(raw_named(&f.c, FUSE_CREATE, FUSE_ROOT_ID, &create, sizeof create, "file", NULL), 0);
	assert_true(statfs_of(&f).bavail == 0 && statfs_of(&f).bfree == 0 && statfs_of(&f).blocks > 0);
	/* What gives room back works. */
	const struct fuse_setattr_in shorter = {.valid = FATTR_SIZE, .size = 1};
	raw_begin(&f.c, FUSE_SETATTR, node);
	raw_add(&f.c, &shorter, sizeof shorter);
	assert_int_equal(raw_go(&f.c), 0);
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), 0);
	end(&f);
}

static void test_some_is_left(void **state)
{
	struct fixture f;
	uint64_t fh = 0;
	(void)state;
	begin(&f, (struct hull_share_config){.keep_free = 4096});
	uint64_t node = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	assert_int_equal(raw_open(&f.c, node, FUSE_OPEN, O_RDWR, &fh), 0);
	assert_int_equal(raw_write(&f.c, node, fh, "more"), 0);
	/* More than there is, asked for while the last answer still holds. */
	struct fuse_fallocate_in take = {.fh = fh, .length = (uint64_t)1 << 60};
	raw_begin(&f.c, FUSE_FALLOCATE, node);
	raw_add(&f.c, &take, sizeof take);
	assert_int_equal(raw_go(&f.c), -ENOSPC);
	uint64_t shown = statfs_of(&f).bavail;
	end(&f);
	begin(&f, (struct hull_share_config){.no_floor = true});
	assert_true(statfs_of(&f).bavail > 0 && shown > 0);
	end(&f);
}

static uint64_t left_after(struct fixture *f, uint64_t node, uint64_t fh, const char *what)
{
	uint64_t before = f->sh->room.left;
	assert_int_equal(raw_write(&f->c, node, fh, what), 0);
	return before - f->sh->room.left;
}

/* A byte takes a block, and may lie in the next one as well. */
static void test_bytes_count_as_blocks(void **state)
{
	struct fixture f;
	uint64_t fh = 0;
	(void)state;
	begin(&f, (struct hull_share_config){.keep_free = 4096});
	uint64_t node = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	assert_int_equal(raw_open(&f.c, node, FUSE_OPEN, O_RDWR, &fh), 0);
	assert_int_equal(raw_write(&f.c, node, fh, "x"), 0); /* the file system has been asked */
	f.sh->room.until = UINT64_MAX;
	assert_int_equal(left_after(&f, node, fh, "x"), 8192);
	assert_int_equal(left_after(&f, node, fh, "more"), 8192);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_some_is_left),
		cmocka_unit_test(test_bytes_count_as_blocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

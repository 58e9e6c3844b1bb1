/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay answers by itself: names, attributes, ends of directories. */
#include "prefetch.h"

static void test_entries(void **state)
{
	struct fixture f;
	begin_watching(&f);
	assert_int_equal(f.asked, 1);
	/* The others came with the first; each is given out once. */
	uint64_t b = look(&f, FUSE_ROOT_ID, "b");
	assert_true(b > FUSE_ROOT_ID);
	uint64_t sub = look(&f, FUSE_ROOT_ID, "sub");
	assert_true(sub != 0);
	assert_int_equal(f.asked, 1);
	assert_int_equal(look(&f, FUSE_ROOT_ID, "b"), b);
	assert_int_equal(f.asked, 2);
	/* The server counted what was given out here: two lookups of b. */
	const struct fuse_forget_in one = {.nlookup = 1};
	raw_begin(&f.c, FUSE_FORGET, b);
	raw_add(&f.c, &one, sizeof one);
	go(&f);
	struct fuse_attr_out out = {0};
	assert_int_equal(attr(&f, b, &out), 0);
	raw_begin(&f.c, FUSE_FORGET, b);
	raw_add(&f.c, &one, sizeof one);
	go(&f);
	assert_int_equal(attr(&f, b, &out), -ESTALE);
	/* What the host changes is asked for again. */
	const struct fuse_notify_inval_entry_out gone = {.parent = FUSE_ROOT_ID, .namelen = 1};
	unsigned asked = f.asked;
	notified(&f, FUSE_NOTIFY_INVAL_ENTRY, &gone, sizeof gone, "c");
	assert_true(look(&f, FUSE_ROOT_ID, "c") != 0);
	assert_int_equal(f.asked, asked + 1);
	/* And what the guest changes. */
	assert_int_equal(named(&f, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "d"), 0);
	assert_int_equal(look(&f, FUSE_ROOT_ID, "d"), 0);
	end(&f);
}

static void test_replayer_is_not_answered(void **state)
{
	struct fixture f;
	begin_watching(&f);
	f.c.marked = true;
	assert_true(look(&f, FUSE_ROOT_ID, "b") != 0);
	assert_int_equal(f.asked, 2);
	end(&f);
}

static void test_attributes_and_ends(void **state)
{
	struct fixture f;
	struct fuse_attr_out out = {0}, fresh = {0};
	struct fuse_mkdir_in mk = {.mode = 0755};
	begin_watching(&f);
	/* The attributes of a directory come with the change to it. */
	assert_int_equal(named(&f, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "made"), 0);
	unsigned asked = f.asked;
	assert_int_equal(attr(&f, FUSE_ROOT_ID, &out), 0);
	assert_int_equal(f.asked, asked);
	assert_int_equal(attr(&f, FUSE_ROOT_ID, &fresh), 0);
	assert_int_equal(f.asked, asked + 1);
	assert_memory_equal(&out, &fresh, sizeof out);
	/* Another change on top of it, or one on the host, and they do not hold. */
	assert_int_equal(named(&f, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "more"), 0);
	const struct fuse_notify_inval_inode_out inval = {.ino = FUSE_ROOT_ID};
	notified(&f, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof inval, NULL);
	asked = f.asked;
	assert_int_equal(attr(&f, FUSE_ROOT_ID, &out), 0);
	assert_int_equal(f.asked, asked + 1);
	/* Reading: the last part says so. */
	raw_begin(&f.c, FUSE_OPENDIR, FUSE_ROOT_ID);
	raw_add(&f.c, &(struct fuse_open_in){0}, sizeof(struct fuse_open_in));
	assert_int_equal(go(&f), -ENOSYS);
	uint64_t last = 0, none = 0;
	assert_true(read_dir(&f, FUSE_ROOT_ID, 0, 65536, &last) > 0);
	asked = f.asked;
	assert_int_equal(read_dir(&f, FUSE_ROOT_ID, last, 65536, &none), 0);
	assert_int_equal(f.asked, asked);
	/* Read to an end that is not answered here it is as empty. */
	assert_int_equal(read_dir(&f, FUSE_ROOT_ID, last, 65536, &none), 0);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
}

/* What was sent ahead while a change was on its way may be from before it or after: it is not taken. */
static void test_changes_on_their_way(void **state)
{
	struct fixture f;
	struct fuse_attr_out out = {0};
	struct fuse_mkdir_in mk = {.mode = 0755};
	begin_watching(&f);
	f.hold = true; /* the reply is not there yet */
	make_dir_unanswered(&f, "one");
	f.hold = false;
	assert_int_equal(named(&f, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "two"), 0);
	unsigned asked = f.asked;
	assert_int_equal(attr(&f, FUSE_ROOT_ID, &out), 0);
	assert_int_equal(f.asked, asked + 1);
	/* Entries neither; they are given back. */
	uint64_t sub = look(&f, FUSE_ROOT_ID, "sub");
	assert_true(sub != 0);
	asked = f.asked;
	assert_true(look(&f, sub, "x") != 0);
	assert_true(f.asked > asked);
	struct hull_prefetch_store store;
	assert_false(hull_prefetch_message(f.prefetch, f.held, f.held_len, &store));
	/* With its reply there is none on its way any more. */
	assert_int_equal(named(&f, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "three"), 0);
	asked = f.asked;
	assert_int_equal(attr(&f, FUSE_ROOT_ID, &out), 0);
	assert_int_equal(f.asked, asked);
	end(&f);
}

static int put(struct fixture *f, uint64_t node, uint64_t fh, const char *text)
{
	const struct fuse_write_in in = {.fh = fh, .size = (uint32_t)strlen(text)};
	raw_begin(&f->c, FUSE_WRITE, node);
	raw_add(&f->c, &in, sizeof in);
	raw_add(&f->c, text, strlen(text));
	return go(f);
}

/* It has no name any more, which the server is asked for. */
static void assert_nameless(struct fixture *f, uint64_t node, uint64_t fh)
{
	const struct fuse_getattr_in by_handle = {.getattr_flags = FUSE_GETATTR_FH, .fh = fh};
	struct fuse_attr_out out = {0};
	unsigned asked = f->asked;
	raw_begin(&f->c, FUSE_GETATTR, node);
	raw_add(&f->c, &by_handle, sizeof by_handle);
	assert_int_equal(go(f), 0);
	assert_int_equal(f->asked, asked + 1);
	memcpy(&out, f->c.reply, sizeof out);
	assert_int_equal(out.attr.nlink, 0);
}

/* The attributes of a file come with what is written, and hold until something touches it. */
static void test_written_attributes(void **state)
{
	struct fixture f;
	struct fuse_attr_out out = {0}, fresh = {0};
	uint64_t fh, other_fh;
	begin_watching(&f);
	uint64_t file = create(&f, FUSE_ROOT_ID, "file", &fh);
	uint64_t other = create(&f, FUSE_ROOT_ID, "other", &other_fh);
	assert_int_equal(put(&f, file, fh, "one"), 0);
	unsigned asked = f.asked;
	assert_int_equal(attr(&f, file, &out), 0);
	assert_int_equal(f.asked, asked);
	assert_int_equal(out.attr.size, 3);
	assert_int_equal(attr(&f, file, &fresh), 0);
	assert_int_equal(f.asked, asked + 1);
	assert_memory_equal(&out, &fresh, sizeof out);
	/* Written again, and by way of another file in between. */
	assert_int_equal(put(&f, file, fh, "longer"), 0);
	assert_int_equal(put(&f, other, other_fh, "x"), 0);
	asked = f.asked;
	assert_int_equal(attr(&f, file, &out), 0);
	assert_int_equal(out.attr.size, 6);
	assert_int_equal(f.asked, asked);
	/* Each of these changes some of them, or may. */
	const struct fuse_read_in read_in = {.fh = fh, .size = 10};
	const struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = S_IFREG | 0600};
	const struct fuse_link_in hard = {.oldnodeid = file};
	const struct fuse_notify_inval_inode_out inval = {.ino = file};
	for (int i = 0; i < 5; i++) {
		assert_int_equal(put(&f, file, fh, "again"), 0);
		if (i == 0) {
			raw_begin(&f.c, FUSE_READ, file);
			raw_add(&f.c, &read_in, sizeof read_in);
			assert_int_equal(go(&f), 0);
		} else if (i == 1) {
			raw_begin(&f.c, FUSE_SETATTR, file);
			raw_add(&f.c, &mode, sizeof mode);
			assert_int_equal(go(&f), 0);
		} else if (i == 2) {
			notified(&f, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof inval, NULL);
		} else if (i == 3) {
			assert_int_equal(named(&f, FUSE_LINK, FUSE_ROOT_ID, &hard, sizeof hard, "hard"), 0);
		} else {
			/* It has two names now: nothing is sent of it. */
		}
		asked = f.asked;
		assert_int_equal(attr(&f, file, &out), 0);
		assert_int_equal(f.asked, asked + (i > 0)); /* read to its end, they come with it */
		assert_int_equal(out.attr.nlink, i < 3 ? 1 : 2);
	}
	/* A name less, of a file that nobody can tell from here; it is told from others. */
	assert_int_equal(put(&f, other, other_fh, "y"), 0);
	uint64_t third = create(&f, FUSE_ROOT_ID, "third", &fh);
	assert_int_equal(put(&f, third, fh, "z"), 0);
	assert_int_equal(named(&f, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "other"), 0);
	asked = f.asked;
	assert_int_equal(attr(&f, third, &out), 0);
	assert_int_equal(f.asked, asked);
	assert_nameless(&f, other, other_fh);
	end(&f);
}

static void assert_fresh_here(struct fixture *f, uint64_t node)
{
	struct fuse_attr_out out = {0}, fresh = {0};
	unsigned asked = f->asked;
	assert_int_equal(attr(f, node, &out), 0);
	assert_int_equal(f->asked, asked);
	assert_int_equal(attr(f, node, &fresh), 0);
	assert_int_equal(f->asked, asked + 1);
	assert_memory_equal(&out, &fresh, sizeof out);
}

/* What gets or loses a name comes with that: made as git makes its objects, moved, put in another's place. */
static void test_attributes_with_names(void **state)
{
	struct fixture f;
	struct fuse_attr_out out = {0};
	uint64_t fh;
	begin_watching(&f);
	uint64_t object = create(&f, FUSE_ROOT_ID, "tmp", &fh);
	const struct fuse_link_in hard = {.oldnodeid = object};
	assert_int_equal(named(&f, FUSE_LINK, FUSE_ROOT_ID, &hard, sizeof hard, "object"), 0);
	assert_int_equal(named(&f, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "tmp"), 0);
	assert_fresh_here(&f, object);
	assert_int_equal(rename_it(&f, "object", "moved", 0), 0);
	assert_fresh_here(&f, object);
	assert_fresh_here(&f, FUSE_ROOT_ID);
	uint64_t a = look(&f, FUSE_ROOT_ID, "a");
	assert_int_equal(put(&f, object, fh, "one"), 0);
	assert_int_equal(rename_it(&f, "moved", "a", RENAME_EXCHANGE), 0);
	assert_fresh_here(&f, object);
	assert_fresh_here(&f, a);
	/* One that is replaced has none that hold. */
	assert_int_equal(put(&f, object, fh, "two"), 0);
	assert_int_equal(rename_it(&f, "moved", "a", 0), 0);
	assert_fresh_here(&f, a);
	unsigned asked;
	assert_nameless(&f, object, fh);
	/* That they do not hold is heeded beside a change that is on its way, when nothing else is. */
	uint64_t b = create(&f, FUSE_ROOT_ID, "new", &fh);
	assert_int_equal(put(&f, b, fh, "x"), 0);
	f.hold = true;
	rename_it(&f, "c", "cc", 0);
	f.hold = false;
	assert_int_equal(rename_it(&f, "new", "newer", 0), 0);
	asked = f.asked;
	assert_int_equal(attr(&f, b, &out), 0);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
}

/* A READ beside it may be from before or after: the time of access is asked for. */
static void test_written_beside_a_read(void **state)
{
	struct fixture f;
	struct fuse_attr_out out = {0};
	uint64_t fh;
	begin_watching(&f);
	uint64_t file = create(&f, FUSE_ROOT_ID, "file", &fh);
	const struct fuse_read_in read_in = {.fh = fh, .size = 10};
	f.hold = true;
	raw_begin(&f.c, FUSE_READ, file);
	raw_add(&f.c, &read_in, sizeof read_in);
	go(&f);
	f.hold = false;
	assert_int_equal(put(&f, file, fh, "one"), 0);
	unsigned asked = f.asked;
	assert_int_equal(attr(&f, file, &out), 0);
	assert_int_equal(f.asked, asked + 1);
	struct hull_prefetch_store store;
	assert_false(hull_prefetch_message(f.prefetch, f.held, f.held_len, &store));
	assert_int_equal(put(&f, file, fh, "two"), 0);
	asked = f.asked;
	assert_int_equal(attr(&f, file, &out), 0);
	assert_int_equal(f.asked, asked);
	end(&f);
}

static void test_answered_without_asking(void **state)
{
	struct fixture f;
	uint64_t fh = 0;
	struct fuse_getxattr_in get = {.size = 100};
	begin(&f);
	uint64_t a = look(&f, FUSE_ROOT_ID, "a");
	assert_int_equal(named(&f, FUSE_GETXATTR, a, &get, sizeof get, "security.capability"), -EOPNOTSUPP);
	assert_int_equal(f.asked, 1);
	assert_int_equal(named(&f, FUSE_GETXATTR, a, &get, sizeof get, "user.x"), -ENODATA);
	assert_int_equal(f.asked, 2);
	const struct fuse_ioctl_in terminal = {.cmd = 0x5401 /* TCGETS */};
	raw_begin(&f.c, FUSE_IOCTL, a);
	raw_add(&f.c, &terminal, sizeof terminal);
	assert_int_equal(go(&f), -ENOTTY);
	assert_int_equal(f.asked, 2);
	assert_int_equal(raw_go(&f.c), -ENOTTY); /* as the server says */
	/* A release is done at once, and done by the server as well. */
	assert_int_equal(raw_open(&f.c, a, FUSE_OPEN, O_RDONLY, &fh), 0);
	const struct fuse_release_in release = {.fh = fh};
	raw_begin(&f.c, FUSE_RELEASE, a);
	raw_add(&f.c, &release, sizeof release);
	assert_int_equal(go(&f), 0);
	assert_int_equal(raw_read(&f.c, a, FUSE_READ, fh, 0, 10), -EBADF);
	end(&f);
}

/* Whatever comes, in pieces and in nonsense, is survived; what is dropped is given back. */
static void test_nonsense(void **state)
{
	struct hull_prefetch *a = hull_prefetch_new();
	struct hull_prefetch_answer out;
	struct hull_prefetch_store store;
	static _Alignas(8) uint8_t p[4096], forgets[HULL_PREFETCH_REQUEST_MAX];
	assert_non_null(a);
	for (uint32_t op = 0; op < 70; op++)
		for (size_t n = sizeof(struct fuse_in_header); n < 160; n++) {
			memset(p, 0x41, sizeof p);
			struct fuse_in_header h = {.len = (uint32_t)n, .opcode = op, .nodeid = 1, .unique = n};
			memcpy(p, &h, sizeof h);
			hull_prefetch_request(a, p, n, &out);
		}
	for (int code = -100; code < 100; code++)
		for (size_t n = sizeof(struct fuse_out_header); n < 100; n++) {
			memset(p, 0x41, sizeof p);
			struct fuse_out_header h = {.len = (uint32_t)n, .error = code};
			memcpy(p, &h, sizeof h);
			hull_prefetch_message(a, p, n, &store);
		}
	/* Entries for a request that was never made are not taken, and given back; names that do not fit end it. */
	memset(p, 0, sizeof p);
	struct fuse_out_header h = {.error = HULL_SHARE_PREFETCH};
	size_t at = sizeof h + 8;
	for (int i = 0; i < 20; i++) {
		struct hull_share_prefetch e = {.type = HULL_SHARE_PREFETCH_ENTRY, .node = 1, .entry.nodeid = 5};
		e.name_len = i < 19 ? 1 : 5000;
		memcpy(p + at, &e, sizeof e);
		at += sizeof e + 8;
	}
	h.len = (uint32_t)at;
	memcpy(p, &h, sizeof h);
	assert_int_equal(hull_prefetch_output(a, forgets), 0);
	assert_true(hull_prefetch_message(a, p, at, &store));
	assert_true(hull_prefetch_message(a, p, at, &store));
	size_t n = hull_prefetch_output(a, forgets);
	assert_int_equal(n, sizeof(struct fuse_in_header) + sizeof(struct fuse_batch_forget_in) +
				    38 * sizeof(struct fuse_forget_one));
	hull_prefetch_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_replayer_is_not_answered),
		cmocka_unit_test(test_attributes_and_ends),
		cmocka_unit_test(test_changes_on_their_way),
		cmocka_unit_test(test_written_attributes),
		cmocka_unit_test(test_attributes_with_names),
		cmocka_unit_test(test_written_beside_a_read),
		cmocka_unit_test(test_answered_without_asking),
		cmocka_unit_test(test_nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

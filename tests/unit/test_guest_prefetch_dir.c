/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay answers of directories by itself: listings, those beside one that is looked into, names that are known
 * to be there and names that are known not to be. */
#include "prefetch.h"

static void test_listing(void **state)
{
	struct fixture f;
	struct fuse_attr_out out = {0};
	uint64_t last = 0, again = 0;
	begin_watching(&f);
	uint64_t sub = look(&f, FUSE_ROOT_ID, "sub");
	assert_true(look(&f, sub, "x") != 0);
	/* With the first name of a directory comes all that reading it would give, and what is asked behind that. */
	unsigned asked = f.asked;
	assert_int_equal(read_dir(&f, sub, 0, 4096, &last), 3);
	assert_int_equal(read_dir(&f, sub, last, 4096, &again), 0);
	assert_int_equal(attr(&f, sub, &out), 0);
	assert_int_equal(f.asked, asked);
	/* As the server has it. */
	assert_int_equal(read_dir(&f, sub, 0, 4096, &again), 3);
	assert_int_equal(f.asked, asked + 1);
	assert_int_equal(again, last);
	end(&f);
	/* In parts, with what is known of the entries; that is not known twice. Out of turn it is asked for. */
	begin_watching(&f);
	sub = look(&f, FUSE_ROOT_ID, "sub");
	host_makes(&f, "sub/y");
	look(&f, sub, "x");
	asked = f.asked;
	last = 0;
	bool with_attributes = false;
	for (unsigned i = 0; i < 4; i++) {
		struct fuse_direntplus d;
		assert_int_equal(read_dir(&f, sub, last, 200, &last), 1);
		memcpy(&d, f.c.reply, FUSE_NAME_OFFSET_DIRENTPLUS);
		with_attributes = with_attributes ||
				  (f.c.reply[FUSE_NAME_OFFSET_DIRENTPLUS] == 'y' && d.entry_out.nodeid);
	}
	assert_true(with_attributes);
	assert_int_equal(read_dir(&f, sub, last, 200, &again), 0);
	assert_int_equal(f.asked, asked);
	assert_true(look(&f, sub, "y") != 0);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
	begin_watching(&f);
	sub = look(&f, FUSE_ROOT_ID, "sub");
	look(&f, sub, "x");
	asked = f.asked;
	assert_int_equal(read_dir(&f, sub, 0, 200, &last), 1);
	assert_int_equal(read_dir(&f, sub, 0, 4096, &again), 3);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
	/* Not when there is room for none, not after a change, and not where reading brings attributes that did not
	 * come. */
	begin_watching(&f);
	sub = look(&f, FUSE_ROOT_ID, "sub");
	look(&f, sub, "x");
	asked = f.asked;
	read_dir(&f, sub, 0, 100, &last);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
	begin_watching(&f);
	sub = look(&f, FUSE_ROOT_ID, "sub");
	look(&f, sub, "x");
	make_dir(&f, sub, "more");
	asked = f.asked;
	assert_int_equal(read_dir(&f, sub, 0, 4096, &last), 4);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
	begin_watching(&f);
	sub = look(&f, FUSE_ROOT_ID, "sub");
	assert_int_equal(linkat(f.fd, "a", f.fd, "sub/linked", 0), 0);
	look(&f, sub, "x");
	asked = f.asked;
	assert_int_equal(read_dir(&f, sub, 0, 4096, &last), 4);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
}

/* Who goes through directories side by side is told of the next ones too, in twos and fours, and of none twice. */
static void test_walk(void **state)
{
	enum { DIRS = 40 };
	struct fixture f;
	char name[32];
	uint64_t last = 0, again, dirs[DIRS];
	unsigned questions = 0;
	begin(&f);
	f.tells = true;
	assert_int_equal(mkdirat(f.fd, "tree", 0755), 0);
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof name, "tree/d%u", i);
		assert_int_equal(mkdirat(f.fd, name, 0755), 0);
		for (int c = 'x'; c <= 'z'; c++) {
			snprintf(name, sizeof name, "tree/d%u/%c", i, c);
			host_makes(&f, name);
		}
	}
	if (!watching(&f)) {
		end(&f);
		skip();
	}
	uint64_t tree = look(&f, FUSE_ROOT_ID, "tree");
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof name, "d%u", i);
		dirs[i] = look(&f, tree, name);
		assert_true(dirs[i] != 0);
	}
	for (unsigned i = 0; i < DIRS; i++) {
		unsigned asked = f.asked;
		assert_int_equal(read_dir(&f, dirs[i], 0, 4096, &last), 5);
		assert_int_equal(read_dir(&f, dirs[i], last, 4096, &again), 0);
		questions += f.asked - asked;
	}
	assert_in_range(questions, 2, 10);
	/* What was given out is not given back as well: the server knows them all. */
	for (unsigned i = 0; i < DIRS; i++) {
		struct fuse_attr_out out;
		const struct fuse_notify_inval_inode_out inval = {.ino = dirs[i]};
		notified(&f, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof inval, NULL);
		assert_int_equal(attr(&f, dirs[i], &out), 0);
		assert_true(look(&f, dirs[i], "x") != 0);
	}
	/* Once each: after a change on the host it is asked for, and only it. */
	for (unsigned i = 0; i < DIRS; i++) {
		const struct fuse_notify_inval_inode_out inval = {.ino = dirs[i]};
		notified(&f, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof inval, NULL);
		unsigned asked = f.asked;
		assert_int_equal(read_dir(&f, dirs[i], 0, 4096, &last), 5);
		assert_int_equal(f.asked, asked + 1);
	}
	end(&f);
	/* Not of what changed while it was looked at, and not beside a change. */
	begin(&f);
	assert_int_equal(mkdirat(f.fd, "tree", 0755), 0);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "tree/d%u", i);
		assert_int_equal(mkdirat(f.fd, name, 0755), 0);
	}
	tree = look(&f, FUSE_ROOT_ID, "tree");
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "d%u", i);
		dirs[i] = look(&f, tree, name);
	}
	read_dir(&f, dirs[0], 0, 4096, &last);
	f.hold = true;
	make_dir_unanswered(&f, "beside"); /* in another directory: does not matter */
	make_dir_unanswered_in(&f, dirs[2], "new");
	f.hold = false;
	read_dir(&f, dirs[1], 0, 4096, &last);
	unsigned asked = f.asked;
	assert_int_equal(read_dir(&f, dirs[2], 0, 4096, &last), 3);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
}

static struct fuse_entry_out look_entry(struct fixture *f, uint64_t dir, const char *name)
{
	struct fuse_entry_out out = {0};
	if (look(f, dir, name))
		memcpy(&out, f->c.reply, sizeof out);
	return out;
}

static void forget(struct fixture *f, uint64_t node, uint64_t n)
{
	const struct fuse_forget_in in = {.nlookup = n};
	raw_begin(&f->c, FUSE_FORGET, node);
	raw_add(&f->c, &in, sizeof in);
	go(f);
}

/* mkdir -p asks for directories that the kernel knows: that they are still there is known here, as long as they are. */
static void test_known_directory(void **state)
{
	struct fixture f;
	struct fuse_attr_out attrs = {0};
	begin_watching(&f);
	f.tells = true;
	uint64_t dir = make_dir(&f, FUSE_ROOT_ID, "dir");
	unsigned asked = f.asked;
	for (int i = 0; i < 3; i++)
		assert_int_equal(look(&f, FUSE_ROOT_ID, "dir"), dir);
	assert_true(look_entry(&f, FUSE_ROOT_ID, "dir").attr_valid > 0);
	assert_int_equal(f.asked, asked);
	/* With attributes as they are, or none that hold. */
	uint64_t below = make_dir(&f, dir, "below");
	struct fuse_entry_out entry = look_entry(&f, FUSE_ROOT_ID, "dir");
	assert_int_equal(attr(&f, dir, &attrs), 0);
	assert_true(entry.attr_valid > 0);
	assert_memory_equal(&entry.attr, &attrs.attr, sizeof attrs.attr);
	const struct fuse_notify_inval_inode_out inval = {.ino = dir};
	notified(&f, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof inval, NULL);
	entry = look_entry(&f, FUSE_ROOT_ID, "dir");
	assert_int_equal(entry.nodeid, dir);
	assert_int_equal(entry.attr_valid, 0);
	/* One that was there before, from the second time on. */
	uint64_t sub = look(&f, FUSE_ROOT_ID, "sub");
	asked = f.asked;
	assert_int_equal(look(&f, FUSE_ROOT_ID, "sub"), sub);
	assert_int_equal(look(&f, FUSE_ROOT_ID, "sub"), sub);
	assert_int_equal(f.asked, asked + 1);
	/* Beside a change of it the name holds, its attributes do not. */
	const struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = S_IFDIR | 0700};
	f.hold = true;
	raw_begin(&f.c, FUSE_SETATTR, sub);
	raw_add(&f.c, &mode, sizeof mode);
	go(&f);
	f.hold = false;
	const struct fuse_notify_inval_entry_out again = {.parent = FUSE_ROOT_ID, .namelen = 3};
	notified(&f, FUSE_NOTIFY_INVAL_ENTRY, &again, sizeof again, "sub");
	assert_int_equal(look(&f, FUSE_ROOT_ID, "sub"), sub);
	asked = f.asked;
	entry = look_entry(&f, FUSE_ROOT_ID, "sub");
	assert_int_equal(f.asked, asked);
	assert_int_equal(entry.nodeid, sub);
	assert_int_equal(entry.attr_valid, 0);
	assert_false(hull_prefetch_message(f.prefetch, f.held, f.held_len, &(struct hull_prefetch_store){0}));
	/* The kernel forgets as often as it was told; the server has counted 1 of dir. */
	forget(&f, below, 1);
	forget(&f, dir, 4);
	assert_int_equal(attr(&f, dir, &attrs), 0);
	forget(&f, dir, 3);
	assert_int_equal(attr(&f, dir, &attrs), -ESTALE);
	/* A rename, its own removal, or the host, and it is asked for. */
	assert_int_equal(look(&f, FUSE_ROOT_ID, "sub"), sub);
	assert_int_equal(rename_it(&f, "sub", "moved", 0), 0);
	assert_int_equal(look(&f, FUSE_ROOT_ID, "sub"), 0);
	assert_int_equal(look(&f, FUSE_ROOT_ID, "moved"), sub);
	asked = f.asked;
	assert_int_equal(look(&f, FUSE_ROOT_ID, "moved"), sub);
	assert_int_equal(f.asked, asked);
	const struct fuse_notify_inval_entry_out gone = {.parent = FUSE_ROOT_ID, .namelen = 5};
	assert_int_equal(renameat(f.fd, "moved", f.fd, "elsewhere"), 0);
	notified(&f, FUSE_NOTIFY_INVAL_ENTRY, &gone, sizeof gone, "moved");
	assert_int_equal(look(&f, FUSE_ROOT_ID, "moved"), 0);
	assert_int_equal(look(&f, FUSE_ROOT_ID, "elsewhere"), sub);
	/* The kernel was told of it 9 times, and the server knows that. */
	forget(&f, sub, 8);
	assert_int_equal(attr(&f, sub, &attrs), 0);
	forget(&f, sub, 1);
	assert_int_equal(attr(&f, sub, &attrs), -ESTALE);
	end(&f);
}

/* True when the server was not asked for what `look` found. */
static bool answered_here(struct fixture *f, uint64_t dir, const char *name, bool there)
{
	unsigned asked = f->asked;
	assert_int_equal(look(f, dir, name) != 0, there);
	return f->asked == asked;
}

/* In a directory that the guest has made no name is asked for but those it has made there. */
static void test_made_directory(void **state)
{
	struct fixture f;
	uint64_t fh;
	begin_watching(&f);
	uint64_t dir = make_dir(&f, FUSE_ROOT_ID, "made");
	assert_true(answered_here(&f, dir, "x", false));
	create(&f, dir, "x", &fh);
	assert_false(answered_here(&f, dir, "x", true));
	assert_true(answered_here(&f, dir, "y", false));
	/* Every way that a name comes to be. */
	const struct fuse_mknod_in node = {.mode = S_IFREG | 0644};
	assert_int_equal(named(&f, FUSE_MKNOD, dir, &node, sizeof node, "node"), 0);
	assert_false(answered_here(&f, dir, "node", true));
	const struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = S_IFDIR | 0700};
	uint64_t below = make_dir(&f, dir, "dir");
	raw_begin(&f.c, FUSE_SETATTR, below);
	raw_add(&f.c, &mode, sizeof mode);
	assert_int_equal(go(&f), 0);
	assert_true(answered_here(&f, dir, "dir", true)); /* as what it was made, see test_known_directory */
	raw_begin(&f.c, FUSE_SYMLINK, dir);
	raw_name(&f.c, "link");
	raw_name(&f.c, "target");
	assert_int_equal(go(&f), 0);
	assert_false(answered_here(&f, dir, "link", true));
	uint64_t a = look(&f, FUSE_ROOT_ID, "a");
	const struct fuse_link_in hard = {.oldnodeid = a};
	assert_int_equal(named(&f, FUSE_LINK, dir, &hard, sizeof hard, "hard"), 0);
	assert_false(answered_here(&f, dir, "hard", true));
	const struct fuse_rename_in to = {.newdir = dir};
	raw_begin(&f.c, FUSE_RENAME, FUSE_ROOT_ID);
	raw_add(&f.c, &to, sizeof to);
	raw_name(&f.c, "b");
	raw_name(&f.c, "moved");
	assert_int_equal(go(&f), 0);
	assert_false(answered_here(&f, dir, "moved", true));
	/* What a file system may take for a name that is there. */
	create(&f, dir, "Longer.txt", &fh);
	assert_false(answered_here(&f, dir, "longer.TXT", false));
	assert_false(answered_here(&f, dir, "LONGER~1.TXT", false));
	assert_false(answered_here(&f, dir, "longer.txt.", false));
	assert_false(answered_here(&f, dir, "l\xc3\xb6nger.txt", false));
	assert_true(answered_here(&f, dir, "longer", false));
	/* Some letter that folds to a plain one. */
	create(&f, dir, "\xe2\x84\xaa", &fh);
	assert_false(answered_here(&f, dir, "k", false));
	end(&f);
}

/* It is as before once the host has been there, before the directory is looked into or after. */
static void test_made_directory_of_both(void **state)
{
	struct fixture f;
	begin_watching(&f);
	uint64_t dir = make_dir(&f, FUSE_ROOT_ID, "made");
	uint64_t other = make_dir(&f, FUSE_ROOT_ID, "other");
	host_makes(&f, "made/x");
	const struct fuse_notify_inval_inode_out inode = {.ino = dir};
	notified(&f, FUSE_NOTIFY_INVAL_INODE, &inode, sizeof inode, NULL);
	assert_false(answered_here(&f, dir, "x", true));
	assert_true(answered_here(&f, other, "x", false));
	host_makes(&f, "other/x");
	const struct fuse_notify_inval_entry_out entry = {.parent = other, .namelen = 1};
	notified(&f, FUSE_NOTIFY_INVAL_ENTRY, &entry, sizeof entry, "x");
	assert_false(answered_here(&f, other, "x", true));
	/* Another server knows nothing of it. */
	uint64_t third = make_dir(&f, FUSE_ROOT_ID, "third");
	hull_prefetch_reset(f.prefetch);
	assert_false(answered_here(&f, third, "x", false));
	/* Nobody else's answers are used for who announces the host's changes. */
	uint64_t fourth = make_dir(&f, FUSE_ROOT_ID, "fourth");
	f.c.marked = true;
	assert_false(answered_here(&f, fourth, "x", false));
	end(&f);
}

/* More names than are remembered: nothing is taken for absent that is there. */
static void test_made_many(void **state)
{
	enum { DIRS = 5000, NAMES = 140 * 1000 };
	struct fixture f;
	begin_watching(&f);
	uint64_t dir = make_dir(&f, FUSE_ROOT_ID, "made");
	struct hull_prefetch_answer out;
	struct hull_prefetch_store store;
	char name[16];
	for (unsigned i = 0; i < NAMES; i++) {
		const struct fuse_create_in how = {0};
		snprintf(name, sizeof name, "n%u", i);
		raw_begin(&f.c, FUSE_CREATE, dir);
		raw_add(&f.c, &how, sizeof how);
		raw_name(&f.c, name);
		hull_prefetch_request(f.prefetch, f.c.request, f.c.n, &out);
		assert_true(out.forward);
		const struct fuse_out_header done = {.len = sizeof done, .unique = f.c.unique};
		hull_prefetch_message(f.prefetch, (const uint8_t *)&done, sizeof done, &store);
	}
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "n%u", i);
		raw_begin(&f.c, FUSE_LOOKUP, dir);
		raw_name(&f.c, name);
		hull_prefetch_request(f.prefetch, f.c.request, f.c.n, &out);
		assert_true(out.forward);
		const struct fuse_out_header done = {.len = sizeof done, .unique = f.c.unique};
		hull_prefetch_message(f.prefetch, (const uint8_t *)&done, sizeof done, &store);
	}
	/* A name may be asked for because another one has its bit, but few are. */
	unsigned here = 0;
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof name, "d%u", i);
		here += answered_here(&f, make_dir(&f, FUSE_ROOT_ID, name), "x", false);
	}
	assert_in_range(here, DIRS * 9 / 10, DIRS);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_known_directory),
		cmocka_unit_test(test_made_directory),
		cmocka_unit_test(test_made_directory_of_both),
		cmocka_unit_test(test_made_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

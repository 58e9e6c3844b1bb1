/* What the relay answers by itself: names, attributes, ends of directories. */
#include "ahead.h"

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

static void test_announcer_is_not_answered(void **state)
{
	struct fixture f;
	begin_watching(&f);
	hull_ahead_announcer(f.ahead, f.c.pid);
	assert_true(look(&f, FUSE_ROOT_ID, "b") != 0);
	assert_int_equal(f.asked, 2);
	end(&f);
}

/* Names and the cookie behind the last one, of what READDIRPLUS gives at `offset`. */
static size_t read_dir(struct fixture *f, uint64_t dir, uint64_t offset, uint32_t size, uint64_t *last)
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

static uint64_t make_dir(struct fixture *f, uint64_t in, const char *name)
{
	const struct fuse_mkdir_in mk = {.mode = 0755};
	struct fuse_entry_out out;
	assert_int_equal(named(f, FUSE_MKDIR, in, &mk, sizeof mk, name), 0);
	memcpy(&out, f->c.reply, sizeof out);
	return out.nodeid;
}

static void make_dir_unanswered_in(struct fixture *f, uint64_t dir, const char *name)
{
	const struct fuse_mkdir_in mk = {.mode = 0755};
	named(f, FUSE_MKDIR, dir, &mk, sizeof mk, name);
}

static void make_dir_unanswered(struct fixture *f, const char *name)
{
	make_dir_unanswered_in(f, FUSE_ROOT_ID, name);
}

static void host_makes(struct fixture *f, const char *path)
{
	int fd = openat(f->fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
}

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

static int rename_it(struct fixture *f, const char *from, const char *to, uint32_t flags)
{
	const struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = flags};
	raw_begin(&f->c, FUSE_RENAME2, FUSE_ROOT_ID);
	raw_add(&f->c, &in, sizeof in);
	raw_name(&f->c, from);
	raw_name(&f->c, to);
	return go(f);
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
	assert_false(hull_ahead_message(f.ahead, f.held, f.held_len, &(struct hull_ahead_store){0}));
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
	struct hull_ahead_store store;
	assert_false(hull_ahead_message(f.ahead, f.held, f.held_len, &store));
	/* With its reply there is none on its way any more. */
	assert_int_equal(named(&f, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "three"), 0);
	asked = f.asked;
	assert_int_equal(attr(&f, FUSE_ROOT_ID, &out), 0);
	assert_int_equal(f.asked, asked);
	end(&f);
}

static uint64_t create(struct fixture *f, uint64_t in, const char *name, uint64_t *fh)
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

static int put(struct fixture *f, uint64_t node, uint64_t fh, const char *text)
{
	const struct fuse_write_in in = {.fh = fh, .size = (uint32_t)strlen(text)};
	raw_begin(&f->c, FUSE_WRITE, node);
	raw_add(&f->c, &in, sizeof in);
	raw_add(&f->c, text, strlen(text));
	return go(f);
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
	hull_ahead_reset(f.ahead);
	assert_false(answered_here(&f, third, "x", false));
	/* Nobody else's answers are used for who announces the host's changes. */
	uint64_t fourth = make_dir(&f, FUSE_ROOT_ID, "fourth");
	hull_ahead_announcer(f.ahead, f.c.pid);
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
	struct hull_ahead_answer out;
	struct hull_ahead_store store;
	char name[16];
	for (unsigned i = 0; i < NAMES; i++) {
		const struct fuse_create_in how = {0};
		snprintf(name, sizeof name, "n%u", i);
		raw_begin(&f.c, FUSE_CREATE, dir);
		raw_add(&f.c, &how, sizeof how);
		raw_name(&f.c, name);
		hull_ahead_request(f.ahead, f.c.request, f.c.n, &out);
		assert_true(out.forward);
		const struct fuse_out_header done = {.len = sizeof done, .unique = f.c.unique};
		hull_ahead_message(f.ahead, (const uint8_t *)&done, sizeof done, &store);
	}
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "n%u", i);
		raw_begin(&f.c, FUSE_LOOKUP, dir);
		raw_name(&f.c, name);
		hull_ahead_request(f.ahead, f.c.request, f.c.n, &out);
		assert_true(out.forward);
		const struct fuse_out_header done = {.len = sizeof done, .unique = f.c.unique};
		hull_ahead_message(f.ahead, (const uint8_t *)&done, sizeof done, &store);
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
	struct hull_ahead_store store;
	assert_false(hull_ahead_message(f.ahead, f.held, f.held_len, &store));
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
	struct hull_ahead *a = hull_ahead_new();
	struct hull_ahead_answer out;
	struct hull_ahead_store store;
	static _Alignas(8) uint8_t p[4096], forgets[HULL_AHEAD_REQUEST_MAX];
	assert_non_null(a);
	for (uint32_t op = 0; op < 70; op++)
		for (size_t n = sizeof(struct fuse_in_header); n < 160; n++) {
			memset(p, 0x41, sizeof p);
			struct fuse_in_header h = {.len = (uint32_t)n, .opcode = op, .nodeid = 1, .unique = n};
			memcpy(p, &h, sizeof h);
			hull_ahead_request(a, p, n, &out);
		}
	for (int code = -100; code < 100; code++)
		for (size_t n = sizeof(struct fuse_out_header); n < 100; n++) {
			memset(p, 0x41, sizeof p);
			struct fuse_out_header h = {.len = (uint32_t)n, .error = code};
			memcpy(p, &h, sizeof h);
			hull_ahead_message(a, p, n, &store);
		}
	/* Entries for a request that was never made are not taken, and given back; names that do not fit end it. */
	memset(p, 0, sizeof p);
	struct fuse_out_header h = {.error = HULL_SHARE_AHEAD};
	size_t at = sizeof h + 8;
	for (int i = 0; i < 20; i++) {
		struct hull_share_ahead e = {.type = HULL_SHARE_AHEAD_ENTRY, .node = 1, .entry.nodeid = 5};
		e.name_len = i < 19 ? 1 : 5000;
		memcpy(p + at, &e, sizeof e);
		at += sizeof e + 8;
	}
	h.len = (uint32_t)at;
	memcpy(p, &h, sizeof h);
	assert_int_equal(hull_ahead_tell(a, forgets), 0);
	assert_true(hull_ahead_message(a, p, at, &store));
	assert_true(hull_ahead_message(a, p, at, &store));
	size_t n = hull_ahead_tell(a, forgets);
	assert_int_equal(n, sizeof(struct fuse_in_header) + sizeof(struct fuse_batch_forget_in) +
				    38 * sizeof(struct fuse_forget_one));
	hull_ahead_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_announcer_is_not_answered),
		cmocka_unit_test(test_attributes_and_ends),
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_known_directory),
		cmocka_unit_test(test_changes_on_their_way),
		cmocka_unit_test(test_made_directory),
		cmocka_unit_test(test_made_directory_of_both),
		cmocka_unit_test(test_made_many),
		cmocka_unit_test(test_written_attributes),
		cmocka_unit_test(test_attributes_with_names),
		cmocka_unit_test(test_written_beside_a_read),
		cmocka_unit_test(test_answered_without_asking),
		cmocka_unit_test(test_nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

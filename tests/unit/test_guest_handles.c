/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay knows of open files: content that comes with the OPEN, and handles that are used again. */
#include "prefetch.h"

#include "guest/workspace/prefetch/handles.h"

static void on_host(struct fixture *f, const char *name, const char *text)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* The server sees `text` in "a", and it is looked up. */
static uint64_t begin_with(struct fixture *f, const char *text)
{
	begin(f);
	on_host(f, "a", text);
	if (!watching(f)) {
		end(f);
		skip();
	}
	struct fuse_entry_out entry;
	memcpy(&entry, f->c.reply, sizeof entry);
	return entry.nodeid;
}

static uint64_t open_it(struct fixture *f, uint64_t node, uint32_t flags, uint32_t *how)
{
	const struct fuse_open_in in = {.flags = flags};
	struct fuse_open_out out;
	f->stored_len = 0;
	raw_begin(&f->c, FUSE_OPEN, node);
	raw_add(&f->c, &in, sizeof in);
	assert_int_equal(go(f), 0);
	memcpy(&out, f->c.reply, sizeof out);
	if (how)
		*how = out.open_flags;
	return out.fh;
}

static void close_it(struct fixture *f, uint64_t node, uint64_t fh, uint32_t flags)
{
	const struct fuse_release_in in = {.fh = fh, .release_flags = flags};
	raw_begin(&f->c, FUSE_RELEASE, node);
	raw_add(&f->c, &in, sizeof in);
	assert_int_equal(go(f), 0);
}

static int set_attr(struct fixture *f, uint64_t node, uint64_t size)
{
	const struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = size};
	raw_begin(&f->c, FUSE_SETATTR, node);
	raw_add(&f->c, &in, sizeof in);
	return go(f);
}

static ssize_t read_it(struct fixture *f, uint64_t node, uint64_t fh)
{
	const struct fuse_read_in in = {.fh = fh, .size = 4096};
	raw_begin(&f->c, FUSE_READ, node);
	raw_add(&f->c, &in, sizeof in);
	return go(f) ? -1 : (ssize_t)f->c.reply_len;
}

static void changed_on_host(struct fixture *f, uint64_t node)
{
	const struct fuse_notify_inval_inode_out inval = {.ino = node};
	notified(f, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof inval, NULL);
}

/* What the server is told: RELEASE of which handle; 0 = nothing. */
static uint64_t told_to_release(struct fixture *f)
{
	_Alignas(8) uint8_t own[HULL_PREFETCH_REQUEST_MAX];
	struct fuse_in_header h;
	struct fuse_release_in in;
	size_t n = hull_prefetch_output(f->prefetch, own);
	if (n == 0)
		return 0;
	memcpy(&h, own, sizeof h);
	memcpy(&in, own + sizeof h, sizeof in);
	assert_int_equal(n, sizeof h + sizeof in);
	assert_int_equal(h.len, n);
	assert_int_equal(h.opcode, FUSE_RELEASE);
	assert_int_equal(h.unique, 0);
	hull_share_handle(f->sh, &f->c.t, own, n, f->c.scratch);
	return in.fh;
}

static void test_content_comes_with_open(void **state)
{
	struct fixture f;
	uint64_t a = begin_with(&f, "hello");
	uint64_t fh = open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.stored_len, 5);
	assert_memory_equal(f.stored, "hello", 5);
	assert_int_equal(f.store.nodeid, a);
	assert_int_equal(f.store.offset, 0);
	assert_int_equal(f.store.size, 5);
	close_it(&f, a, fh, 0);
	/* The guest has it now. */
	changed_on_host(&f, a); /* so that the handle is not what answers */
	assert_int_equal(told_to_release(&f), fh);
	unsigned asked = f.asked;
	fh = open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.asked, asked + 1);
	assert_int_equal(f.stored_len, 0);
	close_it(&f, a, fh, 0);
	end(&f);
}

/* What the guest has written it has, but for a part of a page, which its kernel reads before it shows it. */
static void test_content_that_was_written(void **state)
{
	struct fixture f;
	char page[4096];
	uint64_t a = begin_with(&f, "hello");
	memset(page, 'x', sizeof page);
	for (unsigned n = 4090; n <= sizeof page; n += 6) {
		const struct fuse_write_in in = {.size = n};
		struct fuse_write_in to = in;
		to.fh = open_it(&f, a, O_WRONLY, NULL);
		raw_begin(&f.c, FUSE_WRITE, a);
		raw_add(&f.c, &to, sizeof to);
		raw_add(&f.c, page, n);
		assert_int_equal(go(&f), 0);
		close_it(&f, a, to.fh, 0);
		uint64_t fh = open_it(&f, a, O_RDONLY, NULL);
		assert_int_equal(f.stored_len, n < sizeof page ? n : 0);
		close_it(&f, a, fh, 0);
		changed_on_host(&f, a); /* so that the handle is not what answers next */
		while (told_to_release(&f))
			;
		fh = open_it(&f, a, O_RDONLY, NULL); /* once */
		assert_int_equal(f.stored_len, 0);
		close_it(&f, a, fh, 0);
		set_attr(&f, a, n);
		while (told_to_release(&f))
			;
	}
	end(&f);
}

/* Pages of a file that somebody has open may be locked by who waits for an answer: then nothing is put there. */
static void test_not_while_open(void **state)
{
	struct fixture f;
	uint64_t a = begin_with(&f, "hello");
	uint64_t writing = open_it(&f, a, O_WRONLY, NULL);
	assert_int_equal(f.stored_len, 0);
	on_host(&f, "a", "world");
	uint64_t reading = open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.stored_len, 0);
	close_it(&f, a, reading, 0);
	close_it(&f, a, writing, 0);
	/* Nor content of another length than the guest knows. */
	on_host(&f, "a", "longer than it was");
	changed_on_host(&f, a);
	while (told_to_release(&f))
		;
	reading = open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.stored_len, 0);
	assert_int_equal(read_it(&f, a, reading), 18);
	end(&f);
}

/* A change of the size of `node` is on its way: its reply has not come. */
static void change_under_way(struct fixture *f, uint64_t node, uint64_t size)
{
	f->hold = true;
	set_attr(f, node, size);
	f->hold = false;
}

/* A change of the file on its way beside the OPEN, or on top of it: what was read may be from before it. */
static void test_spoiled(void **state)
{
	struct fixture f;
	uint64_t a = begin_with(&f, "hello");
	change_under_way(&f, a, 5);
	open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.stored_len, 0);
	end(&f);
	/* That of another file does not matter. */
	a = begin_with(&f, "hello");
	change_under_way(&f, raw_lookup(&f.c, FUSE_ROOT_ID, "b"), 0);
	open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.stored_len, 5);
	end(&f);
}

static void test_handle_used_again(void **state)
{
	struct fixture f;
	uint32_t how = 0, again = 0;
	uint64_t a = begin_with(&f, "hello");
	uint64_t fh = open_it(&f, a, O_RDONLY, &how);
	/* Two at a time are two handles, of which one is kept. */
	uint64_t other = open_it(&f, a, O_RDONLY, NULL);
	assert_true(other != fh);
	unsigned asked = f.asked;
	close_it(&f, a, fh, 0);
	assert_int_equal(f.asked, asked);
	close_it(&f, a, other, 0);
	assert_int_equal(f.asked, asked + 1);
	assert_int_equal(open_it(&f, a, O_RDONLY, &again), fh);
	assert_int_equal(again, how);
	assert_int_equal(f.asked, asked + 1);
	assert_int_equal(read_it(&f, a, fh), 5);
	close_it(&f, a, fh, 0);
	/* Not for who writes. */
	asked = f.asked;
	assert_true(open_it(&f, a, O_RDWR, NULL) != fh);
	assert_int_equal(f.asked, asked + 1);
	/* The guest forgets the file: then it is released. */
	assert_int_equal(told_to_release(&f), 0);
	const struct fuse_forget_in one = {.nlookup = 1};
	f.c.pid = 0; /* as the kernel sends it */
	raw_begin(&f.c, FUSE_FORGET, a);
	raw_add(&f.c, &one, sizeof one);
	go(&f);
	assert_int_equal(told_to_release(&f), fh);
	assert_int_equal(told_to_release(&f), 0);
	assert_int_equal(read_it(&f, a, fh), -1);
	end(&f);
}

static int lock_it(struct fixture *f, uint64_t node, uint64_t fh, uint32_t type)
{
	const struct fuse_lk_in lock = {.fh = fh, .owner = 1, .lk = {.end = 9, .type = type}};
	raw_begin(&f->c, FUSE_SETLK, node);
	raw_add(&f->c, &lock, sizeof lock);
	return go(f);
}

static bool flush_is_answered_here(struct fixture *f, uint64_t node, uint64_t fh)
{
	const struct fuse_flush_in in = {.fh = fh, .lock_owner = 1};
	unsigned asked = f->asked;
	raw_begin(&f->c, FUSE_FLUSH, node);
	raw_add(&f->c, &in, sizeof in);
	assert_int_equal(go(f), 0);
	return f->asked == asked;
}

/* A descriptor that reads and writes is flushed: only the server drops its locks, and only a file system that may fail
 * then has something to say. */
static void test_flush(void **state)
{
	struct fixture f;
	uint32_t how;
	uint64_t a = begin_with(&f, "hello");
	close_it(&f, a, open_it(&f, a, O_WRONLY, &how), 0);
	bool fails_at_once = how & FOPEN_NOFLUSH;
	uint64_t fh = open_it(&f, a, O_RDWR, &how);
	assert_false(how & FOPEN_NOFLUSH);
	assert_int_equal(flush_is_answered_here(&f, a, fh), fails_at_once);
	assert_int_equal(flush_is_answered_here(&f, a, fh), fails_at_once);
	/* With a lock, which is gone then. */
	assert_int_equal(lock_it(&f, a, fh, F_WRLCK), 0);
	assert_false(flush_is_answered_here(&f, a, fh));
	int fd = openat(f.fd, "a", O_RDWR | O_CLOEXEC);
	struct flock mine = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 9};
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &mine), 0);
	close(fd);
	close_it(&f, a, fh, 0);
	/* The lock went with the descriptor. */
	fh = open_it(&f, a, O_RDWR, NULL);
	assert_int_equal(flush_is_answered_here(&f, a, fh), fails_at_once);
	end(&f);
}

/* Closing gives locks back: such a handle is not kept. */
static void test_locked_handles(void **state)
{
	struct fixture f;
	uint64_t a = begin_with(&f, "hello");
	uint64_t fh = open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(lock_it(&f, a, fh, F_RDLCK), 0);
	unsigned asked = f.asked;
	close_it(&f, a, fh, 0);
	assert_int_equal(f.asked, asked + 1);
	fh = open_it(&f, a, O_RDONLY, NULL);
	asked = f.asked;
	close_it(&f, a, fh, FUSE_RELEASE_FLOCK_UNLOCK);
	assert_int_equal(f.asked, asked + 1);
	fh = open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.asked, asked + 2);
	/* A change of what it is ends it as well, and another server ends all. */
	close_it(&f, a, fh, 0);
	assert_int_equal(set_attr(&f, a, 3), 0);
	assert_int_equal(told_to_release(&f), fh);
	fh = open_it(&f, a, O_RDONLY, NULL);
	close_it(&f, a, fh, 0);
	hull_prefetch_reset(f.prefetch);
	asked = f.asked;
	open_it(&f, a, O_RDONLY, NULL);
	assert_int_equal(f.asked, asked + 1);
	end(&f);
}

static void keep(struct hull_handles *o, uint64_t node, uint64_t most)
{
	assert_true(hull_handles_opened(o, node, 100000 + node, 1));
	hull_handles_offer(o, node, 100000 + node, most);
	assert_true(hull_handles_open(o, node));
	assert_true(hull_handles_closed(o, node, 100000 + node));
	assert_false(hull_handles_open(o, node));
}

/* The handles that went, each of a node in 1..n that was kept, and none twice; how many. */
static unsigned gone(struct hull_handles *o, bool *was, uint64_t n)
{
	uint64_t node, fh;
	unsigned count = 0;
	for (; hull_handles_release(o, &node, &fh); count++) {
		assert_in_range(node, 1, n);
		assert_int_equal(fh, 100000 + node);
		assert_false(was[node]);
		was[node] = true;
	}
	return count;
}

/* So many and no more, with those that are open: some other goes, and he who goes through more than that, again and
 * again, still finds some. */
static void test_not_too_many(void **state)
{
	enum { MOST = 300, ALL = 400 };
	struct hull_handles *o = hull_handles_new();
	bool was[ALL + 1] = {false};
	uint64_t fh;
	uint32_t flags;
	assert_non_null(o);
	for (uint64_t i = 1; i <= MOST; i++)
		keep(o, i, MOST);
	assert_int_equal(gone(o, was, ALL), 0);
	for (uint64_t i = MOST + 1; i <= ALL; i++)
		keep(o, i, MOST);
	assert_int_equal(gone(o, was, ALL), ALL - MOST);
	unsigned found = 0, first = 0;
	for (uint64_t i = 1; i <= ALL; i++) {
		bool there = hull_handles_take(o, i, &fh, &flags);
		assert_int_equal(there, !was[i]);
		if (!there)
			continue;
		assert_int_equal(fh, 100000 + i);
		assert_int_equal(flags, 0);
		/* In use it is nobody else's. */
		assert_false(hull_handles_take(o, i, &fh, &flags));
		assert_true(hull_handles_closed(o, i, fh));
		found++;
		first += i <= ALL / 2;
	}
	assert_int_equal(found, MOST);
	assert_in_range(first, 1, ALL / 2 - 1);
	/* Each that is open for good takes the place of one that is kept. */
	for (uint64_t i = 1; i <= 50; i++)
		assert_true(hull_handles_opened(o, ALL + i, i, 0));
	assert_int_equal(gone(o, was, ALL), 50);
	for (uint64_t i = 1; i <= MOST; i++)
		assert_true(hull_handles_opened(o, 2 * ALL + i, i, 0));
	assert_int_equal(gone(o, was, ALL), MOST - 50);
	/* One that must not be kept is let go of when it is closed. */
	hull_handles_reset(o);
	keep(o, 1, MOST);
	assert_true(hull_handles_take(o, 1, &fh, &flags));
	hull_handles_drop(o, 1);
	assert_false(hull_handles_closed(o, 1, fh));
	memset(was, 0, sizeof was);
	assert_int_equal(gone(o, was, ALL), 0);
	/* All at once. */
	for (uint64_t i = 1; i <= ALL; i++)
		keep(o, i, UINT64_MAX);
	for (uint64_t i = 1; i <= ALL; i++)
		hull_handles_drop(o, i);
	assert_int_equal(gone(o, was, ALL), ALL);
	hull_handles_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content_comes_with_open), cmocka_unit_test(test_content_that_was_written),
		cmocka_unit_test(test_not_while_open),          cmocka_unit_test(test_spoiled),
		cmocka_unit_test(test_handle_used_again),       cmocka_unit_test(test_flush),
		cmocka_unit_test(test_locked_handles),          cmocka_unit_test(test_not_too_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

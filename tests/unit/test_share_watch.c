/* SPDX-License-Identifier: Apache-2.0 */
/* The share server and changes on the host: what is watched, what is told, and what the replayer may do. */
#include "share_rig.h"

#include <dirent.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

/* For how long the guest may keep what it was told of a file. */
static uint64_t lifetime(struct fixture *f, uint64_t *attr)
{
	struct fuse_entry_out out;
	assert_true(raw_lookup(&f->c, FUSE_ROOT_ID, "file") != 0);
	memcpy(&out, f->c.reply, sizeof out);
	*attr = out.attr_valid;
	return out.entry_valid;
}

static bool can_watch(void)
{
	struct fixture f;
	uint64_t attr;
	begin(&f, (struct hull_share_config){.fs_magic = EXT4_SUPER_MAGIC});
	bool can = lifetime(&f, &attr) > 0;
	end(&f);
	return can;
}

/* A mark can be set on file systems that others change too, and then says nothing of that. */
static void test_file_systems_that_tell(void **state)
{
	static const uint32_t yes[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
				       0xF2F52010,       0x2FC12FC1,      0xCA451A4E,        OVERLAYFS_SUPER_MAGIC};
	static const uint32_t no[] = {NFS_SUPER_MAGIC,
				      FUSE_SUPER_MAGIC,
				      V9FS_MAGIC,
				      0xFF534D42 /* cifs */,
				      0xFE534D42 /* smb2 */,
				      0x00C36400 /* ceph */,
				      0x517B /* smb */,
				      AFS_SUPER_MAGIC,
				      0x0BD00BD0 /* lustre */,
				      0x786F4256 /* vboxsf */,
				      1};
	struct fixture f;
	uint64_t attr;
	bool can = can_watch();
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		begin(&f, (struct hull_share_config){.fs_magic = yes[i]});
		assert_int_equal(lifetime(&f, &attr), can ? 365 * 86400 : 0);
		assert_int_equal(attr, can ? 365 * 86400 : 0);
		end(&f);
	}
	for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
		begin(&f, (struct hull_share_config){.fs_magic = no[i]});
		assert_int_equal(lifetime(&f, &attr), 0);
		assert_int_equal(attr, 0);
		end(&f);
	}
}

/* Marks of this process's fanotify groups. */
static int marks(void)
{
	int n = 0;
	char path[300], line[512];
	DIR *d = opendir("/proc/self/fdinfo");
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		snprintf(path, sizeof path, "/proc/self/fdinfo/%s", e->d_name);
		FILE *file = fopen(path, "re");
		while (file && fgets(line, sizeof line, file))
			n += strncmp(line, "fanotify ino:", 13) == 0;
		if (file)
			fclose(file);
	}
	closedir(d);
	return n;
}

static void forget(struct fixture *f, uint64_t node)
{
	const struct fuse_forget_in in = {.nlookup = UINT64_MAX};
	raw_begin(&f->c, FUSE_FORGET, node);
	raw_add(&f->c, &in, sizeof in);
	assert_int_equal(raw_go(&f->c), 1);
}

/* A directory that the guest forgets loses its mark, also when its descriptor was closed to make room for others, and
 * when it was moved or removed. */
static void test_marks_go(void **state)
{
	enum { DIRS = 40 };
	struct fixture f;
	char name[32];
	uint64_t node[DIRS];
	begin(&f, (struct hull_share_config){.max_dirs = 4});
	for (int i = 0; i < DIRS; i++) {
		snprintf(name, sizeof name, "dir/d%d", i);
		assert_int_equal(mkdirat(f.fd, name, 0755), 0);
	}
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
	int before = marks();
	for (int i = 0; i < DIRS; i++) {
		snprintf(name, sizeof name, "d%d", i);
		node[i] = raw_lookup(&f.c, dir, name);
		assert_true(node[i] != 0);
		raw_lookup(&f.c, node[i], "x");
	}
	if (can_watch())
		assert_int_equal(marks(), before + DIRS);
	assert_int_equal(renameat(f.fd, "dir/d0", f.fd, "dir/other"), 0);
	assert_true(raw_lookup(&f.c, dir, "other") == node[0]);
	assert_int_equal(unlinkat(f.fd, "dir/d1", AT_REMOVEDIR), 0);
	for (int i = 0; i < DIRS; i++)
		forget(&f, node[i]);
	assert_int_equal(marks(), before);
	/* And is watched again when it is used again. */
	uint64_t again = raw_lookup(&f.c, dir, "d7");
	assert_true(again != 0 && again != node[7]);
	raw_lookup(&f.c, again, "x");
	if (can_watch())
		assert_int_equal(marks(), before + 1);
	end(&f);
}

/* A file that was seen with two names is watched by itself, and trusted for ever then, also when one is left; its mark
 * goes with it. */
static void test_marks_of_files(void **state)
{
	struct fixture f;
	struct fuse_entry_out out;
	begin(&f, (struct hull_share_config){0});
	assert_int_equal(linkat(f.fd, "file", f.fd, "dir/link", 0), 0);
	raw_lookup(&f.c, FUSE_ROOT_ID, "nothing");
	int before = marks();
	uint64_t node = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	memcpy(&out, f.c.reply, sizeof out);
	if (can_watch()) {
		assert_int_equal(out.attr_valid, 365 * 86400);
		assert_int_equal(marks(), before + 1);
	}
	assert_int_equal(unlinkat(f.fd, "dir/link", 0), 0);
	assert_int_equal(raw_lookup(&f.c, FUSE_ROOT_ID, "file"), node);
	if (can_watch())
		assert_int_equal(marks(), before + 1);
	forget(&f, node);
	assert_int_equal(marks(), before);
	end(&f);
}

/* --- a sync --- */

struct heard {
	pthread_mutex_t lock;
	pthread_cond_t more;
	unsigned synced, told, asked; /* told: how many notifications there were when it was asked last */
	uint32_t number;
};

static int hear(void *ctx, const struct iovec *iov, int count)
{
	struct heard *h = ctx;
	struct fuse_out_header head;
	memcpy(&head, iov[0].iov_base, sizeof head);
	if (head.unique)
		return 0;
	pthread_mutex_lock(&h->lock);
	if (head.error == HULL_SHARE_SYNC) {
		h->asked++;
		memcpy(&h->number, iov[1].iov_base, sizeof h->number);
	} else {
		h->told++;
	}
	pthread_cond_broadcast(&h->more);
	pthread_mutex_unlock(&h->lock);
	return 0;
}

static void through(void *ctx)
{
	struct heard *h = ctx;
	pthread_mutex_lock(&h->lock);
	h->synced++;
	pthread_cond_broadcast(&h->more);
	pthread_mutex_unlock(&h->lock);
}

#define HEAR(h, cond)                                              \
	do {                                                       \
		pthread_mutex_lock(&(h)->lock);                    \
		while (!(cond))                                    \
			pthread_cond_wait(&(h)->more, &(h)->lock); \
		pthread_mutex_unlock(&(h)->lock);                  \
	} while (0)

static void change_on_the_host(struct fixture *f, const char *name, const char *text)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = openat(f->fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
		_exit(fd < 0 || write(fd, text, strlen(text)) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void say(struct fixture *f, uint32_t opcode, uint32_t value)
{
	raw_begin(&f->c, opcode, 0);
	raw_add(&f->c, &value, sizeof value);
	assert_int_equal(raw_go(&f->c), 1);
}

/* It is through when the guest has said that it has what was sent of the changes before it; at once when there were
 * none. */
static void test_sync(void **state)
{
	struct fixture f;
	struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
	struct hull_share_transport t = {.send = hear, .ctx = &h, .paced = true};
	if (!can_watch())
		skip();
	begin(&f, (struct hull_share_config){.synced = through, .ctx = &h});
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != 0);
	/* The change is made and the sync asked for before anything is read. */
	change_on_the_host(&f, "file", "new");
	hull_share_sync(f.sh);
	assert_int_equal(hull_share_start(f.sh, &t, NULL), 0);
	HEAR(&h, h.asked == 1);
	assert_true(h.told > 0);
	assert_int_equal(h.synced, 0);
	say(&f, HULL_SHARE_RELAY_SYNCED, h.number + 1); /* not that one */
	say(&f, HULL_SHARE_RELAY_SYNCED, h.number);
	HEAR(&h, h.synced == 1);
	hull_share_sync(f.sh);
	HEAR(&h, h.synced == 2);
	assert_int_equal(h.asked, 1);
	/* Notifications were lost on the way: it is asked again once all has been told anew. */
	change_on_the_host(&f, "file", "newer");
	hull_share_sync(f.sh);
	HEAR(&h, h.asked == 2);
	unsigned told = h.told;
	say(&f, HULL_SHARE_RELAY_LOST, 0);
	HEAR(&h, h.asked == 3);
	assert_true(h.told > told);
	say(&f, HULL_SHARE_RELAY_SYNCED, h.number);
	HEAR(&h, h.synced == 3);
	hull_share_stop(f.sh);
	end(&f);
}

/* Where nobody tells of changes, it is through when nothing that was told before may be kept any longer. */
static void test_sync_unwatched(void **state)
{
	struct fixture f;
	struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
	struct hull_share_transport t = {.send = hear, .ctx = &h, .paced = true};
	struct timespec a, b;
	begin(&f, (struct hull_share_config){.no_watch = true, .synced = through, .ctx = &h});
	assert_int_equal(hull_share_start(f.sh, &t, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_true(raw_lookup(&f.c, FUSE_ROOT_ID, "file") != 0);
	hull_share_sync(f.sh);
	HEAR(&h, h.synced == 1);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true((b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec >= 100 * 1000 * 1000);
	hull_share_stop(f.sh);
	end(&f);
}

/* --- the replayer --- */

/* A request of a former replayer's, read by the relay for a server that knows of none, changes nothing. */
static void test_marked_changes_nothing(void **state)
{
	struct fixture f;
	uint64_t fh = 0, rw = 0;
	struct stat st;
	begin(&f, (struct hull_share_config){0});
	uint64_t file = raw_lookup(&f.c, FUSE_ROOT_ID, "file");
	uint64_t dir = raw_lookup(&f.c, FUSE_ROOT_ID, "dir");
	assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_RDWR, &rw), 0);
	f.c.marked = true;
	const struct fuse_mkdir_in mk = {.mode = 0755};
	const struct fuse_mknod_in nod = {.mode = S_IFREG | 0644};
	const struct fuse_create_in create = {.flags = O_RDWR, .mode = 0644};
	const struct fuse_rename_in to = {.newdir = FUSE_ROOT_ID};
	const struct fuse_rename2_in to2 = {.newdir = FUSE_ROOT_ID};
	const struct fuse_link_in from = {.oldnodeid = file};
	assert_true(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_UNLINK, dir, NULL, 0, "inner", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_RMDIR, FUSE_ROOT_ID, NULL, 0, "dir", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof mk, "new", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof nod, "new", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_CREATE, FUSE_ROOT_ID, &create, sizeof create, "new", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "new", "target") < 0);
	assert_true(raw_named(&f.c, FUSE_LINK, FUSE_ROOT_ID, &from, sizeof from, "new", NULL) < 0);
	assert_true(raw_named(&f.c, FUSE_RENAME, FUSE_ROOT_ID, &to, sizeof to, "file", "new") < 0);
	assert_true(raw_named(&f.c, FUSE_RENAME2, FUSE_ROOT_ID, &to2, sizeof to2, "file", "new") < 0);
	assert_true(raw_write(&f.c, file, rw, "evil") < 0);
	assert_int_equal(raw_open(&f.c, file, FUSE_OPEN, O_WRONLY | O_TRUNC, &fh), 0);
	assert_true(raw_write(&f.c, file, fh, "evil") < 0);
	const struct fuse_setattr_in set = {
		.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME, .mode = 0777, .size = 0, .mtime = 1};
	raw_begin(&f.c, FUSE_SETATTR, file);
	raw_add(&f.c, &set, sizeof set);
	raw_go(&f.c);
	const struct fuse_fallocate_in room = {.fh = rw, .length = 4096};
	raw_begin(&f.c, FUSE_FALLOCATE, file);
	raw_add(&f.c, &room, sizeof room);
	assert_true(raw_go(&f.c) < 0);
	assert_int_equal(fstatat(f.fd, "file", &st, 0), 0);
	assert_int_equal(st.st_size, 7);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_true(st.st_mtime > 1);
	assert_int_equal(faccessat(f.fd, "dir/inner", F_OK, 0), 0);
	assert_int_equal(faccessat(f.fd, "new", F_OK, 0), -1);
	f.c.marked = false;
	/* And a process that happens to have the number is nobody special. */
	hull_share_set_replayer(f.sh, f.c.pid);
	assert_int_equal(raw_named(&f.c, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), 0);
	assert_int_equal(faccessat(f.fd, "file", F_OK, 0), -1);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_systems_that_tell), cmocka_unit_test(test_marks_go),
		cmocka_unit_test(test_marks_of_files),         cmocka_unit_test(test_sync),
		cmocka_unit_test(test_sync_unwatched),         cmocka_unit_test(test_marked_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Creates, removes and locks sandboxes; see store.h.
 *
 * Create: everything is made in a scratch directory `sandboxes/.new-XXXXXX` (base/scratch.h), and one rename gives it
 * its name. Remove: with the sandbox's lock held, one rename to `sandboxes/.old-XXXXXX` removes the name, then the tree
 * is deleted. So a name refers to a complete sandbox or does not exist.
 *
 * Lock: the keeper holds two locks on NAME/lock through one descriptor: flock(2), which excludes a second keeper and
 * `rm`, and an open-file-description lock, which can be queried (F_OFD_GETLK) without being taken. Querying with flock
 * would take it for a moment and make a concurrent start fail. Both end with the process. NAME/lock may have been
 * replaced between open and lock (rm, then create), so its identity is checked afterwards. */
#include "store/internal.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/scratch.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Space for a sandbox besides the initial content of its disk: logs, and enough for the guest to start. */
static const uint64_t SPACE_SLACK = 64ull << 20;

#define NEW_PREFIX ".new-"
#define OLD_PREFIX ".old-"

static char *sandboxes_path(const struct hull_paths *p, struct hull_error *err)
{
	char *dir = hull_fmt("%s/sandboxes", p->home);
	if (!dir)
		hull_fail(err, -ENOMEM, "out of memory");
	return dir;
}

static int open_sandboxes(const struct hull_paths *p, struct hull_error *err)
{
	_cleanup_free_ char *dir = sandboxes_path(p, err);
	if (!dir)
		return -ENOMEM;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? hull_fail_errno(err, "cannot open %s", dir) : fd;
}

/* Remove leftovers of interrupted creations and removals. */
static void sweep_scratch(const char *sandboxes)
{
	hull_scratch_sweep(sandboxes, NEW_PREFIX);
	hull_scratch_sweep(sandboxes, OLD_PREFIX);
}

/* --- create --- */

static int check_space(int root, const struct stat *seed, struct hull_error *err)
{
	struct statvfs fs;
	if (fstatvfs(root, &fs) < 0)
		return hull_fail_errno(err, "cannot ask for free space");
	uint64_t have = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t need = (uint64_t)seed->st_blocks * 512 + SPACE_SLACK;
	char h[16], n[16];
	if (have >= need)
		return 0;
	return hull_fail(err, -ENOSPC,
			 "not enough space: a new sandbox needs %s and %s are free; remove sandboxes or images",
			 hull_format_size(need, n, sizeof(n)), hull_format_size(have, h, sizeof(h)));
}

void hull_boot_id(char out[37])
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	out[0] = '\0';
	if (hull_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &b, NULL) == 0 && b.len >= 36)
		snprintf(out, 37, "%.36s", (const char *)hull_buf_bytes(&b));
}

/* *made: the disk exists; otherwise the first start makes it. */
static int make_disk(int dir, const struct hull_sandbox *s, int seed_fd, bool may_wait, bool *made,
		     struct hull_error *err)
{
	_cleanup_close_ int disk = openat(dir, "disk.img", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (disk < 0)
		return hull_fail_errno(err, "cannot make the disk");
	*made = !may_wait || hull_reflink_file(seed_fd, disk);
	if (!*made)
		return unlinkat(dir, "disk.img", 0) < 0 ? hull_fail_errno(err, "cannot make the disk") : 0;
	if (!may_wait && hull_clone_file(seed_fd, disk, err) < 0)
		return hull_wrap(err, "cannot make the disk");
	if (ftruncate(disk, (off_t)s->disk) < 0)
		return hull_fail_errno(err, "cannot grow the disk to %llu bytes", (unsigned long long)s->disk);
	return 0;
}

static int fill(int dir, const struct hull_sandbox *s, int seed_fd, bool may_wait, struct hull_error *err)
{
	bool with_disk = false;
	int r = make_disk(dir, s, seed_fd, may_wait, &with_disk, err);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = openat(dir, "lock", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (lock < 0)
		return hull_fail_errno(err, "cannot make the lock");
	if (mkdirat(dir, "jobs", 0700) < 0)
		return hull_fail_errno(err, "cannot make the directory for jobs");
	r = s->policy ? hull_write_file_atomic(dir, "policy.yaml", s->policy, strlen(s->policy), 0600, err) : 0;
	if (r < 0)
		return r;
	struct hull_sandbox made = *s;
	char boot[37];
	hull_boot_id(boot);
	made.disk_boot = boot[0] && with_disk ? boot : NULL;
	return hull_sandbox_write(dir, &made, err);
}

static int taken(const char *name, struct hull_error *err)
{
	return hull_fail(err, -EEXIST, "the name \"%s\" is taken; use another, or `hull rm %s` first", name, name);
}

int hull_sandbox_name_new(const struct hull_paths *p, const char *name, struct hull_error *err)
{
	struct stat st;
	int r = hull_name_check(name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = hull_sandbox_path(p, name, NULL);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	return lstat(path, &st) == 0 ? taken(name, err) : 0;
}

int hull_sandbox_create(const struct hull_paths *p, const struct hull_sandbox *s, int seed_fd, bool may_wait,
			struct hull_error *err)
{
	int r = hull_sandbox_name_new(p, s->name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int root = open_sandboxes(p, err);
	if (root < 0)
		return root;
	_cleanup_free_ char *sandboxes = sandboxes_path(p, err);
	if (!sandboxes)
		return -ENOMEM;
	sweep_scratch(sandboxes);
	struct stat seed;
	if (fstat(seed_fd, &seed) < 0 || !S_ISREG(seed.st_mode))
		return hull_fail(err, -EINVAL, "the image's seed disk is not a file");
	if (s->disk < (uint64_t)seed.st_size)
		return hull_fail(err, -EINVAL, "the disk is too small: this image needs at least %llum",
				 (unsigned long long)(((uint64_t)seed.st_size + (1 << 20) - 1) >> 20));
	r = check_space(root, &seed, err);
	if (r < 0)
		return r;
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	r = hull_scratch_make(sandboxes, NEW_PREFIX, &scratch, err);
	if (r == 0)
		r = fill(scratch.fd, s, seed_fd, may_wait, err);
	if (r == 0)
		r = hull_scratch_commit(&scratch, sandboxes, s->name, false, err);
	return r == -EEXIST ? taken(s->name, err) : r;
}

/* --- locks --- */

/* 0, -EBUSY while somebody has it, or -errno. */
static int lock_take(int fd)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fcntl(fd, F_OFD_SETLK, &whole) == 0)
		return 0;
	return errno == EWOULDBLOCK || errno == EACCES ? -EBUSY : -errno;
}

int hull_sandbox_lock(const struct hull_paths *p, const char *name, struct hull_error *err)
{
	int r = hull_name_check(name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int root = open_sandboxes(p, err);
	if (root < 0)
		return root;
	_cleanup_close_ int dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 && errno == ENOENT)
		return hull_fail(err, -ENOENT, "no sandbox is called \"%s\"; `hull ls` shows those there are", name);
	if (dir < 0)
		return hull_fail_errno(err, "cannot open the directory of sandbox \"%s\"", name);
	_cleanup_close_ int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open the lock of sandbox \"%s\"", name);
	r = lock_take(fd);
	if (r == -EBUSY && hull_keeper_await_dying(fd))
		r = lock_take(fd);
	if (r == -EBUSY)
		return hull_fail(err, r, "sandbox \"%s\" is running already", name);
	if (r < 0)
		return hull_fail(err, r, "cannot lock sandbox \"%s\": %s", name, strerror(-r));
	if (!hull_same_file(fd, dir, "lock") || !hull_same_file(dir, root, name))
		return hull_fail(err, -ENOENT, "sandbox \"%s\" has just been removed", name);
	return hull_steal_fd(&fd);
}

int hull_lock_open(const struct hull_paths *p, const char *name)
{
	if (hull_name_check(name, NULL) < 0)
		return -1;
	_cleanup_free_ char *path = hull_sandbox_path(p, name, "lock");
	return path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
}

static bool held_now(int fd)
{
	struct flock ask = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_GETLK, &ask) == 0 && ask.l_type != F_UNLCK;
}

bool hull_lock_held(int fd)
{
	return fd >= 0 && held_now(fd) && !(hull_keeper_await_dying(fd) && !held_now(fd));
}

bool hull_sandbox_running(const struct hull_paths *p, const char *name)
{
	_cleanup_close_ int fd = hull_lock_open(p, name);
	return hull_lock_held(fd);
}

/* --- remove --- */

int hull_sandbox_remove_held(const struct hull_paths *p, const char *name, struct hull_error *err)
{
	int r = hull_name_check(name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *sandboxes = sandboxes_path(p, err);
	if (!sandboxes)
		return -ENOMEM;
	r = hull_scratch_remove(sandboxes, name, OLD_PREFIX, err);
	return r < 0 ? hull_wrap(err, "cannot remove all of sandbox \"%s\"", name) : 0;
}

int hull_sandbox_remove(const struct hull_paths *p, const char *name, struct hull_error *err)
{
	int r = hull_name_check(name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int root = open_sandboxes(p, err);
	if (root < 0)
		return root;
	_cleanup_free_ char *sandboxes = sandboxes_path(p, err);
	if (!sandboxes)
		return -ENOMEM;
	sweep_scratch(sandboxes);
	struct stat st;
	if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return hull_fail(err, -ENOENT, "no sandbox is called \"%s\"; `hull ls` shows those there are",
					 name);
		return hull_fail_errno(err, "cannot stat sandbox \"%s\"", name);
	}
	/* A damaged sandbox may lack its lock, or not be a directory: then it cannot be running. */
	_cleanup_close_ int lock = -1;
	if (S_ISDIR(st.st_mode)) {
		struct hull_error why;
		lock = hull_sandbox_lock(p, name, &why);
		if (lock == -EBUSY)
			return hull_fail(err, -EBUSY,
					 "sandbox \"%s\" is running; `hull stop %s` first, or `hull rm -f %s`", name,
					 name, name);
		if (lock == -ENOENT)
			return hull_fail(err, lock, "%s", why.msg);
	}
	hull_sandbox_sweep(p, name);
	return hull_sandbox_remove_held(p, name, err);
}

/* --- list, truth, ids --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int hull_sandbox_list(const struct hull_paths *p, char ***names, struct hull_error *err)
{
	_cleanup_close_ int root = open_sandboxes(p, err);
	if (root < 0)
		return root;
	_cleanup_closedir_ DIR *d = fdopendir(root);
	if (!d)
		return hull_fail_errno(err, "cannot list sandboxes");
	root = -1;
	char **list = hull_strv_copy(NULL);
	if (!list)
		return hull_fail(err, -ENOMEM, "out of memory");
	for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (hull_name_check(e->d_name, NULL) < 0)
			continue;
		if (hull_strv_add(&list, e->d_name) < 0) {
			hull_strv_free(list);
			return hull_fail(err, -ENOMEM, "out of memory");
		}
	}
	qsort(list, hull_strv_count(list), sizeof(*list), by_name);
	*names = list;
	return 0;
}

const char *hull_sandbox_truth(const struct hull_sandbox *s, bool lock_held)
{
	const char *last = s->state ? s->state : "";
	if (lock_held)
		return strcmp(last, "running") == 0 ? "running" : "starting";
	if (strcmp(last, "created") == 0)
		return "created";
	if (strcmp(last, "paused") == 0)
		return "paused";
	return strcmp(last, "stopped") == 0 ? "stopped" : "crashed";
}

uid_t hull_sandbox_uid(const struct hull_paths *p, const char *name)
{
	uint64_t h = hull_hash_str(hull_hash_str(HULL_HASH_START, p->home), name);
	h ^= h >> 32;
	return (uid_t)(HULL_UID_FIRST + h % HULL_UID_COUNT);
}

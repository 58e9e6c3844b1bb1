/* SPDX-License-Identifier: Apache-2.0 */
/* Runtime directories: where the sockets of a running sandbox are, and how they and the keeper are found; see store.h.
 *
 * The default path depends on the environment: $XDG_RUNTIME_DIR/hull/NAME. If that is too long for a socket address
 * (sun_path has 108 bytes), it is /tmp/hull-UID/HASH, so that programs that do not know Hull can use the sockets there.
 * The keeper's environment may differ from that of a client, and the keeper moves when its directory is removed for
 * good. Authoritative is the keeper's record in NAME/lock, the file whose lock it holds:
 *
 *     PID START-TIME
 *     /path/of/its/runtime/directory
 *
 * The record is valid while the lock is held. A pid alone may have been reused; together with the process's start time
 * in ticks since boot (/proc/PID/stat) it is unique. */
#include "store/internal.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { RECORD_MAX = PATH_MAX + 64, DYING_MS = 1000 };

/* --- where --- */

char *hull_runtime_short(const struct hull_paths *p, const char *name, const char *file)
{
	uint64_t h = hull_hash_str(hull_hash_str(hull_hash_str(HULL_HASH_START, p->runtime), p->home), name);
	return hull_fmt("/tmp/hull-%u/%016llx%s%s", (unsigned)geteuid(), (unsigned long long)h, file ? "/" : "",
			file ? file : "");
}

char *hull_runtime_path(const struct hull_paths *p, const char *name, const char *file)
{
	static const char longest[] = "/control.sock";
	if (strlen(p->runtime) + 1 + strlen(name) + sizeof(longest) > sizeof((struct sockaddr_un *)0)->sun_path)
		return hull_runtime_short(p, name, file);
	return file ? hull_fmt("%s/%s/%s", p->runtime, name, file) : hull_fmt("%s/%s", p->runtime, name);
}

/* --- the record --- */

int hull_sandbox_record(int lock_fd, const char *runtime, struct hull_error *err)
{
	struct hull_proc self = {0};
	hull_proc_look(getpid(), &self);
	_cleanup_free_ char *text = hull_fmt("%d %llu\n%s\n", (int)getpid(), self.start, runtime);
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	size_t n = strlen(text);
	if (pwrite(lock_fd, text, n, 0) != (ssize_t)n || ftruncate(lock_fd, (off_t)n) < 0)
		return hull_fail_errno(err, "cannot record the sandbox's process and runtime directory");
	return 0;
}

/* False when there is no complete record. */
static bool read_record(int lock_fd, pid_t *pid, unsigned long long *start, char **runtime)
{
	char text[RECORD_MAX];
	ssize_t n = pread(lock_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	char *place = strchr(text, '\n'), *end = place ? strchr(place + 1, '\n') : NULL, *rest;
	if (!end || place[1] != '/')
		return false;
	*end = '\0';
	*pid = (pid_t)strtol(text, &rest, 10);
	*start = strtoull(rest, NULL, 10);
	if (runtime)
		*runtime = strdup(place + 1);
	return *pid > 1 && *start > 0 && (!runtime || *runtime);
}

char *hull_sandbox_runtime_path(const struct hull_paths *p, const char *name, const char *file)
{
	_cleanup_free_ char *dir = NULL;
	pid_t pid;
	unsigned long long start;
	_cleanup_close_ int lock = hull_lock_open(p, name);
	if (!hull_lock_held(lock) || !read_record(lock, &pid, &start, &dir))
		return hull_runtime_path(p, name, file);
	return file ? hull_fmt("%s/%s", dir, file) : hull_steal_ptr(dir);
}

int hull_sandbox_keeper(const struct hull_paths *p, const char *name)
{
	pid_t pid;
	unsigned long long start;
	_cleanup_close_ int lock = hull_lock_open(p, name);
	if (!hull_lock_held(lock) || !read_record(lock, &pid, &start, NULL))
		return -1;
	struct hull_proc now;
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* While the descriptor is open, the pid cannot be reused. */
	return fd >= 0 && hull_proc_look(pid, &now) && now.start == start && hull_lock_held(lock) ? hull_steal_fd(&fd)
												  : -1;
}

bool hull_keeper_await_dying(int lock_fd)
{
	pid_t pid;
	unsigned long long start;
	struct hull_proc now;
	if (!read_record(lock_fd, &pid, &start, NULL))
		return false;
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH; /* it has ended since */
	/* Killed, or its main thread has ended. */
	if (!hull_proc_look(pid, &now) || now.start != start || (now.state != 'Z' && now.state != 'X'))
		return false;
	/* Readable when the last thread has ended, and so has closed its files. */
	struct pollfd end = {.fd = fd, .events = POLLIN};
	return poll(&end, 1, DYING_MS) > 0;
}

/* --- holding it --- */

int hull_runtime_hold(const char *path, struct hull_error *err)
{
	_cleanup_free_ char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	if (!slash)
		return hull_fail(err, -ENOMEM, "out of memory");
	*slash = '\0';
	/* The parent directory is not created: the directory of an ended login session must not reappear in part. */
	if (mkdir(parent, 0700) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "cannot make %s", parent);
	int r = hull_check_private(parent, err);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "cannot make %s", path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || !hull_same_file(fd, AT_FDCWD, path))
		return hull_fail(err, -EBUSY,
				 "%s is in use by a sandbox of the same name in another HULL_HOME; set XDG_RUNTIME_DIR",
				 path);
	return hull_steal_fd(&fd);
}

static void remove_dir(const char *path, bool held)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (held || flock(fd, LOCK_EX | LOCK_NB) == 0))
		hull_remove_tree(AT_FDCWD, path, NULL);
}

int hull_sandbox_runtime(const struct hull_paths *p, const char *name, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_runtime_path(p, name, NULL);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	remove_dir(path, false);
	return hull_runtime_hold(path, err);
}

void hull_sandbox_sweep(const struct hull_paths *p, const char *name)
{
	if (hull_name_check(name, NULL) < 0)
		return;
	char *paths[] = {hull_runtime_path(p, name, NULL), hull_runtime_short(p, name, NULL)};
	for (size_t i = 0; i < 2; i++) {
		if (paths[i])
			remove_dir(paths[i], false);
		free(paths[i]);
	}
}

void hull_runtime_remove(const char *path)
{
	remove_dir(path, true);
}

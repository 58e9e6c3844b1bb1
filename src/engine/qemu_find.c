/* SPDX-License-Identifier: Apache-2.0 */
/* Finds QEMU and checks its version. The start path does not run a process for that: QEMU sends its version in its QMP
 * greeting and is refused then. Only `hull doctor`, and the diagnosis of a QEMU that ended before its greeting, run
 * `--version`. */
#include "engine/qemu_internal.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { MIN_MAJOR = 7, MIN_MINOR = 2, VERSION_PATIENCE_MS = 5000 };
static const char install_advice[] = "install qemu-system-x86 (apt-get install qemu-system-x86)";

static bool runnable(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The first runnable qemu-system-x86_64 in PATH. */
static char *search_path(void)
{
	const char *path = getenv("PATH");
	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	for (const char *p = path; p;) {
		const char *end = strchrnul(p, ':');
		if (*p == '/') { /* a relative entry would depend on the working directory */
			char *try = hull_fmt("%.*s/qemu-system-x86_64", (int)(end - p), p);
			if (!try || runnable(try))
				return try;
			free(try);
		}
		p = *end ? end + 1 : NULL;
	}
	return NULL;
}

int hull_qemu_find(char **path, struct hull_error *err)
{
	const char *wish = getenv("HULL_QEMU");
	_cleanup_free_ char *found = NULL;
	if (wish && *wish) {
		if (!runnable(wish))
			return hull_fail(err, -ENOENT, "HULL_QEMU=%s is not a program that can be run", wish);
		found = strdup(wish);
	} else {
		found = search_path();
		if (!found)
			return hull_fail(err, -ENOENT, "QEMU is not installed: %s", install_advice);
	}
	*path = found ? realpath(found, NULL) : NULL;
	return *path ? 0 : hull_fail_errno(err, "cannot resolve %s", found ? found : "qemu-system-x86_64");
}

char *hull_engine_identity(struct hull_error *err)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	if (hull_qemu_find(&path, err) < 0)
		return NULL;
	if (stat(path, &st) < 0) {
		hull_fail_errno(err, "%s", path);
		return NULL;
	}
	/* The devices are visible in a restored machine's memory. Includes both accelerators: a saved machine itself
	 * records which one it used. */
	const struct hull_engine_restore restore = {.memory_fd = -1, .device_fd = -1};
	const struct hull_engine_config any = {.restore = &restore, .disks = {{.readonly = true}}, .disk_count = 2};
	uint64_t devices = HULL_HASH_START;
	for (int kvm = 0; kvm < 2; kvm++) {
		_cleanup_free_ char *args = hull_engine_arguments(&any, kvm);
		if (!args) {
			hull_fail(err, -ENOMEM, "out of memory");
			return NULL;
		}
		devices = hull_hash_str(devices, args);
	}
	char *id = hull_fmt("qemu %s %lld bytes of %lld.%09ld, devices %016llx", path, (long long)st.st_size,
			    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (unsigned long long)devices);
	if (!id)
		hull_fail(err, -ENOMEM, "out of memory");
	return id;
}

int hull_qemu_check_version(int major, int minor, struct hull_error *err)
{
	if (major > MIN_MAJOR || (major == MIN_MAJOR && minor >= MIN_MINOR))
		return 0;
	return hull_fail(
		err, -ENOTSUP,
		"QEMU %d.%d is too old, %d.%d or later is needed: upgrade it (%s), or name another with HULL_QEMU",
		major, minor, MIN_MAJOR, MIN_MINOR, install_advice);
}

static int read_version(const char *path, char *text, size_t cap, struct hull_error *err)
{
	int ends[2];
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "pipe");
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	char *const argv[] = {(char *)path, (char *)"--version", NULL};
	char *const envp[] = {NULL};
	int r = posix_spawn(&pid, path, &actions, NULL, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	close(hull_steal_fd(&out));
	if (r != 0)
		return hull_fail(err, -r, "cannot run %s: %s", path, strerror(r));
	/* Read up to the end of the first line, the end of the output or the timeout: HULL_QEMU may be any program. */
	size_t used = 0;
	struct pollfd p = {.fd = in, .events = POLLIN};
	while (used < cap - 1 && !memchr(text, '\n', used) && poll(&p, 1, VERSION_PATIENCE_MS) > 0) {
		ssize_t n = read(in, text + used, cap - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	text[used] = '\0';
	kill(pid, SIGKILL); /* it has printed the line, or too much */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

int hull_engine_qemu_version(char *version, size_t cap, struct hull_error *err)
{
	_cleanup_free_ char *path = NULL;
	char text[256];
	int major = 0, minor = 0, micro = 0;
	int r = hull_qemu_find(&path, err);
	if (r < 0 || !path)
		return r;
	r = read_version(path, text, sizeof(text), err);
	if (r < 0)
		return r;
	const char *v = strstr(text, "version ");
	if (!v || sscanf(v, "version %d.%d.%d", &major, &minor, &micro) < 2)
		return hull_fail(err, -EINVAL, "%s --version does not answer like QEMU", path);
	snprintf(version, cap, "%d.%d.%d", major, minor, micro);
	return hull_qemu_check_version(major, minor, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a jailed child keeps: descriptors, limits, ids, capabilities. */
#include "jail/jail_internal.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

/* Close everything but the sorted descriptors in keep[0..n). */
static int close_others(const int *keep, size_t n, struct hull_error *err)
{
	unsigned from = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)keep[i];
		if (fd > from && syscall(SYS_close_range, from, fd - 1, 0) < 0)
			return hull_fail_errno(err, "jail: close_range (Linux 5.9 or later is needed)");
		from = fd + 1;
	}
	if (syscall(SYS_close_range, from, UINT_MAX, 0) < 0)
		return hull_fail_errno(err, "jail: close_range (Linux 5.9 or later is needed)");
	return 0;
}

/* Put stdin, stdout and stderr on 0, 1 and 2. Each is first moved out of the way of the others. */
static int set_stdio(const struct hull_jail *jail, struct hull_error *err)
{
	const int wanted[3] = {jail->stdin_fd, jail->stdout_fd, jail->stderr_fd};
	int high[3];
	for (int i = 0; i < 3; i++) {
		_cleanup_close_ int null = -1;
		int from = wanted[i];
		if (from < 0) {
			/* In the jail there is one; with Landlock the host's, which its rules allow. */
			null = from = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (null < 0)
				return hull_fail_errno(err, "jail: open /dev/null");
		}
		high[i] = fcntl(from, F_DUPFD_CLOEXEC, 3);
		if (high[i] < 0)
			return hull_fail_errno(err, "jail: descriptor %d for the child's %s", from,
					       i == 0   ? "stdin"
					       : i == 1 ? "stdout"
							: "stderr");
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], i) < 0)
			return hull_fail_errno(err, "jail: dup2");
	return 0; /* the high ones are closed with all others */
}

int hull_jail_set_fds(const struct hull_jail *jail, int report_fd, int parent_pidfd, struct hull_error *err)
{
	(void)parent_pidfd; /* it has told what it had to tell, and is closed with the others */
	size_t n = 0;
	_cleanup_free_ int *keep = calloc(jail->fd_count + 5, sizeof(*keep));
	if (!keep)
		return hull_fail(err, -ENOMEM, "jail: out of memory");
	for (size_t i = 0; i < jail->fd_count; i++) {
		int flags = fcntl(jail->fds[i], F_GETFD);
		if (jail->fds[i] < 3 || flags < 0)
			return hull_fail(err, -EBADF, "jail: descriptor %d cannot be handed on", jail->fds[i]);
		if (fcntl(jail->fds[i], F_SETFD, flags & ~FD_CLOEXEC) < 0)
			return hull_fail_errno(err, "jail: descriptor %d", jail->fds[i]);
		keep[n++] = jail->fds[i];
	}
	int r = set_stdio(jail, err);
	if (r < 0)
		return r;
	for (int i = 0; i < 3; i++)
		keep[n++] = i;
	keep[n++] = report_fd;
	if (jail->program_fd > 0) {
		if (jail->program_fd < 3 || fcntl(jail->program_fd, F_SETFD, FD_CLOEXEC) < 0)
			return hull_fail(err, -EBADF, "jail: descriptor %d is not an executable file",
					 jail->program_fd);
		keep[n++] = jail->program_fd;
	}
	qsort(keep, n, sizeof(*keep), by_number);
	return close_others(keep, n, err);
}

static int limit(int which, uint64_t value, const char *name, struct hull_error *err)
{
	struct rlimit l;
	if (getrlimit(which, &l) < 0)
		return hull_fail_errno(err, "jail: getrlimit %s", name);
	if (l.rlim_max != RLIM_INFINITY && value > l.rlim_max)
		value = l.rlim_max; /* stricter already */
	l.rlim_cur = l.rlim_max = value;
	if (setrlimit(which, &l) < 0)
		return hull_fail_errno(err, "jail: setrlimit %s", name);
	return 0;
}

/* Before Linux 5.14 a user namespace does not count for itself. */
static bool counts_by_namespace(void)
{
	struct utsname u;
	unsigned major, minor;
	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 14));
}

int hull_jail_set_limits(const struct hull_jail *jail, bool root, bool namespaces, struct hull_error *err)
{
	int r = limit(RLIMIT_CORE, 0, "core", err);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, jail->rlimit_nofile ? jail->rlimit_nofile : 1024, "nofile", err);
	if (r == 0 && jail->rlimit_as)
		r = limit(RLIMIT_AS, jail->rlimit_as, "as", err);
	if (r == 0 && jail->rlimit_data)
		r = limit(RLIMIT_DATA, jail->rlimit_data, "data", err);
	if (r == 0 && jail->rlimit_fsize)
		r = limit(RLIMIT_FSIZE, jail->rlimit_fsize, "fsize", err);
	if (r == 0 && jail->rlimit_nproc && (root ? jail->own_id : namespaces && counts_by_namespace()))
		r = limit(RLIMIT_NPROC, jail->rlimit_nproc, "nproc", err);
	return r;
}

static int drop_capabilities(bool had_them, struct hull_error *err)
{
	/* Emptying the bounding set and locking the securebits takes capabilities; who never had any is held by
	 * no_new_privs alone. */
	if (had_them) {
		for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
			if (prctl(PR_CAPBSET_DROP, cap) < 0)
				return hull_fail_errno(err, "jail: dropping capability %d", cap);
		unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
				     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
				     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
		if (prctl(PR_SET_SECUREBITS, bits) < 0)
			return hull_fail_errno(err, "jail: securebits");
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return 0;
}

int hull_jail_drop(const struct hull_jail *jail, bool root, bool namespaces, struct hull_error *err)
{
	int r = drop_capabilities(root || namespaces, err);
	if (r < 0)
		return r;
	if (root) {
		if (setgroups(0, NULL) < 0)
			return hull_fail_errno(err, "jail: setgroups");
		if (setresgid(jail->drop_gid, jail->drop_gid, jail->drop_gid) < 0)
			return hull_fail_errno(err, "jail: cannot become group %u", jail->drop_gid);
		if (setresuid(jail->drop_uid, jail->drop_uid, jail->drop_uid) < 0)
			return hull_fail_errno(err, "jail: cannot become user %u", jail->drop_uid);
	}
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	if (syscall(SYS_capset, &header, none) < 0)
		return hull_fail_errno(err, "jail: capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return hull_fail_errno(err, "jail: no_new_privs");
	return 0;
}

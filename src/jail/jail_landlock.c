/* SPDX-License-Identifier: Apache-2.0 */
/* The file system of a child that has no mount namespace of its own: Landlock, so that only the binds can be opened.
 *
 * Paths keep their host names, so a bind whose target differs from its source cannot be had and is refused. What
 * Landlock does not hide: that a file exists, and its metadata. Later versions also close TCP (4), signals and
 * abstract unix sockets to the outside (6); the base filter (jail_seccomp.c) covers kernels without those. The
 * constants are spelled out because the build machine's kernel headers may be older than the kernel. */
#include "jail/jail_internal.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_V1 = (1 << 13) - 1,  /* everything up to MAKE_SYM */
	FS_REFER = 1 << 13,     /* version 2 */
	FS_TRUNCATE = 1 << 14,  /* version 3 */
	FS_IOCTL_DEV = 1 << 15, /* version 5 */
	NET_ALL = 3,            /* version 4: bind and connect over TCP */
	SCOPE_ALL = 3,          /* version 6: abstract unix sockets, signals */
	FS_OF_A_FILE = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
};

struct ruleset_attr {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

int hull_jail_landlock_version(void)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	return v < 0 ? 0 : (int)v;
}

static uint64_t handled(int version)
{
	return (uint64_t)FS_V1 | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0) |
	       (version >= 5 ? FS_IOCTL_DEV : 0);
}

static int allow_bind(int ruleset, const struct hull_bind *b, uint64_t access, struct hull_error *err)
{
	_cleanup_close_ int fd = hull_jail_open_source(b, err);
	const char *path = b->source;
	struct stat st;
	if (fd < 0)
		return b->optional ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return hull_fail_errno(err, "jail: stat %s", path);
	if (!S_ISDIR(st.st_mode))
		access &= FS_OF_A_FILE;
	struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return hull_fail_errno(err, "jail: Landlock rule for %s", path);
	return 0;
}

static int allow(int ruleset, const char *path, uint64_t access, bool optional, struct hull_error *err)
{
	const struct hull_bind b = {.source = path, .optional = optional};
	return allow_bind(ruleset, &b, access, err);
}

int hull_jail_landlock_rules(const struct hull_jail *jail, int *ruleset, struct hull_error *err)
{
	int version = hull_jail_landlock_version();
	if (version < 1)
		return hull_fail(err, -ENOSYS,
				 "this kernel has no Landlock either, so a child cannot be confined; allow user "
				 "namespaces, or boot with lsm=landlock,... (Linux 5.13 or later)");
	uint64_t all = handled(version);
	uint64_t readable = FS_READ_FILE | FS_READ_DIR | FS_EXECUTE;
	struct ruleset_attr attr = {.fs = all};
	/* An attribute longer than the kernel knows is fine as long as the unknown part is zero. */
	if (version >= 4 && !jail->need_net)
		attr.net = NET_ALL;
	if (version >= 6)
		attr.scoped = SCOPE_ALL;
	_cleanup_close_ int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (fd < 0)
		return hull_fail_errno(err, "jail: Landlock");
	for (size_t i = 0; i < jail->bind_count; i++) {
		const struct hull_bind *b = &jail->binds[i];
		if (strcmp(b->source, b->target) != 0)
			return hull_fail(err, -EXDEV,
					 "without namespaces %s cannot appear as %s in a jail; allow user namespaces",
					 b->source, b->target);
		int r = allow_bind(fd, b, b->writable ? all : readable, err);
		if (r < 0)
			return r;
	}
	static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};
	uint64_t device = (FS_READ_FILE | FS_WRITE_FILE | FS_IOCTL_DEV) & all;
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		int r = allow(fd, devices[i], device, true, err);
		if (r < 0)
			return r;
	}
	int r = jail->need_kvm ? allow(fd, "/dev/kvm", device, false, err) : 0;
	if (r == 0 && jail->need_proc)
		r = allow(fd, "/proc/self", readable | FS_WRITE_FILE, true, err);
	if (r == 0 && jail->program_fd > 0) {
		struct landlock_path_beneath_attr rule = {.allowed_access = FS_EXECUTE | FS_READ_FILE,
							  .parent_fd = jail->program_fd};
		if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			r = hull_fail_errno(err, "jail: Landlock rule for the program");
	}
	if (r < 0)
		return r;
	*ruleset = hull_steal_fd(&fd);
	return 0;
}

int hull_jail_landlock_enforce(int ruleset, struct hull_error *err)
{
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return hull_fail_errno(err, "jail: enforcing Landlock");
	return 0;
}

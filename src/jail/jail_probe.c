/* SPDX-License-Identifier: Apache-2.0 */
/* What this host lets a jail have, found out by making one, and how to get what is missing. */
#include "jail/jail_internal.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static bool namespaces_work(struct hull_error *err)
{
	/* Any directory serves to mount on: the mount exists in the child's own namespace only. */
	struct hull_jail jail = {.dir = "/usr",
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = -1,
				 .entry = nothing,
				 .drop_uid = 65534,
				 .drop_gid = 65534};
	struct hull_jailed child;
	if (hull_jail_start_mode(&jail, HULL_JAIL_NAMESPACES, &child, err) < 0)
		return false;
	int status = 0;
	while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
		;
	close(child.pidfd);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	hull_fail(err, -EIO, "a process in new namespaces did not survive");
	return false;
}

/* The number in a /proc/sys file, or -1. */
static long sysctl_value(const char *path)
{
	char text[32];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static void explain_namespaces(const char *why, char *out, size_t cap)
{
	if (geteuid() == 0)
		snprintf(out, cap, "no namespaces as root (%.60s): in a container? give it CAP_SYS_ADMIN", why);
	else if (sysctl_value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") > 0)
		snprintf(out, cap,
			 "AppArmor forbids user namespaces to ordinary users: sudo sysctl "
			 "kernel.apparmor_restrict_unprivileged_userns=0");
	else if (sysctl_value("/proc/sys/kernel/unprivileged_userns_clone") == 0)
		snprintf(out, cap, "user namespaces are off: sudo sysctl kernel.unprivileged_userns_clone=1");
	else if (sysctl_value("/proc/sys/user/max_user_namespaces") == 0)
		snprintf(out, cap, "user namespaces are off: sudo sysctl user.max_user_namespaces=10000");
	else
		snprintf(out, cap, "no user namespaces (%.80s)", why);
}

void hull_jail_probe(struct hull_jail_ability *out)
{
	struct hull_error err = {0};
	char reason[160] = "";
	*out = (struct hull_jail_ability){0};
	out->user_namespaces = namespaces_work(&err);
	out->landlock = hull_jail_landlock_version() > 0;
	uint32_t action = SECCOMP_RET_ERRNO;
	out->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
	if (!out->user_namespaces)
		explain_namespaces(err.msg, reason, sizeof(reason));
	snprintf(out->missing, sizeof(out->missing), "%s%s%s%s%s", reason,
		 reason[0] && (!out->landlock || !out->seccomp) ? "; " : "",
		 out->landlock ? "" : "no Landlock (Linux 5.13, lsm=landlock)",
		 !out->landlock && !out->seccomp ? "; " : "", out->seccomp ? "" : "no seccomp filters in this kernel");
}

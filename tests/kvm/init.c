/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of the rig's initramfs (see rig): loads the modules of Hull's own initramfs, mounts the rig's root and the base
 * image (which has the kernel's other modules) and goes on with /rig/guest as PID 1 there. The root is moved, as
 * switch_root does, not changed into: unprivileged user namespaces are refused to a process in a chroot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	dprintf(1, "rig: %s: %s\n", what, strerror(errno));
	reboot(RB_POWER_OFF);
}

int main(void)
{
	char path[256];
	check(mkdir("/dev", 0755) < 0 && errno != EEXIST ? -1 : 0, "mkdir /dev");
	check(mount("dev", "/dev", "devtmpfs", 0, NULL), "mount /dev");
	int console = open("/dev/console", O_RDWR);
	for (int fd = 0; console >= 0 && fd < 3; fd++)
		dup2(console, fd);
	FILE *list = fopen("/modules.list", "re");
	check(list ? 0 : -1, "/modules.list");
	while (list && fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = '\0';
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		check(fd, path);
		if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV)
			check(-1, path);
		close(fd);
	}
	check(mkdir("/new", 0755), "mkdir /new");
	check(mount("/dev/vda", "/new", "ext4", 0, NULL), "mount the root");
	check(mount("/dev/vdb", "/new/base", "erofs", MS_RDONLY, NULL), "mount the base image");
	check(mount("/dev", "/new/dev", NULL, MS_MOVE, NULL), "move /dev");
	check(chdir("/new"), "enter the root");
	check(mount(".", "/", NULL, MS_MOVE, NULL), "move the root");
	check(chroot("."), "change the root");
	check(chdir("/"), "enter the root");
	char *argv[] = {"/bin/bash", "/rig/guest", NULL};
	char *env[] = {"PATH=/usr/sbin:/usr/bin", "HOME=/root", "LC_ALL=C.UTF-8", NULL};
	execve(argv[0], argv, env);
	check(-1, argv[0]);
	return 1;
}

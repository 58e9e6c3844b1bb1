/* SPDX-License-Identifier: Apache-2.0 */
/* Init of the machines that bench/network.py compares Hull's network with: the base image as root, a virtio network
 * card, and the agent.
 *
 * The kernel, the initramfs' modules, the base image and QEMU's machine are those of a sandbox; only hull-init and its
 * network are not there. Writable is a tmpfs above the image. Built static, because it comes before the root. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void load_modules(void)
{
	char line[256];
	FILE *list = fopen("/modules.list", "re");
	while (list && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		int fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			syscall(SYS_finit_module, fd, "", 0);
			close(fd);
		}
	}
	if (list)
		fclose(list);
}

int main(void)
{
	static const char *const dirs[] = {"/dev", "/lower", "/upper", "/root"};
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		mkdir(dirs[i], 0755);
	mount("dev", "/dev", "devtmpfs", 0, "");
	load_modules();
	for (int i = 0; i < 500 && access("/dev/vda", F_OK) < 0; i++)
		usleep(10000);
	if (mount("/dev/vda", "/lower", "erofs", MS_RDONLY, "") < 0 || mount("tmpfs", "/upper", "tmpfs", 0, "") < 0) {
		perror("the base image");
		return 1;
	}
	mkdir("/upper/u", 0755);
	mkdir("/upper/w", 0755);
	if (mount("overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/upper/u,workdir=/upper/w") < 0) {
		perror("the overlay");
		return 1;
	}
	/* What the machine is to do lies in the initramfs, which the new root hides. */
	mkdir("/root/bench", 0755);
	if (mount("/bench", "/root/bench", NULL, MS_BIND, NULL) < 0 || chroot("/root") < 0 || chdir("/") < 0) {
		perror("the root");
		return 1;
	}
	mount("proc", "/proc", "proc", 0, "");
	mount("sys", "/sys", "sysfs", 0, "");
	mount("dev", "/dev", "devtmpfs", 0, "");
	execl("/bin/sh", "sh", "/bench/run.sh", (char *)NULL);
	perror("/bin/sh");
	return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a distribution's init would have set up before the first login, and nothing more. */
#include "guest/boot/boot.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/core.h"
#include "guest/core/own.h"
#include "guest/session/request.h"

#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		hull_say("cannot bring up the loopback interface: %s", strerror(errno));
}

static void sysctls(void)
{
	static const struct {
		const char *path, *value;
	} all[] = {
		{"/proc/sys/net/ipv4/ip_forward", "1"},
		{"/proc/sys/net/ipv6/conf/all/forwarding", "1"},
		{"/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
		{"/proc/sys/net/ipv4/ping_group_range", "0 2147483647"},
		{"/proc/sys/kernel/pid_max", "4194304"},
		{"/proc/sys/vm/max_map_count", "1048576"},
		{"/proc/sys/fs/inotify/max_user_watches", "1048576"},
		{"/proc/sys/fs/inotify/max_user_instances", "1024"},
		{"/proc/sys/kernel/yama/ptrace_scope", "0"}, /* gdb -p and strace -p, in a machine of one's own */
		/* An idle machine should sleep: no look at the memory's fragmentation twice a second, and no collecting
		 * of statistics every second. */
		{"/proc/sys/vm/compaction_proactiveness", "0"},
		{"/proc/sys/vm/stat_interval", "10"},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		hull_put(all[i].path, all[i].value);
}

static void links(void)
{
	static const char *const devs[][2] = {
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
	};
	for (size_t i = 0; i < sizeof(devs) / sizeof(devs[0]); i++) {
		int r = symlink(devs[i][0], devs[i][1]);
		(void)r;
	}
}

/* poweroff and friends are hull-init under another name. The initramfs is gone, so it puts a copy of itself in /run
 * (memory, 100 KiB), and links in the root where the image has none. */
static void poweroff_commands(void)
{
	static const char *const names[] = {"poweroff", "halt", "reboot", "shutdown"};
	_cleanup_close_ int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	mkdir("/run/hull-bin", 0755);
	_cleanup_close_ int to = open("/run/hull-bin/hull-init", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	char block[16384];
	ssize_t n;
	if (from < 0 || to < 0)
		return;
	while ((n = read(from, block, sizeof(block))) > 0)
		if (hull_write_full(to, block, (size_t)n) < 0)
			return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/usr/sbin/%s", names[i]);
		int r = symlink("/run/hull-bin/hull-init", path);
		(void)r; /* EEXIST: the image's own, or ours from the last boot */
	}
}

/* /etc/profile sets PATH, whatever it was; session/request.c says what the host asked for. Last in the order of names. */
static void login_path(void)
{
	static const char path[] = "/etc/profile.d/zz-hull.sh";
	static const char text[] = "# Made by Hull: a PATH that was given with -e holds in a login shell as well.\n"
				   "[ -z \"${HULL_PATH:-}\" ] || PATH=$HULL_PATH\n";
	if (access("/etc/profile.d", F_OK) == 0 && access(path, F_OK) < 0)
		hull_own_replace(path, text, sizeof(text) - 1, 0644, NULL);
}

/* sudo drops the environment but for what it is told to keep; `sudo npm install -g` needs what `npm install` does. */
static void sudo_keeps(void)
{
	static const char path[] = "/etc/sudoers.d/zz-hull";
	static const char text[] = "# Made by Hull: the variables that it sets for a command hold under sudo as well.\n"
				   "Defaults:agent env_keep += \"" HULL_ENV_SUDO "\"\n";
	if (access("/etc/sudoers.d", F_OK) == 0 && access(path, F_OK) < 0)
		hull_own_replace(path, text, sizeof(text) - 1, 0440, NULL);
}

void hull_setup(void)
{
	login_path();
	sudo_keeps();
	links();
	sysctls();
	loopback_up();
	poweroff_commands();
}

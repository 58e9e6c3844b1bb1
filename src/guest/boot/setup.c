/* What a distribution's init would have set up before the first login, and nothing more. */
#include "guest/core/core.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/own.h"
#include "guest/boot/setup.h"

#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { HOSTS_MAX = 256 * 1024, HOSTNAME_MAX = 63, SMALL = 4096 };

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

static bool hostname_ok(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n <= HOSTNAME_MAX && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == n;
}

/* A small file that is there already gets its new content in place: one write, which who reads it sees whole or not at
 * all. A new inode and a rename make ext4 allocate and write at once, which was most of a copy's way to itself. */
static bool overwrite(int dir, const char *name, const void *p, size_t n)
{
	struct stat st;
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size == 0 ||
	    st.st_size > SMALL || n > SMALL || n == 0)
		return false;
	return pwrite(fd, p, n, 0) == (ssize_t)n && (st.st_size <= (off_t)n || ftruncate(fd, (off_t)n) == 0);
}

/* Whole or not at all for who reads it, but not waited for: a start must not wait for the disk six times, and what a
 * power failure takes back here is made again at the next start. */
int hull_replace_file(const char *path, const void *p, size_t n, mode_t mode, struct hull_error *err)
{
	char tmp[64];
	const char *name = strrchr(path, '/') + 1;
	snprintf(tmp, sizeof(tmp), "%.*s", (int)(name - path), path);
	_cleanup_close_ int dir = hull_own_open(tmp, O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return hull_fail(err, dir, "cannot write %s: %s", path, strerror(-dir));
	if (overwrite(dir, name, p, n))
		return 0;
	snprintf(tmp, sizeof(tmp), "%s.hull-new", name);
	unlinkat(dir, tmp, 0);
	_cleanup_close_ int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 || hull_write_full(fd, p, n) < 0 || fchmod(fd, mode) < 0 || renameat(dir, tmp, dir, name) < 0)
		return hull_fail_errno(err, "cannot write %s", path);
	return 0;
}

/* A file of /etc, wherever a workspace is mounted. */
int hull_read_own(const char *path, size_t max, struct hull_buf *out)
{
	char open_one[32];
	_cleanup_close_ int fd = hull_own_open(path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	hull_own_path(fd, open_one);
	return hull_read_file(AT_FDCWD, open_one, max, out, NULL);
}

/* /etc/hosts with the line for our own name (tagged 127.0.1.1, as Debian has it) replaced. */
static int write_hosts(const char *name, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf in = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	int r = hull_read_own("/etc/hosts", HOSTS_MAX, &in);
	if (r == -ENOENT)
		hull_buf_addstr(&out, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	else if (r < 0)
		return hull_fail(err, r, "cannot read /etc/hosts");
	char *save = NULL;
	for (char *l = in.len ? strtok_r((char *)hull_buf_bytes(&in), "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save))
		if (strncmp(l, "127.0.1.1", 9) != 0)
			hull_buf_addf(&out, "%s\n", l);
	r = hull_buf_addf(&out, "127.0.1.1\t%s\n", name);
	if (r < 0)
		return hull_fail(err, r, "cannot write /etc/hosts");
	return hull_replace_file("/etc/hosts", hull_buf_bytes(&out), out.len, 0644, err);
}

int hull_set_hostname(const char *name, struct hull_error *err)
{
	char now[HOSTNAME_MAX + 2] = "";
	char line[HOSTNAME_MAX + 2];
	if (!hostname_ok(name))
		return hull_fail(err, -EINVAL, "the host gave a hostname that is none");
	if (sethostname(name, strlen(name)) < 0)
		return hull_fail_errno(err, "cannot set the hostname %s", name);
	/* The files are on the disk: written only when they change. */
	_cleanup_(hull_buf_free) struct hull_buf old = {0};
	snprintf(line, sizeof(line), "%s\n", name);
	if (hull_read_own("/etc/hostname", 4096, &old) == 0 && old.len < sizeof(now)) {
		memcpy(now, hull_buf_bytes(&old), old.len);
		if (strcmp(now, line) == 0)
			return 0;
	}
	int r = write_hosts(name, err);
	return r < 0 ? r : hull_replace_file("/etc/hostname", line, strlen(line), 0644, err);
}

void hull_machine_id(bool anew)
{
	struct stat st;
	uint8_t id[16];
	char text[34];
	_cleanup_close_ int old = hull_own_open("/etc/machine-id", O_RDONLY | O_NONBLOCK, 0);
	if (!anew && old >= 0 && fstat(old, &st) == 0 && st.st_size >= 32)
		return;
	_cleanup_close_ int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || hull_read_full(fd, id, sizeof(id)) != (ssize_t)sizeof(id))
		return;
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* a version 4 UUID, as machine-id(5) asks */
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
	text[32] = '\n';
	hull_replace_file("/etc/machine-id", text, 33, 0444, NULL);
}

/* /etc/profile sets PATH, whatever it was; request.c says what the host asked for. Last in the order of names. */
static void login_path(void)
{
	static const char path[] = "/etc/profile.d/zz-hull.sh";
	static const char text[] = "# Made by Hull: a PATH that was given with -e holds in a login shell as well.\n"
				   "[ -z \"${HULL_PATH:-}\" ] || PATH=$HULL_PATH\n";
	if (access("/etc/profile.d", F_OK) == 0 && access(path, F_OK) < 0)
		hull_replace_file(path, text, sizeof(text) - 1, 0644, NULL);
}

void hull_setup(void)
{
	login_path();
	links();
	sysctls();
	loopback_up();
	poweroff_commands();
	if (access("/etc/resolv.conf", F_OK) < 0)
		hull_write_file_atomic(AT_FDCWD, "/etc/resolv.conf", "", 0, 0644, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* File systems: the kernel's own, the base image, the sandbox's disk, and the overlay of the two that becomes the root.
 *
 *     base (EROFS, read-only, shared by all sandboxes)  \
 *     disk/root/upper (ext4, this sandbox's)            / overlay = /
 *     disk/docker, disk/containerd                        bound at /var/lib/docker, /var/lib/containerd
 *
 * The disk stays reachable for us alone under /run/hull (mode 0700). Without a disk a tmpfs takes its place and
 * everything is gone when the machine stops. */
#include "guest/boot/boot.h"

#include "base/cleanup.h"
#include "guest/core/cgroup.h"
#include "guest/core/core.h"
#include "guest/core/uevent.h"
#include "guest/machine/machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The disk's image begins as holes, which read as zeros: no thread has to write zeros over tables of inodes that are
 * not used yet, in every sandbox anew. */
#define DISK_OPTIONS "discard,noinit_itable"

enum { DEVICE_WAIT_MS = 15000, DISK_WAIT_MS = 3000, MOUNTS_MAX = 4096 };

struct mount_spec {
	const char *type, *where, *data;
	unsigned long flags;
	mode_t mode;
};

static int boot_mount_one(const struct mount_spec *m, struct hull_error *err)
{
	mkdir(m->where, m->mode);
	if (mount(m->type, m->where, m->type, m->flags, m->data) == 0 || errno == EBUSY)
		return 0;
	return hull_fail_errno(err, "cannot mount %s at %s", m->type, m->where);
}

int hull_early_mounts(struct hull_error *err)
{
	static const struct mount_spec specs[] = {
		{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 0555},
		{"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 0555},
		{"devtmpfs", "/dev", "mode=0755", MS_NOSUID, 0755},
		{"devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC, 0755},
		{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, 01777},
		{"mqueue", "/dev/mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 01777},
		{"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV, 0755},
		{"cgroup2", HULL_CG_ROOT, "nsdelegate,memory_recursiveprot", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0555},
	};
	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		int r = boot_mount_one(&specs[i], err);
		if (r < 0)
			return r;
	}
	mkdir("/run/lock", 01777);
	chmod("/run/lock", 01777);
	mkdir("/run/hull", 0700);
	return 0;
}

struct disk {
	const char *serial;
	char dev[64];
};

static bool disk_found(void *ctx)
{
	struct disk *d = ctx;
	return hull_find_disk(d->serial, d->dev, sizeof(d->dev));
}

/* Delete what the initramfs holds: it is memory nobody uses any more. Stays on the root's own file system. */
static void empty_dir(int fd, dev_t dev)
{
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		struct stat st;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		if (S_ISDIR(st.st_mode)) {
			int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub >= 0)
				empty_dir(sub, dev);
			unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
		} else {
			unlinkat(dirfd(d), e->d_name, 0);
		}
	}
}

static int mount_disk(const struct hull_options *o, struct hull_error *err)
{
	struct disk disk = {.serial = "disk"};
	mkdir("/run/hull/disk", 0700);
	if (!o->disk || !hull_wait_device(disk_found, &disk, DISK_WAIT_MS)) {
		hull_say("no disk of the sandbox's own: changes are kept in memory and end with it");
		if (mount("tmpfs", "/run/hull/disk", "tmpfs", MS_NODEV, "mode=0755") < 0)
			return hull_fail_errno(err, "cannot mount a tmpfs in place of the sandbox's disk");
	} else if (mount(disk.dev, "/run/hull/disk", "ext4", 0, DISK_OPTIONS) < 0) {
		return hull_fail_errno(err,
				       "cannot mount the sandbox's disk %s as ext4; when it is damaged, repair it "
				       "on the host with e2fsck -f",
				       disk.dev);
	} else {
		struct hull_error grow = {0};
		hull_disk_set(disk.dev);
		if (hull_disk_grow(&grow) < 0)
			hull_say("%s", grow.msg);
	}
	static const struct {
		const char *path;
		mode_t mode;
	} dirs[] = {
		{"/run/hull/disk/root", 0700},       {"/run/hull/disk/root/upper", 0755},
		{"/run/hull/disk/root/work", 0755},  {"/run/hull/disk/docker", 0710},
		{"/run/hull/disk/containerd", 0711},
	};
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdir(dirs[i].path, dirs[i].mode) < 0 && errno != EEXIST)
			return hull_fail_errno(err, "cannot make %s on the sandbox's disk", dirs[i].path);
	return 0;
}

static int mount_root(const char *root, struct hull_error *err)
{
	struct disk base = {.serial = "base"};
	if (!hull_wait_device(disk_found, &base, DEVICE_WAIT_MS))
		return hull_fail(err, -ENODEV,
				 "no disk with the serial \"base\" appeared: the root file system is missing");
	mkdir("/base", 0755);
	mkdir(root, 0755);
	if (mount(base.dev, "/base", "erofs", MS_RDONLY, NULL) < 0)
		return hull_fail_errno(err, "cannot mount the base image %s as erofs", base.dev);
	/* redirect_dir: directories of the base can be renamed, as on any disk. */
	if (mount("overlay", root, "overlay", 0,
		  "lowerdir=/base,upperdir=/run/hull/disk/root/upper,workdir=/run/hull/disk/root/work,"
		  "redirect_dir=on") < 0)
		return hull_fail_errno(err, "cannot lay the sandbox's disk over the base image");
	umount2("/base", MNT_DETACH); /* the overlay holds on to it */
	return 0;
}

static void bind_data(const char *from, const char *to)
{
	if (mkdir(to, 0711) < 0 && errno != EEXIST)
		hull_say("cannot make %s: %s", to, strerror(errno));
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		hull_say("cannot put %s at %s: %s", from, to, strerror(errno));
}

int hull_enter_root(const struct hull_options *o, struct hull_error *err)
{
	static const char *const moved[] = {"/proc", "/sys", "/dev", "/run"};
	static const char root[] = "/newroot";
	int r = mount_disk(o, err);
	if (r < 0)
		return r;
	r = mount_root(root, err);
	if (r < 0)
		return r;

	/* The descriptor of the initramfs's root outlives the switch, for emptying it. */
	_cleanup_close_ int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (old < 0 || fstat(old, &st) < 0)
		return hull_fail_errno(err, "cannot look at the initramfs");
	for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		char to[64];
		snprintf(to, sizeof(to), "%s%s", root, moved[i]);
		mkdir(to, 0755);
		if (mount(moved[i], to, NULL, MS_MOVE, NULL) < 0)
			return hull_fail_errno(err, "cannot move %s into the new root", moved[i]);
	}
	if (chdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return hull_fail_errno(err, "cannot enter the new root");
	empty_dir(hull_steal_fd(&old), st.st_dev);

	/* As every init leaves it, and as Docker's volumes need it: mounts reach namespaces made later. */
	mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
	bind_data("/run/hull/disk/docker", "/var/lib/docker");
	bind_data("/run/hull/disk/containerd", "/var/lib/containerd");
	return 0;
}

static int mounts_longest_first(const void *a, const void *b)
{
	size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);
	return x < y ? 1 : x > y ? -1 : 0;
}

/* Unmount everything below `prefix`, inner before outer. What is busy is detached, and named. */
static void unmount_below(const char *prefix)
{
	char *where[MOUNTS_MAX];
	size_t count = 0, cap = 0;
	char *line = NULL;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mounts", "re");
	while (f && count < MOUNTS_MAX && getline(&line, &cap, f) > 0) {
		char *start = strchr(line, ' ');
		char *end = start ? strchr(start + 1, ' ') : NULL;
		if (!end)
			continue;
		*end = '\0';
		if (strncmp(start + 1, prefix, strlen(prefix)) == 0 && (where[count] = strdup(start + 1)))
			count++;
	}
	free(line);
	qsort(where, count, sizeof(where[0]), mounts_longest_first);
	for (size_t i = 0; i < count; i++) {
		char *w = where[i];
		if (umount2(w, UMOUNT_NOFOLLOW) < 0) {
			hull_say("cannot unmount %s: %s", w, strerror(errno));
			umount2(w, MNT_DETACH);
		}
		free(w);
	}
}

void hull_leave_root(void)
{
	/* Everything but the root goes while the root can still be named; then the root itself, from outside. */
	static const char out[] = "/run/hull/out";
	/* Our own open files (a log, the wire) keep their file systems busy like anybody's. */
	syscall(SYS_close_range, 0U, ~0U, 0U);
	mkdir(out, 0700);
	if (mount("tmpfs", out, "tmpfs", 0, "mode=0700") < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdir("/run/hull/out/old", 0700) < 0 || mkdir("/run/hull/out/proc", 0555) < 0 ||
	    mount("proc", "/run/hull/out/proc", "proc", 0, NULL) < 0 || mkdir("/run/hull/out/dev", 0755) < 0 ||
	    mount("devtmpfs", "/run/hull/out/dev", "devtmpfs", 0, NULL) < 0 || chdir(out) < 0 ||
	    syscall(SYS_pivot_root, ".", "old") < 0 || chroot(".") < 0 || chdir("/") < 0) {
		hull_say("cannot leave the root file system: %s; it is made read-only instead", strerror(errno));
		mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
		mount(NULL, "/run/hull/disk", NULL, MS_REMOUNT | MS_RDONLY, NULL);
		return;
	}
	unmount_below("/old");
	sync();
}

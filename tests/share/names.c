/* SPDX-License-Identifier: Apache-2.0 */
/* share-names DIR: names and metadata as POSIX and Linux have them. */
#include "check.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static struct stat st;

static void modes(void)
{
	umask(022);
	CHECK(close(open("m1", O_CREAT | O_WRONLY, 0666)) == 0 && stat("m1", &st) == 0, "create");
	CHECK((st.st_mode & 07777) == 0644, "umask applies to files");
	CHECK(mkdir("m2", 0777) == 0 && stat("m2", &st) == 0 && (st.st_mode & 07777) == 0755, "and to directories");
	CHECK(chmod("m1", 0600) == 0 && stat("m1", &st) == 0 && (st.st_mode & 07777) == 0600, "chmod");
	CHECK(chmod("m1", 04755) == 0 && stat("m1", &st) == 0 && (st.st_mode & 07777) == 04755, "setuid is kept");
	CHECK(chmod("m1", 02755) == 0 && stat("m1", &st) == 0 && (st.st_mode & 07777) == 02755, "setgid too");
	CHECK(chmod("m2", 01777) == 0 && stat("m2", &st) == 0 && (st.st_mode & 07777) == 01777, "sticky directory");
	int fd = open("m1", O_RDWR);
	CHECK(fchmod(fd, 0640) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640, "fchmod");
	CHECK(stat("m1", &st) == 0 && chown("m1", st.st_uid, st.st_gid) == 0, "chown to what it is");
	if (geteuid() == 0) {
		struct stat now;
		CHECK(chown("m1", 999, 998) == 0 && stat("m1", &now) == 0 && now.st_uid == 999 && now.st_gid == 998,
		      "chown by root");
	}
	struct timespec ts[2] = {{.tv_sec = 1234567890, .tv_nsec = 123456789},
				 {.tv_sec = 987654321, .tv_nsec = 987654321}};
	CHECK(futimens(fd, ts) == 0 && fstat(fd, &st) == 0, "futimens");
	CHECK(st.st_atim.tv_nsec == 123456789 && st.st_mtim.tv_nsec == 987654321 && st.st_mtim.tv_sec == 987654321,
	      "times in nanoseconds");
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1] = (struct timespec){.tv_sec = -5, .tv_nsec = 7};
	CHECK(utimensat(AT_FDCWD, "m1", ts, 0) == 0 && stat("m1", &st) == 0 && st.st_mtim.tv_sec == -5 &&
		      st.st_atim.tv_sec == 1234567890,
	      "a time before 1970, the other left alone");
	ts[1].tv_nsec = UTIME_NOW;
	CHECK(utimensat(AT_FDCWD, "m1", ts, 0) == 0 && stat("m1", &st) == 0 && st.st_mtim.tv_sec > 1500000000,
	      "UTIME_NOW");
	close(fd);
	CHECK(symlink("nowhere", "m3") == 0, "dangling symlink");
	ts[0] = ts[1] = (struct timespec){.tv_sec = 42, .tv_nsec = 43};
	CHECK(utimensat(AT_FDCWD, "m3", ts, AT_SYMLINK_NOFOLLOW) == 0 && lstat("m3", &st) == 0 &&
		      st.st_mtim.tv_nsec == 43,
	      "times of a symlink");
	CHECK(access("m1", R_OK | W_OK) == 0, "access");
	FAILS(access("nothing", F_OK), ENOENT, "access to nothing");
	struct statvfs v;
	CHECK(statvfs(".", &v) == 0 && v.f_blocks > 0 && v.f_namemax == 255, "statvfs");
}

/* As root: what the host's user cannot have. */
static void owners(void)
{
	CHECK(mknod("c5", S_IFCHR | 0666, 0x103) == 0 && lstat("c5", &st) == 0 && S_ISCHR(st.st_mode) &&
		      st.st_rdev == 0x103,
	      "a device node");
	FAILS(open("c5", O_RDONLY), EACCES, "that does nothing");
	CHECK(mkdir("c6", 0755) == 0 && stat("c6", &st) == 0 && st.st_uid == 0, "what root makes is root's");
	CHECK(chown("c6", 999, 998) == 0 && chmod("c6", 02770) == 0 && put_file("c6/f", "x") == 0,
	      "a setgid directory");
	CHECK(stat("c6/f", &st) == 0 && st.st_uid == 0 && st.st_gid == 998, "gives its group");
	CHECK(mkdir("c6/d", 0755) == 0 && stat("c6/d", &st) == 0 && st.st_gid == 998 && st.st_mode & S_ISGID,
	      "and the bit to a directory");
	CHECK(rmdir("c6/d") == 0 && unlink("c6/f") == 0 && rmdir("c6") == 0, "done with it");
	/* Modes that keep the server itself out keep root in the guest from nothing. */
	CHECK(mkdir("c7", 0755) == 0 && put_file("c7/f", "x") == 0, "a tree");
	CHECK(chown("c7", 1000, 1000) == 0 && chown("c7/f", 1000, 1000) == 0, "of the guest's user");
	CHECK(chmod("c7/f", 0444) == 0 && chmod("c7", 0555) == 0, "that cannot be written");
	CHECK(put_file("c7/f", "more") == 0 && stat("c7/f", &st) == 0 && (st.st_mode & 07777) == 0444,
	      "is written by root");
	CHECK(put_file("c7/g", "new") == 0 && unlink("c7/f") == 0 && mkdir("c7/d", 0555) == 0, "in its directory too");
	CHECK(stat("c7", &st) == 0 && (st.st_mode & 07777) == 0555, "which stays as it is");
	CHECK(rename("c7/d", "c8") == 0 && rename("c7/g", "c8/g") == 0 && unlink("c8/g") == 0 && rmdir("c8") == 0,
	      "moved");
	CHECK(chmod("c7", 0) == 0 && put_file("c7/h", "x") == 0 && unlink("c7/h") == 0 && rmdir("c7") == 0,
	      "with no permissions at all");
	CHECK(symlink("nowhere", "c11") == 0 && lstat("c11", &st) == 0 && st.st_uid == 0 &&
		      lchown("c11", 999, 998) == 0 && rename("c11", "c10") == 0 && lstat("c10", &st) == 0 &&
		      st.st_uid == 999 && st.st_gid == 998 && unlink("c10") == 0,
	      "a symlink has an owner and keeps it");
}

static void creation(void)
{
	CHECK(put_file("c1", "one") == 0 && has_text("c1", "one"), "write and read");
	FAILS(open("c1", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST, "O_EXCL");
	CHECK(symlink("c9", "c2") == 0, "symlink");
	FAILS(open("c2", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST, "O_EXCL does not follow");
	FAILS(open("c2", O_RDONLY | O_NOFOLLOW), ELOOP, "O_NOFOLLOW");
	CHECK(close(open("c2", O_CREAT | O_WRONLY, 0644)) == 0 && lstat("c9", &st) == 0, "create through a symlink");
	FAILS(open("c1", O_RDONLY | O_DIRECTORY), ENOTDIR, "O_DIRECTORY");
	FAILS(open(".", O_WRONLY), EISDIR, "a directory is not written");
	FAILS(open("c1/x", O_RDONLY), ENOTDIR, "a file is no directory");
	int fd = open("c1", O_WRONLY | O_TRUNC);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0, "O_TRUNC");
	close(fd);
	CHECK(mkfifo("c3", 0600) == 0 && lstat("c3", &st) == 0 && S_ISFIFO(st.st_mode), "fifo");
	pid_t pid = fork();
	if (pid == 0) {
		fd = open("c3", O_WRONLY);
		_exit(write(fd, "through", 7) == 7 ? 0 : 1);
	}
	char buf[16] = "";
	fd = open("c3", O_RDONLY);
	CHECK(read(fd, buf, sizeof buf) == 7 && !memcmp(buf, "through", 7), "a fifo carries");
	close(fd);
	waitpid(pid, NULL, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "c4"};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(s, (void *)&a, sizeof a) == 0 && listen(s, 1) == 0, "bind a unix socket");
	int c = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(connect(c, (void *)&a, sizeof a) == 0, "and connect to it");
	close(c);
	close(s);
	if (geteuid() == 0)
		owners();
}

static void links(void)
{
	char buf[PATH_MAX];
	struct stat other;
	CHECK(put_file("l1", "linked") == 0 && link("l1", "l2") == 0, "link");
	CHECK(stat("l1", &st) == 0 && stat("l2", &other) == 0 && st.st_ino == other.st_ino && other.st_nlink == 2,
	      "same inode, two links");
	CHECK(put_file("l2", "changed") == 0 && has_text("l1", "changed"), "same content");
	CHECK(unlink("l1") == 0 && stat("l2", &st) == 0 && st.st_nlink == 1 && has_text("l2", "changed"), "unlink one");
	FAILS(link("l2", "l2"), EEXIST, "link onto an existing name");
	FAILS(link(".", "l3"), EPERM, "no links to directories");
	CHECK(symlink("l2", "l4") == 0 && linkat(AT_FDCWD, "l4", AT_FDCWD, "l5", 0) == 0 && lstat("l5", &st) == 0 &&
		      S_ISLNK(st.st_mode),
	      "a hard link to a symlink");
	memset(buf, 'x', 4000);
	buf[4000] = '\0';
	char back[PATH_MAX];
	CHECK(symlink(buf, "l6") == 0 && readlink("l6", back, sizeof back) == 4000 && !memcmp(buf, back, 4000),
	      "a long symlink");
	CHECK(lstat("l6", &st) == 0 && st.st_size == 4000, "its size");
	FAILS(symlink("", "l7"), ENOENT, "no empty symlink");
	CHECK(symlink("l9", "l8") == 0 && symlink("l8", "l9") == 0, "a loop of symlinks");
	FAILS(open("l8", O_RDONLY), ELOOP, "is ELOOP");
}

static void renames(void)
{
	CHECK(mkdir("r", 0755) == 0 && put_file("r/a", "a") == 0 && put_file("r/b", "b") == 0, "set up");
	CHECK(rename("r/a", "r/b") == 0 && has_text("r/b", "a") && access("r/a", F_OK) < 0, "rename replaces");
	CHECK(put_file("r/a", "A") == 0, "again");
	FAILS(renameat2(AT_FDCWD, "r/a", AT_FDCWD, "r/b", RENAME_NOREPLACE), EEXIST, "RENAME_NOREPLACE");
	CHECK(renameat2(AT_FDCWD, "r/a", AT_FDCWD, "r/b", RENAME_EXCHANGE) == 0 && has_text("r/a", "a") &&
		      has_text("r/b", "A"),
	      "RENAME_EXCHANGE");
	CHECK(mkdir("r/d", 0755) == 0 && mkdir("r/d/e", 0755) == 0 && put_file("r/d/e/f", "f") == 0, "a tree");
	CHECK(rename("r/d", "r/g") == 0 && has_text("r/g/e/f", "f") && access("r/d", F_OK) < 0, "rename a directory");
	FAILS(rename("r/g", "r/g/e/h"), EINVAL, "not into itself");
	FAILS(rename("r/a", "r/g"), EISDIR, "a file does not replace a directory");
	FAILS(rename("r/g", "r/a"), ENOTDIR, "nor a directory a file");
	CHECK(mkdir("r/h", 0755) == 0 && rename("r/g", "r/h") == 0 && has_text("r/h/e/f", "f"),
	      "replace an empty directory");
	FAILS(rmdir("r/h"), ENOTEMPTY, "rmdir of what is not empty");
	FAILS(rmdir("r/a"), ENOTDIR, "rmdir of a file");
	FAILS(unlink("r/h"), EISDIR, "unlink of a directory");
	int fd = open("r/a", O_RDWR);
	CHECK(rename("r/a", "r/h/moved") == 0 && fstat(fd, &st) == 0 && pwrite(fd, "Z", 1, 0) == 1 &&
		      has_text("r/h/moved", "Z"),
	      "an open file moves along");
	int at = open("r/h", O_RDONLY | O_DIRECTORY);
	CHECK(rename("r/h", "r/i") == 0 && faccessat(at, "moved", F_OK, 0) == 0, "so does an open directory");
	close(at);
	CHECK(unlink("r/i/moved") == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0, "unlinked but open");
	CHECK(pwrite(fd, "still here", 10, 0) == 10 && ftruncate(fd, 5) == 0 && fchmod(fd, 0600) == 0,
	      "is still written");
	char buf[16];
	CHECK(pread(fd, buf, sizeof buf, 0) == 5 && !memcmp(buf, "still", 5), "and read");
	close(fd);
	CHECK(put_file("r/t", "old") == 0, "a file to be replaced");
	fd = open("r/t", O_RDONLY);
	CHECK(put_file("r/u", "new") == 0 && rename("r/u", "r/t") == 0 && has_text("r/t", "new"),
	      "replace under a reader");
	CHECK(read(fd, buf, sizeof buf) == 3 && !memcmp(buf, "old", 3), "who keeps the old one");
	close(fd);
}

static void bytes_and_lengths(void)
{
	char name[300], path[PATH_MAX + 300];
	bool all = true;
	CHECK(mkdir("n", 0755) == 0 && chdir("n") == 0, "set up");
	for (int c = 1; c < 256; c++) {
		snprintf(name, sizeof name, "<%c>", c);
		if (c != '/' && (put_file(name, "x") < 0 || !has_text(name, "x")))
			all = false;
	}
	CHECK(all, "names of any byte");
	DIR *d = opendir(".");
	int seen = 0;
	for (struct dirent *e; (e = readdir(d));)
		seen += e->d_name[0] == '<' && e->d_name[2] == '>';
	closedir(d);
	CHECK(seen == 254, "are all listed (%d)", seen);
	memset(name, 'n', sizeof name);
	name[255] = '\0';
	CHECK(put_file(name, "x") == 0 && has_text(name, "x"), "255 bytes");
	name[255] = 'n';
	name[256] = '\0';
	FAILS(open(name, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG, "256 bytes");
	int depth = 0;
	bool ok = true;
	name[200] = '\0';
	int start = open(".", O_RDONLY | O_DIRECTORY);
	for (; depth < 60 && ok; depth++)
		ok = mkdir(name, 0755) == 0 && chdir(name) == 0;
	CHECK(ok && put_file("deep", "deep") == 0 && has_text("deep", "deep"), "60 directories deep, beyond PATH_MAX");
	if (fchdir(start) < 0)
		ok = false;
	close(start);
	path[0] = '\0';
	for (int i = 0; i < 19; i++) {
		strcat(path, name);
		strcat(path, "/");
	}
	CHECK(stat(path, &st) == 0 && strlen(path) > 3800, "a path close to PATH_MAX");
	CHECK(chdir("..") == 0, "back");
}

enum { ENTRIES_MAX = 100000 };

static void many(int n)
{
	char name[64];
	bool ok = mkdir("big", 0755) == 0;
	for (int i = 0; i < n && ok; i++) {
		snprintf(name, sizeof name, "big/entry-%06d", i);
		ok = mknod(name, S_IFREG | 0644, 0) == 0;
	}
	CHECK(ok, "create %d entries", n);
	static bool seen[ENTRIES_MAX];
	int twice = 0, count = 0;
	DIR *d = opendir("big");
	long mark = 0;
	char after[64] = "";
	for (struct dirent *e; (e = readdir(d));) {
		int i = e->d_name[0] == 'e' ? atoi(e->d_name + 6) : -1;
		if (i < 0 || i >= n)
			continue;
		if (mark && !after[0])
			snprintf(after, sizeof after, "%.63s", e->d_name);
		twice += seen[i];
		seen[i] = true;
		if (++count == n / 2)
			mark = telldir(d);
	}
	CHECK(count == n && twice == 0, "each listed once (%d, %d twice)", count, twice);
	seekdir(d, mark);
	struct dirent *e = readdir(d);
	CHECK(e && !strcmp(e->d_name, after), "telldir and seekdir");
	rewinddir(d);
	int unlinked = 0;
	for (; (e = readdir(d));)
		if (e->d_name[0] == 'e')
			unlinked += unlinkat(dirfd(d), e->d_name, 0) == 0;
	closedir(d);
	CHECK(unlinked == n, "unlink while reading (%d)", unlinked);
	CHECK(rmdir("big") == 0, "and it is empty");
}

static void xattrs(void)
{
	char buf[65536];
	CHECK(put_file("x1", "") == 0 && setxattr("x1", "user.one", "1", 1, 0) == 0, "set");
	CHECK(getxattr("x1", "user.one", buf, sizeof buf) == 1 && buf[0] == '1', "get");
	FAILS(setxattr("x1", "user.one", "2", 1, XATTR_CREATE), EEXIST, "XATTR_CREATE");
	FAILS(setxattr("x1", "user.two", "2", 1, XATTR_REPLACE), ENODATA, "XATTR_REPLACE");
	memset(buf, 'v', 2000);
	CHECK(setxattr("x1", "user.long", buf, 2000, 0) == 0 && getxattr("x1", "user.long", NULL, 0) == 2000,
	      "a long one");
	FAILS(getxattr("x1", "user.long", buf, 10), ERANGE, "ERANGE");
	CHECK(listxattr("x1", buf, sizeof buf) == 9 + 10, "list");
	CHECK(removexattr("x1", "user.one") == 0, "remove");
	FAILS(getxattr("x1", "user.one", buf, sizeof buf), ENODATA, "gone");
	CHECK(mkdir("x2", 0755) == 0 && setxattr("x2", "user.d", "d", 1, 0) == 0 &&
		      getxattr("x2", "user.d", buf, 9) == 1,
	      "on a directory");
	int fd = open("x1", O_RDONLY);
	CHECK(fsetxattr(fd, "user.f", "f", 1, 0) == 0 && fgetxattr(fd, "user.f", buf, 9) == 1, "by descriptor");
	close(fd);
	CHECK(setxattr("x1", "trusted.x", "t", 1, 0) < 0, "nothing but user.*");
}

int main(int argc, char **argv)
{
	int entries = argc > 2 ? atoi(argv[2]) : ENTRIES_MAX;
	if (entries < 2 || entries > ENTRIES_MAX) {
		fprintf(stderr, "usage: share-names [DIR [ENTRIES]]\n");
		return 2;
	}
	check_enter(argc > 1 ? argv[1] : ".", "names");
	modes();
	creation();
	links();
	renames();
	bytes_and_lengths();
	xattrs();
	many(entries);
	return check_done();
}

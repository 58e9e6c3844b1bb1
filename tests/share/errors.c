/* SPDX-License-Identifier: Apache-2.0 */
/* share-errors full DIR: DIR lies on a small file system. It is filled, and every way of needing more of it fails with
 * ENOSPC (or EDQUOT, as `share-errors quota DIR`); what was there is intact, and what is freed can be used again.
 * share-errors io FILE: the disk below FILE is broken: EIO. share-errors denied DIR: somebody else's: EACCES. */
#include "check.h"

#include <stdio.h>
#include <sys/mman.h>

enum { BLOCK = 64 * 1024, FILES_MAX = 100000 };

static char block[BLOCK];

/* Append until it fails; the errno. */
static int fill(int fd, off_t *size)
{
	for (;;) {
		ssize_t n = write(fd, block, sizeof block);
		if (n < 0)
			return errno;
		*size += n;
	}
}

static void full(int code)
{
	off_t size = 0;
	struct stat st;
	memset(block, 'x', sizeof block);
	CHECK(put_file("kept", "kept") == 0, "a file");
	_cleanup_close_ int fd = open("big", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	CHECK(fill(fd, &size) == code, "writing until it is full");
	CHECK(size > 0 && fstat(fd, &st) == 0 && st.st_size >= size, "what was written counts");
	CHECK(pread(fd, block, 16, size - 16) == 16 && block[0] == 'x' && block[15] == 'x', "and is there");
	/* The rest of the last blocks may still take some. */
	_cleanup_close_ int more = open("more", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (more >= 0) {
		off_t rest = 0;
		CHECK(fill(more, &rest) == code, "another file does not get any");
		FAILS(fallocate(more, 0, 0, 8 << 20), code, "fallocate");
		/* A page that has no block yet is asked for when it is written to, or at msync. */
		CHECK(ftruncate(more, 1 << 20) == 0, "a hole costs nothing");
		FAILS(pwrite(more, block, sizeof block, 512 * 1024), code, "a block in a hole");
	}
	CHECK(has_text("kept", "kept"), "the first is intact");
	CHECK(unlink("more") == 0 && ftruncate(fd, 0) == 0, "making room");
	size = 0;
	CHECK(pwrite(fd, block, sizeof block, 0) == (ssize_t)sizeof block, "which can be used again");
	CHECK(fsync(fd) == 0, "and synced");
	CHECK(unlink("big") == 0, "done");
}

/* No more inodes. */
static void names(int code)
{
	int n = 0, failed = 0;
	char name[32];
	while (n < FILES_MAX && !failed) {
		snprintf(name, sizeof name, "n%d", n);
		failed = put_file(name, "") < 0 ? errno : 0;
		n += !failed;
	}
	if (n == FILES_MAX) {
		printf("ok %d - creating # SKIP the file system has too many inodes\n", ++check_number);
	} else {
		CHECK(failed == code, "creating until there is no inode left, after %d", n);
		FAILS(mkdir("d", 0755), code, "mkdir");
		FAILS(symlink("x", "l"), code, "symlink");
		FAILS(mkfifo("p", 0644), code, "mkfifo");
	}
	while (n-- > 0) {
		snprintf(name, sizeof name, "n%d", n);
		unlink(name);
	}
	CHECK(mkdir("d", 0755) == 0 && rmdir("d") == 0, "then there is room again");
}

static void io(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "the file is there");
	FAILS(pread(fd, block, sizeof block, 0), EIO, "reading it");
	CHECK(lseek(fd, 0, SEEK_SET) == 0, "and the server lives");
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size > 0, "its attributes are known");
}

static void denied(void)
{
	FAILS(open("secret", O_RDONLY | O_CLOEXEC), EACCES, "reading what is somebody else's");
	FAILS(open("theirs/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644), EACCES, "creating in their directory");
	FAILS(unlink("theirs/file"), EACCES, "removing from it");
	FAILS(mkdir("theirs/d", 0755), EACCES, "a directory in it");
	FAILS(chmod("readable", 0777), EPERM, "changing their modes");
	CHECK(has_text("readable", "theirs\n"), "what may be read can be");
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: share-errors full|quota|denied DIR | io FILE\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	int code = !strcmp(argv[1], "quota") ? EDQUOT : ENOSPC;
	if (!strcmp(argv[1], "io"))
		io(argv[2]);
	else if (chdir(argv[2]) < 0)
		CHECK(false, "chdir");
	else if (!strcmp(argv[1], "denied"))
		denied();
	else
		full(code), names(code);
	return check_done();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The disk every sandbox starts from (build.h): a sparse ext4 file, made without mounting anything.
 *
 * It is small because it is cloned per sandbox and hashed; the guest grows it online to the size asked for, so room
 * for the group descriptors of a large file system is reserved (about 4 MiB, not written until used). */
#include "image/build.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = 4096, READ_BLOCKS = 256 };

#define SEED_SIZE   ((off_t)4 << 30)
#define GROW_BLOCKS "2147483648" /* 8 TiB in 4 KiB blocks: the most that reserved descriptor blocks can hold */

int hull_seed_make(struct hull_builder *b, const char *path, struct hull_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, SEED_SIZE) != 0)
		return hull_fail_errno(err, "cannot make %s", path);
	/* -m 0: nothing held back for root, who owns the whole machine. nodiscard: the file is all hole already. */
	const char *const argv[] = {
		"mkfs.ext4",
		"-q",
		"-F",
		"-L",
		"hull-disk",
		"-b",
		"4096",
		"-m",
		"0",
		"-E",
		"lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0,resize=" GROW_BLOCKS,
		path,
		NULL};
	return hull_build_run(b, argv, NULL, 0, 0, err);
}

int hull_punch_zeros(int fd, struct hull_error *err)
{
	_cleanup_free_ uint8_t *buf = malloc((size_t)BLOCK * READ_BLOCKS);
	if (!buf)
		return hull_fail(err, -ENOMEM, "out of memory");
	off_t end = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < end;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : hull_fail_errno(err, "cannot read the disk's holes");
		data -= data % BLOCK;
		ssize_t n = pread(fd, buf, (size_t)BLOCK * READ_BLOCKS, data);
		if (n <= 0)
			return n == 0 ? 0 : hull_fail_errno(err, "cannot read the disk");
		off_t run = -1; /* where the zero blocks under the cursor began */
		for (ssize_t i = 0;; i += BLOCK) {
			bool zero = i + BLOCK <= n && buf[i] == 0 && memcmp(buf + i, buf + i + 1, BLOCK - 1) == 0;
			if (zero && run < 0)
				run = data + i;
			/* A file system that cannot punch holes keeps a disk that is right, only larger. */
			if (!zero && run >= 0) {
				(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, run, data + i - run);
				run = -1;
			}
			if (i >= n)
				break;
		}
		at = data + n;
	}
	return 0;
}

int hull_seed_finish(struct hull_builder *b, const char *path, struct hull_error *err)
{
	/* Repair what may be repaired without asking (a journal to replay: exit code 1) and give back free blocks; then
	 * it must be clean. */
	const char *const mend[] = {"e2fsck", "-f", "-p", "-E", "discard", path, NULL};
	const char *const check[] = {"e2fsck", "-f", "-n", path, NULL};
	int r = hull_build_run(b, mend, NULL, 0, 1, err);
	if (r == 0)
		r = hull_build_run(b, check, NULL, 0, 0, err);
	if (r < 0)
		return hull_wrap(err, "e2fsck reports errors on the seeded disk");
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	struct stat st;
	if (fstat(fd, &st) != 0)
		return hull_fail_errno(err, "cannot look at %s", path);
	return hull_punch_zeros(fd, err);
}

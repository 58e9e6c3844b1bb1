/* SPDX-License-Identifier: Apache-2.0 */
/* Directory entries, as getdents64(2) gives them and as the guest's kernel reads them. */
#ifndef HULL_SHARE_ENTRIES_H
#define HULL_SHARE_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Where things are in a struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name. */
enum { SHARE_DIRENT_OFF = 8, SHARE_DIRENT_RECLEN = 16, SHARE_DIRENT_TYPE = 18, SHARE_DIRENT_NAME = 19 };
static inline uint16_t share_reclen(const uint8_t *entry)
{
	uint16_t n;
	memcpy(&n, entry + SHARE_DIRENT_RECLEN, sizeof n);
	return n;
}
static inline bool share_dots(const char *name)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a name is there in every entry */
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* One entry as the guest's kernel reads it at `to`, FUSE_DIRENT_SIZE bytes; how many (dir.c). */
size_t share_put_dirent(uint8_t *to, uint64_t ino, uint64_t next, uint8_t type, const char *name, size_t len);

#endif

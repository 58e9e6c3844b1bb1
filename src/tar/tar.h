/* SPDX-License-Identifier: Apache-2.0 */
/* tar archives between the host and a sandbox. The contract.
 *
 * A guest's archive is hostile, and the guest may modify the target directory (a workspace) during unpacking. Therefore
 * no tar program of the host is run. libarchive parses the archive, and every file is created with calls that follow no
 * symlink and cannot leave the target (openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). The host chooses the
 * name of the result; the guest supplies content only.
 *
 * 1. Types: directories, regular files, symlinks (never followed), FIFOs, and hard links to files of the same archive.
 *    A hard link to a file that already existed would expose it to a guest that shares the target. Device nodes are not
 *    made.
 * 2. Owner, mode, times: files belong to the user; mode bits within 0777 are kept as far as the umask permits; times
 *    are kept.
 * 3. Replacement: an entry of the same type is replaced by a rename; an entry of another type is not replaced.
 * 4. Atomicity: a file has no name until it is complete, so an interrupted copy leaves no partial file. Where the file
 *    system has no O_TMPFILE, a kill leaves .hull-cp-*.
 * 5. Space: writing stops before the file system is full (base/space.h). */
#ifndef HULL_TAR_TAR_H
#define HULL_TAR_TAR_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct hull_unpack {
	int dir; /* the target, open for reading; borrowed */
	/* The requested entry: the archive must consist of this one entry, which gets the name `name` in dir. NULL: the
	 * content of a directory ("./...") was requested, and goes into dir. */
	const char *entry;
	const char *name;
	bool must_be_dir; /* with entry: it must be a directory */
	bool fresh;       /* without entry: dir was created for this, and gets the mode and time from the archive */
	/* Paths in dir (NULL-terminated list; NULL = none) that guests may write to. No hard link crosses the boundary
	 * of one: through it the guest could write to a file outside. */
	char *const *apart;
	/* The next bytes of the archive, valid until the next call; 0 = its end. */
	ssize_t (*read)(void *ctx, const void **p, struct hull_error *err);
	/* Called at the end of the archive, before a single entry gets its name: does the sender confirm that it is
	 * complete? */
	int (*end)(void *ctx, struct hull_error *err);
	void *ctx;
};

/* 0 or -errno; after an error there is nothing new at dir/name. (Without entry, what was unpacked before the error
 * stays.) -EPROTO: the archive is not what was requested. */
int hull_unpack(const struct hull_unpack *u, struct hull_error *err);

struct hull_pack {
	int dir; /* borrowed */
	/* the entry of dir to pack, first component of every member's name; NULL = the content of dir */
	const char *entry;
	uid_t uid; /* owner of all members */
	gid_t gid;
	int (*write)(void *ctx, const void *p, size_t n, struct hull_error *err);
	void *ctx;
};

/* Symlinks are not followed. Holes, modes, times and hard links are kept. Sockets are skipped. Unreadable files are
 * skipped and reported at the end. */
int hull_pack(const struct hull_pack *p, struct hull_error *err);

#endif

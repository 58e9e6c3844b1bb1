/* SPDX-License-Identifier: Apache-2.0 */
/* tar archives between the host and a sandbox. The contract.
 *
 * What a guest sends is hostile, and where it is unpacked may be a directory that the guest writes in at the same time
 * (a workspace). So no tar of the host's is run: libarchive reads the bytes, and every file is made by calls that
 * follow no symlink and do not leave the target (openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). The host
 * gives the name of what arrives; a guest gives content only.
 *
 * Made are directories, regular files, symlinks (never followed), hard links to what came in the same archive (one to a
 * file that was there would show it to a guest that the target is shared with), and FIFOs; no device nodes. They belong
 * to the user; of the mode, what the umask allows of 0777; times are kept. Something of the same type is replaced by a
 * rename, something of another type is not replaced. A file has no name until it is complete: whatever ends the
 * process, nothing half-written stays (where the file system has no O_TMPFILE, a kill leaves .hull-cp-*). Writing stops
 * while there is space left (base/space.h). */
#ifndef HULL_TAR_TAR_H
#define HULL_TAR_TAR_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct hull_unpack {
	int dir; /* the target, open for reading; borrowed */
	/* What was asked for: the archive has to be of this one entry, which gets the name `name` in dir. NULL: of what
	 * is in a directory ("./..."), which goes into dir. */
	const char *entry;
	const char *name;
	bool must_be_dir; /* with entry: nothing else will do */
	bool fresh;       /* without entry: dir was made for this, and gets the mode and time of the one sent */
	/* Paths in dir (a list that ends with NULL; NULL = none) that guests may write in: no hard link leads into one
	 * or out of it, for then the guest could write in a file that lies elsewhere. */
	char *const *apart;
	/* The next bytes of the archive, valid until the next call; 0 = its end. */
	ssize_t (*read)(void *ctx, const void **p, struct hull_error *err);
	/* The archive has been read to its end: does the sender agree that it is complete? Called before a single entry
	 * gets its name. */
	int (*end)(void *ctx, struct hull_error *err);
	void *ctx;
};

/* 0, or -errno: then there is nothing new at dir/name. (Without entry: what came before the failure stays.) -EPROTO
 * when the archive is not what was asked for. */
int hull_unpack(const struct hull_unpack *u, struct hull_error *err);

struct hull_pack {
	int dir;           /* borrowed */
	const char *entry; /* the entry of dir to pack, members named from it on; NULL = what is in dir */
	uid_t uid;         /* the owner that the members have */
	gid_t gid;
	int (*write)(void *ctx, const void *p, size_t n, struct hull_error *err);
	void *ctx;
};

/* No symlink is followed; holes, modes, times and hard links are kept; sockets are left out. What cannot be read is
 * left out as well, and told at the end. */
int hull_pack(const struct hull_pack *p, struct hull_error *err);

#endif

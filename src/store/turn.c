/* SPDX-License-Identifier: Apache-2.0 */
/* Serializes commands that look for an object and create it when it is missing.
 *
 * A turn is a lock on one byte of sandboxes/.turns, whose offset is a hash of the object's description. So there is a
 * single empty file for all objects, and unrelated ones rarely wait for each other. The turn ends when its descriptor
 * is closed, at the latest with the process. */
#include "store/store.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/text.h"

#include <fcntl.h>

int hull_turn_take(const struct hull_paths *p, char *const *about, void (*waits)(void *ctx), void *ctx,
		   struct hull_error *err)
{
	uint64_t h = HULL_HASH_START;
	for (; *about; about++)
		h = hull_hash_str(h, *about);
	_cleanup_free_ char *path = hull_fmt("%s/sandboxes/.turns", p->home);
	_cleanup_close_ int fd = path ? open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return path ? hull_fail_errno(err, "cannot open %s", path) : hull_fail(err, -ENOMEM, "out of memory");
	struct flock one = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(h >> 2), .l_len = 1};
	if (fcntl(fd, F_OFD_SETLK, &one) == 0)
		return hull_steal_fd(&fd);
	if ((errno == EAGAIN || errno == EACCES) && waits)
		waits(ctx);
	while (fcntl(fd, F_OFD_SETLKW, &one) < 0)
		if (errno != EINTR)
			return hull_fail_errno(err, "cannot lock %s", path);
	return hull_steal_fd(&fd);
}

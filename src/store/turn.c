/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: commands that look for something and make it when it is not there do so one after the other.
 *
 * A turn is a lock on one byte of sandboxes/.turns, whose offset is a hash of what the turn is about: there is one
 * file, empty, however many things there are, and two of them hardly ever wait for each other. It ends when its
 * descriptor is closed, so with the process at the latest. */
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

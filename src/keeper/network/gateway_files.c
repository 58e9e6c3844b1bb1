/* SPDX-License-Identifier: Apache-2.0 */
/* The host's resolver configuration as hull-egress has it; see gateway_files.h.
 *
 * A jail holds inodes, and /etc/resolv.conf becomes another one with each network that is joined (NetworkManager,
 * systemd-resolved and dhclient replace it, or point its link elsewhere). So the jail gets a copy, which is written in
 * place when the file changes; libc reads it again at the next lookup, because its times differ. /etc/hosts goes the
 * same way.
 *
 * The copies lie in the runtime directory, which somebody may clean, and which may move (runtime.c): its descriptor is
 * the keeper's, looked up at each use. Copies that are missing are made again then, and before each start of the child.
 * The child goes on with those it has, which are held open here. */
#include "keeper/network/gateway_files.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const host_file_names[HOST_FILES] = {"resolv.conf", "hosts"};
const char *const host_file_paths[HOST_FILES] = {"/etc/resolv.conf", "/etc/hosts"};

static int read_regular(const char *path, struct hull_buf *out)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	for (;;) {
		uint8_t *p = hull_buf_room(out, 4096);
		if (!p)
			return -ENOMEM;
		ssize_t n = read(fd, p, 4096);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		hull_buf_added(out, (size_t)n);
		if (out->len > HOST_FILE_MAX)
			return -EFBIG;
	}
}

static bool same(int fd, const struct hull_buf *now)
{
	_cleanup_(hull_buf_free) struct hull_buf before = {0};
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_size != (off_t)now->len)
		return false;
	if (now->len == 0)
		return true;
	uint8_t *p = hull_buf_room(&before, now->len);
	return p && pread(fd, p, now->len, 0) == (ssize_t)now->len && memcmp(p, hull_buf_bytes(now), now->len) == 0;
}

/* In place: a jail has this inode. 1 = it has changed. */
static int put(int fd, const struct hull_buf *now)
{
	if (same(fd, now))
		return 0;
	int r = hull_pwrite_full(fd, hull_buf_bytes(now), now->len, 0);
	if (r < 0)
		return r;
	return ftruncate(fd, (off_t)now->len) < 0 ? -errno : 1;
}

/* The copy that the child has, and the one that the next child gets: the same one, unless somebody cleaned the
 * directory. 1 = what the child has was changed. */
static int update(struct host_files *h, unsigned which)
{
	_cleanup_(hull_buf_free) struct hull_buf now = {0};
	_cleanup_close_ int fd = openat(h->k->runtime_fd, host_file_names[which],
					O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	int opened = fd < 0 || fchmod(fd, 0644) < 0 ? -errno : 0;
	int r = read_regular(h->sources[which], &now);
	int changed = r == 0 && h->held[which] >= 0 ? put(h->held[which], &now) : 0;
	if (r == 0)
		r = opened < 0 ? opened : put(fd, &now);
	if (h->held[which] < 0 && opened == 0) /* also when it is empty: what can be read later gets there */
		h->held[which] = hull_steal_fd(&fd);
	return changed != 0 ? changed : r < 0 ? r : 0;
}

static void on_file(void *ctx, unsigned which)
{
	struct host_files *h = ctx;
	int r = update(h, which);
	h->watch.bad[which] = r < 0;
	if (r < 0)
		hull_log("%s cannot be read: %s; names are looked up with the previous one", h->sources[which],
			 strerror(-r));
	if (r > 0)
		h->changed(h->ctx);
}

void host_files_open(struct host_files *h, struct keeper *k, const char *const *sources, void *ctx,
		     void (*changed)(void *ctx))
{
	h->k = k;
	h->ctx = ctx;
	h->changed = changed;
	for (unsigned i = 0; i < HOST_FILES; i++) {
		h->held[i] = -1;
		h->sources[i] = sources ? sources[i] : host_file_paths[i];
	}
	path_watch_start(&h->watch, &k->loop.uv, h->sources, HOST_FILES, h, on_file);
}

void host_files_hold(struct host_files *h)
{
	for (unsigned i = 0; i < HOST_FILES; i++) {
		hull_closep(&h->held[i]);
		h->held[i] = -1;
		h->watch.bad[i] = update(h, i) < 0;
	}
}

void host_files_again(struct host_files *h)
{
	for (unsigned i = 0; i < HOST_FILES; i++)
		on_file(h, i);
}

void host_files_close(struct host_files *h)
{
	path_watch_stop(&h->watch);
	for (unsigned i = 0; h->k && i < HOST_FILES; i++)
		hull_closep(&h->held[i]);
	h->k = NULL;
}

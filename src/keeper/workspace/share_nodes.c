/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest's kernel knows of its workspace, kept with its saved memory: see share/keep.c for what it is, and
 * share.h.
 *
 * Each server has a memfd of a size that it cannot change, which it shares with us: u32, the number of bytes, then the
 * bytes. A new one finds there what the one before left; asked (a packet over its control socket), it writes down what
 * it knows, and answers.
 *
 * Beside the memory of the machine, a file: for each path u32 length, path, u32 length, bytes; little-endian. It is
 * there only when there is a path. It is opened and verified with the memory; only the server interprets the bytes. */
#include "keeper/workspace/share_internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { SHARED_MAX = 64 << 20, BYTES_MAX = SHARED_MAX - 4, PATH_BYTES_MAX = 4096 };

static int get_u32(int fd, off_t at, uint32_t *out)
{
	uint8_t raw[4];
	if (hull_pread_full(fd, raw, sizeof(raw), at) != (ssize_t)sizeof(raw))
		return -EIO;
	struct hull_cur cur = hull_cur_make(raw, sizeof(raw));
	*out = hull_cur_le32(&cur);
	return 0;
}

static int copy(int from, off_t at, int to, off_t to_at, size_t n)
{
	uint8_t buf[64 * 1024];
	while (n > 0) {
		size_t part = n < sizeof(buf) ? n : sizeof(buf);
		ssize_t got = hull_pread_full(from, buf, part, at);
		if (got != (ssize_t)part || pwrite(to, buf, part, to_at) != (ssize_t)part)
			return -EIO;
		at += (off_t)part;
		to_at += (off_t)part;
		n -= part;
	}
	return 0;
}

/* --- to a new server --- */

/* What is kept for the path: where, and how many bytes. False = nothing. */
static bool find(int fd, const char *path, off_t *at, uint32_t *len)
{
	size_t want = strlen(path);
	uint32_t n;
	for (off_t next = 0; get_u32(fd, next, &n) == 0 && n > 0 && n < PATH_BYTES_MAX;) {
		char name[PATH_BYTES_MAX];
		if (hull_pread_full(fd, name, n, next + 4) != (ssize_t)n || get_u32(fd, next + 4 + n, len) < 0 ||
		    *len > BYTES_MAX)
			return false;
		*at = next + 4 + n + 4;
		if (n == want && memcmp(name, path, n) == 0)
			return true;
		next = *at + *len;
	}
	return false;
}

int share_nodes_new(const struct mount *m)
{
	off_t at;
	uint32_t len;
	_cleanup_close_ int fd = memfd_create("hull-share", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, SHARED_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
		hull_log("%s: what the guest knows of this path cannot be saved: %s", m->path, strerror(errno));
		return -1;
	}
	/* The length and the bytes, as they are. */
	if (m->k->workspace->nodes.fd >= 0 && find(m->k->workspace->nodes.fd, m->path, &at, &len) &&
	    copy(m->k->workspace->nodes.fd, at - 4, fd, 0, (size_t)len + 4) < 0)
		return -1;
	return hull_steal_fd(&fd);
}

/* --- from those that run --- */

unsigned share_nodes_ask(struct keeper *k, void (*done)(struct keeper *k))
{
	static const char keep[2] = {'\0', 'K'};
	k->workspace->nodes.asked = 0;
	k->workspace->nodes.done = done;
	list_each(n, &k->workspace->mounts)
	{
		struct server *sv = container_of(n, struct mount, in_list)->server;
		if (!sv)
			continue;
		sv->kept = false;
		if (!sv->socket || sv->nodes < 0 || !sv->attached || sv->keeping)
			continue;
		sv->keeping = send(sv->control->fd, keep, sizeof(keep), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(keep);
		sv->keep_late = false;
		k->workspace->nodes.asked += sv->keeping;
	}
	return k->workspace->nodes.asked;
}

void share_nodes_answered(struct server *sv, bool kept)
{
	struct keeper *k = sv->k;
	bool waited = sv->keeping && !sv->keep_late;
	sv->keeping = false;
	if (!waited)
		return;
	sv->kept = kept;
	if (k->workspace->nodes.asked > 0 && --k->workspace->nodes.asked == 0)
		k->workspace->nodes.done(k);
}

void share_nodes_late(struct keeper *k)
{
	k->workspace->nodes.asked = 0;
	list_each(n, &k->workspace->mounts)
	{
		struct server *sv = container_of(n, struct mount, in_list)->server;
		if (!sv || !sv->keeping || sv->keep_late)
			continue;
		sv->keep_late = true;
		hull_log("%s: its server did not answer; what the guest knows of this path is not saved",
			 container_of(n, struct mount, in_list)->path);
	}
}

size_t share_nodes_collect(struct keeper *k, struct share_nodes **out)
{
	size_t n = 0;
	*out = calloc(k->workspace->mount_count + 1, sizeof(**out));
	list_each(it, &k->workspace->mounts)
	{
		const struct mount *m = container_of(it, struct mount, in_list);
		if (!*out || !m->server || !m->server->kept || m->server->nodes < 0)
			continue;
		struct share_nodes *one = &(*out)[n];
		*one = (struct share_nodes){.path = strdup(m->path), .fd = fcntl(m->server->nodes, F_DUPFD_CLOEXEC, 0)};
		if (one->path && one->fd >= 0) {
			n++;
			continue;
		}
		free(one->path);
		hull_closep(&one->fd);
	}
	return n;
}

void share_nodes_free(struct share_nodes *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* Memory of the host's until the next time. */
		fallocate(nodes[i].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SHARED_MAX);
		close(nodes[i].fd);
		free(nodes[i].path);
	}
	free(nodes);
}

int share_nodes_write(const struct share_nodes *nodes, size_t n, int to, struct hull_error *err)
{
	off_t at = 0;
	for (size_t i = 0; i < n; i++) {
		_cleanup_(hull_buf_free) struct hull_buf head = {0};
		uint32_t len;
		if (get_u32(nodes[i].fd, 0, &len) < 0 || len == 0 || len > BYTES_MAX)
			continue;
		if (hull_buf_le32(&head, (uint32_t)strlen(nodes[i].path)) < 0 ||
		    hull_buf_addstr(&head, nodes[i].path) < 0)
			return hull_fail(err, -ENOMEM, "out of memory");
		errno = 0;
		if (pwrite(to, hull_buf_bytes(&head), head.len, at) != (ssize_t)head.len ||
		    copy(nodes[i].fd, 0, to, at + (off_t)head.len, (size_t)len + 4) < 0)
			return hull_fail(err, errno ? -errno : -EIO, "cannot write what the guest knows of %s: %s",
					 nodes[i].path, strerror(errno ? errno : EIO));
		at += (off_t)(head.len + 4 + len);
	}
	return at > 0;
}

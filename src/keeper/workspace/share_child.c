/* SPDX-License-Identifier: Apache-2.0 */
/* Starting hull-share in its jail: what it serves is all that is in there; see share.c and docs/internals/workspace.md.
 *
 * It acts as the user who started the sandbox. Started by root it acts as the owner of what it serves; when that is
 * root as well, as root without a single capability, so that it can do with root's files what their modes allow an
 * owner. */
#include "keeper/keeper.h"
#include "keeper/workspace/share.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { SOCKET_BUFFER = 1024 * 1024, GUARDS_MAX = 64, THREADS_MAX = 64 };

/* What the guest can make a server remember (names, open directories) is the host's memory: two million files take a
 * quarter of this. Beyond it the guest gets ENOMEM. */
static const uint64_t MEMORY_MAX = 2ULL << 30;

int share_child_spawn(struct keeper *k, const struct share_spec *spec, int *fd, int *control, struct hull_jailed *child,
		      struct hull_error *err)
{
	char uid[16], gid[16], number[16], nodes[16], keep[24];
	char *argv[2 * GUARDS_MAX + 17];
	size_t n = 0;
	struct stat st;
	int ends[2], control_ends[2];
	_cleanup_free_ char *path = hull_beside("hull-share", X_OK, err);
	if (!path)
		return err->code;
	_cleanup_close_ int program = open(path, O_RDONLY | O_CLOEXEC);
	if (program < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	_cleanup_free_ char *dir = hull_fmt("%s/jail", k->runtime_dir);
	if (!dir)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "cannot make %s", dir);
	if (spec->guard_count > GUARDS_MAX)
		return hull_fail(err, -E2BIG, "%s: too many paths below it", spec->path);
	if (fstat(spec->fd, &st) < 0)
		return hull_fail_errno(err, "%s", spec->path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return hull_fail_errno(err, "cannot make a socket");
	_cleanup_close_ int ours = ends[0];
	_cleanup_close_ int theirs = ends[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control_ends) < 0)
		return hull_fail_errno(err, "cannot make a socket");
	_cleanup_close_ int our_control = control_ends[0];
	_cleanup_close_ int their_control = control_ends[1];
	int size = SOCKET_BUFFER;
	for (int i = 0; i < 2; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	int r = hull_set_nonblock(ours, true);
	if (r == 0)
		r = hull_set_nonblock(our_control, true);
	if (r < 0)
		return hull_fail(err, r, "cannot make a socket");
	struct rlimit files = {0, 1 << 20};
	getrlimit(RLIMIT_NOFILE, &files);

	snprintf(uid, sizeof(uid), "%d", HULL_GUEST_UID);
	snprintf(gid, sizeof(gid), "%d", HULL_GUEST_GID);
	argv[n++] = "hull-share";
	argv[n++] = "--root";
	argv[n++] = (char *)(uintptr_t)spec->path;
	argv[n++] = "--uid";
	argv[n++] = uid;
	argv[n++] = "--gid";
	argv[n++] = gid;
	snprintf(number, sizeof(number), "%d", their_control);
	argv[n++] = "--control";
	argv[n++] = number;
	int fds[2] = {their_control, spec->nodes};
	if (spec->nodes >= 0) {
		snprintf(nodes, sizeof(nodes), "%d", spec->nodes);
		argv[n++] = "--nodes";
		argv[n++] = nodes;
	}
	const char *keep_free = getenv("HULL_KEEP_FREE");
	if (keep_free && keep_free[0]) {
		uint64_t bytes = 0;
		if (strcmp(keep_free, "0") != 0 && hull_parse_size(keep_free, &bytes, err) < 0)
			return hull_fail(err, -EINVAL, "HULL_KEEP_FREE=%s is not a size; use one like 2G, or 0",
					 keep_free);
		snprintf(keep, sizeof(keep), "%" PRIu64, bytes);
		argv[n++] = "--keep-free";
		argv[n++] = keep;
	}
	char levels[HULL_DEBUG_TEXT];
	if (hull_debug_text(levels)[0]) {
		argv[n++] = "--log";
		argv[n++] = levels;
	}
	if (spec->readonly)
		argv[n++] = "--ro";
	for (size_t i = 0; i < spec->guard_count && i < GUARDS_MAX; i++) {
		argv[n++] = "--guard";
		argv[n++] = (char *)(uintptr_t)spec->guards[i];
	}
	argv[n] = NULL;
	struct hull_bind bind = {
		.source = spec->path, .target = spec->path, .writable = !spec->readonly, .fd = spec->fd};
	struct hull_jail jail = {
		.dir = dir,
		.binds = &bind,
		.bind_count = 1,
		.need_proc = true,
		.need_fanotify = true,
		.threads_only = true,
		.fds = fds,
		.fd_count = spec->nodes >= 0 ? 2 : 1,
		.stdin_fd = theirs,
		.stdout_fd = -1,
		.stderr_fd = k->logs.keeper.fd,
		.argv = argv,
		.program_fd = program,
		.rlimit_nofile = files.rlim_max == RLIM_INFINITY ? 1 << 20 : files.rlim_max,
		.rlimit_data = MEMORY_MAX,
		.rlimit_nproc = THREADS_MAX,
		.drop_uid = st.st_uid,
		.drop_gid = st.st_gid,
		.drop_to_root = true,
	};
	r = hull_jail_start(&jail, child, err);
	if (r < 0)
		return r;
	*fd = hull_steal_fd(&ours);
	*control = hull_steal_fd(&our_control);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The network policy's files: their paths and contents. */
#include "lib/network/policy.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/sandbox/life.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

char *policy_path(const struct hull *h, const char *sandbox, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = sandbox ? life_load(h, sandbox, &sb, err) : 0;
	if (r < 0)
		return NULL;
	char *path = sandbox ? hull_sandbox_path(&h->paths, sandbox, "policy.yaml")
			     : hull_fmt("%s/policy.yaml", h->paths.config);
	if (!path)
		hull_fail(err, -ENOMEM, "out of memory");
	return path;
}

int policy_text(const char *path, char **out, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	*out = NULL;
	int r = hull_policy_read(path, &b, err);
	if (r == -ENOENT)
		return 0;
	if (r == 0 && !(*out = strndup((char *)hull_buf_bytes(&b), b.len)))
		r = hull_fail(err, -ENOMEM, "out of memory");
	return r;
}

int policy_lock(const char *path, struct hull_error *err)
{
	_cleanup_free_ char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));
	int r = dir ? hull_mkdir_all(dir, 0700, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", dir);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return hull_fail_errno(err, "cannot lock %s", dir);
	return hull_steal_fd(&fd);
}

/* The sandbox has no policy file: was it lost, or was there none? Decided as the keeper does (gateway_policy.c). */
static int check_never_had(const struct hull *h, const char *sandbox, const char *path, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(h, sandbox, &sb, err);
	if (r < 0 || !sb.has_policy)
		return r < 0 ? r : 0;
	return hull_fail(err, -ENOENT,
			 "%s is gone: everything is denied when %s starts; `hull policy reset --sandbox %s` makes it "
			 "again",
			 path, sandbox, sandbox);
}

int policy_build(const struct hull *h, const char *sandbox, struct hull_policy *out, const char **preset,
		 struct hull_error *err)
{
	_cleanup_free_ char *global = NULL;
	_cleanup_free_ char *own = NULL;
	_cleanup_free_ char *global_path = policy_path(h, NULL, err);
	_cleanup_free_ char *own_path = global_path && sandbox ? policy_path(h, sandbox, err) : NULL;
	if (!global_path || (sandbox && !own_path))
		return err->code;
	int r = policy_text(global_path, &global, err);
	if (r == 0 && own_path)
		r = policy_text(own_path, &own, err);
	if (r == 0 && own_path && !own)
		r = check_never_had(h, sandbox, own_path, err);
	if (r == 0)
		r = hull_policy_build(global, own, out, preset, err);
	return r;
}

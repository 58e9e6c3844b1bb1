/* SPDX-License-Identifier: Apache-2.0 */
/* The far end: runs git's service in the sandbox, like `hull exec -i NAME git upload-pack DIR`. */
#include "remote/serve.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "store/store.h"

#include <string.h>
#include <unistd.h>

int remote_parse(struct hull *h, const char *url, char **name, char **dir, struct hull_error *err)
{
	struct hull_info *info = NULL;
	const char *slash = strchr(url, '/');
	*name = slash ? strndup(url, (size_t)(slash - url)) : strdup(url);
	*dir = slash && slash[1] ? strdup(slash) : NULL;
	if (!*name || (slash && slash[1] && !*dir))
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_inspect(h, *name, &info, err);
	if (r < 0 || *dir) {
		hull_info_free(info);
		return r;
	}
	const char *path = info->clone ? info->clone : info->paths[0];
	if (path && !(*dir = info->clone ? strdup(path) : hull_entry_path(path)))
		r = hull_fail(err, -ENOMEM, "out of memory");
	else if (!path)
		r = hull_fail(err, -ENOENT, "%s was not made with --clone: name the repository in it, as hull::%s/PATH",
			      *name, *name);
	hull_info_free(info);
	return r;
}

int remote_serve(struct hull *h, const char *service, const char *name, const char *dir, struct hull_error *err)
{
	/* Allow every advertised id, even if its branch has moved since. */
	const char *const upload[] = {"git", "-c", "uploadpack.allowAnySHA1InWant=true", "upload-pack", dir, NULL};
	const char *const receive[] = {"git", "receive-pack", dir, NULL};
	const char *const *argv = hull_streq(service, "upload-pack")    ? upload
				  : hull_streq(service, "receive-pack") ? receive
									: NULL;
	if (!argv || dir[0] != '/')
		return hull_fail(err, -EINVAL, "usage: git-remote-hull --serve upload-pack|receive-pack NAME DIR");
	const int fds[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
	const struct hull_exec_spec spec = {.size = sizeof(spec), .argv = argv, .cwd = "/", .fds = fds};
	int r = hull_exec(h, name, &spec, err);
	return r > 0 && err->code < 0 ? err->code : r;
}

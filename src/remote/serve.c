/* The far end: git's service in the sandbox, as `hull exec -i NAME git upload-pack DIR` would run it. */
#include "remote/serve.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/command/session.h"

#include <string.h>
#include <unistd.h>

enum { CONNECT_MS = 10000 };

int remote_parse(struct cli *cli, const char *url, char **name, char **dir, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	const char *slash = strchr(url, '/');
	*name = slash ? strndup(url, (size_t)(slash - url)) : strdup(url);
	*dir = slash && slash[1] ? strdup(slash) : NULL;
	if (!*name || (slash && slash[1] && !*dir))
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_name_check(*name, err);
	if (r >= 0)
		r = cli_paths(cli, err);
	if (r >= 0)
		r = hull_sandbox_load(&cli->paths, *name, &sb, err);
	if (r < 0 || *dir)
		return r;
	if (!sb.clone && (!sb.paths || !sb.paths[0]))
		return hull_fail(err, -ENOENT,
				 "%s was not made with --clone: name the repository in it, as hull::%s/PATH", *name,
				 *name);
	*dir = sb.clone ? strdup(sb.clone) : hull_entry_path(sb.paths[0]);
	return *dir ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int remote_serve(struct cli *cli, const char *service, const char *name, const char *dir, struct hull_error *err)
{
	/* Whatever was listed can be had, also when a branch has been moved since. */
	char *upload[] = {(char *)"git",         (char *)"-c",           (char *)"uploadpack.allowAnySHA1InWant=true",
			  (char *)"upload-pack", (char *)(uintptr_t)dir, NULL};
	char *receive[] = {(char *)"git", (char *)"receive-pack", (char *)(uintptr_t)dir, NULL};
	char **argv = hull_streq(service, "upload-pack")    ? upload
		      : hull_streq(service, "receive-pack") ? receive
							    : NULL;
	if (!argv || dir[0] != '/')
		return hull_fail(err, -EINVAL, "usage: git-remote-hull --serve upload-pack|receive-pack NAME DIR");
	int r = cli_paths(cli, err);
	if (r >= 0)
		r = hull_name_check(name, err);
	int fd = r < 0 ? r : client_connect(&cli->paths, name, CONNECT_MS, err);
	if (fd < 0)
		return fd;
	struct session_spec spec = {.name = name,
				    .argv = argv,
				    .cwd = "/",
				    .input = true,
				    .in_fd = STDIN_FILENO,
				    .out_fd = STDOUT_FILENO,
				    .err_fd = STDERR_FILENO};
	return session_run(fd, &spec, NULL, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Starts hull-egress in its jail: the host's network, the resolver's files and the libraries, read-only, and nothing
 * else. Paths are the same inside and outside, so that it also starts where namespaces are not available. The exception
 * are the files that gateway_files.c follows: where there are namespaces, the jail has copies of them. */
#include "keeper/network/gateway_child.h"
#include "keeper/network/gateway.h"
#include "keeper/network/gateway_files.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/text.h"
#include "engine/engine.h"
#include "jail/jail.h"

#include <string.h>
#include <sys/stat.h>

int gateway_child_start(struct keeper *k, int fd, pid_t *pid, int *pidfd, struct hull_error *err)
{
	_cleanup_free_ char *program = hull_beside("hull-egress", X_OK, err);
	if (!program)
		return err->code;
	_cleanup_free_ char *dir = hull_fmt("%s/egress", k->runtime_dir);
	if (!dir || (mkdir(dir, 0700) < 0 && errno != EEXIST))
		return hull_fail_errno(err, "cannot make %s", dir ? dir : "a directory");
	_cleanup_free_ char *resolver = hull_fmt("%s/%s", k->runtime_dir, host_file_names[0]);
	_cleanup_free_ char *hosts = hull_fmt("%s/%s", k->runtime_dir, host_file_names[1]);
	if (!resolver || !hosts)
		return hull_fail(err, -ENOMEM, "out of memory");
	struct hull_bind binds[] = {
		{.source = resolver, .target = host_file_paths[0], .optional = true},
		{.source = hosts, .target = host_file_paths[1], .optional = true},
		{.source = program, .target = program},
		{.source = "/usr/lib", .target = "/usr/lib"},
		{.source = "/usr/lib64", .target = "/usr/lib64", .optional = true},
		{.source = "/lib", .target = "/lib", .optional = true},
		{.source = "/lib64", .target = "/lib64", .optional = true},
		{.source = "/etc/ld.so.cache", .target = "/etc/ld.so.cache", .optional = true},
		{.source = "/etc/nsswitch.conf", .target = "/etc/nsswitch.conf", .optional = true},
		{.source = "/etc/host.conf", .target = "/etc/host.conf", .optional = true},
		{.source = "/etc/gai.conf", .target = "/etc/gai.conf", .optional = true},
	};
	char number[16];
	snprintf(number, sizeof(number), "%d", fd);
	char *argv[] = {program, number, NULL};
	/* Without a search list: a name is the name that the policy was asked about, and no other below a domain of
	 * this host's. (A final dot would do that, too, but not find what /etc/hosts has.) */
	char log[HULL_DEBUG_TEXT + 16] = "HULL_LOG=";
	hull_debug_text(log + strlen(log));
	char *envp[] = {"LANG=C.UTF-8", "UV_THREADPOOL_SIZE=16", "LOCALDOMAIN=", log, NULL};
	uid_t drop = hull_sandbox_uid(&k->paths, k->sb.name);
	struct hull_jail jail = {
		.dir = dir,
		.binds = binds,
		.bind_count = sizeof(binds) / sizeof(*binds),
		.need_net = true,
		.threads_only = true,
		.fds = &fd,
		.fd_count = 1,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = k->logs.keeper.fd,
		.argv = argv,
		.envp = envp,
		.rlimit_as = 2ull << 30,
		.rlimit_nofile = 8192,
		.rlimit_nproc = HULL_ENGINE_THREADS_MAX, /* started by root, it has its id in common with the engine */
		.own_id = true,
		.drop_uid = drop,
		.drop_gid = drop,
	};
	struct hull_jailed child;
	int r = hull_jail_start(&jail, &child, err);
	k->network->host_files_fixed = r == -EXDEV;
	if (r == -EXDEV) { /* no namespaces: paths are the host's */
		binds[0].source = host_file_paths[0];
		binds[1].source = host_file_paths[1];
		r = hull_jail_start(&jail, &child, err);
	}
	if (r < 0)
		return hull_wrap(err, "cannot start the gateway");
	*pid = child.pid;
	*pidfd = child.pidfd;
	return 0;
}

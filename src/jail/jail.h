/* SPDX-License-Identifier: Apache-2.0 */
/* The jail: start a child process that can do its one job and nothing else. The contract.
 *
 * What the child gets: user, mount, pid, net, ipc, uts and cgroup namespaces of its own; a root directory (a fresh
 * tmpfs, read-only at the end) that holds only the binds asked for; no capabilities, none to be had (bounding set
 * empty, no_new_privs, securebits locked); rlimits; the base seccomp filter, and the child's own when one is given;
 * only the descriptors listed; an own session; death when its parent dies (PR_SET_PDEATHSIG, checked against the race).
 * Started by real root, it runs as drop_uid/drop_gid with no supplementary groups before it execs.
 *
 * Where unprivileged user namespaces are forbidden (Ubuntu 24.04's AppArmor, hardened sysctls) the namespaces and
 * the root are skipped, Landlock restricts the file system to the binds, and the rest stays; hull_jail_probe() says
 * which, for `hull doctor`. Paths are then the host's: a bind whose target is not its source makes the start fail, so
 * a child that must run there too uses the same path inside and outside, or a descriptor.
 *
 * Start children from a thread that lives as long as the process: they die with the thread that started them. */
#ifndef HULL_JAIL_JAIL_H
#define HULL_JAIL_JAIL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hull_bind {
	const char *source; /* host path; a missing one is skipped when optional */
	const char *target; /* absolute path inside */
	bool writable;
	bool optional;
	/* What the source has to be, open (O_PATH will do; borrowed). It is then reached without following a symlink
	 * anywhere, and the start fails when something else is at its path: for a source that others may rename. 0 =
	 * whatever is there. */
	int fd;
};

struct hull_jail {
	const char *dir; /* empty directory to mount the root on; private to the child's namespace */
	const struct hull_bind *binds;
	size_t bind_count;
	bool need_kvm;      /* give it /dev/kvm */
	bool need_proc;     /* give it a /proc of its own pid namespace, where the host allows that */
	bool need_fanotify; /* may watch its files for changes */
	/* Keep the host's network namespace, and sockets of its families (the egress child only). Without it no socket
	 * can be made: some families, AF_VSOCK for one, are in no namespace. */
	bool need_net;
	bool threads_only; /* it makes threads and never a process */
	bool keep_umask;   /* the caller's, instead of 077 */
	const int *fds;    /* descriptors to keep, besides 0 1 2; they keep their numbers */
	size_t fd_count;
	int stdin_fd, stdout_fd, stderr_fd; /* -1 = /dev/null */
	char *const *argv;                  /* argv[0] = absolute path inside the jail; NULL = call entry instead */
	/* The program itself, open for reading: executed by this descriptor, so that it need not be visible in the
	 * jail (a static program then sees nothing but the binds). argv[0] is only its name. 0 = go by argv[0]. */
	int program_fd;
	char *const *envp;
	int (*entry)(void *arg); /* runs in the jailed child when argv is NULL; its result is the exit code */
	void *arg;
	uint64_t rlimit_as;   /* bytes, 0 = no limit */
	uint64_t rlimit_data; /* bytes of writable private memory, 0 = no limit; what is only reserved does not count */
	uint64_t rlimit_nofile; /* 0 = 1024 */
	uint64_t rlimit_fsize;  /* bytes, 0 = no limit */
	/* Threads and processes, 0 = no limit. The kernel counts them by user namespace and user id, so it holds where
	 * the child has a user namespace of its own (and Linux 5.14), or own_id: drop_uid is nobody else's. Elsewhere
	 * the user's other processes would count, and there is no limit. */
	uint64_t rlimit_nproc;
	bool own_id;
	uid_t drop_uid; /* used when geteuid() == 0 */
	gid_t drop_gid;
	/* drop_uid or drop_gid may be 0: no capability is left all the same, but what belongs to root is its own. For a
	 * child that serves files of root's. */
	bool drop_to_root;
	/* Install a seccomp filter, last thing before exec/entry; NULL = none (QEMU brings its own). */
	int (*seccomp)(void *arg, struct hull_error *err);
};

struct hull_jailed {
	pid_t pid;
	int pidfd; /* readable when it has exited; owned by the caller */
};

/* Start it. Returns after the child has set itself up and is about to exec (or has exec'd): a failure on the way is
 * reported here with its reason, not as an exit code to guess from. */
int hull_jail_start(const struct hull_jail *jail, struct hull_jailed *out, struct hull_error *err);

struct hull_jail_ability {
	bool user_namespaces;
	bool landlock;
	bool seccomp;
	char missing[256]; /* one line: what is missing and how to get it; empty when all is there */
};
void hull_jail_probe(struct hull_jail_ability *out);

#endif

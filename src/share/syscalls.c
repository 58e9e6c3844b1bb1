/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that serving a mount takes: hull-share keeps these and gives up all others before it reads a byte
 * from the guest. What a new call in this folder needs is added here.
 *
 * The filter: what is not listed fails with ENOSYS (not a signal: a libc that tries a newer call first goes on with the
 * older one). Opening, changing and renaming work on whatever path the process can name, and the jail's root is what
 * limits that; no call here makes a socket, a process, a mapping that is executable, or reaches another process.
 */
#include "share/syscalls.h"

#include "jail/filter.h"

#include <seccomp.h>

static const int allowed[] = {
	/* the stream, waiting */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(shutdown),
	/* names */
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(newfstatat),
	SCMP_SYS(fstat),
	SCMP_SYS(statx),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknodat),
	SCMP_SYS(unlinkat),
	SCMP_SYS(renameat), /* libc: renameat2 without flags */
	SCMP_SYS(renameat2),
	SCMP_SYS(linkat),
	SCMP_SYS(symlinkat),
	SCMP_SYS(readlinkat),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(getdents64),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(fanotify_init),
	SCMP_SYS(fanotify_mark),
	SCMP_SYS(eventfd2),
	/* content and attributes */
	SCMP_SYS(lseek),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(pwritev2),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(syncfs),
	SCMP_SYS(flock),
	SCMP_SYS(fcntl),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
#ifdef __NR_fchmodat2
	SCMP_SYS(fchmodat2),
#endif
	SCMP_SYS(utimensat),
	SCMP_SYS(fgetxattr),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(flistxattr),
	SCMP_SYS(fremovexattr),
	SCMP_SYS(getxattr), /* of O_PATH descriptors, by /proc/self/fd */
	SCMP_SYS(lgetxattr),
	SCMP_SYS(setxattr),
	SCMP_SYS(removexattr),
	SCMP_SYS(fstatfs),
	SCMP_SYS(umask),
	/* itself */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(getrlimit),
	SCMP_SYS(setrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getegid),
	SCMP_SYS(getuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getgroups),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(tgkill),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

int hull_share_confine(struct hull_error *err)
{
	const struct hull_filter filter = {
		.allowed = allowed,
		.allowed_count = sizeof(allowed) / sizeof(allowed[0]),
		.threads = true,
		.otherwise = ENOSYS,
	};
	return hull_filter_install(&filter, err);
}

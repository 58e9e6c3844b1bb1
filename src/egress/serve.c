/* egress_main: the loop and what it begins with; and the system calls it may make. */
#include "egress/internal.h"

#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>

static void free_conns(struct egress *g)
{
	/* Closes every stream; each takes its connection with it. */
	hull_wire_free(g->wire);
	g->wire = NULL;
}

int egress_main(int fd, const struct egress_hooks *hooks)
{
	struct egress *g = calloc(1, sizeof(*g));
	if (!g)
		return 1;
	g->hooks = hooks;
	struct node *heads[] = {&g->conns, &g->flows, &g->questions, &g->ports};
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
		list_init(heads[i]);
	int code = 1;
	if (uv_loop_init(&g->loop) == 0 && names_open(g) == 0 && link_open(g, fd) == 0) {
		uv_run(&g->loop, UV_RUN_DEFAULT);
		code = g->exit_code;
	}
	if (g->wire)
		free_conns(g);
	/* The process ends here: what is left goes with it. */
	return code;
}

int egress_confine(void)
{
	static const int allowed[] = {
		/* memory, threads, time */
		SCMP_SYS(brk),
		SCMP_SYS(mmap),
		SCMP_SYS(munmap),
		SCMP_SYS(mremap),
		SCMP_SYS(mprotect),
		SCMP_SYS(madvise),
		SCMP_SYS(clone),
		SCMP_SYS(clone3),
		SCMP_SYS(exit),
		SCMP_SYS(exit_group),
		SCMP_SYS(futex),
		SCMP_SYS(set_robust_list),
		SCMP_SYS(rseq),
		SCMP_SYS(sched_yield),
		SCMP_SYS(sched_getaffinity),
		SCMP_SYS(gettid),
		SCMP_SYS(getpid),
		SCMP_SYS(tgkill),
		SCMP_SYS(prlimit64),
		SCMP_SYS(getrandom),
		SCMP_SYS(clock_gettime),
		SCMP_SYS(clock_getres),
		SCMP_SYS(gettimeofday),
		SCMP_SYS(time),
		SCMP_SYS(nanosleep),
		SCMP_SYS(clock_nanosleep),
		SCMP_SYS(rt_sigaction),
		SCMP_SYS(rt_sigprocmask),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(sigaltstack),
		SCMP_SYS(restart_syscall),
		SCMP_SYS(getuid),
		SCMP_SYS(geteuid),
		SCMP_SYS(getgid),
		SCMP_SYS(getegid),
		SCMP_SYS(uname),
		SCMP_SYS(sysinfo),
		/* files: what the resolver reads, and its libraries */
		SCMP_SYS(openat),
		SCMP_SYS(open),
		SCMP_SYS(read),
		SCMP_SYS(pread64),
		SCMP_SYS(readv),
		SCMP_SYS(write),
		SCMP_SYS(writev),
		SCMP_SYS(close),
		SCMP_SYS(close_range),
		SCMP_SYS(fstat),
		SCMP_SYS(stat),
		SCMP_SYS(lstat),
		SCMP_SYS(newfstatat),
		SCMP_SYS(statx),
		SCMP_SYS(lseek),
		SCMP_SYS(access),
		SCMP_SYS(faccessat),
		SCMP_SYS(faccessat2),
		SCMP_SYS(readlink),
		SCMP_SYS(readlinkat),
		SCMP_SYS(getdents64),
		SCMP_SYS(fcntl),
		SCMP_SYS(ioctl),
		SCMP_SYS(dup),
		SCMP_SYS(dup3),
		SCMP_SYS(pipe2),
		/* waiting */
		SCMP_SYS(epoll_create1),
		SCMP_SYS(epoll_ctl),
		SCMP_SYS(epoll_wait),
		SCMP_SYS(epoll_pwait),
		SCMP_SYS(eventfd2),
		SCMP_SYS(poll),
		SCMP_SYS(ppoll),
		SCMP_SYS(select),
		SCMP_SYS(pselect6),
		/* sockets; which kinds is said below */
		SCMP_SYS(connect),
		SCMP_SYS(bind),
		SCMP_SYS(listen),
		SCMP_SYS(accept4),
		SCMP_SYS(getsockname),
		SCMP_SYS(getpeername),
		SCMP_SYS(getsockopt),
		SCMP_SYS(setsockopt),
		SCMP_SYS(sendto),
		SCMP_SYS(sendmsg),
		SCMP_SYS(sendmmsg),
		SCMP_SYS(recvfrom),
		SCMP_SYS(recvmsg),
		SCMP_SYS(recvmmsg),
		SCMP_SYS(shutdown),
	};
	static const int families[] = {AF_INET, AF_INET6, AF_NETLINK};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!f)
		return -ENOMEM;
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(allowed) / sizeof(*allowed); i++) {
		/* libc falls back from clone3, whose arguments a filter cannot see, to clone. */
		if (allowed[i] == SCMP_SYS(clone3))
			r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), allowed[i], 0);
		else
			r = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	}
	for (size_t i = 0; r == 0 && i < sizeof(families) / sizeof(*families); i++) {
		struct scmp_arg_cmp is = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)families[i]};
		r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &is);
	}
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}

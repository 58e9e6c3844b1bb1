/* SPDX-License-Identifier: Apache-2.0 */
/* The base filter: system calls that no jailed child of ours has any business with are refused with an error. It
 * stands under the child's own filter, which says what *is* allowed; this one is there for the children that bring
 * their own idea of a filter (QEMU), and so that no child can make a user namespace to get capabilities back.
 *
 * No socket is made, but by the child with the network, and by that one of four families: everything else gets its
 * sockets from the keeper, and a network namespace is not enough (AF_VSOCK, which reaches the hypervisor where the host
 * is a virtual machine itself, belongs to none). A child that says so makes threads and no processes. Without
 * namespaces signals to other processes are refused, too. */
#include "jail/jail_internal.h"

#include "jail/filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <unistd.h>

static const int refused[] = {
	/* new namespaces and mounts */
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(open_tree),
	SCMP_SYS(move_mount),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(open_by_handle_at),
	/* other processes */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(kcmp),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(process_madvise),
	/* large kernel surfaces nobody needs here */
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(personality),
	/* the machine */
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(syslog),
	SCMP_SYS(quotactl),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(ioperm),
	SCMP_SYS(iopl),
	SCMP_SYS(vhangup),
};

static const uint64_t namespace_flags[] = {
	CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP,
};

/* Refuse a call by its first argument. */
static int refuse_if(scmp_filter_ctx ctx, int call, enum scmp_compare op, uint64_t a, uint64_t b)
{
	const struct scmp_arg_cmp cmp = {.arg = 0, .op = op, .datum_a = a, .datum_b = b};
	return seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), call, 1, &cmp);
}

/* Families are small numbers, and the kernel looks at 32 bits of the argument only: what is larger than the largest of
 * ours in the whole register is refused with them. */
static int socket_rules(scmp_filter_ctx ctx, const struct hull_jail *jail)
{
	if (!jail->need_net)
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 0);
	int r = refuse_if(ctx, SCMP_SYS(socket), SCMP_CMP_GT, AF_NETLINK, 0);
	for (uint64_t family = 0; r == 0 && family < AF_NETLINK; family++)
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
			r = refuse_if(ctx, SCMP_SYS(socket), SCMP_CMP_EQ, family, 0);
	return r;
}

static int process_rules(scmp_filter_ctx ctx)
{
	int r = refuse_if(ctx, SCMP_SYS(clone), SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fork), 0);
	return r == 0 ? seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(vfork), 0) : r;
}

struct base {
	const struct hull_jail *jail;
	bool namespaces;
};

static int add_rules(void *ctx, const void *arg)
{
	const struct base *base = arg;
	const struct hull_jail *jail = base->jail;
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(namespace_flags) / sizeof(namespace_flags[0]); i++)
		r = refuse_if(ctx, SCMP_SYS(clone), SCMP_CMP_MASKED_EQ, namespace_flags[i], namespace_flags[i]);
	/* Its flags are behind a pointer, out of a filter's sight; libc falls back to clone. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0 && !jail->need_fanotify)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fanotify_init), 0);
	if (r == 0)
		r = socket_rules(ctx, jail);
	if (r == 0 && jail->threads_only)
		r = process_rules(ctx);
	if (r < 0 || base->namespaces)
		return r;
	uint64_t self = (uint64_t)getpid();
	const int signals[] = {SCMP_SYS(kill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo),
			       SCMP_SYS(rt_tgsigqueueinfo)};
	for (size_t i = 0; r == 0 && i < sizeof(signals) / sizeof(signals[0]); i++)
		r = refuse_if(ctx, signals[i], SCMP_CMP_NE, self, 0);
	const int blunt[] = {SCMP_SYS(tkill), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal)};
	for (size_t i = 0; r == 0 && i < sizeof(blunt) / sizeof(blunt[0]); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), blunt[i], 0);
	return r;
}

int hull_jail_base_filter(const struct hull_jail *jail, bool namespaces, struct hull_error *err)
{
	const struct base base = {.jail = jail, .namespaces = namespaces};
	const struct hull_filter filter = {
		.refused = refused,
		.refused_count = sizeof(refused) / sizeof(refused[0]),
		.more = add_rules,
		.ctx = &base,
	};
	int r = hull_filter_install(&filter, err);
	return r < 0 ? hull_wrap(err, "jail") : 0;
}

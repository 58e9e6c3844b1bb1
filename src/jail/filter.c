/* SPDX-License-Identifier: Apache-2.0 */
/* See filter.h. Arguments are compared as the 64 bits of their register, and an allow-list lets through what is equal:
 * bits that the kernel would not look at make a call another one, and that is refused.
 *
 * clone3() has its flags behind a pointer, where a filter cannot look. It is answered with ENOSYS, and libc takes
 * clone() instead. */
#include "jail/filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* What a thread shares and a process does not. */
#define THREAD_FLAGS ((scmp_datum_t)(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD))

static int allow_masked(scmp_filter_ctx ctx, int call, unsigned arg, scmp_datum_t mask, scmp_datum_t value)
{
	const struct scmp_arg_cmp cmp = {.arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &cmp);
}

static int add_rules(scmp_filter_ctx ctx, const struct hull_filter *f)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < f->refused_count; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), f->refused[i], 0);
	if (r == 0 && f->more)
		r = f->more(ctx, f->ctx);
	if (f->otherwise == 0)
		return r;
	for (size_t i = 0; r == 0 && i < f->allowed_count; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, f->allowed[i], 0);
	for (size_t i = 0; r == 0 && i < f->family_count; i++) {
		const struct scmp_arg_cmp is = {.op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)f->families[i]};
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &is);
	}
	if (r == 0 && f->threads)
		r = allow_masked(ctx, SCMP_SYS(clone), 0, THREAD_FLAGS, THREAD_FLAGS);
	if (r == 0 && f->otherwise != ENOSYS)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* Memory that can be written cannot be executed, now or later. */
	const int mapping[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	for (size_t i = 0; r == 0 && i < 2; i++)
		r = f->map_code ? seccomp_rule_add(ctx, SCMP_ACT_ALLOW, mapping[i], 0)
				: allow_masked(ctx, mapping[i], 2, PROT_EXEC, 0);
	return r;
}

int hull_filter_install(const struct hull_filter *filter, struct hull_error *err)
{
	scmp_filter_ctx ctx = seccomp_init(filter->otherwise ? SCMP_ACT_ERRNO((uint32_t)filter->otherwise)
							     : SCMP_ACT_ALLOW);
	if (!ctx)
		return hull_fail(err, -ENOMEM, "out of memory");
	/* Calls of a foreign architecture (32-bit x86) would slip past the numbers: they end the process. */
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = add_rules(ctx, filter);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? hull_fail(err, r, "cannot install the system call filter: %s", strerror(-r)) : 0;
}

/* A rehearsal of the first command, where the processor is emulated.
 *
 * Such a processor translates code when it first comes to it, and a machine that has just been restored has nothing
 * translated yet: its first command would wait for the whole way through exec, the dynamic linker and exit. So a
 * process waits in every such machine for that moment. When the host says HELLO anew it goes that way, to a program
 * that does nothing, on another processor than ours, while we and the host still settle what the machine is. What has
 * been translated serves all processors.
 *
 *     boot: fork -> the stage: fork -> waits for the bell -> exec, exit        HELLO: ring
 *                         ^------------- once more <-------------'
 *
 * On hardware, or with one processor, there is nothing to gain and no such process. The two hold no descriptor but the
 * bell, and nobody waits for them; without them the first command takes longer, that is all. */
#include "guest/session/session.h"

#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/session/exec.h"

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static int bell = -1;

static void wait_for_bell(void)
{
	uint64_t rung;
	cpu_set_t others; /* the first one is ours (port.c) */
	memset(&others, 0xff, sizeof(others));
	CPU_CLR(0, &others);
	sched_setaffinity(0, sizeof(others), &others);
	if (read(bell, &rung, sizeof(rung)) != (ssize_t)sizeof(rung))
		_exit(1);
}

static _Noreturn void stage(void)
{
	struct hull_error err;
	prctl(PR_SET_NAME, "hull-rehearse");
	hull_child_keep(-1, bell);
	while (hull_exec_warmup(wait_for_bell, &err) == 0)
		;
	_exit(0);
}

void hull_warmup_start(void)
{
	if (get_nprocs() < 2)
		return;
	bell = eventfd(0, EFD_CLOEXEC);
	pid_t pid = bell < 0 ? -1 : fork();
	if (pid == 0)
		stage();
	if (pid < 0)
		hull_say("the first command of a copy cannot be rehearsed: %s", strerror(errno));
}

void hull_warmup(void)
{
	static const uint64_t once = 1;
	ssize_t n = bell < 0 ? 0 : write(bell, &once, sizeof(once));
	(void)n;
}

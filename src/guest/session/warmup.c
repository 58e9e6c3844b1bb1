/* SPDX-License-Identifier: Apache-2.0 */
/* The warm-up: a first command that does nothing, run in each restored machine whose processor is emulated.
 *
 * An emulator translates code when it is first executed, and in a machine that has just been restored nothing is
 * translated. Without the warm-up, the first command waits for the translation of exec, the dynamic linker and exit.
 *
 *     boot:             hull-init forks the stage; the stage forks a child, which waits on the eventfd `bell`
 *     HELLO once more:  hull-init rings the bell; the child executes `true` and exits; the stage forks the next one
 *
 * The child runs on another processor than hull-init, while hull-init and the host settle the machine's identity. Code
 * that was translated serves all processors.
 *
 * There is no such process on hardware or with one processor. The two processes hold no descriptor but the bell, and
 * nobody waits for them: if they are killed, the first command takes longer. */
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

static _Noreturn void warmup_stage(void)
{
	struct hull_error err;
	prctl(PR_SET_NAME, "hull-warmup");
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
		warmup_stage();
	if (pid < 0)
		hull_say("the first command of a copy is not warmed up: %s", strerror(errno));
}

void hull_warmup(void)
{
	static const uint64_t once = 1;
	ssize_t n = bell < 0 ? 0 : write(bell, &once, sizeof(once));
	(void)n;
}

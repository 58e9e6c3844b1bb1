/* SPDX-License-Identifier: Apache-2.0 */
/* See machine.h. */
#include "engine/machine.h"

/* What the kernel is told, besides what the engine adds. The words from cryptomgr on leave out what a machine without
 * devices to discover does not need: together they take 10 to 20 percent off the time to boot, emulated. Expedited
 * grace periods also make containers start and stop sooner; without watchdogs and pressure stall information (averaged
 * for each cgroup every two seconds) an idle guest wakes less, and a switch of processes costs less. Of the security
 * modules those stay that programs use by themselves: nothing in the image sets up the others, whose hooks are called
 * all the same. */
#define CMDLINE                                                                                    \
	"quiet loglevel=4 audit=0 random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1 " \
	"pci=lastbus=0 nowatchdog no_timer_check psi=0 lsm=landlock,yama,bpf"

enum { MEMORY_STEP = 2 << 20 };

void hull_machine_config(const struct hull_machine *m, struct hull_engine_config *out)
{
	out->cpus = m->cpus;
	out->memory = m->memory & ~((uint64_t)MEMORY_STEP - 1);
	out->cmdline = m->no_docker ? CMDLINE " hull.docker=0" : CMDLINE;
	out->disks[0] = (struct hull_disk){.fd = m->base_fd, .readonly = true, .serial = "base"};
	out->disks[1] = (struct hull_disk){.fd = m->disk_fd, .serial = "disk"};
	out->disk_count = 2;
}

char *hull_machine_describe(const struct hull_machine *m, bool kvm)
{
	struct hull_engine_config config = {.name = ""};
	hull_machine_config(m, &config);
	return hull_engine_arguments(&config, kvm);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See machine.h. */
#include "engine/machine.h"

/* The kernel command line, except for the engine's additions. The words from cryptomgr on disable features that a
 * machine without discoverable devices does not need: together they reduce the emulated boot time by 10 to 20 percent.
 * Expedited grace periods also make containers start and stop faster. Without watchdogs and pressure stall information
 * (averaged for each cgroup every two seconds) an idle guest wakes less often and context switches are cheaper. Of the
 * security modules only those stay that programs use by themselves: nothing in the image configures the others, whose
 * hooks would be called nevertheless. */
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

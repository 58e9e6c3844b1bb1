/* SPDX-License-Identifier: Apache-2.0 */
/* The machine Hull's guest runs in: what its kernel is told and which disks it has. Said once, for the keeper, which
 * starts it, and for the key of the templates that are made of it. */
#ifndef HULL_ENGINE_MACHINE_H
#define HULL_ENGINE_MACHINE_H

#include "engine/engine.h"

struct hull_machine {
	unsigned cpus;
	uint64_t memory; /* as asked for; a machine has a multiple of 2 MiB */
	bool no_docker;
	int base_fd; /* the image's base.erofs, and the sandbox's disk */
	int disk_fd;
};

/* Fill what follows from the machine: cpus, memory, cmdline, disks. The rest of *out stays. */
void hull_machine_config(const struct hull_machine *m, struct hull_engine_config *out);
/* Everything that the engine would boot this machine with, as text owned by the caller: two machines of which it is the
 * same differ in nothing but names, paths and the content of their files. The descriptors are not looked at. NULL when
 * out of memory. */
char *hull_machine_describe(const struct hull_machine *m, bool kvm);

#endif

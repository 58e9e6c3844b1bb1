/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's machine: its kernel command line and its disks. Defined once, for the keeper, which starts it, and for
 * the keys of its templates. */
#ifndef HULL_ENGINE_MACHINE_H
#define HULL_ENGINE_MACHINE_H

#include "engine/engine.h"

struct hull_machine {
	unsigned cpus;
	uint64_t memory; /* requested bytes; rounded to a multiple of 2 MiB */
	bool no_docker;
	int base_fd; /* the image's base.erofs, and the sandbox's disk */
	int disk_fd;
};

/* Fill the members that depend on the machine: cpus, memory, cmdline, disks. The other members of *out are unchanged.
 */
void hull_machine_config(const struct hull_machine *m, struct hull_engine_config *out);
/* Everything that determines the machine the engine would boot, as text owned by the caller. Two machines with the same
 * text differ only in names, paths and the content of their files. Descriptors are not examined. NULL when out of
 * memory. */
char *hull_machine_describe(const struct hull_machine *m, bool kvm);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/jail share: the steps a jailed child takes on its way in, in the order of jail.c. Each one
 * returns 0 or -errno with err filled; none of them knows about the steps around it. */
#ifndef HULL_JAIL_INTERNAL_H
#define HULL_JAIL_INTERNAL_H

#include "jail/jail.h"

/* How the child is confined. AUTO is what callers get: namespaces, and Landlock where the host forbids them. The
 * other two exist for the probe and for tests. */
enum hull_jail_mode { HULL_JAIL_AUTO, HULL_JAIL_NAMESPACES, HULL_JAIL_LANDLOCK };

int hull_jail_start_mode(const struct hull_jail *jail, enum hull_jail_mode mode, struct hull_jailed *out,
			 struct hull_error *err);

/* jail_root.c: a source as its bind wants it, O_PATH, in the mount namespace of the caller; -errno. */
int hull_jail_open_source(const struct hull_bind *b, struct hull_error *err);

/* jail_root.c: replace this mount namespace's root by one that holds the binds, devices and nothing else. `root` is
 * whether we are real root, and so can make device nodes of our own. */
int hull_jail_make_root(const struct hull_jail *jail, bool root, struct hull_error *err);

/* jail_privs.c: descriptors, limits, identity and capabilities. */
int hull_jail_set_fds(const struct hull_jail *jail, int report_fd, int parent_pidfd, struct hull_error *err);
int hull_jail_set_limits(const struct hull_jail *jail, bool root, bool namespaces, struct hull_error *err);
int hull_jail_drop(const struct hull_jail *jail, bool root, bool namespaces, struct hull_error *err);

/* jail_landlock.c: the highest Landlock version the kernel has, 0 = none. */
int hull_jail_landlock_version(void);
/* The rules as a descriptor (made while paths can still be opened), and their enforcement (needs no_new_privs). */
int hull_jail_landlock_rules(const struct hull_jail *jail, int *ruleset, struct hull_error *err);
int hull_jail_landlock_enforce(int ruleset, struct hull_error *err);

/* jail_seccomp.c: refuse the calls no child of ours has business with. Without namespaces it also stands in for the
 * pid namespace. */
int hull_jail_base_filter(const struct hull_jail *jail, bool namespaces, struct hull_error *err);

#endif

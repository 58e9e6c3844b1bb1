/* SPDX-License-Identifier: Apache-2.0 */
/* Who a session runs as: "name", "uid", "name:group" or "uid:gid" looked up in a passwd and a group file.
 *
 * Parsed here and not by libc: the files belong to the sandbox's user, may hold anything, and are given by path so
 * that this can be tested anywhere. Lines that are not well-formed are skipped. A number that no line knows is fine,
 * as with docker: it has no home and no groups. */
#ifndef HULL_GUEST_USERS_H
#define HULL_GUEST_USERS_H

#include "base/error.h"

#include <stddef.h>
#include <sys/types.h>

enum { HULL_USER_GROUPS_MAX = 256 };

struct hull_user {
	uid_t uid;
	gid_t gid;
	char *name;  /* never NULL: the number, when there is no name */
	char *home;  /* never NULL: "/" when there is none */
	char *shell; /* never NULL */
	gid_t groups[HULL_USER_GROUPS_MAX];
	size_t group_count;
};

int hull_user_find(const char *spec, const char *passwd, const char *group, struct hull_user *out,
		   struct hull_error *err);
/* By /etc/passwd and /etc/group of the guest's own root: PID 1 must not ask a workspace for them (core/own.h). */
int hull_user_find_own(const char *spec, struct hull_user *out, struct hull_error *err);
void hull_user_free(struct hull_user *u); /* the members */

#endif

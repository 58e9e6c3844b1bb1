/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the store. */
#ifndef HULL_STORE_INTERNAL_H
#define HULL_STORE_INTERNAL_H

#include "store/store.h"

/* Check that a directory belongs to this user and no other can replace it: see paths.c. */
int hull_check_private(const char *dir, struct hull_error *err);

/* Check and write sandbox.json into the directory. */
int hull_sandbox_write(int dirfd, const struct hull_sandbox *s, struct hull_error *err);

/* A sandbox's lock file, open for reading; -1 when there is none. */
int hull_lock_open(const struct hull_paths *p, const char *name);
/* As hull_sandbox_running(), by that descriptor; false for -1. */
bool hull_lock_held(int lock_fd);
/* The process that recorded itself in the lock file is dying: true when it has ended, within a second. */
bool hull_keeper_await_dying(int lock_fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The workspace: directories and files of the host, mounted at their own paths (docs/internals/workspace.md).
 *
 *     share.c     the mounts, and the relay between the kernel's FUSE requests and the host's server
 *     helper.c    processes beside a mount: who writes notifications, who replays inotify events, who mounts
 *     kernel.c    settings of the guest's kernel for a mount
 *     prefetch/   answers that are in the guest already */
#ifndef HULL_GUEST_WORKSPACE_H
#define HULL_GUEST_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* MOUNT or UNMOUNT came over control; the answer is reported by hull_report_mounted(). */
void hull_share_message(bool mount_it, const uint8_t *args, size_t len);
/* Everything of the sessions has been killed: let it end, and take the mounts away. Runs the loop. */
void hull_shares_stop(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a device the kernel has yet to announce: uevents over netlink, no polling. */
#ifndef HULL_GUEST_UEVENT_H
#define HULL_GUEST_UEVENT_H

#include <stdbool.h>

/* Call `found` now and after each event of the kernel until it says true (then true) or `ms` have passed. */
bool hull_wait_device(bool (*found)(void *ctx), void *ctx, int ms);

/* The /dev path of the virtio block device with this serial, or of the virtio console port with this name. */
bool hull_find_disk(const char *serial, char *dev, int cap);
bool hull_find_port(const char *name, char *dev, int cap);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The top of hull-init, which knows every room: the boot (main.c), the host's messages (control.c), which service gets
 * which stream (service.c), and the end (shutdown.c). No room includes this. */
#ifndef HULL_GUEST_GUEST_H
#define HULL_GUEST_GUEST_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* --- service.c --- */
/* Open the wire's port, and serve what the host asks for. */
int hull_service_start(struct hull_error *err);

/* --- control.c --- */
void hull_control_open(uint32_t stream, const uint8_t *args, size_t len);

/* --- shutdown.c --- */
void hull_shutdown(const char *why, uint32_t grace_ms);
/* The end of a boot that failed: say it, and power off. */
_Noreturn void hull_give_up(const struct hull_error *err);
/* hull-init invoked as poweroff, halt, reboot or shutdown: ask PID 1. */
int hull_ask_poweroff(void);

#endif

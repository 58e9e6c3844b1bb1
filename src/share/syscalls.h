/* SPDX-License-Identifier: Apache-2.0 */
/* What hull-share may still ask of the kernel (syscalls.c). */
#ifndef HULL_SHARE_CALLS_H
#define HULL_SHARE_CALLS_H

#include "base/error.h"

int hull_share_confine(struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* See events.h. */
#include "keeper/events.h"
#include "keeper/keeper.h"

#include <stdarg.h>
#include <stdio.h>

void keeper_fault(struct keeper *k, const char *fmt, ...)
{
	char why[sizeof(k->life.end_reason)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	k->events->fault(k, why);
}

uint64_t keeper_ms(const struct keeper *k)
{
	return uv_hrtime() / 1000000 - k->life.started_ms;
}

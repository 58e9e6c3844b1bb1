/* SPDX-License-Identifier: Apache-2.0 */
/* A line per frame, for whoever looks for a fault; see base/debug.h.
 *
 * A stream whose OPEN has HULL_TAG_TRACE is shown with that number in brackets at both ends of every wire that it passes
 * (`hull` and keeper, keeper and guest, keeper and hull-egress), so that one search finds the whole of its way. */
#include "wire/internal.h"

#include "base/bytes.h"
#include "wire/args.h"
#include "wire/service.h"

#include <inttypes.h>
#include <stdio.h>

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[HULL_WIRE_HELLO] = "HELLO",   [HULL_WIRE_OPEN] = "OPEN", [HULL_WIRE_ACCEPT] = "ACCEPT",
		[HULL_WIRE_REFUSE] = "REFUSE", [HULL_WIRE_DATA] = "DATA", [HULL_WIRE_MESSAGE] = "MESSAGE",
		[HULL_WIRE_CREDIT] = "CREDIT", [HULL_WIRE_EOF] = "EOF",   [HULL_WIRE_RESET] = "RESET",
	};
	return type < sizeof(names) / sizeof(*names) && names[type] ? names[type] : "unknown";
}

void trace_frame(const struct hull_wire *w, bool sent, uint32_t stream, uint8_t type, uint8_t flags, size_t length)
{
	const struct stream *s = table_find(&w->table, stream);
	char id[16] = "";
	if (s && s->trace)
		snprintf(id, sizeof(id), " [%08" PRIx32 "]", s->trace);
	hull_trace(HULL_AREA_WIRE, "%s %s #%" PRIu32 " %s %zu bytes, flags %u%s", sent ? "to" : "from",
		   w->config.name                     ? w->config.name
		   : w->config.side == HULL_WIRE_HOST ? "guest side"
						      : "host side",
		   stream, type_name(type), length, flags, id);
}

uint32_t trace_id(const uint8_t *args, size_t len)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	while (hull_args_next(&cur, &a))
		if (a.tag == HULL_TAG_TRACE)
			return hull_arg_u32(&a);
	return 0;
}

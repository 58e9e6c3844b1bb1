/* SPDX-License-Identifier: Apache-2.0 */
/* Debug log lines by area and level, off by default.
 *
 * HULL_LOG=LEVEL, or AREA=LEVEL,AREA=LEVEL...: `debug` logs decisions (once per command, connection, process), `trace`
 * every frame and every FUSE request, `off` nothing. Ordinary log lines (hull_log) are not affected. `--debug` is
 * HULL_LOG=debug. Each program passes the levels to those that it starts: hull to the keeper in the environment; the
 * keeper to hull-share, hull-egress and, in CONFIGURE, the guest.
 *
 * When off, a line costs a load and a branch; its arguments are not evaluated. A line must not contain names or
 * contents of the user's files, values of the environment or secrets: it may end up in a bug report. */
#ifndef HULL_BASE_DEBUG_H
#define HULL_BASE_DEBUG_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum hull_area {
	HULL_AREA_CLI,    /* hull and the library it uses */
	HULL_AREA_KEEPER, /* hull-keeper */
	HULL_AREA_WIRE,   /* frames, at every end of every wire */
	HULL_AREA_SHARE,  /* FUSE requests: in the guest, and in hull-share */
	HULL_AREA_EGRESS, /* hull-egress */
	HULL_AREA_GUEST,  /* hull-init */
	HULL_AREA_COUNT,
};

enum hull_level { HULL_LEVEL_OFF, HULL_LEVEL_DEBUG, HULL_LEVEL_TRACE };

extern uint8_t hull_debug_levels[HULL_AREA_COUNT];

#define hull_debug_on(area, level) __builtin_expect(hull_debug_levels[area] >= (level), 0)
#define hull_debug(area, ...)                                                 \
	do {                                                                  \
		if (hull_debug_on(area, HULL_LEVEL_DEBUG))                    \
			hull_debug_line(area, HULL_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)
#define hull_trace(area, ...)                                                 \
	do {                                                                  \
		if (hull_debug_on(area, HULL_LEVEL_TRACE))                    \
			hull_debug_line(area, HULL_LEVEL_TRACE, __VA_ARGS__); \
	} while (0)

/* Set the levels as `spec` says; areas it does not name keep theirs. NULL and "" change nothing. -EINVAL with a list of
 * the valid words; then nothing is changed. */
int hull_debug_set(const char *spec, struct hull_error *err);
/* Set the levels from HULL_LOG. If the first argument is --debug, set `debug` everywhere and remove that argument. To
 * be called first in main(). */
int hull_debug_init(int *argc, char **argv, struct hull_error *err);
/* The levels in the format of HULL_LOG, "" when all are off; for passing them on. */
enum { HULL_DEBUG_TEXT = 128 };
const char *hull_debug_text(char out[HULL_DEBUG_TEXT]);
/* Where lines go instead of hull_log(): used by hull-init. */
void hull_debug_sink(void (*sink)(const char *line));

/* The function behind the macros: "AREA LEVEL: message". */
__attribute__((format(printf, 3, 4))) void hull_debug_line(enum hull_area area, enum hull_level level, const char *fmt,
							   ...);

#endif

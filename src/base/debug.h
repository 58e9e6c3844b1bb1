/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for whoever looks for a fault: by area and level, and off unless asked for.
 *
 * HULL_LOG=LEVEL, or AREA=LEVEL,AREA=LEVEL...: `debug` tells decisions (once per command, connection, process), `trace`
 * every frame and every FUSE request, `off` nothing; what is said without being asked for (hull_log) is not touched.
 * `--debug` is HULL_LOG=debug. Whoever starts a program of Hull's passes the levels on: hull to the keeper in the
 * environment, the keeper to hull-share, hull-egress and, when it configures it, the guest.
 *
 * Off, a line costs a load and a branch; its arguments are not evaluated. Names and contents of the user's files, values
 * of the environment and secrets do not belong into a line: it may end up in a bug report. */
#ifndef HULL_BASE_DEBUG_H
#define HULL_BASE_DEBUG_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum hull_area {
	HULL_AREA_CLI,    /* hull and the library below it */
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

/* Set the levels as `spec` says; what it does not name stays. NULL and "" change nothing. -EINVAL with the words that
 * are known, and nothing changed. */
int hull_debug_set(const char *spec, struct hull_error *err);
/* The levels of HULL_LOG, and, when the first argument is --debug, `debug` everywhere and that argument taken away. To be
 * called first in main(). */
int hull_debug_init(int *argc, char **argv, struct hull_error *err);
/* The levels as HULL_LOG has them, "" when all are off; for handing them on. */
enum { HULL_DEBUG_TEXT = 128 };
const char *hull_debug_text(char out[HULL_DEBUG_TEXT]);
/* Where lines go instead of hull_log(): for hull-init. */
void hull_debug_sink(void (*sink)(const char *line));

/* The function behind the macros: "AREA LEVEL: message". */
__attribute__((format(printf, 3, 4))) void hull_debug_line(enum hull_area area, enum hull_level level, const char *fmt,
							   ...);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* See debug.h. */
#include "base/debug.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1024 };

uint8_t hull_debug_levels[HULL_AREA_COUNT];

static const char *const areas[HULL_AREA_COUNT] = {"cli", "keeper", "wire", "share", "egress", "guest"};
static const char *const levels[] = {"off", "debug", "trace"};

static void (*sink_line)(const char *line);

void hull_debug_sink(void (*sink)(const char *line))
{
	sink_line = sink;
}

static int index_of(const char *const *words, size_t count, const char *p, size_t n)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == n && !memcmp(words[i], p, n))
			return (int)i;
	return -1;
}

int hull_debug_set(const char *spec, struct hull_error *err)
{
	uint8_t to[HULL_AREA_COUNT];
	memcpy(to, hull_debug_levels, sizeof(to));
	for (const char *p = spec ? spec : ""; *p;) {
		size_t n = strcspn(p, ",");
		const char *is = memchr(p, '=', n);
		const char *word = is ? is + 1 : p;
		int level = index_of(levels, sizeof(levels) / sizeof(*levels), word, (size_t)(p + n - word));
		int area = is ? index_of(areas, HULL_AREA_COUNT, p, (size_t)(is - p)) : 0;
		if (level < 0 || area < 0)
			return hull_fail(err, -EINVAL,
					 "HULL_LOG: \"%.*s\" is not LEVEL or AREA=LEVEL: levels are off, debug and "
					 "trace, areas cli, keeper, wire, share, egress and guest",
					 n < 64 ? (int)n : 64, p);
		if (is)
			to[area] = (uint8_t)level;
		else
			memset(to, level, sizeof(to));
		p += n + (p[n] == ',');
	}
	memcpy(hull_debug_levels, to, sizeof(to));
	return 0;
}

int hull_debug_init(int *argc, char **argv, struct hull_error *err)
{
	if (*argc > 1 && !strcmp(argv[1], "--debug")) {
		memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof(*argv));
		--*argc;
		memset(hull_debug_levels, HULL_LEVEL_DEBUG, sizeof(hull_debug_levels));
	}
	return hull_debug_set(getenv("HULL_LOG"), err);
}

const char *hull_debug_text(char out[HULL_DEBUG_TEXT])
{
	size_t used = 0;
	out[0] = '\0';
	for (size_t i = 0; i < HULL_AREA_COUNT; i++)
		if (hull_debug_levels[i])
			used += (size_t)snprintf(out + used, HULL_DEBUG_TEXT - used, "%s%s=%s", used ? "," : "",
						 areas[i], levels[hull_debug_levels[i]]);
	return out;
}

void hull_debug_line(enum hull_area area, enum hull_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	int saved = errno;
	int n = snprintf(line, sizeof(line), "%s %s: ", areas[area], levels[level]);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (sink_line)
		sink_line(line);
	else
		hull_log("%s", line);
	errno = saved;
}

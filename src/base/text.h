/* SPDX-License-Identifier: Apache-2.0 */
/* Text: sizes, durations, names and strings, parsed once and printed once, the same everywhere. */
#ifndef HULL_BASE_TEXT_H
#define HULL_BASE_TEXT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* asprintf that returns the string (owned by the caller), NULL when out of memory. */
__attribute__((format(printf, 1, 2))) char *hull_fmt(const char *fmt, ...);
bool hull_streq(const char *a, const char *b); /* NULL equals only NULL */
bool hull_starts(const char *s, const char *prefix);

/* "512m", "2g", "1.5GiB", "1048576" (bytes) -> bytes. Suffixes b k m g t, with or without "iB"/"B", any case, powers
 * of 1024 as docker has them. -EINVAL for anything else, -ERANGE past 2^62. */
int hull_parse_size(const char *s, uint64_t *bytes, struct hull_error *err);
/* "90s", "15m", "2h", "3d", "1h30m" -> seconds. A bare number is seconds. */
int hull_parse_duration(const char *s, uint64_t *seconds, struct hull_error *err);
int hull_parse_u64(const char *s, uint64_t max, uint64_t *out);
/* 1536 -> "1.5 KiB" into out (at least 16 bytes); returns out. */
char *hull_format_size(uint64_t bytes, char *out, size_t cap);
/* 3700 -> "1h", 200 -> "3m", 5 -> "5s" into out (at least 16 bytes); returns out. */
char *hull_format_age(uint64_t seconds, char *out, size_t cap);
/* The candidate closest to `word` (edit distance at most a third of its length, and at least 1 allowed), or NULL. */
const char *hull_closest(const char *word, const char *const *candidates, size_t count);
/* A character that steers a terminal, or reorders, hides or breaks the text around it. */
bool hull_steers(uint32_t cp);
/* One line as a configuration file takes it: at most `max` bytes, no control character. NULL is one. */
bool hull_one_line(const char *s, size_t max);
/* Copy with control bytes, and anything else that could steer a terminal, shown as \xNN. Owned by the caller. */
char *hull_printable(const char *s, size_t n);
/* May libfyaml read it? It has to be UTF-8 without a NUL, as YAML is, and have no YAML directive: version 0.7 never
 * returns from some malformed ones. -EINVAL, the place told as "label:line:1". */
int hull_yaml_readable(const char *label, const char *text, size_t n, struct hull_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A log file of limited size for unlimited guest output, whose last bytes are also kept in memory.
 *
 * When the file reaches LIMIT bytes, it is truncated to its last KEEP bytes, preceded by a line that says so (a reader
 * that follows it sees the file shrink, as with any rotation by truncation). Output is written unmodified: guest text
 * goes through hull_printable() where it is shown to a person. */
#ifndef HULL_ENGINE_CAPPED_LOG_H
#define HULL_ENGINE_CAPPED_LOG_H

#include <stddef.h>
#include <stdint.h>

enum { HULL_LOG_LIMIT = 4 * 1024 * 1024, HULL_LOG_KEEP = 1024 * 1024, HULL_LOG_TAIL = 2048 };

struct hull_capped_log {
	int fd; /* owned; -1 = keep only the tail */
	uint64_t size;
	char tail[HULL_LOG_TAIL]; /* the last bytes written, the oldest at tail[tail_at] once full */
	size_t tail_at;
	size_t tail_len;
};

/* Dups fd (-1 = none). */
void hull_capped_log_open(struct hull_capped_log *l, int fd);
void hull_capped_log_close(struct hull_capped_log *l);
void hull_capped_log_write(struct hull_capped_log *l, const void *p, size_t n);
/* The last lines, printable, joined by " | ", at most cap - 1 bytes (the latest ones). */
void hull_capped_log_last_words(const struct hull_capped_log *l, char *out, size_t cap);

#endif

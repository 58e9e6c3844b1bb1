/* SPDX-License-Identifier: Apache-2.0 */
/* Output for people: messages, aligned tables, one line of progress. Colour and redrawn lines only on a terminal (never
 * with NO_COLOR or TERM=dumb); plain text in a pipe. Text from a guest or a file goes through hull_printable() here,
 * not in each verb. */
#ifndef HULL_CLI_OUT_H
#define HULL_CLI_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Print "hull: message" on stderr, after clearing a progress line. */
__attribute__((format(printf, 1, 2))) void cli_error(const char *fmt, ...);
/* Like cli_error, for information that is not a failure. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *fmt, ...);

/* Does this descriptor support colour? */
bool cli_colour(int fd);

enum cli_tone { CLI_PLAIN, CLI_GOOD, CLI_WARN, CLI_BAD, CLI_DIM };

/* A table: cells in reading order, a row after every `columns`. The first row is the heading. */
struct cli_table {
	size_t columns;
	struct cli_cell {
		char *text;
		enum cli_tone tone;
	} * cells;
	size_t count;
};
void cli_cell(struct cli_table *t, enum cli_tone tone, const char *text); /* copied; made printable */
__attribute__((format(printf, 3, 4))) void cli_cellf(struct cli_table *t, enum cli_tone tone, const char *fmt, ...);
void cli_table_print(const struct cli_table *t);
void cli_table_free(struct cli_table *t);
/* text in that colour on stdout, without a line end */
void cli_tone(enum cli_tone tone, const char *text);
/* One JSON value and a line end on stdout. */
void cli_json(const json_t *value);
/* JSON text with every terminal control character as \u and four digits: equivalent JSON. Owned; NULL when out of
 * memory. */
char *out_json_safe(const char *text);

/* Progress of one operation, on stderr. On a terminal one line with the stage and the seconds. In a pipe a plain line
 * per stage, either only after a long wait (`lines` false) or always (`lines` true). cli_progress_tick() redraws the
 * line and returns the time until the next redraw. */
struct cli_progress {
	bool quiet, lines;
	bool tty, shown, told;
	char what[80];
	char stage[160];
	uint64_t begin_ms;
};
void cli_progress_begin(struct cli_progress *p, bool quiet, bool lines, const char *what);
void cli_progress_stage(struct cli_progress *p, const char *stage);
/* Redraw if due; returns the milliseconds until the next redraw, -1 = never. For poll(2)'s timeout. */
int cli_progress_tick(struct cli_progress *p);
void cli_progress_end(struct cli_progress *p);   /* clear the line; may be called twice */
struct cli_progress *cli_progress_current(void); /* the one begun last and not ended; or NULL */

uint64_t cli_now_ms(void); /* CLOCK_MONOTONIC */

#endif

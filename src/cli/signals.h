/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as events: see signals.c. */
#ifndef HULL_CLI_SIGNALS_H
#define HULL_CLI_SIGNALS_H

/* From now on INT, TERM, QUIT, HUP, WINCH and CONT do not end the process but are read here, and SIGPIPE becomes an
 * error of write(2). Returns the descriptor to poll (always the same), or -errno. */
int cli_signals_catch(void);
int cli_signals_fd(void);     /* -1 when not caught */
int cli_signals_read(void);   /* the next pending signal, or 0; does not block */
int cli_signals_ended(void);  /* the first INT, TERM, QUIT or HUP read so far, or 0 */
int cli_signals_code(int r);  /* 128 + that, in place of -EINTR; any other r as it is */
void cli_signals_child(void); /* in a child before exec: restore the state at the start of the process */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal in raw mode, restored on every exit path. */
#ifndef HULL_CLI_TERMINAL_H
#define HULL_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* Set the terminal on fd to raw mode; 0 or -errno. terminal_restore(), which exit() also calls, restores it. */
int terminal_raw(int fd);
void terminal_restore(void);
/* Set raw mode again after SIGCONT: the shell has set its own mode meanwhile. */
void terminal_again(void);
/* Rows and columns of the terminal on fd; false (and unchanged) when it is not a terminal. */
bool terminal_size(int fd, uint32_t *rows, uint32_t *cols);

#endif

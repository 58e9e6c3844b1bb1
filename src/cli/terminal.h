/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal in raw mode, put back on every way out. */
#ifndef HULL_CLI_TERMINAL_H
#define HULL_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* Make the terminal on fd raw; 0 or -errno. It is put back by terminal_restore(), which exit() calls too. */
int terminal_raw(int fd);
void terminal_restore(void);
/* Raw again, after somebody continued us (SIGCONT): the shell has put its own modes there meanwhile. */
void terminal_again(void);
/* Rows and columns of the terminal on fd; false (and untouched) when there is none. */
bool terminal_size(int fd, uint32_t *rows, uint32_t *cols);

#endif

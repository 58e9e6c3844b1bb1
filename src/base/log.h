/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines of the long-running processes: "2026-01-31T12:00:00.123Z keeper: message" on one descriptor.
 * Guest-given text goes through hull_printable() first. */
#ifndef HULL_BASE_LOG_H
#define HULL_BASE_LOG_H

/* Lines go to fd (borrowed), each starting with `who`. Before the first call they go to stderr. */
void hull_log_open(int fd, const char *who);
__attribute__((format(printf, 1, 2))) void hull_log(const char *fmt, ...);

#endif

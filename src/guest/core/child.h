/* SPDX-License-Identifier: Apache-2.0 */
/* Children of PID 1: starting them, and hearing of their end.
 *
 * hull_spawn() forks into a cgroup and runs `setup` in the child, which ends in execve; what goes wrong before or in
 * execve comes back through a close-on-exec pipe, so that the parent never blocks on a child. Every child is reaped
 * when SIGCHLD arrives; the ones that are registered get their callback, orphans adopted from sessions just vanish. */
#ifndef HULL_GUEST_CHILD_H
#define HULL_GUEST_CHILD_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct hull_child {
	pid_t pid; /* 0 when not running */
	void (*ended)(struct hull_child *c, int status);
	struct hull_child *next; /* hash chain */
};

/* SIGCHLD and the signals that mean "power off", upon which the function is called, through a signalfd. */
int hull_children_init(void (*on_power_off)(void), struct hull_error *err);

/* Close everything but these two descriptors (a may be -1). For a child that does not execute another program, and may
 * be held up: it must not keep the ends of other sessions' pipes open. */
void hull_child_keep(int a, int b);

/* How a child failed before it was the program it should have become. */
struct hull_spawn_failure {
	int stage; /* enum hull_spawn_stage */
	int error; /* positive errno */
};
enum hull_spawn_stage {
	HULL_STAGE_SETUP = 1, /* descriptors, terminal */
	HULL_STAGE_USER,
	HULL_STAGE_CWD,
	HULL_STAGE_EXEC,
};
/* In the child: report and _exit. */
_Noreturn void hull_spawn_fail(int status_fd, int stage);

/* Fork. In the child `run` is called and does not return. cgroup is a directory descriptor or -1. *status_fd (when not
 * NULL) gets the read end of the pipe: end of file = the program runs (or died), else a hull_spawn_failure. */
int hull_spawn(struct hull_child *c, int cgroup, void (*run)(void *ctx, int status_fd), void *ctx, int *status_fd,
	       void (*ended)(struct hull_child *c, int status), struct hull_error *err);
/* `to` is the child from now on, and this is called at its end. */
void hull_child_move(struct hull_child *from, struct hull_child *to, void (*ended)(struct hull_child *c, int status));
/* Forget a child: it is still reaped, `ended` is not called. */
void hull_child_forget(struct hull_child *c);
/* 0..255 as a shell reports it: 128+n for signal n; *sig gets n. */
int hull_exit_code(int status, int *sig);

#endif

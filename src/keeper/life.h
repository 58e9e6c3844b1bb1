/* The life of the sandbox, and what its parts report of it; keeper.c.
 *
 *     STARTING   until the guest is configured
 *     RUNNING    until it is asked, or says, to go down
 *     STOPPING   until the engine has exited
 *     ENDED      while the clients take their last answers */
#ifndef HULL_KEEPER_LIFE_H
#define HULL_KEEPER_LIFE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct keeper;

enum {
	BOOT_TIMEOUT_MS = 300 * 1000, /* the guest kernel did not come up: emulation on a busy host takes 30 s */
	STOP_MARGIN_MS = 10 * 1000,   /* after the grace the guest was given */
	EXIT_TIMEOUT_MS = 20 * 1000,  /* for an engine that closed the wire: it may be flushing the disk */
	DRAIN_TIMEOUT_MS = 2 * 1000,  /* at the end, for clients to take their last answers */
};

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING, PHASE_ENDED };

struct life {
	enum phase phase;
	uv_timer_t timer; /* one deadline at a time: boot, stop, drain */
	uv_signal_t sigterm;
	uint64_t started_ms;   /* uv_hrtime / 1e6 when the keeper started */
	bool stop_asked;       /* the guest was told to shut down */
	bool killed;           /* the engine was killed because somebody asked for the end */
	bool save_due;         /* write that it runs, when the loop is idle */
	bool suspended;        /* its memory is on disk: it ends as paused, not stopped */
	bool ended;            /* the machine is off; on_idle() does the rest */
	bool removed;          /* with the machine, as --rm asked */
	int end_code;          /* 0 = clean */
	char end_reason[1024]; /* why it did not end cleanly; what clients are told */
	/* Called once: the machine runs (err NULL), or it has ended without getting that far. */
	void (*report)(struct keeper *k, const struct hull_error *err);
	/* Start this sandbox anew, in this process: the template that its machine was to be restored from could not be
	 * loaded. Set by main(); returns only when that cannot be done. */
	void (*boot_instead)(struct keeper *k, const char *why);
};

/* What this run began with. */
struct origin {
	char *restore;                          /* what it was restored from, relative to home; NULL = booted */
	bool fresh;                             /* that is of another sandbox: the guest renews its identity */
	char note[512];                         /* for the person who waits: why it was booted instead */
	uint64_t begin_ns, machine_ns, runs_ns; /* uv_hrtime: the keeper began; the engine was started; its CPUs run */
	uint64_t first_exec_ns;                 /* the first command has ended */
};

/* Everything that needs no machine: loop, lists, timers. k is zeroed; paths and sb are set. */
int keeper_init(struct keeper *k, struct hull_error *err);
/* The sockets, in the runtime directory that exists already. */
int keeper_listen(struct keeper *k, struct hull_error *err);
/* Until the sandbox has ended and the clients have their answers. */
void keeper_run(struct keeper *k);
uint64_t keeper_ms(const struct keeper *k); /* since the keeper started */

/* --- events --- */

void keeper_machine_runs(struct keeper *k);
void keeper_configured(struct keeper *k); /* the guest takes commands */
void keeper_docker_changed(struct keeper *k);
void keeper_guest_stopping(struct keeper *k); /* it shuts down, asked or not */
void keeper_wire_closed(struct keeper *k);    /* by the engine, which is about to end */
/* The machine is off. May be called from inside any event. */
void keeper_machine_ended(struct keeper *k, int code, const char *reason);

/* --- requests --- */

void keeper_stop(struct keeper *k, uint32_t grace_ms);
void keeper_kill(struct keeper *k); /* ends as "stopped" */
/* Something is wrong with the guest: kill the machine; ends as "crashed" with the reason. */
__attribute__((format(printf, 2, 3))) void keeper_fault(struct keeper *k, const char *fmt, ...);
/* The machine is about to change the disk that saved memory belongs to: that must not be restored again, whatever
 * happens. It is taken out of sandbox.json, for good. On failure the machine must not run. */
int keeper_claim_saved(struct keeper *k, struct hull_error *err);
/* Is this what a pause left, "sandboxes/NAME/frozen"? NULL is not. */
bool keeper_is_pause(const char *restore);

#endif

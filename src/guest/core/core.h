/* hull-init as a whole: what its parts share.
 *
 * One process, one thread, PID 1 of the guest. boot (main.c, modules.c, uevent.c, disks.c, mounts.c, setup.c) runs
 * straight through once; then everything is events on the loop: the wire's port (port.c), the services opened on it
 * (exec.c, dial.c, tar.c, control.c), the network's side in here (net.h), children (child.c), dockerd (docker.c) and
 * the end (shutdown.c). */
#ifndef HULL_GUEST_GUEST_H
#define HULL_GUEST_GUEST_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* From the kernel command line. */
struct hull_options {
	bool docker;   /* hull.docker=0 turns it off */
	bool disk;     /* hull.disk=0: do not wait for one, keep everything in memory */
	bool emulated; /* hull.emulated=1: the processor is */
};

/* --- console.c: what a person reads on the serial console; also sent to the keeper's log when CONTROL is open --- */
__attribute__((format(printf, 1, 2))) void hull_say(const char *fmt, ...);
/* Milliseconds since the guest kernel started. */
uint64_t hull_uptime_ms(void);
/* Write a string to a file of /proc, /sys or the like; 0 or -errno. */
int hull_put(const char *path, const char *text);

/* --- boot --- */
int hull_modules_load(const char *list, struct hull_error *err); /* modules.c */
int hull_early_mounts(struct hull_error *err);                   /* mounts.c */
void hull_read_options(struct hull_options *o);                  /* main.c */
/* Mount base and disk, build the overlay and make it the root (mounts.c). *have_disk tells what it found. */
int hull_enter_root(const struct hull_options *o, bool *have_disk, struct hull_error *err);
/* Everything a distribution's init would have set up: links in /dev, loopback, sysctls, hosts (setup.c). */
void hull_setup(void);
int hull_set_hostname(const char *name, struct hull_error *err); /* setup.c */
/* Grow the sandbox disk's file system to its device (mounts.c). */
int hull_grow_disk(struct hull_error *err);
/* The size of the sandbox disk's device in bytes; 0 when there is no disk (mounts.c). */
uint64_t hull_disk_bytes(void);

/* --- net.c (the rest of the network's side: net.h) --- */
/* Start it all, before the root's programs. It goes on beside the rest of the boot. */
void hull_net_start(void);
/* Call `ready` once the network is up, or has failed to be: at once when that is so already. */
void hull_net_when_ready(void (*ready)(void));

/* --- cgroup.c --- */
/* Where processes live. The root of the hierarchy keeps only kernel threads. */
#define HULL_CG_ROOT "/sys/fs/cgroup"
void hull_cgroup_setup(void);
extern int hull_cg_dockerd; /* directory descriptor, for hull_spawn(); -1 without cgroups */
/* A cgroup for one session: its directory descriptor (-1 when there is none to be had; that is no failure) and the
 * number to drop it by (0 = none). */
int hull_cgroup_make(uint32_t *number);
void hull_cgroup_drop(uint32_t number);
/* A signal to every process of this session; KILL reaches those too that are being born. */
void hull_cgroup_signal(uint32_t number, int sig);
/* TERM to every process of every session; HUP to those that ignore TERM. */
void hull_cgroup_end_sessions(void);

/* --- the wire's port and the streams on it --- */
struct hull_wire;
extern struct hull_wire *hull_wire; /* never NULL once the port is set up (port.c) */

struct hull_stream_ops {
	void (*accepted)(void *user, const uint8_t *args, size_t len); /* of streams that we open */
	void (*data)(void *user, unsigned channel, const uint8_t *p, size_t n);
	void (*message)(void *user, const uint8_t *p, size_t n);
	void (*writable)(void *user);
	void (*eof)(void *user);
	void (*closed)(void *user, int code, const char *message);
};
/* The first member of whatever a service attaches to its stream. */
struct hull_stream {
	const struct hull_stream_ops *ops;
	uint32_t id; /* 0 once the stream is gone */
};
int hull_port_open(struct hull_error *err);
/* Send what is queued, for at most `ms`, at the very end. */
void hull_port_flush(int ms);

void hull_exec_open(uint32_t stream, const uint8_t *args, size_t len);
void hull_dial_open(uint32_t stream, const uint8_t *args, size_t len);
void hull_tar_open(uint32_t stream, bool in, const uint8_t *args, size_t len);
void hull_control_open(uint32_t stream, const uint8_t *args, size_t len);

/* --- share.c: the workspace --- */
/* MOUNT or UNMOUNT came over control; the answer goes out by hull_control_mounted(). */
void hull_share_message(bool mount_it, const uint8_t *args, size_t len);
/* Everything of the sessions has been killed: let it end, and take the mounts away. Runs the loop. */
void hull_shares_stop(void);

/* --- exec.c --- */
unsigned hull_exec_sessions(void);
/* Tell a new host of the sessions that lost their streams. */
void hull_exec_announce(void);
/* A line of hull-init's own to the stderr of the session that has this process as its first, or this number. */
void hull_exec_tell(pid_t pid, unsigned session, const char *text);
/* How many of their processes have not been reaped. */
unsigned hull_exec_running(void);
/* Start a program that does nothing, as a session's process that first calls `wait`, and wait for its end. For a
 * process other than PID 1. */
int hull_exec_rehearse(void (*wait)(void), struct hull_error *err);

/* --- rehearse.c --- */
void hull_rehearse_start(void);
void hull_rehearse(void); /* the machine may just have been restored */

/* --- control.c: to the host, dropped when CONTROL is not open --- */
void hull_control_service(const char *service, const char *state, const char *text);
void hull_control_log(const char *text);
void hull_control_stopping(void);
bool hull_control_authorities(void); /* the host gave authorities to trust, and they are in place (authority.c) */
/* SESSION with these fields. */
struct hull_buf;
void hull_control_session(const struct hull_buf *fields);
/* MOUNTED or UNMOUNTED; error is a positive errno or 0, text may be NULL. */
void hull_control_mounted(bool mounted, const char *path, int error, const char *text);

/* --- docker.c --- */
void hull_docker_start(void);
void hull_docker_announce(void); /* tell a new CONTROL stream where things stand */
void hull_docker_rest(void);     /* let it do nothing until somebody connects to its socket */
/* TERM it and do not start it again; `stopped` is called once it has gone (at once when it is not running). */
void hull_docker_stop(void (*stopped)(void));

/* --- renew.c --- */
/* This machine is a copy: make what has to be unique anew, then call `then` (perhaps at once). */
void hull_renew(void (*then)(void));

/* --- shutdown.c --- */
void hull_shutdown(const char *why, uint32_t grace_ms);
bool hull_shutting_down(void);
/* The process of a session has been reaped, or nobody asks for its end any more. */
void hull_session_ended(void);
/* The end of a boot that failed: say it, and power off. */
_Noreturn void hull_give_up(const struct hull_error *err);
/* hull-init invoked as poweroff, halt, reboot or shutdown: ask PID 1. */
int hull_ask_poweroff(void);

#endif

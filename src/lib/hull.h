/* SPDX-License-Identifier: Apache-2.0 */
/* libhull: sandboxes for programs that are not trusted, each a virtual machine of its own, from C.
 *
 *     struct hull *h;
 *     struct hull_error err;
 *     char *name = NULL;
 *     int code;
 *     const char *paths[] = {".", NULL}, *argv[] = {"make", "test", NULL};
 *     const struct hull_create_spec make = {.size = sizeof(make), .paths = paths};
 *     const struct hull_exec_spec test = {.size = sizeof(test), .argv = argv, .fds = (const int[]){-1, 1, 2}};
 *     if (hull_open(&h, NULL, &err) < 0 || hull_create(h, &make, &name, &err) < 0 ||
 *         (code = hull_exec(h, name, &test, &err)) < 0)
 *             fprintf(stderr, "%s\n", err.msg);
 *
 * What is on disk is what the hull command has: a sandbox made by one is seen, used and removed by the other.
 * libhull(3) says the same as this header; examples/sandbox.c is a whole program. Link with `pkg-config --libs libhull`.
 *
 * ERRORS. A function that can fail returns an int: zero or positive when it did what it is for, a negative errno when
 * not. It then has filled *err, one printable line for a person that says what failed, why and what to do. err may be
 * NULL. These codes mean the same everywhere:
 *
 *     -ENOENT    no sandbox (snapshot, template, image...) is called so
 *     -EEXIST    the name is taken
 *     -EINVAL    an argument is not what the function takes
 *     -ENOTCONN  the sandbox does not run, and the function does not start it
 *     -EBUSY     the sandbox runs, or something in it is in use, and so it cannot be done
 *     -EBADMSG   a file of the sandbox is damaged
 *     -EINTR     given up because the caller wanted to (hull_interrupt_by)
 *     -ETIMEDOUT something did not answer in time
 *     -ENOSPC    the host's disk is full; nothing was replaced
 *
 * OWNERSHIP. What a function is given it borrows until it returns. What it returns by a pointer to a pointer is the
 * caller's: strings to be freed with free(3), the rest by the function that is named with it. On failure nothing is
 * returned and nothing has to be freed. Descriptors that are passed in stay the caller's and stay open.
 *
 * STRUCTS. Those that are passed in begin with their size, which the caller sets to sizeof; all other members that are not set
 * must be zero, and zero is always the default. So a program built for an older libhull works with a newer one, and one
 * built for a newer one gets -EINVAL where it uses what is not there. So do flags that are not known. Structs that the library returns may grow at
 * their end: never copy or array them. Enumerations may get more members.
 *
 * UNITS. Sizes are bytes, times of the day seconds since 1970, durations milliseconds. Lists of strings end with NULL.
 *
 * THREADS. A handle is used by one thread at a time; several threads with a handle each do not disturb one another,
 * nor do several processes. Calls block until what they are for is done.
 *
 * PROCESS. It is the caller's: the library prints nothing, never exits, and changes neither signals nor the terminal nor
 * the working directory nor the environment. It starts programs (hull-keeper, which outlives the caller; git) and waits
 * for its own children alone, so SIGCHLD must not be ignored. Relative paths are relative to the working directory. The
 * environment says where the state is: HULL_HOME, XDG_DATA_HOME, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, HOME. Writing to a
 * pipe without a reader raises SIGPIPE as write(2) has it.
 *
 * GUESTS. Text that one made (what a command prints, names of files) is passed on as it is, unless it is part of a message. */
#ifndef HULL_H
#define HULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A failure; see ERRORS. */
#ifndef HULL_ERROR_DEFINED
#define HULL_ERROR_DEFINED
struct hull_error {
	int code;       /* -errno of the failure; 0 when nothing failed */
	char msg[1024]; /* one line for a person */
};
#endif

/* A number that is not known, or a size that is to be none at all where 0 means the default. */
#define HULL_UNKNOWN UINT64_MAX
#define HULL_NONE    UINT64_MAX

/* --- the handle --- */

struct hull;

enum hull_note {
	HULL_NOTE_INFO,    /* nice to know */
	HULL_NOTE_WARNING, /* something is not as it was asked for, and the call goes on */
};

/* How the library speaks to its caller while a call is under way, from the thread that made the call. Each may be NULL.
 * None of them may call the library with the same handle. Texts are printable and valid during the call. */
struct hull_callbacks {
	size_t size;
	void *ctx; /* passed to each */
	/* What is being waited for, of which sandbox (or "template": one is being built): "waiting for Docker". stage NULL:
	 * that wait is over. */
	void (*stage)(void *ctx, const char *subject, const char *stage);
	void (*note)(void *ctx, enum hull_note kind, const char *text);
	/* So many bytes have been copied to or from the sandbox by now. */
	void (*moved)(void *ctx, const char *subject, uint64_t bytes);
	/* Called before each wait: what the caller has to do now and then. In how many milliseconds again; -1 = not before
	 * something happens. */
	int (*tick)(void *ctx);
	/* Called when the descriptor of hull_interrupt_by() is readable, and between steps: is the call to be given up?
	 * Without it a readable descriptor means yes. */
	bool (*interrupted)(void *ctx);
	/* Called in a child of fork(2) before it executes a program: may call async-signal-safe functions only. Without it
	 * all signals are unblocked there and SIGPIPE has its default action. */
	void (*child)(void *ctx);
};

/* Open Hull's state as the environment says; directories are made (0700) when missing. callbacks are copied, and may be
 * NULL. -EPERM when a directory is someone else's or open to others. hull_close(NULL) does nothing. */
int hull_open(struct hull **out, const struct hull_callbacks *callbacks, struct hull_error *err);
void hull_close(struct hull *h);
/* Calls that wait give up with -EINTR when fd is readable; it is borrowed and never read. -1 = never, as at first. What
 * has been begun in a sandbox may go on; the message says so. May be called from a callback. */
void hull_interrupt_by(struct hull *h, int fd);
const char *hull_version(void); /* of the library, "1.2.3" */

/* --- sandboxes --- */

enum {
	HULL_CREATE_NO_NETWORK = 1 << 0,      /* no network at all, whatever the policy says */
	HULL_CREATE_NO_DOCKER = 1 << 1,       /* do not start Docker in it */
	HULL_CREATE_NO_GIT_IDENTITY = 1 << 2, /* do not give git in it the user's name and email */
	HULL_CREATE_COLD = 1 << 3,            /* boot instead of starting from a template */
	HULL_CREATE_REMOVE = 1 << 4,          /* remove it when it stops */
	HULL_CREATE_REUSE = 1 << 5,           /* take the one that the same agent and paths (or the same name) have */
};

struct hull_create_spec {
	size_t size;
	const char *name;         /* NULL = made of the agent and the first path, or the working directory */
	const char *agent;        /* NULL = "shell" */
	const char *const *paths; /* of the host, mounted at their own place: "DIR", "DIR:ro" or "FILE:ro" */
	const char *clone;        /* a directory in a git repository: the sandbox gets a private clone of it */
	unsigned cpus;            /* 0 = as many as the host has */
	uint64_t memory;          /* the most it may use; 0 = half of the host's, at most 4 GiB */
	uint64_t disk;            /* 0 = 64 GiB; only what is written takes space */
	uint64_t swap;            /* on its disk; 0 or HULL_NONE = none */
	const char *image;        /* name or digest; NULL = "default" */
	const char *engine;       /* "qemu"; NULL or "auto" = the fastest that works */
	const char
		*template_name; /* start from this template, which decides about cpus, memory, disk, swap and Docker */
	const char *const *env; /* "K=V", for all that runs in it */
	const char *const *publish; /* ports, "[[IP:]HOST:]PORT[/udp]" */
	const char *const *ca;      /* PEM files of authorities that it trusts, read at each start */
	unsigned flags;             /* HULL_CREATE_... */
	unsigned reserved;          /* 0 */
};

/* Make a sandbox; it does not run yet. *name gets its name. 1 when HULL_CREATE_REUSE has found one, -EEXIST when that was
 * made in another way. The first sandbox of a kind has a template built for it, which takes a while. */
int hull_create(struct hull *h, const struct hull_create_spec *spec, char **name, struct hull_error *err);

enum hull_until {
	HULL_UNTIL_EXEC,    /* commands can be run */
	HULL_UNTIL_DOCKER,  /* its Docker is ready; -ENOTSUP when it has none */
	HULL_UNTIL_STOPPED, /* it does not run (any more); hull_wait() alone */
	HULL_UNTIL_NOW,     /* do not wait for the guest; hull_start() alone */
};
enum {
	HULL_START_COLD = 1 << 0, /* boot from the disk, and give up what would be restored */
};
/* Start it and wait. 1 when it was running. */
int hull_start(struct hull *h, const char *name, enum hull_until until, unsigned flags, struct hull_error *err);
/* Wait, and start nothing; timeout_ms < 0 = for ever. -ETIMEDOUT. */
int hull_wait(struct hull *h, const char *name, enum hull_until until, int timeout_ms, struct hull_error *err);
/* Shut it down: its processes get grace_ms to end, then the machine is switched off; 0 = switch it off. When this returns
 * everything of it is gone but its files. 1 when it did not run. */
int hull_stop(struct hull *h, const char *name, int grace_ms, struct hull_error *err);
enum {
	HULL_REMOVE_FORCE = 1 << 0, /* also when it runs; an unknown name is no error */
};
/* Remove it, its disk, its snapshots and its logs. -EBUSY when it runs. */
int hull_remove(struct hull *h, const char *name, unsigned flags, struct hull_error *err);

struct hull_set_spec {
	size_t size;
	unsigned cpus; /* 0 = as it is, in all of them */
	uint64_t memory, disk;
	uint64_t swap; /* HULL_NONE = none */
};
/* Change its size: of a sandbox that runs only its disk, which can only be made larger. -EBUSY for the rest. */
int hull_set(struct hull *h, const char *name, const struct hull_set_spec *spec, struct hull_error *err);

/* Its memory to disk, its machine off; and back. */
int hull_pause(struct hull *h, const char *name, struct hull_error *err);
int hull_resume(struct hull *h, const char *name, struct hull_error *err);

/* What is known of a sandbox. Strings are never NULL unless it is said. */
struct hull_info {
	const char *name;
	const char *state; /* "created" "starting" "running" "paused" "stopped" "crashed" "damaged" "unresponsive" */
	const char *agent;
	const char *image;        /* digest */
	const char *engine;       /* the one that runs it, or that was asked for */
	const char *accel;        /* "kvm" or "tcg"; "" = it does not run */
	const char *docker;       /* "ready" "starting" "failed" "stopped" "off" "absent"; "" = not known */
	const char *error;        /* why it crashed, or what is damaged; NULL = nothing to say */
	const char *const *paths; /* as hull_create_spec has them, and "DIR:git": a repository that a worktree needs */
	const char *clone;        /* the repository of which it has a private clone; NULL = none */
	unsigned cpus;
	bool remove;           /* when it stops */
	uint64_t memory;       /* that its machine has of the host's now; HULL_UNKNOWN when it does not run */
	uint64_t memory_limit; /* the most it may have */
	uint64_t disk, swap;
	uint64_t created, started; /* 0 = never */
	int64_t pid;               /* of its keeper; 0 = it does not run */
	uint64_t sessions;         /* commands under way */
	const char *json;          /* all of it and more, as `hull ls --json` has it */
};
/* The names of all, without asking any. */
int hull_names(struct hull *h, char ***names, struct hull_error *err);
void hull_names_free(char **names);
/* Of one, or of all in the order of their names: an array that ends with NULL. Those that run are asked; one that does
 * not answer within 1.5 s is "unresponsive". */
int hull_inspect(struct hull *h, const char *name, struct hull_info **info, struct hull_error *err);
int hull_list(struct hull *h, struct hull_info ***list, struct hull_error *err);
void hull_info_free(struct hull_info *info); /* NULL is fine, also below */
void hull_list_free(struct hull_info **list);

/* --- commands --- */

enum {
	HULL_EXEC_TTY = 1 << 0,         /* on a terminal of its own, of rows and columns */
	HULL_EXEC_DETACH_KEYS = 1 << 1, /* hull_job_attach(): Ctrl-P Ctrl-Q in what is typed ends the call */
	HULL_EXEC_KEEP_INPUT = 1 << 2,  /* hull_job_attach(): the job's input stays open when fds[0] ends */
	HULL_EXEC_INPUT = 1 << 3,       /* hull_job_start(): its input is what is sent by those who attach */
};

struct hull_process; /* a command while hull_exec() runs it */

struct hull_exec_spec {
	size_t size;
	const char *const *argv; /* NULL or empty = the user's login shell */
	const char *const *env;  /* "K=V", over those of the sandbox */
	const char *cwd;         /* NULL = its clone, its first path, or the user's home */
	const char *user;        /* name, id, name:group or uid:gid; NULL = "agent" */
	unsigned flags;          /* HULL_EXEC_... */
	unsigned short rows, cols;
	/* Three descriptors: its input, output and error output; -1 = no input, output thrown away. NULL = all three -1.
	 * They may block and are never made non-blocking. */
	const int *fds;
	/* May be NULL; ctx is passed to both. started: the command runs. event: event_fd is readable, the caller's own
	 * business; 0 to go on, or the positive number that hull_exec() is to return at once: the command is hung up. With
	 * `event` the descriptor of hull_interrupt_by() is not looked at. */
	void *ctx;
	void (*started)(void *ctx, struct hull_process *p);
	int (*event)(void *ctx, struct hull_process *p);
	int event_fd;
	unsigned reserved; /* 0 */
};

/* Run a command, in a sandbox that is started if it does not run, until it has ended: its exit code, 128 + n when signal
 * n ended it. 126 or 127 with *err filled when it could not be executed, or was not found (err->code says why; it is 0
 * when these are the command's own codes). 128 + SIGPIPE when the reader of fds[1] has gone. */
int hull_exec(struct hull *h, const char *name, const struct hull_exec_spec *spec, struct hull_error *err);
/* From `started` and `event`: pass a signal on, or the new size of the terminal. */
void hull_process_signal(struct hull_process *p, int signal);
void hull_process_resize(struct hull_process *p, unsigned rows, unsigned cols);

struct hull_output {
	char *out, *err; /* with a NUL behind that does not count; free both with hull_output_free() */
	size_t out_len, err_len;
};
/* The same with its output in memory; input (may be NULL) is what it reads. fds is not looked at. -EFBIG when it prints
 * more than `max` bytes in one of the two: it is hung up. */
int hull_capture(struct hull *h, const char *name, const struct hull_exec_spec *spec, const void *input,
		 size_t input_len, size_t max, struct hull_output *output, struct hull_error *err);
void hull_output_free(struct hull_output *output); /* members, not the struct */

/* A job is a command that goes on by itself: started, in *id, once it runs. Of a command that cannot be executed -ENOENT,
 * -EACCES... */
int hull_job_start(struct hull *h, const char *name, const struct hull_exec_spec *spec, char **id,
		   struct hull_error *err);
/* What it prints from now on, until it ends: its exit code, as hull_exec() has it. HULL_DETACHED when the keys were
 * typed. Of spec argv, env, cwd and user do not count. -ENOENT when there is no such job, or it has ended. */
#define HULL_DETACHED 0x100
int hull_job_attach(struct hull *h, const char *name, const char *id, const struct hull_exec_spec *spec,
		    struct hull_error *err);
/* How a running job was started: *flags gets HULL_EXEC_TTY and HULL_EXEC_INPUT. -ENOENT as above. */
int hull_job_find(struct hull *h, const char *name, const char *id, unsigned *flags, struct hull_error *err);
/* To every process of it. 1 when the job itself has ended and what it left behind got the signal, 2 when nothing did.
 * *state (may be NULL) is what became of the job: "running" "paused" "exited" "failed" "stopped". */
int hull_job_signal(struct hull *h, const char *name, const char *id, int signal, char **state, struct hull_error *err);

struct hull_job_info {
	const char *id;
	const char *state; /* "running" "paused" "exited" "failed" "stopped" */
	const char *const *argv;
	int64_t exit;            /* its exit code; -1 = it has none (yet) */
	uint64_t started, ended; /* 0 = it has not */
	const char *json;        /* all of it, as `hull logs --jobs --json` has it */
};
/* Those that run and those that are kept, oldest first; of a sandbox that does not run as they were left. */
int hull_jobs(struct hull *h, const char *name, struct hull_job_info ***list, struct hull_error *err);
void hull_jobs_free(struct hull_job_info **list);
/* What runs in it, as `hull ps --json` has it: the guest's word. *json is the caller's. -ENOTCONN, -EFBIG. */
int hull_processes(struct hull *h, const char *name, char **json, struct hull_error *err);

/* Start it if it does not run, and wait for its Docker: the path of the socket where a docker client of this host finds
 * that, in *path. */
int hull_docker_socket(struct hull *h, const char *name, char **path, struct hull_error *err);

/* --- files --- */

enum {
	HULL_COPY_FOLLOW = 1 << 0, /* hull_copy_out(): follow `to` when it is a symlink */
};
/* Files and trees between the host and a sandbox, which is started if it does not run, with the rules of cp(1): an
 * existing directory is copied into, DIR/. means what is in it. What arrives in the sandbox is its user's, what arrives
 * here the caller's. A file appears when it is complete. */
int hull_copy_in(struct hull *h, const char *from, const char *name, const char *to, struct hull_error *err);
int hull_copy_out(struct hull *h, const char *name, const char *from, const char *to, unsigned flags,
		  struct hull_error *err);
/* A tar archive read from fd, unpacked in the directory `to`; that of `from`, written to fd. */
int hull_archive_in(struct hull *h, const char *name, const char *to, int fd, struct hull_error *err);
int hull_archive_out(struct hull *h, const char *name, const char *from, int fd, struct hull_error *err);

enum {
	HULL_UNMOUNT_FORCE = 1 << 0, /* also while something in the sandbox uses it */
};
/* A path of the host ("DIR", "DIR:ro", "FILE:ro") at its own place in the sandbox, from now on and at each start. */
int hull_mount(struct hull *h, const char *name, const char *path, struct hull_error *err);
int hull_unmount(struct hull *h, const char *name, const char *path, unsigned flags, struct hull_error *err);

/* --- network --- */

/* Publish a port of the sandbox, "[[IP:]HOST:]PORT[/udp]", on this host, from now on and at each start; and no more. */
int hull_publish(struct hull *h, const char *name, const char *port, struct hull_error *err);
int hull_unpublish(struct hull *h, const char *name, const char *port, struct hull_error *err);

struct hull_port_info {
	const char *spec;         /* "127.0.0.1:8080:80/tcp" */
	const char *const *bound; /* addresses on this host that lead there now, "127.0.0.1:8080" */
	const char *error;        /* why there are none; NULL = no error */
	const char *note;         /* what else there is to say; may be NULL */
	const char *json;         /* all of it, as `hull ports --json` has it */
};
int hull_ports(struct hull *h, const char *name, struct hull_port_info ***list, struct hull_error *err);
void hull_ports_free(struct hull_port_info **list);

struct hull_rule_spec {
	size_t size;
	const char *rule;           /* PATTERN[:PORTS][/tcp|/udp|/any]; docs/network.md */
	const char *const *methods; /* of plain HTTP only these; NULL = all */
	const char *const *paths;   /* of plain HTTP only paths like these; NULL = all */
	bool allow;                 /* else it denies, and beats every rule that allows */
	bool private_ok;            /* the name may resolve to a private address */
	unsigned char reserved[6];  /* 0 */
};
/* The rules of one sandbox, or with sandbox NULL those of all. When these return the change is in force in every sandbox
 * that runs and that it concerns; -EBUSY: it is written and not in force everywhere, the message says where and why. */
int hull_policy_allow(struct hull *h, const char *sandbox, const char *rule, struct hull_error *err);
int hull_policy_deny(struct hull *h, const char *sandbox, const char *rule, struct hull_error *err);
int hull_policy_set_rule(struct hull *h, const char *sandbox, const struct hull_rule_spec *rule,
			 struct hull_error *err);
/* Take a rule out, whether it allows or denies. -ENOENT when there is none. */
int hull_policy_unset_rule(struct hull *h, const char *sandbox, const struct hull_rule_spec *rule,
			   struct hull_error *err);
/* What rules begin with: "open", "balanced" or "locked". */
int hull_policy_preset(struct hull *h, const char *sandbox, const char *preset, struct hull_error *err);
/* Drop all rules. */
int hull_policy_reset(struct hull *h, const char *sandbox, struct hull_error *err);

/* --- saved machines --- */

enum {
	HULL_SAVE_REPLACE = 1 << 0, /* in place of one of the same name */
};
/* Save a running sandbox as it is: memory, processes, disk. tag NULL = "latest". It stands still only while the memory
 * that it has changed is copied: *paused_ms (may be NULL). */
int hull_snapshot_create(struct hull *h, const char *name, const char *tag, unsigned flags, double *paused_ms,
			 struct hull_error *err);
/* Put it back to a snapshot, and start it there. What happened in it since is lost. */
int hull_snapshot_restore(struct hull *h, const char *name, const char *tag, struct hull_error *err);
int hull_snapshot_remove(struct hull *h, const char *name, const char *tag, struct hull_error *err);

struct hull_saved_info {
	const char *sandbox; /* a template has none: "" */
	const char *tag;     /* or the template's name */
	const char *engine;  /* that saved it, and that has to restore it */
	const char *error;   /* what is damaged; NULL = nothing */
	uint64_t created;
	uint64_t stored; /* bytes on disk */
};
/* The snapshots of one sandbox, or with name NULL of all. */
int hull_snapshots(struct hull *h, const char *name, struct hull_saved_info ***list, struct hull_error *err);
void hull_snapshots_free(struct hull_saved_info **list);

/* Running copies of a running sandbox, named as `to` says (NULL = NAME-2, NAME-3...; with count > 1 TO-1, TO-2...). made,
 * if not NULL, is called with the name of each that runs. *paused_ms as above. */
int hull_fork(struct hull *h, const char *name, const char *to, unsigned count,
	      void (*made)(void *ctx, const char *name), void *ctx, double *paused_ms, struct hull_error *err);
/* Save a running sandbox as a template, which others start from. */
int hull_template_save(struct hull *h, const char *name, const char *template_name, unsigned flags,
		       struct hull_error *err);

struct hull_template_info {
	const char *name;
	const char *image, *engine; /* that it needs; "" when it is damaged */
	const char *error;          /* what is damaged; NULL = nothing */
	bool own;                   /* somebody saved it; else Hull made it, and makes it again */
	bool no_docker;
	unsigned cpus;
	uint64_t memory, disk;
	uint64_t created, used; /* 0 = never */
	uint64_t stored;        /* bytes on disk */
	const char *json;       /* all of it, as `hull template inspect` has it */
};
/* One, by its name or the beginning of one that Hull gave, or all: an array that ends with NULL. */
int hull_template_inspect(struct hull *h, const char *word, struct hull_template_info **info, struct hull_error *err);
int hull_templates(struct hull *h, struct hull_template_info ***list, struct hull_error *err);
void hull_template_info_free(struct hull_template_info *info);
void hull_templates_free(struct hull_template_info **list);
/* Sandboxes that run on one go on. */
int hull_template_remove(struct hull *h, const char *word, struct hull_error *err);
/* One file, compressed and checksummed, to fd; and read from fd. -EBADMSG: it is damaged. */
int hull_template_export(struct hull *h, const char *word, int fd, struct hull_error *err);
int hull_template_import(struct hull *h, int fd, const char *template_name, unsigned flags, struct hull_error *err);

enum {
	HULL_PRUNE_ALL = 1 << 0,     /* every template that Hull made, also those in use: sandboxes go on */
	HULL_PRUNE_DRY_RUN = 1 << 1, /* remove nothing */
};
struct hull_pruned {
	const char *kind;   /* "template" or "leftover" */
	const char *name;   /* of the template, or the path below HULL_HOME */
	const char *reason; /* why it is of no use */
	uint64_t stored;    /* bytes by its own account */
	uint64_t size;      /* bytes that go free on the disk */
};
/* Remove templates that Hull made and that no new sandbox would start from, and what interrupted calls left. gone, if not
 * NULL, is called for each; *freed (may be NULL) is the sum of their sizes. */
int hull_prune(struct hull *h, unsigned flags, void (*gone)(void *ctx, const struct hull_pruned *what), void *ctx,
	       uint64_t *freed, struct hull_error *err);

#ifdef __cplusplus
}
#endif
#endif

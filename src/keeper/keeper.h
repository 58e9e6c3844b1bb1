/* Inside hull-keeper: what its files share. The contract to the outside is keeper/api.h.
 *
 * One thread, one libuv loop, one sandbox. Nothing blocks, nothing polls, and no timer runs while nothing happens.
 *
 *   control.sock ── client.c ─┬─ service.c  the KEEPER service, answered here
 *                             └─ relay.c ───┐  EXEC, DIAL, TAR_*: stream by stream, credit and all
 *   docker.sock ── docker_socket.c ─ DIAL ──┼── guest.c ── the engine's wire
 *   jobs.c, dockerlog.c ───────────── EXEC ─┘
 *   guest.c ── pair.c ── gateway.c ── hull-egress  CONNECT, RESOLVE, DATAGRAM; and DIAL the other way
 *   hull-share ── share.c ─ SHARE, for each path ── guest.c
 *   machine.c   the engine and the image;   logs.c   capped files;   keeper.c   the life of the sandbox
 *   record.c    sandbox.json, written by a thread beside the loop
 *
 * Wires, their streams, and child processes in the loop: loop/loop.h.
 *
 * Memory: every stream holds at most its window on the way to a reader that stalls; STREAMS_MAX bounds the streams,
 * CLIENTS_MAX the clients, PENDING_* what waits for the guest to come up. */
#ifndef HULL_KEEPER_KEEPER_H
#define HULL_KEEPER_KEEPER_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "jail/jail.h"
#include "loop/loop.h"
#include "store/store.h"
#include "wire/wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct keeper;
struct hull_engine;

enum {
	STREAMS_MAX = 1024,           /* streams relayed to the guest at once */
	GUEST_STREAMS_MAX = 2048,     /* that the guest has open at once: connections, questions */
	CLIENTS_MAX = 256,            /* connections to control.sock at once */
	CLIENTS_SPARE = 16,           /* more, which may do no more than ask for its state and stop it */
	CLIENT_STREAMS_MAX = 256,     /* of one client */
	DOCKER_CLIENTS_MAX = 256,     /* connections to docker.sock at once */
	JOBS_MAX = 256,               /* jobs running at once, and finished ones that are kept */
	WAITERS_MAX = 256,            /* KEEPER requests that wait for something */
	PENDING_BYTES_MAX = 8 << 20,  /* held for streams opened before the guest is up */
	SCRATCH = 64 * 1024,          /* what one read takes */
	DOCKER_FAILURES = 3,          /* dockerd failed this often: waiting for it ends */
	BOOT_TIMEOUT_MS = 300 * 1000, /* the guest kernel did not come up: emulation on a busy host takes 30 s */
	STOP_MARGIN_MS = 10 * 1000,   /* after the grace the guest was given */
	STATS_TIMEOUT_MS = 1000,      /* a guest that does not tell its figures: answer without */
	EXIT_TIMEOUT_MS = 20 * 1000,  /* for an engine that closed the wire: it may be flushing the disk */
	DRAIN_TIMEOUT_MS = 2 * 1000,  /* at the end, for clients to take their last answers */
	GUEST_LOG_SHARE = 256 << 10,  /* of keeper.log, in one run, for lines that the guest brings about */
	LOG_CAP = 4 << 20,            /* of one log file; one older generation is kept (.1) */
	JOB_LOG_CAP = 32 << 20,
	MOUNTS_MAX = 32, /* paths of a sandbox */
};

/* --- guest.c: the wire to the guest --- */

struct guest {
	struct loop_link link;
	bool open;
	struct loop_stream control;
	bool answered;                     /* it is up */
	bool configured;                   /* and its workspace is there: it takes commands */
	bool freezing;                     /* guest_freeze() waits for its answer */
	bool stopping;                     /* it said so */
	const char *docker;                /* "off" "starting" "ready" "failed" "stopped" "absent" */
	unsigned docker_failures;          /* since it was last ready */
	char docker_text[256];             /* what it said about its last failure */
	json_t *stats;                     /* the last it told, NULL = never */
	uint64_t configured_ms, docker_ms; /* since the keeper started; 0 = not yet */
	uint64_t hello_ns, configured_ns;  /* uv_hrtime */
};
/* Start speaking to the guest on fd (borrowed until guest_close). */
int guest_open(struct keeper *k, int fd, struct hull_error *err);
void guest_close(struct keeper *k);
/* Everything that commands rely on is there. */
void guest_ready(struct keeper *k);
void guest_shutdown(struct keeper *k, uint32_t grace_ms);
void guest_ask_stats(struct keeper *k);
/* A signal to every process of a session; -ENOTCONN when the guest is not up. */
int guest_kill_session(struct keeper *k, uint32_t session, uint32_t sig);
/* Docker is not up and will not be: there is none, or it failed too often. */
bool guest_docker_hopeless(const struct keeper *k);
/* Have the guest write its disk, and make sure that it has read all that was sent: keeper_guest_synced() is called
 * then, and nothing is sent to it until guest_thaw(). -ENOTCONN when it is not up. */
int guest_freeze(struct keeper *k, bool rest);
void guest_thaw(struct keeper *k);

/* --- runtime.c: the runtime directory --- */

struct runtime {
	char *dir; /* where it is now */
	uv_poll_t poll;
	uv_timer_t timer;
	int fd; /* inotify; -1 = none */
	bool watching;
	unsigned failures; /* in a row, to make again what was taken away */
};
/* Make it, hold it, and write down that it is ours. */
int runtime_open(struct keeper *k, struct hull_error *err);
/* The sockets are there: have them come back when they are taken away. */
void runtime_watch(struct keeper *k);
/* What was to be made again there could not be: try later. */
void runtime_retry(struct keeper *k);
/* Watch no more; remove it, too. */
void runtime_close(struct keeper *k, bool remove);

/* --- clock.c: the guest's clock --- */

struct clock {
	uv_poll_t poll;
	int fd; /* tells when the host's clock is set; -1 = none */
	bool watching;
	int64_t asked_ns;  /* the TIME that is not answered yet; 0 = none */
	uint64_t asked_hr; /* uv_hrtime of it */
	uint64_t last_ms;
	unsigned rounds;
};
void clock_open(struct keeper *k);
void clock_close(struct keeper *k);
/* It may be wrong: tell the guest the time. Nothing while it is not up. */
void clock_tell(struct keeper *k);
/* The guest is at work: tell it the time unless that was done lately. */
void clock_active(struct keeper *k);
void clock_link_active(struct loop_link *guest); /* the same */
/* The guest answered CLOCK. */
void clock_answered(struct keeper *k, struct hull_cur *cur);

/* --- grow.c: a larger disk --- */

/* Make the disk `bytes` (a multiple of 1 MiB) long while the machine runs; service_grown() tells how it went. -EINVAL
 * when it is not larger than it was, -EBUSY when that is under way or the machine is being saved. */
int grow_begin(struct keeper *k, uint64_t bytes, struct hull_error *err);
/* The engine has made it so long, or (error) not. */
void grow_resized(struct keeper *k, const char *error);
/* The guest answered GROWN. */
void grow_answered(struct keeper *k, struct hull_cur *cur);

/* --- machine.c: the engine and what it starts from --- */

struct machine_ops {
	void (*kill)(struct keeper *k);
	int (*memory)(struct keeper *k, uint64_t *bytes);
	const char *(*describe)(struct keeper *k);
	const char *(*accel)(struct keeper *k);
	pid_t (*pid)(struct keeper *k);
	/* The guest has read all there was (guest_freeze). May be NULL, as the next. */
	void (*synced)(struct keeper *k);
	/* Save it: into `dir` (NULL = as this sandbox's frozen memory, which ends it), with its disk or without; `end`
	 * it then, or let it run on. service_saved() tells how it went. -EBUSY when a save is under way. */
	int (*save)(struct keeper *k, const char *dir, bool disk, bool end, struct hull_error *err);
	/* Let a machine go on that stands still because of a full disk. May be NULL. */
	int (*resume)(struct keeper *k, struct hull_error *err);
	/* Make its disk `bytes` long; grow_resized() tells how it went. May be NULL. */
	int (*grow)(struct keeper *k, uint64_t bytes, struct hull_error *err);
	/* kill() and close() may be called at any time and again; the end is told by keeper_machine_ended(). */
	void (*close)(struct keeper *k); /* ended or not: nothing is left of it after this */
};
struct machine;
/* Find the image, open the disks, start the engine. stage() tells the person who waits. */
int machine_start(struct keeper *k, void (*stage)(const char *text), struct hull_error *err);
int machine_wire_fd(const struct keeper *k);

/* --- relay.c --- */

/* A client opened a service of the guest's. */
void relay_open(struct keeper *k, struct loop_link *client, uint32_t stream, uint8_t service, const uint8_t *args,
		size_t len);
/* The guest is configured: open what waits. */
void relay_start_pending(struct keeper *k);
/* The machine is going: what waits is refused. */
void relay_refuse_pending(struct keeper *k, const char *why);
/* The arguments of an OPEN to the guest, made of those a client sent: the sandbox's env first, known tags only.
 * -EINVAL when malformed. */
int relay_arguments(const struct keeper *k, uint8_t service, const uint8_t *args, size_t len, struct hull_buf *out);
/* The arguments of an EXEC of the keeper's own: n words run as root in /. 0 or -ENOMEM. */
int relay_own_command(const char *const *argv, size_t n, struct hull_buf *out);

/* --- client.c: control.sock --- */

struct listener {
	uv_poll_t poll;
	enum {
		LISTENER_CLOSED, /* nobody wants it to listen */
		LISTENER_OPEN,
		LISTENER_REOPENING, /* the loop has still to let go of its handle */
		LISTENER_LOST,      /* it could not be opened again: runtime.c tries once more */
	} state;
	int fd; /* -1 = not listening */
	const char *file;
	struct keeper *k;
	void (*accepted)(struct keeper *k, int fd); /* takes fd */
};
/* Listen on <runtime>/NAME/file, 0600. */
int listener_open(struct keeper *k, struct listener *l, const char *file, struct hull_error *err);
void listener_close(struct listener *l);
/* Listen under its name again, which somebody has taken away. Who is connected stays. */
void listener_again(struct listener *l);
/* Is the peer this user or root? */
bool peer_allowed(int fd);

void client_accepted(struct keeper *k, int fd);
/* Flush all clients; true when none has output left. */
bool clients_drained(struct keeper *k);
void clients_close(struct keeper *k);

/* --- service.c: the KEEPER service --- */

/* spare: it may do no more than look at the sandbox and stop it. */
void service_open(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len,
		  bool spare);
/* Something that a request may wait for has changed. */
void service_changed(struct keeper *k);
/* The guest told its figures, or did not in time. */
void service_stats(struct keeper *k);
/* The command of job `id` runs (error NULL), or could not be executed. */
void service_job(struct keeper *k, const char *id, int code, const char *error);
/* A path was mounted or unmounted, or not. */
void service_mounted(struct keeper *k, const char *path, int code, const char *error);
/* The disk was grown; or error tells why not. */
void service_grown(struct keeper *k, int code, const char *error);
/* It is known how publishing port `id` went. */
void service_port(struct keeper *k, json_int_t id);
/* hull-egress has answered to a policy. */
void service_policy(struct keeper *k);
/* A save is over; error is NULL when it went well. figures (may be NULL) is borrowed. */
void service_saved(struct keeper *k, int code, const char *error, json_t *figures);
/* Everything is gone but the clients: answer those who wait for that. */
void service_ended(struct keeper *k);

/* --- docker_socket.c --- */

void docker_accepted(struct keeper *k, int fd);
void docker_changed(struct keeper *k);
void docker_close(struct keeper *k);

/* --- pair.c: streams between the guest and the gateway --- */

/* Pass a stream that `from` opened on to `to`. */
void pair_open(struct keeper *k, struct loop_link *from, uint32_t stream, struct loop_link *to, uint8_t service,
	       const uint8_t *args, size_t len);

/* --- gateway.c: hull-egress, the policy's files and published ports --- */

struct gateway;
/* Start it, unless the sandbox has no network. */
int gateway_open(struct keeper *k, struct hull_error *err);
void gateway_close(struct keeper *k);
/* The runtime directory is another one, or has lost some of its files. */
void gateway_runtime_changed(struct keeper *k);
/* The guest opened one of the network's streams. */
void gateway_guest_open(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len);
/* Publish as [[IP:]HOST:]PORT[/proto]: its number; service_port() is called when it is known how it went, and then
 * gateway_published() is to be called to keep it, or forget it. */
json_int_t gateway_publish(struct keeper *k, const char *spec, struct hull_error *err);
void gateway_published(struct keeper *k, json_int_t id);
int gateway_unpublish(struct keeper *k, const char *spec, struct hull_error *err);
/* {spec, bound: [...], host} or {spec, error}: a new reference; NULL when it is not known yet. */
json_t *gateway_port(struct keeper *k, json_int_t id);
json_t *gateway_ports(struct keeper *k);
/* What is in force (api.h, "policy"). changed: "global" or "sandbox", to read this file again first; or NULL. */
json_t *gateway_policy(struct keeper *k, const char *changed, bool texts);
/* Has hull-egress answered to what it was last told? service_policy() is called when it does. */
bool gateway_policy_settled(struct keeper *k);

/* --- share.c: the workspace --- */

/* What a server is to serve. */
struct share_spec {
	const char *path;
	int fd;    /* what is at the path, O_PATH */
	int nodes; /* share_nodes.c; -1 = none. Borrowed */
	bool readonly;
	/* Below path, relative: read-only all the same; with a '/' behind it, a path that can be changed but keeps its
	 * name, and so do all before it. */
	const char *const *guards;
	size_t guard_count;
};
/* Start the servers of all paths of sandbox.json. */
int shares_start(struct keeper *k, struct hull_error *err);
/* The guest is up: have it mount them, and call guest_ready() then. */
void shares_configured(struct keeper *k);
void shares_close(struct keeper *k);
/* The guest opened a SHARE stream; answered MOUNTED, or UNMOUNTED. */
void share_opened(struct keeper *k, struct loop_link *l, uint32_t stream, const uint8_t *args, size_t len);
void shares_answered(struct keeper *k, bool mounted, struct hull_cur *cur);
/* On a running sandbox. 0 = under way, service_mounted() tells how it went. */
int share_mount(struct keeper *k, const char *path, enum hull_path_mode mode, struct hull_error *err);
int share_unmount(struct keeper *k, const char *path, bool force, struct hull_error *err);
json_t *shares_list(struct keeper *k);

/* --- share_sync.c: the host's changes before what enters the sandbox --- */

struct sync_wait {
	struct list_node in_list;
	void (*passed)(struct sync_wait *w); /* NULL = it never waited */
};
/* True: there is nothing to wait for. Else passed() is called, once, when what was changed on the host before this is
 * seen in the guest, or a share does not answer in time; unless it is cancelled (w zeroed before: at any time). */
bool share_sync(struct keeper *k, struct sync_wait *w, void (*passed)(struct sync_wait *w));
void share_sync_cancel(struct sync_wait *w);
void share_sync_answered(struct keeper *k); /* a server has, or is gone */

/* --- share_nodes.c: what the guest knows of the workspace, beside its saved memory --- */

/* The machine stands still: have every server write it down. How many were asked; done() is called when all have
 * answered, unless it was none. After share_nodes_late() nobody is waited for. */
unsigned share_nodes_ask(struct keeper *k, void (*done)(struct keeper *k));
void share_nodes_late(struct keeper *k);
/* What they wrote, for a worker: how many. nodes is to be freed in any case. */
struct share_nodes {
	char *path;
	int fd;
};
size_t share_nodes_collect(struct keeper *k, struct share_nodes **nodes);
void share_nodes_free(struct share_nodes *nodes, size_t n);
/* 1, or 0 when there was nothing to write. From any thread. */
int share_nodes_write(const struct share_nodes *nodes, size_t n, int to, struct hull_error *err);

/* --- share_place.c: what is at the paths on the host --- */

/* See to it that another directory at this path is served. */
void place_watch(struct keeper *k, const char *path);
void place_close(struct keeper *k);

/* --- share_list.c: sandbox.json's list of paths. Who waits for the path is answered once it is changed (remember,
 * forget) --- */

/* What is read-only in one that is HULL_PATH_GIT, as share_spec has it; ends with NULL. */
const char *const *share_git_guards(void);
bool share_known(struct keeper *k, const char *path);
void share_remember(struct keeper *k, const char *path, enum hull_path_mode mode);
void share_forget(struct keeper *k, const char *path);

/* --- clone.c: the private clone --- */

struct clone;
/* The mounts are there: make the clone, if there is to be one and there is none yet, and call guest_ready() then. */
void clone_begin(struct keeper *k);
void clone_close(struct keeper *k);

/* --- share_child.c --- */

/* Start one server in its jail; *fd is our end of its socket, *control that of the one which takes paths to guard. */
int share_child_spawn(struct keeper *k, const struct share_spec *spec, int *fd, int *control, struct hull_jailed *child,
		      struct hull_error *err);

/* --- jobs.c --- */

/* Start a job; its id in out[9]. service_job() tells whether its command runs. */
int job_start(struct keeper *k, const json_t *request, char out[9], struct hull_error *err);
json_t *jobs_list(struct keeper *k);
/* A signal to all processes of a job, also of one that has ended in this run of the machine and left some behind; its
 * state in *state. -ENOENT when there is no such job. */
int job_signal(struct keeper *k, const char *id, uint32_t sig, const char **state, bool *reached,
	       struct hull_error *err);

/* --- attach.c: clients that follow a job and feed it --- */

struct audience {
	struct list_node list;
	struct loop_stream *job;
	bool input;  /* its stdin takes what they send */
	size_t owed; /* passed on to them and not granted to the job yet */
};
void audience_init(struct audience *a, struct loop_stream *job, bool input);
void audience_add(struct audience *a, struct loop_link *client, uint32_t stream);
/* The job wrote this: it is granted once everybody has taken it. */
void audience_data(struct audience *a, unsigned channel, const uint8_t *p, size_t n);
void audience_writable(struct audience *a); /* the job's stdin takes more */
void audience_message(struct audience *a, const uint8_t *p, size_t n);
/* The job has ended (code 0), or was cut off. */
void audience_close(struct audience *a, int code, const char *message);
/* A client opened ATTACH (jobs.c). */
void job_attach(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len);
enum { JOB_ID = 8 };
void job_id(char out[JOB_ID + 1]); /* a new one: hexadecimal digits */
/* The guest has a session of before its machine was paused or copied: it is a job from now on. */
void job_adopt(struct keeper *k, struct hull_cur *session);
/* The guest has told of all of them: other jobs that were running then are not there any more. */
void jobs_adopted(struct keeper *k);
/* At start: jobs that a crash left "running" are not. At the end: those still running have been stopped. */
void jobs_recover(struct keeper *k);
void jobs_close(struct keeper *k);

/* --- logs.c --- */

/* Writes of sandbox.json: record.c. */
struct record {
	uv_work_t work;
	uv_mutex_t lock;  /* held during a write */
	uint64_t written; /* under the lock: the number of the last save that was written */
	uint64_t asked;   /* the number of the last save that was asked for */
	bool busy;        /* one is in flight: the next five are its */
	uint64_t number;
	char *text;
	char **mounts; /* who waits for these paths is answered when it is done */
	int code;
	struct hull_error err;
	char *path;
	char *next; /* the text to be written then; NULL = none */
	char **next_mounts;
};

struct logfile {
	int fd; /* -1 = closed */
	uint64_t size, cap;
	char *path;
	char *old; /* path.1 */
};
/* Append to path, what is there rotated away first when `fresh` or when it is over the cap. */
int logfile_open(struct logfile *f, const char *path, uint64_t cap, bool fresh, struct hull_error *err);
void logfile_write(struct logfile *f, const void *p, size_t n); /* never fails a caller: a full disk loses log lines */
void logfile_close(struct logfile *f);

int keeper_log_open(struct keeper *k, struct hull_error *err);
/* A line that a guest can cause; rotates keeper.log when it is over its cap. */
__attribute__((format(printf, 2, 3))) void keeper_log_guest(struct keeper *k, const char *fmt, ...);

/* --- keeper.c: the life of the sandbox --- */

/* Whose link, or loop, it is. */
static inline struct keeper *keeper_of_link(const struct loop_link *l)
{
	return l->owner;
}

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING, PHASE_ENDED };

struct keeper {
	struct loop loop;
	uv_timer_t timer; /* one deadline at a time: boot, stop, drain */
	uv_timer_t stats_timer, sync_timer;
	uv_poll_t place_poll;
	int place_fd;                         /* inotify; -1 = nothing is watched */
	struct list_node sync_now, sync_next; /* waiting for the round that is under way, and for the next one */
	unsigned sync_asked;                  /* servers that have not answered; 0 = there is no round */
	uv_signal_t sigterm;

	struct hull_paths paths;
	struct hull_sandbox sb;
	struct record record;
	struct hull_buf ca; /* the authorities that the guest is to trust, as fields of the OPEN of control */
	int lock_fd, runtime_fd;
	struct runtime runtime;
	uint64_t started_ms; /* uv_hrtime / 1e6 when the keeper started */

	enum phase phase;
	bool stop_asked;       /* the guest was told to shut down */
	bool killed;           /* we pulled the plug because somebody asked for the end */
	bool save_due;         /* write that it runs, when there is nothing better to do */
	bool ended;            /* the machine is off; the next prepare does the rest */
	int end_code;          /* 0 = clean */
	char end_reason[1024]; /* why it did not end cleanly; what clients are told */
	/* Called once: the machine runs (err NULL), or it has ended without getting that far. */
	void (*report)(struct keeper *k, const struct hull_error *err);
	/* Start this sandbox anew, in this process: the template that its machine was to be restored from could not be
	 * loaded. Set by main(); returns only when that cannot be. */
	void (*boot_instead)(struct keeper *k, const char *why);
	char trouble[512]; /* the last the device model reported */
	bool removed;
	char *restore;                          /* what this run was restored from, relative to home; NULL = booted */
	char note[512];                         /* what a person should hear once it runs: why it was booted instead */
	bool fresh;                             /* of another sandbox */
	bool parked;                            /* its memory is on disk: it ends paused, not stopped */
	uint64_t begin_ns, machine_ns, runs_ns; /* uv_hrtime: the keeper began; the engine was started; its CPUs run */
	uint64_t first_exec_ns;                 /* the first command has ended */

	const struct machine_ops *machine_ops;
	struct machine *machine;
	struct guest guest;
	struct clock clock;
	uint64_t growing; /* the disk is being made this large; 0 = it is not */
	bool grow_asked;  /* the guest was told so: its answer counts from here on */
	/* Start hull-egress with its end of the wire. Set by main(); NULL = there is none. */
	int (*gateway_start)(struct keeper *k, int fd, pid_t *pid, int *pidfd, struct hull_error *err);
	const char *const *host_files; /* what tests put in place of gateway_files.h's; NULL = those */
	bool host_files_fixed;         /* hull-egress has them as they were when it started */
	struct gateway *gateway;       /* NULL = no network */
	size_t pair_count;
	struct listener control, docker;
	/* share_child_spawn(), or a test's; NULL = nothing is mounted. */
	int (*share_spawn)(struct keeper *k, const struct share_spec *spec, int *fd, int *control,
			   struct hull_jailed *child, struct hull_error *err);
	struct list_node clients, relays, pending, waiters, docker_conns, jobs, mounts;
	size_t mount_count;
	int nodes_fd;         /* what was kept beside the memory that is restored; -1 = nothing */
	unsigned nodes_asked; /* servers that have not answered */
	void (*nodes_done)(struct keeper *k);
	struct clone *clone; /* while it is being made */
	size_t client_count, spare_count, stream_count, pending_bytes, waiter_count, docker_count, job_count;
	unsigned sessions;    /* exec streams of clients, and jobs */
	size_t told_sessions; /* that the guest brought along */
	size_t adopted_new;   /* of them, adopted without a record here */

	struct logfile keeper_log, docker_log;
	struct logfile guest_log; /* what keeper.log has no room for of the guest's lines; logs.c */
	size_t guest_said;        /* bytes of them in keeper.log */
	struct loop_stream docker_tail;
	uint8_t scratch[SCRATCH];
};

/* Everything that needs no machine: loop, lists, timers. k is zeroed; paths and sb are set. */
int keeper_init(struct keeper *k, struct hull_error *err);
/* The sockets, in the runtime directory that exists already. */
int keeper_listen(struct keeper *k, struct hull_error *err);
/* Until the sandbox has ended and the clients have their answers. */
void keeper_run(struct keeper *k);
/* record.c. Write state and reason into sandbox.json, now: 0 once it is on the disk, or -errno, which is logged too.
 * The loop waits for the disk meanwhile. */
int keeper_save(struct keeper *k, const char *state, const char *reason);
/* Write that it runs, off the loop. With `mount`, who waits for that path is answered once that is done. */
void keeper_save_later(struct keeper *k, const char *mount);
/* Is somebody still to be answered for this path? */
bool record_awaited(const struct keeper *k, const char *path);
void record_free(struct keeper *k); /* no write is in flight */

void keeper_machine_runs(struct keeper *k);
/* The machine is about to change the disk that saved memory belongs to: that must not be restored again, whatever
 * happens. It is taken out of sandbox.json, for good. On failure the machine must not run. */
int keeper_consume(struct keeper *k, struct hull_error *err);
/* Is this what a pause left, "sandboxes/NAME/frozen"? NULL is not. */
bool keeper_frozen(const char *restore);
void keeper_configured(struct keeper *k); /* the guest takes commands */
void keeper_docker_changed(struct keeper *k);
void keeper_guest_stopping(struct keeper *k); /* it shuts down, asked or not */
void keeper_wire_closed(struct keeper *k);    /* by the engine, which is about to end */
void keeper_stop(struct keeper *k, uint32_t grace_ms);
void keeper_kill(struct keeper *k); /* asked for: ends as "stopped" */
/* Something is wrong with the guest: pull the plug; ends as "crashed" with the reason. */
__attribute__((format(printf, 2, 3))) void keeper_fault(struct keeper *k, const char *fmt, ...);
/* The machine is off. May be called from inside any event. */
void keeper_machine_ended(struct keeper *k, int code, const char *reason);
uint64_t keeper_ms(const struct keeper *k); /* since the keeper started */

/* dockerlog.c: follows the guest's dockerd log into dockerd.log */
void dockerlog_start(struct keeper *k); /* unless it is followed already */
void dockerlog_stop(struct keeper *k);

#endif

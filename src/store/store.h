/* SPDX-License-Identifier: Apache-2.0 */
/* The state on disk: where things are, what a sandbox is, and who holds it. The contract.
 *
 *   $HULL_HOME (default $XDG_DATA_HOME/hull, ~/.local/share/hull)
 *       images/DIGEST/...                       image/image.h
 *       sandboxes/NAME/sandbox.json             struct hull_sandbox, replaced atomically
 *       sandboxes/NAME/lock                     held exclusively by the keeper for as long as it lives
 *       sandboxes/NAME/disk.img                 sparse ext4; perhaps not before the first start
 *       sandboxes/NAME/{snapshots/TAG,frozen}/  saved machines, and templates/NAME/: snapshot/snapshot.h
 *       sandboxes/NAME/docker/                  the docker client's configuration for it: cli/docker_env.c
 *       sandboxes/NAME/{keeper,engine,serial,dockerd}.log, jobs/ID.log, jobs/ID.json
 *   $XDG_RUNTIME_DIR/hull (default /run/user/UID/hull when that exists, else /tmp/hull-UID, 0700 and ours)
 *       NAME/control.sock NAME/docker.sock NAME/jail/      or elsewhere: runtime.c
 *
 * A sandbox runs exactly while its lock is held. What is written in it (runtime.c) is true as long. The name of a
 * sandbox appears and disappears by one rename (scratch directories sandboxes/.new-* and .old-*); what an interrupted
 * command leaves is swept by the next create or rm. */
#ifndef HULL_STORE_STORE_H
#define HULL_STORE_STORE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HULL_NAME_MAX = 63, HULL_GIT_TEXT_MAX = 256 /* of a name or email for git, one line */ };
/* The largest disk: what ext4 with blocks of 4 KiB has. */
#define HULL_DISK_MAX (16ull << 40)

struct hull_paths {
	char *home;    /* data */
	char *runtime; /* sockets */
	char *config;
};
/* From the environment, directories made (0700) when missing. -EPERM when one of them, or a directory above,
 * is someone else's or open to others. */
int hull_paths_open(struct hull_paths *out, struct hull_error *err);
void hull_paths_free(struct hull_paths *p);
/* "<home>/sandboxes/NAME[/file]", owned by the caller; file may be NULL. */
char *hull_sandbox_path(const struct hull_paths *p, const char *name, const char *file);
/* "<runtime>/NAME[/file]", or "/tmp/hull-UID/HASH[/file]" (hull_runtime_short) where a socket in that would have too
 * long a path: where a sandbox started in this environment has its sockets. To find one that runs use
 * hull_sandbox_runtime_path(). */
char *hull_runtime_path(const struct hull_paths *p, const char *name, const char *file);
char *hull_runtime_short(const struct hull_paths *p, const char *name, const char *file);
/* A name by which a machine may go: the sandbox's, '-' for what a host name may not have. */
void hull_hostname(const char *name, char out[HULL_NAME_MAX + 1]);

/* [a-z0-9][a-z0-9_.-]*, at most HULL_NAME_MAX, case folded by hull_name_from(). Error says what is wrong. */
int hull_name_check(const char *name, struct hull_error *err);
/* A valid name out of "<agent>-<directory>": other bytes become '-', cut to length. Owned by the caller. */
char *hull_name_from(const char *agent, const char *directory);

/* --- entry.c: an entry of a sandbox's list of paths --- */

/* How a path is mounted. GIT: the repository of a linked worktree, writable but for what git would run. */
enum hull_path_mode { HULL_PATH_WRITABLE, HULL_PATH_READONLY, HULL_PATH_GIT };
/* The length of its path, and (mode may be NULL) what stands behind it. */
size_t hull_entry_split(const char *entry, enum hull_path_mode *mode);
/* Its path; the entry of a path. Owned by the caller, NULL when out of memory. */
char *hull_entry_path(const char *entry);
char *hull_entry_make(const char *path, enum hull_path_mode mode);
/* Where the path is in the list, which may be NULL; its length when it is not. */
size_t hull_entry_find(char *const *entries, const char *path);

/* The requested settings of a sandbox and its state. Strings owned; lists NULL-terminated, never NULL. */
struct hull_sandbox {
	char *name;
	char *agent; /* "shell" */
	char *image; /* digest of the base image */
	unsigned cpus;
	uint64_t memory; /* bytes */
	uint64_t disk;   /* bytes */
	uint64_t swap;   /* bytes of the disk; 0 = none */
	char *engine;    /* "auto" "qemu" "kvm" */
	char **env;      /* "K=V" */
	char **paths;  /* workspace paths "PATH", "PATH:ro" or "PATH:git", absolute; the first is the working directory
			*/
	char *clone;   /* top of the host's repository of which it has a private clone at the same path; NULL = none */
	char *workdir; /* with a clone: where commands start, in it */
	bool cloned;   /* it is there */
	char **ports;  /* published: "[IP:]HOST:PORT/tcp" (policy/port.h) */
	/* The user's names for those paths: symlinks of the host, made in the guest where no file exists. LINK and
	 * TARGET in turn. */
	char **links;
	char **ca; /* files of certificates of authorities that it trusts, absolute; read at each start */
	char *git_name, *git_email; /* the host user's, for git in the guest; NULL = none, or not wanted */
	bool no_docker;
	bool no_network;  /* no gateway at all */
	bool remove;      /* --rm */
	uint64_t created; /* seconds since 1970 */
	uint64_t started; /* 0 = never */
	/* last state written by the keeper: "created" "starting" "running" "paused" "stopped" "crashed" */
	char *state;
	char *restore;    /* the next start restores the saved machine in this directory, relative to home; else NULL */
	char *restore_id; /* hull_snapshot.digest of that save; present only with `restore` */
	/* it has never run, and its disk was copied in this boot of the host: after another boot the disk may be
	 * incomplete; NULL = it has run, or the disk is complete */
	char *disk_boot;
	bool fresh;       /* its disk is another sandbox's, and it has not been up yet: identities are to be renewed */
	bool has_policy;  /* it has had a policy.yaml of its own: without the file everything is denied */
	char *policy;     /* for hull_sandbox_create() alone: text of the policy.yaml it begins with; NULL = none */
	char *last_error; /* why it crashed or did not start; NULL after a clean stop */
};
void hull_sandbox_free(struct hull_sandbox *s); /* frees the members, not s; fit for _cleanup_ */

/* Read sandbox.json. -ENOENT unknown name; -EBADMSG damaged (the message says file and what to do). */
int hull_sandbox_load(const struct hull_paths *p, const char *name, struct hull_sandbox *out, struct hull_error *err);
/* The content of that file; to be freed. */
int hull_sandbox_text(const struct hull_sandbox *s, char **text, struct hull_error *err);
int hull_sandbox_save(const struct hull_paths *p, const struct hull_sandbox *s, struct hull_error *err);
/* May a new sandbox have this name? -EINVAL: not a valid name; -EEXIST: taken. Meant for a check before long
 * operations; hull_sandbox_create() decides. */
int hull_sandbox_name_new(const struct hull_paths *p, const char *name, struct hull_error *err);
/* Make the directory of a new sandbox and its disk (cloned from seed_fd, then grown to s->disk), and write
 * sandbox.json last. -EEXIST when the name is taken, -ENOSPC with the figures, -EINVAL when a member of s is out of
 * range or s->disk is smaller than the seed (the message has the minimum). All or nothing. The disk's data is not
 * fsynced: the first fsync of the guest flushes it, and until it runs disk_boot tells in which boot of the host it is
 * whole. With `may_wait` the disk is only made where a reflink is all it takes; else the first start makes it
 * (keeper/machine/disk.c), and there is no disk.img until then. */
int hull_sandbox_create(const struct hull_paths *p, const struct hull_sandbox *s, int seed_fd, bool may_wait,
			struct hull_error *err);
/* The boot id of the host, "" when unknown. */
void hull_boot_id(char out[37]);
/* Remove everything of a stopped sandbox: -EBUSY while its lock is held. Works on damaged ones too. */
int hull_sandbox_remove(const struct hull_paths *p, const char *name, struct hull_error *err);
/* Names, sorted; *names NULL-terminated, free with hull_strv_free(). */
int hull_sandbox_list(const struct hull_paths *p, char ***names, struct hull_error *err);

/* Wait until no other process has the turn for these strings (a NULL-terminated list), and take it. Returns the
 * descriptor (close-on-exec) that holds it. waits(ctx), which may be NULL, is called before waiting. */
int hull_turn_take(const struct hull_paths *p, char *const *about, void (*waits)(void *ctx), void *ctx,
		   struct hull_error *err);

/* Take the sandbox's lock for the keeper: the descriptor (close-on-exec) that holds it, or -EBUSY when running. */
int hull_sandbox_lock(const struct hull_paths *p, const char *name, struct hull_error *err);
/* Is the lock held (is it running)? Takes nothing. A keeper that has been killed holds it until its last thread has left
 * the kernel: it is waited for, for a second at most, so that whoever saw its death finds the lock free. */
bool hull_sandbox_running(const struct hull_paths *p, const char *name);
/* Remove the runtime directory of a sandbox that is not running (stale sockets after a crash). One that a keeper
 * holds (hull_sandbox_runtime) is left alone. */
void hull_sandbox_sweep(const struct hull_paths *p, const char *name);
/* The state to show: "created" "starting" "running" "paused" "stopped" or "crashed" (also when the file says that it
 * runs while its lock is free). Static string. */
const char *hull_sandbox_truth(const struct hull_sandbox *s, bool lock_held);

/* For the keeper, which holds the sandbox's lock. Make the runtime directory, hull_runtime_path() (0700, empty), and
 * hold a flock on it; the descriptor. -EBUSY when a sandbox of the same name in another HULL_HOME has it. */
int hull_sandbox_runtime(const struct hull_paths *p, const char *name, struct hull_error *err);
/* The same with whatever directory, what is in it left alone. */
int hull_runtime_hold(const char *path, struct hull_error *err);
/* Remove a runtime directory that is held by us. */
void hull_runtime_remove(const char *path);
/* Record the holder of the lock (this process) and where its sockets are. */
int hull_sandbox_record(int lock_fd, const char *runtime, struct hull_error *err);
/* Read that record: the runtime directory of a running sandbox (hull_runtime_path() when unknown), and a pidfd of the
 * process that holds its lock (-1: there is none, or it is in another pid namespace). */
char *hull_sandbox_runtime_path(const struct hull_paths *p, const char *name, const char *file);
int hull_sandbox_keeper(const struct hull_paths *p, const char *name);
/* Like hull_sandbox_remove, for the holder of the lock. */
int hull_sandbox_remove_held(const struct hull_paths *p, const char *name, struct hull_error *err);

/* When Hull runs as root, a sandbox's children run as an id of their own, so that they cannot touch each other. It
 * follows from home and name alone: one of 2^28 ids from 1879048192 (0x70000000), above those that systemd and
 * /etc/subuid hand out (two sandboxes of a thousand share one with a probability of 1 in 500). */
enum { HULL_UID_FIRST = 0x70000000, HULL_UID_COUNT = 0x10000000 };
uid_t hull_sandbox_uid(const struct hull_paths *p, const char *name);

void hull_strv_free(char **v);
char **hull_strv_copy(char *const *v); /* NULL gives an empty list; NULL when out of memory */
int hull_strv_add(char ***v, const char *s);
size_t hull_strv_count(char *const *v);

#endif

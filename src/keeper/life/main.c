/* SPDX-License-Identifier: Apache-2.0 */
/* hull-keeper: keeps one sandbox. Started by the hull command; see keeper/api.h for how they speak.
 *
 * It daemonizes first (fork, setsid): the engine dies with the thread that started it, so the process that starts it
 * must be the one that stays. Until the sandbox is up, it reports on the status pipe; everything is in keeper.log, too. */
#include "keeper/life/life.h"
#include "keeper/api.h"
#include "keeper/network/gateway_child.h"
#include "keeper/machine/machine.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "ca/ca.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static int status_fd = -1;
static uint64_t begin_ns;

static void send_status(json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (text && status_fd >= 0) {
		_cleanup_free_ char *line = hull_fmt("%s\n", text);
		if (line)
			hull_write_full(status_fd, line, strlen(line));
	}
	free(text);
	json_decref(j);
}

static void stage(const char *text)
{
	hull_log("%s", text);
	send_status(json_pack("{s:s}", "stage", text));
}

static void send_error(const struct hull_error *err)
{
	send_status(json_pack("{s:s+,s:i}", "error", err->msg, "", "code", err->code < 0 ? -err->code : EIO));
	if (status_fd < 0)
		fprintf(stderr, "hull-keeper: %s\n", err->msg);
}

static int fail(const struct hull_error *err)
{
	hull_log("%s", err->msg);
	send_error(err);
	return 125;
}

/* --- daemonize --- */

static int redirect(int to, int flags)
{
	_cleanup_close_ int fd = open("/dev/null", flags | O_CLOEXEC);
	return fd < 0 || dup2(fd, to) < 0 ? -errno : 0;
}

/* Inherited are descriptors 0 to 2 and perhaps the status pipe; close all others. */
static void close_inherited(void)
{
	struct stat st;
	if (fstat(HULL_KEEPER_STATUS_FD, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
		status_fd = HULL_KEEPER_STATUS_FD;
		hull_set_cloexec(status_fd, true);
		close_range(HULL_KEEPER_STATUS_FD + 1, ~0u, 0);
	} else {
		close_range(HULL_KEEPER_STATUS_FD, ~0u, 0);
	}
}

static int daemonize(struct hull_error *err)
{
	pid_t pid = fork();
	if (pid < 0)
		return hull_fail_errno(err, "cannot start the keeper");
	if (pid > 0)
		_exit(0);
	setsid();
	if (chdir("/") < 0 || redirect(0, O_RDONLY) < 0 || redirect(1, O_WRONLY) < 0)
		return hull_fail_errno(err, "cannot leave the terminal");
	return 0;
}

static void harden(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		rlim_t want = 4 * (CLIENTS_MAX + DOCKER_CLIENTS_MAX + JOBS_MAX);
		files.rlim_cur = files.rlim_max < want ? files.rlim_max : want;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(077);
	/* One arena is enough for one thread; large buffers go back to the system when they are freed. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	mallopt(M_TRIM_THRESHOLD, 128 * 1024);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
}

/* --- start --- */

/* Remove the memory of an earlier pause, unless it is what is restored now. */
static void drop_leftover(struct keeper *k)
{
	_cleanup_free_ char *frozen = hull_sandbox_path(&k->paths, k->sb.name, "frozen");
	_cleanup_free_ char *home = hull_sandbox_path(&k->paths, k->sb.name, NULL);
	if (home)
		hull_saved_sweep(home); /* a pause that was killed */
	if (!frozen || !home || keeper_is_pause(k->sb.restore) || access(frozen, F_OK) < 0)
		return;
	hull_log("removing the memory saved by an earlier pause: it is out of date");
	_cleanup_close_ int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		hull_remove_tree(dir, "frozen", NULL);
}

/* The certificates that the guest is to trust, as the files are now. One that builds a template (the only ones with a
 * lease) has none: everybody's sandboxes will have what is in that. */
static int read_authorities(struct keeper *k, struct hull_error *err)
{
	_cleanup_(hull_ca_free) struct hull_ca ca = {0};
	int r = getenv(HULL_KEEPER_LEASE) ? 0 : hull_ca_add_config(&ca, k->paths.config, err);
	for (char **f = k->sb.ca; r == 0 && f && *f; f++)
		if ((r = hull_ca_add_file(&ca, *f, err)) < 0)
			hull_wrap(err, "--ca");
	if (r == 0 && hull_ca_fields(&ca, &k->guest->ca) < 0)
		r = hull_fail(err, -ENOMEM, "out of memory");
	return r;
}

static int start(struct keeper *k, const char *name, struct hull_error *err)
{
	int r = hull_paths_open(&k->paths, err);
	if (r == 0)
		r = hull_sandbox_load(&k->paths, name, &k->sb, err);
	if (r == 0)
		r = keeper_init(k, err);
	if (r < 0)
		return r;
	k->lock_fd = hull_sandbox_lock(&k->paths, name, err);
	if (k->lock_fd < 0)
		return k->lock_fd;
	/* It may have been changed by whoever held the lock until now. */
	hull_sandbox_free(&k->sb);
	r = hull_sandbox_load(&k->paths, name, &k->sb, err);
	if (r == 0)
		r = keeper_log_open(k, err);
	if (r < 0)
		return r;
	dup2(k->logs.keeper.fd, 2); /* whatever a library has to say */
	r = runtime_open(k, err);
	if (r < 0)
		return r;
	hull_log("hull %s starts sandbox %s", HULL_VERSION, name);
	r = read_authorities(k, err);
	if (r < 0)
		return r;
	jobs_recover(k);
	k->origin.begin_ns = begin_ns;
	k->sb.started = (uint64_t)time(NULL);
	drop_leftover(k);
	/* That of a template is made with the machine, which is restored from the same. */
	bool later = hull_template_is_hulls(k->sb.restore) && disk_missing(k);
	r = later ? 0 : disk_make(k, stage, err);
	if (r < 0)
		return r;
	/* What is to be restored stays in the file until the machine is about to run (keeper_claim_saved). */
	k->origin.restore = k->sb.restore ? strdup(k->sb.restore) : NULL;
	k->origin.fresh = k->sb.fresh;
	if (k->sb.restore && !k->origin.restore)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (!k->origin.restore) {
		free(k->sb.disk_boot);
		k->sb.disk_boot = NULL;
		if (keeper_save(k, "starting", NULL) < 0)
			return hull_fail(err, -EIO, "cannot write sandbox.json; see `hull logs %s`", name);
	}
	k->workspace->spawn = share_child_spawn;
	k->network->start = gateway_child_start;
	restore_nodes(k);
	r = shares_start(k, err);
	hull_closep(&k->workspace->nodes.fd);
	/* A port that cannot be had is known before the machine runs; without ports there is nothing to wait for, and
	 * the gateway starts beside the machine. */
	if (r == 0 && k->sb.ports && k->sb.ports[0] && (r = gateway_open(k, err)) == 0)
		r = gateway_await_ports(k, err);
	if (r == 0)
		r = machine_start(k, stage, err);
	if (r == 0)
		r = gateway_open(k, err);
	if (r == 0)
		gateway_restore_names(k, k->machine->names);
	if (r == 0)
		r = guest_open(k, machine_wire_fd(k), err);
	if (r == 0)
		r = keeper_listen(k, err);
	return r;
}

/* Undo a start that failed. */
static void give_up(struct keeper *k, const struct hull_error *err)
{
	if (!k->events || k->lock_fd < 0)
		return; /* nothing was begun */
	gateway_close(k);
	if (k->machine_ops)
		k->machine_ops->close(k);
	if (k->sb.name)
		keeper_save(k, keeper_is_pause(k->sb.restore) ? "paused" : "stopped", err->msg);
	runtime_close(k, true);
}

/* With HULL_KEEPER_LEASE the process that started this one holds the other end of the status pipe open, and the machine
 * must not outlive it, however it ends. */
static void on_lease(uv_poll_t *poll, int status, int events)
{
	uv_poll_stop(poll);
	hull_log("the process that started this sandbox has ended: killing the machine");
	struct keeper *k = poll->data;
	k->events->kill(k);
}

static bool watch_lease(struct keeper *k)
{
	static uv_poll_t lease;
	if (status_fd < 0 || !getenv(HULL_KEEPER_LEASE) || uv_poll_init(&k->loop.uv, &lease, status_fd) < 0)
		return false;
	lease.data = k;
	return uv_poll_start(&lease, UV_DISCONNECT, on_lease) == 0;
}

/* Ready means that the engine has answered, not only that its process was started: an engine that cannot run fails in
 * its first moments, and the caller is to get the reason. */
static void on_report(struct keeper *k, const struct hull_error *err)
{
	if (err)
		send_error(err);
	else
		send_status(json_pack("{s:b, s:s*}", "ready", 1, "note", k->origin.note[0] ? k->origin.note : NULL));
	if (status_fd >= 0 && (err || !watch_lease(k)))
		close(status_fd);
	status_fd = -1;
}

#define AGAIN "HULL_KEEPER_AGAIN" /* set when this was started by itself: once is enough */

static void boot_instead(struct keeper *k, const char *why)
{
	char *argv[] = {(char *)"hull-keeper", (char *)"--foreground", k->sb.name, NULL};
	_cleanup_free_ char *note = hull_fmt("its template cannot be loaded (%.400s); it was booted instead", why);
	if (status_fd >= 0 && hull_set_cloexec(status_fd, false) < 0)
		return;
	setenv(AGAIN, "1", 1);
	send_status(json_pack("{s:s*}", "note", note));
	hull_log("the template cannot be loaded: starting anew, and booting");
	execv("/proc/self/exe", argv);
	hull_log("cannot restart the keeper: %s", strerror(errno));
}

static struct keeper keeper;

int main(int argc, char **argv)
{
	struct hull_error err = {0};
	if (hull_debug_init(&argc, argv, &err) < 0)
		return fail(&err);
	bool foreground = argc == 3 && strcmp(argv[1], "--foreground") == 0;
	if (argc != 2 + foreground || argv[argc - 1][0] == '-') {
		fputs("usage: hull-keeper [--foreground] NAME   (started by hull; see "
		      "docs/internals/architecture.md)\n",
		      stderr);
		return 125;
	}
	const char *name = argv[argc - 1];
	begin_ns = uv_hrtime();
	close_inherited();
	if (!foreground && daemonize(&err) < 0)
		return fail(&err);
	harden();
	keeper.life.report = on_report;
	keeper.life.boot_instead = getenv(AGAIN) ? NULL : boot_instead;
	if (start(&keeper, name, &err) < 0) {
		give_up(&keeper, &err);
		return fail(&err);
	}
	keeper_run(&keeper);
	return keeper.life.end_code ? 1 : 0;
}

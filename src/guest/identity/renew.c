/* SPDX-License-Identifier: Apache-2.0 */
/* Renews the identity of a machine that was restored as a copy: what must be unique is generated again, before the host
 * is told that commands can run.
 *
 *   | what                                     | who            | when it takes effect                            |
 *   |------------------------------------------|----------------|-------------------------------------------------|
 *   | clock, hostname, the kernel's entropy    | control.c      | before this, from CONFIGURE                     |
 *   | /etc/machine-id                          | hull-init      | at once                                         |
 *   | Docker's engine id                       | hull-init      | when dockerd starts next                        |
 *   | the random seed saved for the next boot  | hull-init      | deleted at once                                 |
 *   | SSH host keys, of each type that existed | a child        | when it has ended                               |
 *   | executable files in                      | the same child | when it has ended; they run as root, in the     |
 *   |   /etc/hull/on-restore.d/                |                | order of their names                            |
 *
 * The child is only started when there are SSH host keys or such files. It is killed after PATIENCE_MS: a sandbox that
 * never comes up because of a hook is worse than one that reports the failure. */
#include "guest/identity/identity.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/core/own.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { PATIENCE_MS = 60 * 1000 };

static struct hull_child child;
static struct hull_timer patience;
static void (*when_done)(void);

extern const char hull_renew_script[]; /* renew.sh, embedded */

static void new_docker_id(void)
{
	static const char path[] = "/run/hull/disk/docker/engine-id"; /* as in /var/lib/docker */
	uint8_t r[16];
	char text[40];
	struct stat st;
	if (access(path, F_OK) < 0 || !hull_random_uuid(r))
		return;
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
		 r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
	/* In place: dockerd writes one of this very length. */
	_cleanup_close_ int out = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (out >= 0 && hull_write_full(out, text, strlen(text)) == 0 && fstat(out, &st) == 0 &&
	    st.st_size != (off_t)strlen(text) && ftruncate(out, (off_t)strlen(text)) < 0)
		hull_say("cannot renew Docker's id: %s", strerror(errno));
}

static bool has_entry(const char *dir, const char *prefix)
{
	int fd = hull_own_open(dir, O_RDONLY | O_DIRECTORY, 0);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !d)
		close(fd);
	for (const struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

static void unlink_own(const char *dir, const char *name)
{
	_cleanup_close_ int fd = hull_own_open(dir, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0)
		unlinkat(fd, name, 0);
}

static void renew_run(void *ctx, int status_fd)
{
	static char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
			      "LANG=C.UTF-8", NULL};
	static char *argv[] = {"sh", "-c", (char *)(uintptr_t)hull_renew_script, NULL};
	int log = open("/var/log/hull-restore.log", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640);
	setsid();
	if (log >= 0 && (dup2(log, 1) < 0 || dup2(log, 2) < 0))
		hull_spawn_fail(status_fd, HULL_STAGE_SETUP);
	umask(022);
	int r = chdir("/");
	(void)r;
	execve("/bin/sh", argv, env);
	hull_spawn_fail(status_fd, HULL_STAGE_EXEC);
}

static void renew_done(void)
{
	void (*then)(void) = when_done;
	hull_timer_stop(&patience);
	when_done = NULL;
	if (then)
		then();
}

static void renew_ended(struct hull_child *c, int status)
{
	renew_done();
}

static void gave_up(struct hull_timer *t)
{
	hull_say("renewing this copy's identity takes too long (see /var/log/hull-restore.log): going on without");
	kill(-child.pid, SIGKILL);
	hull_child_forget(&child);
	renew_done();
}

void hull_renew(void (*then)(void))
{
	struct hull_error err = {0};
	hull_machine_id(true);
	new_docker_id();
	unlink_own("/var/lib/systemd", "random-seed");
	if (child.pid > 0) { /* restored amid a restore */
		kill(-child.pid, SIGKILL);
		hull_child_forget(&child);
	}
	when_done = then;
	if (!has_entry("/etc/ssh", "ssh_host_") && !has_entry("/etc/hull/on-restore.d", "")) {
		renew_done();
		return;
	}
	if (hull_spawn(&child, -1, renew_run, NULL, NULL, renew_ended, &err) < 0) {
		hull_say("renewing this copy's identity: %s", err.msg);
		renew_done();
		return;
	}
	hull_timer_start(&patience, PATIENCE_MS, gave_up);
}

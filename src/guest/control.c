/* SPDX-License-Identifier: Apache-2.0 */
/* The service control: the host's messages to hull-init, of which CONFIGURE comes first in every epoch. What hull-init
 * has to say by itself goes out on the same stream (core/report.c). */
#include "guest/guest.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/docker/docker.h"
#include "guest/identity/identity.h"
#include "guest/machine/machine.h"
#include "guest/net/net.h"
#include "guest/session/session.h"
#include "guest/workspace/workspace.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <linux/random.h>

enum { ENTROPY_MAX = 512, GRACE_DEFAULT_MS = 10000 };

static struct hull_stream control;

/* sync(2) writes to the workspace too, which takes answers that only we can fetch: so it is not done here. */
static struct hull_child sync_child;

static void sync_run(void *ctx, int status_fd)
{
	hull_child_keep(-1, status_fd);
	sync();
	_exit(0);
}

static void sync_ended(struct hull_child *c, int status)
{
	hull_report_uptime(HULL_MSG_SYNCED);
}

static void begin_sync(void)
{
	struct hull_error err;
	if (sync_child.pid == 0 && hull_spawn(&sync_child, -1, sync_run, NULL, NULL, sync_ended, &err) < 0)
		hull_say("%s", err.msg);
}

/* Credit what the host gives as entropy, and make the kernel's generator use it at once. */
static void add_entropy(const uint8_t *p, size_t n)
{
	if (n > ENTROPY_MAX)
		n = ENTROPY_MAX;
	_cleanup_free_ struct rand_pool_info *pool = calloc(1, sizeof(*pool) + ENTROPY_MAX);
	if (!pool)
		return;
	pool->entropy_count = (int)(n * 8);
	pool->buf_size = (int)n;
	memcpy(pool->buf, p, n);
	_cleanup_close_ int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		hull_say("cannot add the host's entropy: %s", strerror(errno));
}

/* What waits for CONFIGURED may count on a network. */
static void now_configured(void)
{
	if (!control.id)
		return;
	hull_report_configured();
	hull_exec_announce();
	hull_report_uptime(HULL_MSG_CONFIGURED);
	hull_docker_announce();
}

static void renewed(void)
{
	hull_machine_id(false);
	hull_net_when_ready(now_configured);
}

static void configure(struct hull_cur *cur)
{
	bool renew = false;
	struct hull_arg a;
	struct hull_error err = {0};
	_cleanup_free_ char *git_name = NULL;
	_cleanup_free_ char *git_email = NULL;
	_cleanup_free_ char *link = NULL;
	while (hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_TIME_NS && hull_arg_u64(&a) > 0) {
			hull_clock_set((int64_t)hull_arg_u64(&a));
		} else if (a.tag == HULL_TAG_HOSTNAME) {
			_cleanup_free_ char *name = hull_arg_str(&a);
			if (name && hull_set_hostname(name, &err) < 0)
				hull_say("%s", err.msg);
		} else if (a.tag == HULL_TAG_ENTROPY) {
			add_entropy(a.p, a.n);
		} else if (a.tag == HULL_TAG_GIT_NAME || a.tag == HULL_TAG_GIT_EMAIL) {
			char **to = a.tag == HULL_TAG_GIT_NAME ? &git_name : &git_email;
			free(*to);
			*to = hull_arg_str(&a);
		} else if (a.tag == HULL_TAG_LINK) {
			free(link);
			link = hull_arg_str(&a);
		} else if (a.tag == HULL_TAG_TARGET && link) {
			_cleanup_free_ char *target = hull_arg_str(&a);
			if (target)
				hull_person_link(link, target);
		} else if (a.tag == HULL_TAG_LOG) {
			_cleanup_free_ char *levels = hull_arg_str(&a);
			hull_debug_sink(hull_report_debug);
			if (levels && hull_debug_set(levels, &err) < 0)
				hull_say("%s", err.msg);
		} else if (a.tag == HULL_TAG_SWAP_BYTES) {
			hull_swap_start(hull_arg_u64(&a));
		} else if (a.tag == HULL_TAG_RENEW) {
			renew = hull_arg_u32(&a) != 0;
		} else if (a.tag == HULL_TAG_DISK_BYTES) {
			if (hull_disk_grow(&err) < 0)
				hull_say("%s", err.msg);
		}
	}
	if (git_name || git_email)
		hull_person_git(git_name, git_email);
	if (renew) {
		hull_renew(renewed);
		return;
	}
	renewed();
}

static void time_told(struct hull_cur *cur)
{
	_cleanup_(hull_buf_free) struct hull_buf m = {0};
	struct hull_arg a;
	uint64_t host = 0, offset = 0;
	while (hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_TIME_NS)
			host = hull_arg_u64(&a);
		else if (a.tag == HULL_TAG_OFFSET_NS)
			offset = hull_arg_u64(&a);
	}
	hull_clock_adjust((int64_t)host, (int64_t)offset);
	hull_args_put_u64(&m, HULL_TAG_TIME_NS, host);
	hull_args_put_u64(&m, HULL_TAG_GUEST_NS, (uint64_t)hull_clock_now());
	hull_report(HULL_MSG_CLOCK, &m);
}

static void grow_told(struct hull_cur *cur)
{
	struct hull_arg a;
	while (hull_args_next(cur, &a))
		if (a.tag == HULL_TAG_DISK_BYTES)
			hull_disk_grow_to(hull_arg_u64(&a));
}

/* "MemAvailable:   12345 kB" -> bytes */
static uint64_t meminfo(const char *text, const char *key)
{
	const char *p = strstr(text, key);
	return p ? strtoull(p + strlen(key), NULL, 10) * 1024 : 0;
}

static void stats(void)
{
	_cleanup_(hull_buf_free) struct hull_buf m = {0};
	struct statvfs fs;
	char text[4096] = "";
	_cleanup_close_ int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	hull_args_put_u64(&m, HULL_TAG_MEM_TOTAL, meminfo(text, "MemTotal:"));
	hull_args_put_u64(&m, HULL_TAG_MEM_AVAIL, meminfo(text, "MemAvailable:"));
	if (statvfs("/run/hull/disk", &fs) == 0) {
		hull_args_put_u64(&m, HULL_TAG_DISK_TOTAL, (uint64_t)fs.f_blocks * fs.f_frsize);
		hull_args_put_u64(&m, HULL_TAG_DISK_FREE, (uint64_t)fs.f_bavail * fs.f_frsize);
	}
	hull_args_put_u32(&m, HULL_TAG_SESSIONS, hull_exec_sessions());
	hull_args_put_u64(&m, HULL_TAG_UPTIME_MS, hull_uptime_ms());
	hull_report(HULL_MSG_STATS, &m);
}

static void kill_session(struct hull_cur *cur)
{
	struct hull_arg a;
	uint32_t session = 0, sig = 0;
	while (hull_args_next(cur, &a)) {
		if (a.tag == HULL_TAG_SESSION)
			session = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_SIGNAL)
			sig = hull_arg_u32(&a);
	}
	if (sig > 0 && sig < (uint32_t)NSIG)
		hull_cgroup_signal(session, (int)sig);
}

static void control_on_message(void *user, const uint8_t *p, size_t n)
{
	struct hull_cur cur = hull_cur_make(p, n);
	struct hull_arg a;
	uint32_t grace = GRACE_DEFAULT_MS;
	switch (hull_cur_u8(&cur)) {
	case HULL_MSG_CONFIGURE:
		configure(&cur);
		break;
	case HULL_MSG_SHUTDOWN:
		while (hull_args_next(&cur, &a))
			if (a.tag == HULL_TAG_GRACE_MS)
				grace = hull_arg_u32(&a);
		hull_shutdown("asked for by the host", grace);
		break;
	case HULL_MSG_TIME:
		time_told(&cur);
		break;
	case HULL_MSG_GROW:
		grow_told(&cur);
		break;
	case HULL_MSG_STATS_ASK:
		stats();
		break;
	case HULL_MSG_SYNC:
		while (hull_args_next(&cur, &a))
			if (a.tag == HULL_TAG_REST && hull_arg_u32(&a) != 0)
				hull_docker_rest();
		begin_sync();
		break;
	case HULL_MSG_KILL:
		kill_session(&cur);
		break;
	case HULL_MSG_MOUNT:
	case HULL_MSG_UNMOUNT:
		hull_share_message(p[0] == HULL_MSG_MOUNT, p + 1, n - 1);
		break;
	default:
		break;
	}
}

static void control_on_eof(void *user)
{
	hull_wire_eof(hull_wire, control.id);
}

static void control_on_closed(void *user, int code, const char *message)
{
	control.id = 0;
	hull_report_closed();
}

static const struct hull_stream_ops control_ops = {
	.message = control_on_message, .eof = control_on_eof, .closed = control_on_closed};

void hull_control_open(uint32_t stream, const uint8_t *args, size_t len)
{
	if (control.id) {
		hull_wire_refuse(hull_wire, stream, EBUSY, "control is open already");
		return;
	}
	/* Before anything that may start a program. One that fails leaves clients refusing what they do not know. */
	struct hull_error err = {0};
	bool authorities = false;
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (hull_authority_install(root, args, len, &authorities, &err) < 0)
		hull_say("%s", err.msg);
	hull_exec_authorities(authorities);
	control = (struct hull_stream){.ops = &control_ops, .id = stream};
	hull_report_open(stream);
	hull_wire_set_user(hull_wire, stream, &control);
	hull_wire_accept(hull_wire, stream, NULL, 0);
}

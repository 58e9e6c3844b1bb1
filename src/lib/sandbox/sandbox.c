/* SPDX-License-Identifier: Apache-2.0 */
/* The lifecycle functions of hull.h: start, wait, stop, pause, remove. */
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "keeper/api.h"

#include <string.h>

int hull_start(struct hull *h, const char *name, enum hull_until until, unsigned flags, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	bool docker = until == HULL_UNTIL_DOCKER;
	int r = until == HULL_UNTIL_STOPPED ? hull_fail(err, -EINVAL, "a start does not end with a stop")
					    : lib_flags(flags, HULL_START_COLD, err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	if (r >= 0 && (flags & HULL_START_COLD) && sb.restore)
		r = saved_forget(h, name, err);
	if (r >= 0)
		r = life_start(h, name, NULL, err);
	if (r < 0 || until == HULL_UNTIL_NOW)
		return r;
	lib_stage(h, name, "%s", docker ? "waiting for Docker" : "waiting for the guest to boot");
	int ready = client_await(h, name, docker ? "docker" : "exec", err);
	if (ready == -EINTR)
		return hull_fail(err, ready, "interrupted; %s continues to start: `hull stop %s` stops it", name, name);
	return ready < 0 ? ready : r;
}

/* The connection closes when the keeper ends. */
static int until_stopped(struct hull *h, const char *name, int timeout_ms, struct hull_error *err)
{
	uint64_t now = lib_now_ms(), end = timeout_ms < 0 ? UINT64_MAX : now + (uint64_t)timeout_ms;
	int fd = client_connect(&h->paths, name, 10000, err);
	if (fd == -ENOTCONN)
		return 0;
	if (fd < 0)
		return fd;
	_cleanup_close_ int held = fd;
	lib_stage(h, name, "waiting for it to stop");
	for (; now < end; now = lib_now_ms()) {
		struct pollfd pfd = {.fd = held, .events = POLLRDHUP};
		int r = lib_poll(h, &pfd, 1, timeout_ms < 0 ? -1 : (int)(end - now), err);
		if (r < 0)
			return r;
		if (pfd.revents)
			return 0;
	}
	return hull_fail(err, -ETIMEDOUT, "%s has not stopped within %d s", name, timeout_ms / 1000);
}

int hull_wait(struct hull *h, const char *name, enum hull_until until, int timeout_ms, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	bool docker = until == HULL_UNTIL_DOCKER;
	int r = life_load(h, name, &sb, err);
	if (r < 0 || until == HULL_UNTIL_NOW)
		return r;
	if (until == HULL_UNTIL_STOPPED)
		return until_stopped(h, name, timeout_ms, err);
	lib_stage(h, name, "%s", docker ? "waiting for Docker" : "waiting for the guest to boot");
	return client_ask(h, name, json_pack("{s:s, s:s}", "do", "wait", "for", docker ? "docker" : "exec"), timeout_ms,
			  NULL, err);
}

int hull_stop(struct hull *h, const char *name, int grace_ms, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_error why = {0};
	int r = life_load(h, name, &sb, &why);
	bool runs = hull_name_check(name, NULL) >= 0 && hull_sandbox_running(&h->paths, name);
	/* A damaged file must not prevent stopping what runs. */
	if (r < 0 && (r != -EBADMSG || !runs))
		return hull_fail(err, r, "%s", why.msg);
	if (!runs)
		return 1;
	return life_stop(h, name, grace_ms > 0 ? grace_ms : -1, err);
}

int hull_remove(struct hull *h, const char *name, unsigned flags, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_error why = {0};
	bool force = (flags & HULL_REMOVE_FORCE) != 0;
	int r = lib_flags(flags, HULL_REMOVE_FORCE, &why);
	if (r >= 0)
		r = life_load(h, name, &sb, &why);
	if (r == -ENOENT && force && hull_name_check(name, NULL) >= 0) {
		hull_sandbox_sweep(&h->paths, name);
		return 0;
	}
	/* A damaged sandbox is removed like any other. */
	if (r < 0 && r != -EBADMSG)
		return hull_fail(err, r, "%s", why.msg);
	if (!force && hull_sandbox_running(&h->paths, name))
		return hull_fail(err, -EBUSY, "%s is running: `hull stop %s` first, or `hull rm -f %s`", name, name,
				 name);
	return life_remove(h, name, err);
}

static bool is_paused(const struct hull *h, const struct hull_sandbox *sb)
{
	return !hull_sandbox_running(&h->paths, sb->name) && !strcmp(hull_sandbox_truth(sb, false), "paused");
}

int hull_pause(struct hull *h, const char *name, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	if (is_paused(h, &sb))
		return 0;
	if (!hull_sandbox_running(&h->paths, name))
		return hull_fail(err, -ENOTCONN, "%s is not running: there is nothing to pause", name);
	r = client_await(h, name, "exec", err);
	if (r < 0)
		return r;
	lib_stage(h, name, "saving its memory");
	return client_ask(h, name, json_pack("{s:s}", "do", "pause"), -1, NULL, err);
}

int hull_resume(struct hull *h, const char *name, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = life_load(h, name, &sb, err);
	if (r < 0)
		return r;
	if (hull_sandbox_running(&h->paths, name))
		return client_ask(h, name, json_pack("{s:s}", "do", "resume"), -1, NULL, err);
	if (!is_paused(h, &sb))
		return hull_fail(err, -EINVAL, "%s is not paused: `hull start %s` starts it", name, name);
	r = life_start(h, name, NULL, err);
	return r < 0 ? r : client_await(h, name, "exec", err);
}

int hull_docker_socket(struct hull *h, const char *name, char **path, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	*path = NULL;
	int r = life_load(h, name, &sb, err);
	if (r >= 0 && sb.no_docker)
		r = hull_fail(err, -ENOTSUP, "%s was made with --no-docker: make another sandbox for Docker", name);
	if (r >= 0)
		r = life_start(h, name, NULL, err);
	if (r < 0)
		return r;
	lib_stage(h, name, "waiting for Docker");
	r = client_await(h, name, "docker", err);
	if (r >= 0 && !(*path = hull_sandbox_runtime_path(&h->paths, name, HULL_DOCKER_SOCKET)))
		r = hull_fail(err, -ENOMEM, "out of memory");
	return r;
}

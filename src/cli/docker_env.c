/* SPDX-License-Identifier: Apache-2.0 */
/* The docker client trusts the daemon: it sends it logins (all of them with a build, or those it is asked for), and
 * reads proxies, contexts and plugins from its configuration. A sandbox's daemon belongs to the guest, so the client
 * gets a separate configuration directory, sandboxes/NAME/docker. `hull docker NAME login` writes there. A fork,
 * snapshot or export copies nothing from it, and it is removed with the sandbox.
 *
 * In a directory without a login the client would look for a credential helper of the desktop's keyring
 * (docker-credential-pass, -secretservice) and use it from then on. To select the plain file, the directory contains
 * one empty login for a registry that cannot exist. It is added again when the last real login has been removed by
 * hand.
 *
 * DOCKER_* and BUILDX_* variables name hosts, contexts, configurations and (DOCKER_AUTH_CONFIG) logins: they are
 * removed, except for two that only control how to build. */
#include "cli/docker_env.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACEHOLDER "hull.invalid"

static const char *const kept[] = {"DOCKER_BUILDKIT", "DOCKER_DEFAULT_PLATFORM"};

static bool is_kept(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (strlen(kept[i]) == n && !memcmp(kept[i], name, n))
			return true;
	return false;
}

static int clean_environment(void)
{
	extern char **environ;
	for (char **e = environ; e && *e;) {
		size_t n = strcspn(*e, "=");
		bool theirs = (hull_starts(*e, "DOCKER_") || hull_starts(*e, "BUILDX_")) && !is_kept(*e, n);
		_cleanup_free_ char *name = theirs ? strndup(*e, n) : NULL;
		if (theirs && !name)
			return -ENOMEM;
		if (theirs)
			unsetenv(name); /* the following entries move here */
		else
			e++;
	}
	return 0;
}

/* Does the configuration store logins in the file itself? Unreadable files are left for the client to report. */
static bool is_plain_file(int dir)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	int r = hull_read_file(dir, "config.json", 1 << 20, &text, NULL);
	if (r < 0)
		return r != -ENOENT;
	json_t *config = json_loadb((const char *)hull_buf_bytes(&text), text.len, 0, NULL);
	bool plain = !json_is_object(config) || json_object_size(json_object_get(config, "auths")) > 0 ||
		     json_object_get(config, "credsStore") || json_object_get(config, "credHelpers");
	json_decref(config);
	return plain;
}

static int make_plain_file(int dir, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	json_t *config = hull_read_file(dir, "config.json", 1 << 20, &text, NULL) < 0
				 ? json_object()
				 : json_loadb((const char *)hull_buf_bytes(&text), text.len, 0, NULL);
	json_t *auths = json_pack("{s:{}}", PLACEHOLDER);
	_cleanup_free_ char *out = json_object_set_new(config, "auths", auths) == 0 ? json_dumps(config, JSON_INDENT(2))
										    : NULL;
	json_decref(config);
	if (!out)
		return hull_fail(err, -ENOMEM, "out of memory");
	return hull_write_file_atomic(dir, "config.json", out, strlen(out), 0600, err);
}

int docker_env(const struct hull_paths *p, const char *name, const char *host, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_sandbox_path(p, name, "docker");
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return hull_fail_errno(err, "cannot make %s for the docker client", path);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fchmod(dir, 0700) < 0)
		return hull_fail_errno(err, "cannot use %s for the docker client", path);
	int r = is_plain_file(dir) ? 0 : make_plain_file(dir, err);
	if (r < 0)
		return r;
	if (clean_environment() < 0 || setenv("DOCKER_CONFIG", path, 1) < 0 || setenv("DOCKER_HOST", host, 1) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the disk that sandboxes start from: a sandbox is started on it, `docker import` runs in it, and its disk,
 * cleanly unmounted, becomes the seed.
 *
 * The sandbox has its own HULL_HOME inside the build's scratch directory, with the unfinished image (hard links) under
 * its own digest, and its own runtime directory. So it is invisible outside the build, and no other code has to handle
 * it. Both directories are removed here. If the build is killed, the machine ends by itself (HULL_KEEPER_LEASE), and
 * the next build sweeps both. */
#include "lib/saved/seed.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/saved/aside.h"
#include "lib/sandbox/life.h"
#include "lib/command/session.h"
#include "image/digest.h"
#include "keeper/api.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

extern char **environ;

#define SEED_NAME     "seed"
#define SEED_MEMORY   ((uint64_t)1024 * 1024 * 1024)
#define SEED_GRACE_MS 60000
#define WORDS_MAX     (64 * 1024)
#define SUBJECT       "image"
#define SEED_IMAGE    "localhost/debian:trixie"

/* The final image except the seed: linked parts, and an image.json with a matching digest. */
static int lay_out_image(const struct hull_image *unfinished, const char *home, const char *seed_img, char **digest,
			 struct hull_error *err)
{
	char hex[HULL_DIGEST_HEX + 1];
	struct stat st;
	json_t *about = json_deep_copy(unfinished->about);
	_cleanup_free_ char *text = NULL;
	int r = about && stat(seed_img, &st) == 0 ? 0 : hull_fail_errno(err, "%s", seed_img);
	if (r >= 0) {
		char none[HULL_SHA256_HEX + 1];
		memset(none, '0', HULL_SHA256_HEX);
		none[HULL_SHA256_HEX] = 0;
		json_object_set_new(json_object_get(about, "parts"), "seed.img",
				    json_pack("{s:I, s:I, s:s}", "size", (json_int_t)st.st_size, "stored",
					      (json_int_t)0, "sha256", none));
		r = hull_parts_digest(json_object_get(about, "parts"), hex, err);
	}
	_cleanup_free_ char *dir = r >= 0 ? hull_fmt("%s/images/%s", home, hex) : NULL;
	if (r >= 0)
		r = dir ? hull_mkdir_all(dir, 0755, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r >= 0 && hull_image_parts[i]; i++) {
		_cleanup_free_ char *from = hull_fmt("%s/%s", unfinished->dir, hull_image_parts[i]);
		_cleanup_free_ char *to = hull_fmt("%s/%s", dir, hull_image_parts[i]);
		if (!from || !to || link(from, to) < 0)
			r = hull_fail_errno(err, "linking %s", hull_image_parts[i]);
	}
	text = r >= 0 ? json_dumps(about, JSON_COMPACT) : NULL;
	_cleanup_free_ char *json = dir ? hull_fmt("%s/image.json", dir) : NULL;
	if (r >= 0)
		r = text && json ? hull_write_file_atomic(AT_FDCWD, json, text, strlen(text), 0644, err)
				 : hull_fail(err, -ENOMEM, "out of memory");
	json_decref(about);
	*digest = r >= 0 ? strdup(hex) : NULL;
	return r;
}

static int make_sandbox(const struct hull_paths *p, const char *digest, const char *seed_img, struct hull_error *err)
{
	_cleanup_close_ int seed = open(seed_img, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (seed < 0 || fstat(seed, &st) < 0)
		return hull_fail_errno(err, "%s", seed_img);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char *none[] = {NULL};
	struct hull_sandbox s = {.name = (char *)SEED_NAME,
				 .agent = (char *)"shell",
				 .image = (char *)(uintptr_t)digest,
				 .cpus = cpus > 2 ? 2 : 1,
				 .memory = SEED_MEMORY,
				 .disk = (uint64_t)st.st_size,
				 .engine = (char *)"auto",
				 .env = none,
				 .paths = none,
				 .created = (uint64_t)time(NULL),
				 .state = (char *)"created"};
	return hull_sandbox_create(p, &s, seed, false, err);
}

extern const char hull_seed_script[]; /* seed.sh, embedded */

/* Run docker import and keep its output for an error message. 1 = the image has no Docker. */
static int import(const struct hull *h, const char *tar, struct hull_error *err)
{
	int r = client_await(h, SEED_NAME, "docker", err);
	if (r < 0)
		return r == -ENOTSUP ? 1 : r;
	_cleanup_close_ int in = open(tar, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return hull_fail_errno(err, "%s", tar);
	lib_stage(h, SUBJECT, "importing " SEED_IMAGE);
	static const char *const argv[] = {"sh", "-c", hull_seed_script, "seed", SEED_IMAGE, NULL};
	const int fds[] = {in, -1, -1};
	const struct hull_exec_spec spec = {.argv = argv, .user = "root", .fds = fds};
	struct session_keep keep[2] = {{.max = WORDS_MAX}, {.max = WORDS_MAX}};
	int fd = client_connect(&h->paths, SEED_NAME, 10000, err);
	if (fd < 0)
		return fd;
	r = session_run(h, fd, SEED_NAME, NULL, &spec, keep, err);
	char text[512];
	snprintf(text, sizeof text, "%.*s", (int)keep[1].buf.len, (const char *)hull_buf_bytes(&keep[1].buf));
	hull_buf_free(&keep[0].buf);
	hull_buf_free(&keep[1].buf);
	if (r <= 0)
		return r;
	_cleanup_free_ char *shown = hull_printable(text, strlen(text));
	return hull_fail(err, -EIO, "docker import ended with code %d: %s", r, shown ? shown : "");
}

/* The environment of a keeper whose paths are p. */
char **seed_keeper_env(const struct hull_paths *p, const char *runtime_parent)
{
	char **env = hull_strv_copy(NULL);
	_cleanup_free_ char *home = hull_fmt("HULL_HOME=%s", p->home);
	_cleanup_free_ char *runtime = hull_fmt("XDG_RUNTIME_DIR=%s", runtime_parent);
	for (char **e = environ; env && *e; e++)
		if (!hull_starts(*e, "HULL_HOME=") && !hull_starts(*e, "XDG_RUNTIME_DIR="))
			hull_strv_add(&env, *e);
	if (!env || !home || !runtime || hull_strv_add(&env, home) < 0 || hull_strv_add(&env, runtime) < 0) {
		hull_strv_free(env);
		return NULL;
	}
	return env;
}

static int fill(const struct hull *h, char *const *env, const char *tar, struct hull_error *err)
{
	/* If this process is killed, its machine ends too. */
	_cleanup_close_ int lease = -1;
	int r = life_start_leased(h, SEED_NAME, env, &lease, err);
	if (r < 0)
		return r;
	lib_stage(h, SUBJECT, "starting Docker in it");
	r = import(h, tar, err);
	struct hull_error why = {0};
	int stopped = life_stop(h, SEED_NAME, r ? -1 : SEED_GRACE_MS, &why);
	if (r)
		return r;
	if (stopped < 0)
		*err = why;
	return stopped;
}

/* Move its disk to the seed file, owned by us. */
static int take_disk(const struct hull_paths *p, const char *seed_img, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	int r = hull_sandbox_load(p, SEED_NAME, &s, err);
	if (r >= 0 && s.last_error)
		r = hull_fail(err, -EIO, "%s", s.last_error);
	_cleanup_free_ char *disk = hull_sandbox_path(p, SEED_NAME, "disk.img");
	if (r < 0)
		return r;
	if (!disk || rename(disk, seed_img) < 0 || chown(seed_img, geteuid(), getegid()) < 0 ||
	    chmod(seed_img, 0644) < 0)
		return hull_fail_errno(err, "moving the filled disk to %s", seed_img);
	return 0;
}

static int in_home(const struct hull *h, const char *runtime_parent, const struct hull_image *unfinished,
		   const char *seed_img, const char *tar, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_free_ char *digest = NULL;
	_cleanup_free_ char *sandboxes = hull_fmt("%s/sandboxes", p->home);
	int r = sandboxes ? hull_mkdir_all(p->runtime, 0700, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0)
		r = hull_mkdir_all(sandboxes, 0700, err);
	if (r >= 0)
		r = lay_out_image(unfinished, p->home, seed_img, &digest, err);
	if (r >= 0)
		r = make_sandbox(p, digest, seed_img, err);
	if (r < 0)
		return r;
	char **env = seed_keeper_env(p, runtime_parent);
	r = env && hull_strv_add(&env, HULL_KEEPER_LEASE "=1") >= 0 ? fill(h, env, tar, err)
								    : hull_fail(err, -ENOMEM, "out of memory");
	hull_strv_free(env);
	if (r == 0)
		r = take_disk(p, seed_img, err);
	struct hull_error why = {0};
	if (r < 0 && hull_sandbox_running(p, SEED_NAME))
		life_remove(h, SEED_NAME, &why);
	return r;
}

int seed_disk(void *ctx, const struct hull_image *unfinished, const char *seed_img, const char *rootfs_tar,
	      struct hull_error *err)
{
	const struct hull *h = ctx;
	const struct hull_paths *ours = &h->paths;
	_cleanup_free_ char *parent = NULL;
	_cleanup_close_ int held = aside_make(ours, SEED_NAME, &parent, err);
	if (held < 0)
		return held;
	struct hull_paths p = {.home = hull_fmt("%s/seed-home", unfinished->dir),
			       .runtime = hull_fmt("%s/hull", parent),
			       .config = strdup(ours->config)};
	struct hull aside = *h;
	aside.paths = p;
	int r = p.home && p.runtime && p.config ? in_home(&aside, parent, unfinished, seed_img, rootfs_tar, err)
						: hull_fail(err, -ENOMEM, "out of memory");
	struct hull_error why = {0};
	const char *const trees[] = {p.home, parent};
	for (size_t i = 0; i < 2; i++)
		if (aside_remove(trees[i], &why) < 0 && r >= 0) {
			*err = why;
			r = why.code;
		}
	hull_paths_free(&p);
	return r;
}

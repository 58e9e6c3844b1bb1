/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the template for sandboxes of one shape, or builds it on first use.
 *
 * Building boots a sandbox in a HULL_HOME and runtime directory of its own (like seed.c). When Docker is up, common
 * first commands are run once as a warm-up, so that the memory they touch is in the template and shared by all its
 * clones; then the sandbox is saved. Before the warm-up the guest's caches are dropped, and its free memory is
 * compacted and returned, so that only useful memory is saved.
 *
 * Two builds of one shape are serialized. An interrupted build leaves a directory that the next sweep removes. If a
 * template cannot be built or read, the sandbox boots instead, and the user is told. */
#include "lib/saved/saved.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/saved/aside.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/seed.h"
#include "lib/command/session.h"
#include "engine/machine.h"
#include "image/image.h"
#include "keeper/api.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define BUILD_NAME "template"

/* Files for a clone's first commands are read last, after all caches were dropped. */
extern const char hull_warmup_script[]; /* warmup.sh, embedded */

static int run_in(const struct hull *h, const char *user, const char *part, struct hull_error *err)
{
	const char *argv[] = {"sh", "-c", hull_warmup_script, "warmup", part, NULL};
	const struct hull_exec_spec spec = {.argv = argv, .user = user};
	int fd = client_connect(&h->paths, BUILD_NAME, 10000, err);
	if (fd < 0)
		return fd;
	int r = session_run(h, fd, BUILD_NAME, NULL, &spec, NULL, err);
	return r < 0 ? r : 0; /* a failed warm-up only makes first commands slower */
}

static int prepare_and_save(const struct hull *h, bool docker, const char *to, struct hull_error *err)
{
	lib_stage(h, BUILD_NAME, "%s", docker ? "booting, and starting Docker" : "booting");
	int r = client_await(h, BUILD_NAME, docker ? "docker" : "exec", err);
	if (r < 0)
		return r;
	lib_stage(h, BUILD_NAME, "running a first container");
	if (docker)
		r = run_in(h, "root", "docker", err);
	if (r >= 0)
		r = run_in(h, "root", "tidy", err);
	if (r >= 0 && docker)
		r = run_in(h, "root", "docker", err);
	if (r >= 0)
		r = run_in(h, "root", "identity", err);
	if (r >= 0)
		r = run_in(h, "agent", "shell", err);
	return r < 0 ? r : saved_take(h, BUILD_NAME, to, true, NULL, err);
}

static int make_sandbox(const struct hull_paths *p, const struct hull_sandbox *like, const struct hull_image *image,
			struct hull_error *err)
{
	char *none[] = {NULL};
	_cleanup_close_ int seed = hull_image_open(image, "seed.img", err);
	if (seed < 0)
		return seed;
	/* Copy the machine's settings only: the content of a template is in every user's sandbox. */
	struct hull_sandbox s = {.name = (char *)BUILD_NAME,
				 .agent = (char *)"shell",
				 .image = like->image,
				 .cpus = like->cpus,
				 .memory = like->memory,
				 .disk = like->disk,
				 .engine = like->engine,
				 .no_docker = like->no_docker,
				 .env = none,
				 .paths = none,
				 .ports = none,
				 .state = (char *)"created",
				 .created = (uint64_t)time(NULL)};
	return hull_sandbox_create(p, &s, seed, false, err);
}

static int build_in(const struct hull *h, const char *runtime_parent, const struct hull_sandbox *s,
		    const struct hull_image *image, const char *to, struct hull_error *err)
{
	const struct hull_paths *p = &h->paths;
	_cleanup_free_ char *sandboxes = hull_fmt("%s/sandboxes", p->home);
	_cleanup_free_ char *images = hull_fmt("%s/images", p->home);
	_cleanup_free_ char *link = hull_fmt("%s/images/%s", p->home, image->digest);
	if (!sandboxes || !images || !link)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_mkdir_all(sandboxes, 0700, err);
	if (r >= 0)
		r = hull_mkdir_all(images, 0700, err);
	if (r >= 0)
		r = hull_mkdir_all(p->runtime, 0700, err);
	if (r >= 0 && symlink(image->dir, link) < 0)
		r = hull_fail_errno(err, "linking the image");
	if (r >= 0)
		r = make_sandbox(p, s, image, err);
	if (r < 0)
		return r;
	/* If this process is killed, its machine ends too. */
	_cleanup_close_ int lease = -1;
	char **env = seed_keeper_env(p, runtime_parent);
	r = env && hull_strv_add(&env, HULL_KEEPER_LEASE "=1") >= 0 ? life_start_leased(h, BUILD_NAME, env, &lease, err)
								    : hull_fail(err, -ENOMEM, "out of memory");
	hull_strv_free(env);
	if (r >= 0)
		r = prepare_and_save(h, !s->no_docker, to, err);
	struct hull_error why = {0};
	if (hull_sandbox_running(p, BUILD_NAME))
		life_remove(h, BUILD_NAME, &why);
	return r;
}

static int build(const struct hull *h, const struct hull_sandbox *s, const struct hull_image *image, const char *key,
		 struct hull_error *err)
{
	_cleanup_(hull_scratch_drop) struct hull_scratch result = {.fd = -1}, work = {.fd = -1};
	_cleanup_free_ char *templates = hull_template_path(&h->paths, NULL);
	_cleanup_free_ char *parent = NULL;
	if (!templates)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_saved_scratch(templates, &result, err);
	if (r >= 0)
		r = hull_saved_scratch(templates, &work, err);
	if (r < 0)
		return r;
	_cleanup_close_ int held = aside_make(&h->paths, BUILD_NAME, &parent, err);
	if (held < 0)
		return held;
	struct hull_paths p = {.home = hull_fmt("%s/home", work.path),
			       .runtime = hull_fmt("%s/hull", parent),
			       .config = strdup(h->paths.config)};
	struct hull aside = *h;
	aside.paths = p;
	r = p.home && p.runtime && p.config ? build_in(&aside, parent, s, image, result.path, err)
					    : hull_fail(err, -ENOMEM, "out of memory");
	aside_remove(parent, NULL);
	hull_paths_free(&p);
	return r < 0 ? r : hull_scratch_commit(&result, templates, key, true, err);
}

/* Does it exist, complete and with an undamaged disk? Its memory is verified by the keeper, which maps it. */
static int look(const struct hull *h, const char *key, struct hull_error *err)
{
	_cleanup_free_ char *dir = hull_template_path(&h->paths, key);
	_cleanup_(hull_snapshot_free) struct hull_snapshot snap = {0};
	int r = dir ? hull_snapshot_load(dir, &snap, err) : hull_fail(err, -ENOMEM, "out of memory");
	const char *const files[] = {HULL_SNAPSHOT_MEMORY, HULL_SNAPSHOT_DEVICE, HULL_SNAPSHOT_DISK};
	for (size_t i = 0; r == 0 && i < 3; i++) {
		int fd = hull_snapshot_open(dir, &snap, files[i], NULL, err);
		if (fd < 0)
			r = fd;
		else
			close(fd);
	}
	return r;
}

int template_initramfs(char **name, struct hull_error *err)
{
	_cleanup_free_ char *init = hull_beside("hull-init", X_OK, err);
	return init ? hull_image_initramfs_name(init, name, err) : err->code;
}

static int key_of(const struct hull *h, const struct hull_sandbox *s, const struct hull_image *image, char *key,
		  struct hull_error *err)
{
	_cleanup_free_ char *initramfs = NULL;
	_cleanup_free_ char *identity = hull_engine_identity(err);
	struct hull_probe probe;
	int r = identity ? template_initramfs(&initramfs, err) : err->code;
	if (r < 0)
		return r;
	hull_engine_probe_cached(h->paths.runtime, &probe);
	const struct hull_machine m = {.cpus = s->cpus, .memory = s->memory, .no_docker = s->no_docker};
	_cleanup_free_ char *machine = hull_machine_describe(&m, probe.kvm_usable);
	if (!machine)
		return hull_fail(err, -ENOMEM, "out of memory");
	struct hull_template_shape shape = {.image = image->digest,
					    .initramfs = initramfs,
					    .identity = identity,
					    .accel = probe.kvm_usable ? "kvm" : "tcg",
					    .machine = machine,
					    .warm_up = hull_warmup_script,
					    .cpus = s->cpus,
					    .memory = s->memory,
					    .disk = s->disk,
					    .no_docker = s->no_docker};
	return hull_template_key(&shape, key, err);
}

/* With the lock held: another process may have built it meanwhile. */
static int find_or_build(const struct hull *h, const struct hull_sandbox *s, const struct hull_image *image,
			 const char *key, struct hull_error *err)
{
	struct hull_error why = {0};
	int r = look(h, key, &why);
	if (r == 0)
		return 0;
	_cleanup_close_ int lock = hull_template_build_lock(&h->paths, key, false, err);
	if (lock == -EAGAIN) {
		lib_stage(h, BUILD_NAME, "waiting for another hull that builds it");
		lock = hull_template_build_lock(&h->paths, key, true, err);
		r = lock < 0 ? lock : look(h, key, &why);
	}
	if (lock >= 0 && r != 0) {
		if (r != -ENOENT)
			lib_note(h, HULL_NOTE_INFO, "the template for this kind of sandbox is built again: %s",
				 why.msg);
		lib_stage(h, BUILD_NAME, "none yet for this kind of sandbox: building it, once");
		uint64_t begin = lib_now_ms();
		r = build(h, s, image, key, err);
		lib_stage_end(h, BUILD_NAME);
		if (r >= 0)
			lib_note(h, HULL_NOTE_INFO,
				 "the template is ready after %llu s: from now on a sandbox like this one starts from "
				 "it",
				 (unsigned long long)(lib_now_ms() - begin) / 1000);
	}
	lib_stage_end(h, BUILD_NAME);
	if (lock >= 0)
		hull_template_build_done(&h->paths, key);
	return lock < 0 ? lock : r;
}

int template_for(const struct hull *h, const struct hull_sandbox *s, char **name, struct hull_error *err)
{
	_cleanup_(hull_image_free) struct hull_image image = {0};
	char key[HULL_KEY_HEX + 1];
	*name = NULL;
	int r = hull_image_find(&h->paths, s->image, &image, err);
	if (r >= 0)
		r = key_of(h, s, &image, key, err);
	if (r >= 0)
		r = find_or_build(h, s, &image, key, err);
	if (lib_interrupted(h) || r == -ECANCELED || r == -EINTR)
		return hull_fail(err, -EINTR, "interrupted");
	if (r < 0) {
		lib_note(h, HULL_NOTE_WARNING, "no template: %s; booting instead, which takes longer", err->msg);
		*err = (struct hull_error){0};
		return 0;
	}
	hull_template_touch(&h->paths, key);
	*name = strdup(key);
	return *name ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

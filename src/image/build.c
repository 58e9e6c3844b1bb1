/* SPDX-License-Identifier: Apache-2.0 */
/* Building a base image (image.h): the order of things, and that there is never half of one.
 *
 * Everything happens in images/.tmp-XXXXXX (base/scratch.h), whose lock the builder holds for as long as it lives, so
 * that a later build can tell the leftovers of a dead one (free lock) and remove them. images/.lock is held for moments
 * only: while such a directory is made or swept, and while an image is published by one rename and its name switched.
 *
 * An image is reused when it was made from the same key: format, suite, packages and scripts. Two builds of one key at
 * once both run; the second to finish finds the first's image when it publishes and takes that.
 *
 * SIGINT, SIGTERM and SIGHUP are blocked and come in through a signalfd that every child is watched with. Children run
 * in process groups of their own, so that a Ctrl-C reaches only us and we end them in order. */
#include "image/build.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/scratch.h"
#include "base/text.h"
#include "image/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>

enum { FORMAT = 1 };

#define TMP_PREFIX ".tmp-"

void hull_build_progress(struct hull_builder *b, const char *stage, int percent, const char *detail)
{
	if (stage && !hull_streq(stage, b->stage)) {
		free(b->stage);
		b->stage = strdup(stage);
	}
	if (b->ask->progress && b->stage)
		b->ask->progress(b->ask->ctx, b->stage, percent, detail);
}

int hull_build_interrupted(struct hull_builder *b, struct hull_error *err)
{
	struct pollfd p = {.fd = b->cancel_fd, .events = POLLIN};
	return poll(&p, 1, 0) > 0 ? hull_fail(err, -ECANCELED, "interrupted") : 0;
}

char *hull_build_path(const struct hull_builder *b, const char *name)
{
	return hull_fmt("%s/%s", b->tmp, name);
}

/* images/.lock, waited for; closing the descriptor gives it back. */
static int take_lock(const struct hull_builder *b, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("%s/.lock", b->images);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return hull_fail_errno(err, "cannot lock %s", path);
	return hull_steal_fd(&fd);
}

static int make_tmp(struct hull_builder *b, struct hull_error *err)
{
	_cleanup_close_ int lock = take_lock(b, err);
	if (lock < 0)
		return lock;
	struct hull_scratch made;
	hull_scratch_sweep(b->images, TMP_PREFIX);
	int r = hull_scratch_make(b->images, TMP_PREFIX, &made, err);
	if (r < 0)
		return r;
	b->tmp = made.path;
	b->tmp_fd = made.fd;
	b->log_fd = openat(b->tmp_fd, "build.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	return b->log_fd < 0 ? hull_fail_errno(err, "cannot write %s/build.log", b->tmp) : 0;
}

/* What an image of this build would be made from, as a hash. The mirror is left out: all serve the same packages. */
static int make_key(const struct hull_builder *b, char *hex, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf all = {0};
	const char *const scripts[] = {b->recipe.node, b->recipe.customize, b->recipe.kernel, b->recipe.pack};
	int r = hull_buf_addf(&all, "%d %s\n", FORMAT, HULL_SUITE);
	for (char **p = b->recipe.packages; *p && r == 0; p++)
		r = hull_buf_addf(&all, "%s\n", *p);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]) && r == 0; i++)
		r = hull_buf_addf(&all, "%zu\n%s", strlen(scripts[i]), scripts[i]);
	if (r < 0)
		return hull_fail(err, r, "out of memory");
	return hull_sha256(hull_buf_bytes(&all), all.len, hex, err);
}

/* The digest of a sound image with this key; owned, NULL when there is none. */
static char *find_key(const struct hull_builder *b, const char *key)
{
	struct hull_image *list = NULL;
	size_t count = 0;
	char *digest = NULL;
	if (hull_image_list(b->paths, &list, &count, NULL, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		const json_t *about = list[i].about;
		bool fits = hull_streq(json_string_value(json_object_get(about, "key")), key) &&
			    (!b->ask->seed || json_is_true(json_object_get(about, "seeded")) ||
			     json_is_false(json_object_get(about, "docker")));
		if (fits && !digest)
			digest = strdup(list[i].digest);
		hull_image_free(&list[i]);
	}
	free(list);
	return digest;
}

/* Let the name stand for a digest: a new symlink renamed over the old one. With images/.lock held. */
static int switch_name(const struct hull_builder *b, const char *digest, struct hull_error *err)
{
	const char *name = b->ask->name ? b->ask->name : "default";
	_cleanup_free_ char *path = hull_fmt("%s/%s", b->images, name);
	_cleanup_free_ char *beside = hull_fmt("%s/" TMP_PREFIX "name", b->images);
	if (!path || !beside)
		return hull_fail(err, -ENOMEM, "out of memory");
	unlink(beside);
	if (symlink(digest, beside) != 0 || rename(beside, path) != 0) {
		int r = hull_fail_errno(err, "cannot name the image %s", name);
		unlink(beside);
		return r;
	}
	return 0;
}

/* Take the image another build of the same key has made. 1 when there was one. */
static int reuse(const struct hull_builder *b, const char *key, struct hull_image *out, struct hull_error *err)
{
	_cleanup_free_ char *digest = b->ask->rebuild ? NULL : find_key(b, key);
	if (!digest)
		return 0;
	int r = switch_name(b, digest, err);
	if (r == 0)
		r = hull_image_find(b->paths, digest, out, err);
	return r < 0 ? r : 1;
}

/* {size, sha256} of a part into `parts`; its bytes are on the disk afterwards. */
static int describe_part(struct hull_builder *b, json_t *parts, const char *name, struct hull_error *err)
{
	int r = hull_build_interrupted(b, err);
	if (r < 0)
		return r;
	hull_build_progress(b, NULL, -1, name);
	_cleanup_close_ int fd = openat(b->tmp_fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0 || fsync(fd) != 0)
		return hull_fail_errno(err, "cannot read %s/%s", b->tmp, name);
	char hex[HULL_SHA256_HEX + 1];
	r = hull_sha256_file(fd, hull_part_is_sparse(name), hex, err);
	if (r < 0)
		return hull_wrap(err, "%s", name);
	json_t *part = json_pack("{s:I, s:I, s:s}", "size", (json_int_t)st.st_size, "stored",
				 (json_int_t)st.st_blocks * 512, "sha256", hex);
	if (!part || json_object_set_new(parts, name, part) != 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

static int describe(struct hull_builder *b, const char *key, json_t **about, struct hull_error *err)
{
	json_t *packages = json_array();
	for (char **p = b->recipe.packages; packages && *p; p++)
		json_array_append_new(packages, json_string(*p));
	*about = json_pack("{s:i, s:s, s:s, s:o, s:s, s:s, s:I, s:s, s:s, s:b, s:{}}", "format", FORMAT, "name",
			   b->ask->name ? b->ask->name : "default", "recipe", b->recipe.name, "packages", packages,
			   "suite", HULL_SUITE, "mirror", b->mirrors.archive, "created", (json_int_t)time(NULL),
			   "kernel", b->kernel_release, "key", key, "seeded", false, "parts");
	if (!*about)
		return hull_fail(err, -ENOMEM, "out of memory");
	json_t *parts = json_object_get(*about, "parts");
	hull_build_progress(b, "checksumming", -1, NULL);
	for (size_t i = 0; hull_image_parts[i]; i++) {
		if (hull_part_is_sparse(hull_image_parts[i]))
			continue; /* still to be filled */
		int r = describe_part(b, parts, hull_image_parts[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_about(const struct hull_builder *b, const json_t *about, struct hull_error *err)
{
	_cleanup_free_ char *text = json_dumps(about, JSON_INDENT(2));
	if (!text)
		return hull_fail(err, -ENOMEM, "out of memory");
	return hull_write_file_atomic(b->tmp_fd, "image.json", text, strlen(text), 0644, err);
}

/* The caller's sandbox fills the disk; the signals are its own meanwhile. */
static int fill_seed(struct hull_builder *b, json_t *about, const char *seed_img, const sigset_t *theirs,
		     struct hull_error *err)
{
	_cleanup_free_ char *tar = hull_build_path(b, "rootfs.tar");
	if (!tar)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_bootstrap_rootfs(b, tar, err);
	if (r == 0)
		r = write_about(b, about, err);
	if (r < 0)
		return r;
	hull_build_progress(b, "preloading Docker's store", -1, NULL);
	struct hull_image unfinished = {.digest = b->tmp, .dir = b->tmp, .about = about};
	sigset_t ours;
	sigprocmask(SIG_SETMASK, theirs, &ours);
	r = b->ask->seed(b->ask->ctx, &unfinished, seed_img, tar, err);
	sigprocmask(SIG_SETMASK, &ours, NULL);
	if (r < 0)
		return hull_wrap(err, "cannot preload localhost/debian:" HULL_SUITE);
	/* There is nothing to preload when there is no Docker. */
	json_object_set_new(about, r > 0 ? "docker" : "seeded", json_boolean(r == 0));
	r = hull_remove_tree(b->tmp_fd, "rootfs.tar", err);
	return r == 0 ? hull_seed_finish(b, seed_img, err) : r;
}

static void remove_initramfs(const struct hull_builder *b)
{
	_cleanup_closedir_ DIR *dir = opendir(b->tmp);
	for (struct dirent *d; dir && (d = readdir(dir));)
		if (hull_starts(d->d_name, "initramfs-") || hull_starts(d->d_name, "rootfs"))
			unlinkat(b->tmp_fd, d->d_name, 0);
}

static int make_parts(struct hull_builder *b, const char *key, const sigset_t *theirs, json_t **about,
		      struct hull_error *err)
{
	_cleanup_free_ char *seed_img = hull_build_path(b, "seed.img");
	if (!seed_img)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_bootstrap_base(b, err);
	if (r == 0)
		r = hull_build_kernel(b, err);
	if (r == 0)
		r = describe(b, key, about, err);
	if (r == 0)
		r = hull_seed_make(b, seed_img, err);
	if (r == 0 && b->ask->seed)
		r = fill_seed(b, *about, seed_img, theirs, err);
	if (r < 0)
		return r;
	hull_build_progress(b, "finishing", -1, NULL);
	r = describe_part(b, json_object_get(*about, "parts"), "seed.img", err);
	if (r == 0)
		r = write_about(b, *about, err);
	remove_initramfs(b);
	return r;
}

/* One rename makes it an image. */
static int publish(struct hull_builder *b, const char *key, const json_t *about, struct hull_image *out,
		   struct hull_error *err)
{
	char digest[HULL_DIGEST_HEX + 1];
	int r = hull_parts_digest(json_object_get(about, "parts"), digest, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *to = hull_fmt("%s/%s", b->images, digest);
	if (!to)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int lock = take_lock(b, err);
	if (lock < 0)
		return lock;
	r = hull_build_interrupted(b, err);
	if (r == 0)
		r = reuse(b, key, out, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (fchmod(b->tmp_fd, 0755) != 0 || fsync(b->tmp_fd) != 0)
		return hull_fail_errno(err, "cannot write %s", b->tmp);
	/* The same content is there already (ENOTEMPTY): that one stays. */
	if (rename(b->tmp, to) == 0) {
		free(b->tmp);
		b->tmp = NULL;
	} else if (errno != ENOTEMPTY && errno != EEXIST) {
		return hull_fail_errno(err, "cannot rename %s to %s", b->tmp, to);
	}
	r = switch_name(b, digest, err);
	_cleanup_close_ int images_fd = open(b->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (images_fd >= 0)
		(void)fsync(images_fd);
	return r < 0 ? r : hull_image_find(b->paths, digest, out, err);
}

/* Nothing of a failed build stays but its log, of one called off not even that. */
static void discard(struct hull_builder *b, bool keep_log)
{
	if (!b->tmp)
		return;
	_cleanup_close_ int images_fd = open(b->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (images_fd < 0)
		return;
	if (keep_log && b->tmp_fd >= 0)
		(void)renameat(b->tmp_fd, "build.log", images_fd, "failed-build.log");
	(void)hull_remove_tree(images_fd, strrchr(b->tmp, '/') + 1, NULL);
}

static int build(struct hull_builder *b, const sigset_t *theirs, struct hull_image *out, struct hull_error *err)
{
	char key[HULL_SHA256_HEX + 1];
	int r = hull_recipe_load(b->ask->recipe, &b->recipe, err);
	if (r == 0)
		r = make_key(b, key, err);
	if (r == 0)
		r = hull_mkdir_all(b->images, 0700, err);
	if (r < 0)
		return r;
	{
		_cleanup_close_ int lock = take_lock(b, err);
		r = lock < 0 ? lock : reuse(b, key, out, err);
	}
	if (r != 0)
		return r < 0 ? r : 0;
	r = hull_sources_find(b->ask->mirror, "/etc/apt", &b->mirrors, err);
	if (r == 0)
		r = hull_bootstrap_check(b, err);
	if (r == 0)
		r = make_tmp(b, err);
	_cleanup_(json_decrefp) json_t *about = NULL;
	if (r == 0)
		r = make_parts(b, key, theirs, &about, err);
	if (r == 0)
		r = publish(b, key, about, out, err);
	if (r == -EIO && b->tmp)
		(void)hull_wrap(err, "building the image failed (log: %s/failed-build.log)", b->images);
	discard(b, r < 0 && r != -ECANCELED);
	return r;
}

int hull_image_build(const struct hull_paths *p, const struct hull_image_build *ask, struct hull_image *out,
		     struct hull_error *err)
{
	*out = (struct hull_image){0};
	if (ask->name) {
		int r = hull_name_check(ask->name, err);
		if (r < 0)
			return hull_wrap(err, "image");
	}
	struct hull_builder b = {.paths = p, .ask = ask, .tmp_fd = -1, .log_fd = -1, .cancel_fd = -1};
	sigset_t stop;
	sigset_t theirs;
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, &theirs);
	b.cancel_fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
	b.images = hull_fmt("%s/images", p->home);
	int r;
	if (b.cancel_fd < 0)
		r = hull_fail_errno(err, "cannot watch for signals");
	else if (!b.images)
		r = hull_fail(err, -ENOMEM, "out of memory");
	else
		r = build(&b, &theirs, out, err);
	if (r == 0 && ask->init) {
		_cleanup_free_ char *initramfs = NULL;
		r = hull_image_initramfs(out, ask->init, &initramfs, err);
	}
	if (r < 0)
		hull_image_free(out);
	/* A signal that has been heard is not delivered once more. */
	struct signalfd_siginfo heard;
	while (b.cancel_fd >= 0 && read(b.cancel_fd, &heard, sizeof(heard)) == (ssize_t)sizeof(heard))
		;
	sigprocmask(SIG_SETMASK, &theirs, NULL);
	hull_recipe_free(&b.recipe);
	hull_mirrors_free(&b.mirrors);
	free(b.images);
	free(b.tmp);
	free(b.kernel_release);
	free(b.stage);
	if (b.tmp_fd >= 0)
		close(b.tmp_fd);
	if (b.log_fd >= 0)
		close(b.log_fd);
	if (b.cancel_fd >= 0)
		close(b.cancel_fd);
	return r;
}

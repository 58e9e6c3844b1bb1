/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, listing, checking and removing images; see image.h.
 *
 * An image is a directory named by 32 hex digits with a readable image.json whose parts are all there with the sizes
 * it gives. Names are symlinks beside it, so switching one is atomic. Whatever else lies in images/ is not ours to
 * touch, except .tmp-* (build.c). image.json is read as a file that may be damaged. */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "image/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { IMAGE_JSON_MAX = 1024 * 1024, PREFIX_MIN = 4 };

void hull_image_free(struct hull_image *im)
{
	free(im->digest);
	free(im->dir);
	json_decref(im->about);
	*im = (struct hull_image){0};
}

static bool is_digest(const char *s, size_t least)
{
	size_t n = strspn(s, "0123456789abcdef");
	return s[n] == '\0' && n >= least && n <= HULL_DIGEST_HEX;
}

/* What a name's symlink says; a digest, or NULL. Owned. */
static char *link_target(const struct hull_paths *p, const char *name)
{
	_cleanup_free_ char *path = hull_fmt("%s/images/%s", p->home, name);
	char target[HULL_DIGEST_HEX + 2];
	ssize_t n = path ? readlink(path, target, sizeof(target) - 1) : -1;
	if (n != HULL_DIGEST_HEX)
		return NULL;
	target[n] = '\0';
	return is_digest(target, HULL_DIGEST_HEX) ? strdup(target) : NULL;
}

/* The first name (in order) that stands for a digest; owned, NULL when none does. */
static char *name_of(const struct hull_paths *p, const char *digest)
{
	_cleanup_free_ char *path = hull_fmt("%s/images", p->home);
	_cleanup_closedir_ DIR *dir = path ? opendir(path) : NULL;
	char *best = NULL;
	for (struct dirent *d; dir && (d = readdir(dir));) {
		if (d->d_name[0] == '.' || is_digest(d->d_name, HULL_DIGEST_HEX))
			continue;
		_cleanup_free_ char *target = link_target(p, d->d_name);
		if (!target || strcmp(target, digest) != 0 || (best && strcmp(best, d->d_name) <= 0))
			continue;
		free(best);
		best = strdup(d->d_name);
	}
	return best;
}

static int check_sizes(const struct hull_image *im, struct hull_error *err)
{
	const json_t *parts = json_object_get(im->about, "parts");
	for (size_t i = 0; hull_image_parts[i]; i++) {
		const char *name = hull_image_parts[i];
		const json_t *size = json_object_get(json_object_get(parts, name), "size");
		_cleanup_free_ char *path = hull_fmt("%s/%s", im->dir, name);
		struct stat st;
		if (!json_is_integer(size))
			return hull_fail(err, -EBADMSG, "image.json does not describe %s", name);
		if (!path || lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
			return hull_fail(err, -EBADMSG, "%s is missing", name);
		if (st.st_size != json_integer_value(size))
			return hull_fail(err, -EBADMSG, "%s has %lld bytes instead of %lld", name,
					 (long long)st.st_size, (long long)json_integer_value(size));
	}
	return 0;
}

/* The image of a full digest. -ENOENT, or -EBADMSG. */
static int load(const struct hull_paths *p, const char *digest, struct hull_image *out, struct hull_error *err)
{
	_cleanup_(hull_image_free) struct hull_image im = {0};
	im.digest = strdup(digest);
	im.dir = hull_fmt("%s/images/%s", p->home, digest);
	_cleanup_free_ char *path = im.dir ? hull_fmt("%s/image.json", im.dir) : NULL;
	if (!im.digest || !path)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (access(im.dir, F_OK) != 0)
		return hull_fail(err, -ENOENT, "there is no image %s", digest);
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	struct hull_error why = {0};
	int r = hull_read_file(AT_FDCWD, path, IMAGE_JSON_MAX, &text, &why);
	if (r == 0) {
		json_error_t je;
		im.about = json_loadb((const char *)hull_buf_bytes(&text), text.len, JSON_REJECT_DUPLICATES, &je);
		if (!json_is_object(im.about))
			r = hull_fail(&why, -EBADMSG, "image.json is damaged: %s",
				      im.about ? "it is no object" : je.text);
	}
	char computed[HULL_DIGEST_HEX + 1];
	if (r == 0)
		r = check_sizes(&im, &why);
	if (r == 0)
		r = hull_parts_digest(json_object_get(im.about, "parts"), computed, &why);
	if (r == 0 && strcmp(computed, digest) != 0)
		r = hull_fail(&why, -EBADMSG, "image.json does not belong to it");
	if (r < 0)
		return hull_fail(
			err, -EBADMSG,
			"the base image %.12s is damaged: %s; remove it with `hull image rm --force %.12s` and run "
			"`hull image build`",
			digest, why.msg, digest);
	_cleanup_free_ char *name = name_of(p, digest);
	json_object_set_new(im.about, "name", name ? json_string(name) : json_null());
	*out = im;
	im = (struct hull_image){0};
	return 0;
}

/* The full digest a reference means. -ENOENT, -EINVAL (ambiguous prefix). Owned by the caller. */
static int resolve(const struct hull_paths *p, const char *ref, char **digest, struct hull_error *err)
{
	_cleanup_free_ char *images = hull_fmt("%s/images", p->home);
	if (!images)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_name_check(ref, err);
	if (r < 0)
		return hull_wrap(err, "image");
	*digest = link_target(p, ref);
	if (*digest)
		return 0;
	_cleanup_closedir_ DIR *dir = is_digest(ref, PREFIX_MIN) ? opendir(images) : NULL;
	for (struct dirent *d; dir && (d = readdir(dir));) {
		if (!is_digest(d->d_name, HULL_DIGEST_HEX) || !hull_starts(d->d_name, ref))
			continue;
		if (*digest) {
			free(*digest);
			*digest = NULL;
			return hull_fail(err, -EINVAL, "more than one image's digest starts with %s; give more digits",
					 ref);
		}
		*digest = strdup(d->d_name);
	}
	if (*digest)
		return 0;
	if (strcmp(ref, "default") == 0)
		return hull_fail(err, -ENOENT, "there is no base image yet; make one with `hull image build`");
	return hull_fail(err, -ENOENT, "there is no base image %s; `hull image ls` shows those there are", ref);
}

int hull_image_find(const struct hull_paths *p, const char *ref, struct hull_image *out, struct hull_error *err)
{
	_cleanup_free_ char *digest = NULL;
	*out = (struct hull_image){0};
	int r = resolve(p, ref ? ref : "default", &digest, err);
	if (r < 0)
		return r;
	r = load(p, digest, out, err);
	if (r == -ENOENT) /* a name whose image was taken away by hand */
		return hull_fail(err, -ENOENT,
				 "the base image %s stands for %.12s, which is gone; run `hull image build`",
				 ref ? ref : "default", digest);
	return r;
}

int hull_image_open(const struct hull_image *im, const char *part, struct hull_error *err)
{
	if (!part[0] || part[0] == '.' || strchr(part, '/'))
		return hull_fail(err, -EINVAL, "an image has no file %s", part);
	_cleanup_free_ char *path = hull_fmt("%s/%s", im->dir, part);
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? hull_fail_errno(err, "cannot open %s", path) : fd;
}

int hull_image_verify(const struct hull_image *im, struct hull_error *err)
{
	const json_t *parts = json_object_get(im->about, "parts");
	for (size_t i = 0; hull_image_parts[i]; i++) {
		const char *name = hull_image_parts[i];
		const char *want = json_string_value(json_object_get(json_object_get(parts, name), "sha256"));
		_cleanup_close_ int fd = hull_image_open(im, name, err);
		if (fd < 0)
			return fd;
		char have[HULL_SHA256_HEX + 1];
		int r = hull_sha256_file(fd, hull_part_is_sparse(name), have, err);
		if (r < 0)
			return hull_wrap(err, "%s/%s", im->dir, name);
		if (!want || strcmp(want, have) != 0)
			return hull_fail(err, -EBADMSG,
					 "%s/%s is damaged: its SHA-256 is not the one of image.json; build the image "
					 "again with "
					 "`hull image build --rebuild`",
					 im->dir, name);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct hull_image *x = a;
	const struct hull_image *y = b;
	const char *xn = json_string_value(json_object_get(x->about, "name"));
	const char *yn = json_string_value(json_object_get(y->about, "name"));
	if (!xn != !yn)
		return xn ? -1 : 1;
	int c = xn ? strcmp(xn, yn) : 0;
	return c ? c : strcmp(x->digest, y->digest);
}

int hull_image_list(const struct hull_paths *p, struct hull_image **list, size_t *count, char ***skipped,
		    struct hull_error *err)
{
	*list = NULL;
	*count = 0;
	if (skipped)
		*skipped = NULL;
	_cleanup_free_ char *images = hull_fmt("%s/images", p->home);
	_cleanup_closedir_ DIR *dir = images ? opendir(images) : NULL;
	if (!dir && (!images || errno != ENOENT))
		return hull_fail_errno(err, "cannot read %s/images", p->home);
	int r = 0;
	for (struct dirent *d; r == 0 && dir && (d = readdir(dir));) {
		if (!is_digest(d->d_name, HULL_DIGEST_HEX))
			continue;
		struct hull_image *more = reallocarray(*list, *count + 1, sizeof(**list));
		if (!more) {
			r = -ENOMEM;
			break;
		}
		*list = more;
		if (load(p, d->d_name, &more[*count], NULL) == 0)
			(*count)++;
		else if (skipped)
			r = hull_strv_add(skipped, d->d_name);
	}
	if (r == 0 && skipped && !*skipped)
		r = (*skipped = hull_strv_copy(NULL)) ? 0 : -ENOMEM;
	if (r < 0) {
		for (size_t i = 0; i < *count; i++)
			hull_image_free(&(*list)[i]);
		free(*list);
		*list = NULL;
		*count = 0;
		return hull_fail(err, r, "out of memory");
	}
	if (*count > 0) {
		qsort(*list, *count, sizeof(**list), by_name);
	} else {
		free(*list);
		*list = NULL;
	}
	return 0;
}

/* The names of the sandboxes whose disk was made from this image, as "a, b"; empty when none. Damaged sandboxes do
 * not say what they use. */
static int users(const struct hull_paths *p, const char *digest, struct hull_buf *out, struct hull_error *err)
{
	char **names = NULL;
	struct hull_error why = {0};
	int r = hull_sandbox_list(p, &names, &why);
	if (r == -ENOENT) /* no sandbox was ever made here */
		return 0;
	if (r < 0)
		return hull_fail(err, r, "%s", why.msg);
	for (char **n = names; r == 0 && n && *n; n++) {
		struct hull_sandbox s = {0};
		if (hull_sandbox_load(p, *n, &s, NULL) == 0 && hull_streq(s.image, digest))
			r = hull_buf_addf(out, "%s%s", out->len ? ", " : "", *n);
		hull_sandbox_free(&s);
	}
	hull_strv_free(names);
	return r;
}

int hull_image_remove(const struct hull_paths *p, const char *ref, bool force, struct hull_error *err)
{
	_cleanup_free_ char *digest = NULL;
	int r = resolve(p, ref ? ref : "default", &digest, err);
	if (r < 0)
		return r;
	_cleanup_(hull_buf_free) struct hull_buf used = {0};
	r = users(p, digest, &used, err);
	if (r < 0 && !force)
		return r;
	if (used.len > 0 && !force)
		return hull_fail(err, -EBUSY, "the image %.12s is used by %s; remove those first, or give --force",
				 digest, (const char *)hull_buf_bytes(&used));
	_cleanup_free_ char *images = hull_fmt("%s/images", p->home);
	_cleanup_close_ int dir = images ? open(images, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return hull_fail_errno(err, "cannot open %s/images", p->home);
	/* Gone at once for everybody; a removal cut short is finished by the next build's sweep. */
	uint32_t random = 0;
	(void)!getrandom(&random, sizeof(random), 0);
	_cleanup_free_ char *doomed = hull_fmt(".tmp-rm-%08x", random);
	if (!doomed)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (renameat(dir, digest, dir, doomed) != 0 && errno != ENOENT)
		return hull_fail_errno(err, "cannot remove %s/%s", images, digest);
	for (char *name; (name = name_of(p, digest)); free(name)) {
		if (unlinkat(dir, name, 0) != 0) {
			free(name);
			break;
		}
	}
	return hull_remove_tree(dir, doomed, err);
}

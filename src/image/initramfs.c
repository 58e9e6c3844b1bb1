/* SPDX-License-Identifier: Apache-2.0 */
/* The initramfs: the image's modules.cpio followed by an archive with hull-init as /init; see image.h.
 *
 * It is a cache, named by the SHA-256 of hull-init, so that a new hull-init makes a new file and an old one is never
 * taken for it. Whoever makes one writes it beside and renames it: two at once make the same file twice. A cached file
 * is taken when its size is the one these parts give. Old ones are removed when a new one is made; a machine being
 * started from one has it open or is told by its engine, and makes it anew. */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "image/cpio.h"
#include "image/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { INIT_MAX = 64 * 1024 * 1024, MODULES_MAX = 256 * 1024 * 1024, HASH_SHOWN = 16 };

#define PREFIX "initramfs-"

static void remove_others(int dir, const char *keep)
{
	int copy = dup(dir);
	_cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (!d) {
		if (copy >= 0)
			close(copy);
		return;
	}
	rewinddir(d);
	for (struct dirent *e; (e = readdir(d));)
		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0 && strcmp(e->d_name, keep) != 0 &&
		    strlen(e->d_name) == strlen(keep))
			unlinkat(dir, e->d_name, 0);
}

static int read_init(const char *init, struct hull_buf *program, char **name, struct hull_error *err)
{
	int r = hull_read_file(AT_FDCWD, init, INIT_MAX, program, err);
	if (r < 0)
		return hull_wrap(err, "hull-init");
	if (program->len < 4 || memcmp(hull_buf_bytes(program), "\177ELF", 4) != 0)
		return hull_fail(err, -EBADMSG, "%s is not a program; build hull again", init);
	char hex[HULL_SHA256_HEX + 1];
	r = hull_sha256(hull_buf_bytes(program), program->len, hex, err);
	if (r < 0)
		return r;
	*name = hull_fmt(PREFIX "%.*s", HASH_SHOWN, hex);
	return *name ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int hull_image_initramfs_name(const char *init, char **name, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf program = {0};
	return read_init(init, &program, name, err);
}

int hull_image_initramfs(const struct hull_image *im, const char *init, char **path, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf program = {0};
	_cleanup_(hull_buf_free) struct hull_buf archive = {0};
	_cleanup_free_ char *name = NULL;
	int r = read_init(init, &program, &name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *file = hull_fmt("%s/%s", im->dir, name);
	if (!file)
		return hull_fail(err, -ENOMEM, "out of memory");

	const json_t *parts = json_object_get(im->about, "parts");
	json_int_t modules_size = json_integer_value(json_object_get(json_object_get(parts, "modules.cpio"), "size"));
	struct hull_cpio cpio = {.out = &archive};
	r = hull_cpio_dir(&cpio, "dev", 0755);
	if (r == 0) /* the kernel opens it for init's three descriptors before /init could mount anything */
		r = hull_cpio_char_device(&cpio, "dev/console", 0600, 5, 1);
	if (r == 0)
		r = hull_cpio_file(&cpio, "init", 0755, hull_buf_bytes(&program), program.len);
	if (r == 0)
		r = hull_cpio_end(&cpio);
	if (r < 0)
		return hull_fail(err, r, "cannot make the initramfs: %s", strerror(-r));
	struct stat st;
	if (stat(file, &st) == 0 && st.st_size == modules_size + (json_int_t)archive.len) {
		*path = hull_steal_ptr(file);
		return 0;
	}

	_cleanup_(hull_buf_free) struct hull_buf whole = {0};
	_cleanup_close_ int dir = open(im->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hull_fail_errno(err, "cannot open %s", im->dir);
	r = hull_read_file(dir, "modules.cpio", MODULES_MAX, &whole, err);
	if (r < 0)
		return r;
	if ((json_int_t)whole.len != modules_size)
		return hull_fail(err, -EBADMSG, "%s/modules.cpio is damaged; run `hull image build --rebuild`",
				 im->dir);
	r = hull_buf_add(&whole, hull_buf_bytes(&archive), archive.len);
	if (r < 0)
		return hull_fail(err, r, "out of memory");
	r = hull_write_file_atomic(dir, name, hull_buf_bytes(&whole), whole.len, 0644, err);
	if (r < 0)
		return r;
	remove_others(dir, name);
	*path = hull_steal_ptr(file);
	return 0;
}

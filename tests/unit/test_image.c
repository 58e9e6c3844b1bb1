/* SPDX-License-Identifier: Apache-2.0 */
/* Base images without building one: recipes and apt sources as text, the order of modules, the archives, and a store
 * of made-up images with every kind of damage. */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "image/cpio.h"
#include "image/digest.h"
#include "image/modules.h"
#include "image/recipe.h"
#include "image/sources.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* Text */

static void recipe_names(void **state)
{
	char **p = NULL;
	struct hull_error err = {0};
	assert_int_equal(hull_recipe_parse("# all\n git  curl# two\n\n\tg++ libc6=2.41-1~x+y\r\ngit\n", "r", &p, &err),
			 0);
	assert_int_equal(hull_strv_count(p), 4);
	assert_string_equal(p[0], "git");
	assert_string_equal(p[1], "curl");
	assert_string_equal(p[2], "g++");
	assert_string_equal(p[3], "libc6=2.41-1~x+y");
	hull_strv_free(p);
}

static void recipe_refuses(void **state)
{
	static const char *const bad[] = {"Git",  "x",         "--include=a", "a,b",         "git\ncurl;id\n", "-rf",
					  "git=", "git=1 x/y", "git\x1b",     "https://x/y", "# none",         ""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char **p = NULL;
		struct hull_error err = {0};
		assert_int_equal(hull_recipe_parse(bad[i], "my.packages", &p, &err), -EINVAL);
		assert_null(p);
		assert_non_null(strstr(err.msg, "my.packages"));
		assert_null(strchr(err.msg, '\x1b'));
	}
	char **p = NULL;
	struct hull_error err = {0};
	assert_int_equal(hull_recipe_parse("git\n\nCurl\n", "r", &p, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "line 3"));
}

static void expect_mirrors(const char *text, int deb822, const char *archive, const char *security)
{
	struct hull_mirrors m = {0};
	assert_int_equal(hull_sources_parse(text, deb822, "file", &m), 0);
	if (!hull_streq(m.archive, archive) || !hull_streq(m.security, security))
		fail_msg("got %s and %s out of: %s", m.archive ? m.archive : "none", m.security ? m.security : "none",
			 text);
	hull_mirrors_free(&m);
}

static void sources_one_line(void **state)
{
	expect_mirrors("deb http://m/debian/ trixie main\n", 0, "http://m/debian", NULL);
	expect_mirrors("# deb http://no/debian trixie main\ndeb http://m/debian bookworm-backports main contrib", 0,
		       "http://m/debian", NULL);
	expect_mirrors(
		"deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://m/debian sid main\n"
		"deb http://s/debian-security bookworm-security main # comment\n",
		0, "https://m/debian", "http://s/debian-security");
	expect_mirrors(
		"deb cdrom:[Debian]/ trixie main\ndeb-src http://src/debian trixie main\ndeb ftp://f/debian trixie "
		"main\ndeb file:/srv/debian trixie main\n",
		0, NULL, NULL);
	/* Others' archives: the suite, the components or the key give them away. */
	expect_mirrors(
		"deb http://x/apt tool-bookworm main\ndeb http://x/apt bookworm-pgdg main\n"
		"deb [signed-by=/etc/apt/keyrings/docker.asc] http://x/linux/debian bookworm stable\n"
		"deb [signed-by=/usr/share/keyrings/php.gpg] http://x/php bookworm main\ndeb http://x/u noble main\n",
		0, NULL, NULL);
	expect_mirrors("deb [broken http://m/debian trixie main\ndeb\ndeb http://m\n[] [] []\n", 0, NULL, NULL);
	/* The first wins. */
	expect_mirrors("deb http://a/debian trixie main\ndeb http://b/debian trixie main\n", 0, "http://a/debian",
		       NULL);
	/* An address that would be more than an address on mmdebstrap's command line. */
	expect_mirrors("deb http://m/[trusted=yes] trixie main\n", 0, NULL, NULL);
}

static void sources_deb822(void **state)
{
	expect_mirrors("Types: deb\n# snapshot\nURIs: http://m/debian/\nSuites: bookworm bookworm-updates\n"
		       "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
		       "Types: deb\nURIs: http://m/debian-security\nSuites: bookworm-security\nComponents: main\n",
		       1, "http://m/debian", "http://m/debian-security");
	expect_mirrors("types: deb deb-src\r\nuris:\r\n file:/x\r\n https://m/debian\r\nsuites: trixie\r\ncomponents: "
		       "contrib\r\n "
		       "main\r\n",
		       1, "https://m/debian", NULL);
	expect_mirrors("Enabled: no\nTypes: deb\nURIs: http://m/debian\nSuites: trixie\nComponents: main\n", 1, NULL,
		       NULL);
	expect_mirrors("Types: deb-src\nURIs: http://m/debian\nSuites: trixie\nComponents: main\n", 1, NULL, NULL);
	expect_mirrors("Types: deb\nURIs: http://x/node\nSuites: nodistro\nComponents: main\n", 1, NULL, NULL);
	expect_mirrors(
		"Types: deb\nURIs: http://x/y\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN PGP-----\n", 1,
		NULL, NULL);
	expect_mirrors(": :\n\n\nURIs\n continuation of nothing\n", 1, NULL, NULL);
}

/* A directory of the test's own. */
struct world {
	char dir[64];
	struct hull_paths paths;
};

static void put(const char *dir, const char *name, const void *p, size_t n)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, p, n, 0644, NULL), 0);
}

static void sources_of_a_host(void **state)
{
	struct world *w = *state;
	struct hull_error err = {0};
	struct hull_mirrors m;
	_cleanup_free_ char *parts = hull_fmt("%s/sources.list.d", w->dir);
	unsetenv("HULL_MIRROR");
	unsetenv("HULL_MIRROR_SECURITY");
	assert_int_equal(hull_sources_find(NULL, w->dir, &m, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "HULL_MIRROR"));

	/* Debian's cloud images name a file of mirrors. */
	_cleanup_free_ char *text = hull_fmt("deb mirror+file:%s/mirrors trixie main\n", w->dir);
	put(w->dir, "mirrors", "# comment\nhttp://cloud/debian\tpriority:1\n", 38);
	assert_int_equal(hull_mkdir_all(parts, 0755, NULL), 0);
	put(parts, "b.list", text, strlen(text));
	put(parts, "a.list.save", "deb http://old/debian trixie main\n", 34);
	put(parts, "a.sources", "Types: deb\nURIs: http://x\nSuites: trixie-security\nComponents: main\n", 67);
	assert_int_equal(hull_sources_find(NULL, w->dir, &m, &err), 0);
	assert_string_equal(m.archive, "http://cloud/debian");
	assert_string_equal(m.security, "http://x");
	hull_mirrors_free(&m);

	/* Said by a person, in the order of who counts more. */
	setenv("HULL_MIRROR", "http://env/debian/", 1);
	assert_int_equal(hull_sources_find(NULL, w->dir, &m, &err), 0);
	assert_string_equal(m.archive, "http://env/debian");
	assert_null(m.security);
	assert_string_equal(m.from, "HULL_MIRROR");
	hull_mirrors_free(&m);
	assert_int_equal(hull_sources_find("https://flag/debian", w->dir, &m, &err), 0);
	assert_string_equal(m.archive, "https://flag/debian");
	hull_mirrors_free(&m);
	assert_int_equal(hull_sources_find("debian", w->dir, &m, &err), -EINVAL);
	assert_int_equal(hull_sources_find("http://x/ trixie main", w->dir, &m, &err), -EINVAL);
	unsetenv("HULL_MIRROR");
}

/* Modules and archives */

static const char dep[] = "kernel/drivers/block/virtio_blk.ko: kernel/a/base.ko\n"
			  "kernel/fs/top.ko.xz: kernel/fs/mid.ko kernel/a/base.ko\n"
			  "kernel/fs/mid.ko: kernel/a/base.ko\n"
			  "kernel/a/base.ko:\n"
			  "kernel/drivers/char/virtio-rng.ko:\n"
			  "kernel/lost.ko: kernel/nowhere.ko\n"
			  "kernel/self.ko: kernel/self.ko\n"
			  "kernel/x.ko: kernel/y.ko\nkernel/y.ko: kernel/x.ko\n"
			  "kernel/../../evil.ko:\n/abs.ko:\n";

static void modules_in_order(void **state)
{
	const char *const wanted[] = {"top", "virtio_rng", "builtin_one", "virtio_blk", "self", NULL};
	char **p = NULL;
	struct hull_error err = {0};
	assert_int_equal(hull_modules_order(dep, "kernel/b/builtin-one.ko\n", wanted, &p, &err), 0);
	static const char *const expected[] = {"kernel/a/base.ko",
					       "kernel/fs/mid.ko",
					       "kernel/fs/top.ko.xz",
					       "kernel/drivers/char/virtio-rng.ko",
					       "kernel/drivers/block/virtio_blk.ko",
					       "kernel/self.ko"};
	assert_int_equal(hull_strv_count(p), 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(p[i], expected[i]);
	hull_strv_free(p);
}

static void modules_damaged(void **state)
{
	static const struct {
		const char *wanted;
		int code;
	} all[] = {{"absent", -ENOENT}, {"lost", -EBADMSG}, {"x", -EBADMSG}, {"evil", -EBADMSG}, {"abs", -EBADMSG}};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *const wanted[] = {all[i].wanted, NULL};
		char **p = NULL;
		struct hull_error err = {0};
		assert_int_equal(hull_modules_order(dep, "", wanted, &p, &err), all[i].code);
		assert_null(p);
	}
	/* A part of a name is not the name. */
	const char *const wanted[] = {"virtio", NULL};
	char **p = NULL;
	assert_int_equal(hull_modules_order(dep, "kernel/virtio_ring.ko\n", wanted, &p, NULL), -ENOENT);
}

/* What a command says, as a string; owned. */
static char *output_of(const char *command)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	FILE *f = popen(command, "re");
	assert_non_null(f);
	char block[4096];
	size_t n;
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		assert_int_equal(hull_buf_add(&out, block, n), 0);
	assert_int_equal(pclose(f), 0);
	assert_int_equal(hull_buf_add(&out, "", 1), 0);
	return strdup((const char *)hull_buf_bytes(&out));
}

static void cpio_reads_back(void **state)
{
	struct world *w = *state;
	if (system("command -v cpio >/dev/null 2>&1") != 0) {
		print_message("# skipped: cpio is not installed\n");
		return;
	}
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	struct hull_cpio c = {.out = &out};
	assert_int_equal(hull_cpio_dir(&c, "d", 0750), 0);
	assert_int_equal(hull_cpio_file(&c, "d/empty", 0644, "", 0), 0);
	for (int i = 0; i < 5; i++) { /* every padding of name and content */
		_cleanup_free_ char *name = hull_fmt("d/%.*s", i + 1, "abcde");
		assert_int_equal(hull_cpio_file(&c, name, 0755, "12345", (size_t)i), 0);
	}
	assert_int_equal(hull_cpio_char_device(&c, "console", 0600, 5, 1), 0);
	assert_int_equal(hull_cpio_end(&c), 0);
	assert_int_equal(out.len % 512, 0);
	put(w->dir, "x.cpio", hull_buf_bytes(&out), out.len);
	_cleanup_free_ char *list = hull_fmt("cpio -itv --numeric-uid-gid --quiet <%s/x.cpio | tr -s ' ' | cut -d' ' "
					     "-f1,3-6,10- | sed 's/ Jan.*//'",
					     w->dir);
	_cleanup_free_ char *said = output_of(list);
	assert_non_null(strstr(said, "drwxr-x--- 0 0"));
	assert_non_null(strstr(said, "crw------- 0 0 5, 1"));
	_cleanup_free_ char *names = hull_fmt("cpio -it --quiet <%s/x.cpio", w->dir);
	_cleanup_free_ char *named = output_of(names);
	assert_string_equal(named, "d\nd/empty\nd/a\nd/ab\nd/abc\nd/abcd\nd/abcde\nconsole\n");
	_cleanup_free_ char *content = hull_fmt("cpio -i --to-stdout --quiet 'd/abcd*' <%s/x.cpio", w->dir);
	_cleanup_free_ char *bytes = output_of(content);
	assert_string_equal(bytes, "1231234");
}

static void modules_archive(void **state)
{
	struct world *w = *state;
	static const char mdep[] = "kernel/top.ko: kernel/base.ko\nkernel/base.ko:\n";
	const char *const wanted[] = {"top", "in", NULL};
	_cleanup_free_ char *kernel = hull_fmt("%s/kernel", w->dir);
	assert_int_equal(hull_mkdir_all(kernel, 0755, NULL), 0);
	put(w->dir, "modules.builtin", "kernel/in.ko\n", 13);
	put(kernel, "top.ko", "TOP", 3);
	put(kernel, "base.ko", "BASE", 4);
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	struct hull_error err = {0};
	assert_int_equal(hull_modules_cpio(w->dir, mdep, wanted, &out, &err), 0);
	const char list[] = "/modules/base.ko\n/modules/top.ko\n";
	assert_non_null(memmem(hull_buf_bytes(&out), out.len, list, strlen(list)));
	assert_non_null(memmem(hull_buf_bytes(&out), out.len, "modules/top.ko", 15));
	/* A module the package does not have. */
	_cleanup_free_ char *base = hull_fmt("%s/base.ko", kernel);
	assert_int_equal(unlink(base), 0);
	assert_true(hull_modules_cpio(w->dir, mdep, wanted, &out, &err) < 0);
	assert_non_null(strstr(err.msg, "base.ko"));
}

/* A store of made-up images */

static char *make_image(const struct hull_paths *p, const char *content, const char *name)
{
	_cleanup_free_ char *tmp = hull_fmt("%s/images/making", p->home);
	assert_int_equal(hull_mkdir_all(tmp, 0755, NULL), 0);
	json_t *parts = json_object();
	for (size_t i = 0; hull_image_parts[i]; i++) {
		char hex[HULL_SHA256_HEX + 1];
		_cleanup_free_ char *path = hull_fmt("%s/%s", tmp, hull_image_parts[i]);
		put(tmp, hull_image_parts[i], content, strlen(content));
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(hull_sha256_file(fd, hull_part_is_sparse(hull_image_parts[i]), hex, NULL), 0);
		json_object_set_new(parts, hull_image_parts[i],
				    json_pack("{s:i, s:s}", "size", (int)strlen(content), "sha256", hex));
	}
	char digest[HULL_DIGEST_HEX + 1];
	assert_int_equal(hull_parts_digest(parts, digest, NULL), 0);
	json_t *about = json_pack("{s:i, s:s, s:o}", "format", 1, "name", name ? name : "x", "parts", parts);
	_cleanup_free_ char *text = json_dumps(about, 0);
	json_decref(about);
	put(tmp, "image.json", text, strlen(text));
	_cleanup_free_ char *to = hull_fmt("%s/images/%s", p->home, digest);
	assert_int_equal(rename(tmp, to), 0);
	if (name) {
		_cleanup_free_ char *link = hull_fmt("%s/images/%s", p->home, name);
		unlink(link);
		assert_int_equal(symlink(digest, link), 0);
	}
	return strdup(digest);
}

static char *expect_found(const struct hull_paths *p, const char *ref)
{
	struct hull_error err = {0};
	struct hull_image im;
	if (hull_image_find(p, ref, &im, &err) != 0)
		fail_msg("%s: %s", ref ? ref : "default", err.msg);
	char *digest = strdup(im.digest);
	hull_image_free(&im);
	return digest;
}

static void expect_not_found(const struct hull_paths *p, const char *ref, int code, const char *word)
{
	struct hull_error err = {0};
	struct hull_image im;
	assert_int_equal(hull_image_find(p, ref, &im, &err), code);
	assert_null(im.dir);
	if (!strstr(err.msg, word))
		fail_msg("no \"%s\" in: %s", word, err.msg);
}

static void images_are_found(void **state)
{
	struct world *w = *state;
	expect_not_found(&w->paths, NULL, -ENOENT, "hull image build");
	_cleanup_free_ char *a = make_image(&w->paths, "aaaa", "default");
	_cleanup_free_ char *b = make_image(&w->paths, "bbbb", "other");
	_cleanup_free_ char *c = make_image(&w->paths, "cccc", NULL);
	_cleanup_free_ char *by_default = expect_found(&w->paths, NULL);
	_cleanup_free_ char *by_name = expect_found(&w->paths, "other");
	_cleanup_free_ char *by_digest = expect_found(&w->paths, c);
	_cleanup_free_ char *prefix = strndup(c, 12);
	_cleanup_free_ char *by_prefix = expect_found(&w->paths, prefix);
	assert_string_equal(by_default, a);
	assert_string_equal(by_name, b);
	assert_string_equal(by_digest, c);
	assert_string_equal(by_prefix, c);
	expect_not_found(&w->paths, "nope", -ENOENT, "hull image ls");
	expect_not_found(&w->paths, "../../etc", -EINVAL, "");
	expect_not_found(&w->paths, ".lock", -EINVAL, "");

	struct hull_image *list;
	size_t count;
	char **skipped;
	assert_int_equal(hull_image_list(&w->paths, &list, &count, &skipped, NULL), 0);
	assert_int_equal(count, 3);
	assert_int_equal(hull_strv_count(skipped), 0);
	assert_string_equal(list[0].digest, a);
	assert_string_equal(list[1].digest, b);
	assert_string_equal(list[2].digest, c); /* no name: last */
	assert_true(json_is_null(json_object_get(list[2].about, "name")));
	for (size_t i = 0; i < count; i++)
		hull_image_free(&list[i]);
	free(list);
	hull_strv_free(skipped);
}

static void ambiguous_prefix(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *images = hull_fmt("%s/images", w->paths.home);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *dir = hull_fmt("%s/abcdef0123456789abcdef012345678%d", images, i);
		assert_int_equal(hull_mkdir_all(dir, 0755, NULL), 0);
	}
	expect_not_found(&w->paths, "abcdef", -EINVAL, "more than one");
}

static void damaged_images(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *digest = make_image(&w->paths, "content", "default");
	_cleanup_free_ char *dir = hull_fmt("%s/images/%s", w->paths.home, digest);
	_cleanup_free_ char *part = hull_fmt("%s/vmlinux", dir);
	_cleanup_free_ char *json = hull_fmt("%s/image.json", dir);
	struct hull_error err = {0};

	/* The same size, other bytes: only reading it all tells. */
	put(dir, "vmlinux", "CONTENT", 7);
	struct hull_image im;
	assert_int_equal(hull_image_find(&w->paths, NULL, &im, &err), 0);
	assert_int_equal(hull_image_verify(&im, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "vmlinux"));
	put(dir, "vmlinux", "content", 7);
	assert_int_equal(hull_image_verify(&im, &err), 0);
	hull_image_free(&im);

	assert_int_equal(truncate(part, 3), 0);
	expect_not_found(&w->paths, NULL, -EBADMSG, "vmlinux has 3 bytes instead of 7");
	assert_int_equal(unlink(part), 0);
	expect_not_found(&w->paths, NULL, -EBADMSG, "vmlinux is missing");
	assert_int_equal(symlink("/etc/passwd", part), 0);
	expect_not_found(&w->paths, NULL, -EBADMSG, "vmlinux is missing");
	assert_int_equal(unlink(part), 0);
	put(dir, "vmlinux", "content", 7);

	_cleanup_(hull_buf_free) struct hull_buf good = {0};
	assert_int_equal(hull_read_file(AT_FDCWD, json, 1 << 20, &good, NULL), 0);
	for (size_t n = 0; n < good.len; n++) { /* every prefix */
		put(dir, "image.json", hull_buf_bytes(&good), n);
		expect_not_found(&w->paths, NULL, -EBADMSG, "damaged");
	}
	static const char *const bad[] = {"[]", "null", "{}", "{\"parts\": []}",
					  "{\"parts\": {\"vmlinux\": {\"size\": \"7\"}}}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(dir, "image.json", bad[i], strlen(bad[i]));
		expect_not_found(&w->paths, NULL, -EBADMSG, "hull image rm --force");
	}
	struct hull_image *list;
	size_t count;
	char **skipped;
	assert_int_equal(hull_image_list(&w->paths, &list, &count, &skipped, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(hull_strv_count(skipped), 1);
	assert_string_equal(skipped[0], digest);
	hull_strv_free(skipped);
	/* A damaged one can be removed, by its name. */
	assert_int_equal(hull_image_remove(&w->paths, NULL, false, &err), 0);
	expect_not_found(&w->paths, NULL, -ENOENT, "hull image build");
	assert_int_not_equal(access(dir, F_OK), 0);
}

static void used_images_stay(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *digest = make_image(&w->paths, "used", "default");
	_cleanup_free_ char *dir = hull_fmt("%s/images/%s", w->paths.home, digest);
	_cleanup_free_ char *sandbox = hull_fmt("%s/sandboxes/web", w->paths.home);
	assert_int_equal(hull_mkdir_all(sandbox, 0700, NULL), 0);
	char *none[] = {NULL};
	char *env[] = {NULL};
	struct hull_sandbox s = {.name = (char *)"web",
				 .agent = (char *)"shell",
				 .image = digest,
				 .cpus = 1,
				 .memory = 1 << 30,
				 .disk = 1 << 30,
				 .engine = (char *)"auto",
				 .env = env,
				 .paths = none,
				 .state = (char *)"created"};
	struct hull_error err = {0};
	assert_int_equal(hull_sandbox_save(&w->paths, &s, &err), 0);
	assert_int_equal(hull_image_remove(&w->paths, "default", false, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "web"));
	assert_int_equal(access(dir, F_OK), 0);
	assert_int_equal(hull_image_remove(&w->paths, "default", true, &err), 0);
	assert_int_not_equal(access(dir, F_OK), 0);
	expect_not_found(&w->paths, NULL, -ENOENT, "hull image build");
}

static void parts_are_opened(void **state)
{
	struct world *w = *state;
	free(make_image(&w->paths, "open me", "default"));
	struct hull_image im;
	struct hull_error err = {0};
	assert_int_equal(hull_image_find(&w->paths, NULL, &im, &err), 0);
	_cleanup_close_ int fd = hull_image_open(&im, "base.erofs", &err);
	assert_true(fd >= 0);
	char c;
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(read(fd, &c, 1), 1);
	assert_int_equal(hull_image_open(&im, "../default/vmlinux", &err), -EINVAL);
	assert_int_equal(hull_image_open(&im, "..", &err), -EINVAL);
	assert_int_equal(hull_image_open(&im, "absent", &err), -ENOENT);
	hull_image_free(&im);
}

static void initramfs_is_a_cache(void **state)
{
	struct world *w = *state;
	free(make_image(&w->paths, "0123456789abcdef", "default"));
	_cleanup_free_ char *init = hull_fmt("%s/init", w->dir);
	_cleanup_free_ char *first = NULL;
	_cleanup_free_ char *again = NULL;
	_cleanup_free_ char *second = NULL;
	char *none = NULL;
	struct hull_image im;
	struct hull_error err = {0};
	struct stat a;
	struct stat b;
	assert_int_equal(hull_image_find(&w->paths, NULL, &im, &err), 0);
	assert_int_equal(hull_image_initramfs(&im, init, &none, &err), -ENOENT);
	put(w->dir, "init", "#!/bin/sh\n", 10);
	assert_int_equal(hull_image_initramfs(&im, init, &none, &err), -EBADMSG);
	put(w->dir, "init", "\177ELF one", 8);
	/* Naming it does not make it. */
	_cleanup_free_ char *name = NULL;
	assert_int_equal(hull_image_initramfs_name(init, &name, &err), 0);
	_cleanup_free_ char *named = hull_fmt("%s/%s", im.dir, name);
	assert_int_not_equal(access(named, F_OK), 0);
	assert_int_equal(hull_image_initramfs(&im, init, &first, &err), 0);
	assert_string_equal(first, named);
	assert_int_equal(stat(first, &a), 0);
	assert_int_equal(a.st_mode & 0777, 0644);
	assert_int_equal(hull_image_initramfs(&im, init, &again, &err), 0);
	assert_string_equal(first, again);
	assert_int_equal(stat(first, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	_cleanup_(hull_buf_free) struct hull_buf made = {0};
	assert_int_equal(hull_read_file(AT_FDCWD, first, 1 << 20, &made, NULL), 0);
	assert_memory_equal(hull_buf_bytes(&made), "0123456789abcdef070701", 22);
	assert_non_null(memmem(hull_buf_bytes(&made), made.len, "\177ELF one", 8));

	/* A damaged one is made again; another hull-init's replaces it. */
	assert_int_equal(truncate(first, 5), 0);
	free(again);
	again = NULL;
	assert_int_equal(hull_image_initramfs(&im, init, &again, &err), 0);
	assert_int_equal(stat(first, &b), 0);
	assert_int_equal(a.st_size, b.st_size);
	put(w->dir, "init", "\177ELF two", 8);
	assert_int_equal(hull_image_initramfs(&im, init, &second, &err), 0);
	assert_string_not_equal(first, second);
	assert_int_not_equal(access(first, F_OK), 0);
	hull_image_free(&im);
}

static void sparse_sum(void **state)
{
	/* The same bytes give the same sum, however the holes lie. */
	struct world *w = *state;
	char hex[2][HULL_SHA256_HEX + 1];
	static char block[300 * 1024];
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *path = hull_fmt("%s/sparse%d", w->dir, i);
		_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(ftruncate(fd, 64 << 20), 0);
		if (i == 1) /* zeros that are stored */
			assert_int_equal(pwrite(fd, block, sizeof(block), 20 << 20), sizeof(block));
		assert_int_equal(pwrite(fd, "data", 4, (20 << 20) + 70000), 4);
		assert_int_equal(pwrite(fd, "end", 3, (64 << 20) - 3), 3);
		assert_int_equal(hull_sha256_file(fd, true, hex[i], NULL), 0);
	}
	assert_string_equal(hex[0], hex[1]);
	_cleanup_free_ char *path = hull_fmt("%s/sparse0", w->dir);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "data", 4, (20 << 20) + 140000), 4);
	assert_int_equal(hull_sha256_file(fd, true, hex[1], NULL), 0);
	assert_string_not_equal(hex[0], hex[1]);
	assert_int_equal(hull_sha256("abc", 3, hex[0], NULL), 0);
	assert_string_equal(hex[0], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	strcpy(w->dir, "/tmp/hull-test-image.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	w->paths.home = hull_fmt("%s/home", w->dir);
	w->paths.runtime = hull_fmt("%s/run", w->dir);
	w->paths.config = hull_fmt("%s/config", w->dir);
	_cleanup_free_ char *images = hull_fmt("%s/images", w->paths.home);
	*state = w;
	return hull_mkdir_all(images, 0700, NULL);
}

static int teardown(void **state)
{
	struct world *w = *state;
	hull_remove_tree(AT_FDCWD, w->dir, NULL);
	hull_paths_free(&w->paths);
	free(w);
	return 0;
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recipe_names),     cmocka_unit_test(recipe_refuses),
		cmocka_unit_test(sources_one_line), cmocka_unit_test(sources_deb822),
		IN_WORLD(sources_of_a_host),        cmocka_unit_test(modules_in_order),
		cmocka_unit_test(modules_damaged),  IN_WORLD(cpio_reads_back),
		IN_WORLD(modules_archive),          IN_WORLD(images_are_found),
		IN_WORLD(ambiguous_prefix),         IN_WORLD(damaged_images),
		IN_WORLD(used_images_stay),         IN_WORLD(parts_are_opened),
		IN_WORLD(initramfs_is_a_cache),     IN_WORLD(sparse_sum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Remembers which files were verified, so that they need not be read again; see snapshot.h for why this is sound.
 *
 * DIR/verified is JSON: the boot id of the host and, for each file, the expected SHA-256 and the inode, size, mtime and
 * ctime (in nanoseconds) at verification. A file modified a moment ago is not recorded: a second change within the same
 * tick of the file system's clock would go unnoticed. Losing or damaging this file costs time only. Forging it requires
 * write access to it and to the files; with that access one could start a sandbox directly. */
#include "snapshot/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { JSON_MAX = 64 * 1024, TICK_NS = 20 * 1000 * 1000 };

int hull_snapshot_sha256(const void *p, size_t n, char hex[65], struct hull_error *err)
{
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	if (EVP_Digest(p, n, raw, &len, EVP_sha256(), NULL) != 1 || len != 32)
		return hull_fail(err, -EIO, "cannot compute a digest");
	for (unsigned i = 0; i < len; i++)
		snprintf(hex + (size_t)2 * i, 3, "%02x", raw[i]);
	return 0;
}

static int64_t ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static json_t *stamp(int fd, const char *sha256)
{
	struct stat st;
	struct timespec now;
	if (!sha256 || fstat(fd, &st) < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0 ||
	    (ns(now) >= ns(st.st_ctim) && ns(now) - ns(st.st_ctim) < TICK_NS))
		return NULL;
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "sha256", sha256, "device", (json_int_t)st.st_dev, "inode",
			 (json_int_t)st.st_ino, "size", (json_int_t)st.st_size, "mtime", (json_int_t)ns(st.st_mtim),
			 "ctime", (json_int_t)ns(st.st_ctim));
}

static const char *sha_of(const struct hull_snapshot *s, const char *file)
{
	return json_string_value(json_object_get(json_object_get(s->files, file), "sha256"));
}

static json_t *load(const char *dir)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	_cleanup_free_ char *path = hull_fmt("%s/verified", dir);
	if (!path || hull_read_file(AT_FDCWD, path, JSON_MAX, &text, NULL) < 0)
		return json_object();
	json_t *j = json_loadb((const char *)hull_buf_bytes(&text), text.len, 0, NULL);
	char boot[37];
	hull_boot_id(boot);
	if (!json_is_object(j) || !boot[0] || !hull_streq(json_string_value(json_object_get(j, "boot")), boot)) {
		json_decref(j);
		return json_object();
	}
	return j;
}

/* Best effort. Not fsynced: a lost file is written again. */
static void save(const char *dir, json_t *j)
{
	char boot[37];
	hull_boot_id(boot);
	json_object_set_new(j, "boot", json_string(boot));
	_cleanup_free_ char *text = json_dumps(j, JSON_COMPACT);
	_cleanup_free_ char *path = hull_fmt("%s/verified", dir);
	_cleanup_free_ char *tmp = hull_fmt("%s/verified.%d", dir, (int)getpid());
	if (!text || !path || !tmp)
		return;
	_cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (hull_write_full(fd, text, strlen(text)) < 0 || rename(tmp, path) < 0)
		unlink(tmp);
}

void hull_snapshot_remember_all(const char *dir, const struct hull_snapshot *s)
{
	json_t *j = json_object();
	for (size_t i = 0; j && hull_snapshot_files[i]; i++) {
		_cleanup_free_ char *path = hull_fmt("%s/%s", dir, hull_snapshot_files[i]);
		_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
		json_t *now = fd >= 0 ? stamp(fd, sha_of(s, hull_snapshot_files[i])) : NULL;
		if (now)
			json_object_set_new(j, hull_snapshot_files[i], now);
	}
	if (j)
		save(dir, j);
	json_decref(j);
}

int hull_snapshot_open(const char *dir, const struct hull_snapshot *s, const char *file, void (*slow)(const char *text),
		       struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, file);
	const char *want = sha_of(s, file);
	if (!path || !want)
		return path ? hull_fail(err, -ENOENT, "%s has no %s", dir, file)
			    : hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	json_t *all = load(dir), *now = stamp(fd, want);
	bool known = now && json_equal(json_object_get(all, file), now);
	int r = 0;
	if (!known) {
		char hex[65];
		uint64_t stored;
		_cleanup_free_ char *text = hull_fmt("checking %s", file);
		if (slow && text)
			slow(text);
		r = hull_snapshot_digest(fd, hex, &stored, err);
		if (r == 0 && strcmp(hex, want) != 0)
			r = hull_fail(err, -EBADMSG, "%s is damaged: its SHA-256 does not match snapshot.json", path);
		/* The stamp taken before reading describes the content that was read, unless the file is being written
		 * right now. */
		json_t *after = r == 0 ? stamp(fd, want) : NULL;
		if (after && now && json_equal(after, now)) {
			json_object_set(all, file, now);
			save(dir, all);
		}
		json_decref(after);
	}
	json_decref(now);
	json_decref(all);
	return r < 0 ? r : hull_steal_fd(&fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: their keys, names and places; see snapshot.h. */
#include "snapshot/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { PREFIX_MIN = 4 };

/* With hardware virtualization the guest sees the host's CPU; its state can be restored on no other model. */
char *hull_snapshot_cpu(const char *accel)
{
	if (!hull_streq(accel, "kvm"))
		return strdup("emulated");
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "re");
	_cleanup_free_ char *line = NULL;
	_cleanup_free_ char *text = strdup("");
	size_t cap = 0;
	while (f && text && getline(&line, &cap, f) > 0 && line[0] != '\n') {
		if (!hull_starts(line, "model") && !hull_starts(line, "flags") && !hull_starts(line, "stepping") &&
		    !hull_starts(line, "vendor_id") && !hull_starts(line, "cpu family"))
			continue;
		char *more = hull_fmt("%s%s", text, line);
		free(text);
		text = more;
	}
	char hex[65];
	return text && hull_snapshot_sha256(text, strlen(text), hex, NULL) == 0 ? strdup(hex) : NULL;
}

int hull_template_key(const struct hull_template_shape *s, char *key, struct hull_error *err)
{
	_cleanup_free_ char *cpu = hull_snapshot_cpu(s->accel);
	_cleanup_free_ char *text = hull_fmt(
		"hull template %d\nimage %s\ninit %s\nengine %s\naccel %s\ncpu %s\ncpus %u\nmemory %llu\n"
		"disk %llu\ndocker %d\nmachine %zu\n%s\nwarm-up %zu\n%s\n",
		HULL_SNAPSHOT_FORMAT, s->image, s->initramfs, s->identity, s->accel, cpu ? cpu : "", s->cpus,
		(unsigned long long)s->memory, (unsigned long long)s->disk, !s->no_docker, strlen(s->machine),
		s->machine, strlen(s->warm_up), s->warm_up);
	char hex[65];
	if (!cpu || !text)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_snapshot_sha256(text, strlen(text), hex, err);
	if (r == 0)
		snprintf(key, HULL_KEY_HEX + 1, "%.*s", HULL_KEY_HEX, hex);
	return r;
}

bool hull_template_is_key(const char *name)
{
	return strlen(name) == HULL_KEY_HEX && strspn(name, "0123456789abcdef") == HULL_KEY_HEX;
}

bool hull_template_is_hulls(const char *rel)
{
	static const char dir[] = "templates/";
	return rel && hull_starts(rel, dir) && hull_template_is_key(rel + sizeof(dir) - 1);
}

int hull_template_name_check(const char *name, struct hull_error *err)
{
	if (hull_template_is_key(name))
		return hull_fail(err, -EINVAL,
				 "%d hex digits are how Hull names its own templates: choose another name",
				 HULL_KEY_HEX);
	return hull_name_check(name, err);
}

char *hull_template_path(const struct hull_paths *p, const char *name)
{
	return name ? hull_fmt("%s/templates/%s", p->home, name) : hull_fmt("%s/templates", p->home);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int hull_template_list(const struct hull_paths *p, char ***names, struct hull_error *err)
{
	_cleanup_free_ char *dir = hull_template_path(p, NULL);
	_cleanup_closedir_ DIR *d = dir ? opendir(dir) : NULL;
	char **list = hull_strv_copy(NULL);
	if (!d && errno != ENOENT) {
		hull_strv_free(list);
		return hull_fail_errno(err, "cannot list templates");
	}
	for (const struct dirent *e; d && list && (e = readdir(d));)
		if (hull_name_check(e->d_name, NULL) == 0 && hull_strv_add(&list, e->d_name) < 0) {
			hull_strv_free(list);
			list = NULL;
		}
	if (!list)
		return hull_fail(err, -ENOMEM, "out of memory");
	qsort(list, hull_strv_count(list), sizeof(*list), by_name);
	*names = list;
	return 0;
}

int hull_template_find(const struct hull_paths *p, const char *word, char **name, struct hull_error *err)
{
	char **list = NULL;
	const char *found = NULL;
	unsigned matches = 0;
	int r = hull_template_list(p, &list, err);
	if (r < 0)
		return r;
	for (char **n = list; *n; n++) {
		if (strcmp(*n, word) == 0) {
			found = *n;
			matches = 1;
			break;
		}
		if (strlen(word) >= PREFIX_MIN && hull_template_is_key(*n) && hull_starts(*n, word)) {
			found = *n;
			matches++;
		}
	}
	if (matches == 1) {
		*name = strdup(found);
		r = *name ? 0 : hull_fail(err, -ENOMEM, "out of memory");
	} else {
		_cleanup_free_ char *shown = hull_printable(word, strlen(word));
		const char *near = hull_closest(word, (const char *const *)list, hull_strv_count(list));
		r = matches ? hull_fail(err, -EINVAL, "several templates begin with %s: give more of the name", shown)
		    : near  ? hull_fail(err, -ENOENT, "no template is called %s: did you mean %s?", shown, near)
			    : hull_fail(err, -ENOENT,
					"no template is called %s: `hull template ls` lists them, `hull template save` "
					 "makes one",
					shown);
	}
	hull_strv_free(list);
	return r;
}

void hull_template_touch(const struct hull_paths *p, const char *name)
{
	_cleanup_free_ char *dir = hull_template_path(p, name);
	_cleanup_free_ char *path = dir ? hull_fmt("%s/snapshot.json", dir) : NULL;
	if (path)
		utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

uint64_t hull_template_used(const struct hull_paths *p, const char *name)
{
	_cleanup_free_ char *dir = hull_template_path(p, name);
	_cleanup_free_ char *path = dir ? hull_fmt("%s/snapshot.json", dir) : NULL;
	struct stat st;
	return path && lstat(path, &st) == 0 && st.st_mtim.tv_sec > 0 ? (uint64_t)st.st_mtim.tv_sec : 0;
}

/* --- one builder at a time --- */

#define BUILDING ".build-" /* followed by the key: locked by the process that builds it, removed afterwards */

/* The file may have been unlinked between open and flock. The lock then protects nothing, and another file is opened.
 */
static int lock_file(const char *path, bool wait, struct hull_error *err)
{
	for (;;) {
		struct stat mine, there;
		_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return hull_fail_errno(err, "cannot open %s", path);
		while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
			if (errno == EWOULDBLOCK)
				return hull_fail(err, -EAGAIN, "another process is building this template");
			if (errno != EINTR || wait)
				return hull_fail_errno(err, "waiting for a template to be built");
		}
		if (fstat(fd, &mine) == 0 && lstat(path, &there) == 0 && mine.st_dev == there.st_dev &&
		    mine.st_ino == there.st_ino)
			return hull_steal_fd(&fd);
	}
}

int hull_template_build_lock(const struct hull_paths *p, const char *key, bool wait, struct hull_error *err)
{
	_cleanup_free_ char *dir = hull_template_path(p, NULL);
	_cleanup_free_ char *path = dir ? hull_fmt("%s/" BUILDING "%s", dir, key) : NULL;
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_mkdir_all(dir, 0700, err);
	return r < 0 ? r : lock_file(path, wait, err);
}

void hull_template_build_done(const struct hull_paths *p, const char *key)
{
	_cleanup_free_ char *dir = hull_template_path(p, NULL);
	_cleanup_free_ char *path = dir ? hull_fmt("%s/" BUILDING "%s", dir, key) : NULL;
	if (path)
		unlink(path);
}

void hull_template_build_sweep(const struct hull_paths *p)
{
	_cleanup_free_ char *dir = hull_template_path(p, NULL);
	_cleanup_closedir_ DIR *d = dir ? opendir(dir) : NULL;
	for (const struct dirent *e; d && (e = readdir(d));) {
		if (!hull_starts(e->d_name, BUILDING))
			continue;
		_cleanup_free_ char *path = hull_fmt("%s/%s", dir, e->d_name);
		_cleanup_close_ int fd = path ? lock_file(path, false, NULL) : -1;
		if (fd >= 0)
			unlink(path);
	}
}

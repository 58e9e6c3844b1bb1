/* What a keeper wrote about its jobs (keeper/session/jobs.c) is all there is of them once it has ended. A file that
 * still says "running" then was left by a keeper that was killed: its job has stopped. */
#include "lib/command/jobs.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { JOB_JSON_MAX = 4 * 1024 * 1024 };

json_t *jobs_load(const char *path)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	if (hull_read_file(AT_FDCWD, path, JOB_JSON_MAX, &text, NULL) < 0)
		return NULL;
	json_t *about = json_loadb((const char *)hull_buf_bytes(&text), text.len, 0, NULL);
	if (json_is_object(about))
		return about;
	json_decref(about);
	return NULL;
}

struct found {
	json_t *about;
	struct timespec at;
};

/* By the time the file was last replaced, as the keeper sorts them. */
static int by_time(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	if (x->at.tv_sec != y->at.tv_sec)
		return x->at.tv_sec < y->at.tv_sec ? -1 : 1;
	return x->at.tv_nsec < y->at.tv_nsec ? -1 : x->at.tv_nsec > y->at.tv_nsec;
}

json_t *jobs_read(const struct hull_paths *p, const char *name, struct hull_error *err)
{
	_cleanup_free_ char *dir = hull_sandbox_path(p, name, "jobs");
	_cleanup_closedir_ DIR *d = dir ? opendir(dir) : NULL;
	_cleanup_free_ struct found *all = NULL;
	size_t n = 0;
	json_t *list = json_array();
	if (!dir || !list || (!d && errno != ENOENT)) {
		hull_fail_errno(err, "reading the jobs of %s", name);
		json_decref(list);
		return NULL;
	}
	for (const struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		size_t len = strlen(e->d_name);
		if (len <= 5 || strcmp(e->d_name + len - 5, ".json") != 0 || e->d_name[0] == '.')
			continue;
		_cleanup_free_ char *path = hull_fmt("%s/%s", dir, e->d_name);
		json_t *about = path && stat(path, &st) == 0 ? jobs_load(path) : NULL;
		struct found *grown = about ? reallocarray(all, n + 1, sizeof *all) : NULL;
		if (!grown) {
			json_decref(about);
			continue;
		}
		if (hull_streq(json_string_value(json_object_get(about, "state")), "running"))
			json_object_set_new(about, "state", json_string("stopped"));
		all = grown;
		all[n++] = (struct found){.about = about, .at = st.st_mtim};
	}
	if (n)
		qsort(all, n, sizeof *all, by_time);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, all[i].about);
	return list;
}

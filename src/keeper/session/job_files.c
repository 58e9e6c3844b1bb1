/* SPDX-License-Identifier: Apache-2.0 */
/* See job_files.h. */
#include "keeper/session/job_files.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "keeper/keeper.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 2 << 20 };

char *job_file_path(const struct keeper *k, const char *id, const char *suffix)
{
	_cleanup_free_ char *file = hull_fmt("jobs/%s%s", id, suffix);
	return file ? hull_sandbox_path(&k->paths, k->sb.name, file) : NULL;
}

void job_record_write(struct keeper *k, const char *id, const json_t *about)
{
	_cleanup_free_ char *path = job_file_path(k, id, ".json");
	_cleanup_free_ char *text = json_dumps(about, JSON_INDENT(2));
	struct hull_error err;
	if (path && text && hull_write_file_unsynced(AT_FDCWD, path, text, strlen(text), 0600, &err) < 0)
		hull_log("job %s: %s", id, err.msg);
}

json_t *job_record_read(const struct keeper *k, const char *id)
{
	_cleanup_free_ char *path = job_file_path(k, id, ".json");
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	if (!path || hull_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL) < 0)
		return NULL;
	json_t *j = json_loadb((const char *)hull_buf_bytes(&text), text.len, 0, NULL);
	if (json_is_object(j))
		return j;
	json_decref(j);
	return NULL;
}

void job_files_remove(const struct keeper *k, const char *id)
{
	static const char *const suffixes[] = {".log", ".log.1", ".json"};
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		_cleanup_free_ char *path = job_file_path(k, id, suffixes[i]);
		if (path)
			unlink(path);
	}
}

bool job_files_exist(const struct keeper *k, const char *id)
{
	_cleanup_free_ char *json = job_file_path(k, id, ".json");
	_cleanup_free_ char *log = job_file_path(k, id, ".log");
	return !json || !log || access(json, F_OK) == 0 || access(log, F_OK) == 0;
}

static bool is_json(const char *name)
{
	size_t n = strlen(name);
	return n == JOB_ID + 5 && strcmp(name + JOB_ID, ".json") == 0;
}

static int by_time(const void *a, const void *b)
{
	const struct job_record *x = a, *y = b;
	if (x->at.tv_sec != y->at.tv_sec)
		return x->at.tv_sec < y->at.tv_sec ? -1 : 1;
	return x->at.tv_nsec < y->at.tv_nsec ? -1 : x->at.tv_nsec > y->at.tv_nsec;
}

size_t job_records(const struct keeper *k, struct job_record **out)
{
	_cleanup_free_ char *path = hull_sandbox_path(&k->paths, k->sb.name, "jobs");
	_cleanup_closedir_ DIR *d = path ? opendir(path) : NULL;
	size_t n = 0, cap = 0;
	*out = NULL;
	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		struct stat st;
		if (!is_json(e->d_name) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (n == cap) {
			struct job_record *grown = reallocarray(*out, cap ? cap * 2 : 16, sizeof(**out));
			if (!grown)
				break;
			*out = grown;
			cap = cap ? cap * 2 : 16;
		}
		memcpy((*out)[n].id, e->d_name, JOB_ID);
		(*out)[n].id[JOB_ID] = '\0';
		(*out)[n++].at = st.st_mtim;
	}
	if (n)
		qsort(*out, n, sizeof(**out), by_time);
	return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Lists jobs.
 *
 * After a keeper has ended, its job files (keeper/session/jobs.c) are the only record of its jobs. A file that still
 * says "running" was left by a keeper that was killed: the job has stopped. */
#include "lib/command/jobs.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"

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

/* Ordered by modification time, like the keeper's list. */
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

/* --- hull_jobs(): the strings of the public struct are those of the JSON --- */

enum { ANSWER_MS = 10000 };

struct job {
	struct hull_job_info pub; /* first */
	json_t *json;
	char *text;
	const char **argv;
};

static void job_free(struct hull_job_info *pub)
{
	struct job *j = (struct job *)pub;
	if (!j)
		return;
	json_decref(j->json);
	free(j->text);
	free(j->argv);
	free(j);
}

void hull_jobs_free(struct hull_job_info **list)
{
	for (struct hull_job_info **j = list; j && *j; j++)
		job_free(*j);
	free(list);
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	return text ? text : "";
}

static struct hull_job_info *make_job(json_t *o)
{
	const json_t *argv = json_object_get(o, "argv"), *code = json_object_get(o, "exit");
	json_int_t started = json_integer_value(json_object_get(o, "started")),
		   ended = json_integer_value(json_object_get(o, "ended"));
	struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return NULL;
	j->json = json_incref(o);
	j->text = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
	j->argv = calloc(json_array_size(argv) + 1, sizeof(*j->argv));
	if (!j->text || !j->argv) {
		job_free(&j->pub);
		return NULL;
	}
	for (size_t i = 0; i < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		j->argv[i] = word ? word : "";
	}
	j->pub = (struct hull_job_info){.id = text_of(o, "id"),
					.state = text_of(o, "state"),
					.argv = j->argv,
					.exit = json_is_integer(code) ? json_integer_value(code) : -1,
					.started = started > 0 ? (uint64_t)started : 0,
					.ended = ended > 0 ? (uint64_t)ended : 0,
					.json = j->text};
	return &j->pub;
}

int hull_jobs(struct hull *h, const char *name, struct hull_job_info ***list, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_error why = {0};
	json_t *answer = NULL, *jobs = NULL;
	*list = NULL;
	int r = life_load(h, name, &sb, &why);
	if (r < 0 && r != -EBADMSG)
		return hull_fail(err, r, "%s", why.msg);
	r = client_ask(h, name, json_pack("{s:s}", "do", "jobs"), ANSWER_MS, &answer, err);
	if (r == -ENOTCONN)
		jobs = jobs_read(&h->paths, name, err);
	else if (r >= 0)
		jobs = json_incref(json_object_get(answer, "jobs"));
	json_decref(answer);
	if (!jobs)
		return err->code < 0 ? err->code : hull_fail(err, -EPROTO, "the keeper of %s tells no jobs", name);
	size_t n = json_array_size(jobs);
	*list = calloc(n + 1, sizeof(struct hull_job_info *));
	for (size_t i = 0; *list && i < n; i++)
		if (!((*list)[i] = make_job(json_array_get(jobs, i)))) {
			hull_jobs_free(*list);
			*list = NULL;
		}
	json_decref(jobs);
	return *list ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

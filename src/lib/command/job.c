/* SPDX-License-Identifier: Apache-2.0 */
/* Requests a detached job from the keeper. The arguments travel as JSON, which holds text only: arguments that are not
 * UTF-8 are refused with an explanation. */
#include "lib/command/job.h"

#include <string.h>

static int strings(json_t *request, const char *key, const char *const *v, struct hull_error *err)
{
	json_t *list = json_array();
	for (; v && *v; v++)
		if (json_array_append_new(list, json_string(*v)) < 0) {
			json_decref(list);
			return hull_fail(err, -EILSEQ,
					 "a job's arguments and variables have to be UTF-8: put other bytes in a file "
					 "and name that");
		}
	return json_object_set_new(request, key, list) < 0 ? hull_fail(err, -ENOMEM, "out of memory") : 0;
}

int job_begin(const struct hull *h, const char *name, const struct hull_exec_spec *job, char **id,
	      struct hull_error *err)
{
	int r = client_await(h, name, "exec", err);
	if (r < 0)
		return r;
	json_t *request = json_pack("{s:s, s:b, s:b}", "do", "job", "tty", (job->flags & HULL_EXEC_TTY) != 0, "stdin",
				    (job->flags & HULL_EXEC_INPUT) != 0);
	r = strings(request, "argv", job->argv, err);
	if (r >= 0)
		r = strings(request, "env", job->env, err);
	if (r >= 0 && job->cwd && json_object_set_new(request, "cwd", json_string(job->cwd)) < 0)
		r = hull_fail(err, -EILSEQ, "-w: not UTF-8");
	if (r >= 0 && job->user && json_object_set_new(request, "user", json_string(job->user)) < 0)
		r = hull_fail(err, -EILSEQ, "-u: not UTF-8");
	if (r < 0) {
		json_decref(request);
		return r;
	}
	json_t *answer = NULL;
	r = client_ask(h, name, request, -1, &answer, err);
	if (r >= 0) {
		const char *text = json_string_value(json_object_get(answer, "id"));
		*id = text ? strdup(text) : NULL;
		if (!*id)
			r = hull_fail(err, -EPROTO, "the keeper of %s gave the job no id", name);
	}
	json_decref(answer);
	return r;
}

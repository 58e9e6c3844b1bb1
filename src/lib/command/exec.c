/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and jobs of hull.h. The code they share is in session.c. */
#include "lib/client.h"
#include "lib/command/job.h"
#include "lib/command/session.h"
#include "lib/sandbox/life.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FLAGS = HULL_EXEC_TTY | HULL_EXEC_DETACH_KEYS | HULL_EXEC_KEEP_INPUT | HULL_EXEC_INPUT };
enum { CONNECT_MS = 10000, JOB_ID_MAX = 32 };

static int read_spec(const struct hull_exec_spec *given, struct hull_exec_spec *spec, struct hull_error *err)
{
	int r = lib_spec(given, spec, sizeof(*spec), err);
	return r < 0 ? r : lib_flags(spec->flags, FLAGS, err);
}

int hull_exec(struct hull *h, const char *name, const struct hull_exec_spec *given, struct hull_error *err)
{
	LIB_CALL(err);
	struct hull_exec_spec spec;
	int r = read_spec(given, &spec, err);
	int fd = r < 0 ? r : life_connect(h, name, err);
	return fd < 0 ? fd : session_run(h, fd, name, NULL, &spec, NULL, err);
}

/* Input from memory, as a file that can be read and polled. */
static int input_file(const void *input, size_t n, struct hull_error *err)
{
	_cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0 || hull_write_full(fd, input, n) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return hull_fail_errno(err, "keeping the input");
	return hull_steal_fd(&fd);
}

/* With a NUL behind. */
static int take(struct hull_buf *b, char **out, size_t *n)
{
	*n = b->len;
	*out = malloc(b->len + 1);
	if (!*out)
		return -ENOMEM;
	if (b->len)
		memcpy(*out, hull_buf_bytes(b), b->len);
	(*out)[b->len] = '\0';
	return 0;
}

int hull_capture(struct hull *h, const char *name, const struct hull_exec_spec *given, const void *input,
		 size_t input_len, size_t max, struct hull_output *output, struct hull_error *err)
{
	LIB_CALL(err);
	struct session_keep keep[2] = {{.max = max}, {.max = max}};
	struct hull_exec_spec spec;
	*output = (struct hull_output){0};
	int r = read_spec(given, &spec, err);
	_cleanup_close_ int in = r >= 0 && input ? input_file(input, input_len, err) : -1;
	if (r < 0 || (input && in < 0))
		return r < 0 ? r : in;
	const int fds[] = {in, -1, -1};
	spec.fds = fds;
	int fd = life_connect(h, name, err);
	r = fd < 0 ? fd : session_run(h, fd, name, NULL, &spec, keep, err);
	if (r >= 0 && (take(&keep[0].buf, &output->out, &output->out_len) < 0 ||
		       take(&keep[1].buf, &output->err, &output->err_len) < 0)) {
		hull_output_free(output);
		r = hull_fail(err, -ENOMEM, "out of memory");
	}
	hull_buf_free(&keep[0].buf);
	hull_buf_free(&keep[1].buf);
	return r;
}

void hull_output_free(struct hull_output *output)
{
	free(output->out);
	free(output->err);
	*output = (struct hull_output){0};
}

/* --- jobs --- */

static int check_id(const char *id, struct hull_error *err)
{
	size_t n = strlen(id);
	if (n && n <= JOB_ID_MAX && strspn(id, "0123456789abcdef") == n)
		return 0;
	_cleanup_free_ char *shown = hull_printable(id, n);
	return hull_fail(err, -EINVAL, "\"%s\" is not the id of a job", shown ? shown : "");
}

int hull_job_start(struct hull *h, const char *name, const struct hull_exec_spec *given, char **id,
		   struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_exec_spec spec;
	*id = NULL;
	int r = read_spec(given, &spec, err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	if (r >= 0)
		r = life_start(h, name, NULL, err);
	return r < 0 ? r : job_begin(h, name, &spec, id, err);
}

/* Checks that the job exists and runs. *tty, *input: how it was started. */
static int find_job(struct hull *h, const char *name, const char *id, bool *tty, bool *input, struct hull_error *err)
{
	json_t *answer = NULL, *j;
	size_t i;
	int r = client_ask(h, name, json_pack("{s:s}", "do", "jobs"), CONNECT_MS, &answer, err);
	if (r == -ENOTCONN)
		return hull_fail(err, r, "%s does not run, and so does no job of it", name);
	if (r < 0)
		return r;
	r = hull_fail(err, -ENOENT, "%s has no job %s: `hull logs %s --jobs` lists them", name, id, name);
	json_array_foreach(json_object_get(answer, "jobs"), i, j)
	{
		if (!hull_streq(json_string_value(json_object_get(j, "id")), id))
			continue;
		*tty = json_is_true(json_object_get(j, "tty"));
		*input = json_is_true(json_object_get(j, "stdin"));
		if (hull_streq(json_string_value(json_object_get(j, "state")), "running"))
			r = 0;
		else
			hull_fail(err, r, "job %s has ended: `hull logs %s --job %s` has its output", id, name, id);
	}
	json_decref(answer);
	return r;
}

int hull_job_find(struct hull *h, const char *name, const char *id, unsigned *flags, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	bool tty = false, input = false;
	int r = check_id(id, err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	if (r >= 0)
		r = find_job(h, name, id, &tty, &input, err);
	if (r >= 0 && flags)
		*flags = (tty ? HULL_EXEC_TTY : 0) | (input ? HULL_EXEC_INPUT : 0);
	return r;
}

int hull_job_attach(struct hull *h, const char *name, const char *id, const struct hull_exec_spec *given,
		    struct hull_error *err)
{
	LIB_CALL(err);
	struct hull_exec_spec spec;
	unsigned has = 0;
	int r = read_spec(given, &spec, err);
	if (r >= 0)
		r = hull_job_find(h, name, id, &has, err);
	int fd = r < 0 ? r : client_connect(&h->paths, name, CONNECT_MS, err);
	if (fd < 0)
		return fd;
	/* Without input of its own, its stdin must not be closed. */
	int fds[3] = {-1, spec.fds ? spec.fds[1] : -1, spec.fds ? spec.fds[2] : -1};
	if (spec.fds && (has & HULL_EXEC_INPUT))
		fds[0] = spec.fds[0];
	if (fds[0] < 0)
		spec.flags |= HULL_EXEC_KEEP_INPUT;
	spec.fds = fds;
	return session_run(h, fd, name, id, &spec, NULL, err);
}

int hull_job_signal(struct hull *h, const char *name, const char *id, int signal, char **state, struct hull_error *err)
{
	LIB_CALL(err);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	json_t *answer = NULL;
	if (state)
		*state = NULL;
	int r = check_id(id, err);
	if (r >= 0)
		r = life_load(h, name, &sb, err);
	/* A damaged sandbox.json does not prevent ending what runs. */
	if (r >= 0 || r == -EBADMSG)
		r = client_ask(h, name, json_pack("{s:s, s:s, s:i}", "do", "signal", "job", id, "signal", signal),
			       CONNECT_MS, &answer, err);
	if (r == -ENOTCONN)
		return hull_fail(err, r, "%s does not run, and so does no job of it", name);
	if (r < 0)
		return r;
	const char *is = json_string_value(json_object_get(answer, "state"));
	if (state)
		*state = strdup(is ? is : "?");
	r = hull_streq(is, "running") ? 0 : json_is_true(json_object_get(answer, "reached")) ? 1 : 2;
	json_decref(answer);
	return r;
}

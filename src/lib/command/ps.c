/* SPDX-License-Identifier: Apache-2.0 */
/* See ps.h. A line is seven words, the cgroup and the arguments: "PID PPID USER STAT CPU RSS SECONDS 0::/CGROUP ARGS".
 * The cgroup determines the kind of process: /work/sessions/N is a session, /work/docker/ID a container, /dockerd and
 * /containerd are Docker's own. */
#include "lib/command/ps.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/command/capture.h"
#include "lib/sandbox/life.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MS = 10000, PS_MAX = 8 << 20 };
enum { WORDS = 8, WORD_MAX = 256, COMMAND_MAX = 4096, CONTAINER_SHOWN = 12 };

/* The next word of [*p, end). */
static bool word(const char **p, const char *end, char out[WORD_MAX])
{
	size_t n = 0;
	while (*p < end && **p == ' ')
		(*p)++;
	while (*p + n < end && (*p)[n] != ' ')
		n++;
	if (n == 0 || n >= WORD_MAX)
		return false;
	memcpy(out, *p, n);
	out[n] = '\0';
	*p += n;
	return true;
}

static bool number(const char *text, uint64_t max, json_int_t *out)
{
	uint64_t v;
	if (!*text || hull_parse_u64(text, max, &v) < 0)
		return false;
	*out = (json_int_t)v;
	return true;
}

/* "12.5" */
static bool percent(const char *text, double *out)
{
	size_t whole = strspn(text, "0123456789");
	size_t part = text[whole] == '.' ? 1 + strspn(text + whole + 1, "0123456789") : 0;
	if (!whole || whole > 6 || text[whole + part])
		return false;
	*out = strtod(text, NULL);
	return true;
}

static const char *job_of(const json_t *jobs, json_int_t session)
{
	size_t i;
	json_t *j;
	const char *id = NULL;
	/* The last one: session numbers restart with each boot. */
	json_array_foreach((json_t *)(uintptr_t)jobs, i, j)
	{
		if (json_integer_value(json_object_get(j, "session")) == session)
			id = json_string_value(json_object_get(j, "id"));
	}
	return id;
}

static json_t *text_or_null(const char *text)
{
	_cleanup_free_ char *shown = text ? hull_printable(text, strlen(text)) : NULL;
	return shown ? json_string(shown) : json_null();
}

/* NULL: not a process of the sandbox, or not a line of ps. */
static json_t *read_line(const char *p, const char *end, uint32_t self, const json_t *jobs)
{
	char w[WORDS][WORD_MAX];
	json_int_t pid, ppid, rss, elapsed, session = 0;
	double cpu;
	for (int i = 0; i < WORDS; i++)
		if (!word(&p, end, w[i]))
			return NULL;
	if (!number(w[0], INT32_MAX, &pid) || !number(w[1], INT32_MAX, &ppid) || !percent(w[4], &cpu) ||
	    !number(w[5], UINT64_MAX >> 12, &rss) || !number(w[6], UINT32_MAX, &elapsed))
		return NULL;
	static const char sessions[] = "0::/work/sessions/", docker[] = "0::/work/docker/";
	const char *container = NULL;
	if (strncmp(w[7], sessions, sizeof sessions - 1) == 0) {
		if (!number(w[7] + sizeof sessions - 1, UINT32_MAX, &session))
			session = 0;
	} else if (strncmp(w[7], docker, sizeof docker - 1) == 0) {
		container = w[7] + sizeof docker - 1;
		if (strlen(container) > CONTAINER_SHOWN)
			w[7][sizeof docker - 1 + CONTAINER_SHOWN] = '\0';
	} else if (strncmp(w[7], "0::/work", 8) != 0 && strcmp(w[7], "0::/dockerd") != 0 &&
		   strcmp(w[7], "0::/containerd") != 0) {
		return NULL;
	}
	if (self && (pid == self || ppid == self))
		return NULL;
	while (p < end && *p == ' ')
		p++;
	size_t n = (size_t)(end - p);
	_cleanup_free_ char *command = hull_printable(p, n < COMMAND_MAX ? n : COMMAND_MAX);
	return json_pack("{s:I, s:I, s:o, s:o, s:f, s:I, s:I, s:o, s:o, s:o, s:o}", "pid", pid, "ppid", ppid, "user",
			 text_or_null(w[2]), "state", text_or_null(w[3]), "cpu", cpu, "memory", rss * 1024, "elapsed",
			 elapsed, "session", session ? json_integer(session) : json_null(), "container",
			 text_or_null(container), "job", text_or_null(session ? job_of(jobs, session) : NULL),
			 "command", json_string(command ? command : ""));
}

json_t *ps_read(const void *text, size_t n, uint32_t self, const json_t *jobs)
{
	const char *p = text, *all = p ? p + n : p;
	json_t *list = json_array();
	while (list && p < all) {
		const char *nl = memchr(p, '\n', (size_t)(all - p));
		const char *end = nl ? nl : all;
		json_t *one = read_line(p, end, self, jobs);
		if (one)
			json_array_append_new(list, one);
		p = nl ? nl + 1 : all;
	}
	return list;
}

int hull_processes(struct hull *h, const char *name, char **json, struct hull_error *err)
{
	LIB_CALL(err);
	static const char *const argv[] = {"ps", "-eww", "-o", PS_FORMAT, NULL};
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	json_t *answer = NULL, *list = NULL;
	uint32_t pid = 0;
	*json = NULL;
	int r = life_load(h, name, &sb, err);
	if (r >= 0)
		r = client_ask(h, name, json_pack("{s:s}", "do", "jobs"), ANSWER_MS, &answer, err);
	if (r == -ENOTCONN)
		return hull_fail(err, r, "%s does not run, and so does nothing in it", name);
	if (r >= 0)
		r = capture(&h->paths, name, argv, PS_MAX, &text, &pid, err);
	if (r >= 0) {
		list = ps_read(hull_buf_bytes(&text), text.len, pid, json_object_get(answer, "jobs"));
		*json = list ? json_dumps(list, JSON_COMPACT) : NULL;
		if (!*json)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	json_decref(list);
	json_decref(answer);
	return r;
}

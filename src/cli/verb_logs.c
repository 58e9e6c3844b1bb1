/* SPDX-License-Identifier: Apache-2.0 */
/* hull logs: the logs of a sandbox, or the output of a job. Follows with inotify until the job or sandbox ends. The
 * keeper rotates a full log to FILE.1, so the name is watched as well as the file; of a job's output the rotated part
 * is shown first. Serial console, dockerd and jobs contain guest output: on a terminal it is filtered. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "cli/filter.h"
#include "cli/out.h"
#include "lib/client.h"
#include "lib/command/jobs.h"
#include "lib/sandbox/life.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum { CHUNK = 64 * 1024 };

static bool follow, keeper, guest, serial, engine, docker, as_list, as_json;
static const char *job, *tail_text;

static const struct cli_opt options[] = {
	{0, "keeper", NULL, "the keeper's own log (the default)", .flag = &keeper},
	{0, "guest", NULL, "what the guest made the keeper say, once that was too much for the keeper's own log",
	 .flag = &guest},
	{0, "serial", NULL, "the guest's serial console: kernel and hull-init", .flag = &serial},
	{0, "engine", NULL, "what the engine said", .flag = &engine},
	{0, "docker", NULL, "dockerd's log", .flag = &docker},
	{0, "job", "ID", "the output of a job", .text = &job},
	{0, "jobs", NULL, "list the jobs instead", .flag = &as_list},
	{0, "json", NULL, "with --jobs: as JSON", .flag = &as_json},
	{'f', "follow", NULL, "go on until the job, or the sandbox, ends", .flag = &follow},
	{'n', "tail", "N", "only the last N lines", .text = &tail_text},
	{0},
};

struct reader {
	char *path;    /* owned */
	int dir, file; /* -1 = not there */
	int older;     /* descriptor of the rotated part of a job's output, or -1 */
	bool filtered;
	struct filter filter;
	char *job_json; /* owned; NULL for a log of the sandbox */
};

static void reader_free(struct reader *r)
{
	hull_closep(&r->dir);
	hull_closep(&r->file);
	hull_closep(&r->older);
	free(r->path);
	free(r->job_json);
}

/* --- which file --- */

static int which(const struct cli *cli, const char **file, struct hull_error *err)
{
	static const struct {
		const char *word, *file;
		const bool *flag;
	} logs[] = {{"keeper", "keeper.log", &keeper},  {"guest", "guest.log", &guest},
		    {"serial", "serial.log", &serial},  {"engine", "engine.log", &engine},
		    {"docker", "dockerd.log", &docker}, {"dockerd", "dockerd.log", NULL}};
	const char *names[6];
	unsigned chosen = job != NULL;
	for (size_t i = 0; i < 6; i++) {
		names[i] = logs[i].word;
		if ((logs[i].flag && *logs[i].flag) || (cli->word_count == 2 && !strcmp(cli->words[1], logs[i].word))) {
			*file = logs[i].file;
			chosen++;
		}
	}
	if (cli->word_count == 2 && !chosen) {
		const char *near = hull_closest(cli->words[1], names, 6);
		return hull_fail(err, -EINVAL,
				 "no log is called \"%s\": %s%s%sthere are keeper, guest, serial, engine and docker",
				 cli->words[1], near ? "did you mean " : "", near ? near : "", near ? "? " : "");
	}
	if (chosen > 1)
		return hull_fail(err, -EINVAL, "logs: one log at a time");
	if (!chosen)
		*file = "keeper.log";
	return 0;
}

static int check_job_id(const char *id, struct hull_error *err)
{
	size_t n = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz");
	_cleanup_free_ char *shown = hull_printable(id, strlen(id));
	return n && n <= 32 && !id[n] ? 0
				      : hull_fail(err, -EINVAL, "\"%s\" is not the id of a job", shown ? shown : "");
}

/* --- output --- */

static int put(struct reader *r, const void *p, size_t n, struct hull_error *err)
{
	int code;
	if (r->filtered) {
		_cleanup_(hull_buf_free) struct hull_buf out = {0};
		code = filter_feed(&r->filter, p, n, &out);
		if (code >= 0)
			code = hull_write_full(STDOUT_FILENO, hull_buf_bytes(&out), out.len);
	} else {
		code = hull_write_full(STDOUT_FILENO, p, n);
	}
	return code < 0 ? hull_fail(err, code, "writing to standard output: %s", strerror(-code)) : 0;
}

/* Print everything from the file's position on. */
static int drain_from(struct reader *r, int fd, struct hull_error *err)
{
	uint8_t bytes[CHUNK];
	for (;;) {
		ssize_t n = read(fd, bytes, sizeof bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hull_fail_errno(err, "reading %s", r->path);
		if (!n)
			return 0;
		int code = put(r, bytes, (size_t)n, err);
		if (code < 0)
			return code;
	}
}

static int drain(struct reader *r, struct hull_error *err)
{
	return drain_from(r, r->file, err);
}

/* Seek to the start of the last `lines` lines: after the line end that is followed by that many lines. A line end at
 * the very end of the output (`last`: of this file) closes the last line and does not begin one. Returns the number of
 * lines that are missing when the file has fewer. */
static int seek_tail(int fd, uint64_t *lines, bool last, struct hull_error *err)
{
	off_t end = lseek(fd, 0, SEEK_END), at = end;
	uint8_t bytes[CHUNK];
	if (!*lines)
		return 0;
	while (at > 0) {
		size_t n = at < CHUNK ? (size_t)at : CHUNK;
		at -= (off_t)n;
		if (pread(fd, bytes, n, at) != (ssize_t)n)
			return hull_fail(err, -EIO, "reading the log's end");
		for (size_t i = n; i-- > 0;) {
			off_t pos = at + (off_t)i;
			if (bytes[i] == '\n' && !(last && pos == end - 1) && !--*lines)
				return lseek(fd, pos + 1, SEEK_SET) < 0 ? hull_fail_errno(err, "seeking in the log")
									: 0;
		}
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? hull_fail_errno(err, "seeking in the log") : 0;
}

/* --- following --- */

static bool job_running(const struct reader *r)
{
	json_t *about = jobs_load(r->job_json);
	const char *state = json_string_value(json_object_get(about, "state"));
	bool running = state && !strcmp(state, "running");
	json_decref(about);
	return running;
}

/* The log was rotated: the rest of the old file has been printed, continue with the new one. */
static int reopen(struct reader *r, struct hull_error *err)
{
	struct stat now, had;
	_cleanup_close_ int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &now) < 0)
		return 0;
	if (r->file >= 0 && fstat(r->file, &had) == 0 && had.st_ino == now.st_ino && had.st_dev == now.st_dev)
		return 0;
	int code = r->file >= 0 ? drain(r, err) : 0;
	hull_closep(&r->file);
	r->file = hull_steal_fd(&fd);
	return code < 0 ? code : drain(r, err);
}

static int follow_on(struct cli *cli, const char *name, struct reader *r, int watch, struct hull_error *err)
{
	_cleanup_close_ int keeper_fd = client_connect(cli->paths, name, 10000, NULL);
	for (;;) {
		bool over = keeper_fd < 0 || (r->job_json && !job_running(r));
		int code = r->file >= 0 ? drain(r, err) : 0;
		if (code >= 0)
			code = reopen(r, err);
		if (code < 0 || over)
			return code;
		/* The connection carries no data; it closes when the keeper ends. */
		struct pollfd fds[2] = {{.fd = watch, .events = POLLIN}, {.fd = keeper_fd, .events = POLLRDHUP}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return hull_fail_errno(err, "waiting for the log");
		char events[8192];
		while (fds[0].revents && read(watch, events, sizeof events) > 0)
			;
		if (fds[1].revents)
			hull_closep(&keeper_fd), keeper_fd = -1;
	}
}

/* --- jobs --- */

static int list_jobs(struct cli *cli, const char *name, struct hull_error *err)
{
	struct hull_job_info **list = NULL;
	int r = hull_jobs(cli->hull, name, &list, err);
	if (r < 0)
		return r;
	if (as_json) {
		json_t *out = json_array();
		for (struct hull_job_info **j = list; *j; j++)
			json_array_append_new(out, json_loads((*j)->json, JSON_DECODE_ANY, NULL));
		cli_json(out);
		json_decref(out);
		hull_jobs_free(list);
		return 0;
	}
	_cleanup_(cli_table_free) struct cli_table t = {.columns = 4};
	static const char *const heads[] = {"ID", "STATE", "EXIT", "COMMAND"};
	for (size_t i = 0; i < 4; i++)
		cli_cell(&t, CLI_PLAIN, heads[i]);
	for (struct hull_job_info **j = list; *j; j++) {
		_cleanup_(hull_buf_free) struct hull_buf line = {0};
		for (const char *const *word = (*j)->argv; *word; word++)
			hull_buf_addf(&line, "%s%s", line.len ? " " : "", *word);
		cli_cell(&t, CLI_PLAIN, *(*j)->id ? (*j)->id : "-");
		cli_cell(&t, CLI_PLAIN, *(*j)->state ? (*j)->state : "-");
		if ((*j)->exit >= 0)
			cli_cellf(&t, CLI_PLAIN, "%lld", (long long)(*j)->exit);
		else
			cli_cell(&t, CLI_PLAIN, "-");
		cli_cellf(&t, CLI_PLAIN, "%.*s", (int)line.len, (const char *)hull_buf_bytes(&line));
	}
	cli_table_print(&t);
	hull_jobs_free(list);
	return 0;
}

/* --- the verb --- */

/* Open a log and its rotated part without a gap between both: the keeper may rotate at the same time. */
static void open_with_older(struct reader *r, const char *older)
{
	for (int attempt = 0; attempt < 8; attempt++) {
		struct stat had, now;
		hull_closep(&r->older);
		hull_closep(&r->file);
		r->older = open(older, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		r->file = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		int saved = errno;
		bool same = stat(older, &now) < 0
				    ? r->older < 0
				    : r->older >= 0 && fstat(r->older, &had) == 0 && had.st_ino == now.st_ino;
		errno = saved;
		if (same)
			return;
	}
}

/* The last lines across both parts. */
static int seek_both(struct reader *r, uint64_t lines, struct hull_error *err)
{
	struct stat st;
	int code = r->file >= 0 ? seek_tail(r->file, &lines, true, err) : 0;
	if (code < 0 || r->older < 0)
		return code;
	if (lines)
		return seek_tail(r->older, &lines, r->file < 0 || fstat(r->file, &st) < 0 || !st.st_size, err);
	hull_closep(&r->older);
	r->older = -1;
	return 0;
}

static int open_log(struct cli *cli, const char *name, const char *file, struct reader *r, struct hull_error *err)
{
	_cleanup_free_ char *inside = job ? hull_fmt("jobs/%s.log", job) : strdup(file);
	_cleanup_free_ char *about = job ? hull_fmt("jobs/%s.json", job) : NULL;
	_cleanup_free_ char *dir = hull_sandbox_path(cli->paths, name, job ? "jobs" : NULL);
	r->path = inside ? hull_sandbox_path(cli->paths, name, inside) : NULL;
	r->job_json = about ? hull_sandbox_path(cli->paths, name, about) : NULL;
	if (!r->path || !dir || (job && !r->job_json))
		return hull_fail(err, -ENOMEM, "out of memory");
	if (job && access(r->job_json, F_OK) < 0 && access(r->path, F_OK) < 0)
		return hull_fail(err, -ENOENT, "%s has no job %s: `hull logs %s --jobs` lists them", name, job, name);
	_cleanup_free_ char *older = hull_fmt("%s.1", r->path);
	if (job && older)
		open_with_older(r, older);
	else
		r->file = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->file < 0 && errno != ENOENT)
		return hull_fail_errno(err, "opening %s", r->path);
	r->filtered = (job || (file && strcmp(file, "keeper.log") != 0)) && isatty(STDOUT_FILENO);
	r->dir = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (follow &&
	    (r->dir < 0 || inotify_add_watch(r->dir, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0))
		return hull_fail_errno(err, "watching %s", dir);
	return 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0], *file = NULL;
	uint64_t lines = 0;
	if (tail_text && strcmp(tail_text, "all") != 0 && hull_parse_u64(tail_text, 1ULL << 40, &lines) < 0)
		return hull_fail(err, -EINVAL, "--tail takes a number of lines");
	bool tail = tail_text && strcmp(tail_text, "all") != 0;
	int code = which(cli, &file, err);
	if (code >= 0 && job)
		code = check_job_id(job, err);
	if (code < 0)
		return code;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_error why = {0};
	code = cli_open(cli, false, err);
	if (code < 0)
		return code;
	code = life_load(cli->hull, name, &sb, &why);
	if (code < 0 && code != -EBADMSG) {
		*err = why;
		return code;
	}
	if (as_list)
		return list_jobs(cli, name, err);
	_cleanup_(reader_free) struct reader r = {.dir = -1, .file = -1, .older = -1};
	code = open_log(cli, name, file, &r, err);
	if (code < 0)
		return code;
	bool running = hull_sandbox_running(cli->paths, name);
	if (r.file < 0 && !(follow && running)) {
		cli_note("%s has no such log yet%s", name, sb.started ? "" : ": it was never started");
		return 0;
	}
	if (tail)
		code = seek_both(&r, lines, err);
	if (code >= 0 && r.older >= 0)
		code = drain_from(&r, r.older, err);
	if (code >= 0 && r.file >= 0)
		code = drain(&r, err);
	if (code >= 0 && follow && running)
		code = follow_on(cli, name, &r, r.dir, err);
	_cleanup_(hull_buf_free) struct hull_buf end = {0};
	if (r.filtered && filter_end(&r.filter, &end) >= 0 && end.len)
		hull_write_full(STDOUT_FILENO, hull_buf_bytes(&end), end.len);
	return code;
}

const struct cli_verb verb_logs = {
	.name = "logs",
	.usage = "NAME [keeper|guest|serial|engine|docker]",
	.summary = "show the logs of a sandbox, or the output of a job",
	.about = "On a terminal, what the guest wrote is shown without the sequences that could steer it; in a pipe it "
		 "is "
		 "passed on byte by byte.",
	.aka = "log console",
	.options = options,
	.min_words = 1,
	.max_words = 2,
	.complete = CLI_SANDBOX,
	.complete_more = CLI_LOG,
	.run = run,
};

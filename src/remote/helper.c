/* The helper: git's commands on standard input, answers on standard output; see remote.h.
 *
 * A sandbox that is stopped is started for this and left as it was: stopped, or paused again, unless somebody else has
 * begun to use it meanwhile. */
#include "remote/remote.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "cli/out.h"
#include "git/git.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STOP_GRACE_MS = 10000 };

/* What git may use: of a list of references, which it keeps whole, and of packs. A guest decides how long they are. */
static const uint64_t LIST_MEMORY = 512ULL << 20, PACK_MEMORY = 8ULL << 30;

struct helper {
	struct cli cli;
	char *name, *dir;
	char *self; /* quoted for a shell */
	bool started, paused;
	bool quiet, dry_run, atomic;
};

/* --- the sandbox --- */

static int bring_up(struct helper *h, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	if (h->started)
		return 0;
	struct cli_progress progress;
	cli_progress_begin(&progress, h->quiet, false, h->name);
	int r = life_load(&h->cli, h->name, &sb, err);
	if (r >= 0) {
		h->paused = hull_streq(hull_sandbox_truth(&sb, false), "paused");
		r = life_start(&h->cli.paths, h->name, NULL, &progress, err);
	}
	h->started = r == 0; /* 1: it ran */
	if (r >= 0)
		r = client_ask(&h->cli.paths, h->name, json_pack("{s:s, s:s}", "do", "wait", "for", "exec"), -1,
			       &progress, NULL, err);
	cli_progress_end(&progress);
	return r < 0 ? r : 0;
}

static void put_back(struct helper *h)
{
	struct hull_error err = {0};
	json_t *status = NULL;
	int r = 0;
	if (!h->started)
		return;
	if (client_ask(&h->cli.paths, h->name, json_pack("{s:s}", "do", "status"), -1, NULL, &status, &err) < 0)
		return; /* it has gone by itself */
	bool used = json_integer_value(json_object_get(status, "sessions")) > 0;
	json_decref(status);
	if (used)
		return;
	if (h->paused)
		r = client_ask(&h->cli.paths, h->name, json_pack("{s:s}", "do", "pause"), -1, NULL, NULL, &err);
	else
		r = life_stop(&h->cli.paths, h->name, STOP_GRACE_MS, NULL, &err);
	if (r < 0)
		cli_note("%s is left running: %s", h->name, err.msg);
}

/* --- git --- */

/* Run `git ARGS... DIR [MORE]` in the repository git called us for, its far end in the sandbox. 0, or -errno. */
static int run_git(struct helper *h, const char *const *args, const char *option, const char *service,
		   const struct hull_buf *input, struct hull_buf *out, uint64_t memory, struct hull_error *err)
{
	const char *argv[32] = {"-c", "transfer.fsckObjects=true", "-c", "fetch.fsckObjects=true",
				"-c", "protocol.file.allow=always"};
	size_t n = 6;
	_cleanup_free_ char *far = hull_fmt("%s=%s --serve %s %s", option, h->self, service, h->name);
	_cleanup_close_ int in = memfd_create("git-input", MFD_CLOEXEC);
	if (!far || in < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	for (; *args; args++)
		argv[n++] = *args;
	argv[n++] = far;
	argv[n++] = h->dir;
	argv[n] = NULL;
	if (input && (hull_write_full(in, hull_buf_bytes(input), input->len) < 0 || lseek(in, 0, SEEK_SET) < 0))
		return hull_fail_errno(err, "passing names to git");
	/* git takes the far end's repository for a path on this machine, reached by a command. */
	int r = hull_git_run_here(argv, in, out, memory, err);
	return r > 0 ? -EIO : r;
}

static int say(const struct hull_buf *b)
{
	return hull_write_full(STDOUT_FILENO, hull_buf_bytes(b), b->len);
}

static int list(struct helper *h, struct hull_error *err)
{
	static const char *const args[] = {"ls-remote", "--symref", NULL};
	_cleanup_(hull_buf_free) struct hull_buf text = {0}, answer = {0};
	int r = bring_up(h, err);
	if (r >= 0)
		r = run_git(h, args, "--upload-pack", "upload-pack", NULL, &text, LIST_MEMORY, err);
	if (r < 0)
		return hull_wrap(err, "%s", h->name);
	r = remote_list((const char *)hull_buf_bytes(&text), text.len, &answer);
	if (r == 0)
		r = hull_buf_addstr(&answer, "\n");
	if (r == 0)
		r = say(&answer);
	return r < 0 ? hull_fail(err, r, "answering git: %s", strerror(-r)) : 0;
}

/* The lines of a batch up to the empty one, the first included: what is behind `verb`, owned. */
static int batch(const char *first, const char *verb, char ***out, struct hull_error *err)
{
	char *line = NULL;
	size_t cap = 0, skip = strlen(verb);
	int r = hull_strv_add(out, first + skip);
	ssize_t n;
	while (r == 0 && (n = getline(&line, &cap, stdin)) > 1) {
		line[n - (line[n - 1] == '\n')] = '\0';
		r = hull_starts(line, verb) ? hull_strv_add(out, line + skip) : -EPROTO;
	}
	free(line);
	return r < 0 ? hull_fail(err, r, "git asks for what it should not") : 0;
}

static int fetch(struct helper *h, const char *first, struct hull_error *err)
{
	const char *args[8] = {"fetch-pack", "--thin", "--stdin", "-q", "--no-progress"};
	_cleanup_(hull_buf_free) struct hull_buf ids = {0}, out = {0};
	char **wants = hull_strv_copy(NULL);
	int r = wants ? batch(first, "fetch ", &wants, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (char **w = wants; r == 0 && *w; w++) {
		size_t n = strcspn(*w, " ");
		if (remote_id_ok(*w, n))
			r = hull_buf_addf(&ids, "%.*s\n", (int)n, *w);
	}
	hull_strv_free(wants);
	if (r >= 0)
		r = bring_up(h, err);
	if (r >= 0)
		r = run_git(h, args, "--upload-pack", "upload-pack", &ids, &out, PACK_MEMORY, err);
	if (r < 0)
		return hull_wrap(err, "%s", h->name);
	return hull_write_full(STDOUT_FILENO, "\n", 1) < 0 ? hull_fail(err, -EPIPE, "git has gone") : 0;
}

static int push(struct helper *h, const char *first, struct hull_error *err)
{
	const char *args[8] = {"send-pack", "--thin", "--helper-status", "--stdin", "-q"};
	size_t n = 5;
	_cleanup_(hull_buf_free) struct hull_buf specs = {0}, out = {0}, answer = {0};
	char **lines = hull_strv_copy(NULL), **refs = hull_strv_copy(NULL);
	int r = lines && refs ? batch(first, "push ", &lines, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (char **l = lines; r == 0 && *l; l++) {
		const char *colon = strrchr(*l, ':');
		r = colon ? hull_strv_add(&refs, colon + 1) : -EPROTO;
		if (r == 0)
			r = hull_buf_addf(&specs, "%s\n", *l);
	}
	if (h->dry_run)
		args[n++] = "--dry-run";
	if (h->atomic)
		args[n++] = "--atomic";
	if (r >= 0)
		r = bring_up(h, err);
	if (r >= 0)
		r = run_git(h, args, "--receive-pack", "receive-pack", &specs, &out, PACK_MEMORY, err);
	/* It fails when one was refused, too: what counts is what it says of each. */
	bool told = remote_status((const char *)hull_buf_bytes(&out), out.len, refs, &answer) == 0 && answer.len;
	hull_strv_free(lines);
	hull_strv_free(refs);
	if (r < 0 && !told)
		return hull_wrap(err, "%s", h->name);
	if (hull_buf_addstr(&answer, "\n") < 0 || say(&answer) < 0)
		return hull_fail(err, -EPIPE, "git has gone");
	return 0;
}

static const char *option(struct helper *h, const char *text)
{
	bool yes = strstr(text, " true") != NULL;
	if (hull_starts(text, "progress ") || hull_starts(text, "followtags ") || hull_starts(text, "object-format"))
		return "ok\n";
	if (hull_starts(text, "verbosity ")) {
		h->quiet = strcmp(text, "verbosity 0") == 0;
		return "ok\n";
	}
	bool *flag = hull_starts(text, "dry-run ") ? &h->dry_run : hull_starts(text, "atomic ") ? &h->atomic : NULL;
	if (!flag)
		return "unsupported\n";
	*flag = yes;
	return "ok\n";
}

static int converse(struct helper *h, struct hull_error *err)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = 0;
	while (r >= 0 && (n = getline(&line, &cap, stdin)) > 1) {
		const char *answer = NULL;
		line[n - (line[n - 1] == '\n')] = '\0';
		if (strcmp(line, "capabilities") == 0)
			answer = "fetch\npush\noption\nobject-format\n\n";
		else if (strcmp(line, "list") == 0 || strcmp(line, "list for-push") == 0)
			r = list(h, err);
		else if (hull_starts(line, "fetch "))
			r = fetch(h, line, err);
		else if (hull_starts(line, "push "))
			r = push(h, line, err);
		else if (hull_starts(line, "option "))
			answer = option(h, line + strlen("option "));
		else
			r = hull_fail(err, -EPROTO, "git says \"%.100s\", which this helper does not know", line);
		if (answer && hull_write_full(STDOUT_FILENO, answer, strlen(answer)) < 0)
			r = hull_fail(err, -EPIPE, "git has gone");
	}
	free(line);
	return r;
}

/* 'as a shell takes it' */
static char *quoted(const char *s)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	int r = hull_buf_addstr(&b, "'");
	for (; r == 0 && *s; s++)
		r = *s == '\'' ? hull_buf_addstr(&b, "'\\''") : hull_buf_add(&b, s, 1);
	if (r == 0)
		r = hull_buf_addstr(&b, "'");
	return r == 0 ? strndup((const char *)hull_buf_bytes(&b), b.len) : NULL;
}

static int help_git(struct helper *h, const char *url, struct hull_error *err)
{
	_cleanup_free_ char *self = hull_self(err);
	if (!self)
		return err->code;
	h->self = quoted(self);
	if (!h->self)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = remote_parse(&h->cli, url, &h->name, &h->dir, err);
	/* An interrupt ends git, which ends us by closing our input: after the sandbox was put back. */
	signal(SIGPIPE, SIG_IGN);
	if (r >= 0 && cli_signals_catch() < 0)
		r = hull_fail_errno(err, "catching signals");
	if (r >= 0)
		r = converse(h, err);
	if (h->name)
		put_back(h);
	return r;
}

int main(int argc, char **argv)
{
	struct hull_error err = {0};
	struct helper h = {0};
	int r;
	if (argc == 5 && strcmp(argv[1], "--serve") == 0)
		r = remote_serve(&h.cli, argv[2], argv[3], argv[4], &err);
	else if (argc == 3)
		r = help_git(&h, argv[2], &err);
	else
		r = hull_fail(&err, -EINVAL, "git-remote-hull is run by git, for a remote with the URL hull::NAME");
	if (r < 0)
		cli_error("%s", err.msg);
	hull_paths_free(&h.cli.paths);
	free(h.name);
	free(h.dir);
	free(h.self);
	return r < 0 ? CLI_EXIT_HULL : r;
}

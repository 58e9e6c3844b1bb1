/* The helper: git's commands on standard input, answers on standard output; see remote.h.
 *
 * A sandbox that is stopped is started for this and left as it was: stopped, or paused again, unless somebody else has
 * begun to use it meanwhile. */
#include "remote/remote.h"
#include "remote/serve.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/debug.h"
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

struct helper {
	struct cli cli;
	char *name, *dir;
	char *self;              /* this program's path */
	struct hull_git_own own; /* what git called us for; without a dir until it is needed */
	struct hull_buf told;    /* the references that git was told of: "ID NAME" lines */
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

static int reach(struct helper *h, const char *service, struct remote_far *f, struct hull_error *err)
{
	char *const argv[] = {h->self, (char *)"--serve", (char *)(uintptr_t)service, h->name, h->dir, NULL};
	int r = bring_up(h, err);
	if (r >= 0)
		r = remote_far_start(f, argv, err);
	f->stop_fd = cli_signals_fd();
	f->peer_fd = STDIN_FILENO;
	return r;
}

static int say(const struct hull_buf *b)
{
	return hull_write_full(STDOUT_FILENO, hull_buf_bytes(b), b->len);
}

static int list(struct helper *h, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf answer = {0};
	_cleanup_(remote_adv_free) struct remote_adv adv = {0};
	_cleanup_(remote_far_end) struct remote_far far = REMOTE_FAR_NONE;
	int r = reach(h, "upload-pack", &far, err);
	if (r >= 0)
		r = remote_far_adv(&far, &adv, err);
	if (r < 0)
		return hull_wrap(err, "%s", h->name);
	r = remote_list(&adv, &answer);
	hull_buf_free(&h->told);
	h->told = adv.refs;
	adv.refs = (struct hull_buf){0};
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

/* The repository that git has called us for. */
static int open_own(struct helper *h, struct hull_error *err)
{
	const char *dir = getenv("GIT_DIR");
	if (h->own.dir)
		return 0;
	return hull_git_own_open(dir && *dir ? dir : ".", getenv("GIT_OBJECT_DIRECTORY"), &h->own, err);
}

static void receiving(void *ctx, uint64_t bytes)
{
	struct cli_progress *p = ctx;
	_cleanup_free_ char *stage = p->tty ? hull_fmt("receiving, %llu MiB", (unsigned long long)bytes >> 20)
					    : strdup("receiving");
	if (stage)
		cli_progress_stage(p, stage);
	cli_progress_tick(p);
}

static int fetch(struct helper *h, const char *first, struct hull_error *err)
{
	_cleanup_(remote_far_end) struct remote_far far = REMOTE_FAR_NONE;
	_cleanup_(hull_buf_free) struct hull_buf answer = {0};
	_cleanup_free_ char *keep = NULL;
	char **wants = hull_strv_copy(NULL);
	int r = wants ? batch(first, "fetch ", &wants, err) : hull_fail(err, -ENOMEM, "out of memory");
	for (char **w = wants; r == 0 && *w; w++)
		(*w)[strcspn(*w, " ")] = '\0';
	if (r >= 0)
		r = open_own(h, err);
	if (r >= 0)
		r = reach(h, "upload-pack", &far, err);
	if (r >= 0) {
		struct cli_progress progress;
		cli_progress_begin(&progress, h->quiet, false, h->name);
		r = remote_fetch(&far, &h->own, wants, receiving, &progress, &keep, err);
		cli_progress_end(&progress);
	}
	hull_strv_free(wants);
	if (r < 0)
		return hull_wrap(err, "%s", h->name);
	/* git removes it when it has made the references. */
	r = keep ? hull_buf_addf(&answer, "lock %s\n\n", keep) : hull_buf_addstr(&answer, "\n");
	return r < 0 || say(&answer) < 0 ? hull_fail(err, -EPIPE, "git has gone") : 0;
}

static int push(struct helper *h, const char *first, struct hull_error *err)
{
	_cleanup_(remote_far_end) struct remote_far far = REMOTE_FAR_NONE;
	_cleanup_(hull_buf_free) struct hull_buf answer = {0};
	char **lines = hull_strv_copy(NULL);
	int r = lines ? batch(first, "push ", &lines, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r >= 0)
		r = open_own(h, err);
	if (r >= 0)
		r = reach(h, "receive-pack", &far, err);
	if (r >= 0) {
		const struct remote_push what = {
			.specs = lines, .told = &h->told, .dry_run = h->dry_run, .atomic = h->atomic};
		r = remote_push(&far, &h->own, &what, &answer, err);
	}
	hull_strv_free(lines);
	/* What is known of each reference counts. */
	if (r < 0 && !answer.len)
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

static int help_git(struct helper *h, const char *url, struct hull_error *err)
{
	h->self = hull_self(err);
	if (!h->self)
		return err->code;
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
	int r = hull_debug_init(&argc, argv, &err);
	if (r < 0)
		;
	else if (argc == 5 && strcmp(argv[1], "--serve") == 0)
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
	hull_git_own_free(&h.own);
	hull_buf_free(&h.told);
	return r < 0 ? CLI_EXIT_HULL : r;
}

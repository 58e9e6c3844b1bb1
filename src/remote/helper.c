/* SPDX-License-Identifier: Apache-2.0 */
/* The helper: git's commands on standard input, answers on standard output; see remote.h.
 *
 * A stopped sandbox is started and afterwards stopped or paused again, as it was before, unless another client has
 * started to use it. */
#include "remote/remote.h"
#include "remote/serve.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/io.h"
#include "base/text.h"
#include "git/git.h"
#include "store/store.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { STOP_GRACE_MS = 10000, SLOW_S = 3, EXIT_HULL = 125 };

struct helper {
	struct hull *hull;
	int signals;          /* readable = to be given up */
	time_t begun, showed; /* name of the current stage; time of the last progress line, 0 = none is shown */
	char *name, *dir;
	char *self;              /* this program's path */
	struct hull_git_own own; /* the repository that git runs in; empty until needed */
	struct hull_buf told;    /* the references that git was given: "ID NAME" lines */
	bool started, paused;
	bool quiet, dry_run, atomic;
};

/* --- the sandbox --- */

/* Print one line per stage of a long wait. */
static void on_stage(void *ctx, const char *subject, const char *stage)
{
	const struct helper *h = ctx;
	if (stage && !h->quiet && time(NULL) - h->begun >= SLOW_S)
		fprintf(stderr, "hull: %s: %s\n", subject, stage);
}

static void on_note(void *ctx, enum hull_note kind, const char *text)
{
	const struct helper *h = ctx;
	if (kind != HULL_NOTE_INFO || !h->quiet)
		fprintf(stderr, "hull: %s\n", text);
}

static int bring_up(struct helper *h, struct hull_error *err)
{
	struct hull_info *info = NULL;
	if (h->started)
		return 0;
	h->begun = time(NULL);
	int r = hull_inspect(h->hull, h->name, &info, err);
	if (r < 0)
		return r;
	h->paused = hull_streq(info->state, "paused");
	hull_info_free(info);
	r = hull_start(h->hull, h->name, HULL_UNTIL_NOW, 0, err);
	h->started = r == 0; /* 1: it ran */
	return r < 0 ? r : hull_wait(h->hull, h->name, HULL_UNTIL_EXEC, -1, err);
}

static void put_back(struct helper *h)
{
	struct hull_error err = {0};
	struct hull_info *info = NULL;
	if (!h->started)
		return;
	hull_interrupt_by(h->hull, -1); /* also after an interrupt */
	h->begun = time(NULL);
	if (hull_inspect(h->hull, h->name, &info, &err) < 0)
		return;
	/* It ended by itself, does not answer, or is in use. */
	bool leave = !info->pid || info->sessions > 0;
	hull_info_free(info);
	if (leave)
		return;
	int r = h->paused ? hull_pause(h->hull, h->name, &err) : hull_stop(h->hull, h->name, STOP_GRACE_MS, &err);
	if (r < 0)
		fprintf(stderr, "hull: %s is left running: %s\n", h->name, err.msg);
}

/* --- git --- */

static int reach(struct helper *h, const char *service, struct remote_far *f, struct hull_error *err)
{
	char *const argv[] = {h->self, (char *)"--serve", (char *)(uintptr_t)service, h->name, h->dir, NULL};
	int r = bring_up(h, err);
	if (r >= 0)
		r = remote_far_start(f, argv, err);
	f->stop_fd = h->signals;
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

/* Read a batch of lines up to the empty one, including the first: the words after `verb`, owned. */
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
	return r < 0 ? hull_fail(err, r, "git sent an unexpected line") : 0;
}

/* Find the repository that git runs in. */
static int open_own(struct helper *h, struct hull_error *err)
{
	const char *dir = getenv("GIT_DIR");
	if (h->own.dir)
		return 0;
	int r = hull_git_own_open(dir && *dir ? dir : ".", getenv("GIT_OBJECT_DIRECTORY"), &h->own, err);
	h->own.stop_fd = h->signals;
	h->own.peer_fd = STDIN_FILENO;
	return r;
}

/* Show progress on a terminal: one line, updated once per second. */
static void receiving(void *ctx, uint64_t bytes)
{
	struct helper *h = ctx;
	time_t now = time(NULL);
	if (h->quiet || now == h->showed || now == h->begun || !isatty(STDERR_FILENO))
		return;
	h->showed = now;
	fprintf(stderr, "\r%s: receiving, %llu MiB\033[K", h->name, (unsigned long long)bytes >> 20);
}

static void received(struct helper *h)
{
	if (h->showed)
		fputs("\r\033[K", stderr);
	h->showed = 0;
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
		h->begun = time(NULL);
		r = remote_fetch(&far, &h->own, wants, receiving, h, &keep, err);
		received(h);
	}
	hull_strv_free(wants);
	if (r < 0)
		return hull_wrap(err, "%s", h->name);
	/* git removes the keep file after it has updated the references. */
	r = keep ? hull_buf_addf(&answer, "lock %s\n\n", keep) : hull_buf_addstr(&answer, "\n");
	return r < 0 || say(&answer) < 0 ? hull_fail(err, -EPIPE, "git closed the connection") : 0;
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
	/* The results of the individual references matter more than the overall error. */
	if (r < 0 && !answer.len)
		return hull_wrap(err, "%s", h->name);
	if (hull_buf_addstr(&answer, "\n") < 0 || say(&answer) < 0)
		return hull_fail(err, -EPIPE, "git closed the connection");
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
			r = hull_fail(err, -EPIPE, "git closed the connection");
	}
	free(line);
	return r;
}

/* On an interrupt git ends and closes our input; we end after restoring the sandbox's state. */
static int catch_signals(struct helper *h, struct hull_error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGHUP);
	int fd = sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return hull_fail_errno(err, "catching signals");
	signal(SIGPIPE, SIG_IGN);
	h->signals = fd;
	hull_interrupt_by(h->hull, fd);
	return 0;
}

static int help_git(struct helper *h, const char *url, struct hull_error *err)
{
	h->self = hull_self(err);
	if (!h->self)
		return err->code;
	int r = remote_parse(h->hull, url, &h->name, &h->dir, err);
	if (r >= 0)
		r = catch_signals(h, err);
	if (r >= 0)
		r = converse(h, err);
	if (h->name)
		put_back(h);
	return r;
}

int main(int argc, char **argv)
{
	struct hull_error err = {0};
	struct helper h = {.signals = -1};
	const struct hull_callbacks callbacks = {
		.size = sizeof(callbacks), .ctx = &h, .stage = on_stage, .note = on_note};
	int r = hull_debug_init(&argc, argv, &err);
	if (r >= 0)
		r = hull_open(&h.hull, &callbacks, &err);
	if (r < 0)
		;
	else if (argc == 5 && strcmp(argv[1], "--serve") == 0)
		r = remote_serve(h.hull, argv[2], argv[3], argv[4], &err);
	else if (argc == 3)
		r = help_git(&h, argv[2], &err);
	else
		r = hull_fail(&err, -EINVAL, "git-remote-hull is run by git, for a remote with the URL hull::NAME");
	if (r < 0)
		fprintf(stderr, "hull: %s\n", err.msg);
	hull_close(h.hull);
	free(h.name);
	free(h.dir);
	free(h.self);
	hull_git_own_free(&h.own);
	hull_buf_free(&h.told);
	return r < 0 ? EXIT_HULL : r;
}

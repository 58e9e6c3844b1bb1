/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command of a sandbox on this process's standard descriptors: the terminal is set to raw mode when the command
 * starts, signals are forwarded, and a command that cannot be executed is reported as by a shell. */
#include "cli/session.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "lib/command/session.h"

#include <signal.h>
#include <unistd.h>

enum { GIVE_UP_AFTER = 3 };

struct glue {
	const struct cli_session *session;
	bool accepted, raw;
	unsigned nudges; /* INT and TERM passed on */
};

static void send_size(struct hull_process *p)
{
	uint32_t rows, cols;
	if (terminal_size(STDOUT_FILENO, &rows, &cols) || terminal_size(STDIN_FILENO, &rows, &cols))
		hull_process_resize(p, rows, cols);
}

static void started(void *ctx, struct hull_process *p)
{
	struct glue *g = ctx;
	g->accepted = true;
	if (cli_progress_current())
		cli_progress_end(cli_progress_current());
	if (g->session->tty && g->session->input && isatty(STDIN_FILENO)) {
		g->raw = terminal_raw(STDIN_FILENO) == 0;
		send_size(p); /* it may have changed while the guest booted */
	}
}

static int on_signal(struct glue *g, struct hull_process *p, int n)
{
	if (n == SIGWINCH) {
		if (g->accepted && g->session->tty)
			send_size(p);
		return 0;
	}
	if (n == SIGCONT) {
		if (g->raw) {
			terminal_again();
			send_size(p);
		}
		return 0;
	}
	/* Nothing runs yet, or our terminal is the session's (its Ctrl-C arrives as a byte, so this signal is for us):
	 * exit. The keeper hangs up the command when the stream closes. */
	if (!g->accepted || g->raw || g->session->no_signals)
		return 128 + n;
	hull_process_signal(p, n);
	if ((n == SIGINT || n == SIGTERM) && ++g->nudges >= GIVE_UP_AFTER) {
		cli_note(g->session->job ? "the job did not end on %u signals: left it, and it goes on"
					 : "the command did not end on %u signals: left it behind and hung it up",
			 g->nudges);
		return 128 + n;
	}
	return 0;
}

static int event(void *ctx, struct hull_process *p)
{
	int n, r = 0;
	while (r == 0 && (n = cli_signals_read()) > 0)
		r = on_signal(ctx, p, n);
	return r;
}

int cli_session_cannot(const struct hull_error *err)
{
	int code = err->code < 0 ? session_cannot(-err->code) : 0;
	if (code)
		cli_error("%s", err->msg);
	return code;
}

int cli_session_run(struct cli *cli, const char *name, const struct cli_session *s, struct hull_error *err)
{
	struct glue glue = {.session = s};
	const int fds[] = {s->input ? STDIN_FILENO : -1, STDOUT_FILENO, STDERR_FILENO};
	uint32_t rows = 0, cols = 0;
	int r = cli_open(cli, cli->quiet, err);
	if (r >= 0)
		r = cli_catch(cli, err);
	if (r < 0)
		return r;
	if (s->tty && !terminal_size(STDOUT_FILENO, &rows, &cols))
		terminal_size(STDIN_FILENO, &rows, &cols);
	const struct hull_exec_spec spec = {
		.size = sizeof(spec),
		.argv = (const char *const *)s->argv,
		.env = (const char *const *)s->env,
		.cwd = s->cwd,
		.user = s->user,
		.flags = (s->tty ? HULL_EXEC_TTY : 0) | (s->keep_input ? HULL_EXEC_KEEP_INPUT : 0) |
			 (s->tty && s->input && isatty(STDIN_FILENO) ? HULL_EXEC_DETACH_KEYS : 0),
		.rows = (unsigned short)rows,
		.cols = (unsigned short)cols,
		.fds = fds,
		.ctx = &glue,
		.started = started,
		.event = event,
		.event_fd = cli_signals_fd()};
	*err = (struct hull_error){0};
	r = s->job ? hull_job_attach(cli->hull, name, s->job, &spec, err) : hull_exec(cli->hull, name, &spec, err);
	terminal_restore();
	if (cli_progress_current())
		cli_progress_end(cli_progress_current());
	if (r == HULL_DETACHED) {
		cli_note("left job %s, which goes on", s->job);
		return 0;
	}
	if (r > 0 && err->code < 0)
		cli_session_cannot(err);
	return r;
}

void cli_session_terminal_env(char ***env)
{
	static const char *const keys[] = {"TERM", "COLORTERM"};
	char **all = hull_strv_copy(NULL);
	for (size_t i = 0; all && i < 2; i++) {
		const char *value = getenv(keys[i]);
		_cleanup_free_ char *pair = value ? hull_fmt("%s=%s", keys[i], value) : NULL;
		if (pair)
			hull_strv_add(&all, pair);
	}
	for (char **v = *env; all && v && *v; v++)
		hull_strv_add(&all, *v);
	if (all) {
		hull_strv_free(*env);
		*env = all;
	}
}

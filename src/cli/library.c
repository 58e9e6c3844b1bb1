/* SPDX-License-Identifier: Apache-2.0 */
/* The command's handle of the library: progress and notices go to stderr, signals cancel waits. */
#include "cli/cli.h"

#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"

#include <string.h>

enum { SLOW_MS = 1000 }; /* a copy that ends sooner shows no progress */

static struct cli_progress template, copied;

static void on_stage(void *ctx, const char *subject, const char *stage)
{
	struct cli *cli = ctx;
	struct hull_error err;
	if (!strcmp(subject, "template") && !stage) {
		cli_progress_end(&template);
	} else if (!strcmp(subject, "template") && cli_progress_current() != &template) {
		cli_catch(cli, &err); /* a line is shown that must be cleared */
		cli_progress_begin(&template, cli->quiet, true, "template");
	}
	if (stage && cli_progress_current())
		cli_progress_stage(cli_progress_current(), stage);
}

static void on_note(void *ctx, enum hull_note kind, const char *text)
{
	const struct cli *cli = ctx;
	if (kind != HULL_NOTE_INFO || !cli->quiet)
		cli_note("%s", text);
}

static void on_moved(void *ctx, const char *subject, uint64_t bytes)
{
	const struct cli *cli = ctx;
	char size[16], line[64];
	if (cli->quiet)
		return;
	if (!copied.begin_ms)
		cli_progress_begin(&copied, false, false, "cp");
	if (!copied.tty || cli_now_ms() - copied.begin_ms < SLOW_MS)
		return;
	snprintf(line, sizeof line, "%s copied", hull_format_size(bytes, size, sizeof size));
	cli_progress_stage(&copied, line);
}

void cli_moved_end(struct cli *cli)
{
	cli_progress_end(&copied);
}

static int on_tick(void *ctx)
{
	return cli_progress_current() ? cli_progress_tick(cli_progress_current()) : -1;
}

static bool on_interrupt(void *ctx)
{
	while (cli_signals_read())
		;
	return cli_signals_ended() != 0;
}

static void on_child(void *ctx)
{
	cli_signals_child();
}

int cli_open(struct cli *cli, bool quiet, struct hull_error *err)
{
	const struct hull_callbacks callbacks = {.size = sizeof callbacks,
						 .ctx = cli,
						 .stage = on_stage,
						 .note = on_note,
						 .moved = on_moved,
						 .tick = on_tick,
						 .interrupted = on_interrupt,
						 .child = on_child};
	cli->quiet = quiet;
	if (cli->hull)
		return 0;
	int r = hull_open(&cli->hull, &callbacks, err);
	if (r >= 0) {
		cli->paths = &cli->hull->paths;
		hull_interrupt_by(cli->hull, cli_signals_fd());
	}
	return r;
}

int cli_catch(struct cli *cli, struct hull_error *err)
{
	int fd = cli_signals_catch();
	if (fd < 0)
		return hull_fail(err, fd, "catching signals: %s", strerror(-fd));
	if (cli->hull)
		hull_interrupt_by(cli->hull, fd);
	return 0;
}

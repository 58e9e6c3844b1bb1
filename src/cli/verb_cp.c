/* SPDX-License-Identifier: Apache-2.0 */
/* hull cp: copies files and trees between the host and a sandbox, with docker cp's semantics. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "cli/signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static bool tolerated, quiet, follow;

static const struct cli_opt options[] = {
	{'a', "archive", NULL, "accepted as docker has it: modes, times and links are always kept", .flag = &tolerated},
	{'L', "follow-link", NULL, "follow DEST on the host when it is a symlink", .flag = &follow},
	{'q', "quiet", NULL, "no progress", .flag = &quiet},
	{0},
};

/* Split "NAME:PATH" into the name and the absolute path in the sandbox, both owned. False for a host path, such as
 * "./a:b" and "/a:b". */
static bool remote(const char *word, char **name, char **path)
{
	const char *colon = strchr(word, ':');
	struct hull_error err;
	if (!colon || memchr(word, '/', (size_t)(colon - word)))
		return false;
	*name = strndup(word, (size_t)(colon - word));
	*path = colon[1] == '/' ? strdup(colon + 1) : hull_fmt("/%s", colon + 1);
	return *name && *path && hull_name_check(*name, &err) >= 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_free_ char *from = NULL;
	_cleanup_free_ char *from_path = NULL;
	_cleanup_free_ char *to = NULL;
	_cleanup_free_ char *to_path = NULL;
	const char *src = cli->words[0], *dst = cli->words[1];
	bool out = remote(src, &from, &from_path), in = remote(dst, &to, &to_path);
	if (in == out)
		return hull_fail(err, -EINVAL, "cp: one of the two has to be in a sandbox, as NAME:PATH%s",
				 in ? ", the other one here" : "");
	if (!*src || !*dst)
		return hull_fail(err, -EINVAL, "cp: an empty path");
	if (follow && in)
		return hull_fail(err, -EINVAL, "cp: --follow-link is for DEST on the host");
	const char *name = in ? to : from;
	signal(SIGPIPE, SIG_IGN);
	int r = cli_open(cli, quiet, err);
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = hull_start(cli->hull, name, HULL_UNTIL_EXEC, 0, err);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	if (in && !strcmp(src, "-"))
		return hull_archive_in(cli->hull, name, to_path, STDIN_FILENO, err);
	if (out && !strcmp(dst, "-")) {
		if (isatty(STDOUT_FILENO))
			return hull_fail(err, -EINVAL, "cp: the archive is not for a terminal; redirect it");
		return hull_archive_out(cli->hull, name, from_path, STDOUT_FILENO, err);
	}
	r = cli_catch(cli, err);
	if (r >= 0)
		r = in ? hull_copy_in(cli->hull, src, name, to_path, err)
		       : hull_copy_out(cli->hull, name, from_path, dst, follow ? HULL_COPY_FOLLOW : 0, err);
	cli_moved_end(cli);
	return r < 0 && cli_signals_ended() ? 128 + cli_signals_ended() : r;
}

const struct cli_verb verb_cp = {
	.name = "cp",
	.usage = "SRC|NAME:SRC|- NAME:DEST|DEST|-",
	.summary = "copy files between the host and a sandbox",
	.about = "NAME:PATH is in the sandbox, which is started if it does not run. As with cp, an existing directory "
		 "is "
		 "copied into; DIR/. means what is in DIR. - is a tar archive on stdin, unpacked in the directory "
		 "DEST, or "
		 "on stdout. What is copied in belongs to the sandbox's user, what is copied out to you.",
	.aka = "copy scp",
	.options = options,
	.min_words = 2,
	.max_words = 2,
	.complete = CLI_FILE,
	.run = run,
};

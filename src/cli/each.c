/* SPDX-License-Identifier: Apache-2.0 */
/* Operates on several sandboxes in parallel, with a child process for each, because each one waits for a machine. A
 * single one is handled in this process, with progress. */
#include "cli/each.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/wait.h>

enum { AT_ONCE = 8 };

int each_names(struct cli *cli, bool all, bool (*wanted)(const struct hull_paths *p, const char *name), char ***names,
	       struct hull_error *err)
{
	if (!all && !cli->word_count)
		return hull_fail(err, -EINVAL, "%s: which sandbox? usage: hull %s %s, or --all", cli->verb->name,
				 cli->verb->name, cli->verb->usage);
	if (all && cli->word_count)
		return hull_fail(err, -EINVAL, "%s: --all and a name exclude each other", cli->verb->name);
	int r = cli_open(cli, cli->quiet, err);
	if (r < 0)
		return r;
	*names = hull_strv_copy(all ? NULL : (char *const *)(uintptr_t)cli->words);
	if (!*names)
		return hull_fail(err, -ENOMEM, "out of memory");
	char **list = NULL;
	r = all ? hull_sandbox_list(cli->paths, &list, err) : 0;
	for (char **n = list; r >= 0 && n && *n; n++)
		if (!wanted || wanted(cli->paths, *n))
			r = hull_strv_add(names, *n) < 0 ? hull_fail(err, -ENOMEM, "out of memory") : 0;
	hull_strv_free(list);
	return r;
}

typedef int each_fn(struct cli *cli, const char *name, struct hull_error *err);

static int one(struct cli *cli, const char *name, bool quiet, each_fn *fn)
{
	struct cli_progress progress;
	struct hull_error err = {0};
	cli->quiet = quiet;
	cli_progress_begin(&progress, quiet, false, name);
	int r = fn(cli, name, &err);
	cli_progress_end(&progress);
	if (r < 0) {
		cli_error("%s", err.code ? err.msg : strerror(-r));
		return r == -EINTR ? 130 : CLI_EXIT_HULL;
	}
	printf("%s\n", name);
	fflush(stdout);
	return 0;
}

static int reap(void)
{
	int status;
	while (wait(&status) < 0)
		if (errno != EINTR)
			return CLI_EXIT_HULL;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : CLI_EXIT_HULL;
}

int each_run(struct cli *cli, char *const *names, bool quiet, each_fn *fn, struct hull_error *err)
{
	if (names[0] && !names[1])
		return one(cli, names[0], quiet, fn);
	int worst = 0, running = 0;
	fflush(stdout);
	for (char *const *n = names; *n; n++) {
		if (running == AT_ONCE) {
			worst |= reap();
			running--;
		}
		pid_t pid = fork();
		if (pid == 0)
			_exit(one(cli, *n, true, fn));
		if (pid < 0)
			worst |= one(cli, *n, quiet, fn);
		else
			running++;
	}
	while (running--)
		worst |= reap();
	return worst;
}

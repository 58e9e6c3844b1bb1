/* hull fork: running copies of a running sandbox.
 *
 * The sandbox is saved once, into a scratch directory of its own, from which every copy is made and started; then that
 * goes away. The copies have their own disks and share the memory they do not change, for as long as any of them runs.
 * They are other sandboxes: their identities are renewed, and a stop and start boots them from their disks. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "lib/sandbox/life.h"
#include "lib/saved/saved.h"
#include "git/git.h"
#include "policy/policy.h"

#include <string.h>
#include <time.h>

static const char *count_text;
static bool quiet;

static const struct cli_opt options[] = {
	{'n', "count", "N", "make so many (default 1)", .text = &count_text},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

enum { COUNT_MAX = 1000, NAME_TRIES = 10000 };

/* NEW for one, NEW-1 and so on for several; without NEW the first of NAME-2, NAME-3... that is free. */
static char *nth_name(const char *name, const char *wish, unsigned n, unsigned count)
{
	if (wish && count == 1)
		return strdup(wish);
	char tail[16];
	int t = snprintf(tail, sizeof(tail), "-%u", wish ? n : n + 1);
	const char *base = wish ? wish : name;
	size_t keep = strlen(base) + (size_t)t > HULL_NAME_MAX ? (size_t)(HULL_NAME_MAX - t) : strlen(base);
	return hull_fmt("%.*s%s", (int)keep, base, tail);
}

/* A copy may do what the original may: a policy that cannot be read is none to go without. */
static int copy_policy(struct cli *cli, const struct hull_sandbox *of, struct hull_sandbox *s, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	_cleanup_free_ char *path = hull_sandbox_path(&cli->paths, of->name, "policy.yaml");
	int r = path ? hull_policy_read(path, &text, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r == -ENOENT && !of->has_policy)
		return 0;
	if (r == -ENOENT)
		return hull_fail(err, r,
				 "%s is gone, so a copy cannot have the policy of %s; `hull policy init` or `hull "
				 "policy reset` with `--sandbox %s` makes it again",
				 path, of->name, of->name);
	if (r < 0)
		return r;
	s->policy = strndup((char *)hull_buf_bytes(&text), text.len);
	return s->policy ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

static int make_copy(struct cli *cli, const struct hull_sandbox *of, const char *rel, const char *wish, unsigned *next,
		     unsigned count, char **made, struct hull_error *err)
{
	struct hull_sandbox s = {.agent = strdup(of->agent),
				 .engine = strdup(of->engine),
				 .env = hull_strv_copy(of->env),
				 .paths = hull_strv_copy(of->paths),
				 .links = hull_strv_copy(of->links),
				 .ca = hull_strv_copy(of->ca),
				 .git_name = of->git_name ? strdup(of->git_name) : NULL,
				 .git_email = of->git_email ? strdup(of->git_email) : NULL,
				 .no_network = of->no_network,
				 .created = (uint64_t)time(NULL)};
	int r = s.agent && s.engine && s.env && s.paths && s.links && s.ca && !s.git_name == !of->git_name &&
				!s.git_email == !of->git_email
			? 0
			: hull_fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = copy_policy(cli, of, &s, err);
	if (r == 0 && of->clone) {
		s.clone = strdup(of->clone);
		s.workdir = strdup(of->workdir);
		s.cloned = of->cloned;
		if (!s.clone || !s.workdir)
			r = hull_fail(err, -ENOMEM, "out of memory");
	}
	while (r == 0 && *next < NAME_TRIES) {
		free(s.name);
		s.name = nth_name(of->name, wish, (*next)++, count);
		r = s.name ? hull_name_check(s.name, err) : hull_fail(err, -ENOMEM, "out of memory");
		if (r == 0)
			r = saved_sandbox(&cli->paths, rel, &s, err);
		struct hull_error why;
		if (r == 0 && s.clone && hull_git_remote_add(s.clone, s.name, &why) < 0)
			cli_note("no remote was added for %s: %s", s.name, why.msg);
		if (r == 0) {
			*made = hull_steal_ptr(s.name);
			break;
		}
		if (r == -EEXIST && !(wish && count == 1))
			r = 0;
	}
	hull_sandbox_free(&s);
	return r;
}

static int start_copy(struct cli *cli, const char *name, struct cli_progress *progress, struct hull_error *err)
{
	int r = life_start(&cli->paths, name, NULL, progress, err);
	if (r >= 0)
		r = client_ask(&cli->paths, name, json_pack("{s:s, s:s}", "do", "wait", "for", "exec"), -1, progress,
			       NULL, err);
	return r;
}

static int copies(struct cli *cli, const struct hull_sandbox *of, const char *scratch, const char *wish, unsigned count,
		  struct cli_progress *progress, struct hull_error *err)
{
	const char *slash = strrchr(scratch, '/');
	_cleanup_free_ char *rel = hull_fmt("sandboxes/%s/snapshots/%s", of->name, slash + 1);
	if (!rel)
		return hull_fail(err, -ENOMEM, "out of memory");
	unsigned next = 1;
	for (unsigned i = 0; i < count; i++) {
		_cleanup_free_ char *name = NULL;
		int r = make_copy(cli, of, rel, wish, &next, count, &name, err);
		if (r == 0 && !name)
			r = hull_fail(err, -EEXIST, "no free name: give one");
		if (r < 0)
			return r;
		cli_progress_stage(progress, name);
		r = start_copy(cli, name, progress, err);
		if (r < 0) {
			life_remove(&cli->paths, name, NULL);
			return hull_wrap(err, "%s", name);
		}
		cli_progress_end(progress);
		printf("%s\n", name);
		fflush(stdout);
	}
	return 0;
}

static int run(struct cli *cli, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox of = {0};
	_cleanup_(hull_scratch_drop) struct hull_scratch scratch = {.fd = -1};
	const char *name = cli->words[0], *wish = cli->word_count > 1 ? cli->words[1] : NULL;
	uint64_t count = 1;
	double paused = 0;
	if (count_text && (hull_parse_u64(count_text, COUNT_MAX, &count) < 0 || count == 0))
		return hull_fail(err, -EINVAL, "--count takes a number from 1 to %d", COUNT_MAX);
	int r = life_load(cli, name, &of, err);
	if (r >= 0 && wish)
		r = count == 1 ? hull_sandbox_name_new(&cli->paths, wish, err) : hull_name_check(wish, err);
	if (r < 0)
		return r;
	if (!hull_sandbox_running(&cli->paths, name))
		return hull_fail(err, -ENOTCONN, "%s is not running: `hull start %s` first", name, name);
	if (cli_signals_catch() < 0)
		return hull_fail_errno(err, "catching signals");
	_cleanup_free_ char *parent = hull_sandbox_path(&cli->paths, name, "snapshots");
	r = parent ? hull_saved_scratch(parent, &scratch, err) : hull_fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	struct cli_progress progress;
	cli_progress_begin(&progress, quiet, false, name);
	r = saved_take(&cli->paths, name, scratch.path, false, &progress, &paused, err);
	if (r >= 0)
		r = copies(cli, &of, scratch.path, wish, (unsigned)count, &progress, err);
	cli_progress_end(&progress);
	if (r >= 0 && !quiet && isatty(STDERR_FILENO))
		cli_note("%s stood still for %.0f ms", name, paused);
	return r == -EINTR && cli_signals_ended() ? 128 + cli_signals_ended() : r;
}

const struct cli_verb verb_fork = {
	.name = "fork",
	.usage = "NAME [NEW]",
	.summary = "make running copies of a running sandbox",
	.about = "Each copy has the processes, containers, memory and disk that NAME has at that moment, and goes its "
		 "own "
		 "way: own hostname, machine id, random numbers and SSH host keys. NAME goes on; it stands still only "
		 "while "
		 "the memory it has changed is copied. Open connections are closed in the copies; published ports and "
		 "--rm are not theirs. The new names are "
		 "printed: NEW, or NEW-1, NEW-2... with -n, or NAME-2, NAME-3...",
	.aka = "clone copy duplicate branch",
	.options = options,
	.min_words = 1,
	.max_words = 2,
	.complete = CLI_SANDBOX,
	.run = run,
};

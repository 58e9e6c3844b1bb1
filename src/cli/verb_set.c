/* hull set: change the size of a sandbox that is there.
 *
 * What does not run is changed on disk, with its lock held so that no start can come in between. The disk's file is
 * made longer before sandbox.json says so: killed in between, it is a file with a hole at its end that the next attempt
 * uses. The guest grows its file system when it starts. Of what runs, the keeper changes the disk; cpus, memory
 * and swap are those of the machine, and need another one. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "lib/client.h"
#include "cli/create.h"
#include "lib/sandbox/life.h"
#include "cli/out.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *flag_cpus, *flag_memory, *flag_disk, *flag_swap;
static bool quiet;

static const struct cli_opt options[] = {
	{0, "cpus", "N", "virtual CPUs, 0 = as many as the host has; of a stopped sandbox", .text = &flag_cpus},
	{'m', "memory", "SIZE", "the most memory it may use, as 512m or 8g; of a stopped sandbox",
	 .text = &flag_memory},
	{0, "disk", "SIZE", "make its disk larger, also while it runs", .text = &flag_disk},
	{0, "swap", "SIZE", "swap on its disk, 0 = none; of a stopped sandbox", .text = &flag_swap},
	{'q', "quiet", NULL, "no progress and no notices", .flag = &quiet},
	{0},
};

/* What the flags say, over what the sandbox has. */
static int wanted(const struct hull_sandbox *sb, struct hull_sandbox *out, struct hull_error *err)
{
	char now[32], asked[32];
	int r = 0;
	out->cpus = sb->cpus;
	out->memory = sb->memory;
	out->disk = sb->disk;
	out->swap = sb->swap;
	if (flag_cpus)
		r = create_cpus(flag_cpus, create_host_cpus(), &out->cpus, err);
	if (r >= 0 && flag_memory)
		r = create_memory(flag_memory, create_host_memory(), &out->memory, err);
	if (r >= 0 && flag_disk)
		r = create_disk(flag_disk, &out->disk, err);
	if (r >= 0 && flag_swap)
		r = create_swap(flag_swap, out->disk, &out->swap, err);
	if (r >= 0 && out->disk < sb->disk)
		return hull_fail(err, -EINVAL, "--disk %s is less than %s has (%s): a disk can be made larger only",
				 hull_format_size(out->disk, asked, sizeof(asked)), sb->name,
				 hull_format_size(sb->disk, now, sizeof(now)));
	return r;
}

static int lengthen(const struct hull_paths *p, const char *name, uint64_t bytes, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_sandbox_path(p, name, "disk.img");
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 && errno == ENOENT)
		return 0; /* the first start makes it, as large as sandbox.json says */
	if (fd < 0 || fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot open %s", path);
	/* Never shorter, whatever sandbox.json says. */
	if ((uint64_t)st.st_size < bytes && (ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0))
		return hull_fail_errno(err, "cannot make %s larger", path);
	return 0;
}

/* It does not run. */
static int change_stopped(struct cli *cli, const char *name, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0}, want = {0};
	_cleanup_close_ int lock = hull_sandbox_lock(&cli->paths, name, err);
	int r = lock < 0 ? lock : hull_sandbox_load(&cli->paths, name, &sb, err);
	if (r >= 0)
		r = wanted(&sb, &want, err);
	if (r < 0)
		return r;
	bool machine = want.cpus != sb.cpus || want.memory != sb.memory || want.disk != sb.disk;
	if (!machine && want.swap == sb.swap)
		return 0;
	/* Saved memory is that of a machine of its own size, and may be swapped out in part. A template's is no loss:
	 * the disk boots instead. */
	if (sb.restore && !hull_starts(sb.restore, "templates/"))
		return hull_fail(
			err, -EBUSY,
			"%s has saved memory, of a machine of the size that it has: `hull resume %s` and `hull "
			"stop %s` it first, or give the memory up with `hull start --cold %s`",
			name, name, name, name);
	r = want.disk > sb.disk ? lengthen(&cli->paths, name, want.disk, err) : 0;
	if (r < 0)
		return r;
	sb.cpus = want.cpus;
	sb.memory = want.memory;
	sb.disk = want.disk;
	sb.swap = want.swap;
	r = hull_sandbox_save(&cli->paths, &sb, err);
	/* Hull's own templates have no swap: it is set up after the restore. */
	if (r >= 0 && sb.restore && !quiet && (machine || !hull_template_is_hulls(sb.restore)))
		cli_note("%s boots at its next start: its template is of another size", name);
	return r;
}

static int change_running(struct cli *cli, const char *name, struct hull_error *err)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0}, want = {0};
	int r = hull_sandbox_load(&cli->paths, name, &sb, err);
	if (r >= 0)
		r = wanted(&sb, &want, err);
	if (r < 0)
		return r;
	if (want.cpus != sb.cpus || want.memory != sb.memory || want.swap != sb.swap)
		return hull_fail(err, -EBUSY,
				 "%s is running, and a machine keeps its cpus, memory and swap: `hull stop %s` first",
				 name, name);
	if (want.disk == sb.disk)
		return 0;
	_cleanup_(cli_progress_end) struct cli_progress progress = {0};
	cli_progress_begin(&progress, quiet, false, name);
	cli_progress_stage(&progress, "growing its disk");
	return client_ask(&cli->paths, name, json_pack("{s:s, s:I}", "do", "grow", "bytes", (json_int_t)want.disk), -1,
			  &progress, NULL, err);
}

static int run(struct cli *cli, struct hull_error *err)
{
	const char *name = cli->words[0];
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	int r = cli_paths(cli, err);
	if (r >= 0)
		r = life_load(cli, name, &sb, err);
	if (r < 0)
		return r;
	if (!flag_cpus && !flag_memory && !flag_disk && !flag_swap)
		return hull_fail(err, -EINVAL, "nothing to change: give --cpus, --memory, --swap or --disk");
	return hull_sandbox_running(&cli->paths, name) ? change_running(cli, name, err)
						       : change_stopped(cli, name, err);
}

const struct cli_verb verb_set = {
	.name = "set",
	.usage = "NAME",
	.summary = "change a sandbox's cpus, memory, swap or disk",
	.about =
		"CPUs, memory and swap are changed while it is stopped. The disk can be made larger at any time, never "
		"smaller: "
		"while the sandbox runs, its file system has the new size when this returns. A sandbox that would "
		"start from a "
		"template boots instead when its size is no longer the template's.",
	.aka = "update resize edit configure",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.complete = CLI_SANDBOX,
	.run = run,
};

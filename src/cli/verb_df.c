/* hull df: what images, templates, sandboxes and their snapshots take on the host's disk, and what of it `hull prune`
 * would free.
 *
 * Everything below HULL_HOME is measured once (store/usage.h) and belongs to one line, so that the total is what du(1)
 * says of it. Directories are told apart by their names alone: what is damaged is measured as well as what is whole.
 * What would be freed is the very list that prune works off (prunable.h). */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/out.h"
#include "lib/saved/prunable.h"
#include "image/image.h"
#include "snapshot/snapshot.h"
#include "store/usage.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool verbose, json_out;

static const struct cli_opt options[] = {
	{'v', "verbose", NULL, "each image, template, sandbox and snapshot too", .flag = &verbose},
	{0, "json", NULL, "as JSON, with each of them, in bytes", .flag = &json_out},
	{0},
};

enum { IMAGES, TEMPLATES, SANDBOXES, SNAPSHOTS, OTHER, KINDS };

static const char *const kinds[KINDS] = {"images", "templates", "sandboxes", "snapshots", "other"};
static const char *const titles[KINDS] = {"Images", "Templates", "Sandboxes", "Snapshots", "Other"};

struct df {
	struct cli *cli;
	struct hull_usage usage;
	struct prunable_list prunable;
	struct {
		uint64_t count, size, reclaimable;
		json_t *items;
	} rows[KINDS];
};

/* --- a directory and the names in it --- */

struct listing {
	int fd;
	char **names; /* sorted */
	uint64_t own; /* what the directory itself takes */
};

static void listing_close(struct listing *l)
{
	hull_strv_free(l->names);
	if (l->fd >= 0)
		close(l->fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of dirfd/name. 0, or -errno when it cannot be read, which is noted as a problem. */
static int listing_open(struct df *df, int dirfd, const char *name, const char *shown, struct listing *out)
{
	struct stat st;
	*out = (struct listing){.fd = hull_usage_open(&df->usage, dirfd, name, shown)};
	if (out->fd < 0)
		return out->fd;
	if (fstat(out->fd, &st) == 0)
		out->own = (uint64_t)st.st_blocks * 512;
	_cleanup_close_ int copy = hull_usage_open(&df->usage, out->fd, ".", shown);
	_cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (d)
		copy = -1; /* the stream's now */
	out->names = hull_strv_copy(NULL);
	if (!d || !out->names)
		return -ENOMEM;
	for (const struct dirent *e; (e = readdir(d));)
		if (!hull_streq(e->d_name, ".") && !hull_streq(e->d_name, "..") &&
		    hull_strv_add(&out->names, e->d_name) < 0)
			return -ENOMEM;
	qsort(out->names, hull_strv_count(out->names), sizeof(*out->names), by_name);
	return 0;
}

/* Is it one of the things that the directory is for, and not a link, a lock or work under way? */
static bool is_item(const struct listing *l, const char *name)
{
	struct stat st;
	return hull_name_check(name, NULL) == 0 && fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

static uint64_t measure(struct df *df, const struct listing *l, const char *name, const char *shown)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", shown, name);
	return hull_usage_add(&df->usage, l->fd, name, path ? path : name);
}

static void add_item(struct df *df, int kind, json_t *item)
{
	df->rows[kind].count++;
	json_array_append_new(df->rows[kind].items, item);
}

/* --- the four kinds --- */

static const char *image_name(const struct hull_image *list, size_t count, const char *digest)
{
	for (size_t i = 0; i < count; i++)
		if (hull_streq(list[i].digest, digest))
			return json_string_value(json_object_get(list[i].about, "name"));
	return NULL;
}

static void do_images(struct df *df, const struct listing *l, const char *shown)
{
	struct hull_image *list = NULL;
	size_t count = 0;
	if (hull_image_list(df->cli->paths, &list, &count, NULL, NULL) < 0)
		count = 0; /* names are a nicety */
	for (char **n = l->names; *n; n++) {
		bool item = is_item(l, *n);
		uint64_t size = measure(df, l, *n, shown);
		df->rows[IMAGES].size += size;
		if (item)
			add_item(df, IMAGES,
				 json_pack("{s:s, s:s?, s:I}", "digest", *n, "name", image_name(list, count, *n),
					   "size", (json_int_t)size));
	}
	for (size_t i = 0; i < count; i++)
		hull_image_free(&list[i]);
	free(list);
}

static void do_templates(struct df *df, const struct listing *l, const char *shown)
{
	for (char **n = l->names; *n; n++) {
		bool item = is_item(l, *n);
		uint64_t size = measure(df, l, *n, shown);
		df->rows[TEMPLATES].size += size;
		if (!item)
			continue;
		const struct prunable *goes = NULL;
		for (size_t i = 0; i < df->prunable.count && !goes; i++)
			if (df->prunable.items[i].where == PRUNABLE_TEMPLATE &&
			    hull_streq(df->prunable.items[i].name, *n))
				goes = &df->prunable.items[i];
		add_item(df, TEMPLATES,
			 json_pack("{s:s, s:b, s:I, s:I, s:s?}", "name", *n, "own", !hull_template_is_key(*n), "size",
				   (json_int_t)size, "reclaimable", (json_int_t)(goes ? goes->size : 0), "reason",
				   goes ? goes->reason : NULL));
	}
}

static uint64_t do_snapshots(struct df *df, int dirfd, const char *sandbox, const char *shown)
{
	_cleanup_free_ char *path = hull_fmt("%s/snapshots", shown);
	_cleanup_(listing_close) struct listing l = {.fd = -1};
	if (!path || listing_open(df, dirfd, "snapshots", path, &l) < 0)
		return 0;
	uint64_t sum = l.own;
	for (char **n = l.names; *n; n++) {
		bool item = is_item(&l, *n);
		uint64_t size = measure(df, &l, *n, path);
		sum += size;
		if (item)
			add_item(df, SNAPSHOTS,
				 json_pack("{s:s, s:s, s:I}", "sandbox", sandbox, "tag", *n, "size", (json_int_t)size));
	}
	df->rows[SNAPSHOTS].size += sum;
	return sum;
}

/* keeper.log, keeper.log.1 and so on, and what jobs printed. */
static bool is_log(const char *name)
{
	const char *dot = strchr(name, '.');
	return hull_streq(dot, ".log") || hull_streq(dot, ".log.1") || hull_streq(name, "jobs");
}

static void do_sandbox(struct df *df, int dirfd, const char *name, const char *shown)
{
	_cleanup_(listing_close) struct listing l = {.fd = -1};
	int r = listing_open(df, dirfd, name, shown, &l);
	if (r == -ENOENT)
		return;
	uint64_t disk = 0, memory = 0, logs = 0, snapshots = 0, other = l.own;
	for (char **n = l.names; r == 0 && *n; n++)
		if (hull_streq(*n, "snapshots"))
			snapshots = do_snapshots(df, l.fd, name, shown);
		else
			*(hull_streq(*n, "disk.img") ? &disk
			  : hull_streq(*n, "frozen") ? &memory
			  : is_log(*n)               ? &logs
						     : &other) += measure(df, &l, *n, shown);
	uint64_t size = disk + memory + logs + other, total = size + snapshots;
	df->rows[SANDBOXES].size += size;
	add_item(df, SANDBOXES,
		 json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "name", name, "disk", (json_int_t)disk, "memory",
			   (json_int_t)memory, "logs", (json_int_t)logs, "other", (json_int_t)other, "snapshots",
			   (json_int_t)snapshots, "size", (json_int_t)total));
}

static void do_sandboxes(struct df *df, const struct listing *l, const char *shown)
{
	for (char **n = l->names; *n; n++) {
		_cleanup_free_ char *path = hull_fmt("%s/%s", shown, *n);
		if (path && is_item(l, *n))
			do_sandbox(df, l->fd, *n, path);
		else
			df->rows[SANDBOXES].size += measure(df, l, *n, shown);
	}
}

static int look(struct df *df, struct hull_error *err)
{
	const char *home = df->cli->paths->home;
	/* HULL_HOME itself may be a symlink; that is the user's choice of a place. */
	_cleanup_close_ int root = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(listing_close) struct listing top = {.fd = -1};
	if (root < 0)
		return hull_fail_errno(err, "cannot open %s", home);
	int r = listing_open(df, root, ".", home, &top);
	if (r < 0)
		return hull_fail(err, r, "cannot read %s: %s", home, strerror(-r));
	static void (*const fill[KINDS])(struct df * df, const struct listing *l, const char *shown) = {
		[IMAGES] = do_images, [TEMPLATES] = do_templates, [SANDBOXES] = do_sandboxes};
	df->rows[OTHER].size = top.own;
	for (char **n = top.names; *n; n++) {
		_cleanup_(listing_close) struct listing l = {.fd = -1};
		_cleanup_free_ char *path = hull_fmt("%s/%s", home, *n);
		int kind = 0;
		while (kind < KINDS && !(fill[kind] && hull_streq(*n, kinds[kind])))
			kind++;
		if (!path)
			return hull_fail(err, -ENOMEM, "out of memory");
		if (kind == KINDS) {
			df->rows[OTHER].count++;
			df->rows[OTHER].size += measure(df, &top, *n, home);
		} else if (listing_open(df, top.fd, *n, path, &l) == 0) {
			df->rows[kind].size += l.own;
			fill[kind](df, &l, path);
		}
	}
	return 0;
}

/* --- showing it --- */

static void head(struct cli_table *t, const char *const *words)
{
	for (t->columns = 0; words[t->columns]; t->columns++)
		cli_cell(t, CLI_PLAIN, words[t->columns]);
}

static void size_cell(struct cli_table *t, uint64_t bytes)
{
	char text[16];
	cli_cell(t, bytes ? CLI_PLAIN : CLI_DIM, hull_format_size(bytes, text, sizeof(text)));
}

static void summary(const struct df *df)
{
	_cleanup_(cli_table_free) struct cli_table t = {0};
	uint64_t size = 0, reclaimable = 0;
	head(&t, (const char *const[]){"TYPE", "COUNT", "SIZE", "RECLAIMABLE", NULL});
	for (int i = 0; i < KINDS; i++) {
		cli_cell(&t, CLI_PLAIN, titles[i]);
		cli_cellf(&t, CLI_PLAIN, "%llu", (unsigned long long)df->rows[i].count);
		size_cell(&t, df->rows[i].size);
		size_cell(&t, df->rows[i].reclaimable);
		size += df->rows[i].size;
		reclaimable += df->rows[i].reclaimable;
	}
	cli_cell(&t, CLI_PLAIN, "Total");
	cli_cell(&t, CLI_PLAIN, "");
	size_cell(&t, size);
	size_cell(&t, reclaimable);
	cli_table_print(&t);
}

/* A table of the items: a text column or more, then sizes; a key a column, the heading beside it. */
static void items(const struct df *df, int kind, const char *const *heads, const char *const *keys)
{
	_cleanup_(cli_table_free) struct cli_table t = {0};
	size_t i;
	json_t *item;
	if (!json_array_size(df->rows[kind].items))
		return;
	head(&t, heads);
	json_array_foreach(df->rows[kind].items, i, item) for (const char *const *k = keys; *k; k++)
	{
		const json_t *value = json_object_get(item, *k);
		if (json_is_integer(value))
			size_cell(&t, (uint64_t)json_integer_value(value));
		else
			cli_cell(&t, json_is_null(value) ? CLI_DIM : CLI_PLAIN,
				 json_is_null(value) ? "-" : json_string_value(value));
	}
	printf("\n");
	cli_table_print(&t);
}

static void show(const struct df *df)
{
	summary(df);
	if (!verbose)
		return;
	items(df, IMAGES, (const char *const[]){"IMAGE", "NAME", "SIZE", NULL},
	      (const char *const[]){"digest", "name", "size", NULL});
	items(df, TEMPLATES, (const char *const[]){"TEMPLATE", "SIZE", "RECLAIMABLE", "REASON", NULL},
	      (const char *const[]){"name", "size", "reclaimable", "reason", NULL});
	items(df, SANDBOXES,
	      (const char *const[]){"SANDBOX", "DISK", "MEMORY", "LOGS", "OTHER", "SNAPSHOTS", "SIZE", NULL},
	      (const char *const[]){"name", "disk", "memory", "logs", "other", "snapshots", "size", NULL});
	items(df, SNAPSHOTS, (const char *const[]){"SNAPSHOT OF", "TAG", "SIZE", NULL},
	      (const char *const[]){"sandbox", "tag", "size", NULL});
}

static void show_json(const struct df *df)
{
	json_t *o = json_object(), *problems = json_array();
	uint64_t size = 0, reclaimable = 0;
	for (int i = 0; i < KINDS; i++) {
		json_t *row = json_pack("{s:I, s:I, s:I}", "count", (json_int_t)df->rows[i].count, "size",
					(json_int_t)df->rows[i].size, "reclaimable",
					(json_int_t)df->rows[i].reclaimable);
		if (i != OTHER)
			json_object_set(row, "items", df->rows[i].items);
		json_object_set_new(o, kinds[i], row);
		size += df->rows[i].size;
		reclaimable += df->rows[i].reclaimable;
	}
	for (char **p = df->usage.problems; p && *p; p++) {
		_cleanup_free_ char *text = hull_printable(*p, strlen(*p));
		json_array_append_new(problems, json_string(text ? text : ""));
	}
	json_object_set_new(o, "size", json_integer((json_int_t)size));
	json_object_set_new(o, "reclaimable", json_integer((json_int_t)reclaimable));
	json_object_set_new(o, "problems", problems);
	cli_json(o);
	json_decref(o);
}

static int run(struct cli *cli, struct hull_error *err)
{
	static const int row_of[] = {[PRUNABLE_TEMPLATE] = TEMPLATES,
				     [PRUNABLE_LEFT_TEMPLATES] = TEMPLATES,
				     [PRUNABLE_LEFT_SANDBOX] = SANDBOXES,
				     [PRUNABLE_LEFT_SNAPSHOTS] = SNAPSHOTS};
	struct df df = {.cli = cli};
	struct hull_error why;
	int r = cli_open(cli, cli->quiet, err);
	if (r < 0)
		return r;
	for (int i = 0; i < KINDS; i++)
		df.rows[i].items = json_array();
	bool known = prunable_find(cli->paths, false, &df.prunable, &why) >= 0;
	if (!known)
		cli_note("what can be freed is not known: %s", why.msg);
	for (size_t i = 0; i < df.prunable.count; i++)
		df.rows[row_of[df.prunable.items[i].where]].reclaimable += df.prunable.items[i].size;
	r = look(&df, err);
	if (r >= 0) {
		json_out ? show_json(&df) : show(&df);
		for (char **p = df.usage.problems; p && *p; p++)
			cli_note("%s", *p);
		r = df.usage.incomplete || !known ? CLI_EXIT_FAIL : 0;
	}
	for (int i = 0; i < KINDS; i++)
		json_decref(df.rows[i].items);
	prunable_free(&df.prunable);
	hull_usage_free(&df.usage);
	return r;
}

const struct cli_verb verb_df = {
	.name = "df",
	.usage = "",
	.summary = "show what everything takes on this host's disk",
	.about = "Sizes are blocks that files really have, so that holes count nothing; what a file system shares "
		 "between files (reflinks) counts in each of them. Snapshots have a line of their own. RECLAIMABLE is "
		 "what `hull prune` would free.",
	.aka = "du disk usage space",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* What everything takes on the host's disk, and what of it `hull prune` would free.
 *
 * Everything below HULL_HOME is measured once (store/usage.h) and belongs to one row, so that the total is what du(1)
 * says of it. Directories are told apart by their names alone: what is damaged is measured as well as what is whole.
 * What would be freed is the very list that prune works off (prunable.h). */
#include "lib/report/df.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "image/image.h"
#include "snapshot/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const char *const df_kinds[DF_KINDS] = {"images", "templates", "sandboxes", "snapshots", "other"};

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
	if (hull_image_list(df->paths, &list, &count, NULL, NULL) < 0)
		count = 0; /* names are a nicety */
	for (char **n = l->names; *n; n++) {
		bool item = is_item(l, *n);
		uint64_t size = measure(df, l, *n, shown);
		df->rows[DF_IMAGES].size += size;
		if (item)
			add_item(df, DF_IMAGES,
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
		df->rows[DF_TEMPLATES].size += size;
		if (!item)
			continue;
		const struct prunable *goes = NULL;
		for (size_t i = 0; i < df->prunable.count && !goes; i++)
			if (df->prunable.items[i].where == PRUNABLE_TEMPLATE &&
			    hull_streq(df->prunable.items[i].name, *n))
				goes = &df->prunable.items[i];
		add_item(df, DF_TEMPLATES,
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
			add_item(df, DF_SNAPSHOTS,
				 json_pack("{s:s, s:s, s:I}", "sandbox", sandbox, "tag", *n, "size", (json_int_t)size));
	}
	df->rows[DF_SNAPSHOTS].size += sum;
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
	df->rows[DF_SANDBOXES].size += size;
	add_item(df, DF_SANDBOXES,
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
			df->rows[DF_SANDBOXES].size += measure(df, l, *n, shown);
	}
}

static int measure_all(struct df *df, struct hull_error *err)
{
	const char *home = df->paths->home;
	/* HULL_HOME itself may be a symlink; that is the user's choice of a place. */
	_cleanup_close_ int root = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(listing_close) struct listing top = {.fd = -1};
	if (root < 0)
		return hull_fail_errno(err, "cannot open %s", home);
	int r = listing_open(df, root, ".", home, &top);
	if (r < 0)
		return hull_fail(err, r, "cannot read %s: %s", home, strerror(-r));
	static void (*const fill[DF_KINDS])(struct df * df, const struct listing *l, const char *shown) = {
		[DF_IMAGES] = do_images, [DF_TEMPLATES] = do_templates, [DF_SANDBOXES] = do_sandboxes};
	df->rows[DF_OTHER].size = top.own;
	for (char **n = top.names; *n; n++) {
		_cleanup_(listing_close) struct listing l = {.fd = -1};
		_cleanup_free_ char *path = hull_fmt("%s/%s", home, *n);
		int kind = 0;
		while (kind < DF_KINDS && !(fill[kind] && hull_streq(*n, df_kinds[kind])))
			kind++;
		if (!path)
			return hull_fail(err, -ENOMEM, "out of memory");
		if (kind == DF_KINDS) {
			df->rows[DF_OTHER].count++;
			df->rows[DF_OTHER].size += measure(df, &top, *n, home);
		} else if (listing_open(df, top.fd, *n, path, &l) == 0) {
			df->rows[kind].size += l.own;
			fill[kind](df, &l, path);
		}
	}
	return 0;
}

int df_measure(const struct hull *h, struct df *df, struct hull_error *err)
{
	static const int row_of[] = {[PRUNABLE_TEMPLATE] = DF_TEMPLATES,
				     [PRUNABLE_LEFT_TEMPLATES] = DF_TEMPLATES,
				     [PRUNABLE_LEFT_SANDBOX] = DF_SANDBOXES,
				     [PRUNABLE_LEFT_SNAPSHOTS] = DF_SNAPSHOTS};
	struct hull_error why;
	*df = (struct df){.paths = &h->paths};
	for (int i = 0; i < DF_KINDS; i++)
		df->rows[i].items = json_array();
	df->prunable_known = prunable_find(df->paths, false, &df->prunable, &why) >= 0;
	if (!df->prunable_known)
		lib_note(h, HULL_NOTE_WARNING, "what can be freed is not known: %s", why.msg);
	for (size_t i = 0; i < df->prunable.count; i++)
		df->rows[row_of[df->prunable.items[i].where]].reclaimable += df->prunable.items[i].size;
	return measure_all(df, err);
}

void df_free(struct df *df)
{
	for (int i = 0; i < DF_KINDS; i++)
		json_decref(df->rows[i].items);
	prunable_free(&df->prunable);
	hull_usage_free(&df->usage);
}

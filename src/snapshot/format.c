/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.json: written once, read as a file that may be damaged; see snapshot.h. Everything in it is checked for type
 * and range. It carries a digest of itself (over its compact form without that member), so that a flipped bit in a
 * number is not taken for one. */
#include "snapshot/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/json.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { CPUS_MAX = 1024 };

const char *const hull_snapshot_files[] = {HULL_SNAPSHOT_MEMORY, HULL_SNAPSHOT_DEVICE, HULL_SNAPSHOT_DISK,
					   HULL_SNAPSHOT_NODES, NULL};

void hull_snapshot_free(struct hull_snapshot *s)
{
	free(s->image);
	free(s->identity);
	free(s->engine);
	free(s->accel);
	free(s->cpu);
	free(s->initramfs);
	free(s->hull);
	free(s->source);
	json_decref(s->files);
	json_decref(s->names);
	json_decref(s->sessions);
	*s = (struct hull_snapshot){0};
}

/* Of j without "digest". */
static int self_digest(json_t *j, char hex[65], struct hull_error *err)
{
	json_t *copy = json_copy(j);
	json_object_del(copy, "digest");
	_cleanup_free_ char *text = copy ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json_decref(copy);
	return text ? hull_snapshot_sha256(text, strlen(text), hex, err) : hull_fail(err, -ENOMEM, "out of memory");
}

/* --- writing --- */

static int hash_file(const char *dir, const char *name, json_t *files, struct hull_error *err)
{
	_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
	char hex[65];
	uint64_t stored;
	struct stat st;
	bool optional = strcmp(name, HULL_SNAPSHOT_DISK) == 0 || strcmp(name, HULL_SNAPSHOT_NODES) == 0;
	if (fd < 0 && errno == ENOENT && optional)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return hull_fail_errno(err, "cannot open %s/%s", dir, name);
	if (fsync(fd) < 0)
		return hull_fail_errno(err, "cannot write %s to the disk", path);
	int r = hull_snapshot_digest(fd, hex, &stored, err);
	if (r < 0)
		return hull_wrap(err, "%s", path);
	if (json_object_set_new(files, name,
				json_pack("{s:I, s:I, s:s}", "size", (json_int_t)st.st_size, "stored",
					  (json_int_t)stored, "sha256", hex)) < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	return 0;
}

int hull_snapshot_finish(const char *dir, struct hull_snapshot *s, struct hull_error *err)
{
	json_decref(s->files);
	s->files = json_object();
	for (size_t i = 0; hull_snapshot_files[i]; i++) {
		int r = hash_file(dir, hull_snapshot_files[i], s->files, err);
		if (r < 0)
			return r;
	}
	if (!s->created)
		s->created = (uint64_t)time(NULL);
	_cleanup_(json_decrefp) json_t *j = json_pack(
		"{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s*, s:i, s:I, s:I, s:I, s:b, s:I, s:O, s:O*, s:O*}",
		"format", HULL_SNAPSHOT_FORMAT, "image", s->image, "identity", s->identity, "engine", s->engine,
		"accel", s->accel, "cpu", s->cpu, "initramfs", s->initramfs, "hull", s->hull, "source", s->source,
		"cpus", (int)s->cpus, "memory", (json_int_t)s->memory, "disk", (json_int_t)s->disk, "swap",
		(json_int_t)s->swap, "no_docker", s->no_docker, "created", (json_int_t)s->created, "files", s->files,
		"names", s->names, "sessions", s->sessions);
	if (!j)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = self_digest(j, s->digest, err);
	if (r < 0)
		return r;
	json_object_set_new(j, "digest", json_string(s->digest));
	_cleanup_free_ char *text = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
	_cleanup_free_ char *path = hull_fmt("%s/snapshot.json", dir);
	if (!text || !path)
		return hull_fail(err, -ENOMEM, "out of memory");
	/* The files hashed just now need not be read again. If recording that fails, the first start reads them. */
	hull_snapshot_remember_all(dir, s);
	return hull_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* --- reading --- */

static int bad(const char *dir, const char *what, struct hull_error *err)
{
	return hull_fail(err, -EBADMSG, "%s is damaged: %s", dir, what);
}

static bool hex_digits(const char *s, size_t n)
{
	return s && strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

/* NULL, or the name of the first invalid member. */
static const char *from_json(json_t *j, struct hull_snapshot *s)
{
	const char *bad = NULL;
	const json_t *names = json_object_get(j, "names"), *sessions = json_object_get(j, "sessions");
	s->image = hull_json_str(j, "image", true, &bad);
	s->identity = hull_json_str(j, "identity", true, &bad);
	s->engine = hull_json_str(j, "engine", true, &bad);
	s->accel = hull_json_str(j, "accel", true, &bad);
	s->cpu = hull_json_str(j, "cpu", true, &bad);
	s->initramfs = hull_json_str(j, "initramfs", true, &bad);
	s->hull = hull_json_str(j, "hull", true, &bad);
	s->source = hull_json_str(j, "source", false, &bad);
	s->cpus = (unsigned)hull_json_uint(j, "cpus", true, 1, CPUS_MAX, &bad);
	s->memory = hull_json_uint(j, "memory", true, 64u << 20, 16ull << 40, &bad);
	s->disk = hull_json_uint(j, "disk", true, 1u << 20, 64ull << 40, &bad);
	s->swap = hull_json_uint(j, "swap", false, 0, 64ull << 40, &bad); /* older ones have none */
	s->created = hull_json_uint(j, "created", true, 0, INT64_MAX, &bad);
	s->no_docker = hull_json_bool(j, "no_docker", true, &bad);
	if (bad)
		return bad;
	s->files = json_incref(json_object_get(j, "files"));
	s->names = json_incref(json_object_get(j, "names"));
	s->sessions = json_incref(json_object_get(j, "sessions"));
	return !hex_digits(s->image, 32)                           ? "image"
	       : s->source && hull_name_check(s->source, NULL) < 0 ? "source"
	       : s->memory % (2u << 20) != 0                       ? "memory"
	       : !json_is_object(s->files)                         ? "files"
	       : names && !json_is_array(names)                    ? "names"
	       : sessions && !json_is_array(sessions)              ? "sessions"
								   : NULL;
}

/* Checks that every file listed exists with its size, and that the memory file has the machine's size. */
static int check_files(const char *dir, const struct hull_snapshot *s, struct hull_error *err)
{
	const char *name;
	json_t *f;
	char what[256];
	if (!json_object_get(s->files, HULL_SNAPSHOT_MEMORY) || !json_object_get(s->files, HULL_SNAPSHOT_DEVICE))
		return bad(dir, "it has no memory", err);
	json_object_foreach(s->files, name, f)
	{
		struct stat st;
		bool known = false;
		const char *wrong = NULL;
		uint64_t size = hull_json_uint(f, "size", true, 1, 64ull << 40, &wrong);
		for (size_t i = 0; hull_snapshot_files[i]; i++)
			known = known || strcmp(name, hull_snapshot_files[i]) == 0;
		if (!known || wrong || !hex_digits(json_string_value(json_object_get(f, "sha256")), 64) ||
		    (strcmp(name, HULL_SNAPSHOT_MEMORY) == 0 && size != s->memory) ||
		    (strcmp(name, HULL_SNAPSHOT_DISK) == 0 && size != s->disk))
			return bad(dir, "the sizes in snapshot.json do not agree with each other", err);
		_cleanup_free_ char *path = hull_fmt("%s/%s", dir, name);
		if (!path)
			return hull_fail(err, -ENOMEM, "out of memory");
		if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
			snprintf(what, sizeof(what), "%s is missing", name);
			return bad(dir, what, err);
		}
		if ((uint64_t)st.st_size != size) {
			snprintf(what, sizeof(what), "%s has %lld bytes instead of %llu", name, (long long)st.st_size,
				 (unsigned long long)size);
			return bad(dir, what, err);
		}
	}
	return 0;
}

int hull_snapshot_load(const char *dir, struct hull_snapshot *out, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	_cleanup_free_ char *path = hull_fmt("%s/snapshot.json", dir);
	struct hull_error why;
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = hull_read_file(AT_FDCWD, path, HULL_SNAPSHOT_JSON_MAX, &text, &why);
	if (r == -ENOENT || r == -ENOTDIR)
		return access(dir, F_OK) == 0 ? bad(dir, "it has no snapshot.json", err)
					      : hull_fail(err, -ENOENT, "there is no %s", dir);
	if (r < 0)
		return r == -EFBIG || r == -EISDIR
			       ? bad(dir, "snapshot.json is not a regular file of at most 16 MiB", err)
			       : hull_fail(err, r, "%s", why.msg);
	_cleanup_(json_decrefp)
		json_t *j = json_loadb((const char *)hull_buf_bytes(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *format = json_object_get(j, "format");
	if (json_is_integer(format) && json_integer_value(format) != HULL_SNAPSHOT_FORMAT)
		return hull_fail(err, -ENOTSUP,
				 "%s was made by another version of Hull (format %lld, this one knows %d)", dir,
				 (long long)json_integer_value(format), HULL_SNAPSHOT_FORMAT);
	char hex[65];
	if (!json_is_object(j) || !json_is_integer(format) || self_digest(j, hex, err) < 0 ||
	    !hull_streq(json_string_value(json_object_get(j, "digest")), hex))
		return bad(dir, "snapshot.json does not match its own digest", err);
	_cleanup_(hull_snapshot_free) struct hull_snapshot s = {0};
	const char *wrong = from_json(j, &s);
	if (wrong)
		return hull_fail(err, -EBADMSG, "%s is damaged: \"%s\" in snapshot.json is missing or not valid", dir,
				 wrong);
	memcpy(s.digest, hex, sizeof(s.digest));
	r = check_files(dir, &s, err);
	if (r < 0)
		return r;
	*out = s;
	s = (struct hull_snapshot){0};
	return 0;
}

uint64_t hull_snapshot_stored(const struct hull_snapshot *s)
{
	uint64_t sum = 0;
	const char *name;
	json_t *f;
	json_object_foreach(s->files, name, f) sum += (uint64_t)json_integer_value(json_object_get(f, "stored"));
	return sum;
}

int hull_snapshot_fits(const struct hull_snapshot *s, const char *identity, const char *accel, struct hull_error *err)
{
	if (strcmp(s->identity, identity) != 0)
		return hull_fail(err, -ENOTSUP,
				 "it was saved by another engine (%s) than the one installed now, which cannot be "
				 "trusted to read it: saved by \"%s\", now \"%s\"",
				 s->engine, s->identity, identity);
	if (strcmp(s->accel, accel) != 0)
		return hull_fail(err, -ENOTSUP,
				 "it was saved %s hardware virtualization, and machines run %s it here now",
				 strcmp(s->accel, "kvm") == 0 ? "with" : "without",
				 strcmp(accel, "kvm") == 0 ? "with" : "without");
	_cleanup_free_ char *cpu = hull_snapshot_cpu(accel);
	if (!cpu)
		return hull_fail(err, -ENOMEM, "out of memory");
	if (strcmp(s->cpu, cpu) != 0)
		return hull_fail(
			err, -ENOTSUP,
			"it was saved on a host with another processor, and its programs may use what this one "
			"lacks");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes sandbox.json, the description of a sandbox; see store.h.
 *
 * The file may be damaged or edited by hand, so every member is checked for type and range before it is used; the same
 * check precedes writing. Unknown members are ignored (a newer Hull may write more). There is one message for all
 * damage: it names the file and the command that removes the sandbox. */
#include "store/internal.h"
#include "store/json.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
	FILE_MAX = 8 * 1024 * 1024,
	CPUS_MAX = 1024,
	LIST_MAX = 4096,
	ENV_BYTES_MAX = 512 * 1024, /* half of what one OPEN on the wire can carry */
};
static const uint64_t MEMORY_MIN = 64ull << 20;
static const uint64_t MEMORY_MAX = 16ull << 40;
static const uint64_t DISK_MIN = 1ull << 20;
static const uint64_t DISK_MAX = 64ull << 40;

static const char *const STATES[] = {"created", "starting", "running", "paused", "stopped", "crashed"};
static const char *const ENGINES[] = {"auto", "qemu", "kvm"};

void hull_sandbox_free(struct hull_sandbox *s)
{
	free(s->name);
	free(s->agent);
	free(s->image);
	free(s->engine);
	hull_strv_free(s->env);
	hull_strv_free(s->paths);
	hull_strv_free(s->ports);
	hull_strv_free(s->links);
	hull_strv_free(s->ca);
	free(s->git_name);
	free(s->git_email);
	free(s->clone);
	free(s->workdir);
	free(s->state);
	free(s->restore);
	free(s->restore_id);
	free(s->disk_boot);
	free(s->policy);
	free(s->last_error);
	*s = (struct hull_sandbox){0};
}

static bool one_of(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; s && i < n; i++)
		if (strcmp(s, list[i]) == 0)
			return true;
	return false;
}

/* A plain token: it is used in paths and messages. */
static bool token(const char *s)
{
	if (!s || !s[0] || s[0] == '.' || strlen(s) > 128)
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-") == strlen(s);
}

/* A path below home: plain components, no "..". */
static bool below_home(const char *s)
{
	if (!s[0] || s[0] == '/' || strlen(s) > 512)
		return false;
	for (const char *part = s; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
		size_t n = strcspn(part, "/");
		if (n == 0 || (part[0] == '.' && !hull_starts(part, ".tmp-")) ||
		    strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") < n)
			return false;
	}
	return true;
}

/* An absolute path that is not the root. */
static bool below(const char *s)
{
	return s[0] == '/' && s[1] && strlen(s) < 4096;
}

static int check_lists(const struct hull_sandbox *s, struct hull_error *err)
{
	size_t total = 0;
	if (hull_strv_count(s->env) > LIST_MAX || hull_strv_count(s->paths) > LIST_MAX)
		return hull_fail(err, -EINVAL, "too many variables or paths (at most %d)", LIST_MAX);
	for (size_t i = 0; s->env && s->env[i]; i++) {
		const char *eq = strchr(s->env[i], '=');
		if (!eq || eq == s->env[i])
			return hull_fail(err, -EINVAL, "\"%.60s\" is not of the form NAME=VALUE", s->env[i]);
		total += strlen(s->env[i]) + 8;
	}
	if (total > ENV_BYTES_MAX)
		return hull_fail(err, -EINVAL, "the environment is too large (%zu bytes; at most %d)", total,
				 ENV_BYTES_MAX);
	for (size_t i = 0; s->paths && s->paths[i]; i++)
		if (s->paths[i][0] != '/' || strlen(s->paths[i]) >= 4096)
			return hull_fail(err, -EINVAL, "the path \"%.200s\" is not absolute, or too long", s->paths[i]);
	if (s->links && hull_strv_count(s->links) % 2 != 0)
		return hull_fail(err, -EINVAL, "a link has no target");
	for (size_t i = 0; s->links && s->links[i]; i++)
		if (!below(s->links[i]))
			return hull_fail(err, -EINVAL, "the link \"%.200s\" is not absolute, or too long", s->links[i]);
	if (hull_strv_count(s->ca) > LIST_MAX)
		return hull_fail(err, -EINVAL, "too many files of certificates (at most %d)", LIST_MAX);
	for (size_t i = 0; s->ca && s->ca[i]; i++)
		if (!below(s->ca[i]))
			return hull_fail(err, -EINVAL,
					 "the file of certificates \"%.200s\" is not absolute, or its path too long",
					 s->ca[i]);
	return 0;
}

static int check(const struct hull_sandbox *s, struct hull_error *err)
{
	int r = hull_name_check(s->name, err);
	if (r < 0)
		return r;
	if (!token(s->agent))
		return hull_fail(err, -EINVAL, "bad agent name");
	if (!token(s->image))
		return hull_fail(err, -EINVAL, "bad image digest");
	if (s->cpus < 1 || s->cpus > CPUS_MAX)
		return hull_fail(err, -EINVAL, "%u cpus: 1 to %d are possible", s->cpus, CPUS_MAX);
	char lo[16], hi[16];
	if (s->memory < MEMORY_MIN || s->memory > MEMORY_MAX)
		return hull_fail(err, -EINVAL, "%llu bytes of memory: %s to %s are possible",
				 (unsigned long long)s->memory, hull_format_size(MEMORY_MIN, lo, sizeof(lo)),
				 hull_format_size(MEMORY_MAX, hi, sizeof(hi)));
	if (s->disk < DISK_MIN || s->disk > DISK_MAX)
		return hull_fail(err, -EINVAL, "a disk of %llu bytes: %s to %s are possible",
				 (unsigned long long)s->disk, hull_format_size(DISK_MIN, lo, sizeof(lo)),
				 hull_format_size(DISK_MAX, hi, sizeof(hi)));
	if (!one_of(s->engine, ENGINES, sizeof(ENGINES) / sizeof(*ENGINES)))
		return hull_fail(err, -EINVAL, "unknown engine; use auto, qemu or kvm");
	if (!one_of(s->state, STATES, sizeof(STATES) / sizeof(*STATES)))
		return hull_fail(err, -EINVAL, "unknown state");
	if (s->restore && !below_home(s->restore))
		return hull_fail(err, -EINVAL, "\"restore\" names no directory below HULL_HOME");
	if (s->restore_id && !token(s->restore_id))
		return hull_fail(err, -EINVAL, "\"restore_id\" is not the digest of a saved machine");
	if (s->disk_boot && !token(s->disk_boot))
		return hull_fail(err, -EINVAL, "\"disk_boot\" names no boot of the host");
	if (!s->clone != !s->workdir || (s->clone && (!below(s->clone) || !below(s->workdir))))
		return hull_fail(err, -EINVAL, "\"clone\" and \"workdir\" have to be absolute paths");
	if (!hull_one_line(s->git_name, HULL_GIT_TEXT_MAX) || !hull_one_line(s->git_email, HULL_GIT_TEXT_MAX))
		return hull_fail(err, -EINVAL, "the name or the email for git has control characters, or is too long");
	return check_lists(s, err);
}

/* --- reading --- */

static int damaged(const char *path, const char *name, const char *what, struct hull_error *err)
{
	return hull_fail(err, -EBADMSG, "%s is damaged: %s; `hull rm %s` removes the sandbox", path, what, name);
}

static int from_json(const json_t *j, struct hull_sandbox *s, const char **bad)
{
	if (!json_is_object(j)) {
		*bad = "the whole";
		return -EBADMSG;
	}
	s->name = hull_json_str(j, "name", true, bad);
	s->agent = hull_json_str(j, "agent", true, bad);
	s->image = hull_json_str(j, "image", true, bad);
	s->cpus = (unsigned)hull_json_uint(j, "cpus", true, 0, CPUS_MAX, bad);
	s->memory = hull_json_uint(j, "memory", true, 0, MEMORY_MAX, bad);
	s->disk = hull_json_uint(j, "disk", true, 0, DISK_MAX, bad);
	s->swap = hull_json_uint(j, "swap", false, 0, DISK_MAX, bad);
	s->engine = hull_json_str(j, "engine", true, bad);
	s->env = hull_json_list(j, "env", LIST_MAX, bad);
	s->paths = hull_json_list(j, "paths", LIST_MAX, bad);
	s->ports = hull_json_list(j, "ports", LIST_MAX, bad);
	s->links = hull_json_list(j, "links", LIST_MAX, bad);
	s->ca = hull_json_list(j, "ca", LIST_MAX, bad);
	s->git_name = hull_json_str(j, "git_name", false, bad);
	s->git_email = hull_json_str(j, "git_email", false, bad);
	s->no_docker = hull_json_bool(j, "no_docker", false, bad);
	s->no_network = hull_json_bool(j, "no_network", false, bad);
	s->remove = hull_json_bool(j, "remove", false, bad);
	s->created = hull_json_uint(j, "created", true, 0, INT64_MAX, bad);
	s->started = hull_json_uint(j, "started", false, 0, INT64_MAX, bad);
	s->state = hull_json_str(j, "state", true, bad);
	s->clone = hull_json_str(j, "clone", false, bad);
	s->workdir = hull_json_str(j, "workdir", false, bad);
	s->cloned = hull_json_bool(j, "cloned", false, bad);
	s->restore = hull_json_str(j, "restore", false, bad);
	s->restore_id = hull_json_str(j, "restore_id", false, bad);
	s->disk_boot = hull_json_str(j, "disk_boot", false, bad);
	s->fresh = hull_json_bool(j, "fresh", false, bad);
	s->has_policy = hull_json_bool(j, "policy", false, bad);
	s->last_error = hull_json_str(j, "last_error", false, bad);
	return *bad ? -EBADMSG : 0;
}

int hull_sandbox_load(const struct hull_paths *p, const char *name, struct hull_sandbox *out, struct hull_error *err)
{
	int r = hull_name_check(name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = hull_sandbox_path(p, name, "sandbox.json");
	if (!path)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	struct hull_error why;
	r = hull_read_file(AT_FDCWD, path, FILE_MAX, &text, &why);
	if (r == -ENOENT || r == -ENOTDIR) {
		_cleanup_free_ char *dir = hull_sandbox_path(p, name, NULL);
		if (dir && access(dir, F_OK) == 0)
			return damaged(path, name, "the file is missing", err);
		return hull_fail(err, -ENOENT, "no sandbox is called \"%s\"; `hull ls` shows those there are", name);
	}
	if (r == -EFBIG || r == -EISDIR)
		return damaged(path, name, r == -EFBIG ? "it is too large" : "it is not a file", err);
	if (r < 0)
		return hull_fail(err, r, "%s", why.msg);
	json_error_t where;
	_cleanup_(json_decrefp)
		json_t *j = json_loadb((const char *)hull_buf_bytes(&text), text.len, JSON_REJECT_DUPLICATES, &where);
	char what[256];
	if (!j) {
		snprintf(what, sizeof(what), "line %d: %.160s", where.line, where.text);
		return damaged(path, name, what, err);
	}
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	const char *bad = NULL;
	if (from_json(j, &s, &bad) < 0) {
		snprintf(what, sizeof(what), "\"%s\" is missing or not what it should be", bad);
		return damaged(path, name, what, err);
	}
	if (strcmp(s.name, name) != 0)
		return damaged(path, name, "the \"name\" in it is another sandbox's", err);
	if (check(&s, &why) < 0) {
		snprintf(what, sizeof(what), "%.240s", why.msg);
		return damaged(path, name, what, err);
	}
	*out = s;
	s = (struct hull_sandbox){0};
	return 0;
}

/* --- writing --- */

static json_t *list_json(char *const *v)
{
	json_t *a = json_array();
	for (size_t i = 0; a && v && v[i]; i++) {
		if (json_array_append_new(a, json_string(v[i])) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static json_t *to_json(const struct hull_sandbox *s)
{
	json_t *j = json_object();
	bool ok = j && json_object_set_new(j, "name", json_string(s->name)) == 0 &&
		  json_object_set_new(j, "agent", json_string(s->agent)) == 0 &&
		  json_object_set_new(j, "image", json_string(s->image)) == 0 &&
		  json_object_set_new(j, "cpus", json_integer((json_int_t)s->cpus)) == 0 &&
		  json_object_set_new(j, "memory", json_integer((json_int_t)s->memory)) == 0 &&
		  json_object_set_new(j, "disk", json_integer((json_int_t)s->disk)) == 0 &&
		  json_object_set_new(j, "engine", json_string(s->engine)) == 0 &&
		  json_object_set_new(j, "env", list_json(s->env)) == 0 &&
		  json_object_set_new(j, "paths", list_json(s->paths)) == 0 &&
		  json_object_set_new(j, "ports", list_json(s->ports)) == 0 &&
		  json_object_set_new(j, "no_docker", json_boolean(s->no_docker)) == 0 &&
		  json_object_set_new(j, "no_network", json_boolean(s->no_network)) == 0 &&
		  json_object_set_new(j, "remove", json_boolean(s->remove)) == 0 &&
		  json_object_set_new(j, "created", json_integer((json_int_t)s->created)) == 0 &&
		  json_object_set_new(j, "started", json_integer((json_int_t)s->started)) == 0 &&
		  json_object_set_new(j, "state", json_string(s->state)) == 0;
	if (ok && s->restore)
		ok = json_object_set_new(j, "restore", json_string(s->restore)) == 0;
	/* Written without `restore` too: a copied disk that has not been started yet still needs new identities. */
	if (ok && s->fresh)
		ok = json_object_set_new(j, "fresh", json_true()) == 0;
	if (ok && s->restore && s->restore_id)
		ok = json_object_set_new(j, "restore_id", json_string(s->restore_id)) == 0;
	if (ok && s->disk_boot)
		ok = json_object_set_new(j, "disk_boot", json_string(s->disk_boot)) == 0;
	if (ok && s->clone)
		ok = json_object_set_new(j, "clone", json_string(s->clone)) == 0 &&
		     json_object_set_new(j, "workdir", json_string(s->workdir)) == 0 &&
		     json_object_set_new(j, "cloned", json_boolean(s->cloned)) == 0;
	if (ok && s->swap)
		ok = json_object_set_new(j, "swap", json_integer((json_int_t)s->swap)) == 0;
	if (ok && s->links && s->links[0])
		ok = json_object_set_new(j, "links", list_json(s->links)) == 0;
	if (ok && s->ca && s->ca[0])
		ok = json_object_set_new(j, "ca", list_json(s->ca)) == 0;
	if (ok && s->git_name)
		ok = json_object_set_new(j, "git_name", json_string(s->git_name)) == 0;
	if (ok && s->git_email)
		ok = json_object_set_new(j, "git_email", json_string(s->git_email)) == 0;
	if (ok && (s->has_policy || s->policy))
		ok = json_object_set_new(j, "policy", json_true()) == 0;
	if (ok && s->last_error) {
		/* May contain text of a guest or engine: if it is not UTF-8, it is escaped. */
		json_t *text = json_string(s->last_error);
		if (!text) {
			_cleanup_free_ char *shown = hull_printable(s->last_error, strlen(s->last_error));
			text = shown ? json_string(shown) : NULL;
		}
		ok = json_object_set_new(j, "last_error", text ? text : json_null()) == 0;
	}
	if (ok)
		return j;
	json_decref(j);
	return NULL;
}

int hull_sandbox_text(const struct hull_sandbox *s, char **text, struct hull_error *err)
{
	int r = check(s, err);
	if (r < 0)
		return r;
	_cleanup_(json_decrefp) json_t *j = to_json(s);
	if (!j)
		return hull_fail(err, -EILSEQ, "cannot keep sandbox \"%s\": a variable or a path is not valid UTF-8",
				 s->name);
	*text = json_dumps(j, JSON_INDENT(2));
	return *text ? 0 : hull_fail(err, -ENOMEM, "out of memory");
}

int hull_sandbox_write(int dirfd, const struct hull_sandbox *s, struct hull_error *err)
{
	_cleanup_free_ char *text = NULL;
	int r = hull_sandbox_text(s, &text, err);
	if (r < 0)
		return r;
	return hull_write_file_atomic(dirfd, "sandbox.json", text, strlen(text), 0600, err);
}

int hull_sandbox_save(const struct hull_paths *p, const struct hull_sandbox *s, struct hull_error *err)
{
	int r = hull_name_check(s->name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *dir = hull_sandbox_path(p, s->name, NULL);
	if (!dir)
		return hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open %s", dir);
	return hull_sandbox_write(fd, s, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* mmdebstrap (build.h): the Debian tree of the base image, and the small one for Docker.
 *
 * Run by root it works in root mode, else in a user namespace with the caller's subordinate ids ("unshare" mode). In
 * the second the tree belongs to ids that are not ours: all that reads or writes it happens in mmdebstrap's customize
 * hooks, which run as the namespace's root, and the tree is never handed to us (--format=null). What comes out comes
 * through files of ours that the hooks write by descriptor: their directory would not let the hooks in. The numbers
 * are high because mmdebstrap puts its own descriptors into shell redirections, which only know one digit.
 *
 * Progress is read off what apt and dpkg print (--verbose). mmdebstrap installs twice: the essential packages, then
 * the rest; each time apt says how many there will be, downloads them ("Get:"), and dpkg unpacks and sets up each.
 * The same lines are looked through for the failures that a person can do something about. */
#include "image/build.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

enum { FD_EROFS = 107, FD_KERNEL = 108, FD_MODULES_DEP = 109 };

#define GIB ((uint64_t)1 << 30)
/* base.erofs 1.3 GiB, disk and kernel, the small Debian while it is imported */
#define HOME_NEEDS    (2 * GIB + GIB / 2)
#define SCRATCH_NEEDS (2 * GIB) /* the tree and the downloaded packages, while building */
#define SBIN          "/usr/local/sbin:/usr/sbin:/sbin"

struct trouble {
	bool no_space;
	bool mirror;
	bool keyring;
	bool namespaces;
	char package[64]; /* one the mirror does not have */
};

struct watcher {
	struct hull_builder *b;
	bool small; /* the second, small Debian */
	unsigned total, fetched, handled;
	bool essential; /* before "installing remaining packages" */
	struct trouble trouble;
	char cause[HULL_LINE_SHOWN];                 /* the first line that calls itself an error */
	char last[HULL_LAST_LINES][HULL_LINE_SHOWN]; /* a ring */
	unsigned lines;
};

char *hull_build_tool(const char *name)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *places = hull_fmt("%s:" SBIN ":/usr/bin:/bin", path ? path : "");
	char *rest = places;
	for (char *dir; places && (dir = strsep(&rest, ":"));) {
		if (dir[0] != '/')
			continue;
		char *candidate = hull_fmt("%s/%s", dir, name);
		if (candidate && access(candidate, X_OK) == 0)
			return candidate;
		free(candidate);
	}
	return NULL;
}

static void remember(struct watcher *w, const char *line)
{
	if (!w->cause[0] && (hull_starts(line, "E: ") || hull_starts(line, "dpkg: error")))
		snprintf(w->cause, sizeof(w->cause), "%s", line);
	char *to = w->last[w->lines++ % HULL_LAST_LINES];
	size_t n = strnlen(line, HULL_LINE_SHOWN - 1);
	memcpy(to, line, n);
	to[n] = '\0';
}

static void look_for_trouble(struct trouble *t, const char *line)
{
	static const char *const mirror[] = {
		"Could not resolve",
		"Temporary failure resolving",
		"Could not connect",
		"Failed to fetch",
		"Unable to connect",
		"Connection timed out",
		"Connection failed",
		"does not have a Release file",
		"Connection refused",
		"Hash Sum mismatch",
		NULL,
	};
	static const char *const keyring[] = {"NO_PUBKEY", "is not signed", "EXPKEYSIG", "Missing key", NULL};
	static const char *const namespaces[] = {"newuidmap", "unshare() failed", "unprivileged_userns", NULL};
	if (strstr(line, "No space left on device") || strstr(line, "You don't have enough free space"))
		t->no_space = true;
	for (size_t i = 0; mirror[i]; i++)
		t->mirror |= strstr(line, mirror[i]) != NULL;
	for (size_t i = 0; keyring[i]; i++)
		t->keyring |= strstr(line, keyring[i]) != NULL;
	for (size_t i = 0; namespaces[i]; i++)
		t->namespaces |= strstr(line, namespaces[i]) != NULL;
	const char *lost = strstr(line, "Unable to locate package ");
	if (lost && !t->package[0])
		snprintf(t->package, sizeof(t->package), "%.*s", (int)strcspn(lost + 25, " \t"), lost + 25);
}

static void count(struct watcher *w, const char *doing, unsigned done, unsigned total, const char *package)
{
	char stage[64];
	char name[64] = "";
	const char *what = w->small ? "the small Debian for Docker" : w->essential ? "the core system" : "packages";
	snprintf(stage, sizeof(stage), "%s %s", doing, what);
	if (package)
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(package, " :"), package);
	int percent = total == 0 ? -1 : done >= total ? 100 : (int)(done * 100 / total);
	hull_build_progress(w->b, stage, percent, name[0] ? name : NULL);
}

/* "Get:7 http://MIRROR trixie/main amd64 libc6 amd64 2.41 [2,847 kB]": the fifth word is the package. */
static const char *fetched_package(const char *line)
{
	for (unsigned i = 0; i < 4 && line; i++) {
		line = strchr(line, ' ');
		if (line)
			line++;
	}
	return line;
}

static void on_line(void *ctx, const char *line)
{
	struct watcher *w = ctx;
	unsigned total;
	remember(w, line);
	look_for_trouble(&w->trouble, line);
	if (hull_starts(line, "I: hull: ")) {
		w->total = 0; /* the packages are done */
		hull_build_progress(w->b, line + strlen("I: hull: "), -1, NULL);
	} else if (hull_starts(line, "I: running apt-get update")) {
		hull_build_progress(w->b, "reading the mirror's package lists", -1, NULL);
		w->essential = true;
	} else if (hull_starts(line, "I: installing remaining packages")) {
		w->essential = false;
		w->total = w->fetched = w->handled = 0;
	} else if (sscanf(line, "%*u upgraded, %u newly installed", &total) == 1) {
		w->total = total;
		w->fetched = w->handled = 0;
	} else if (hull_starts(line, "Get:") && w->total > 0) {
		count(w, "downloading", ++w->fetched, w->total, fetched_package(line));
	} else if (hull_starts(line, "I: extracting archives")) {
		count(w, "unpacking", 0, 0, NULL);
	} else if (hull_starts(line, "Unpacking ")) {
		count(w, "installing", ++w->handled, w->total * 2, line + strlen("Unpacking "));
	} else if (hull_starts(line, "Setting up ")) {
		count(w, "installing", ++w->handled, w->total * 2, line + strlen("Setting up "));
	}
}

/* What went wrong in the tool's words: its first error when it called one so, and the last lines, oldest first. Owned.
 */
static char *last_words(const struct watcher *w)
{
	_cleanup_(hull_buf_free) struct hull_buf all = {0};
	if (w->cause[0])
		hull_buf_addf(&all, "%s", w->cause);
	unsigned n = w->lines < HULL_LAST_LINES ? w->lines : HULL_LAST_LINES;
	for (unsigned i = w->lines - n; i < w->lines; i++)
		hull_buf_addf(&all, "%s%s", all.len ? " | " : "", w->last[i % HULL_LAST_LINES]);
	return hull_printable(all.len ? (const char *)hull_buf_bytes(&all) : "it said nothing", all.len ? all.len : 15);
}

static const char *scratch_dir(const struct hull_builder *b)
{
	/* In a user namespace the tree's root is not us, and may not pass through our home. */
	const char *tmpdir = getenv("TMPDIR");
	if (geteuid() == 0)
		return b->tmp ? b->tmp : b->images;
	return tmpdir && *tmpdir ? tmpdir : "/var/tmp";
}

static int explain(const struct watcher *w, const char *tool, int status, struct hull_error *err)
{
	const struct trouble *t = &w->trouble;
	const struct hull_builder *b = w->b;
	if (t->no_space)
		return hull_fail(
			err, -ENOSPC,
			"no space left while building the image, which needs about 2.5 GiB in %s and 2 GiB in %s",
			b->images, scratch_dir(b));
	if (t->keyring)
		return hull_fail(err, -ENOKEY,
				 "the packages of %s are not signed by a key in %s; update it: apt-get install "
				 "debian-archive-keyring",
				 b->mirrors.archive, b->keyring);
	if (t->package[0])
		return hull_fail(err, -ENOENT, "%s: Debian " HULL_SUITE " has no package %s", b->recipe.path,
				 t->package);
	if (t->mirror)
		return hull_fail(
			err, -ENETUNREACH,
			"the Debian mirror %s (from %s) cannot be used; check the network or name another one: "
			"HULL_MIRROR=http://MIRROR/debian hull image build",
			b->mirrors.archive, b->mirrors.from);
	if (t->namespaces)
		return hull_fail(
			err, -EPERM,
			"this machine does not let an ordinary user make a user namespace; `hull doctor` says how to "
			"allow it, or build the image as root");
	_cleanup_free_ char *words = last_words(w);
	if (WIFSIGNALED(status))
		return hull_fail(err, -EIO, "%s was killed by signal %d: %s", tool, WTERMSIG(status),
				 words ? words : "");
	return hull_fail(err, -EIO, "%s failed with exit code %d: %s", tool, WEXITSTATUS(status), words ? words : "");
}

static int run(struct watcher *w, const char *const *argv, const char *const *setenv, const struct hull_spawn_fd *fds,
	       size_t fd_count, int most, struct hull_error *err)
{
	struct hull_builder *b = w->b;
	_cleanup_free_ char *tool = hull_build_tool(argv[0]);
	if (!tool)
		return hull_fail(err, -ENOENT, "%s is not installed", argv[0]);
	size_t n = 0;
	while (argv[n])
		n++;
	_cleanup_free_ const char **args = calloc(n + 1, sizeof(*args));
	if (!args)
		return hull_fail(err, -ENOMEM, "out of memory");
	memcpy(args, argv, n * sizeof(*args));
	args[0] = tool;
	struct hull_spawn s = {.argv = (char *const *)args,
			       .setenv = setenv,
			       .fds = fds,
			       .fd_count = fd_count,
			       .log_fd = b->log_fd,
			       .cancel_fd = b->cancel_fd,
			       .line = on_line,
			       .ctx = w};
	int status = 0;
	int r = hull_spawn_run(&s, &status, err);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) <= most)
		return 0;
	return explain(w, argv[0], status, err);
}

int hull_build_run(struct hull_builder *b, const char *const *argv, const struct hull_spawn_fd *fds, size_t fd_count,
		   int most, struct hull_error *err)
{
	struct watcher w = {.b = b};
	return run(&w, argv, NULL, fds, fd_count, most, err);
}

/* Checks */

static int check_tools(struct hull_error *err)
{
	static const struct {
		const char *tool, *package;
	} needed[] = {
		{"mmdebstrap", "mmdebstrap"}, {"mkfs.erofs", "erofs-utils"}, {"mkfs.ext4", "e2fsprogs"},
		{"e2fsck", "e2fsprogs"},      {"dpkg-deb", "dpkg"},          {"apt-get", "apt"},
		{"xz", "xz-utils"},           {"unshare", "util-linux"},     {"newuidmap", "uidmap"},
	};
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (geteuid() == 0 && strcmp(needed[i].tool, "newuidmap") == 0)
			continue;
		_cleanup_free_ char *path = hull_build_tool(needed[i].tool);
		if (!path)
			return hull_fail(err, -ENOENT, "%s is not installed; get it with: apt-get install %s",
					 needed[i].tool, needed[i].package);
	}
	return 0;
}

static bool has_ids(const char *file, const char *user, uid_t uid)
{
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	char line[512];
	char number[24];
	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	while (f && fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, ":");
		if (line[n] != ':')
			continue;
		line[n] = '\0';
		if (hull_streq(line, user) || strcmp(line, number) == 0)
			return true;
	}
	return false;
}

static int check_ids(struct hull_error *err)
{
	if (geteuid() == 0)
		return 0;
	const struct passwd *pw = getpwuid(getuid());
	const char *user = pw ? pw->pw_name : NULL;
	if (has_ids("/etc/subuid", user, getuid()) && has_ids("/etc/subgid", user, getuid()))
		return 0;
	return hull_fail(
		err, -EPERM,
		"%s has no subordinate ids in /etc/subuid and /etc/subgid, which building an image needs; as root: "
		"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s",
		user ? user : "this user", user ? user : "USER");
}

static int check_space(const char *dir, uint64_t needed, struct hull_error *err)
{
	struct statvfs v;
	if (statvfs(dir, &v) != 0)
		return hull_fail_errno(err, "cannot look at %s", dir);
	uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	if (free_bytes >= needed)
		return 0;
	char have[16];
	char want[16];
	return hull_fail(err, -ENOSPC, "not enough space to build an image: %s has %s free, about %s are needed", dir,
			 hull_format_size(free_bytes, have, sizeof(have)),
			 hull_format_size(needed, want, sizeof(want)));
}

int hull_bootstrap_check(struct hull_builder *b, struct hull_error *err)
{
	static const char *const keyrings[] = {"/usr/share/keyrings/debian-archive-keyring.gpg",
					       "/usr/share/keyrings/debian-archive-keyring.pgp", NULL};
	int r = check_tools(err);
	if (r == 0)
		r = check_ids(err);
	if (r < 0)
		return r;
	for (size_t i = 0; keyrings[i] && !b->keyring; i++)
		if (access(keyrings[i], R_OK) == 0)
			b->keyring = keyrings[i];
	if (!b->keyring)
		return hull_fail(
			err, -ENOENT,
			"Debian's signing keys are missing (%s); get them with: apt-get install debian-archive-keyring",
			keyrings[0]);
	struct stat home;
	struct stat scratch;
	const char *other = scratch_dir(b);
	if (stat(b->images, &home) != 0)
		return hull_fail_errno(err, "cannot look at %s", b->images);
	if (stat(other, &scratch) != 0)
		return hull_fail_errno(err, "cannot look at %s", other);
	if (home.st_dev == scratch.st_dev)
		return check_space(b->images, HOME_NEEDS + SCRATCH_NEEDS, err);
	r = check_space(b->images, HOME_NEEDS, err);
	return r == 0 ? check_space(other, SCRATCH_NEEDS, err) : r;
}

/* Runs */

/* What a sandbox has no use for: manual pages, translations, documentation but the copyright. It stays in force for
 * packages installed later. */
static const char *const without[] = {
	"--dpkgopt=path-exclude=/usr/share/man/*/*",
	"--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*/LC_MESSAGES/*",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-include=/usr/share/doc/*/copyright",
	"--dpkgopt=path-exclude=/usr/share/lintian/*",
};

enum { ARGS_MAX = 40 };

/* Arguments with their ownership, NULL-terminated by being zero at first; what does not fit, or NULL, is an error at
 * the end. */
struct args {
	const char *argv[ARGS_MAX + 1];
	char *owned[ARGS_MAX];
	size_t n, owned_n;
	bool bad;
};

static void add(struct args *a, const char *s)
{
	if (!s || a->n == ARGS_MAX)
		a->bad = true;
	else
		a->argv[a->n++] = s;
}

static void add_owned(struct args *a, char *s)
{
	if (s && a->owned_n < ARGS_MAX)
		a->owned[a->owned_n++] = s;
	add(a, s);
}

static void args_free(struct args *a)
{
	for (size_t i = 0; i < a->owned_n; i++)
		free(a->owned[i]);
}

static void add_common(struct args *a, const struct hull_builder *b)
{
	add(a, "mmdebstrap");
	add(a, geteuid() == 0 ? "--mode=root" : "--mode=unshare");
	add(a, "--variant=minbase");
	add(a, "--verbose");
	add(a, "--architectures=amd64");
	add_owned(a, hull_fmt("--keyring=%s", b->keyring));
	add(a, "--aptopt=Acquire::Retries \"3\"");
	add(a, "--aptopt=Acquire::http::Timeout \"30\"");
	add(a, "--aptopt=Acquire::https::Timeout \"30\"");
	add(a, "--aptopt=Acquire::Languages \"none\"");
	/* The tree is packed or thrown away as a whole: no need to wait for the disk at every package. */
	add(a, "--dpkgopt=force-unsafe-io");
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		add(a, without[i]);
}

static void add_sources(struct args *a, const struct hull_builder *b, const char *target)
{
	add(a, HULL_SUITE);
	add(a, target);
	add_owned(a, hull_fmt("deb %s " HULL_SUITE " main", b->mirrors.archive));
	add_owned(a, hull_fmt("deb %s " HULL_SUITE "-updates main", b->mirrors.archive));
	if (b->mirrors.security)
		add_owned(a, hull_fmt("deb %s " HULL_SUITE "-security main", b->mirrors.security));
}

static int run_mmdebstrap(struct watcher *w, struct args *a, const struct hull_spawn_fd *fds, size_t fd_count,
			  struct hull_error *err)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *with_sbin = hull_fmt("PATH=%s:" SBIN, path && *path ? path : "/usr/bin:/bin");
	_cleanup_free_ char *tmpdir = hull_fmt("TMPDIR=%s", scratch_dir(w->b));
	if (a->bad || !with_sbin || !tmpdir)
		return hull_fail(err, -ENOMEM, "out of memory");
	const char *const setenv[] = {with_sbin, tmpdir, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", NULL};
	return run(w, a->argv, setenv, fds, fd_count, 0, err);
}

static char *joined(char *const *names)
{
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	for (; *names; names++)
		if (hull_buf_addf(&out, "%s%s", out.len ? "," : "--include=", *names) < 0)
			return NULL;
	return strdup((const char *)hull_buf_bytes(&out));
}

/* A file for a hook to write: the namespace's root is neither us nor in our group. tmp itself lets nobody in. */
static int open_for_hooks(const struct hull_builder *b, const char *name, struct hull_error *err)
{
	_cleanup_close_ int fd = openat(b->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, 0666) != 0)
		return hull_fail_errno(err, "cannot make %s/%s", b->tmp, name);
	return hull_steal_fd(&fd);
}

int hull_bootstrap_base(struct hull_builder *b, struct hull_error *err)
{
	_cleanup_close_ int erofs = open_for_hooks(b, "base.erofs", err);
	if (erofs < 0)
		return erofs;
	_cleanup_close_ int deb = open_for_hooks(b, "kernel.deb", err);
	if (deb < 0)
		return deb;
	_cleanup_close_ int dep = open_for_hooks(b, "modules.dep", err);
	if (dep < 0)
		return dep;
	const struct hull_spawn_fd fds[] = {{erofs, FD_EROFS}, {deb, FD_KERNEL}, {dep, FD_MODULES_DEP}};

	_cleanup_(args_free) struct args a = {0};
	add_common(&a, b);
	add(&a, "--format=null");
	add_owned(&a, joined(b->recipe.packages));
	add_owned(&a, hull_fmt("--customize-hook=echo 'I: hull: putting in Node'\n%s", b->recipe.node));
	add_owned(&a, hull_fmt("--customize-hook=echo 'I: hull: setting up the system'\n%s", b->recipe.customize));
	add_owned(&a, hull_fmt("--customize-hook=echo 'I: hull: downloading the kernel'\n%s", b->recipe.kernel));
	add_owned(&a, hull_fmt("--customize-hook=echo 'I: hull: packing the file system'\n%s", b->recipe.pack));
	add_sources(&a, b, "/dev/null");
	struct watcher w = {.b = b};
	int r = run_mmdebstrap(&w, &a, fds, sizeof(fds) / sizeof(fds[0]), err);
	if (r < 0)
		return r;
	struct stat st;
	if (fstat(erofs, &st) != 0 || st.st_size == 0)
		return hull_fail(err, -EIO, "mmdebstrap made no file system; see the build's log");
	if (fchmod(erofs, 0644) != 0)
		return hull_fail_errno(err, "cannot change the mode of base.erofs");
	return 0;
}

int hull_bootstrap_rootfs(struct hull_builder *b, const char *tar, struct hull_error *err)
{
	_cleanup_(args_free) struct args a = {0};
	add_common(&a, b);
	add(&a, "--format=tar");
	add(&a, "--include=ca-certificates");
	add_sources(&a, b, tar);
	struct watcher w = {.b = b, .small = true};
	return run_mmdebstrap(&w, &a, NULL, 0, err);
}

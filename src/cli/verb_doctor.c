/* SPDX-License-Identifier: Apache-2.0 */
/* hull doctor: checks this machine's support for hull. Each check is a function that fills one finding: ok, warn
 * (works, at a cost) or fail (does not work), why, and what to do. */
#include "cli/cli.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "lib/report/bundle.h"
#include "cli/out.h"
#include "engine/engine.h"
#include "image/image.h"
#include "jail/jail.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum level { OK, WARN, FAIL };

struct finding {
	enum level level;
	char text[512];
	char fix[512]; /* empty = nothing to do */
};

static bool as_json;
static const char *bundle;

static const struct cli_opt options[] = {
	{0, "json", NULL, "as JSON", .flag = &as_json},
	{0, "bundle", "FILE",
	 "write what a bug report needs to FILE (a .tar.gz that must not exist): these findings, versions, the state "
	 "and "
	 "logs of all sandboxes, without secrets and without names of yours",
	 .text = &bundle, .complete = CLI_FILE},
	{0},
};

#define GIB ((uint64_t)1 << 30)

__attribute__((format(printf, 3, 4))) static void say(struct finding *f, enum level level, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
	f->level = level;
}

__attribute__((format(printf, 2, 3))) static void advise(struct finding *f, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f->fix, sizeof f->fix, fmt, ap);
	va_end(ap);
}

static bool have(const char *tool)
{
	const char *set = getenv("PATH");
	_cleanup_free_ char *path = strdup(set ? set : "");
	char *rest = path;
	for (char *dir; rest && (dir = strsep(&rest, ":")) != NULL;) {
		_cleanup_free_ char *file = hull_fmt("%s/%s", dir, tool);
		if (file && access(file, X_OK) == 0)
			return true;
	}
	/* Debian installs these outside an ordinary user's PATH. */
	_cleanup_free_ char *sbin = hull_fmt("/usr/sbin/%s", tool);
	return sbin && access(sbin, X_OK) == 0;
}

/* --- the checks --- */

static void check_programs(struct cli *cli, struct finding *f)
{
	struct hull_error err = {0};
	_cleanup_free_ char *keeper = hull_beside("hull-keeper", X_OK, &err);
	_cleanup_free_ char *init = keeper ? hull_beside("hull-init", X_OK, &err) : NULL;
	if (init)
		say(f, OK, "hull " HULL_VERSION " with hull-keeper and hull-init");
	else
		say(f, FAIL, "%s", err.msg);
}

static void check_kvm(struct cli *cli, struct finding *f)
{
	struct hull_probe probe = {0};
	hull_engine_probe(&probe);
	say(f, probe.kvm_usable ? OK : WARN, "%s", probe.reason);
	if (!probe.kvm_usable)
		advise(f, "everything works by emulation (QEMU TCG), 10 to 30 times slower than with hardware "
			  "virtualization");
}

static void check_qemu(struct cli *cli, struct finding *f)
{
	struct hull_error err = {0};
	char version[64] = "";
	if (hull_engine_qemu_version(version, sizeof version, &err) < 0) {
		say(f, FAIL, "%s", err.msg);
		if (err.code == -ENOENT)
			advise(f, "apt-get install qemu-system-x86");
		return;
	}
	int major = 0;
	(void)sscanf(version, "%d", &major);
	say(f, major < 10 ? WARN : OK, "QEMU %s", version);
	if (major < 10)
		advise(f, "QEMU 10 runs Docker 1.6 times faster under emulation: it is in Debian's backports");
}

static void check_jail(struct cli *cli, struct finding *f)
{
	struct hull_jail_ability a = {0};
	hull_jail_probe(&a);
	bool all = a.user_namespaces && a.landlock && a.seccomp;
	char parts[128];
	snprintf(parts, sizeof parts, "namespaces %s, Landlock %s, seccomp %s", a.user_namespaces ? "yes" : "no",
		 a.landlock ? "yes" : "no", a.seccomp ? "yes" : "no");
	say(f,
	    all                               ? OK
	    : a.user_namespaces || a.landlock ? WARN
					      : FAIL,
	    "%s%s%s", parts, a.missing[0] ? ": " : "", a.missing);
}

static void check_home(struct cli *cli, struct finding *f)
{
	struct hull_error err = {0};
	if (cli_open(cli, cli->quiet, &err) < 0)
		say(f, FAIL, "%s", err.msg);
	else
		say(f, OK, "data in %s, sockets in %s", cli->paths->home, cli->paths->runtime);
}

static void check_space(struct cli *cli, struct finding *f)
{
	struct statvfs vfs;
	if (!cli->paths || statvfs(cli->paths->home, &vfs) < 0) {
		say(f, FAIL, "no data directory to look at");
		return;
	}
	uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	char text[32];
	hull_format_size(free_bytes, text, sizeof text);
	say(f,
	    free_bytes < 2 * GIB    ? FAIL
	    : free_bytes < 10 * GIB ? WARN
				    : OK,
	    "%s free in %s", text, cli->paths->home);
	if (free_bytes < 10 * GIB)
		advise(f, "an image takes about 1 GiB, a sandbox what it writes: free some, or set HULL_HOME to a "
			  "larger disk");
}

static void check_memory(struct cli *cli, struct finding *f)
{
	unsigned long long total = 0, avail = 0;
	char line[128], a[32], b[32];
	_cleanup_fclose_ FILE *m = fopen("/proc/meminfo", "re");
	while (m && fgets(line, sizeof line, m)) {
		(void)sscanf(line, "MemTotal: %llu", &total);
		(void)sscanf(line, "MemAvailable: %llu", &avail);
	}
	say(f, avail < 1024 * 1024 ? WARN : OK, "%s of %s available", hull_format_size(avail * 1024, a, sizeof a),
	    hull_format_size(total * 1024, b, sizeof b));
	if (avail < 1024 * 1024)
		advise(f, "a sandbox with Docker wants about 512 MiB; use a smaller --memory or end other programs");
}

static void check_image(struct cli *cli, struct finding *f)
{
	_cleanup_(hull_image_free) struct hull_image image = {0};
	struct hull_error err = {0};
	int r = cli->paths ? hull_image_find(cli->paths, NULL, &image, &err)
			   : hull_fail(&err, -ENOENT, "no data directory to look in");
	if (r < 0) {
		say(f, r == -ENOENT ? WARN : FAIL, "%s", err.msg);
		if (r != -ENOENT) /* that one's message says it */
			advise(f, "hull image build --rebuild");
		return;
	}
	const char *kernel = json_string_value(json_object_get(image.about, "kernel"));
	say(f, OK, "image default is %.12s, kernel %s", image.digest, kernel ? kernel : "?");
	if (json_is_false(json_object_get(image.about, "docker"))) {
		say(f, OK, "image default is %.12s, without Docker", image.digest);
	} else if (json_is_false(json_object_get(image.about, "seeded"))) {
		say(f, WARN, "image default is %.12s, without localhost/debian:trixie in Docker's store", image.digest);
		advise(f, "hull image build --rebuild");
	}
}

static void check_tools(struct cli *cli, struct finding *f)
{
	static const char *const tools[][2] = {{"mmdebstrap", "mmdebstrap"},
					       {"mkfs.erofs", "erofs-utils"},
					       {"mkfs.ext4", "e2fsprogs"},
					       {"xz", "xz-utils"},
					       {"unshare", "util-linux"},
					       {"dpkg-deb", "dpkg"},
					       {"apt-get", "apt"}};
	char packages[256] = "";
	for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
		if (have(tools[i][0]))
			continue;
		size_t n = strlen(packages);
		snprintf(packages + n, sizeof packages - n, " %s", tools[i][1]);
	}
	if (!packages[0]) {
		say(f, OK, "mmdebstrap, erofs-utils and the rest are there");
		return;
	}
	say(f, WARN, "missing to build an image:%s", packages);
	advise(f, "apt-get install%s", packages);
}

static bool listed(const char *file, const char *user)
{
	char line[256], id[16];
	snprintf(id, sizeof id, "%u", getuid());
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	while (f && fgets(line, sizeof line, f)) {
		size_t n = strcspn(line, ":");
		line[n] = 0;
		if (!strcmp(line, user) || !strcmp(line, id))
			return true;
	}
	return false;
}

static void check_subuid(struct cli *cli, struct finding *f)
{
	if (geteuid() == 0) {
		say(f, OK, "not needed as root");
		return;
	}
	const struct passwd *pw = getpwuid(getuid());
	const char *user = pw ? pw->pw_name : "YOU";
	bool ids = listed("/etc/subuid", user) && listed("/etc/subgid", user), map = have("newuidmap");
	say(f, ids && map ? OK : WARN, "%s",
	    ids && map ? "subordinate ids are there, to build images as an ordinary user"
	    : ids      ? "newuidmap is missing, to build images as an ordinary user"
		       : "no subordinate ids, to build images as an ordinary user");
	if (!map)
		advise(f, "apt-get install uidmap");
	else if (!ids)
		advise(f, "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", user);
}

static void check_docker(struct cli *cli, struct finding *f)
{
	say(f, OK, "%s",
	    have("docker") ? "there is a docker client for `hull docker`"
			   : "no docker client here: `hull docker` uses the one in the sandbox");
}

/* check_home precedes the checks that need the directories. */
static const struct {
	const char *name;
	void (*check)(struct cli *cli, struct finding *f);
} checks[] = {
	{"programs", check_programs}, {"kvm", check_kvm},        {"qemu", check_qemu},     {"confinement", check_jail},
	{"directories", check_home},  {"disk", check_space},     {"memory", check_memory}, {"image", check_image},
	{"build tools", check_tools}, {"subuids", check_subuid}, {"docker", check_docker},
};

static int write_bundle(struct cli *cli, const json_t *findings, struct hull_error *err)
{
	char *text = json_dumps(findings, JSON_INDENT(2));
	int r = text ? cli_open(cli, cli->quiet, err) : hull_fail(err, -ENOMEM, "out of memory");
	_cleanup_close_ int fd = r >= 0 ? open(bundle, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	if (r >= 0 && fd < 0)
		r = hull_fail_errno(err, "making %s", bundle);
	if (r >= 0) {
		r = hull_bundle_write(cli->paths, text, fd, err);
		if (r < 0) {
			hull_wrap(err, "writing %s", bundle);
			unlink(bundle);
		}
	}
	if (r >= 0)
		cli_note("%s is for a bug report: look through it before you send it", bundle);
	free(text);
	return r;
}

static int run(struct cli *cli, struct hull_error *err)
{
	static const char *const words[] = {"ok", "warn", "fail"};
	static const enum cli_tone tones[] = {CLI_GOOD, CLI_WARN, CLI_BAD};
	json_t *list = json_array();
	int worst = 0;
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		struct finding f = {0};
		checks[i].check(cli, &f);
		if (f.level == FAIL)
			worst = CLI_EXIT_FAIL;
		if (as_json || bundle) {
			json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?}", "check", checks[i].name,
							      "status", words[f.level], "text", f.text, "fix",
							      f.fix[0] ? f.fix : NULL));
		}
		if (as_json)
			continue;
		cli_tone(tones[f.level], words[f.level]);
		_cleanup_free_ char *text = hull_printable(f.text, strlen(f.text));
		printf("%*s%-13s%s\n", (int)(6 - strlen(words[f.level])), "", checks[i].name, text ? text : "");
		if (f.fix[0])
			printf("      %-13s%s\n", "", f.fix);
	}
	if (as_json)
		cli_json(list);
	int r = bundle ? write_bundle(cli, list, err) : 0;
	json_decref(list);
	return r < 0 ? r : worst;
}

const struct cli_verb verb_doctor = {
	.name = "doctor",
	.usage = "",
	.summary = "say what this machine can do, what it lacks, and how to get it",
	.about = "Exit code 1 when something that hull needs is missing; warnings are costs and not failures.",
	.aka = "diagnose check info",
	.options = options,
	.run = run,
};

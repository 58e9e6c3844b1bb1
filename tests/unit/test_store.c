/* SPDX-License-Identifier: Apache-2.0 */
/* The store, in a temporary HULL_HOME: round trips, every kind of damage, creation all or nothing, locks, removal. */
#include "store/store.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	char dir[64];
	struct hull_paths paths;
	int seed;
};

static void env_in(const char *name, const char *dir, const char *sub)
{
	_cleanup_free_ char *v = hull_fmt("%s/%s", dir, sub);
	assert_int_equal(setenv(name, v, 1), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	strcpy(w->dir, "/tmp/hull-test-store.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	env_in("HULL_HOME", w->dir, "home");
	env_in("XDG_RUNTIME_DIR", w->dir, "run");
	env_in("XDG_CONFIG_HOME", w->dir, "config");
	struct hull_error err;
	if (hull_paths_open(&w->paths, &err) < 0) {
		print_error("%s\n", err.msg);
		return -1;
	}
	_cleanup_free_ char *seed = hull_fmt("%s/seed.img", w->dir);
	w->seed = open(seed, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (w->seed < 0 || ftruncate(w->seed, 8 << 20) < 0 || pwrite(w->seed, "seed", 4, 4 << 20) != 4)
		return -1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	close(w->seed);
	hull_remove_tree(AT_FDCWD, w->dir, NULL);
	hull_paths_free(&w->paths);
	free(w);
	return 0;
}

static struct hull_sandbox example(const char *name)
{
	struct hull_sandbox s = {
		.name = strdup(name),
		.agent = strdup("shell"),
		.image = strdup("0123456789abcdef0123456789abcdef"),
		.cpus = 2,
		.memory = 1ull << 30,
		.disk = 64ull << 20,
		.swap = 3ull << 20,
		.engine = strdup("auto"),
		.env = hull_strv_copy((char *[]){(char *)"A=1", (char *)"B=x y\xc3\xa9", NULL}),
		.paths = hull_strv_copy((char *[]){(char *)"/src/x:ro", NULL}),
		.links = hull_strv_copy((char *[]){(char *)"/srv/me/x", (char *)"/src/x", NULL}),
		.ca = hull_strv_copy((char *const[]){(char *)"/etc/corp.pem", NULL}),
		.git_name = strdup("Ann \"X\" O\\Brien"),
		.no_docker = true,
		.created = 1700000000,
		.state = strdup("created"),
		.policy = strdup("preset: locked\n"),
	};
	return s;
}

static void create(struct world *w, const char *name)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = example(name);
	struct hull_error err;
	if (hull_sandbox_create(&w->paths, &s, w->seed, false, &err) < 0)
		fail_msg("%s", err.msg);
}

/* Entries of sandboxes/, hidden ones too. */
static size_t entries(struct world *w)
{
	_cleanup_free_ char *dir = hull_fmt("%s/sandboxes", w->paths.home);
	_cleanup_closedir_ DIR *d = opendir(dir);
	size_t n = 0;
	while (readdir(d))
		n++;
	return n - 2;
}

static void test_round_trip(void **state)
{
	struct world *w = *state;
	create(w, "one");
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	struct hull_error err;
	assert_int_equal(hull_sandbox_load(&w->paths, "one", &s, &err), 0);
	assert_string_equal(s.name, "one");
	assert_string_equal(s.env[1], "B=x y\xc3\xa9");
	assert_null(s.env[2]);
	assert_string_equal(s.paths[0], "/src/x:ro");
	assert_string_equal(s.links[0], "/srv/me/x");
	assert_string_equal(s.links[1], "/src/x");
	assert_null(s.links[2]);
	assert_string_equal(s.ca[0], "/etc/corp.pem");
	assert_string_equal(s.git_name, "Ann \"X\" O\\Brien");
	assert_null(s.git_email);
	/* What would be another line of a configuration file is refused, and so is a link without a target. */
	s.git_email = strdup("a@x\n[core]");
	assert_int_equal(hull_sandbox_save(&w->paths, &s, &err), -EINVAL);
	free(s.git_email);
	s.git_email = NULL;
	assert_int_equal(hull_strv_add(&s.links, "/alone"), 0);
	assert_int_equal(hull_sandbox_save(&w->paths, &s, &err), -EINVAL);
	free(s.links[2]);
	s.links[2] = NULL;
	assert_true(s.no_docker && s.has_policy);
	assert_int_equal(s.swap, 3ull << 20);
	_cleanup_(hull_buf_free) struct hull_buf policy = {0};
	_cleanup_free_ char *path = hull_sandbox_path(&w->paths, "one", "policy.yaml");
	assert_int_equal(hull_read_file(AT_FDCWD, path, 100, &policy, &err), 0);
	assert_memory_equal(hull_buf_bytes(&policy), "preset: locked\n", 15);
	assert_false(s.remove);
	assert_int_equal(s.memory, 1ull << 30);
	assert_null(s.last_error);
	assert_null(s.restore);
	char boot[37];
	hull_boot_id(boot);
	assert_string_equal(s.disk_boot, boot);
	s.restore = strdup("templates/mine");
	s.restore_id = strdup("0123abcd");
	s.fresh = true;
	s.last_error = strdup("bad \xff byte");
	free(s.state);
	s.state = strdup("crashed");
	assert_int_equal(hull_sandbox_save(&w->paths, &s, &err), 0);
	_cleanup_(hull_sandbox_free) struct hull_sandbox again = {0};
	assert_int_equal(hull_sandbox_load(&w->paths, "one", &again, &err), 0);
	assert_string_equal(again.state, "crashed");
	assert_string_equal(again.restore, "templates/mine");
	assert_string_equal(again.restore_id, "0123abcd");
	assert_true(again.fresh);
	assert_non_null(strstr(again.last_error, "xff"));
	/* When the restore has been given up its disk is another's still. */
	free(again.restore);
	again.restore = NULL;
	assert_int_equal(hull_sandbox_save(&w->paths, &again, &err), 0);
	_cleanup_(hull_sandbox_free) struct hull_sandbox booting = {0};
	assert_int_equal(hull_sandbox_load(&w->paths, "one", &booting, &err), 0);
	assert_null(booting.restore);
	assert_null(booting.restore_id);
	assert_true(booting.fresh);
	assert_string_equal(hull_sandbox_truth(&again, false), "crashed");
}

static void test_disk_is_clone_of_seed(void **state)
{
	struct world *w = *state;
	create(w, "one");
	_cleanup_free_ char *path = hull_sandbox_path(&w->paths, "one", "disk.img");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 64 << 20);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(st.st_blocks * 512 < 1 << 20); /* sparse */
	char got[4];
	assert_int_equal(pread(fd, got, 4, 4 << 20), 4);
	assert_memory_equal(got, "seed", 4);
}

/* One that may wait is there where a reflink does it, or left for the first start: never a part of it. */
static void test_disk_may_wait(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = example("one"), got = {0};
	assert_int_equal(hull_sandbox_create(&w->paths, &s, w->seed, true, &err), 0);
	assert_int_equal(hull_sandbox_load(&w->paths, "one", &got, &err), 0);
	_cleanup_free_ char *probe = hull_fmt("%s/probe", w->paths.home);
	_cleanup_free_ char *path = hull_sandbox_path(&w->paths, "one", "disk.img");
	_cleanup_close_ int to = open(probe, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool cheap = hull_reflink_file(w->seed, to);
	struct stat st;
	assert_int_equal(stat(path, &st), cheap ? 0 : -1);
	assert_int_equal(cheap, got.disk_boot != NULL);
	if (cheap) {
		assert_int_equal(st.st_size, 64 << 20);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_int_equal(entries(w), 1);
}

static void test_create_refuses(void **state)
{
	struct world *w = *state;
	create(w, "one");
	struct hull_error err;
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = example("one");
	assert_int_equal(hull_sandbox_create(&w->paths, &s, w->seed, false, &err), -EEXIST);
	free(s.name);
	s.name = strdup("two");
	s.disk = 4 << 20;
	assert_int_equal(hull_sandbox_create(&w->paths, &s, w->seed, false, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "at least 8m"));
	s.disk = 64ull << 20;
	s.cpus = 0;
	assert_int_equal(hull_sandbox_create(&w->paths, &s, w->seed, false, &err), -EINVAL);
	s.cpus = 1;
	assert_int_equal(hull_strv_add(&s.env, "X=\xff"), 0);
	assert_int_equal(hull_sandbox_create(&w->paths, &s, w->seed, false, &err), -EILSEQ);
	assert_int_equal(entries(w), 1); /* no scratch left by any of them */
	free(s.name);
	s.name = strdup("../up");
	assert_int_equal(hull_sandbox_create(&w->paths, &s, w->seed, false, &err), -EINVAL);
}

static void test_leftovers_are_swept(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *dead = hull_fmt("%s/sandboxes/.new-dead", w->paths.home);
	_cleanup_free_ char *live = hull_fmt("%s/sandboxes/.new-live", w->paths.home);
	assert_int_equal(mkdir(dead, 0700), 0);
	assert_int_equal(mkdir(live, 0700), 0);
	_cleanup_close_ int fd = open(live, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	create(w, "one");
	assert_int_equal(access(dead, F_OK), -1);
	assert_int_equal(access(live, F_OK), 0);
	char **names;
	assert_int_equal(hull_sandbox_list(&w->paths, &names, NULL), 0);
	assert_int_equal(hull_strv_count(names), 1);
	hull_strv_free(names);
}

static void test_no_space(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *dir = hull_fmt("%s/sandboxes", w->paths.home);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=16m") < 0) {
		print_message("# skipped: mounting needs root\n");
		return;
	}
	struct hull_error err;
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = example("one");
	int r = hull_sandbox_create(&w->paths, &s, w->seed, false, &err);
	size_t left = entries(w);
	umount(dir);
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.msg, "are free"));
	assert_int_equal(left, 0);
}

static void put(struct world *w, const char *name, const char *text)
{
	_cleanup_free_ char *path = hull_sandbox_path(&w->paths, name, "sandbox.json");
	_cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(hull_write_full(fd, text, strlen(text)), 0);
}

static void test_damage(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {
		"", "{", "[]", "null", "{}", "\"x\"", "\xff\xfe",
		/* the good one with one thing wrong each, marked by @ below */
	};
	static const char good[] = "{\"name\":\"one\",\"agent\":\"shell\",\"image\":\"abc\",\"cpus\":1,"
				   "\"memory\":1073741824,\"disk\":67108864,\"engine\":\"auto\",\"env\":[],"
				   "\"paths\":[],\"created\":1,\"state\":\"created\",\"future\":{\"x\":1}}";
	static const char *const swaps[][2] = {
		{"\"one\"", "\"two\""},
		{"\"one\"", "7"},
		{"\"shell\"", "\"../x\""},
		{"\"abc\"", "\"a/b\""},
		{"\"cpus\":1", "\"cpus\":-1"},
		{"\"cpus\":1", "\"cpus\":99999999999"},
		{"\"cpus\":1", "\"cpus\":1.5"},
		{"1073741824", "12"},
		{"1073741824", "9223372036854775807"},
		{"67108864", "\"big\""},
		{"\"auto\"", "\"magic\""},
		{"\"env\":[]", "\"env\":{}"},
		{"\"env\":[]", "\"env\":[1]"},
		{"\"env\":[]", "\"env\":[\"NOEQUALS\"]"},
		{"\"paths\":[]", "\"paths\":[\"relative\"]"},
		{"\"state\":\"created\"", "\"state\":\"odd\""},
		{"\"state\":\"created\"", "\"state\":\"created\",\"remove\":\"yes\""},
		{"\"state\":\"created\"", "\"state\":\"created\",\"last_error\":3"},
		{"\"state\":\"created\"", "\"state\":\"created\",\"state\":\"created\""},
	};
	create(w, "one");
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	struct hull_error err;
	put(w, "one", good);
	assert_int_equal(hull_sandbox_load(&w->paths, "one", &s, &err), 0); /* unknown members are fine */
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put(w, "one", bad[i]);
		_cleanup_(hull_sandbox_free) struct hull_sandbox t = {0};
		assert_int_equal(hull_sandbox_load(&w->paths, "one", &t, &err), -EBADMSG);
		assert_non_null(strstr(err.msg, "sandbox.json"));
		assert_non_null(strstr(err.msg, "`hull rm one`"));
	}
	for (size_t i = 0; i < sizeof(swaps) / sizeof(*swaps); i++) {
		const char *at = strstr(good, swaps[i][0]);
		assert_non_null(at);
		_cleanup_free_ char *text = hull_fmt("%.*s%s%s", (int)(at - good), good, swaps[i][1],
						     at + strlen(swaps[i][0]));
		put(w, "one", text);
		_cleanup_(hull_sandbox_free) struct hull_sandbox t = {0};
		if (hull_sandbox_load(&w->paths, "one", &t, &err) != -EBADMSG)
			fail_msg("accepted: %s", text);
	}
	/* Every prefix of a good file is damage, and a damaged one can be removed. */
	for (size_t n = 0; n < sizeof(good) - 1; n++) {
		_cleanup_free_ char *text = hull_fmt("%.*s", (int)n, good);
		put(w, "one", text);
		_cleanup_(hull_sandbox_free) struct hull_sandbox t = {0};
		assert_int_equal(hull_sandbox_load(&w->paths, "one", &t, &err), -EBADMSG);
	}
	assert_int_equal(hull_sandbox_remove(&w->paths, "one", &err), 0);
	assert_int_equal(hull_sandbox_load(&w->paths, "one", &s, &err), -ENOENT);
}

static void test_missing_parts(void **state)
{
	struct world *w = *state;
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	struct hull_error err;
	assert_int_equal(hull_sandbox_load(&w->paths, "none", &s, &err), -ENOENT);
	assert_int_equal(hull_sandbox_remove(&w->paths, "none", &err), -ENOENT);
	assert_int_equal(hull_sandbox_lock(&w->paths, "none", &err), -ENOENT);
	_cleanup_free_ char *dir = hull_sandbox_path(&w->paths, "bare", NULL);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(hull_sandbox_load(&w->paths, "bare", &s, &err), -EBADMSG);
	assert_int_equal(hull_sandbox_remove(&w->paths, "bare", &err), 0);
	/* Not even a directory, or a symlink that points away: the link goes, the target stays. */
	_cleanup_close_ int fd = open(dir, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(hull_sandbox_remove(&w->paths, "bare", &err), 0);
	assert_int_equal(symlink(w->dir, dir), 0);
	assert_int_equal(hull_sandbox_remove(&w->paths, "bare", &err), 0);
	assert_int_equal(access(w->dir, F_OK), 0);
	assert_int_equal(entries(w), 0);
}

static void test_lock(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	create(w, "one");
	assert_false(hull_sandbox_running(&w->paths, "one"));
	int fd = hull_sandbox_lock(&w->paths, "one", &err);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(hull_sandbox_running(&w->paths, "one"));
	assert_int_equal(hull_sandbox_lock(&w->paths, "one", &err), -EBUSY);
	assert_int_equal(hull_sandbox_remove(&w->paths, "one", &err), -EBUSY);
	close(fd);
	assert_false(hull_sandbox_running(&w->paths, "one"));

	/* The holder dies by SIGKILL: free at once. */
	int tell[2];
	assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (hull_sandbox_lock(&w->paths, "one", NULL) < 0 || write(tell[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	char x;
	assert_int_equal(read(tell[0], &x, 1), 1);
	assert_true(hull_sandbox_running(&w->paths, "one"));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(hull_sandbox_running(&w->paths, "one"));
	close(tell[0]);
	close(tell[1]);

	/* The holder itself may remove it, and the name is free again while the old lock is still open. */
	fd = hull_sandbox_lock(&w->paths, "one", &err);
	assert_int_equal(hull_sandbox_remove_held(&w->paths, "one", &err), 0);
	create(w, "one");
	assert_false(hull_sandbox_running(&w->paths, "one"));
	close(fd);
	assert_int_equal(entries(w), 1);
}

static void test_runtime(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	_cleanup_free_ char *sock = hull_runtime_path(&w->paths, "one", "control.sock");
	_cleanup_free_ char *dir = hull_runtime_path(&w->paths, "one", NULL);
	int fd = hull_sandbox_runtime(&w->paths, "one", &err);
	assert_true(fd >= 0);
	struct stat st;
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	_cleanup_close_ int f = open(sock, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(f >= 0);
	/* Held: neither a sweep nor another home's sandbox of that name touches it. */
	hull_sandbox_sweep(&w->paths, "one");
	assert_int_equal(access(sock, F_OK), 0);
	assert_int_equal(hull_sandbox_runtime(&w->paths, "one", &err), -EBUSY);
	close(fd);
	/* Stale: taken over empty. */
	fd = hull_sandbox_runtime(&w->paths, "one", &err);
	assert_true(fd >= 0);
	assert_int_equal(access(sock, F_OK), -1);
	hull_runtime_remove(dir);
	assert_int_equal(access(dir, F_OK), -1);
	close(fd);
	hull_sandbox_sweep(&w->paths, "one");
	hull_sandbox_sweep(&w->paths, "..");
	assert_int_equal(access(w->paths.home, F_OK), 0);
}

/* The record in the lock file names the process that holds it, while it does, and where it is. */
static void test_record(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	create(w, "one");
	assert_int_equal(hull_sandbox_keeper(&w->paths, "one"), -1);
	int lock = hull_sandbox_lock(&w->paths, "one", &err);
	assert_true(lock >= 0);
	/* Nothing written yet. */
	_cleanup_free_ char *usual = hull_runtime_path(&w->paths, "one", NULL);
	_cleanup_free_ char *before = hull_sandbox_runtime_path(&w->paths, "one", NULL);
	assert_string_equal(before, usual);
	assert_int_equal(hull_sandbox_keeper(&w->paths, "one"), -1);
	assert_int_equal(hull_sandbox_record(lock, "/some/where", &err), 0);
	_cleanup_free_ char *sock = hull_sandbox_runtime_path(&w->paths, "one", "docker.sock");
	assert_string_equal(sock, "/some/where/docker.sock");
	_cleanup_close_ int keeper = hull_sandbox_keeper(&w->paths, "one");
	assert_true(keeper >= 0);
	/* A process of that number that started at another time is another. */
	char text[64];
	int n = snprintf(text, sizeof(text), "%d 12\n/some/where\n", (int)getpid());
	assert_int_equal(pwrite(lock, text, (size_t)n, 0), n);
	assert_int_equal(ftruncate(lock, n), 0);
	assert_int_equal(hull_sandbox_keeper(&w->paths, "one"), -1);
	/* Damage counts as nothing. */
	static const char *const bad[] = {"", "7", "-1 4\n/x\n", "1 4\n/x\n", "99 4\nx\n", "99 4\n/no end"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(ftruncate(lock, 0), 0);
		assert_int_equal(pwrite(lock, bad[i], strlen(bad[i]), 0), strlen(bad[i]));
		assert_int_equal(hull_sandbox_keeper(&w->paths, "one"), -1);
		_cleanup_free_ char *dir = hull_sandbox_runtime_path(&w->paths, "one", NULL);
		assert_non_null(dir);
	}
	assert_int_equal(hull_sandbox_record(lock, "/some/where", &err), 0);
	close(lock);
	/* Free: true no more. */
	_cleanup_free_ char *after = hull_sandbox_runtime_path(&w->paths, "one", NULL);
	assert_string_equal(after, usual);
	assert_int_equal(hull_sandbox_keeper(&w->paths, "one"), -1);
}

static void *linger(void *arg)
{
	usleep(300 * 1000);
	_exit(0);
	return arg;
}

/* A keeper whose main thread has ended is a zombie to all the world, and holds its lock until the others have ended. */
static void test_dying_keeper(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	create(w, "one");
	for (int way = 0; way < 2; way++) {
		pid_t pid = fork();
		if (pid == 0) {
			pthread_t other;
			int lock = hull_sandbox_lock(&w->paths, "one", &err);
			if (lock < 0 || hull_sandbox_record(lock, "/some/where", &err) < 0 ||
			    pthread_create(&other, NULL, linger, NULL) != 0)
				_exit(1);
			syscall(SYS_exit, 0); /* this thread alone */
		}
		siginfo_t info;
		char path[64], line[256] = "";
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		while (!strstr(line, ") Z")) { /* until it looks dead */
			_cleanup_fclose_ FILE *f = fopen(path, "re");
			assert_non_null(f);
			assert_non_null(fgets(line, sizeof(line), f));
		}
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
		if (way == 0) {
			assert_false(hull_sandbox_running(&w->paths, "one"));
		} else {
			_cleanup_close_ int lock = hull_sandbox_lock(&w->paths, "one", &err);
			assert_true(lock >= 0);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

/* A place whose sockets would have too long a path is not used. */
static void test_long_runtime(void **state)
{
	struct world *w = *state;
	char *was = w->paths.runtime, longer[HULL_NAME_MAX + 1];
	memset(longer, 'n', HULL_NAME_MAX);
	longer[HULL_NAME_MAX] = '\0';
	w->paths.runtime = (char *)"/run/user/1000/hull";
	_cleanup_free_ char *fits = hull_runtime_path(&w->paths, longer, "control.sock");
	assert_true(strlen(fits) < 108 && hull_starts(fits, "/run/user/1000/hull/nnn"));
	w->paths.runtime = (char *)"/run/user/1000/rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr/hull";
	_cleanup_free_ char *moved = hull_runtime_path(&w->paths, longer, "control.sock");
	assert_true(strlen(moved) < 108 && hull_starts(moved, "/tmp/hull-"));
	_cleanup_free_ char *other = hull_runtime_path(&w->paths, longer + 1, "control.sock");
	assert_string_not_equal(moved, other);
	struct hull_error err;
	int fd = hull_sandbox_runtime(&w->paths, longer, &err);
	assert_true(fd >= 0);
	_cleanup_free_ char *dir = hull_runtime_path(&w->paths, longer, NULL);
	assert_int_equal(access(dir, F_OK), 0);
	close(fd);
	hull_sandbox_sweep(&w->paths, longer);
	assert_int_equal(access(dir, F_OK), -1);
	w->paths.runtime = was;
}

static void test_hostnames(void **state)
{
	static const char *const all[][2] = {
		{"web", "web"},     {"shell-my_project", "shell-my-project"},
		{"a__b", "a-b"},    {"a_", "a"},
		{"a.b.c", "a.b.c"}, {"a._b", "a-b"},
		{"a..b", "a-b"},    {"9-._-x", "9-x"},
		{"a.", "a"},        {"1.2_3", "1.2-3"},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		char out[HULL_NAME_MAX + 1];
		assert_int_equal(hull_name_check(all[i][0], NULL), 0);
		hull_hostname(all[i][0], out);
		assert_string_equal(out, all[i][1]);
	}
}

static int waits_fd;
static void say_waits(void *ctx)
{
	if (write(waits_fd, "w", 1) != 1)
		_exit(2);
}

static void not_called(void *ctx)
{
	fail();
}

/* Turns about one thing come one after the other, about two beside each other, and end with their holder. */
static void test_turns(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	char *one[] = {(char *)"shell", (char *)"/src/one", NULL}, *two[] = {(char *)"shell", (char *)"/src/two", NULL};
	int held = hull_turn_take(&w->paths, one, not_called, NULL, &err);
	_cleanup_close_ int other = hull_turn_take(&w->paths, two, NULL, NULL, &err);
	assert_true(held >= 0 && other >= 0);
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(held);
		waits_fd = fds[1];
		bool got = hull_turn_take(&w->paths, one, say_waits, NULL, &err) >= 0;
		_exit(got && write(fds[1], "g", 1) == 1 ? 0 : 1);
	}
	char c = 0;
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(c, 'w');
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 200), 0);
	close(held);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(c, 'g');
	int status = 1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	_cleanup_close_ int again = hull_turn_take(&w->paths, one, NULL, NULL, &err);
	assert_true(again >= 0);
	close(fds[0]);
	close(fds[1]);
}

static void test_names(void **state)
{
	struct hull_error err;
	char longest[HULL_NAME_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	longest[HULL_NAME_MAX + 1] = '\0';
	assert_int_equal(hull_name_check(longest, &err), -EINVAL);
	longest[HULL_NAME_MAX] = '\0';
	assert_int_equal(hull_name_check(longest, &err), 0);
	static const char *const bad[] = {"", ".", "..", "-a", ".a", "A", "a/b", "a b", "a\n", "\xc3\xa9", NULL};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(hull_name_check(bad[i], &err), -EINVAL);
	static const char *const from[][3] = {
		{"shell", "My Project", "shell-my-project"},
		{"shell", "a--b__c.d", "shell-a-b__c.d"},
		{"", "\xc3\xa9t\xc3\xa9", "t"},
		{"", "///", "sandbox"},
		{"claude", "", "claude"},
		{NULL, "x", "x"},
		{"a", "b---", "a-b"},
	};
	for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++) {
		_cleanup_free_ char *name = hull_name_from(from[i][0], from[i][1]);
		assert_string_equal(name, from[i][2]);
		assert_int_equal(hull_name_check(name, &err), 0);
	}
	_cleanup_free_ char *cut = hull_name_from("shell", longest);
	assert_int_equal(strlen(cut), HULL_NAME_MAX);
	assert_int_equal(hull_name_check(cut, &err), 0);
}

static void test_truth_and_ids(void **state)
{
	struct world *w = *state;
	static const char *const table[][3] = {
		/* written, lock free, lock held */
		{"created", "created", "starting"}, {"starting", "crashed", "starting"},
		{"running", "crashed", "running"},  {"stopped", "stopped", "starting"},
		{"crashed", "crashed", "starting"},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct hull_sandbox s = {.state = (char *)table[i][0]};
		assert_string_equal(hull_sandbox_truth(&s, false), table[i][1]);
		assert_string_equal(hull_sandbox_truth(&s, true), table[i][2]);
	}
	uid_t a = hull_sandbox_uid(&w->paths, "a");
	assert_int_equal(a, hull_sandbox_uid(&w->paths, "a"));
	assert_int_not_equal(a, hull_sandbox_uid(&w->paths, "b"));
	assert_in_range(a, HULL_UID_FIRST, HULL_UID_FIRST + (unsigned)HULL_UID_COUNT - 1);
}

static void test_runtime_dir_of_another(void **state)
{
	struct world *w = *state;
	struct hull_error err;
	_cleanup_free_ char *runtime = strdup(w->paths.runtime);
	struct hull_paths p = {0};
	assert_int_equal(chmod(runtime, 0755), 0); /* ours but open: closed */
	assert_int_equal(hull_paths_open(&p, &err), 0);
	hull_paths_free(&p);
	struct stat st;
	assert_int_equal(stat(runtime, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(rmdir(runtime), 0);
	assert_int_equal(symlink(w->dir, runtime), 0);
	assert_int_equal(hull_paths_open(&p, &err), -EPERM);
	assert_int_equal(unlink(runtime), 0);
}

/* A directory above one of ours that somebody else could rename it in. */
static void test_parents(void **state)
{
	static const char *const variables[] = {"HULL_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"};
	char base[] = "/tmp/hull-parents-XXXXXX";
	(void)state;
	assert_non_null(mkdtemp(base));
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		const char *now = getenv(variables[i]);
		_cleanup_free_ char *before = strdup(now ? now : "");
		_cleanup_free_ char *mine = hull_fmt("%s/mine", base), *deep = hull_fmt("%s/mine/deep", base);
		_cleanup_free_ char *link = hull_fmt("%s/mine/link", base), *through = hull_fmt("%s/mine/link/x", base);
		struct hull_error err = {0};
		struct hull_paths p;
		assert_int_equal(mkdir(mine, 0700), 0);
		setenv(variables[i], deep, 1);
		assert_int_equal(hull_paths_open(&p, &err), 0);
		hull_paths_free(&p);
		/* Open to all: refused, and named; with the sticky bit, as /tmp, not. */
		assert_int_equal(chmod(mine, 0777), 0);
		assert_int_equal(hull_paths_open(&p, &err), -EPERM);
		assert_non_null(strstr(err.msg, mine));
		assert_non_null(strstr(err.msg, variables[i]));
		assert_int_equal(chmod(mine, 01777), 0);
		assert_int_equal(hull_paths_open(&p, &err), 0);
		hull_paths_free(&p);
		/* A symlink in a directory that is open, to one that is not. */
		assert_int_equal(symlink(deep, link), 0);
		setenv(variables[i], through, 1);
		assert_int_equal(chmod(mine, 0777), 0);
		assert_int_equal(hull_paths_open(&p, &err), -EPERM);
		assert_int_equal(chmod(mine, 0700), 0);
		if (geteuid() == 0) {
			setenv(variables[i], deep, 1);
			assert_int_equal(chown(mine, 12345, 0), 0);
			assert_int_equal(hull_paths_open(&p, &err), -EPERM);
			assert_non_null(strstr(err.msg, "12345"));
			assert_int_equal(chown(mine, 0, 54321), 0);
			assert_int_equal(chmod(mine, 0770), 0);
			assert_int_equal(hull_paths_open(&p, &err), -EPERM);
			assert_int_equal(chown(mine, 0, 0), 0);
			assert_int_equal(hull_paths_open(&p, &err), 0);
			hull_paths_free(&p);
		}
		if (*before)
			setenv(variables[i], before, 1);
		else
			unsetenv(variables[i]);
		assert_int_equal(hull_remove_tree(AT_FDCWD, mine, NULL), 0);
	}
	assert_int_equal(rmdir(base), 0);
}

static void test_strv(void **state)
{
	char **v = hull_strv_copy(NULL);
	char word[16];
	for (int i = 0; i < 100; i++) {
		snprintf(word, sizeof(word), "%d", i);
		assert_int_equal(hull_strv_add(&v, word), 0);
	}
	char **copy = hull_strv_copy(v);
	assert_int_equal(hull_strv_add(&copy, "more"), 0);
	assert_int_equal(hull_strv_count(v), 100);
	assert_int_equal(hull_strv_count(copy), 101);
	assert_string_equal(copy[99], "99");
	hull_strv_free(v);
	hull_strv_free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_is_clone_of_seed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_may_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_create_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leftovers_are_swept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_space, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runtime, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dying_keeper, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_runtime, setup, teardown),
		cmocka_unit_test(test_hostnames),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_truth_and_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runtime_dir_of_another, setup, teardown),
		cmocka_unit_test(test_parents),
		cmocka_unit_test(test_strv),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}

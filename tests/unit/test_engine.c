/* SPDX-License-Identifier: Apache-2.0 */
/* The QEMU engine against a QEMU of our own making (fake_qemu.c), which dies, hangs, lies and floods on demand; and
 * the parts that need no process: the command line and the capped log. */
#include "engine/qemu_internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "engine/machine.h"
#include "jail/jail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char work[64], jaildir[96], image[96];
static char fake[PATH_MAX];

static int setup(void **state)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	(void)state;
	assert_true(n > 0);
	self[n] = '\0';
	assert_true(snprintf(fake, sizeof(fake), "%s/fake-qemu", dirname(self)) < (int)sizeof(fake));
	snprintf(work, sizeof(work), "/tmp/hull-engine-XXXXXX");
	assert_non_null(mkdtemp(work));
	chmod(work, 0755);
	snprintf(jaildir, sizeof(jaildir), "%s/jail", work);
	snprintf(image, sizeof(image), "%s/image", work);
	assert_int_equal(mkdir(jaildir, 0700), 0);
	int fd = open(image, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	setenv("HULL_QEMU", fake, 1);
	return 0;
}

/* rmdir works only if nothing was left in the jail's directory or mounted on it. */
static int teardown(void **state)
{
	(void)state;
	unlink(image);
	return rmdir(jaildir) || rmdir(work);
}

static const struct hull_probe no_kvm;

static struct hull_engine_config config_for(const char *cmdline)
{
	return (struct hull_engine_config){.kind = HULL_ENGINE_AUTO,
					   .probe = &no_kvm,
					   .name = "test",
					   .cpus = 1,
					   .memory = 128 << 20,
					   .kernel = image,
					   .initrd = image,
					   .cmdline = cmdline,
					   .serial_log_fd = -1,
					   .stderr_log_fd = -1,
					   .jail_dir = jaildir,
					   .drop_uid = 65533,
					   .drop_gid = 65533};
}

/* What the events told. */
struct seen {
	enum hull_engine_state states[16];
	size_t n;
	char trouble[512];
	size_t kept, grown;
	char kept_error[256];
};

static void on_state(void *ctx, enum hull_engine_state s)
{
	struct seen *seen = ctx;
	if (seen->n < 16)
		seen->states[seen->n++] = s;
}

static void on_trouble(void *ctx, const char *text)
{
	struct seen *seen = ctx;
	snprintf(seen->trouble, sizeof(seen->trouble), "%s", text);
}

static void on_kept(void *ctx, const char *error)
{
	struct seen *seen = ctx;
	seen->kept++;
	snprintf(seen->kept_error, sizeof(seen->kept_error), "%s", error ? error : "");
}

static void on_grown(void *ctx, const char *error)
{
	struct seen *seen = ctx;
	seen->grown++;
	snprintf(seen->kept_error, sizeof(seen->kept_error), "%s", error ? error : "");
}

static const struct hull_engine_events events = {
	.state = on_state, .trouble = on_trouble, .kept = on_kept, .grown = on_grown};

static struct hull_engine *start(const struct hull_engine_config *config, struct seen *seen)
{
	struct hull_engine *e = NULL;
	struct hull_error err = {0};
	*seen = (struct seen){0};
	if (hull_engine_start(config, &events, seen, &e, &err) < 0)
		fail_msg("start: %s", err.msg);
	return e;
}

static void turn(struct hull_engine *e)
{
	int fd;
	assert_int_equal(hull_engine_fds(e, &fd, 1), 1);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 60000), 1);
	hull_engine_dispatch(e);
}

/* Run until the state has been seen (for the count-th event). */
static void run_to(struct hull_engine *e, struct seen *seen, size_t count, enum hull_engine_state state)
{
	while (seen->n < count)
		turn(e);
	assert_int_equal(seen->states[count - 1], state);
}

/* Start a fake that ends by itself (or is ended); its outcome. */
static int end_of(const char *cmdline, struct seen *seen, struct hull_error *err)
{
	struct hull_engine_config config = config_for(cmdline);
	struct hull_engine *e = start(&config, seen);
	run_to(e, seen, 1, HULL_ENGINE_STOPPED);
	int r = hull_engine_outcome(e, err);
	hull_engine_free(e);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* reaped */
	return r;
}

static void test_bad_ends(void **state)
{
	(void)state;
	struct seen seen;
	struct hull_error err;
	assert_int_equal(end_of("fake=dies", &seen, &err), -EIO);
	assert_string_equal(err.msg, "QEMU exited with code 3: fake: first line | fake: cannot find the \\x1b[1mthing");
	assert_int_equal(end_of("fake=garbage", &seen, &err), -EPROTO);
	assert_int_equal(end_of("fake=endless", &seen, &err), -EPROTO);
	assert_int_equal(end_of("fake=old", &seen, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "QEMU 5.2 is too old"));
	assert_int_equal(end_of("fake=crash", &seen, &err), -EIO);
	assert_non_null(strstr(err.msg, "fake: about to crash"));
}

static void test_hang(void **state)
{
	(void)state;
	struct seen seen;
	struct hull_error err;
	struct hull_engine_config config = config_for("fake=hang");
	struct hull_engine *e = start(&config, &seen);
	assert_int_equal(hull_engine_outcome(e, &err), -EBUSY);
	hull_qemu_set_patience(e, 1);
	run_to(e, &seen, 1, HULL_ENGINE_STOPPED);
	assert_int_equal(hull_engine_outcome(e, &err), -ETIMEDOUT);
	assert_int_equal(hull_engine_pause(e, &err), -ESRCH);
	hull_engine_free(e);
}

static void test_kill_and_free(void **state)
{
	(void)state;
	struct seen seen;
	struct hull_error err;
	struct hull_engine_config config = config_for("fake=hang");
	struct hull_engine *e = start(&config, &seen);
	hull_engine_kill(e);
	run_to(e, &seen, 1, HULL_ENGINE_STOPPED);
	assert_int_equal(hull_engine_outcome(e, &err), -ECANCELED);
	hull_engine_free(e);
	e = start(&config, &seen);
	pid_t pid = hull_engine_pid(e);
	uint64_t bytes = 0;
	assert_int_equal(hull_engine_memory(e, &bytes), 0);
	assert_true(bytes > 0);
	hull_engine_free(e);
	assert_int_equal(kill(pid, 0), -1);
}

static void test_life(void **state)
{
	(void)state;
	struct seen seen;
	struct hull_error err;
	char got[6] = {0};
	struct hull_engine_config config = config_for("fake=good");
	struct hull_engine *e = start(&config, &seen);
	assert_string_equal(hull_engine_accel(e), "tcg");
	run_to(e, &seen, 1, HULL_ENGINE_RUNNING);
	assert_string_equal(hull_engine_describe(e), "qemu 10.1.3 (tcg)");
	struct pollfd p = {.fd = hull_engine_wire_fd(e), .events = POLLIN};
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(read(p.fd, got, 5), 5);
	assert_string_equal(got, "hello");
	assert_int_equal(hull_engine_pause(e, &err), 0);
	run_to(e, &seen, 2, HULL_ENGINE_PAUSED);
	assert_int_equal(hull_engine_resume(e, &err), 0);
	run_to(e, &seen, 3, HULL_ENGINE_RUNNING);
	assert_non_null(strstr(seen.trouble, "disk is full"));
	assert_int_equal(write(p.fd, "howdy", 5), 5);
	run_to(e, &seen, 4, HULL_ENGINE_STOPPED);
	err.msg[0] = '\0';
	if (hull_engine_outcome(e, &err) != 0)
		fail_msg("%s", err.msg);
	hull_engine_free(e);
}

/* A restored machine stands still when it is loaded; a disk is kept and no more; neither out of its turn. */
static void test_restore_and_keep(void **state)
{
	(void)state;
	struct seen seen;
	struct hull_error err;
	char path[128];
	snprintf(path, sizeof(path), "%s/saved", work);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, "state", 5) == 5);
	struct hull_engine_restore from = {.memory_fd = fd, .device_fd = fd, .shim = image};
	struct hull_engine_config config = config_for("");
	config.restore = &from;
	struct hull_engine *e = start(&config, &seen);
	assert_int_equal(hull_engine_keep_begin(e, 1, fd, &err), -EBUSY);
	run_to(e, &seen, 1, HULL_ENGINE_PAUSED);
	assert_int_equal(hull_engine_keep_end(e, &err), -ESRCH);
	assert_int_equal(hull_engine_keep_begin(e, 1, fd, &err), 0);
	assert_int_equal(hull_engine_keep_begin(e, 1, fd, &err), -EBUSY);
	while (!seen.kept)
		turn(e);
	assert_string_equal(seen.kept_error, "");
	assert_int_equal(hull_engine_resume(e, &err), 0);
	run_to(e, &seen, 2, HULL_ENGINE_RUNNING);
	assert_int_equal(hull_engine_disk_grow(e, 1, 1000, &err), -EINVAL);
	assert_int_equal(hull_engine_disk_grow(e, 1, 1 << 20, &err), 0);
	assert_int_equal(hull_engine_disk_grow(e, 1, 2 << 20, &err), -EBUSY);
	while (!seen.grown)
		turn(e);
	assert_string_equal(seen.kept_error, "");
	assert_int_equal(hull_engine_keep_end(e, &err), 0);
	assert_int_equal(hull_engine_keep_end(e, &err), -ESRCH);
	while (seen.kept < 2)
		turn(e);
	assert_string_equal(seen.kept_error, "");
	hull_engine_kill(e);
	run_to(e, &seen, 3, HULL_ENGINE_STOPPED);
	assert_int_equal(hull_engine_keep_end(e, &err), -ESRCH);
	hull_engine_free(e);
	close(fd);
	unlink(path);
}

static void test_serial_flood(void **state)
{
	(void)state;
	struct seen seen;
	struct hull_error err;
	struct stat st;
	char path[128], tail[64];
	snprintf(path, sizeof(path), "%s/serial.log", work);
	int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	struct hull_engine_config config = config_for("fake=flood");
	config.serial_log_fd = fd;
	struct hull_engine *e = start(&config, &seen);
	run_to(e, &seen, 1, HULL_ENGINE_STOPPED);
	assert_int_equal(hull_engine_outcome(e, &err), -EIO);
	assert_string_equal(err.msg, "the guest's kernel panicked: no \\x1b[31mroot");
	assert_string_equal(seen.trouble, err.msg);
	hull_engine_free(e);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > HULL_LOG_KEEP && st.st_size <= HULL_LOG_LIMIT);
	int in = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(in, tail, 10, st.st_size - 10), 10);
	assert_memory_equal(tail, "last line\n", 10);
	close(in);
	close(fd);
	unlink(path);
}

/* The engine goes with the process that started it. */
static void test_parent_death(void **state)
{
	(void)state;
	int p[2];
	pid_t vm = 0;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid_t helper = fork();
	if (helper == 0) {
		struct seen seen;
		struct hull_engine *e = NULL;
		struct hull_engine_config config = config_for("fake=hang");
		if (hull_engine_start(&config, &events, &seen, &e, NULL) < 0)
			_exit(1);
		vm = hull_engine_pid(e);
		if (write(p[1], &vm, sizeof(vm)) != sizeof(vm))
			_exit(2);
		pause();
		_exit(0);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &vm, sizeof(vm)), sizeof(vm));
	close(p[0]);
	struct pollfd dead = {.fd = (int)syscall(SYS_pidfd_open, vm, 0), .events = POLLIN};
	assert_true(dead.fd >= 0);
	kill(helper, SIGKILL);
	waitpid(helper, NULL, 0);
	assert_int_equal(poll(&dead, 1, 60000), 1);
	close(dead.fd);
}

static void test_refusals(void **state)
{
	(void)state;
	struct hull_engine *e = NULL;
	struct hull_error err;
	struct seen seen = {0};
	struct hull_engine_config config = config_for("fake=hang");
	config.memory = 3 << 20;
	assert_int_equal(hull_engine_start(&config, &events, &seen, &e, &err), -EINVAL);
	config = config_for("fake=hang");
	config.kind = HULL_ENGINE_KVM;
	assert_int_equal(hull_engine_start(&config, &events, &seen, &e, &err), -ENOTSUP);
	config = config_for("fake=hang");
	config.kernel = "/nowhere/vmlinux";
	assert_int_equal(hull_engine_start(&config, &events, &seen, &e, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nowhere/vmlinux"));

	/* A disk to be written to must be open for it. */
	int fd = open(image, O_RDONLY | O_CLOEXEC);
	config = config_for("fake=hang");
	config.disks[0] = (struct hull_disk){.fd = fd, .serial = "disk"};
	config.disk_count = 1;
	assert_int_equal(hull_engine_start(&config, &events, &seen, &e, &err), -EBADF);
	close(fd);

	char version[32];
	assert_int_equal(hull_engine_qemu_version(version, sizeof(version), &err), 0);
	assert_string_equal(version, "10.1.3");

	/* No QEMU. */
	config = config_for("fake=hang");
	setenv("HULL_QEMU", "/nowhere/qemu", 1);
	assert_int_equal(hull_engine_start(&config, &events, &seen, &e, &err), -ENOENT);
	assert_int_equal(hull_engine_qemu_version(version, sizeof(version), &err), -ENOENT);
	unsetenv("HULL_QEMU");
	const char *path = getenv("PATH");
	_cleanup_free_ char *saved = path ? strdup(path) : NULL;
	setenv("PATH", "/nowhere", 1);
	assert_int_equal(hull_engine_start(&config, &events, &seen, &e, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "apt-get install qemu-system-x86"));
	setenv("PATH", saved ? saved : "/usr/bin:/bin", 1);
	setenv("HULL_QEMU", fake, 1);
	assert_int_equal(seen.n, 0);
}

static bool any(char **argv, const char *part)
{
	for (; *argv; argv++)
		if (strstr(*argv, part))
			return true;
	return false;
}

static void test_command_line(void **state)
{
	(void)state;
	struct hull_qemu_fds fds = {.wire = 10, .qmp = 11, .serial = 12, .disks = {13, 14, -1, -1}};
	struct hull_engine_config config = config_for("quiet");
	config.name = "a,b";
	config.disks[0] = (struct hull_disk){.readonly = true, .serial = "base"};
	config.disks[1] = (struct hull_disk){.serial = "x,y"};
	config.disk_count = 2;
	char **argv = hull_qemu_args("/usr/bin/qemu", &config, false, &fds);
	assert_non_null(argv);
	assert_true(any(argv, "tcg") && any(argv, "Nehalem") && any(argv, "mitigations=off"));
	assert_true(any(argv, "maxcpus=1"));
	assert_true(any(argv, "guest=a,,b,") && any(argv, "serial=x,,y,"));
	assert_true(any(argv, "fd=13,set=1") && any(argv, "fd=14,set=2"));
	hull_argv_free(&argv);
	argv = hull_qemu_args("/usr/bin/qemu", &config, true, &fds);
	assert_non_null(argv);
	assert_false(any(argv, "tcg") || any(argv, "Nehalem") || any(argv, "mitigations") || any(argv, "maxcpus"));
	assert_true(any(argv, "kvm") && any(argv, "host"));
	hull_argv_free(&argv);
}

static bool same_arguments(const struct hull_engine_config *a, const struct hull_engine_config *b, bool kvm)
{
	_cleanup_free_ char *x = hull_engine_arguments(a, kvm);
	_cleanup_free_ char *y = hull_engine_arguments(b, kvm);
	assert_non_null(x);
	assert_non_null(y);
	return strcmp(x, y) == 0;
}

/* What a template's key follows from: it changes with the kernel's command line, the devices and the accelerator, and
 * with nothing that differs between sandboxes of one shape. */
static void test_arguments_of_a_shape(void **state)
{
	(void)state;
	struct hull_machine m = {.cpus = 2, .memory = (512 << 20) + 1, .base_fd = 3, .disk_fd = 4};
	struct hull_engine_config config = {.name = "one", .kernel = "/one", .initrd = "/one"};
	hull_machine_config(&m, &config);
	assert_int_equal(config.memory, 512 << 20);
	struct hull_engine_config other = config;
	other.name = "two";
	other.kernel = other.initrd = "/two";
	other.disks[1].fd = 9;
	assert_true(same_arguments(&config, &other, false));
	_cleanup_free_ char *longer = hull_fmt("%s more", config.cmdline);
	other.cmdline = longer;
	assert_false(same_arguments(&config, &other, false));
	assert_false(same_arguments(&config, &other, true));
	other = config;
	other.disk_count = 1;
	assert_false(same_arguments(&config, &other, false));
	other = config;
	other.cpus++;
	assert_false(same_arguments(&config, &other, false));

	_cleanup_free_ char *tcg = hull_machine_describe(&m, false);
	_cleanup_free_ char *kvm = hull_machine_describe(&m, true);
	m.no_docker = true;
	_cleanup_free_ char *without = hull_machine_describe(&m, false);
	assert_non_null(strstr(tcg, config.cmdline));
	assert_non_null(strstr(tcg, "virtio-balloon"));
	assert_string_not_equal(tcg, kvm);
	assert_string_not_equal(tcg, without);
	assert_non_null(strstr(without, "hull.docker=0"));
}

/* Damaged, foreign and stale caches are measured anew, not believed. */
static void test_probe_cache(void **state)
{
	(void)state;
	struct hull_probe fresh, got;
	char path[128];
	snprintf(path, sizeof(path), "%s/probe", work);
	hull_engine_probe_cached(work, &fresh);
	assert_true(fresh.reason[0]);
	assert_true(!fresh.kvm_usable || fresh.ns_per_instr > 0);
	static const char *const bad[] = {"", "{", "[]", "{\"for\": 3}",
					  "{\"for\": \"x\", \"usable\": true, \"ns\": 0.5, \"reason\": \"lies\"}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, bad[i], strlen(bad[i]), 0600, NULL), 0);
		hull_engine_probe_cached(work, &got);
		assert_int_equal(got.kvm_usable, fresh.kvm_usable);
		assert_null(strstr(got.reason, "lies"));
	}
	if (fresh.kvm_opens && fresh.ns_per_instr > 0) {
		hull_engine_probe_cached(work, &fresh);
		hull_engine_probe_cached(work, &got); /* remembered: to the last digit */
		assert_string_equal(got.reason, fresh.reason);
	}
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_ends),         cmocka_unit_test(test_hang),
		cmocka_unit_test(test_kill_and_free),    cmocka_unit_test(test_life),
		cmocka_unit_test(test_restore_and_keep), cmocka_unit_test(test_serial_flood),
		cmocka_unit_test(test_parent_death),     cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_command_line),     cmocka_unit_test(test_arguments_of_a_shape),
		cmocka_unit_test(test_probe_cache),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

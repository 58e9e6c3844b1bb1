/* SPDX-License-Identifier: Apache-2.0 */
/* The jail, seen from inside: small functions run in a jailed child and tell by their exit code what they could do.
 * Every check runs in both modes, namespaces and Landlock, with the expectations each can meet. */
#include "jail/jail_internal.h"

#include "base/cleanup.h"
#include "base/sanitizer.h"
#include "base/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const uint64_t DATA_MAX = HULL_ASAN ? 1ULL << 46 : 256 << 20;
static char work[64]; /* a temporary directory; work/jail is the jail's, work/data is bound */
static char jaildir[96];
static char datadir[96];
static char secret[96]; /* a file outside every bind */
static bool have_namespaces, have_landlock;

static int setup(void **state)
{
	(void)state;
	struct hull_jail_ability ability;
	snprintf(work, sizeof(work), "/tmp/hull-jail-XXXXXX");
	assert_non_null(mkdtemp(work));
	chmod(work, 0755);
	snprintf(jaildir, sizeof(jaildir), "%s/jail", work);
	snprintf(datadir, sizeof(datadir), "%s/data", work);
	snprintf(secret, sizeof(secret), "%s/secret", work);
	assert_int_equal(mkdir(jaildir, 0700), 0);
	assert_int_equal(mkdir(datadir, 0777), 0);
	chmod(datadir, 0777);
	int fd = open(secret, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	hull_jail_probe(&ability);
	have_namespaces = ability.user_namespaces;
	have_landlock = ability.landlock;
	if (ability.missing[0])
		print_message("# missing here: %s\n", ability.missing);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(secret);
	rmdir(jaildir);
	char f[128];
	snprintf(f, sizeof(f), "%s/made", datadir);
	unlink(f);
	rmdir(datadir);
	return rmdir(work);
}

static struct hull_jail plain(int (*entry)(void *), void *arg)
{
	return (struct hull_jail){.dir = jaildir,
				  .stdin_fd = -1,
				  .stdout_fd = -1,
				  .stderr_fd = 2,
				  .entry = entry,
				  .arg = arg,
				  .drop_uid = 65533,
				  .drop_gid = 65533};
}

/* Wait and return the exit code, or 1000 + signal. */
static int wait_for(struct hull_jailed *c)
{
	int status;
	while (waitpid(c->pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	close(c->pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int run(const struct hull_jail *jail, enum hull_jail_mode mode)
{
	struct hull_jailed c;
	struct hull_error err = {0};
	if (hull_jail_start_mode(jail, mode, &c, &err) < 0)
		fail_msg("start: %s", err.msg);
	return wait_for(&c);
}

/* Both modes, as far as the host has them. */
static void expect(const struct hull_jail *jail, int in_namespaces, int in_landlock)
{
	if (have_namespaces && in_namespaces >= 0)
		assert_int_equal(run(jail, HULL_JAIL_NAMESPACES), in_namespaces);
	if (have_landlock && in_landlock >= 0)
		assert_int_equal(run(jail, HULL_JAIL_LANDLOCK), in_landlock);
}

static int exit_with(void *arg)
{
	return *(int *)arg;
}

static void test_exit_code(void **state)
{
	(void)state;
	int code = 42;
	struct hull_jail jail = plain(exit_with, &code);
	expect(&jail, 42, 42);
}

/* --- files --- */

static int can_open(void *arg)
{
	int fd = open(arg, O_RDONLY);
	return fd >= 0 ? 0 : errno;
}

static int root_listing(void *arg)
{
	DIR *d = opendir("/");
	if (!d)
		return 200;
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "dev") != 0)
			return 1;
	(void)arg;
	return 0;
}

static int can_write(void *arg)
{
	int fd = open(arg, O_WRONLY | O_CREAT, 0600);
	return fd >= 0 && write(fd, "x", 1) == 1 ? 0 : errno;
}

static void test_files(void **state)
{
	(void)state;
	char made[128];
	snprintf(made, sizeof(made), "%s/made", datadir);
	struct hull_jail jail = plain(can_open, secret);
	expect(&jail, ENOENT, EACCES);
	jail.arg = (void *)"/etc/passwd";
	expect(&jail, ENOENT, EACCES);
	jail = plain(root_listing, NULL);
	expect(&jail, 0, 200);

	/* Read-only, then writable. */
	struct hull_bind binds[] = {{.source = datadir, .target = datadir},
				    {.source = "/nowhere/at/all", .target = "/nowhere/at/all", .optional = true}};
	jail = plain(can_write, made);
	jail.binds = binds;
	jail.bind_count = 2;
	expect(&jail, EROFS, EACCES);
	binds[0].writable = true;
	expect(&jail, 0, 0);
	unlink(made);

	/* Nothing can be made in the root itself. */
	jail = plain(can_write, (void *)"/file");
	expect(&jail, EROFS, EACCES);
	jail = plain(can_write, (void *)"/dev/null");
	expect(&jail, 0, 0);
}

static void test_bind_errors(void **state)
{
	(void)state;
	struct hull_jailed c;
	struct hull_error err = {0};
	int code = 0;
	struct hull_bind bind = {.source = "/nowhere/at/all", .target = "/nowhere/at/all"};
	struct hull_jail jail = plain(exit_with, &code);
	jail.binds = &bind;
	jail.bind_count = 1;
	assert_int_equal(hull_jail_start(&jail, &c, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nowhere/at/all"));
	if (have_landlock) {
		bind = (struct hull_bind){.source = datadir, .target = "/data"};
		assert_int_equal(hull_jail_start_mode(&jail, HULL_JAIL_LANDLOCK, &c, &err), -EXDEV);
	}
	/* The bind that holds the jail's own directory does not hold the new root. */
	bind = (struct hull_bind){.source = work, .target = "/work"};
	jail.entry = can_open;
	jail.arg = (void *)"/work/jail/dev";
	expect(&jail, geteuid() == 0 ? EACCES : ENOENT, -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie of the failed ones */
}

/* A source that others may put something else in place of: what it has to be is open, and no symlink leads to it. */
static void test_pinned_source(void **state)
{
	(void)state;
	char real[128], inner[160], link_[128], through[160];
	snprintf(real, sizeof(real), "%s/real", datadir);
	snprintf(inner, sizeof(inner), "%s/inner", real);
	snprintf(link_, sizeof(link_), "%s/link", datadir);
	snprintf(through, sizeof(through), "%s/inner", link_);
	assert_int_equal(mkdir(real, 0755), 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	assert_int_equal(symlink(real, link_), 0);
	_cleanup_close_ int fd = open(inner, O_PATH | O_CLOEXEC);
	_cleanup_close_ int other = open(real, O_PATH | O_CLOEXEC);
	assert_true(fd > 0 && other > 0);

	int code = 7;
	struct hull_jailed c;
	struct hull_error err = {0};
	struct hull_bind bind = {.source = inner, .target = inner, .fd = fd};
	struct hull_jail jail = plain(exit_with, &code);
	jail.binds = &bind;
	jail.bind_count = 1;
	expect(&jail, 7, 7);
	for (int mode = HULL_JAIL_NAMESPACES; mode <= HULL_JAIL_LANDLOCK; mode++) {
		if (mode == HULL_JAIL_NAMESPACES ? !have_namespaces : !have_landlock)
			continue;
		bind = (struct hull_bind){.source = inner, .target = inner, .fd = other};
		assert_int_equal(hull_jail_start_mode(&jail, mode, &c, &err), -ESTALE);
		bind = (struct hull_bind){.source = through, .target = through, .fd = fd};
		assert_int_equal(hull_jail_start_mode(&jail, mode, &c, &err), -ELOOP);
		bind = (struct hull_bind){.source = link_, .target = link_, .fd = other};
		assert_int_equal(hull_jail_start_mode(&jail, mode, &c, &err), -ELOOP);
	}
	unlink(link_);
	rmdir(inner);
	rmdir(real);
}

/* --- processes, network, privileges --- */

static int lonely(void *arg)
{
	pid_t outside = *(pid_t *)arg;
	if (kill(outside, 0) == 0 || kill(outside, SIGKILL) == 0)
		return 1;
	return getppid() == 0 && getpid() == 1 ? 0 : 2;
}

static void test_processes(void **state)
{
	(void)state;
	pid_t victim = fork();
	if (victim == 0) {
		pause();
		_exit(0);
	}
	/* Of the same user, so that only the jail stands between. */
	struct hull_jail jail = plain(lonely, &victim);
	expect(&jail, 0, 2);
	assert_int_equal(waitpid(victim, NULL, WNOHANG), 0);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
}

static int no_network(void *arg)
{
	(void)arg;
	struct if_nameindex *all = if_nameindex();
	for (struct if_nameindex *i = all; i && i->if_index; i++)
		if (strcmp(i->if_name, "lo") != 0)
			return 1;
	/* Not only what a network namespace holds: AF_VSOCK is in none. */
	static const int families[] = {AF_INET, AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG};
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
		if (socket(families[f], SOCK_STREAM, 0) >= 0 || errno != EACCES)
			return 2;
	int pair[2];
	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? 3 : 4;
}

/* The child with the network: the internet's families, and the two that libc's resolver asks. */
static int some_network(void *arg)
{
	(void)arg;
	for (int family = 0; family < 64; family++) {
		int fd = socket(family, family == AF_NETLINK ? SOCK_RAW : SOCK_DGRAM, 0);
		bool ours = family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
		if (ours ? fd < 0 && errno != EAFNOSUPPORT : fd >= 0 || errno != EPERM)
			return 1 + family;
		if (fd >= 0)
			close(fd);
	}
	/* The kernel looks at the lower half of the register. */
	return syscall(SYS_socket, (1UL << 32) | AF_VSOCK, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : 100;
}

static void test_network(void **state)
{
	(void)state;
	struct hull_jail jail = plain(no_network, NULL);
	expect(&jail, 3, 3);
	jail = plain(some_network, NULL);
	jail.need_net = true;
	expect(&jail, 0, 0);
}

/* --- how many --- */

static void *nothing(void *arg)
{
	return arg;
}

static int threads_only(void *arg)
{
	pthread_t t;
	(void)arg;
	if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
		return 1;
	if (fork() >= 0 || errno != EPERM || syscall(SYS_vfork) >= 0 || errno != EPERM)
		return 2;
	return syscall(SYS_clone, CLONE_VM | SIGCHLD, NULL, NULL, NULL, 0) < 0 && errno == EPERM ? 0 : 3;
}

static void *linger_on(void *arg)
{
	pause();
	return arg;
}

/* The number of threads that could be had besides the first, up to 20. With a limit of 8 that is 7, or 6 while the
 * process that entered the namespaces has not been waited for. */
static int count_threads(void *arg)
{
	pthread_t t;
	int n = 0;
	(void)arg;
	while (n < 20 && pthread_create(&t, NULL, linger_on, NULL) == 0)
		n++;
	return n == 6 ? 7 : n;
}

static void test_multitude(void **state)
{
	(void)state;
	struct hull_jail jail = plain(threads_only, NULL);
	jail.threads_only = true;
	expect(&jail, 0, 0);
	jail = plain(count_threads, NULL);
	jail.rlimit_nproc = 8;
	jail.own_id = true;
	jail.drop_uid = 1800000000 + (uid_t)getpid(); /* nobody else's: other runs of this test count, too */
	/* Without root it takes a user namespace to be counted alone (Linux 5.14). */
	expect(&jail, 7, geteuid() == 0 ? 7 : 20);
	/* An id that others have, too, is not limited by what they run. */
	if (geteuid() == 0) {
		jail.own_id = false;
		expect(&jail, 20, 20);
	}
}

static int powerless(void *arg)
{
	(void)arg;
	struct hull_buf b = {0};
	if (hull_read_file(AT_FDCWD, "/proc/self/status", 65536, &b, NULL) < 0)
		return 77;
	const char *text = (const char *)hull_buf_bytes(&b);
	static const char *const lines[] = {"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
					    "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!strstr(text, lines[i]))
			return 1 + (int)i;
	return strstr(text, "CapBnd:\t0000000000000000") ? 0 : 20;
}

static int regain(void *arg)
{
	(void)arg;
	if (geteuid() == 0 || getegid() == 0)
		return 1;
	if (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0)
		return 2;
	if (unshare(CLONE_NEWUSER) == 0 || unshare(CLONE_NEWNS) == 0)
		return 3;
	if (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0)
		return 4;
	if (mount("x", "/", "tmpfs", 0, NULL) == 0 || chroot("/") == 0)
		return 5;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 6;
	struct rlimit l;
	if (getrlimit(RLIMIT_DATA, &l) < 0 || l.rlim_max != DATA_MAX)
		return 30;
	void *much = mmap(NULL, 2 * DATA_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (much != MAP_FAILED || errno != ENOMEM)
		return 31;
	if (getrlimit(RLIMIT_CORE, &l) < 0 || l.rlim_max != 0)
		return 7;
	char cwd[8];
	if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, "/") != 0)
		return 9;
	return getsid(0) == getpid() ? 0 : 8;
}

static void test_privileges(void **state)
{
	(void)state;
	struct hull_jail jail = plain(powerless, NULL);
	jail.need_proc = true;
	if (have_namespaces) {
		int r = run(&jail, HULL_JAIL_NAMESPACES);
		assert_true(r == 0 || r == 77); /* 77: the host lends no /proc */
	}
	if (have_landlock) /* only root can empty the bounding set there */
		assert_int_equal(run(&jail, HULL_JAIL_LANDLOCK), geteuid() == 0 ? 0 : 20);
	jail = plain(regain, NULL);
	jail.rlimit_data = DATA_MAX;
	expect(&jail, 0, 0);
}

/* --- descriptors --- */

struct fds {
	int kept;
	int other;
};

static int only_listed(void *arg)
{
	const struct fds *f = arg;
	if (fcntl(f->kept, F_GETFD) != 0) /* open, and not close-on-exec */
		return 1;
	if (write(f->kept, "here", 4) != 4)
		return 2;
	for (int fd = 0; fd < 4096; fd++) {
		bool open = fcntl(fd, F_GETFD) >= 0;
		if (open != (fd <= 2 || fd == f->kept))
			return 3;
	}
	return 0;
}

static void test_descriptors(void **state)
{
	(void)state;
	int p[2];
	char got[8];
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	struct fds f = {.kept = fcntl(p[1], F_DUPFD_CLOEXEC, 500), .other = fcntl(p[1], F_DUPFD, 600)};
	struct hull_jail jail = plain(only_listed, &f);
	jail.fds = &f.kept;
	jail.fd_count = 1;
	expect(&jail, 0, -1);
	if (have_namespaces)
		assert_int_equal(read(p[0], got, 4), 4);
	expect(&jail, -1, 0);
	struct hull_jailed c;
	struct hull_error err;
	int bad = 999;
	jail.fds = &bad;
	assert_int_equal(hull_jail_start(&jail, &c, &err), -EBADF);
	close(p[0]);
	close(p[1]);
	close(f.kept);
	close(f.other);
}

/* --- programs --- */

static const struct hull_bind system_binds[] = {
	{.source = "/usr", .target = "/usr"},
	{.source = "/bin", .target = "/bin", .optional = true},
	{.source = "/lib", .target = "/lib", .optional = true},
	{.source = "/lib64", .target = "/lib64", .optional = true},
};

static void read_all(int fd, char *out, size_t cap)
{
	ssize_t n = hull_read_full(fd, out, cap - 1);
	assert_true(n >= 0);
	out[n] = '\0';
}

static void test_exec(void **state)
{
	(void)state;
	for (int mode = HULL_JAIL_NAMESPACES; mode <= HULL_JAIL_LANDLOCK; mode++) {
		if (!(mode == HULL_JAIL_NAMESPACES ? have_namespaces : have_landlock))
			continue;
		int p[2];
		char got[256];
		char *const argv[] = {"/usr/bin/env", NULL};
		char *const envp[] = {"ONLY=this", NULL};
		struct hull_jailed c;
		struct hull_error err = {0};
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		struct hull_jail jail = plain(NULL, NULL);
		jail.argv = argv;
		jail.envp = envp;
		jail.binds = system_binds;
		jail.bind_count = 4;
		jail.stdout_fd = p[1];
		if (hull_jail_start_mode(&jail, mode, &c, &err) < 0)
			fail_msg("%s", err.msg);
		close(p[1]);
		read_all(p[0], got, sizeof(got));
		close(p[0]);
		assert_string_equal(got, "ONLY=this\n");
		assert_int_equal(wait_for(&c), 0);

		/* What is not there cannot be run, and start says so. */
		char *const missing[] = {"/usr/bin/no-such-program", NULL};
		jail.argv = missing;
		jail.stdout_fd = -1;
		assert_int_equal(hull_jail_start_mode(&jail, mode, &c, &err), -ENOENT);
		assert_non_null(strstr(err.msg, "no-such-program"));
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	}
}

static int refuse_filter(void *arg, struct hull_error *err)
{
	(void)arg;
	return hull_fail(err, -EPERM, "no filter today");
}

static void test_bad_requests(void **state)
{
	(void)state;
	struct hull_jailed c;
	struct hull_error err = {0};
	int code = 0;
	struct hull_jail jail = plain(exit_with, &code);
	jail.seccomp = refuse_filter;
	assert_int_equal(hull_jail_start(&jail, &c, &err), -EPERM);
	assert_non_null(strstr(err.msg, "no filter today"));
	jail = plain(NULL, NULL);
	assert_int_equal(hull_jail_start(&jail, &c, &err), -EINVAL);
	if (geteuid() == 0) {
		jail = plain(exit_with, &code);
		jail.drop_uid = 0;
		assert_int_equal(hull_jail_start(&jail, &c, &err), -EINVAL);
	}
}

/* --- death of the parent --- */

static int linger(void *arg)
{
	(void)arg;
	return pause();
}

/* A helper process starts a jail, sends its pid, and is killed. The jailed process must go with it. */
static void parent_death(enum hull_jail_mode mode)
{
	int p[2];
	pid_t jailed = 0;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid_t helper = fork();
	if (helper == 0) {
		struct hull_jail jail = plain(linger, NULL);
		struct hull_jailed c;
		jail.stderr_fd = -1;
		if (hull_jail_start_mode(&jail, mode, &c, NULL) < 0)
			_exit(1);
		if (write(p[1], &c.pid, sizeof(c.pid)) != sizeof(c.pid))
			_exit(2);
		pause();
		_exit(0);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &jailed, sizeof(jailed)), sizeof(jailed));
	close(p[0]);
	struct pollfd dead = {.fd = (int)syscall(SYS_pidfd_open, jailed, 0), .events = POLLIN};
	assert_true(dead.fd >= 0);
	assert_int_equal(poll(&dead, 1, 0), 0);
	kill(helper, SIGKILL);
	waitpid(helper, NULL, 0);
	assert_int_equal(poll(&dead, 1, 20000), 1);
	close(dead.fd);
}

static void test_parent_death(void **state)
{
	(void)state;
	if (have_namespaces)
		parent_death(HULL_JAIL_NAMESPACES);
	if (have_landlock)
		parent_death(HULL_JAIL_LANDLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_code),    cmocka_unit_test(test_files),
		cmocka_unit_test(test_bind_errors),  cmocka_unit_test(test_pinned_source),
		cmocka_unit_test(test_processes),    cmocka_unit_test(test_network),
		cmocka_unit_test(test_privileges),   cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_exec),         cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_parent_death), cmocka_unit_test(test_multitude),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

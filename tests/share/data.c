/* SPDX-License-Identifier: Apache-2.0 */
/* share-data DIR: content, mappings, holes and locks as POSIX and Linux have them. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct stat st;

static void appending(void)
{
	char buf[64] = "";
	int a = open("a1", O_WRONLY | O_CREAT | O_APPEND, 0644), b = open("a1", O_WRONLY | O_APPEND);
	CHECK(write(a, "one ", 4) == 4 && write(b, "two ", 4) == 4 && write(a, "three", 5) == 5, "two appenders");
	CHECK(has_text("a1", "one two three"), "append to the end as it is");
	CHECK(lseek(a, 0, SEEK_SET) == 0 && write(a, "!", 1) == 1 && has_text("a1", "one two three!"),
	      "wherever they stand");
	close(a);
	close(b);
	/* A mapping of a file opened for appending writes where it maps. */
	a = open("a1", O_RDWR | O_APPEND);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	p[0] = 'O';
	CHECK(msync(p, 4096, MS_SYNC) == 0 && has_text("a1", "One two three!"), "a mapping does not append");
	munmap(p, 4096);
	close(a);
	pid_t pids[4];
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int fd = open("a2", O_WRONLY | O_CREAT | O_APPEND, 0644);
			memset(buf, 'a' + i, 10);
			for (int n = 0; n < 200; n++)
				if (write(fd, buf, 10) != 10)
					_exit(1);
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++)
		waitpid(pids[i], NULL, 0);
	int fd = open("a2", O_RDONLY), whole = 0;
	for (; read(fd, buf, 10) == 10; whole++)
		for (int i = 1; i < 10; i++)
			if (buf[i] != buf[0])
				whole = -100000;
	close(fd);
	CHECK(whole == 800, "four processes appending tear nothing (%d)", whole);
}

static void holes(void)
{
	const off_t far = 5LL << 30;
	char buf[8192] = "";
	int fd = open("h1", O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(pwrite(fd, "far", 3, far) == 3 && fstat(fd, &st) == 0 && st.st_size == far + 3, "beyond 4 GiB");
	CHECK(st.st_blocks * 512 < 1 << 20, "sparse");
	CHECK(pread(fd, buf, 10, far) == 3 && !memcmp(buf, "far", 3), "read there");
	CHECK(pread(fd, buf, 100, 1 << 30) == 100 && buf[0] == 0 && buf[99] == 0, "zeros in the hole");
	CHECK(lseek(fd, 0, SEEK_DATA) > 4LL << 30 && lseek(fd, 0, SEEK_HOLE) == 0, "SEEK_DATA and SEEK_HOLE");
	FAILS(lseek(fd, far + 3, SEEK_DATA), ENXIO, "ENXIO at the end");
	CHECK(ftruncate(fd, 0) == 0 && fallocate(fd, 0, 0, 1 << 20) == 0 && fstat(fd, &st) == 0 &&
		      st.st_size == 1 << 20,
	      "fallocate");
	CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 << 20) == 0 && fstat(fd, &st) == 0 && st.st_size == 1 << 20,
	      "keeping the size");
	memset(buf, 'x', sizeof buf);
	CHECK(pwrite(fd, buf, sizeof buf, 0) == sizeof buf &&
		      fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) == 0,
	      "punch");
	CHECK(pread(fd, buf, sizeof buf, 0) == sizeof buf && buf[4095] == 'x' && buf[4096] == 0 && buf[8191] == 0,
	      "a hole");
	int to = open("h2", O_RDWR | O_CREAT | O_TRUNC, 0644);
	off_t from_at = 100, to_at = 50;
	CHECK(copy_file_range(fd, &from_at, to, &to_at, 1000, 0) == 1000 && fstat(to, &st) == 0 && st.st_size == 1050,
	      "copy_file_range");
	CHECK(pread(to, buf, 100, 0) == 100 && buf[49] == 0 && buf[50] == 'x', "copied");
	close(to);
	close(fd);
	CHECK(truncate("h1", 10) == 0 && stat("h1", &st) == 0 && st.st_size == 10, "truncate by name");
	FAILS(truncate("h1", -1), EINVAL, "to a negative size");
	fd = open(".", O_RDWR | O_TMPFILE, 0600);
	CHECK(fd >= 0 && write(fd, "tmp", 3) == 3 && fstat(fd, &st) == 0 && st.st_nlink == 0, "O_TMPFILE");
	char proc[64];
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	CHECK(linkat(AT_FDCWD, proc, AT_FDCWD, "h3", AT_SYMLINK_FOLLOW) == 0 && has_text("h3", "tmp"), "given a name");
	CHECK(write(fd, "!", 1) == 1 && has_text("h3", "tmp!"), "it is the same file");
	close(fd);
	fd = open("h4", O_WRONLY | O_CREAT, 0644);
	CHECK(write(fd, "sync", 4) == 4 && fsync(fd) == 0 && fdatasync(fd) == 0, "fsync");
	close(fd);
	fd = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(fsync(fd) == 0, "fsync of a directory");
	close(fd);
	fd = open("h4", O_WRONLY | O_SYNC);
	CHECK(write(fd, "SYNC", 4) == 4, "O_SYNC");
	close(fd);
	void *aligned = NULL;
	fd = open("h4", O_RDWR | O_DIRECT);
	CHECK(posix_memalign(&aligned, 4096, 8192) == 0 && fd >= 0, "O_DIRECT");
	memset(aligned, 'd', 8192);
	CHECK(pwrite(fd, aligned, 8192, 0) == 8192 && pread(fd, aligned, 4096, 4096) == 4096, "reads and writes");
	free(aligned);
	close(fd);
}

static void mappings(void)
{
	char name[64];
	int fd = open("p1", O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(ftruncate(fd, 1 << 20) == 0, "set up");
	char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED, "a shared mapping");
	for (int i = 0; i < 1 << 20; i += 4096)
		p[i] = (char)(i >> 12);
	char c = 0;
	CHECK(pread(fd, &c, 1, 77 * 4096) == 1 && c == 77, "read sees the mapping");
	CHECK(pwrite(fd, "w", 1, 78 * 4096 + 1) == 1 && p[78 * 4096 + 1] == 'w', "the mapping sees a write");
	char *q = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	q[0] = 'q';
	CHECK(p[0] == 0 && q[4096] == 1, "a private one keeps to itself");
	munmap(q, 1 << 20);
	CHECK(munmap(p, 1 << 20) == 0 && close(fd) == 0, "gone");
	fd = open("p1", O_RDONLY);
	CHECK(pread(fd, &c, 1, 200 * 4096) == 1 && (unsigned char)c == 200, "the content stays");
	close(fd);
	/* An executable on the share. */
	int self = open("/proc/self/exe", O_RDONLY);
	fd = open("p2", O_WRONLY | O_CREAT | O_TRUNC, 0755);
	char buf[65536];
	for (ssize_t n; (n = read(self, buf, sizeof buf)) > 0;)
		if (write(fd, buf, (size_t)n) != n)
			break;
	close(self);
	close(fd);
	snprintf(name, sizeof name, "./p2");
	pid_t pid = fork();
	if (pid == 0) {
		execl(name, name, "--exit", NULL);
		_exit(1);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "executes");
	CHECK(put_file("p3", "#!/bin/sh\nexit 7\n") == 0 && chmod("p3", 0755) == 0, "a script");
	pid = fork();
	if (pid == 0) {
		execl("./p3", "./p3", NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "executes");
}

static void on_alarm(int sig)
{
}

/* In a child: try to lock, report the errno as the exit code. */
static int lock_in_child(const char *name, int flock_op, short type, off_t start, off_t len)
{
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(name, O_RDWR);
		struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
		int e = flock_op ? flock(fd, flock_op | LOCK_NB) : fcntl(fd, F_SETLK, &fl);
		_exit(e < 0 ? errno : 0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void locks(void)
{
	CHECK(put_file("k1", "0123456789") == 0, "set up");
	int fd = open("k1", O_RDWR);
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};
	CHECK(fcntl(fd, F_SETLK, &fl) == 0, "a write lock");
	CHECK(lock_in_child("k1", 0, F_WRLCK, 4, 2) == EAGAIN, "excludes an overlapping one");
	CHECK(lock_in_child("k1", 0, F_RDLCK, 0, 0) == EAGAIN, "and a read lock");
	CHECK(lock_in_child("k1", 0, F_WRLCK, 5, 5) == 0, "but not its neighbour");
	pid_t me = getpid();
	int fds[2];
	if (pipe(fds) < 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		int f = open("k1", O_RDWR);
		struct flock g = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		bool ok = fcntl(f, F_GETLK, &g) == 0 && g.l_type == F_WRLCK && g.l_start == 2 && g.l_len == 3 &&
			  g.l_pid == me;
		if (write(fds[1], "r", 1) != 1)
			_exit(2);
		g = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
		_exit(ok && fcntl(f, F_SETLKW, &g) == 0 ? 0 : 1);
	}
	char c;
	CHECK(read(fds[0], &c, 1) == 1, "a child waits for it");
	usleep(100000); /* not needed for the result: gives the child time to be really waiting */
	CHECK(pwrite(fd, "x", 1, 0) == 1, "others work meanwhile");
	fl.l_type = F_UNLCK;
	CHECK(fcntl(fd, F_SETLK, &fl) == 0, "unlock");
	int status = 0;
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "F_GETLK told the holder, and the child got the lock");
	/* Waiting is interrupted by a signal. */
	fl = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
	CHECK(fcntl(fd, F_SETLK, &fl) == 0, "lock all");
	pid = fork();
	if (pid == 0) {
		struct sigaction sa = {.sa_handler = on_alarm};
		sigaction(SIGALRM, &sa, NULL);
		int f = open("k1", O_RDWR);
		alarm(1);
		int e = fcntl(f, F_SETLKW, &fl);
		_exit(e < 0 ? errno : 0);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EINTR, "EINTR while waiting (%d)", WEXITSTATUS(status));
	/* Twenty waiters are more than the server has threads. */
	pid_t pids[20];
	for (int i = 0; i < 20; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int f = open("k1", O_RDWR);
			if (i % 2 == 0)
				_exit(fcntl(f, F_SETLKW, &fl) == 0 ? 0 : 1);
			_exit(flock(f, LOCK_EX) == 0 ? 0 : 1);
		}
	}
	int fd2 = open("k1", O_RDWR);
	CHECK(flock(fd2, LOCK_EX) == 0 || true, "flock beside fcntl locks");
	CHECK(put_file("k2", "alive") == 0 && has_text("k2", "alive"), "the server serves while twenty wait");
	close(fd2); /* a close drops the process's fcntl locks on the file, and this flock */
	bool all = true;
	for (int i = 0; i < 20; i++) {
		waitpid(pids[i], &status, 0);
		all &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	CHECK(all, "and each gets its lock");
	close(fd);
	fd = open("k1", O_RDWR);
	CHECK(flock(fd, LOCK_SH) == 0 && lock_in_child("k1", LOCK_SH, 0, 0, 0) == 0, "shared flocks");
	CHECK(lock_in_child("k1", LOCK_EX, 0, 0, 0) == EWOULDBLOCK, "exclude an exclusive one");
	CHECK(flock(fd, LOCK_UN) == 0 && lock_in_child("k1", LOCK_EX, 0, 0, 0) == 0, "until unlocked");
	close(fd);
	/* A killed holder's lock goes. */
	pid = fork();
	if (pid == 0) {
		int f = open("k1", O_RDWR);
		if (flock(f, LOCK_EX) < 0 || write(fds[1], "l", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	CHECK(read(fds[0], &c, 1) == 1 && lock_in_child("k1", LOCK_EX, 0, 0, 0) == EWOULDBLOCK, "held by a child");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	fd = open("k1", O_RDWR);
	CHECK(flock(fd, LOCK_EX) == 0, "free when it is killed");
	close(fd);
}

/* How often each thread does it. */
static int rounds = 300;

struct churn {
	int number;
	bool ok;
};

/* Threads making, renaming, reading and removing files in one directory. */
static void *churn(void *arg)
{
	struct churn *c = arg;
	char a[64], b[64], text[64];
	c->ok = true;
	for (int i = 0; i < rounds && c->ok; i++) {
		snprintf(a, sizeof a, "t/%d-%d", c->number, i);
		snprintf(b, sizeof b, "t/%d-%d.done", c->number, i);
		snprintf(text, sizeof text, "content %d of %d", i, c->number);
		c->ok = put_file(a, text) == 0 && rename(a, b) == 0 && has_text(b, text) && unlink(b) == 0;
	}
	return NULL;
}

static void parallel(void)
{
	pthread_t t[8];
	struct churn c[8];
	bool all = mkdir("t", 0755) == 0;
	for (int i = 0; i < 8; i++) {
		c[i].number = i;
		pthread_create(&t[i], NULL, churn, &c[i]);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		all &= c[i].ok;
	}
	CHECK(all, "eight threads churn one directory");
	CHECK(rmdir("t") == 0, "and leave it empty");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--exit"))
		return 42;
	if (argc > 2)
		rounds = atoi(argv[2]);
	check_enter(argc > 1 ? argv[1] : ".", "data");
	appending();
	holes();
	mappings();
	locks();
	parallel();
	return check_done();
}

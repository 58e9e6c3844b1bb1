/* SPDX-License-Identifier: Apache-2.0 */
/* share-coherence [-w] GUEST HOST: the same directory from both sides; what one does, the other sees.
 *
 * Everything the host changes is first read through the share, so that the guest's kernel has it cached for ever. Then
 * it is looked at again and again until it is new; a change that never shows fails. What showed late is printed, not
 * judged: machines are slow at times. With -w, file watchers on the guest's side have to fire (needs a replayer). */
#include "check.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <time.h>

static char guest[PATH_MAX], host[PATH_MAX];
static char path_a[PATH_MAX], path_b[PATH_MAX];
static double worst;

static const char *g(const char *name)
{
	snprintf(path_a, sizeof path_a, "%.2000s/%s", guest, name);
	return path_a;
}

static const char *h(const char *name)
{
	snprintf(path_b, sizeof path_b, "%.2000s/%s", host, name);
	return path_b;
}

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Wait for the guest to see it. */
#define SEES(cond, ...)                                         \
	do {                                                    \
		double start_ = now();                          \
		bool seen_ = false;                             \
		while (!(seen_ = (cond)) && now() - start_ < 5) \
			usleep(500);                            \
		double took_ = now() - start_;                  \
		worst = took_ > worst ? took_ : worst;          \
		CHECK(seen_, __VA_ARGS__);                      \
	} while (0)

static bool exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static off_t size_of(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? st.st_size : -1;
}

static int entries(const char *path)
{
	int n = 0;
	_cleanup_closedir_ DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	return n;
}

static void files(void)
{
	struct stat st;
	char buf[64];
	CHECK(put_file(h("f1"), "first") == 0, "the host writes");
	SEES(has_text(g("f1"), "first"), "the guest reads");
	CHECK(put_file(h("f1"), "other") == 0, "same length");
	SEES(has_text(g("f1"), "other"), "new content");
	CHECK(put_file(h("f1"), "much longer than before") == 0, "longer");
	SEES(size_of(g("f1")) == 23 && has_text(g("f1"), "much longer than before"), "new size");
	CHECK(put_file(h("f1"), "") == 0, "empty");
	SEES(size_of(g("f1")) == 0, "truncated");
	int fd = open(g("f1"), O_RDONLY);
	char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(put_file(h("f1"), "mapped") == 0, "under a mapping");
	SEES(pread(fd, buf, 6, 0) == 6 && !memcmp(buf, "mapped", 6) && !memcmp(p, "mapped", 6),
	     "an open file and its mapping");
	munmap(p, 4096);
	/* Editors write another file and rename it over. */
	char from[PATH_MAX];
	snprintf(from, sizeof from, "%.2000s/f1.tmp", host);
	CHECK(put_file(from, "replaced") == 0 && rename(from, h("f1")) == 0, "replace by rename");
	SEES(has_text(g("f1"), "replaced"), "the new file by the old name");
	CHECK(pread(fd, buf, 6, 0) == 6 && !memcmp(buf, "mapped", 6), "the open one is the old file");
	close(fd);
	CHECK(stat(g("f1"), &st) == 0 && chmod(h("f1"), 0600) == 0, "chmod on the host");
	SEES(stat(g("f1"), &st) == 0 && (st.st_mode & 0777) == 0600, "new mode");
	CHECK(!exists(g("f2")) && put_file(h("f2"), "x") == 0, "a name known not to exist");
	SEES(exists(g("f2")), "exists");
	CHECK(unlink(h("f2")) == 0, "unlink on the host");
	SEES(!exists(g("f2")), "is gone");
	CHECK(symlink("one", h("s")) == 0, "a symlink");
	SEES(readlink(g("s"), buf, sizeof buf) == 3, "is read");
	CHECK(unlink(h("s")) == 0 && symlink("three", h("s")) == 0, "made anew");
	SEES(readlink(g("s"), buf, sizeof buf) == 5, "is read anew");
}

static void directories(void)
{
	char from[PATH_MAX];
	CHECK(mkdir(h("d"), 0755) == 0, "mkdir on the host");
	SEES(entries(g("d")) == 0 && exists(g("d")), "seen");
	CHECK(put_file(h("d/a"), "a") == 0 && put_file(h("d/b"), "b") == 0, "files in it");
	SEES(entries(g("d")) == 2, "listed");
	CHECK(unlink(h("d/a")) == 0, "one removed");
	SEES(entries(g("d")) == 1 && !exists(g("d/a")), "listed no more");
	snprintf(from, sizeof from, "%.2000s/d", host);
	CHECK(rename(from, h("d2")) == 0, "the directory renamed");
	SEES(!exists(g("d")) && has_text(g("d2/b"), "b"), "found by the new name");
	CHECK(put_file(g("d2/c"), "from the guest") == 0 && has_text(h("d2/c"), "from the guest"),
	      "the guest writes there");
	CHECK(put_file(h("d2/c"), "from the host!") == 0, "both write");
	SEES(has_text(g("d2/c"), "from the host!"), "the later one counts");
	CHECK(unlink(h("d2/b")) == 0 && unlink(h("d2/c")) == 0 && rmdir(h("d2")) == 0, "removed");
	SEES(!exists(g("d2")), "and gone");
	CHECK(mkdir(h("d2"), 0755) == 0 && put_file(h("d2/z"), "z") == 0, "one of the same name");
	SEES(has_text(g("d2/z"), "z"), "is another");
}

/* What the guest has made itself it knows without asking: the host's changes to it count all the same. */
static void made_by_the_guest(void)
{
	struct stat st;
	char from[PATH_MAX];
	CHECK(mkdir(g("m"), 0755) == 0 && !exists(g("m/x")), "a directory of the guest's, empty");
	CHECK(put_file(h("m/x"), "host") == 0, "the host puts a file into it");
	SEES(has_text(g("m/x"), "host"), "the guest has it");
	CHECK(unlink(h("m/x")) == 0, "and removes it");
	SEES(!exists(g("m/x")), "gone");
	CHECK(mkdir(g("m/sub"), 0755) == 0 && put_file(h("m/sub/first"), "1") == 0, "filled before it is looked into");
	SEES(has_text(g("m/sub/first"), "1") && entries(g("m/sub")) == 1, "seen");
	CHECK(mkdir(g("m/to"), 0755) == 0 && !exists(g("m/to/b")), "another one");
	snprintf(from, sizeof from, "%.2000s/m/sub/first", host);
	CHECK(rename(from, h("m/to/b")) == 0, "the host moves a file into it");
	SEES(has_text(g("m/to/b"), "1") && !exists(g("m/sub/first")), "moved");
	int fd = open(g("m/own"), O_RDWR | O_CREAT | O_EXCL, 0644);
	CHECK(fd >= 0 && write(fd, "guest", 5) == 5, "a file of the guest's");
	CHECK(put_file(h("m/own"), "longer than that") == 0, "written by the host before the guest looks");
	SEES(fstat(fd, &st) == 0 && st.st_size == 16, "its size");
	CHECK(pwrite(fd, "again", 5, 0) == 5 && fstat(fd, &st) == 0 && st.st_size == 16, "written over");
	CHECK(unlink(g("m/own")) == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0, "without a name");
	close(fd);
}

static bool starts_like(int fd, const char *text, size_t cap, ssize_t *got)
{
	char buf[1024];
	struct stat st;
	*got = fstat(fd, &st) == 0 ? pread(fd, buf, cap < sizeof buf ? cap : sizeof buf, 0) : -1;
	return *got >= 0 && memcmp(buf, text, (size_t)*got) == 0;
}

/* What is appended on the host to a file that the guest has open arrives whole, as for `tail -f`: what follows a new
 * size does not stay zeros. For a moment it may be: the guest's kernel takes a new size first and then drops the page
 * at the old end, and when another process (the replayer) has brought the size, who reads on another processor can
 * come between the two. The next read is after that moment. `by` is the name that the host writes to. */
static void follows(const char *name, const char *by)
{
	char text[16 * 40 + 1];
	size_t n = 0;
	int wrong = 0, late = 0, between = 0;
	CHECK(put_file(h(by), "") == 0, "%s is there", by);
	int in = open(g(name), O_RDONLY), out = open(h(by), O_WRONLY | O_APPEND);
	for (int i = 0; i < 40; i++) {
		size_t old = n;
		n += (size_t)snprintf(text + n, sizeof text - n, "line %d\n", i);
		if (write(out, text + old, n - old) != (ssize_t)(n - old))
			break;
		double start = now();
		ssize_t got;
		/* The page that held the old end is cached. */
		do {
			if (starts_like(in, text, sizeof text, &got))
				continue;
			between++;
			usleep(1000);
			wrong += !starts_like(in, text, sizeof text, &got);
		} while (got < (ssize_t)n && now() - start < 5);
		late += got < (ssize_t)n;
	}
	CHECK(n > 300 && wrong == 0 && late == 0 && between < 10,
	      "%s grows line by line (%d times wrong, %d times between, %d times late)", name, wrong, between, late);
	close(in);
	close(out);
}

static void appends(void)
{
	char from[PATH_MAX];
	follows("log", "log");
	/* By a name that nobody watches. */
	CHECK(mkdir(h("unseen"), 0755) == 0 && put_file(h("unseen/log"), "") == 0, "a directory nobody looks into");
	snprintf(from, sizeof from, "%.2000s/unseen/log", host);
	CHECK(link(from, h("linked")) == 0, "a second name");
	follows("linked", "unseen/log");
}

/* Written on the host by a descriptor that was opened by another name, or by none; what is at `name` is read before. */
static void goes_on(int fd, const char *name, const char *what)
{
	struct stat st;
	off_t size = lseek(fd, 0, SEEK_END);
	SEES(size_of(g(name)) == size && has_text(g(name), "begun"), "%s: what was there", what);
	int in = open(g(name), O_RDONLY);
	CHECK(pwrite(fd, "Begun, gone on with", 19, 0) == 19, "%s: written", what);
	SEES(size_of(g(name)) == 19, "%s: the size", what);
	SEES(has_text(g(name), "Begun, gone on with"), "%s: the content", what);
	CHECK(pwrite(fd, "Again", 5, 0) == 5, "%s: the same size", what);
	SEES(has_text(g(name), "Again, gone on with"), "%s: the new content", what);
	close(fd);
	SEES(fstat(in, &st) == 0 && st.st_nlink == 1, "%s: the number of links", what);
	close(in);
}

static int begun(const char *name)
{
	int fd = open(h(name), O_RDWR | O_CREAT | O_EXCL, 0644);
	CHECK(fd >= 0 && write(fd, "begun", 5) == 5, "%s", name);
	return fd;
}

/* A name changes under a file that the host has open and goes on writing. */
static void under_an_open_file(void)
{
	char other[PATH_MAX];
	CHECK(exists(g(".")) && !exists(g("o1")), "looked into");
	int fd = begun("o1");
	snprintf(other, sizeof other, "%.2000s/o2", host);
	SEES(has_text(g("o1"), "begun"), "seen by the first name");
	CHECK(link(h("o1"), other) == 0 && unlink(h("o1")) == 0, "linked and unlinked by the host");
	goes_on(fd, "o2", "host's link and unlink");
	fd = begun("o3");
	SEES(has_text(g("o3"), "begun"), "seen by the first name");
	snprintf(other, sizeof other, "%.2000s/o4", guest);
	CHECK(link(g("o3"), other) == 0 && unlink(g("o3")) == 0, "linked and unlinked by the guest");
	goes_on(fd, "o4", "guest's link and unlink");
	fd = begun("o5");
	SEES(has_text(g("o5"), "begun"), "seen by the first name");
	snprintf(other, sizeof other, "%.2000s/o6", host);
	CHECK(rename(h("o5"), other) == 0, "renamed by the host");
	goes_on(fd, "o6", "rename");
	fd = open(host, O_RDWR | O_TMPFILE, 0644);
	if (fd >= 0) {
		char proc[40];
		snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
		CHECK(write(fd, "begun", 5) == 5 && !exists(g("o7")) &&
			      linkat(AT_FDCWD, proc, AT_FDCWD, h("o7"), AT_SYMLINK_FOLLOW) == 0,
		      "a file without a name gets one");
		goes_on(fd, "o7", "O_TMPFILE");
	}
	/* By a name in a directory that nobody watches, which then goes. */
	CHECK(mkdir(h("apart"), 0755) == 0, "a directory nobody looks into");
	fd = begun("apart/o8");
	snprintf(other, sizeof other, "%.2000s/apart/o8", host);
	CHECK(link(other, h("o8")) == 0, "a second name");
	SEES(has_text(g("o8"), "begun"), "seen by that");
	CHECK(unlink(other) == 0, "the first one goes");
	goes_on(fd, "o8", "the second name of two");
}

/* Both write the same file in turns, each sees the other's last. */
static void turns(void)
{
	char text[64];
	bool good = true;
	for (int i = 0; i < 200 && good; i++) {
		snprintf(text, sizeof text, "turn %d", i);
		good = put_file(i % 2 ? g("t") : h("t"), text) == 0;
		double start = now();
		while (good && !has_text(i % 2 ? h("t") : g("t"), text) && now() - start < 5)
			usleep(200);
		good = good && has_text(i % 2 ? h("t") : g("t"), text);
	}
	CHECK(good, "two hundred turns (%s)", text);
	/* Appending from both sides loses nothing. */
	int a = open(g("ap"), O_WRONLY | O_CREAT | O_APPEND, 0644), b = open(h("ap"), O_WRONLY | O_APPEND);
	for (int i = 0; i < 200; i++)
		good = good && write(i % 3 ? a : b, "line\n", 5) == 5;
	close(a);
	close(b);
	CHECK(good && size_of(h("ap")) == 1000, "appended from both sides");
	SEES(size_of(g("ap")) == 1000, "and the guest has the size");
	char buf[1001] = "";
	a = open(g("ap"), O_RDONLY);
	SEES(pread(a, buf, 1000, 0) == 1000 && !memchr(buf, 0, 1000) && !memcmp(buf + 995, "line\n", 5),
	     "and the content");
	close(a);
	/* Many changes at once. */
	char name[64];
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "many-%d", i);
		good = good && put_file(h(name), "1") == 0;
	}
	SEES(entries(g(".")) >= 2000, "two thousand files");
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "many-%d", i);
		good = good && size_of(g(name)) == 1;
	}
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "many-%d", i);
		good = good && put_file(h(name), "22") == 0;
	}
	for (int i = 0; i < 2000 && good; i++) {
		snprintf(name, sizeof name, "many-%d", i);
		double start = now();
		while (size_of(g(name)) != 2 && now() - start < 5)
			usleep(200);
		good = size_of(g(name)) == 2;
	}
	CHECK(good, "and their changes");
}

/* True when an event with all of `mask` for `name` comes. */
static bool fires(int in, uint32_t mask, const char *name)
{
	_Alignas(struct inotify_event) char buf[4096];
	struct pollfd p = {.fd = in, .events = POLLIN};
	while (poll(&p, 1, 5000) > 0) {
		ssize_t n = read(in, buf, sizeof buf);
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (void *)(buf + at);
			if (e->mask & mask && e->len && !strcmp(e->name, name))
				return true;
			at += (ssize_t)(sizeof *e + e->len);
		}
	}
	return false;
}

static uint32_t heard; /* by the last call of fires_self() */

/* True when an event with one of `mask` comes for what is watched itself. */
static bool fires_self(int in, uint32_t mask)
{
	bool fired = false;
	heard = 0;
	_Alignas(struct inotify_event) char buf[4096];
	struct pollfd p = {.fd = in, .events = POLLIN};
	while (poll(&p, 1, 5000) > 0) {
		ssize_t n = read(in, buf, sizeof buf);
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (void *)(buf + at);
			heard |= e->mask;
			at += (ssize_t)(sizeof *e + e->len);
		}
		fired = heard & mask;
		if (fired)
			break;
	}
	return fired;
}

static int watch_one(const char *name)
{
	int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	CHECK(inotify_add_watch(in, g(name), IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN | IN_CLOSE)) >= 0, "watches %s",
	      name);
	return in;
}

/* A watch on one file hears how editors save. */
static void watchers_of_one_file(void)
{
	char from[PATH_MAX], kept[PATH_MAX];
	CHECK(mkdir(h("one"), 0755) == 0 && put_file(h("one/a"), "1") == 0, "set up");
	SEES(has_text(g("one/a"), "1"), "seen");
	int in = watch_one("one/a");
	CHECK(put_file(h("one/a"), "2") == 0 && fires_self(in, IN_MODIFY), "written in place");
	CHECK(truncate(h("one/a"), 0) == 0 && fires_self(in, IN_MODIFY), "truncated");
	CHECK(truncate(h("one/a"), 100) == 0 && fires_self(in, IN_MODIFY), "made longer");
	snprintf(from, sizeof from, "%.2000s/one/.a.tmp", host);
	CHECK(put_file(from, "3") == 0 && rename(from, h("one/a")) == 0, "another file renamed over it");
	CHECK(fires_self(in, IN_DELETE_SELF), "is told to who watches the old one");
	SEES(has_text(g("one/a"), "3"), "the new content");
	close(in);
	in = watch_one("one/a");
	snprintf(kept, sizeof kept, "%.2000s/one/a~", host);
	CHECK(rename(h("one/a"), kept) == 0 && put_file(h("one/a"), "4") == 0, "kept under another name");
	CHECK(fires_self(in, IN_ATTRIB | IN_MOVE_SELF), "is told");
	/* The guest's kernel may take a file that got another name for one that is gone (its count of links is what it
	 * knew before, when its attributes are dropped at that moment), and says so then, once. */
	bool early = heard & IN_DELETE_SELF;
	CHECK(unlink(kept) == 0 && (early || fires_self(in, IN_DELETE_SELF | IN_IGNORED)), "and removed");
	SEES(has_text(g("one/a"), "4"), "the new content");
	close(in);
	in = watch_one("one/a");
	CHECK(unlink(h("one/a")) == 0 && fires_self(in, IN_DELETE_SELF), "removed");
	SEES(!exists(g("one/a")), "gone");
	CHECK(put_file(h("one/a"), "5") == 0, "made anew");
	SEES(has_text(g("one/a"), "5"), "is there");
	close(in);
}

static void watchers(void)
{
	CHECK(mkdir(h("w"), 0755) == 0 && put_file(h("w/old"), "old") == 0, "set up");
	SEES(has_text(g("w/old"), "old"), "seen");
	int in = inotify_init1(IN_CLOEXEC);
	CHECK(inotify_add_watch(in, g("w"), IN_ALL_EVENTS) >= 0, "a watcher in the guest");
	CHECK(put_file(h("w/old"), "new") == 0 && fires(in, IN_MODIFY, "old"), "IN_MODIFY");
	CHECK(put_file(h("w/old"), "newer") == 0 && fires(in, IN_CLOSE_WRITE, "old"), "IN_CLOSE_WRITE");
	/* The close may still have been of the change before. */
	SEES(has_text(g("w/old"), "newer") && has_text(h("w/old"), "newer"), "the content is the host's");
	CHECK(put_file(h("w/made"), "made") == 0 && fires(in, IN_CREATE, "made"), "IN_CREATE");
	SEES(has_text(g("w/made"), "made") && has_text(h("w/made"), "made"), "with its content");
	CHECK(chmod(h("w/old"), 0604) == 0 && fires(in, IN_ATTRIB, "old"), "IN_ATTRIB");
	CHECK(mkdir(h("w/sub"), 0755) == 0 && fires(in, IN_CREATE, "sub"), "a directory");
	CHECK(unlink(h("w/made")) == 0 && fires(in, IN_DELETE, "made"), "IN_DELETE");
	CHECK(rmdir(h("w/sub")) == 0 && fires(in, IN_DELETE, "sub"), "of a directory");
	char from[PATH_MAX];
	snprintf(from, sizeof from, "%.2000s/w/tmp", host);
	CHECK(put_file(from, "saved") == 0 && fires(in, IN_CREATE, "tmp") && rename(from, h("w/old")) == 0 &&
		      fires(in, IN_DELETE | IN_CREATE | IN_MODIFY, "tmp"),
	      "an editor's rename");
	SEES(has_text(g("w/old"), "saved"), "and its content");
	close(in);
}

int main(int argc, char **argv)
{
	bool watch = argc > 1 && !strcmp(argv[1], "-w");
	if (argc < 3 + watch) {
		fprintf(stderr, "usage: share-coherence [-w] GUEST HOST\n");
		return 2;
	}
	snprintf(guest, sizeof guest, "%s", argv[1 + watch]);
	snprintf(host, sizeof host, "%s", argv[2 + watch]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	files();
	directories();
	made_by_the_guest();
	appends();
	under_an_open_file();
	turns();
	if (watch) {
		watchers();
		watchers_of_one_file();
	}
	printf("# the longest wait was %.1f ms\n", worst * 1000);
	return check_done();
}

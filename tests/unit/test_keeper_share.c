/* SPDX-License-Identifier: Apache-2.0 */
/* What hull-keeper plans for the paths of a sandbox (src/keeper/workspace/share.c): one server each, and what each has
 * to guard for the others. The servers are processes that do nothing. */
#include "keeper/life/life.h"
#include "keeper/workspace/share_internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char base[] = "/tmp/hull-test-shares-XXXXXX";
static struct hull_buf plan; /* "path[ ro]: guards\n" for each server, in order */

static int asked = -1; /* the server's end of the first one's control socket */

static int fake_spawn(struct keeper *k, const struct share_spec *spec, int *fd, int *control, struct hull_jailed *child,
		      struct hull_error *err)
{
	int ends[2], control_ends[2];
	hull_buf_addf(&plan, "%s%s:", spec->path + strlen(base), spec->readonly ? " ro" : "");
	struct stat open_one, named;
	assert_int_equal(fstat(spec->fd, &open_one), 0);
	assert_int_equal(lstat(spec->path, &named), 0);
	assert_true(open_one.st_ino == named.st_ino);
	for (size_t i = 0; i < spec->guard_count; i++)
		hull_buf_addf(&plan, " %s", spec->guards[i]);
	hull_buf_addstr(&plan, "\n");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	child->pid = fork();
	if (child->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
		close_range(3, ~0U, 0);           /* the other servers' sockets */
		pause();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control_ends), 0);
	hull_set_nonblock(control_ends[0], true);
	hull_set_nonblock(control_ends[1], true);
	*control = control_ends[0];
	if (asked < 0)
		asked = control_ends[1];
	else
		close(control_ends[1]);
	child->pidfd = pidfd_open(child->pid, 0);
	hull_set_nonblock(ends[0], true);
	*fd = ends[0];
	return 0;
}

static struct keeper *fresh(char *const *paths)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct hull_error err = {0};
	assert_int_equal(keeper_init(k, &err), 0);
	k->workspace->spawn = fake_spawn;
	k->sb.paths = hull_strv_copy(NULL);
	for (; *paths; paths++) {
		_cleanup_free_ char *path = hull_fmt("%s%s", base, *paths);
		hull_strv_add(&k->sb.paths, path);
	}
	hull_buf_drain(&plan, plan.len);
	return k;
}

static void close_handle(uv_handle_t *h, void *arg)
{
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void end(struct keeper *k)
{
	shares_close(k);
	if (asked >= 0)
		close(asked);
	asked = -1;
	/* The servers were killed: the loop reaps them. */
	while (waitpid(-1, NULL, WNOHANG) >= 0)
		uv_run(&k->loop.uv, UV_RUN_NOWAIT);
	hull_strv_free(k->sb.paths);
	free(k->sb.state);
	uv_walk(&k->loop.uv, close_handle, NULL);
	uv_run(&k->loop.uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&k->loop.uv), 0);
	keeper_free(k);
	free(k);
}

#define PLAN(expected)                                                              \
	do {                                                                        \
		hull_buf_add(&plan, "", 1);                                         \
		assert_string_equal((const char *)hull_buf_bytes(&plan), expected); \
	} while (0)

static void test_guards(void **state)
{
	char *const paths[] = {(char *)"/a",     (char *)"/a/in/file:ro", (char *)"/a/b",   (char *)"/a/b/c:ro",
			       (char *)"/ab:ro", (char *)"/a/b/c/d:ro",   (char *)"/a/b/e", NULL};
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	assert_int_equal(shares_start(k, &err), 0);
	/* What is read-only below a writable path is guarded in it, also through one that lies between; what is
	 * writable keeps its name; the name that only begins the same is not meant. */
	PLAN("/a: in/file b/ b/c b/c/d b/e/\n"
	     "/a/in/file ro:\n"
	     "/a/b: c c/d e/\n"
	     "/a/b/c ro:\n"
	     "/ab ro:\n"
	     "/a/b/c/d ro:\n"
	     "/a/b/e:\n");
	k->guest->configured = true;
	_cleanup_free_ char *beside = hull_fmt("%s/ab/x", base), *known = hull_fmt("%s/a/b", base);
	assert_int_equal(share_mount(k, known, HULL_PATH_WRITABLE, &err), -EEXIST);
	hull_buf_drain(&plan, plan.len);
	assert_int_equal(share_mount(k, beside, HULL_PATH_READONLY, &err), 0);
	PLAN("/ab/x ro:\n");
	end(k);
}

/* The one packet that waits for the server of the first path. */
static void expect_told(const char *path)
{
	char got[64] = "";
	assert_int_equal(read(asked, got, sizeof(got) - 1), (ssize_t)strlen(path));
	assert_string_equal(got, path);
}

static void answer(struct keeper *k, uint32_t code)
{
	const uint8_t raw[4] = {(uint8_t)code};
	assert_int_equal(write(asked, raw, sizeof(raw)), sizeof(raw));
	for (int i = 0; i < 3; i++)
		uv_run(&k->loop.uv, UV_RUN_NOWAIT);
}

static void answer_mounted(struct keeper *k, const char *path)
{
	_cleanup_(hull_buf_free) struct hull_buf mounted = {0};
	hull_args_put_str(&mounted, HULL_TAG_PATH, path);
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(&mounted), mounted.len);
	shares_answered(k, true, &cur);
}

/* A read-only path in a writable one, while that one is served: its server is told first, and has to agree. */
static void test_guards_of_a_running_server(void **state)
{
	char *const paths[] = {(char *)"/a", NULL};
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	_cleanup_free_ char *in = hull_fmt("%s/a/in", base), *file = hull_fmt("%s/a/in/file", base);
	_cleanup_free_ char *writable = hull_fmt("%s/a/b", base), *last = hull_fmt("%s/a/b/c", base);
	assert_int_equal(shares_start(k, &err), 0);
	hull_buf_drain(&plan, plan.len);
	k->guest->configured = k->guest->answered = true;
	shares_configured(k); /* asks for /a; nothing else before that is answered */
	assert_int_equal(share_mount(k, in, HULL_PATH_READONLY, &err), 0);
	assert_int_equal(read(asked, (char[1]){0}, 1), -1);
	answer_mounted(k, k->sb.paths[0]);
	expect_told("in");
	assert_int_equal(plan.len, 0); /* not served before it is guarded */
	/* Of two, one at a time; one that may be written keeps its name. */
	assert_int_equal(share_mount(k, file, HULL_PATH_READONLY, &err), 0);
	assert_int_equal(read(asked, (char[1]){0}, 1), -1);
	answer(k, ENOENT);
	expect_told("in/file");
	answer(k, 0);
	PLAN("/a/in/file ro:\n");
	hull_buf_drain(&plan, plan.len);
	assert_int_equal(share_mount(k, writable, HULL_PATH_WRITABLE, &err), 0);
	assert_int_equal(read(asked, (char[1]){0}, 1), -1); /* the one before is being mounted */
	answer_mounted(k, file);
	expect_told("b/");
	assert_int_equal(plan.len, 0);
	answer(k, 0);
	PLAN("/a/b:\n");
	hull_buf_drain(&plan, plan.len);
	/* An answer to nothing is no server of ours. */
	assert_int_equal(share_mount(k, last, HULL_PATH_READONLY, &err), 0);
	answer(k, 0);
	struct pollfd gone = {.fd = asked, .events = POLLIN};
	assert_int_equal(poll(&gone, 1, 10000), 1); /* when the last of the servers has closed its copy */
	assert_int_equal(read(asked, (char[1]){0}, 1), 0);
	end(k);
}

/* --- the host's changes before what enters --- */

struct entering {
	struct sync_wait wait;
	bool in;
};

static void enter(struct sync_wait *w)
{
	container_of(w, struct entering, wait)->in = true;
}

static bool asked_to_sync(void)
{
	char got[4];
	return read(asked, got, sizeof(got)) == 1 && got[0] == 0;
}

static void say_synced(struct keeper *k)
{
	assert_int_equal(write(asked, "", 1), 1);
	for (int i = 0; i < 3; i++)
		uv_run(&k->loop.uv, UV_RUN_NOWAIT);
}

/* Who enters waits for a round that began after it came; one that is late holds nobody up twice. */
static void test_sync(void **state)
{
	char *const paths[] = {(char *)"/a", NULL};
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	struct entering a = {0}, b = {0}, c = {0}, d = {0};
	assert_true(share_sync(k, &a.wait, enter)); /* no server */
	assert_int_equal(shares_start(k, &err), 0);
	assert_true(share_sync(k, &a.wait, enter)); /* not mounted */
	k->guest->configured = k->guest->answered = true;
	shares_configured(k);
	answer_mounted(k, k->sb.paths[0]);
	assert_false(share_sync(k, &a.wait, enter));
	assert_true(asked_to_sync());
	assert_false(share_sync(k, &b.wait, enter));
	assert_false(share_sync(k, &c.wait, enter));
	assert_int_equal(read(asked, (char[1]){0}, 1), -1); /* one round at a time */
	share_sync_cancel(&c.wait);
	assert_false(a.in);
	say_synced(k);
	assert_true(a.in && !b.in);
	assert_true(asked_to_sync());
	say_synced(k);
	assert_true(b.in && !c.in);
	/* It does not answer. */
	a.in = b.in = false;
	assert_false(share_sync(k, &a.wait, enter));
	assert_true(asked_to_sync());
	assert_false(share_sync(k, &b.wait, enter));
	/* As if its time were over. */
	uv_timer_start(&k->workspace->sync.timer, k->workspace->sync.timer.timer_cb, 0, 0);
	while (!a.in)
		uv_run(&k->loop.uv, UV_RUN_NOWAIT);
	assert_true(b.in);
	assert_true(share_sync(k, &d.wait, enter)); /* not waited for again */
	assert_int_equal(read(asked, (char[1]){0}, 1), -1);
	say_synced(k);
	assert_false(share_sync(k, &d.wait, enter));
	assert_true(asked_to_sync());
	/* It ends: nobody is to answer any more. */
	shares_close(k);
	assert_true(d.in);
	end(k);
}

static unsigned kept;
static void on_kept(struct keeper *k)
{
	kept++;
}

static struct server *first_server(struct keeper *k)
{
	return container_of(k->workspace->mounts.next, struct mount, in_list)->server;
}

static void say_kept(struct keeper *k, uint8_t code)
{
	const uint8_t answer[2] = {code, 0};
	assert_int_equal(write(asked, answer, 2), 2);
	while (first_server(k)->keeping)
		uv_run(&k->loop.uv, UV_RUN_NOWAIT);
}

static bool asked_to_keep(void)
{
	char c[8];
	return read(asked, c, sizeof(c)) == 2 && c[0] == '\0' && c[1] == 'K';
}

/* What a server wrote down is found by the next one of the same path, and by no other. */
static void test_nodes(void **state)
{
	static const uint8_t bytes[] = {5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'};
	char *const paths[] = {(char *)"/a", (char *)"/ab", NULL}, *const none[] = {NULL};
	uint8_t back[sizeof(bytes)] = {0};
	struct hull_error err = {0};
	struct share_nodes *nodes;
	struct keeper *k = fresh(none);
	assert_int_equal(share_nodes_ask(k, on_kept), 0); /* no workspace: nothing to wait for, nothing to keep */
	assert_int_equal(share_nodes_collect(k, &nodes), 0);
	share_nodes_free(nodes, 0);
	end(k);
	k = fresh(paths);
	assert_int_equal(shares_start(k, &err), 0);
	assert_int_equal(share_nodes_ask(k, on_kept), 0); /* the guest has not met them */
	struct server *sv = first_server(k);
	assert_true(sv->nodes >= 0);
	assert_int_equal(ftruncate(sv->nodes, 128 << 20), -1); /* the server cannot make it longer */
	sv->attached = true;
	/* It cannot; it does not in time; it has. */
	kept = 0;
	assert_int_equal(share_nodes_ask(k, on_kept), 1);
	assert_true(asked_to_keep());
	say_kept(k, 1);
	assert_int_equal(kept, 1);
	assert_int_equal(share_nodes_collect(k, &nodes), 0);
	share_nodes_free(nodes, 0);
	assert_int_equal(share_nodes_ask(k, on_kept), 1);
	assert_true(asked_to_keep());
	share_nodes_late(k);
	assert_int_equal(share_nodes_ask(k, on_kept), 0);
	say_kept(k, 0);
	assert_int_equal(kept, 1);
	assert_int_equal(share_nodes_collect(k, &nodes), 0);
	share_nodes_free(nodes, 0);
	assert_int_equal(pwrite(sv->nodes, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	assert_int_equal(share_nodes_ask(k, on_kept), 1);
	assert_true(asked_to_keep());
	say_kept(k, 0);
	assert_int_equal(kept, 2);
	size_t n = share_nodes_collect(k, &nodes);
	assert_int_equal(n, 1);
	int file = memfd_create("nodes", MFD_CLOEXEC);
	assert_int_equal(share_nodes_write(nodes, n, file, &err), 1);
	share_nodes_free(nodes, n);
	/* It ends while it is asked. */
	assert_int_equal(share_nodes_ask(k, on_kept), 1);
	shares_close(k);
	assert_int_equal(kept, 3);
	end(k);
	k = fresh(paths);
	k->workspace->nodes.fd = file;
	assert_int_equal(shares_start(k, &err), 0);
	sv = first_server(k);
	assert_int_equal(pread(sv->nodes, back, sizeof(back), 0), (ssize_t)sizeof(back));
	assert_memory_equal(back, bytes, sizeof(bytes));
	const struct mount *other = container_of(k->workspace->mounts.next->next, struct mount, in_list);
	assert_int_equal(pread(other->server->nodes, back, sizeof(back), 0), (ssize_t)sizeof(back));
	assert_memory_equal(back, ((uint8_t[sizeof(bytes)]){0}), sizeof(back));
	end(k);
	/* Cut off anywhere, there is none. */
	struct stat st;
	assert_int_equal(fstat(file, &st), 0);
	for (off_t len = st.st_size - 1; len >= 0; len--) {
		assert_int_equal(ftruncate(file, len), 0);
		k = fresh(paths);
		k->workspace->nodes.fd = file;
		struct mount m = {.k = k, .path = k->sb.paths[0]};
		int fd = share_nodes_new(&m);
		if (fd >= 0) {
			assert_int_equal(pread(fd, back, 4, 0), 4);
			assert_memory_equal(back, ((uint8_t[4]){0}), 4);
			close(fd);
		}
		end(k);
	}
	close(file);
}

/* The repository of a linked worktree: what git would run stays as it is, and the worktree's own part can be written.
 */
static void test_git_guards(void **state)
{
	char *const paths[] = {(char *)"/ab", (char *)"/a:git", (char *)"/a/b/e", NULL};
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	assert_int_equal(shares_start(k, &err), 0);
	PLAN("/ab:\n"
	     "/a: AUTO_MERGE BISECT_LOG BISECT_NAMES BISECT_START BISECT_TERMS CHERRY_PICK_HEAD HEAD "
	     "HEAD.lock MERGE_AUTOSTASH MERGE_HEAD MERGE_MODE MERGE_MSG MERGE_RR REBASE_HEAD REVERT_HEAD "
	     "SQUASH_MSG branches commondir config config.lock config.worktree config.worktree.lock "
	     "gitdir hooks index index.lock modules rebase-apply rebase-merge remotes sequencer worktrees b/e/\n"
	     "/a/b/e:\n");
	_cleanup_free_ char *path = hull_fmt("%s/a", base);
	assert_true(share_known(k, path));
	end(k);
}

static void test_file_is_readonly(void **state)
{
	char *const paths[] = {(char *)"/a/in/file", NULL};
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	assert_int_equal(shares_start(k, &err), 0);
	PLAN("/a/in/file ro:\n");
	end(k);
}

static void test_missing(void **state)
{
	char *const paths[] = {(char *)"/a", (char *)"/gone", NULL};
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	k->sb.name = (char *)"box";
	assert_int_equal(shares_start(k, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "hull unmount box"));
	assert_int_equal(plan.len, 0); /* nothing was started */
	end(k);
}

/* What a guest can do with a path that it may write: a symlink in place of a directory above another path. Nothing is
 * served by way of it. */
static void test_symlink(void **state)
{
	char *const paths[] = {(char *)"/a", (char *)"/a/b/e", NULL};
	_cleanup_free_ char *b = hull_fmt("%s/a/b", base), *aside = hull_fmt("%s/a/aside", base);
	_cleanup_free_ char *elsewhere = hull_fmt("%s/ab", base), *e = hull_fmt("%s/ab/e", base);
	struct hull_error err = {0};
	struct keeper *k = fresh(paths);
	k->sb.name = (char *)"box";
	assert_int_equal(mkdir(e, 0755), 0);
	assert_int_equal(rename(b, aside), 0);
	assert_int_equal(symlink(elsewhere, b), 0);
	assert_int_equal(shares_start(k, &err), -ELOOP);
	assert_non_null(strstr(err.msg, "symlink"));
	assert_non_null(strstr(err.msg, "hull unmount box"));
	assert_int_equal(plan.len, 0);
	end(k);
	/* The same with one that is added, and with the last part of the path. */
	k = fresh((char *[]){(char *)"/a", NULL});
	assert_int_equal(shares_start(k, &err), 0);
	k->guest->configured = true;
	_cleanup_free_ char *through = hull_fmt("%s/a/b/e", base);
	assert_int_equal(share_mount(k, through, HULL_PATH_READONLY, &err), -ELOOP);
	assert_int_equal(share_mount(k, b, HULL_PATH_READONLY, &err), -ELOOP);
	end(k);
	assert_int_equal(unlink(b), 0);
	assert_int_equal(rename(aside, b), 0);
	assert_int_equal(rmdir(e), 0);
}

static void test_too_many(void **state)
{
	char *paths[MOUNTS_MAX + 2] = {0};
	struct hull_error err = {0};
	for (int i = 0; i <= MOUNTS_MAX; i++) {
		_cleanup_free_ char *dir = hull_fmt("%s/n%d", base, i);
		mkdir(dir, 0755);
		paths[i] = hull_fmt("/n%d", i);
	}
	struct keeper *k = fresh(paths);
	k->sb.name = (char *)"box";
	assert_int_equal(shares_start(k, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "hull unmount box "));
	for (int i = 0; i <= MOUNTS_MAX; i++)
		free(paths[i]);
	end(k);
}

/* --- a path that is replaced --- */

static int gate[2]; /* looks wait for a byte from here */

static int slow_open(const char *path, struct stat *st, struct hull_error *e)
{
	char c;
	if (read(gate[0], &c, 1) != 1)
		return -EIO;
	return share_open_path(path, st, e);
}

static void tick(uv_timer_t *timer)
{
	unsigned *left = timer->data;
	if (--*left == 0)
		uv_timer_stop(timer);
}

/* A directory that is removed and made again is served. A host that takes its time to say what is at a path (a network
 * file system without its server) holds up nobody, nor the end. */
static void test_replaced(void **state)
{
	struct hull_error e = {0};
	_cleanup_free_ char *dir = hull_fmt("%s/again", base);
	struct stat was, is;
	uv_timer_t timer;
	unsigned ticks = 20;
	assert_int_equal(pipe(gate), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	struct keeper *k = fresh((char *[]){(char *)"/again", NULL});
	k->workspace->place.open = slow_open;
	assert_int_equal(shares_start(k, &e), 0);
	const struct mount *m = container_of(k->workspace->mounts.next, struct mount, in_list);
	assert_int_equal(fstat(m->fd, &was), 0);
	assert_non_null(k->workspace->place.look);
	size_t planned = plan.len;
	/* The first look is not over: the loop goes on. */
	uv_timer_init(&k->loop.uv, &timer);
	timer.data = &ticks;
	uv_timer_start(&timer, tick, 1, 1);
	while (ticks)
		uv_run(&k->loop.uv, UV_RUN_ONCE);
	assert_non_null(k->workspace->place.look);
	_cleanup_free_ char *aside = hull_fmt("%s/aside", base);
	assert_int_equal(rename(dir, aside), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(write(gate[1], "12345678", 8), 8);
	do {
		uv_run(&k->loop.uv, UV_RUN_ONCE);
		assert_int_equal(fstat(m->fd, &is), 0);
	} while (is.st_ino == was.st_ino);
	assert_int_equal(stat(dir, &was), 0);
	assert_int_equal(is.st_ino, was.st_ino);
	/* Its server starts when the one before has been reaped: the directory has to be there until then. */
	while (plan.len == planned)
		uv_run(&k->loop.uv, UV_RUN_ONCE);
	/* One that never comes back is left behind. */
	char left[8];
	while (k->workspace->place.look)
		uv_run(&k->loop.uv, UV_RUN_ONCE);
	hull_set_nonblock(gate[0], true);
	while (read(gate[0], left, sizeof left) > 0)
		;
	hull_set_nonblock(gate[0], false);
	assert_int_equal(rename(dir, aside), 0);
	while (!k->workspace->place.look)
		uv_run(&k->loop.uv, UV_RUN_ONCE);
	end(k);
	close(gate[1]);
	assert_int_equal(rmdir(aside), 0);
}

static int set_up(void **state)
{
	static const char *const dirs[] = {"a", "a/in", "a/b", "a/b/c", "a/b/c/d", "a/b/e", "ab", "ab/x"};
	struct hull_error err;
	if (!mkdtemp(base))
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		_cleanup_free_ char *dir = hull_fmt("%s/%s", base, dirs[i]);
		mkdir(dir, 0755);
	}
	_cleanup_free_ char *file = hull_fmt("%s/a/in/file", base);
	return hull_write_file_atomic(AT_FDCWD, file, "x", 1, 0644, &err);
}

static int tear_down(void **state)
{
	hull_buf_free(&plan);
	return hull_remove_tree(AT_FDCWD, base, NULL);
}

/* Commands start in the first path, whatever stands behind it in the list. */
static void test_workdir(void **state)
{
	static const char *const entries[] = {"/a", "/a:ro", "/a:git"};
	_cleanup_free_ char *want = hull_fmt("%s/a", base);
	for (size_t i = 0; i < 3; i++) {
		char *const paths[] = {(char *)(uintptr_t)entries[i], NULL};
		struct hull_error err = {0};
		struct keeper *k = fresh(paths);
		_cleanup_(hull_buf_free) struct hull_buf args = {0};
		struct hull_arg a;
		bool found = false;
		char *none[] = {NULL};
		k->sb.env = none;
		assert_int_equal(shares_start(k, &err), 0);
		assert_int_equal(relay_arguments(k, HULL_SVC_EXEC, NULL, 0, &args), 0);
		struct hull_cur cur = hull_cur_make(hull_buf_bytes(&args), args.len);
		while (hull_args_next(&cur, &a))
			if (a.tag == HULL_TAG_WORKDIR) {
				found = true;
				assert_int_equal(a.n, strlen(want));
				assert_memory_equal(a.p, want, a.n);
			}
		assert_true(found);
		end(k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_guards_of_a_running_server),
		cmocka_unit_test(test_file_is_readonly),
		cmocka_unit_test(test_workdir),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_symlink),
		cmocka_unit_test(test_git_guards),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_nodes),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

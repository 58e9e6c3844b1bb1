/* SPDX-License-Identifier: Apache-2.0 */
/* Repositories that are made to have hull's git run their programs (src/git/jail.c): filters, hooks, watchers,
 * transports. None of them runs, with namespaces and without, and what hull wants of the repository works. What they
 * would have done is to leave a mark at base/PWN-*. Needs git. */
#include "git/git.h"
#include "git/internal.h"
#include "git_rig.h"
#include "remote/remote.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char MAKE[] =
	"make() { mkdir $1; cd $1; git init -q -b main .; echo hi >f; echo '*.bin filter=evil diff=evil' "
	">.gitattributes; "
	"echo data >a.bin; git add .; git -c user.name=a -c user.email=a@a commit -qm one; }; "
	"evil() { printf '#!/bin/sh\\ntouch %s/PWN-%s\\ncat\\n' $B $1 >$B/evil-$1; chmod +x $B/evil-$1; }; ";

static const char PROGRAMS[] =
	"for k in filter.evil.clean filter.evil.smudge filter.evil.process diff.evil.textconv diff.evil.command "
	"diff.external core.fsmonitor core.pager core.editor core.sshCommand core.askPass gpg.program "
	"uploadpack.packObjectsHook core.alternateRefsCommand core.gitProxy; do evil $k; git config $k $B/evil-$k; "
	"done; "
	"git config --unset filter.evil.process; git config credential.helper \"!touch $B/PWN-cred\"; "
	"git config remote.origin.url \"ext::sh -c touch% $B/PWN-ext\"; git config protocol.ext.allow always; "
	"git config alias.status \"!touch $B/PWN-alias\"; git config trace2.eventTarget $B/PWN-trace2; "
	"git config include.path $B/other-config; "
	"for h in post-index-change reference-transaction post-checkout pre-auto-gc fsmonitor-watchman pre-push; do "
	"evil hook-$h; cp $B/evil-hook-$h .git/hooks/$h; done; touch -d '2001-01-01' a.bin; ";

static const char PARTIAL[] =
	"I=$(git rev-parse HEAD:a.bin); git config extensions.partialClone origin; "
	"git config core.repositoryformatversion 1; git config remote.origin.promisor true; "
	"git config remote.origin.partialclonefilter blob:none; "
	"git rev-list --objects --all | cut -d' ' -f1 | grep -v $I | git pack-objects -q .git/objects/pack/pack "
	">$B/id; "
	"touch .git/objects/pack/pack-$(cat $B/id).promisor; rm -rf .git/objects/[0-9a-f][0-9a-f]; ";

static int set_up(void **state)
{
	if (!mkdtemp(base))
		return -1;
	setenv("HOME", base, 1);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	unsetenv("GIT_DIR");
	unsetenv("XDG_CONFIG_HOME");
	return shell("%s git config --global user.name 'A B'; (make r1; %s); "
		     "(make r2; evil lazy; git config remote.origin.url ssh://x/y; git config core.sshCommand "
		     "$B/evil-lazy; %s); "
		     "(make r3; git config remote.origin.url \"ext::sh -c touch%% $B/PWN-ext-lazy\"; "
		     "git config protocol.ext.allow always; %s); rm -f PWN-*",
		     MAKE, PROGRAMS, PARTIAL, PARTIAL);
}

static int send_to(const char *top, const char *file)
{
	_cleanup_free_ char *out = hull_fmt("%s/%s", base, file);
	_cleanup_close_ int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	return hull_git_send(top, fd, &err);
}

static bool marked(void)
{
	return shell("[ -z \"$(ls -d PWN-* 2>/dev/null)\" ]") != 0;
}

/* Fetch from base/far into a repository, and push to it. */
static bool across(const char *repository)
{
	_cleanup_(hull_git_own_free) struct hull_git_own own = {0};
	_cleanup_(hull_buf_free) struct hull_buf told = {0}, answer = {0};
	_cleanup_(remote_adv_free) struct remote_adv adv = {0};
	_cleanup_free_ char *dir = hull_fmt("%s/.git", repository), *far = hull_fmt("%s/far", base), *keep = NULL;
	char *const upload[] = {(char *)"git", (char *)"upload-pack", far, NULL};
	char *const receive[] = {(char *)"git", (char *)"receive-pack", far, NULL};
	char *specs[] = {(char *)"refs/heads/main:refs/heads/pushed", NULL};
	struct remote_far f = REMOTE_FAR_NONE;
	size_t n = 0;
	int r = hull_git_own_open(dir, NULL, &own, &err);
	if (r == 0)
		r = remote_far_start(&f, upload, &err);
	if (r == 0)
		r = remote_far_adv(&f, &adv, &err);
	remote_far_end(&f);
	const char *found = r == 0 ? remote_find(&adv.refs, "refs/heads/new", &n) : NULL;
	_cleanup_free_ char *id = found ? strndup(found, n) : NULL;
	char *ids[] = {id, NULL};
	if (!id)
		return r == 0 ? hull_fail(&err, -EIO, "no new branch"), false : false;
	r = remote_far_start(&f, upload, &err);
	if (r == 0)
		r = remote_fetch(&f, &own, ids, NULL, NULL, &keep, &err);
	remote_far_end(&f);
	if (r < 0 ||
	    shell("cd r1; GIT_CONFIG_GLOBAL=/dev/null git -c core.hooksPath=/dev/null cat-file -e %s", id) != 0)
		return false;
	const struct remote_push push = {.specs = specs, .told = &told};
	r = remote_far_start(&f, receive, &err);
	if (r == 0)
		r = remote_push(&f, &own, &push, &answer, &err);
	remote_far_end(&f);
	return r == 0 && shell("git -C far rev-parse -q --verify refs/heads/pushed >/dev/null") == 0;
}

/* All that hull does with a repository. False with the reason in err.msg. */
static bool all_of_it(void)
{
	_cleanup_free_ char *r1 = hull_fmt("%s/r1", base), *r2 = hull_fmt("%s/r2", base), *r3 = hull_fmt("%s/r3", base);
	_cleanup_(hull_git_repo_free) struct hull_git_repo repo = {0};
	bool kept;
	if (hull_git_inspect(r1, &repo, &err) < 0 || send_to(r1, "stream") < 0)
		return false;
	if (shell("grep -aq '^# v2 git bundle$' stream && sed '1,/^bundle$/d' stream | tail -c +2 >bundle && "
		  "rm -rf cloned && git clone -q -b main bundle cloned 2>words && [ -f cloned/f ]") != 0)
		return hull_fail(&err, -EIO, "the bundle is none"), false;
	if (hull_git_remote_add(r1, "box", &err) < 0)
		return false;
	if (shell("cd r1; [ \"$(git config remote.hull-box.url)\" = hull::box ]; mkdir -p .git/refs/remotes/hull-box; "
		  "git rev-parse HEAD >.git/refs/remotes/hull-box/main; rm -f $B/PWN-*") != 0)
		return hull_fail(&err, -EIO, "no remote"), false;
	if (hull_git_remote_remove(r1, "box", &kept, &err) < 0)
		return false;
	if (kept || shell("cd r1; [ ! -e .git/refs/remotes/hull-box/main ] && ! grep -q hull-box .git/config") != 0)
		return hull_fail(&err, -EIO, "the remote is still there"), false;
	/* What git-remote-hull does with it. Its alternate has references, which core.alternateRefsCommand would list.
	 */
	if (shell("rm -rf far alt; git clone -q --bare cloned far; git clone -q --bare cloned alt; cd r1; echo "
		  "$B/alt/objects "
		  ">.git/objects/info/alternates; git -C ../far branch new $(git -C ../far -c user.name=a -c "
		  "user.email=a@a commit-tree -m new "
		  "HEAD^{tree}); "
		  "rm -f $B/PWN-*") != 0)
		return hull_fail(&err, -EIO, "no far end"), false;
	if (!across(r1))
		return false;
	/* What is missing is not fetched. */
	if (send_to(r2, "lazy") == 0 || send_to(r3, "lazy") == 0)
		return hull_fail(&err, -EIO, "a repository without all of its objects was sent"), false;
	return true;
}

static void test_nothing_runs(void **state)
{
	if (!all_of_it())
		fail_msg("%s", err.msg);
	assert_false(marked());
}

/* Where namespaces are forbidden. */
static void test_nothing_runs_without_namespaces(void **state)
{
	char *said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (pid == 0) {
		scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 0) < 0 || seccomp_load(ctx) < 0)
			_exit(2);
		bool ok = all_of_it();
		snprintf(said, 4096, "%s", err.msg);
		_exit(ok ? 0 : strstr(said, "no Landlock") ? 77 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 77)
		skip();
	if (status != 0)
		fail_msg("%s", said);
	assert_false(marked());
}

/* What was told of a shallow history is ids, and nothing of a file that a symlink leads to. */
static void test_shallow_is_ids(void **state)
{
	_cleanup_free_ char *top = hull_fmt("%s/r4", base);
	assert_int_equal(shell("%s (make r4; echo my-secret >$B/secret; ln -s $B/secret .git/shallow)", MAKE), 0);
	send_to(top, "shallow-stream");
	assert_int_equal(shell("! grep -aq my-secret shallow-stream"), 0);
}

/* Files that never open: Hull's own reading refuses them, and a git that hangs on one is ended. */
static void test_fifos(void **state)
{
	static const char *const files[] = {".git/HEAD",       ".git/config",
					    ".git/index",      ".git/refs/heads/main",
					    ".git/shallow",    ".git/objects/info/alternates",
					    ".git/packed-refs"};
	hull_git_stall_ms = 500;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		_cleanup_free_ char *top = hull_fmt("%s/r5", base);
		_cleanup_(hull_git_repo_free) struct hull_git_repo repo = {0};
		bool kept;
		assert_int_equal(shell("rm -rf r5; %s (make r5; rm -f %s; mkfifo %s)", MAKE, files[i], files[i]), 0);
		alarm(100);
		int r[] = {hull_git_inspect(top, &repo, &err), send_to(top, "fifo-stream"),
			   hull_git_remote_add(top, "box", &err), hull_git_remote_remove(top, "box", &kept, &err)};
		alarm(0);
		if (strstr(files[i], "config"))
			assert_int_equal(r[3], -EDEADLK);
		if (strstr(files[i], "HEAD"))
			assert_true(r[0] < 0 && r[1] < 0);
	}
	hull_git_stall_ms = 30000;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_runs),
		cmocka_unit_test(test_nothing_runs_without_namespaces),
		cmocka_unit_test(test_shallow_is_ids),
		cmocka_unit_test(test_fifos),
	};
	if (system("git --version >/dev/null 2>&1") != 0) {
		puts("1..0 # SKIP no git");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

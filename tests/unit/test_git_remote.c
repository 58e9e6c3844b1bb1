/* SPDX-License-Identifier: Apache-2.0 */
/* git-remote-hull's talk with git in a sandbox (src/remote), the far end being git here, or a program that lies. What
 * was refused leaves nothing in the repository. Needs git and python3; works in a directory of its own. */
#include "remote/remote.h"

#include "git/internal.h"
#include "git_rig.h"

#include <signal.h>

static struct hull_git_own own;

/* The last line that a command prints. */
static char *said(const char *cmd)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_free_ char *file = hull_fmt("%s/said", base);
	assert_int_equal(shell("{ %s; } >said", cmd), 0);
	assert_int_equal(hull_read_file(AT_FDCWD, file, 1 << 20, &b, &err), 0);
	return b.len ? strndup((const char *)hull_buf_bytes(&b), b.len - 1) : strdup("");
}

static int set_up(void **state)
{
	if (!mkdtemp(base))
		return -1;
	signal(SIGPIPE, SIG_IGN);
	setenv("HOME", base, 1);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	unsetenv("GIT_DIR");
	unsetenv("XDG_CONFIG_HOME");
	if (shell("git config --global user.name a; git config --global user.email a@b; git config --global "
		  "init.defaultBranch main; git init -q here; cd here; for i in 1 2 3; do echo $i >f; git add f; git "
		  "commit -qm $i; done; cd ..; git clone -q here far; cd far; head -c 100000 /dev/urandom >r; git add "
		  "r; for i in 4 5; do echo $i >f; git commit "
		  "-qam $i; done; git checkout -q --detach; git branch other HEAD~3") != 0)
		return -1;
	_cleanup_free_ char *dir = hull_fmt("%s/here/.git", base);
	return hull_git_own_open(dir, NULL, &own, &err);
}

static int clean_up(void **state)
{
	hull_git_own_free(&own);
	return tear_down(state);
}

/* Fetch an id from what a shell command is. */
static int fetch(const struct hull_git_own *into, const char *id, char **keep, const char *cmd)
{
	_cleanup_(remote_far_end) struct remote_far f = REMOTE_FAR_NONE;
	_cleanup_free_ char *all = hull_fmt("cd %s; %s", base, cmd);
	char *const argv[] = {(char *)"sh", (char *)"-c", all, NULL};
	char *ids[] = {(char *)(uintptr_t)id, NULL};
	*keep = NULL;
	err = (struct hull_error){0};
	assert_int_equal(remote_far_start(&f, argv, &err), 0);
	return remote_fetch(&f, into, ids, NULL, NULL, keep, &err);
}

/* Nothing is left of what was refused. */
static void assert_untouched(void)
{
	assert_int_equal(shell("cd here/.git/objects; [ -z \"$(ls -d tmp_* pack/* 2>/dev/null)\" ]; git fsck --full "
			       "2>/dev/null"),
			 0);
}

/* A fetch that is refused, with a word. */
static void refuses(const char *id, const char *cmd, const char *why)
{
	_cleanup_free_ char *keep = NULL;
	assert_true(fetch(&own, id, &keep, cmd) < 0);
	if (!strstr(err.msg, why))
		fail_msg("%s: %s", cmd, err.msg);
	assert_untouched();
}

static void test_refused(void **state)
{
	_cleanup_free_ char *tip = said("git -C far rev-parse main");
	_cleanup_free_ char *dot_git = said(
		"cd far; git commit-tree -m evil $(printf '100644 blob %s\\t.git\\n' $(git rev-parse HEAD:f) | git "
		"mktree) | tee id; git update-ref refs/heads/evil $(cat id)");
	refuses(dot_git, "git upload-pack far", "'.git'");
	assert_int_equal(shell("git -C far update-ref -d refs/heads/evil"), 0);
	refuses(tip, "git upload-pack none", "not appear to be a git repository");
	refuses(tip, "git upload-pack far | dd bs=1 count=20000 status=none", "in the middle");
	refuses(tip, "printf '00', ; cat /dev/urandom", "not follow git's protocol");
	refuses(tip, "printf '0009ERR \\033[2J'", "git in it reported");
	assert_null(strchr(err.msg, '\033'));
	refuses(tip, "while :; do echo remote: 0123456789012345678901234567890123456789; done | head -c 1000000 >&2",
		"more than is kept");
	refuses(tip,
		"exec python3 -c \"import sys\nid='0'*39+'1'\nw=lambda s: sys.stdout.write('%04x'%(len(s)+4)+s)\n"
		"w(id+' HEAD\\0side-band-64k\\n')\nwhile 1: w(id+' refs/heads/'+'x'*4000)\" 2>/dev/null",
		"list of references exceeds");
	/* A pack that claims more objects than there is room for; one of another's object; one with nothing behind it.
	 */
	static const char lie[] = "exec python3 -c \"import sys,os\nw=lambda s: os.write(1,b'%%04x'%%(len(s)+4)+s)\n"
				  "w(b'%s HEAD\\0side-band-64k')\nos.write(1,b'0000')\n"
				  "w(b'NAK\\n')\nw(b'\\1PACK\\0\\0\\0\\2'+%s)\nos.write(1,b'0000')\nsys.stdin.read()\"";
	_cleanup_free_ char *nothing = hull_fmt(lie, tip, "b'\\0\\0\\0\\1'"),
			    *junk = hull_fmt(lie, tip, "b'\\0\\0\\0\\1'+os.urandom(4000)");
	refuses(tip, nothing, "early EOF");
	refuses(tip, junk, "");
	refuses("main", "git upload-pack far", "no object has the id");
	/* Objects without what they lead to. */
	_cleanup_free_ char *part = hull_fmt(
		"git -C far rev-parse main | git -C far pack-objects -q --stdout >part; %s",
		"exec python3 -c \"import os,sys\nw=lambda s: os.write(1,b'%04x'%(len(s)+4)+s)\n"
		"id=os.popen('git -C far rev-parse main').read().strip().encode()\nw(id+b' HEAD\\0side-band-64k')\n"
		"os.write(1,b'0000')\nw(b'NAK\\n')\nw(b'\\1'+open('part','rb').read())\nos.write(1,b'0000')\nsys.stdin."
		"read()\"");
	refuses(tip, part, "did not receive expected object");
}

static void test_fetch(void **state)
{
	_cleanup_free_ char *tip = said("git -C far rev-parse main"), *keep = NULL, *again = NULL;
	/* What is here is not sent once more: three objects for each of two commits, and a file. */
	assert_int_equal(fetch(&own, tip, &keep, "exec git upload-pack far"), 0);
	assert_non_null(keep);
	assert_int_equal(
		shell("[ -f '%s' ]; cd here; git fsck --strict 2>/dev/null; git rev-list --objects %s --not main | "
		      "wc -l | grep -qx 7; ls .git/objects/pack/*.idx | wc -l | grep -qx 1; git show-index "
		      "<$(ls .git/objects/pack/*.idx) | wc -l | grep -q '^[78]$'; [ -z \"$(ls -d .git/objects/tmp_* "
		      "2>/dev/null)\" ]; git update-ref refs/remotes/x/main %s",
		      keep, tip, tip),
		0);
	assert_int_equal(fetch(&own, tip, &again, "exec git upload-pack far"), 0);
	assert_int_equal(shell("rm -rf here/.git/objects/pack/*.keep; cd here; git fsck --strict 2>/dev/null"), 0);
}

/* Into a linked worktree, a shallow repository, one of SHA-256, and a path with what a list of paths would be parted
 * by. */
static void test_fetch_elsewhere(void **state)
{
	static const char *const make[] = {
		"git -C here worktree add -q --detach '../to:o \"dd'; ls -d \"$PWD\"/here/.git/worktrees/*",
		"git clone -q --depth 1 file://$PWD/here 'shal:low'; echo \"$PWD/shal:low/.git\"",
		"git init -q --object-format=sha256 big; git init -q --object-format=sha256 new; cd big; echo 1 >f; "
		"git add f; "
		"git commit -qm 1; echo \"$PWD/../new/.git\"",
	};
	for (size_t i = 0; i < sizeof make / sizeof *make; i++) {
		_cleanup_(hull_git_own_free) struct hull_git_own o = {0};
		_cleanup_free_ char *dir = said(make[i]), *keep = NULL;
		_cleanup_free_ char *id = said(i == 2 ? "git -C big rev-parse HEAD" : "git -C far rev-parse main");
		assert_int_equal(hull_git_own_open(dir, NULL, &o, &err), 0);
		if (fetch(&o, id, &keep, i == 2 ? "git upload-pack big" : "git upload-pack far") < 0)
			fail_msg("%s: %s", dir, err.msg);
		assert_int_equal(shell("git --git-dir='%s' log %s >/dev/null; ls '%s'/pack/*.idx >/dev/null", dir, id,
				       o.objects),
				 0);
	}
	assert_int_equal(shell("git -C here worktree remove -f '../to:o \"dd'"), 0);
}

static int push(const char *cmd, const char *told, bool atomic, char *const *specs, char **answer)
{
	_cleanup_(remote_far_end) struct remote_far f = REMOTE_FAR_NONE;
	_cleanup_(hull_buf_free) struct hull_buf refs = {0}, out = {0};
	_cleanup_free_ char *all = hull_fmt("cd %s; %s", base, cmd);
	char *const argv[] = {(char *)"sh", (char *)"-c", all, NULL};
	const struct remote_push p = {.specs = specs, .told = &refs, .atomic = atomic};
	err = (struct hull_error){0};
	assert_int_equal(hull_buf_addstr(&refs, told), 0);
	assert_int_equal(remote_far_start(&f, argv, &err), 0);
	int r = remote_push(&f, &own, &p, &out, &err);
	free(*answer);
	*answer = out.len ? strndup((const char *)hull_buf_bytes(&out), out.len) : strdup("");
	return r;
}

static void test_push(void **state)
{
	_cleanup_free_ char *told = NULL, *answer = NULL;
	assert_int_equal(shell("cd here; git checkout -q -b work; echo 9 >f; git commit -qam nine; git tag -a -m t v1"),
			 0);
	told = said("git -C far for-each-ref --format='%(objectname) %(refname)' | tee told; echo");
	char *fresh[] = {(char *)"refs/heads/work:refs/heads/work", (char *)"refs/tags/v1:refs/tags/v1",
			 (char *)"refs/heads/nothing:refs/heads/nothing", NULL};
	assert_int_equal(push("git receive-pack far", told, false, fresh, &answer), 0);
	assert_non_null(strstr(answer, "ok refs/heads/work\n"));
	assert_non_null(strstr(answer, "ok refs/tags/v1\n"));
	assert_non_null(strstr(answer, "error refs/heads/nothing no match\n"));
	assert_int_equal(
		shell("git -C far fsck 2>/dev/null; [ \"$(git -C far show work:f)\" = 9 ]; git -C far cat-file -t "
		      "v1 | grep -qx tag"),
		0);
	/* It has changed since git was told of it. */
	char *stale[] = {(char *)"refs/heads/main:refs/heads/work", NULL};
	assert_int_equal(push("git receive-pack far", told, false, stale, &answer), 0);
	assert_string_equal(answer, "error refs/heads/work fetch first\n");
	char *forced[] = {(char *)"+refs/heads/main:refs/heads/work", (char *)"+:refs/tags/v1", NULL};
	assert_int_equal(push("git receive-pack far", told, false, forced, &answer), 0);
	assert_non_null(strstr(answer, "ok refs/heads/work\n"));
	assert_non_null(strstr(answer, "ok refs/tags/v1\n"));
	assert_int_equal(shell("! git -C far rev-parse -q --verify v1; [ \"$(git -C far show work:f)\" = 3 ]"), 0);
	assert_int_equal(push("git receive-pack far", told, false, forced, &answer), 0);
	assert_non_null(strstr(answer, "ok refs/heads/work up to date\n"));
	/* All or nothing. */
	char *both[] = {(char *)"+refs/heads/work:refs/heads/p", (char *)"refs/heads/nothing:refs/heads/q", NULL};
	assert_int_equal(push("git receive-pack far", told, true, both, &answer), 0);
	assert_non_null(strstr(answer, "error refs/heads/p atomic push failed\n"));
	assert_int_equal(shell("! git -C far rev-parse -q --verify p"), 0);
	/* What the far end refuses, in its words. */
	assert_int_equal(shell("cd far; git checkout -q work"), 0);
	char *checked_out[] = {(char *)"+refs/heads/work:refs/heads/work", NULL};
	assert_int_equal(push("git receive-pack far", told, false, checked_out, &answer), 0);
	assert_string_equal(answer, "error refs/heads/work branch is currently checked out\n");
	assert_true(push("git receive-pack none", told, false, both, &answer) < 0);
	assert_true(push("printf '0004'; cat", told, false, both, &answer) < 0);
	char *odd[] = {(char *)"--upload-pack=x:refs/heads/p", NULL};
	assert_true(push("git receive-pack far", told, false, odd, &answer) < 0);
}

/* A git that waits for ever while the pack is written to it is ended: when it stalls (it has opened a FIFO, which a
 * workspace's guest has put in an object's place), and on an interrupt. So is one that makes a pack which nobody takes. */
static void test_interrupted(void **state)
{
	_cleanup_free_ char *tip = said("git -C far rev-parse main"), *keep = NULL, *answer = NULL;
	_cleanup_free_ char *far = hull_fmt(
		"exec python3 -c \"import os,zlib\nw=lambda s: os.write(1,b'%%04x'%%(len(s)+4)+s)\n"
		"w(b'%s HEAD\\0side-band-64k report-status')\nos.write(1,b'0000')\nw(b'NAK\\n')\n"
		"w(b'\\1PACK\\0\\0\\0\\2\\0\\0\\0\\2\\x33'+zlib.compress(b'hi\\n'))\n"
		"open('stop','w').write(os.environ.get('WORD',''))\n"
		"while 1: w(b'\\1'+os.urandom(60000))\"",
		tip);
	_cleanup_free_ char *fifo = hull_fmt("%s/stop", base), *interrupt = hull_fmt("export WORD=x; %s", far);
	assert_int_equal(
		shell("mkfifo stop; I=$(echo hi | git hash-object --stdin | sed 's,..,&/,'); cd here/.git/objects; "
		      "mkdir -p ${I%%/*}; mkfifo $I; cd ../..; git checkout -q -b big; head -c 3000000 /dev/urandom "
		      ">big; git add big; git commit -qm big"),
		0);
	own.stop_fd = open(fifo, O_RDWR | O_CLOEXEC);
	int patience = hull_git_stall_ms;
	hull_git_stall_ms = 300;
	assert_int_equal(fetch(&own, tip, &keep, far), -EDEADLK);
	assert_non_null(strstr(err.msg, "FIFO"));
	hull_git_stall_ms = patience;
	assert_int_equal(fetch(&own, tip, &keep, interrupt), -ECANCELED);
	assert_string_equal(err.msg, "interrupted");
	assert_int_equal(shell("[ -z \"$(ls -d here/.git/objects/tmp_* 2>/dev/null)\" ]; head -c 1 <>stop "
			       ">/dev/null"),
			 0);
	char *specs[] = {(char *)"refs/heads/big:refs/heads/big", NULL};
	assert_int_equal(push("printf '0058%040d capabilities^{}\\0report-status side-band-64k0000' 0; echo x "
			      ">stop; exec sleep 1000",
			      "", false, specs, &answer),
			 -ECANCELED);
	close(hull_steal_fd(&own.stop_fd));
	/* Of a far end that ended, the user is told what it said. */
	assert_true(push("printf '0058%040d capabilities^{}\\0report-status side-band-64k0000' 0; echo no room >&2", "",
			 false, specs, &answer) < 0);
	assert_string_equal(err.msg, "no room");
	assert_int_equal(
		shell("find here/.git -type p -delete; rm stop; cd here; git checkout -q main; git branch -qD big"), 0);
}

#define ID "0123456789abcdef0123456789abcdef01234567"

static void check_list(const char *const *lines, const char *expected)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	_cleanup_(remote_adv_free) struct remote_adv a = {0};
	for (; *lines; lines++) {
		char line[512];
		size_t n = strlen(*lines);
		memcpy(line, *lines, n);
		char *caps = memchr(line, '|', n); /* as a NUL is written here */
		if (caps)
			*caps = '\0';
		assert_int_equal(remote_adv_line(&a, line, n, &err), 0);
	}
	assert_int_equal(remote_list(&a, &b), 0);
	assert_int_equal(b.len, strlen(expected));
	assert_memory_equal(b.len ? (const char *)hull_buf_bytes(&b) : "", expected, b.len);
}

static void test_list(void **state)
{
	static const char *const usual[] = {ID " HEAD|symref=HEAD:refs/heads/main x\n", ID " refs/heads/main\n",
					    ID " refs/tags/t^{}\n", "shallow " ID "\n", NULL};
	check_list(usual, "@refs/heads/main HEAD\n" ID " refs/heads/main\n");
	/* What would be something else to git than a reference. */
	static const char *const odd[] = {"lock /etc/passwd|symref=HEAD:/etc symref=HEAD:refs/heads/a\x1b",
					  "\n",
					  ID " lock /etc/passwd",
					  ID " refs/heads/a b",
					  ID " refs/heads/\x1b[2J",
					  ID " refs/heads/\xc2\x9b"
					     "2J",
					  ID " refs/heads/\x9b"
					     "2J",
					  ID " refs/heads/\xe2\x80\xaey",
					  ID " refs/heads/x\ny",
					  ID "\trefs/heads/x",
					  "foo refs/heads/x",
					  ID "0 refs/heads/x",
					  ID "abcdef0123456789abcdef01 refs/heads/m",
					  NULL};
	check_list(odd, "");
	static const char *const wide[] = {ID "abcdef0123456789abcdef01 refs/heads/m|object-format=sha256", NULL};
	check_list(wide, ":object-format sha256\n" ID "abcdef0123456789abcdef01 refs/heads/m\n");
	static const char *const none[] = {"0000000000000000000000000000000000000000 capabilities^{}|side-band-64k",
					   NULL};
	check_list(none, "");
	struct remote_adv a = {0};
	assert_int_equal(remote_adv_line(&a, "version 2", 9, &err), -EPROTO);
}

static void test_status(void **state)
{
	char *refs[] = {(char *)"refs/heads/a", (char *)"refs/heads/b", NULL};
	static const char text[] =
		"unpack ok\nok refs/heads/a\nng refs/heads/b no \x1b[2J\nok refs/heads/c\nlock /x\n\noption x\n";
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	assert_int_equal(remote_status(text, strlen(text), refs, &b), 0);
	static const char expected[] = "ok refs/heads/a\nerror refs/heads/b no \\x1b[2J\n";
	assert_int_equal(b.len, strlen(expected));
	assert_memory_equal(hull_buf_bytes(&b), expected, b.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_fetch_elsewhere),
		cmocka_unit_test(test_push),
		cmocka_unit_test(test_interrupted),
	};
	if (system("git --version >/dev/null 2>&1 && python3 --version >/dev/null") != 0) {
		puts("1..0 # SKIP no git, or no python3");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, clean_up);
}

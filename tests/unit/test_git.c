/* SPDX-License-Identifier: Apache-2.0 */
/* The host's repositories as hull sees them (src/git). Needs git; works in a directory of its own. */
#include "git/git.h"
#include "git_rig.h"

/* As shell(), which has to succeed. */
#define shell(...) assert_int_equal(shell(__VA_ARGS__), 0)

static char *path(const char *name)
{
	return hull_fmt("%s/%s", base, name);
}

static char *stream_of(const char *top)
{
	_cleanup_free_ char *file = path("stream");
	_cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	assert_int_equal(hull_git_send(top, fd, &err), 0);
	assert_int_equal(hull_read_file(AT_FDCWD, file, 1 << 24, &b, &err), 0);
	char *text = calloc(1, b.len + 1);
	memcpy(text, hull_buf_bytes(&b), b.len);
	for (size_t i = 0; i < b.len; i++) /* the pack is not for strstr */
		text[i] = text[i] ? text[i] : ' ';
	return text;
}

static int set_up(void **state)
{
	if (!mkdtemp(base))
		return -1;
	setenv("HOME", base, 1);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	unsetenv("GIT_DIR");
	shell("git config --global user.name 'A B'; git config --global user.email a@b.c; git init -q -b main r; cd r; "
	      "mkdir sub; echo 1 >f; echo 2 >sub/g; echo ignored >.gitignore; git add .; git commit -q -m one; git tag "
	      "t; "
	      "echo s >ignored; git remote add origin https://user:secret@example.com/x.git");
	return 0;
}

static void test_urls(void **state)
{
	static const char *const table[][2] = {
		{"https://example.com/x.git", "https://example.com/x.git"},
		{"https://user:secret@example.com/x.git", "https://example.com/x.git"},
		{"https://token@example.com:8443/x@y.git", "https://example.com:8443/x@y.git"},
		{"https://example.com/x.git?private_token=1#f", "https://example.com/x.git"},
		{"HTTPS://a@b:c@example.com/x", "HTTPS://example.com/x"},
		{"ssh://git@example.com/x.git", "ssh://git@example.com/x.git"},
		{"ssh://git:secret@example.com/x.git", "ssh://git@example.com/x.git"},
		{"git@example.com:x.git", "git@example.com:x.git"},
		{"/srv/x.git", "/srv/x.git"},
		{"../x::y.git", "../x::y.git"},
		{"helper::https://u:p@example.com/x", "helper::https://example.com/x"},
		{"a::b::ftp://u:p@example.com/x", "a::b::ftp://example.com/x"},
		{"https://u:p@[::1]:80/x", "https://[::1]:80/x"},
		{"", ""},
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		_cleanup_free_ char *plain = hull_git_plain_url(table[i][0]);
		assert_string_equal(plain, table[i][1]);
	}
}

static void test_inspect(void **state)
{
	_cleanup_free_ char *r = path("r"), *sub = path("r/sub"), *wt = path("wt"), *none = path("none");
	_cleanup_free_ char *bare = path("bare");
	struct hull_git_repo repo;
	assert_int_equal(hull_git_inspect(sub, &repo, &err), 0);
	assert_string_equal(repo.top, r);
	assert_false(repo.uncommitted || repo.submodules);
	hull_git_repo_free(&repo);
	shell("echo 3 >r/new; git -C r worktree add -q -b side ../wt; mkdir none; git init -q --bare bare");
	assert_int_equal(hull_git_inspect(r, &repo, &err), 0);
	assert_true(repo.uncommitted);
	hull_git_repo_free(&repo);
	assert_int_equal(hull_git_inspect(wt, &repo, &err), 0);
	assert_string_equal(repo.top, wt);
	hull_git_repo_free(&repo);
	assert_int_equal(hull_git_inspect(none, &repo, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a git repository"));
	assert_int_equal(hull_git_inspect(bare, &repo, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "bare"));
	shell("rm r/new");
	/* A variable of a caller's (a hook) does not lead elsewhere. */
	setenv("GIT_DIR", bare, 1);
	assert_int_equal(hull_git_inspect(r, &repo, &err), 0);
	assert_string_equal(repo.top, r);
	hull_git_repo_free(&repo);
	unsetenv("GIT_DIR");
}

/* What a `.git` file says is believed only when the repository says the same. */
static void test_worktree(void **state)
{
	_cleanup_(hull_git_worktree_free) struct hull_git_worktree w = {0};
	_cleanup_free_ char *main_tree = path("r"), *tree = path("linked tree"), *below = path("linked tree/sub");
	_cleanup_free_ char *common = path("r/.git"), *own = path("r/.git/worktrees/linked-tree");
	_cleanup_free_ char *other = path("other"), *module = path("module");
	shell("git -C r worktree add -q '../linked tree' -b linked");
	assert_int_equal(hull_git_worktree(main_tree, &w, &err), 0);
	assert_int_equal(hull_git_worktree(below, &w, &err), 0);
	assert_int_equal(hull_git_worktree("/does/not/exist", &w, &err), 0);
	assert_int_equal(hull_git_worktree(tree, &w, &err), 1);
	assert_string_equal(w.common, common);
	shell("ln -s 'linked tree' alias; test \"$(cat '%s/gitdir')\" = '%s/.git'", own, tree);
	assert_string_equal(w.own, own);
	hull_git_worktree_free(&w);
	/* One that another directory has, or that is none: a stranger's directory is not given away by a file. */
	shell("mkdir other; cp 'linked tree/.git' other/");
	assert_int_equal(hull_git_worktree(other, &w, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "git worktree repair"));
	shell("mkdir -p loot/worktrees/x; echo ../.. >loot/worktrees/x/commondir; echo %s/.git "
	      ">loot/worktrees/x/gitdir; "
	      "echo 'gitdir: ../loot/worktrees/x' >other/.git",
	      other);
	assert_int_equal(hull_git_worktree(other, &w, &err), -EINVAL); /* no repository */
	shell("cd loot/worktrees/x; echo ../../.. >commondir");
	assert_int_equal(hull_git_worktree(other, &w, &err), 0);
	shell("ln -sf ../'linked tree'/.git other/.git");
	assert_int_equal(hull_git_worktree(other, &w, &err), 0);
	/* A submodule is no worktree. */
	shell("mkdir module; mkdir -p r/.git/modules/m; echo 'gitdir: ../r/.git/modules/m' >module/.git");
	assert_int_equal(hull_git_worktree(module, &w, &err), 0);
	/* Paths in those files may be relative. */
	shell("echo 'gitdir: ../r/.git/worktrees/linked-tree' >'linked tree/.git'; "
	      "echo '../../../../linked tree/.git' >r/.git/worktrees/linked-tree/gitdir");
	assert_int_equal(hull_git_worktree(tree, &w, &err), 1);
	assert_string_equal(w.common, common);
	shell("rm -rf 'linked tree' alias other loot module r/.git/modules; git -C r worktree prune; git -C r branch "
	      "-q "
	      "-D linked");
}

/* No file in a work tree opens a repository of the user's that is somewhere else. */
static void test_leads_back(void **state)
{
	static const char *const traps[] = {
		"echo \"gitdir: $PWD/private/.git\" >trap/.git",
		"echo 'gitdir: ../private/.git' >trap/.git",
		"ln -s ../private/.git trap/.git",
		"echo \"gitdir: $PWD/private/.git\" >trap/x; ln -s x trap/.git",
		"git init -q trap; echo \"$PWD/private/.git\" >trap/.git/commondir",
		"git init -q --bare trap; echo \"$PWD/private/.git\" >trap/commondir",
		"git init -q --separate-git-dir=trap/g trap; echo \"$PWD/private/.git\" >trap/g/commondir",
		"mkdir -p trap/g/worktrees/x; cp private/.git/HEAD trap/g/worktrees/x; "
		"echo \"$PWD/private/.git\" >trap/g/worktrees/x/commondir; "
		"echo \"$PWD/trap/.git\" >trap/g/worktrees/x/gitdir; echo 'gitdir: g/worktrees/x' >trap/.git",
	};
	_cleanup_free_ char *trap = path("trap"), *below = path("trap/below"), *outer = path("outer");
	_cleanup_free_ char *module = path("outer/m od"), *apart = path("apart");
	struct hull_git_repo repo;
	shell("git init -q private; cd private; echo secret >s; git add s; git commit -qm secret; cp .git/config "
	      "../config-before");
	for (size_t i = 0; i < sizeof traps / sizeof *traps; i++) {
		shell("mkdir trap; %s; mkdir -p trap/below", traps[i]);
		if (hull_git_inspect(trap, &repo, &err) != -EINVAL || hull_git_inspect(below, &repo, &err) != -EINVAL)
			fail_msg("%s", traps[i]);
		assert_true(hull_git_send(trap, 1, &err) < 0);
		assert_true(hull_git_remote_add(trap, "box", &err) < 0);
		assert_non_null(strstr(err.msg, trap));
		shell("cmp private/.git/config config-before; rm -rf trap");
	}
	/* A repository that names this place: a submodule, one that is kept apart. */
	shell("git init -q outer; cd outer; git -c protocol.file.allow=always submodule --quiet add ../private 'm od'");
	assert_int_equal(hull_git_inspect(module, &repo, &err), 0);
	assert_string_equal(repo.top, module);
	hull_git_repo_free(&repo);
	assert_int_equal(hull_git_remote_add(module, "box", &err), 0);
	shell("cd 'outer/m od'; [ \"$(git remote get-url hull-box)\" = hull::box ]");
	assert_int_equal(hull_git_inspect(outer, &repo, &err), 0);
	assert_true(repo.submodules);
	hull_git_repo_free(&repo);
	shell("git init -q --separate-git-dir='elsewhere; x' apart");
	assert_int_equal(hull_git_inspect(apart, &repo, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "core.worktree"));
	shell("git config --file 'elsewhere; x/config' core.worktree \"$PWD/apart\"");
	assert_int_equal(hull_git_inspect(apart, &repo, &err), 0);
	hull_git_repo_free(&repo);
	shell("rm -rf private outer apart 'elsewhere; x' config-before");
}

static void test_stream(void **state)
{
	_cleanup_free_ char *r = path("r"), *empty = path("empty"), *wt = path("wt"), *shallow = path("shallow");
	_cleanup_free_ char *text = stream_of(r);
	assert_non_null(strstr(text, "\nhead refs/heads/main\n"));
	assert_non_null(strstr(text, "\norigin https://example.com/x.git\n"));
	assert_non_null(strstr(text, "\nname A B\nemail a@b.c\n"));
	assert_non_null(strstr(text, "\nborn\n"));
	assert_non_null(strstr(text, "\nbundle\n\n# v2 git bundle\n"));
	assert_non_null(strstr(text, " refs/tags/t\n"));
	assert_null(strstr(text, "secret"));
	/* A stash is nobody's business. */
	shell("cd r; echo more >>f; git stash -q");
	_cleanup_free_ char *stashed = stream_of(r);
	assert_null(strstr(stashed, "stash"));
	shell("git init -q -b trunk empty");
	_cleanup_free_ char *nothing = stream_of(empty);
	assert_non_null(strstr(nothing, "\nhead refs/heads/trunk\n"));
	assert_null(strstr(nothing, "bundle"));
	assert_null(strstr(nothing, "born"));
	_cleanup_free_ char *side = stream_of(wt);
	assert_non_null(strstr(side, "\nhead refs/heads/side\n"));
	shell("git -C wt checkout -q --detach");
	_cleanup_free_ char *detached = stream_of(wt);
	assert_non_null(strstr(detached, "\ndetached "));
	shell("cd r; echo 5 >f; git commit -qam two; cd ..; git clone -q --depth 1 file://$PWD/r shallow");
	_cleanup_free_ char *cut = stream_of(shallow);
	assert_non_null(strstr(cut, "\nshallow "));
	assert_true(hull_git_send(base, 1, &err) < 0);
}

static void test_remote(void **state)
{
	_cleanup_free_ char *r = path("r");
	bool kept;
	assert_int_equal(hull_git_remote_add(r, "one", &err), 0);
	shell("cd r; [ \"$(git remote get-url hull-one)\" = hull::one ]");
	assert_int_equal(hull_git_remote_add(r, "one", &err), 0);
	assert_int_equal(hull_git_remote_remove(r, "one", &kept, &err), 0);
	assert_false(kept);
	shell("cd r; ! git remote get-url hull-one 2>/dev/null");
	assert_int_equal(hull_git_remote_remove(r, "one", &kept, &err), 0);
	/* The user's own is neither changed nor removed. */
	shell("cd r; git remote add hull-two /srv/x");
	assert_int_equal(hull_git_remote_add(r, "two", &err), -EEXIST);
	assert_int_equal(hull_git_remote_remove(r, "two", &kept, &err), 0);
	shell("cd r; [ \"$(git remote get-url hull-two)\" = /srv/x ]");
	/* Commits that nothing else has are not thrown away. */
	assert_int_equal(hull_git_remote_add(r, "three", &err), 0);
	shell("cd r; git update-ref refs/remotes/hull-three/main HEAD; git symbolic-ref refs/remotes/hull-three/HEAD "
	      "refs/remotes/hull-three/main; git branch -q --track follows hull-three/main");
	assert_int_equal(hull_git_remote_remove(r, "three", &kept, &err), 0);
	assert_false(kept);
	shell("cd r; ! git rev-parse -q --verify refs/remotes/hull-three/main; [ ! -e "
	      ".git/refs/remotes/hull-three/HEAD ]; "
	      "! git config --get-regexp '^branch.follows' ; git rev-parse -q --verify main >/dev/null; git branch -qD "
	      "follows");
	assert_int_equal(hull_git_remote_add(r, "three", &err), 0);
	shell("cd r; git update-ref refs/remotes/hull-three/main $(git commit-tree -m x HEAD^{tree})");
	assert_int_equal(hull_git_remote_remove(r, "three", &kept, &err), 0);
	assert_true(kept);
	shell("cd r; git rev-parse -q --verify refs/remotes/hull-three/main >/dev/null; ! git remote get-url "
	      "hull-three "
	      "2>/dev/null");
}

/* Everything that git needs is there, when it is as much as is looked for. */
static void test_many_files(void **state)
{
	_cleanup_free_ char *r = path("many");
	unsetenv("XDG_CONFIG_HOME");
	shell("git init -q many; for i in 1 2 3 4 5 6 7 8; do git init -q --bare alt$i; echo $PWD/alt$i/objects "
	      ">>many/.git/objects/info/alternates; touch .gitconfig-$i; done; mkdir -p .config/git; "
	      "for i in 1 2 3 4 5 6 7; do touch .config/git/config-$i; done; "
	      "printf '[include]\npath = config-7\n' >.config/git/config; git config --global --unset user.name; "
	      "printf '[user]\nname = Seven\n' >.config/git/config-7");
	_cleanup_free_ char *text = stream_of(r);
	shell("rm -rf .config .gitconfig-* alt? many; git config --global user.name 'A B'");
	assert_non_null(strstr(text, "\nname Seven\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),       cmocka_unit_test(test_inspect), cmocka_unit_test(test_stream),
		cmocka_unit_test(test_worktree),   cmocka_unit_test(test_remote),  cmocka_unit_test(test_leads_back),
		cmocka_unit_test(test_many_files),
	};
	if (system("git --version >/dev/null 2>&1") != 0) {
		puts("1..0 # SKIP no git");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets of a sandbox come back when somebody takes them away. See keeper_rig.h and keeper/client/runtime.c. */
#include "keeper_rig.h"

#include <sys/stat.h>

/* Does who looks for it find a keeper that answers? */
static bool answers(struct world *w)
{
	_cleanup_free_ char *path = hull_sandbox_runtime_path(&w->k->paths, "box", "control.sock");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	assert_true(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
}

static void test_a_socket_is_removed(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	_cleanup_free_ char *path = hull_runtime_path(&w->k->paths, "box", "control.sock");
	_cleanup_free_ char *docker = hull_runtime_path(&w->k->paths, "box", "docker.sock");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(unlink(path), 0);
		assert_int_equal(unlink(docker), 0);
		assert_false(answers(w));
		until(w, answers(w) && access(docker, F_OK) == 0);
	}
	/* Who was connected is so still. */
	struct end *e = exec(c, "job");
	until(w, e->closed);
	assert_int_equal(e->code, 0);
}

static void test_the_directory_is_removed(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	assert_int_equal(hull_remove_tree(AT_FDCWD, w->k->paths.runtime, NULL), 0);
	until(w, answers(w));
	struct stat st;
	assert_int_equal(stat(w->k->runtime_dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* Locked as before. */
	struct hull_error err;
	assert_int_equal(hull_sandbox_runtime(&w->k->paths, "box", &err), -EBUSY);
}

/* XDG_RUNTIME_DIR itself is gone: elsewhere, and found from another environment, too. */
static void test_the_session_is_gone(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	_cleanup_free_ char *base = hull_fmt("%s/run", w->dir);
	assert_int_equal(hull_remove_tree(AT_FDCWD, base, NULL), 0);
	until(w, answers(w));
	_cleanup_free_ char *shorter = hull_runtime_short(&w->k->paths, "box", NULL);
	assert_string_equal(w->k->runtime_dir, shorter);
	struct hull_paths other = {.home = w->k->paths.home, .runtime = w->dir, .config = w->dir};
	_cleanup_free_ char *found = hull_sandbox_runtime_path(&other, "box", NULL);
	assert_string_equal(found, shorter);
	w->k->events->kill(w->k);
	until(w, w->over);
	assert_int_equal(access(shorter, F_OK), -1);
}

/* It cannot listen again at once: it does when it can. */
static void test_listening_again_fails(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	_cleanup_free_ char *path = hull_runtime_path(&w->k->paths, "box", "control.sock");
	_cleanup_free_ char *in_the_way = hull_runtime_path(&w->k->paths, "box", ".control.sock");
	assert_int_equal(mkdir(in_the_way, 0700), 0);
	assert_int_equal(unlink(path), 0);
	until(w, w->k->runtime->failures > 0);
	assert_false(answers(w));
	assert_int_equal(rmdir(in_the_way), 0);
	until(w, answers(w));
	assert_int_equal(w->k->clients->listener.state, LISTENER_OPEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_socket_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_directory_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listening_again_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_session_is_gone, setup, teardown),
	};
	return cmocka_run_group_tests_name("keeper_runtime", tests, NULL, NULL);
}

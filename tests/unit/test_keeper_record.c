/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.json and the files of jobs, as the keeper writes them on a disk that takes its time: fsync() of this program
 * is this file's. See keeper_rig.h. */
#include "keeper_rig.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>

static pthread_t loop_thread;
static unsigned on_loop, elsewhere; /* fsyncs */
static bool slow;
static sem_t go;

int fsync(int fd)
{
	if (pthread_equal(pthread_self(), loop_thread)) {
		on_loop++;
	} else {
		__atomic_add_fetch(&elsewhere, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&slow, __ATOMIC_SEQ_CST))
			sem_wait(&go);
	}
	return (int)syscall(SYS_fsync, fd);
}

static void set_slow(bool on)
{
	__atomic_store_n(&slow, on, __ATOMIC_SEQ_CST);
	for (int i = 0; !on && i < 64; i++)
		sem_post(&go);
}

static bool waiting(void)
{
	return __atomic_load_n(&elsewhere, __ATOMIC_SEQ_CST) > 0;
}

/* A keeper that runs, and has written that. */
static void begin(struct world *w)
{
	loop_thread = pthread_self();
	sem_init(&go, 0, 0);
	until(w, w->k->life.phase == PHASE_RUNNING && !w->k->life.save_due && !w->k->record.busy);
	on_loop = elsewhere = 0;
}

static void read_back(struct world *w, struct hull_sandbox *sb)
{
	struct hull_error err;
	assert_int_equal(hull_sandbox_load(&w->k->paths, "box", sb, &err), 0);
}

static bool state_in_file(struct world *w, const char *want)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	read_back(w, &sb);
	return hull_streq(sb.state, want);
}

/* The number of ports is the number of the save. */
static void save_ports(struct world *w, size_t n)
{
	char port[32];
	snprintf(port, sizeof(port), "%zu:80", 1000 + n);
	while (hull_strv_count(w->k->sb.ports) < n)
		assert_int_equal(hull_strv_add(&w->k->sb.ports, port), 0);
	keeper_save_later(w->k, NULL);
}

static size_t ports_in_file(struct world *w)
{
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	read_back(w, &sb);
	return hull_strv_count(sb.ports);
}

static void test_order(void **state)
{
	struct world *w = *state;
	size_t seen = 0;
	begin(w);
	for (size_t i = 1; i <= 300; i++) {
		save_ports(w, i);
		if (i % 3 == 0)
			step(w);
		if (i % 50 == 0)
			assert_int_equal(keeper_save(w->k, "running", NULL), 0);
		size_t now = ports_in_file(w);
		assert_true(now >= seen && now <= i && (i % 50 || now == i));
		seen = now;
	}
	until(w, !w->k->record.busy);
	assert_int_equal(ports_in_file(w), 300);
	assert_true(elsewhere > 0);
}

static void test_loop_goes_on(void **state)
{
	struct world *w = *state;
	begin(w);
	struct peer *c = client(w, 0);
	set_slow(true);
	save_ports(w, 1);
	for (size_t i = 2; i < 100; i++)
		save_ports(w, i);
	struct end *e = request(c, "{\"do\":\"status\"}");
	until(w, e->closed && waiting());
	assert_non_null(strstr(answer(e), "running"));
	assert_true(w->k->record.busy);
	assert_int_equal(on_loop, 0);
	set_slow(false);
	until(w, !w->k->record.busy);
	assert_int_equal(ports_in_file(w), 99);
	assert_int_equal(elsewhere, 4); /* the first and the last: file and directory */
	assert_int_equal(on_loop, 0);
}

static void *release(void *arg)
{
	usleep(50 * 1000);
	set_slow(false);
	return NULL;
}

/* What was asked for before a save that something depends on does not come after it. */
static void test_at_once_is_last(void **state)
{
	struct world *w = *state;
	pthread_t helper;
	begin(w);
	set_slow(true);
	save_ports(w, 1);
	save_ports(w, 2);
	until(w, waiting());
	assert_int_equal(pthread_create(&helper, NULL, release, NULL), 0);
	assert_int_equal(keeper_save(w->k, "paused", NULL), 0);
	assert_true(state_in_file(w, "paused"));
	pthread_join(helper, NULL);
	until(w, !w->k->record.busy);
	assert_true(state_in_file(w, "paused"));
	assert_int_equal(ports_in_file(w), 2);
	assert_int_equal(elsewhere, 2);
	/* One that the pool has not begun with when the file is newer is not written either. */
	save_ports(w, 3);
	assert_int_equal(keeper_save(w->k, "stopped", NULL), 0);
	until(w, !w->k->record.busy);
	assert_true(state_in_file(w, "stopped"));
}

/* Who mounts is answered when the file says so. */
static void test_answer_after_write(void **state)
{
	struct world *w = *state;
	begin(w);
	set_slow(true);
	share_remember(w->k, "/a", HULL_PATH_WRITABLE);
	until(w, waiting());
	for (int i = 0; i < 50; i++)
		step(w);
	assert_non_null(w->k->record.mounts);
	struct hull_error err;
	assert_int_equal(share_unmount(w->k, "/a", false, &err), -EAGAIN); /* it would be given that answer */
	assert_int_equal(share_mount(w->k, "/a", HULL_PATH_WRITABLE, &err), -EAGAIN);
	set_slow(false);
	until(w, !w->k->record.busy);
	assert_null(w->k->record.mounts);
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	read_back(w, &sb);
	assert_int_equal(hull_strv_count(sb.paths), 1);
}

static void test_jobs_do_not_wait(void **state)
{
	struct world *w = *state;
	begin(w);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"job\",\"argv\":[\"job\"]}");
	until(w, e->closed);
	say_exit(&w->guest, w->guest.ends[w->guest.count - 1].id, 0);
	until(w, w->k->jobs->count == 0);
	assert_int_equal(on_loop, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loop_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_once_is_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_after_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jobs_do_not_wait, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

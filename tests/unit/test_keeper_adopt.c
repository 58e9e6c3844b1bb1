/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that was paused or copied brings its sessions along: they become jobs. See keeper_rig.h. */
#include "keeper_rig.h"

static int setup_restored(void **state)
{
	int r = setup(state);
	struct world *w = *state;
	w->k->origin.restore = strdup("templates/x");
	w->k->jobs->saved = json_pack("[s,s,s,s]", "0000abcd", "00000003", "00000004", "00001000");
	w->hold_configured = true;
	return r;
}

static int teardown_restored(void **state)
{
	struct world *w = *state;
	free(w->k->origin.restore);
	json_decref(w->k->jobs->saved);
	return teardown(state);
}

static void say_session(struct world *w, const char *id, const char *word, size_t words)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_SESSION;
	hull_buf_add(&b, &kind, 1);
	if (id)
		hull_args_put_str(&b, HULL_TAG_ID, id);
	for (size_t i = 0; i < words; i++)
		hull_args_put_str(&b, HULL_TAG_ARGV, word);
	hull_wire_message(w->guest.wire, w->control, hull_buf_bytes(&b), b.len);
}

static struct end *session(struct world *w, const char *id)
{
	for (size_t i = 0; i < w->guest.count; i++)
		if (w->guest.ends[i].service == HULL_SVC_EXEC && field_is(&w->guest.ends[i].args, HULL_TAG_ID, 0, id))
			return &w->guest.ends[i];
	return NULL;
}

static char *job_file(struct world *w, const char *id, const char *suffix)
{
	_cleanup_free_ char *path = hull_fmt("%s/home/sandboxes/box/jobs/%s%s", w->dir, id, suffix);
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	if (hull_read_file(AT_FDCWD, path, 1 << 20, &b, NULL) < 0)
		return NULL;
	return strndup((const char *)hull_buf_bytes(&b), b.len);
}

static void write_job(struct world *w, const char *id, const char *suffix, const char *text)
{
	_cleanup_free_ char *path = hull_fmt("%s/home/sandboxes/box/jobs/%s%s", w->dir, id, suffix);
	struct hull_error err;
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err), 0);
}

static bool says(struct world *w, const char *id, const char *suffix, const char *words)
{
	_cleanup_free_ char *text = job_file(w, id, suffix);
	return text && strstr(text, words);
}

/* One that was a job here goes on: its log is added to. One that is new here (this is a copy, or a client waited for
 * it) becomes one. One that was running and of which the guest knows nothing has stopped. */
static void test_adopted(void **state)
{
	struct world *w = *state;
	write_job(w, "00000001", ".json",
		  "{\"id\":\"00000001\",\"argv\":[\"make\",\"all\"],\"state\":\"paused\",\"started\":7}");
	write_job(w, "00000001", ".log", "before\n");
	write_job(w, "00000002", ".json", "{\"id\":\"00000002\",\"argv\":[\"lost\"],\"state\":\"paused\"}");
	until(w, w->configured_seen);
	say_session(w, "00000001", "make", 1);
	say_session(w, "0000abcd", "server\033[2J", 2);
	say(&w->guest, w->control, HULL_MSG_CONFIGURED, 0, NULL);
	until(w, w->k->guest->configured && session(w, "00000001") && session(w, "0000abcd"));
	assert_int_equal(w->k->jobs->count, 2);
	assert_true(says(w, "00000001", ".json", "\"state\": \"running\""));
	assert_true(says(w, "00000001", ".json", "\"all\""));
	assert_true(says(w, "00000001", ".json", "\"started\": 7"));
	assert_true(says(w, "0000abcd", ".json", "server\\\\x1b[2J"));
	assert_true(says(w, "00000002", ".json", "\"state\": \"stopped\""));
	struct end *e = session(w, "00000001");
	hull_buf_addstr(&e->out, "after\n");
	e->finish = true;
	until(w, says(w, "00000001", ".json", "\"exit\": 3"));
	assert_true(says(w, "00000001", ".log", "before\nafter\n"));
}

/* A pause leaves its jobs paused, and tells clients that what they wait for goes on. */
static void test_paused(void **state)
{
	struct world *w = *state;
	until(w, w->configured_seen);
	say_session(w, "00000003", "job", 1);
	say(&w->guest, w->control, HULL_MSG_CONFIGURED, 0, NULL);
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "hang");
	until(w, e->accepted);
	struct end *there = at_guest(w, HULL_SVC_EXEC, "hang");
	_cleanup_free_ char *id = field(&there->args, HULL_TAG_ID, 0);
	assert_int_equal(strlen(id), 8);
	/* What would be written down beside the memory: both. */
	json_t *saved = jobs_sessions(w->k);
	assert_int_equal(json_array_size(saved), 2);
	assert_string_equal(json_string_value(json_array_get(saved, 0)), id);
	assert_string_equal(json_string_value(json_array_get(saved, 1)), "00000003");
	json_decref(saved);
	w->k->life.suspended = true;
	w->k->events->kill(w->k);
	until(w, e->closed && w->over);
	assert_non_null(strstr(e->message, "goes on when it is resumed"));
	assert_true(says(w, "00000003", ".json", "\"state\": \"paused\""));
}

/* A guest may say anything: what is malformed, twice there, too late or too much is not adopted. */
static void test_hostile(void **state)
{
	struct world *w = *state;
	until(w, w->configured_seen);
	say_session(w, "../../etc", "x", 1);
	say_session(w, "ABCDEF01", "x", 1);
	say_session(w, NULL, "x", 1);
	say_session(w, "00000004", "x", 1);
	say_session(w, "00000004", "x", 1);
	until(w, session(w, "00000004"));
	settle(w);
	assert_int_equal(w->k->jobs->count, 1);
	say(&w->guest, w->control, HULL_MSG_CONFIGURED, 0, NULL);
	until(w, w->k->guest->configured);
	say_session(w, "00000005", "x", 1);
	settle(w);
	assert_int_equal(w->k->jobs->count, 1);
}

/* A job that has ended is not brought back to life, and what a guest invents is nobody's. */
static void test_ended_and_invented(void **state)
{
	struct world *w = *state;
	static const char ended[] = "{\"id\":\"0000000e\",\"argv\":[\"x\"],\"state\":\"exited\",\"exit\":7}";
	write_job(w, "0000000e", ".json", ended);
	write_job(w, "0000000e", ".log", "words\n");
	until(w, w->configured_seen);
	say_session(w, "0000000e", "x", 1);
	say_session(w, "00001000", "x", 1);
	settle(w);
	_cleanup_free_ char *text = job_file(w, "0000000e", ".json");
	assert_string_equal(text, ended);
	assert_true(says(w, "0000000e", ".log", "words\n"));
	assert_int_equal(w->k->jobs->count, 1);
	say_session(w, "0000f00d", "x", 1);
	settle(w);
	assert_int_equal(w->k->jobs->count, 1);
	_cleanup_free_ char *none = job_file(w, "0000f00d", ".json");
	assert_null(none);
}

/* One that was booted has no sessions of before. */
static void test_not_restored(void **state)
{
	struct world *w = *state;
	w->hold_configured = true;
	until(w, w->configured_seen);
	say_session(w, "00000006", "x", 1);
	settle(w);
	assert_int_equal(w->k->jobs->count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_adopted, setup_restored, teardown_restored),
		cmocka_unit_test_setup_teardown(test_paused, setup_restored, teardown_restored),
		cmocka_unit_test_setup_teardown(test_hostile, setup_restored, teardown_restored),
		cmocka_unit_test_setup_teardown(test_ended_and_invented, setup_restored, teardown_restored),
		cmocka_unit_test_setup_teardown(test_not_restored, setup, teardown),
	};
	return cmocka_run_group_tests_name("keeper_adopt", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that a client attaches to, types into and sends signals to, against a fake guest. See keeper_rig.h. */
#include "keeper_rig.h"

#include <signal.h>

/* Start a job that the guest echoes the stdin of; its id. */
static char *start(struct world *w, struct peer *c, const char *more)
{
	_cleanup_free_ char *text = hull_fmt("{\"do\":\"job\",\"argv\":[\"hang\"]%s}", more);
	struct end *e = request(c, text);
	until(w, e->closed);
	json_t *j = json_loads(answer(e), 0, NULL);
	char *id = strdup(json_string_value(json_object_get(j, "id")));
	json_decref(j);
	return id;
}

static struct end *attach(struct peer *c, const char *id)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint32_t stream;
	hull_args_put_str(&b, HULL_TAG_NAME, id);
	assert_int_equal(hull_wire_open(c->wire, HULL_SVC_ATTACH, hull_buf_bytes(&b), b.len, NULL, &stream), 0);
	return end_of(c, stream);
}

/* The job's stream as the guest has it: the last one opened. */
static struct end *job_at_guest(struct world *w)
{
	struct end *found = NULL;
	for (size_t i = 0; i < w->guest.count; i++)
		if (w->guest.ends[i].service == HULL_SVC_EXEC)
			found = &w->guest.ends[i];
	assert_non_null(found);
	return found;
}

static bool has_message(const struct end *e, uint8_t kind)
{
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(&e->messages), e->messages.len);
	while (hull_cur_left(&cur) > 0) {
		uint32_t n = hull_cur_le32(&cur);
		const uint8_t *p = hull_cur_take(&cur, n);
		if (p && n && p[0] == kind)
			return true;
	}
	return false;
}

static bool holds(struct end *e, const char *text)
{
	return e->in.len == strlen(text) && memcmp(hull_buf_bytes(&e->in), text, e->in.len) == 0;
}

static void send_text(struct peer *c, struct end *e, const char *text)
{
	assert_int_equal(hull_wire_write(c->wire, e->id, 0, text, strlen(text)), (ssize_t)strlen(text));
}

static void test_stdin_is_empty_unless_asked_for(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	free(start(w, c, ""));
	until(w, has_message(job_at_guest(w), HULL_MSG_STDIN_EOF));
	free(start(w, c, ",\"stdin\":true"));
	settle(w);
	assert_false(has_message(job_at_guest(w), HULL_MSG_STDIN_EOF));
	/* A terminal is read for ever. */
	free(start(w, c, ",\"tty\":true"));
	settle(w);
	assert_false(has_message(job_at_guest(w), HULL_MSG_STDIN_EOF));
}

static void test_attach(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0), *d = client(w, 1);
	_cleanup_free_ char *id = start(w, c, ",\"stdin\":true");
	struct end *job = job_at_guest(w);
	struct end *a = attach(c, id), *b = attach(d, id);
	until(w, a->accepted && b->accepted);
	/* What one types, and what comes of it, both see. */
	send_text(c, a, "hello\n");
	until(w, holds(a, "hello\n") && holds(b, "hello\n"));
	/* One leaves: the job and the other go on. */
	hull_wire_reset(d->wire, b->id, ECANCELED, "detached");
	send_text(c, a, "more\n");
	until(w, holds(a, "hello\nmore\n"));
	assert_int_equal(w->k->jobs->count, 1);
	/* The end of its input is the job's, and the job's end and code are the client's. */
	say(c, a->id, HULL_MSG_STDIN_EOF, 0, NULL);
	until(w, has_message(job, HULL_MSG_STDIN_EOF));
	say_exit(&w->guest, job->id, 7);
	hull_wire_eof(w->guest.wire, job->id);
	until(w, a->eof && w->k->jobs->count == 0);
	assert_true(has_message(a, HULL_MSG_EXIT));
	/* What has ended, or never was, is refused. */
	a = attach(c, id);
	b = attach(c, "00000000");
	until(w, a->closed && b->closed);
	assert_int_equal(a->code, -ECHILD);
	assert_int_equal(b->code, -ECHILD);
}

static void test_attached_reader_that_stalls(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	_cleanup_free_ char *id = start(w, c, "");
	struct end *job = job_at_guest(w), *a = attach(c, id);
	until(w, a->accepted);
	a->stalled = true;
	job->flood = 8 << 20;
	for (int i = 0; i < 3000; i++)
		step(w);
	/* A window on its way to the client, one here. */
	assert_true(job->sent <= 2 * HULL_WIRE_WINDOW);
	/* Without it the job goes on at once. */
	hull_wire_reset(c->wire, a->id, ECANCELED, "detached");
	until(w, job->flood == 0);
}

static void test_attached_when_the_machine_goes(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	_cleanup_free_ char *id = start(w, c, ",\"stdin\":true");
	struct end *a = attach(c, id);
	until(w, a->accepted);
	w->k->events->machine_ended(w->k, -EIO, "gone");
	until(w, a->closed || c->gone);
}

static void test_signals(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"job\",\"argv\":[\"late\"]}");
	until(w, w->k->jobs->count == 1);
	until(w, w->guest.count == 2);
	struct end *job = job_at_guest(w);
	_cleanup_(hull_buf_free) struct hull_buf accept = {0};
	hull_args_put_u32(&accept, HULL_TAG_PID, 42);
	hull_args_put_u32(&accept, HULL_TAG_SESSION, 9);
	hull_wire_accept(w->guest.wire, job->id, hull_buf_bytes(&accept), accept.len);
	until(w, e->closed);
	json_t *j = json_loads(answer(e), 0, NULL);
	_cleanup_free_ char *ask = hull_fmt("{\"do\":\"signal\",\"job\":\"%s\",\"signal\":15}",
					    json_string_value(json_object_get(j, "id")));
	json_decref(j);
	e = request(c, ask);
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "running"));
	struct end *control = end_of(&w->guest, w->control);
	until(w, has_message(control, HULL_MSG_KILL));
	/* What it leaves behind is reached when it has ended, too. */
	say_exit(&w->guest, job->id, 0);
	hull_wire_eof(w->guest.wire, job->id);
	until(w, w->k->jobs->count == 0);
	control->messages.len = 0;
	e = request(c, ask);
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "exited"));
	assert_non_null(strstr(answer(e), "\"reached\":true"));
	until(w, has_message(control, HULL_MSG_KILL));
	/* In a later boot that number is another session's. */
	control->messages.len = 0;
	w->k->sb.started = (uint64_t)time(NULL) + 10;
	e = request(c, ask);
	until(w, e->closed);
	settle(w);
	assert_false(has_message(control, HULL_MSG_KILL));
	assert_non_null(strstr(answer(e), "\"reached\":false"));
	/* One that a pause took with it says so. */
	_cleanup_free_ char *path = hull_sandbox_path(&w->k->paths, "box", "jobs/00000abc.json");
	static const char paused[] = "{\"id\":\"00000abc\",\"argv\":[\"x\"],\"state\":\"paused\"}";
	struct hull_error err;
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, paused, sizeof(paused) - 1, 0600, &err), 0);
	e = request(c, "{\"do\":\"signal\",\"job\":\"00000abc\",\"signal\":15}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "paused"));
	static const char *const bad[] = {
		"{\"do\":\"signal\",\"job\":\"../../x\",\"signal\":15}",
		"{\"do\":\"signal\",\"job\":\"00000000\",\"signal\":15}",
		"{\"do\":\"signal\",\"job\":\"00000000\",\"signal\":0}",
		"{\"do\":\"signal\",\"signal\":15}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		e = request(c, bad[i]);
		until(w, e->closed);
		assert_non_null(strstr(answer(e), "error"));
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_stdin_is_empty_unless_asked_for), T(test_attach),  T(test_attached_reader_that_stalls),
		T(test_attached_when_the_machine_goes),  T(test_signals),
	};
	return cmocka_run_group_tests_name("keeper_jobs", tests, NULL, NULL);
}

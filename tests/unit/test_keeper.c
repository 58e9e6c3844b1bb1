/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper against a fake guest: relaying, stopping, crashing, Docker's socket, jobs. See keeper_rig.h. */
#include "keeper_rig.h"

/* --- tests --- */

static void test_configure(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	assert_true(field_is(&w->configure, HULL_TAG_HOSTNAME, 0, "box"));
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(&w->configure), w->configure.len);
	struct hull_arg a;
	bool time = false, entropy = false, disk = false, swap = false;
	while (hull_args_next(&cur, &a)) {
		time |= a.tag == HULL_TAG_TIME_NS && hull_arg_u64(&a) > 1700000000ull * 1000000000;
		entropy |= a.tag == HULL_TAG_ENTROPY && a.n >= 64;
		disk |= a.tag == HULL_TAG_DISK_BYTES && hull_arg_u64(&a) == 16 << 20;
		swap |= a.tag == HULL_TAG_SWAP_BYTES && hull_arg_u64(&a) == 4 << 20;
	}
	assert_true(time && entropy && disk && swap);
	until(w, !w->k->life.save_due && hull_streq(w->k->sb.state, "running"));
}

static void test_exec(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "echo");
	hull_buf_addstr(&e->out, "hello");
	e->finish = true;
	until(w, e->closed);
	assert_int_equal(e->code, 0);
	assert_true(e->accepted);
	assert_string_equal(answer(e), "hello");
	/* The last message is EXIT 3. */
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(&e->messages), e->messages.len);
	hull_cur_le32(&cur);
	assert_int_equal(hull_cur_u8(&cur), HULL_MSG_EXIT);
	struct hull_arg a;
	assert_true(hull_args_next(&cur, &a));
	assert_int_equal(hull_arg_u32(&a), 3);
	/* The sandbox's env first, the client's after; nothing unknown, and no KEEP. */
	const struct hull_buf *args = &at_guest(w, HULL_SVC_EXEC, "echo")->args;
	assert_true(field_is(args, HULL_TAG_ENV, 0, "BOX=1"));
	assert_true(field_is(args, HULL_TAG_ENV, 1, "TWICE=box"));
	assert_true(field_is(args, HULL_TAG_ENV, 2, "TWICE=client"));
	assert_true(field_is(args, HULL_TAG_ENV, 3, NULL));
	assert_true(field_is(args, HULL_TAG_KEEP, 0, NULL));
	assert_true(field_is(args, 999, 0, NULL));
}

static void test_refused(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "missing");
	until(w, e->closed);
	assert_int_equal(e->code, -ENOENT);
	assert_string_equal(e->message, "missing: not found");
	assert_false(e->accepted);
	uint32_t id;
	assert_int_equal(hull_wire_open(c->wire, HULL_SVC_EXEC, "\x01\x00\xff", 3, NULL, &id), 0);
	until(w, end_of(c, id)->closed);
	assert_int_equal(end_of(c, id)->code, -EINVAL);
	assert_int_equal(hull_wire_open(c->wire, 200, "", 0, NULL, &id), 0);
	until(w, end_of(c, id)->closed);
	assert_int_equal(end_of(c, id)->code, -ENOSYS);
}

static void test_open_before_configured(void **state)
{
	struct world *w = *state;
	w->hold_configured = true;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "echo");
	hull_buf_addstr(&e->out, "early bytes");
	e->finish = true;
	struct end *wait = request(c, "{\"do\":\"wait\",\"for\":\"exec\"}");
	until(w, w->configured_seen);
	settle(w);
	assert_null(at_guest(w, HULL_SVC_EXEC, "echo"));
	assert_false(wait->closed);
	struct end *status = request(c, "{\"do\":\"status\"}");
	until(w, status->closed);
	assert_non_null(strstr(answer(status), "\"state\":\"starting\""));
	say(&w->guest, w->control, HULL_MSG_CONFIGURED, 0, NULL);
	until(w, e->closed && wait->closed);
	assert_string_equal(answer(e), "early bytes");
	assert_string_equal(answer(wait), "{\"ready\":true}");
}

static void test_too_much_before_configured(void **state)
{
	struct world *w = *state;
	w->hold_configured = true;
	struct peer *c = client(w, 0);
	struct end *ends[40];
	for (size_t i = 0; i < 40; i++) {
		ends[i] = exec(c, "hang");
		ends[i]->flood = 1 << 20;
	}
	settle(w);
	size_t refused = 0;
	for (size_t i = 0; i < 40; i++)
		refused += ends[i]->closed && ends[i]->code == -EAGAIN;
	assert_true(refused >= 8);
	assert_true(w->k->relays->pending_bytes <= PENDING_BYTES_MAX);
}

static void test_stalled_reader_stalls_only_itself(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *a = exec(c, "flood");
	a->stalled = true;
	until(w, a->received == HULL_WIRE_WINDOW);
	settle(w);
	struct end *source = at_guest(w, HULL_SVC_EXEC, "flood");
	assert_int_equal(source->sent, HULL_WIRE_WINDOW);
	struct end *b = exec(c, "echo");
	hull_buf_addstr(&b->out, "still here");
	b->finish = true;
	until(w, b->closed);
	assert_string_equal(answer(b), "still here");
	assert_int_equal(a->received, HULL_WIRE_WINDOW);
	/* It reads on: as much more comes as it takes, and the window beyond. */
	hull_wire_grant(c->wire, a->id, HULL_WIRE_WINDOW);
	until(w, a->received == 2 * HULL_WIRE_WINDOW);
	settle(w);
	assert_int_equal(source->sent, 2 * HULL_WIRE_WINDOW);
}

static void test_client_that_does_not_read_its_socket(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	exec(c, "flood");
	exec(c, "flood");
	peer_step(c);
	struct peer frozen = *c; /* it stops reading altogether */
	memset(c, 0, sizeof(*c));
	until(w, at_guest(w, HULL_SVC_EXEC, "flood") && at_guest(w, HULL_SVC_EXEC, "flood")->sent == HULL_WIRE_WINDOW);
	settle(w);
	struct peer *d = client(w, 1);
	struct end *e = exec(d, "echo");
	e->finish = true;
	until(w, e->closed);
	assert_int_equal(e->code, 0);
	assert_int_equal(at_guest(w, HULL_SVC_EXEC, "flood")->sent, HULL_WIRE_WINDOW);
	*c = frozen;
}

static void test_much_data_both_ways(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "echo");
	uint32_t x = 1;
	for (size_t i = 0; i < 3 << 20; i += 4) {
		x = x * 1664525 + 1013904223;
		hull_buf_add(&e->out, &x, 4);
	}
	_cleanup_(hull_buf_free) struct hull_buf want = {0};
	hull_buf_add(&want, hull_buf_bytes(&e->out), e->out.len);
	e->finish = true;
	until(w, e->closed);
	assert_int_equal(e->code, 0);
	assert_int_equal(e->in.len, want.len);
	assert_memory_equal(hull_buf_bytes(&e->in), hull_buf_bytes(&want), want.len);
}

static void test_client_goes_away(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	exec(c, "hang");
	exec(c, "flood");
	until(w, at_guest(w, HULL_SVC_EXEC, "hang") && at_guest(w, HULL_SVC_EXEC, "flood"));
	until(w, jobs_and_commands(w->k) == 2);
	peer_close(c);
	until(w, at_guest(w, HULL_SVC_EXEC, "hang")->closed && at_guest(w, HULL_SVC_EXEC, "flood")->closed);
	assert_true(at_guest(w, HULL_SVC_EXEC, "hang")->code < 0);
	assert_int_equal(jobs_and_commands(w->k), 0);
	assert_int_equal(w->k->clients->count, 0);
}

static void test_client_garbage(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	int fd = dial(w, "control.sock");
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, 0), 27);
	until(w, recv(fd, (char[1]){0}, 1, 0) == 0 || (errno != EAGAIN && errno != 0));
	close(fd);
	struct peer *c = client(w, 1);
	struct end *e = exec(c, "echo");
	e->finish = true;
	until(w, e->closed);
	assert_int_equal(e->code, 0);
	assert_false(w->killed);
}

static void test_guest_garbage(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "hang");
	struct end *wait = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	until(w, e->accepted);
	assert_int_equal(send(w->guest.fd, "\x01\x02\x03\x04 this is not a frame at all", 30, 0), 30);
	until(w, e->closed && wait->closed);
	assert_true(w->killed);
	assert_true(e->code < 0);
	assert_non_null(strstr(answer(wait), "protocol"));
	until(w, w->over);
	saved_state(w, "crashed", "protocol");
}

static void test_guest_closes_control(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	hull_wire_reset(w->guest.wire, w->control, EIO, "out of \x1b[31mluck");
	until(w, w->over);
	assert_true(w->killed);
	saved_state(w, "crashed", "out of");
	assert_null(strchr(w->k->sb.last_error, '\x1b'));
}

static void test_stop(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "hang");
	until(w, e->accepted);
	struct end *stop = request(c, "{\"do\":\"stop\",\"grace_ms\":1234}");
	struct end *again = request(c, "{\"do\":\"stop\"}");
	until(w, w->shutdown_seen);
	assert_int_equal(w->grace, 1234);
	settle(w);
	assert_false(stop->closed); /* not before the machine is off */
	struct end *late = exec(c, "echo");
	until(w, late->closed);
	assert_int_equal(late->code, -ESHUTDOWN);
	w->k->events->machine_ended(w->k, 0, "");
	until(w, stop->closed && again->closed && e->closed);
	assert_non_null(strstr(answer(stop), "\"stopped\":true"));
	assert_false(w->killed);
	assert_true(w->over);
	saved_state(w, "stopped", NULL);
}

static void test_kill(void **state)
{
	struct world *w = *state;
	struct peer *c = client(w, 0);
	struct end *kill = request(c, "{\"do\":\"kill\"}");
	until(w, kill->closed);
	assert_true(w->killed);
	assert_non_null(strstr(answer(kill), "\"stopped\":true"));
	saved_state(w, "stopped", NULL);
}

static void test_remove_at_the_end(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	w->k->events->kill(w->k);
	until(w, w->over);
	_cleanup_free_ char *dir = hull_sandbox_path(&w->k->paths, "box", NULL);
	assert_int_equal(access(dir, F_OK), -1);
	struct hull_sandbox s;
	assert_int_equal(hull_sandbox_load(&w->k->paths, "box", &s, NULL), -ENOENT);
}

static char reported[1024];

static void on_report(struct keeper *k, const struct hull_error *err)
{
	snprintf(reported, sizeof(reported), "%s", err ? err->msg : "ready");
}

static void test_engine_dies_at_start(void **state)
{
	struct world *w = *state;
	w->k->life.report = on_report;
	w->k->events->machine_ended(w->k, -EIO, "qemu says boom");
	until(w, w->over);
	assert_string_equal(reported, "qemu says boom");
	saved_state(w, "crashed", "boom");
}

/* It ends without having read what was sent to it: the socket says ECONNRESET, and the engine's own words count. */
static void test_engine_dies_unread(void **state)
{
	struct world *w = *state;
	w->k->life.report = on_report;
	uv_run(&w->k->loop.uv, UV_RUN_NOWAIT); /* HELLO is on its way */
	int waiting = 0;
	assert_true(recv(w->guest.fd, &waiting, sizeof(waiting), MSG_PEEK) > 0);
	peer_close(&w->guest);
	settle(w);
	assert_false(w->killed);
	w->k->events->machine_ended(w->k, -EIO, "qemu says boom");
	until(w, w->over);
	assert_string_equal(reported, "qemu says boom");
	saved_state(w, "crashed", "boom");
}

static void test_engine_dies(void **state)
{
	struct world *w = *state;
	w->k->life.report = on_report;
	w->k->events->machine_runs(w->k);
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "hang");
	until(w, e->accepted);
	w->k->events->machine_ended(w->k, -EIO, "qemu was killed by signal 9");
	until(w, e->closed);
	assert_true(e->code < 0);
	assert_non_null(strstr(e->message, "signal 9"));
	assert_string_equal(reported, "ready");
	until(w, w->over);
	saved_state(w, "crashed", "signal 9");
}

static void test_guest_off_without_goodbye(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	snprintf(w->k->trouble, sizeof(w->k->trouble), "guest panicked");
	w->k->events->machine_ended(w->k, 0, "");
	until(w, w->over);
	saved_state(w, "crashed", "guest panicked");
}

static void test_guest_powers_off_by_itself(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	say(&w->guest, w->control, HULL_MSG_STOPPING, 0, NULL);
	until(w, w->k->life.phase == PHASE_STOPPING);
	/* The wire closes first; the engine is not killed for it. */
	shutdown(w->guest.fd, SHUT_RDWR);
	until(w, w->k->loop.corked);
	settle(w);
	assert_false(w->killed);
	w->k->events->machine_ended(w->k, 0, "");
	until(w, w->over);
	saved_state(w, "stopped", NULL);
}

static void test_status_and_bad_requests(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"status\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "\"mem_total\":12345"));
	assert_non_null(strstr(answer(e), "\"engine\":\"fake 1.0\""));
	assert_non_null(strstr(answer(e), "\"docker\":\"starting\""));
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"{}",
		"{\"do\":7}",
		"{\"do\":\"x\"}",
		"{\"do\":\"wait\"}",
		"{\"do\":\"stop\",\"grace_ms\":-1}",
		"{\"do\":\"job\"}",
		"{\"do\":\"job\",\"argv\":[]}",
		"{\"do\":\"job\",\"argv\":[1]}",
		"{\"do\":\"job\",\"argv\":[\"x\"],\"env\":\"y\"}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		e = request(c, bad[i]);
		until(w, e->closed);
		assert_non_null(strstr(answer(e), "\"error\""));
	}
	assert_int_equal(w->k->life.phase, PHASE_RUNNING);
}

static void test_wait_docker(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	settle(w);
	say_docker(w, "failed", "once");
	settle(w);
	assert_false(e->closed);
	say_docker(w, "ready", "");
	until(w, e->closed);
	assert_string_equal(answer(e), "{\"ready\":true}");
	/* Being ready once pays for failures before. */
	for (int i = 0; i < DOCKER_FAILURES; i++)
		say_docker(w, "failed", "no disk \x01");
	e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "dockerd failed 3 times: no disk"));
}

/* The image has none: nobody waits for it, whenever they come. */
static void test_docker_absent(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	int early = dial(w, "docker.sock");
	until(w, w->k->docker->count == 1);
	assert_false(e->closed);
	say_docker(w, "absent", "");
	until(w, e->closed && w->k->docker->count == 0);
	assert_non_null(strstr(answer(e), "box has no Docker"));
	assert_int_equal(recv(early, (char[1]){0}, 1, 0), 0);
	close(early);
	e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "box has no Docker"));
	int late = dial(w, "docker.sock");
	until(w, recv(late, (char[1]){0}, 1, 0) == 0);
	close(late);
}

static void test_docker_off(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	assert_int_equal(dial(w, "docker.sock"), -1);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "no Docker"));
	say_docker(w, "ready", "");
	settle(w);
	assert_string_equal(w->k->guest->docker, "off");
	assert_null(at_guest(w, HULL_SVC_EXEC, "tail"));
}

static void test_docker_socket(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	int fd = dial(w, "docker.sock");
	int early = dial(w, "docker.sock"); /* gives up before docker is ready */
	assert_int_equal(send(fd, "ping", 4, 0), 4);
	until(w, w->k->docker->count == 2);
	close(early);
	until(w, w->k->docker->count == 1);
	assert_null(at_guest(w, HULL_SVC_DIAL, NULL));
	say_docker(w, "ready", "");
	char got[64] = "";
	ssize_t n = -1;
	until(w, (n = recv(fd, got, sizeof(got), 0)) >= 0);
	assert_int_equal(n, 4);
	assert_memory_equal(got, "ping", 4);
	assert_true(field_is(&at_guest(w, HULL_SVC_DIAL, NULL)->args, HULL_TAG_PATH, 0, HULL_GUEST_DOCKER_SOCKET));
	/* Half-close: what is sent before it still comes back, then the end. */
	assert_int_equal(send(fd, "last", 4, 0), 4);
	shutdown(fd, SHUT_WR);
	until(w, (n = recv(fd, got, sizeof(got), 0)) >= 0);
	assert_int_equal(n, 4);
	until(w, (n = recv(fd, got, sizeof(got), 0)) >= 0);
	assert_int_equal(n, 0);
	until(w, w->k->docker->count == 0);
	close(fd);
	/* Full close: the guest's end goes. */
	fd = dial(w, "docker.sock");
	until(w, w->k->docker->count == 1);
	settle(w);
	close(fd);
	until(w, w->k->docker->count == 0);
	until(w, w->guest.ends[w->guest.count - 1].closed);
}

static void test_docker_backpressure(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	say_docker(w, "ready", "");
	int fd = dial(w, "docker.sock");
	until(w, at_guest(w, HULL_SVC_DIAL, NULL));
	struct end *g = at_guest(w, HULL_SVC_DIAL, NULL);
	/* To a client that does not read. */
	g->flood = 8 << 20;
	settle(w);
	size_t stuck = g->sent;
	settle(w);
	assert_int_equal(g->sent, stuck);
	assert_true(stuck < 2 << 20); /* the window and what the socket holds */
	size_t total = 0;
	static char got[65536];
	while (total < 8 << 20) {
		ssize_t n = recv(fd, got, sizeof(got), 0);
		if (n > 0)
			total += (size_t)n;
		step(w);
	}
	/* From a client, to a guest that does not read. */
	g->stalled = true;
	size_t sent = 0;
	for (int i = 0; i < 3000; i++) {
		ssize_t n = send(fd, got, sizeof(got), MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		step(w);
	}
	assert_int_equal(g->received, HULL_WIRE_WINDOW);
	assert_true(sent < 2 << 20);
	close(fd);
	until(w, w->k->docker->count == 0);
}

static char *slurp(struct world *w, const char *file)
{
	_cleanup_free_ char *path = hull_sandbox_path(&w->k->paths, "box", file);
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	return hull_read_file(AT_FDCWD, path, 1 << 20, &b, NULL) < 0 ? NULL : strdup((char *)hull_buf_bytes(&b));
}

static void test_jobs(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"job\",\"argv\":[\"job\"],\"env\":[\"J=1\"],\"user\":\"root\"}");
	struct end *h = request(c, "{\"do\":\"job\",\"argv\":[\"hang\"]}");
	struct end *m = request(c, "{\"do\":\"job\",\"argv\":[\"missing\"]}");
	until(w, e->closed && h->closed && m->closed);
	assert_non_null(strstr(answer(m), "missing: not found"));
	json_t *id = json_loads(answer(e), 0, NULL);
	const char *name = json_string_value(json_object_get(id, "id"));
	assert_int_equal(strlen(name), 8);
	peer_close(c); /* jobs outlive it */
	until(w, w->k->jobs->count == 1);
	const struct hull_buf *args = &at_guest(w, HULL_SVC_EXEC, "job")->args;
	assert_true(field_is(args, HULL_TAG_ENV, 0, "BOX=1"));
	assert_true(field_is(args, HULL_TAG_ENV, 2, "J=1"));
	assert_true(field_is(args, HULL_TAG_USER, 0, "root"));
	_cleanup_free_ char *log_name = hull_fmt("jobs/%s.log", name);
	_cleanup_free_ char *log = slurp(w, log_name);
	assert_string_equal(log, "some output\n");
	c = client(w, 0);
	e = request(c, "{\"do\":\"jobs\"}");
	until(w, e->closed);
	json_t *list = json_loads(answer(e), 0, NULL);
	json_t *jobs = json_object_get(list, "jobs");
	assert_int_equal(json_array_size(jobs), 2); /* the one that is missing left nothing */
	int running = 0, exited = 0;
	for (size_t i = 0; i < 2; i++) {
		const json_t *j = json_array_get(jobs, i);
		const char *s = json_string_value(json_object_get(j, "state"));
		running += hull_streq(s, "running");
		if (hull_streq(s, "exited")) {
			exited++;
			assert_int_equal(json_integer_value(json_object_get(j, "exit")), 3);
			assert_string_equal(json_string_value(json_object_get(j, "id")), name);
		}
	}
	assert_true(running == 1 && exited == 1);
	json_decref(list);
	json_decref(id);
	/* The machine goes: the one that runs has been stopped. */
	w->k->events->machine_ended(w->k, -EIO, "gone");
	until(w, w->over);
	list = jobs_list(w->k);
	int stopped = 0;
	for (size_t i = 0; i < json_array_size(list); i++)
		stopped += hull_streq(json_string_value(json_object_get(json_array_get(list, i), "state")), "stopped");
	assert_int_equal(stopped, 1);
	json_decref(list);
}

static size_t jobs_known(struct world *w)
{
	json_t *list = jobs_list(w->k);
	size_t n = json_array_size(list);
	json_decref(list);
	return n;
}

/* The answer comes when it is known whether the command runs, and to whoever is still there. */
static void test_job_that_cannot_run(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"job\",\"argv\":[\"late\",\"1\"]}");
	until(w, at_guest(w, HULL_SVC_EXEC, "late"));
	struct end *g = at_guest(w, HULL_SVC_EXEC, "late");
	settle(w);
	assert_int_equal(e->in.len, 0);
	accept_pid(&w->guest, g->id, 0);
	settle(w);
	assert_int_equal(e->in.len, 0); /* accepted, and not running */
	say_cannot(&w->guest, g->id, ENOENT, "late: not found in the sandbox");
	until(w, e->closed);
	json_t *a = json_loads(answer(e), 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(a, "code")), ENOENT);
	assert_string_equal(json_string_value(json_object_get(a, "error")), "late: not found in the sandbox");
	json_decref(a);
	until(w, w->k->jobs->count == 0);
	assert_int_equal(jobs_known(w), 0);
	assert_int_equal(w->k->service->waiter_count, 0);
}

static void test_job_whose_client_goes_away(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	for (int fails = 0; fails < 2; fails++) {
		const char *const argv0[] = {"late", "later"};
		request(c, fails ? "{\"do\":\"job\",\"argv\":[\"later\"]}" : "{\"do\":\"job\",\"argv\":[\"late\"]}");
		until(w, at_guest(w, HULL_SVC_EXEC, argv0[fails]));
		uint32_t id = at_guest(w, HULL_SVC_EXEC, argv0[fails])->id;
		peer_close(c);
		until(w, w->k->clients->count == 0);
		assert_int_equal(w->k->service->waiter_count, 0);
		assert_int_equal(w->k->jobs->count, 1);
		if (fails) {
			hull_wire_refuse(w->guest.wire, id, ENOTDIR, "cannot execute: directory /x");
		} else {
			accept_pid(&w->guest, id, 7);
			settle(w);
			assert_int_equal(w->k->jobs->count, 1); /* it runs on */
			say_exit(&w->guest, id, 0);
			hull_wire_eof(w->guest.wire, id);
		}
		until(w, w->k->jobs->count == 0);
		assert_int_equal(jobs_known(w), 1);
		c = client(w, 0);
	}
	struct end *e = request(c, "{\"do\":\"job\",\"argv\":[\"job\"]}");
	until(w, e->closed); /* all is well */
	assert_non_null(strstr(answer(e), "\"id\""));
}

/* What a shutdown's TERM ended has been stopped; what finished because of it has exited. */
static void test_job_ended_by_shutdown(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	struct peer *c = client(w, 0);
	struct end *first = request(c, "{\"do\":\"job\",\"argv\":[\"hang\"]}");
	struct end *second = request(c, "{\"do\":\"job\",\"argv\":[\"pause\"]}");
	until(w, first->closed && second->closed && at_guest(w, HULL_SVC_EXEC, "pause"));
	request(c, "{\"do\":\"stop\",\"grace_ms\":1000}");
	until(w, w->shutdown_seen);
	uint32_t ids[] = {at_guest(w, HULL_SVC_EXEC, "hang")->id, at_guest(w, HULL_SVC_EXEC, "pause")->id};
	for (uint32_t i = 0; i < 2; i++) {
		say_exit(&w->guest, ids[i], i ? 0 : 128 + SIGTERM);
		hull_wire_eof(w->guest.wire, ids[i]);
	}
	until(w, w->k->jobs->count == 0);
	json_t *list = jobs_list(w->k), *j;
	size_t i;
	assert_int_equal(json_array_size(list), 2);
	json_array_foreach(list, i, j)
	{
		bool hang = hull_streq(json_string_value(json_array_get(json_object_get(j, "argv"), 0)), "hang");
		assert_string_equal(json_string_value(json_object_get(j, "state")), hang ? "stopped" : "exited");
		assert_true(hang == json_is_null(json_object_get(j, "exit")));
	}
	json_decref(list);
	w->k->events->machine_ended(w->k, 0, "");
	until(w, w->over);
}

static void test_dockerd_log(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	say_docker(w, "starting", "");
	until(w, at_guest(w, HULL_SVC_EXEC, "tail"));
	struct end *t = at_guest(w, HULL_SVC_EXEC, "tail");
	assert_true(field_is(&t->args, HULL_TAG_USER, 0, "root"));
	hull_buf_addstr(&t->out, "level=info msg=hello\n");
	until(w, w->k->dockerlog->file.size > 0);
	_cleanup_free_ char *log = slurp(w, "dockerd.log");
	assert_string_equal(log, "level=info msg=hello\n");
	/* Without end: two files of LOG_CAP at most. */
	t->flood = 12 << 20;
	until(w, t->flood == 0 && t->sent > 12 << 20);
	settle(w);
	assert_true(w->k->dockerlog->file.size <= LOG_CAP);
	assert_int_equal(jobs_and_commands(w->k), 0); /* it does not count as one */
}

/* A dockerd that is frozen until it is wanted counts as ready, and has no log to follow. */
static void test_dockerd_rests(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	say_docker(w, "resting", "");
	until(w, strcmp(w->k->guest->docker, "ready") == 0);
	settle(w);
	assert_null(at_guest(w, HULL_SVC_EXEC, "tail"));
	say_docker(w, "ready", "");
	until(w, at_guest(w, HULL_SVC_EXEC, "tail"));
	assert_string_equal(w->k->guest->docker, "ready");
}

static void test_guest_log_is_bounded(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	char text[1001];
	memset(text, 'x', sizeof(text));
	text[0] = '\x1b';
	text[1000] = '\0';
	for (int i = 0; i < 12000; i++) {
		say(&w->guest, w->control, HULL_MSG_LOG, HULL_TAG_TEXT, text);
		if (i % 100 == 0)
			step(w);
	}
	settle(w);
	_cleanup_free_ char *path = hull_sandbox_path(&w->k->paths, "box", "keeper.log");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_in_range(lseek(fd, 0, SEEK_END), 1, LOG_CAP + 4096);
}

static void test_many_sessions(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	for (int round = 0; round < 60; round++) {
		struct peer *c = client(w, 0);
		for (int i = 0; i < 16; i++)
			exec(c, "echo")->finish = true;
		until(w, c->ends[0].closed && c->ends[15].closed);
		peer_close(c);
		until(w, w->k->clients->count == 0 && w->k->relays->count == 0);
		/* Forget the guest's ends, but the first: control and tail. */
		while (w->guest.count > 2) {
			struct end *e = &w->guest.ends[--w->guest.count];
			assert_true(e->closed);
			hull_buf_free(&e->args);
			hull_buf_free(&e->in);
			hull_buf_free(&e->out);
			hull_buf_free(&e->messages);
			memset(e, 0, sizeof(*e));
		}
	}
	assert_int_equal(jobs_and_commands(w->k), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_configure),
		T(test_exec),
		T(test_refused),
		T(test_open_before_configured),
		T(test_too_much_before_configured),
		T(test_stalled_reader_stalls_only_itself),
		T(test_client_that_does_not_read_its_socket),
		T(test_much_data_both_ways),
		T(test_client_goes_away),
		T(test_client_garbage),
		T(test_guest_garbage),
		T(test_guest_closes_control),
		T(test_stop),
		T(test_kill),
		cmocka_unit_test_setup_teardown(test_remove_at_the_end, setup_remove, teardown),
		T(test_engine_dies_at_start),
		T(test_engine_dies_unread),
		T(test_engine_dies),
		T(test_guest_off_without_goodbye),
		T(test_guest_powers_off_by_itself),
		T(test_status_and_bad_requests),
		T(test_wait_docker),
		T(test_docker_absent),
		cmocka_unit_test_setup_teardown(test_docker_off, setup_no_docker, teardown),
		T(test_docker_socket),
		T(test_docker_backpressure),
		T(test_jobs),
		T(test_job_that_cannot_run),
		T(test_job_whose_client_goes_away),
		T(test_job_ended_by_shutdown),
		T(test_dockerd_log),
		T(test_dockerd_rests),
		T(test_guest_log_is_bounded),
		T(test_many_sessions),
	};
	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}

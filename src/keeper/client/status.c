/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to the request "status"; see keeper/api.h. */
#include "keeper/client/status.h"

#include "keeper/guest/guest.h"
#include "keeper/keeper.h"
#include "keeper/session/jobs.h"
#include "keeper/session/relay.h"
#include "keeper/workspace/share.h"

#include <unistd.h>

static void set(json_t *j, const char *key, json_t *value)
{
	json_object_set_new(j, key, value ? value : json_null());
}

json_t *status_json(struct keeper *k)
{
	static const char *const phases[] = {"starting", "running", "stopping", "stopped"};
	const struct guest *g = k->guest;
	json_t *j = json_object();
	if (!j)
		return NULL;
	set(j, "name", json_string(k->sb.name));
	set(j, "state", json_string(phases[k->life.phase]));
	set(j, "engine", json_string(k->machine_ops->describe(k)));
	set(j, "accel", json_string(k->machine_ops->accel(k)));
	set(j, "pid", json_integer(getpid()));
	set(j, "engine_pid", json_integer(k->machine_ops->pid(k)));
	set(j, "cpus", json_integer((json_int_t)k->sb.cpus));
	set(j, "memory_limit", json_integer((json_int_t)k->sb.memory));
	uint64_t bytes;
	set(j, "memory", k->machine_ops->memory(k, &bytes) == 0 ? json_integer((json_int_t)bytes) : json_null());
	set(j, "guest", g->stats ? json_incref(g->stats) : json_object());
	set(j, "docker", json_string(g->docker));
	if (g->docker_text[0] && g->docker_failures)
		set(j, "docker_error", json_string(g->docker_text));
	set(j, "mounts", shares_list(k));
	set(j, "started", json_integer((json_int_t)k->sb.started));
	size_t sessions = k->relays->exec_count + k->jobs->count;
	set(j, "sessions", json_integer((json_int_t)sessions));
	json_t *boot = json_object();
	if (boot && g->configured_ms)
		set(boot, "exec_ms", json_integer((json_int_t)g->configured_ms));
	if (boot && g->docker_ms)
		set(boot, "docker_ms", json_integer((json_int_t)g->docker_ms));
	set(boot, "restored", json_boolean(k->origin.restore != NULL));
	if (boot && g->configured_ns && k->origin.machine_ns && k->origin.runs_ns) {
		/* From the start of hull-keeper on: each stage's own time. */
		set(boot, "spawn_ms", json_real((double)(k->origin.machine_ns - k->origin.begin_ns) / 1e6));
		set(boot, "load_ms", json_real((double)(k->origin.runs_ns - k->origin.machine_ns) / 1e6));
		set(boot, "wire_ms", json_real((double)(g->hello_ns - k->origin.runs_ns) / 1e6));
		if (g->configured_ns < k->origin.first_exec_ns)
			set(boot, "first_exec_ms",
			    json_real((double)(k->origin.first_exec_ns - g->configured_ns) / 1e6));
		set(boot, "identity_ms", json_real((double)(g->configured_ns - g->hello_ns) / 1e6));
	}
	set(j, "boot", boot);
	return j;
}

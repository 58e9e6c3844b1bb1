/* SPDX-License-Identifier: Apache-2.0 */
/* Reads user.name and user.email of the host's user, and nothing else: no helper, no key, no URL with a password.
 *
 * git reads the user's own configuration (--global, with includes), from the root directory and without a repository,
 * so that no repository's configuration is used in any working directory. */
#include "lib/sandbox/create.h"

#include "base/spawn.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

struct identity {
	char *name, *email;
};

static void take(char **to, const char *value)
{
	if (!*value || !hull_one_line(value, HULL_GIT_TEXT_MAX))
		return;
	free(*to);
	*to = strdup(value);
}

static void line(void *ctx, const char *text)
{
	struct identity *who = ctx;
	if (hull_starts(text, "user.name "))
		take(&who->name, text + strlen("user.name "));
	else if (hull_starts(text, "user.email "))
		take(&who->email, text + strlen("user.email "));
}

void git_identity(char **name, char **email)
{
	static char *const argv[] = {(char *)"git",
				     (char *)"config",
				     (char *)"--global",
				     (char *)"--includes",
				     (char *)"--get-regexp",
				     (char *)"^user\\.(name|email)$",
				     NULL};
	static const char *const env[] = {"GIT_DIR=/nonexistent",  "GIT_CONFIG_COUNT=0", "GIT_CONFIG_PARAMETERS=",
					  "GIT_TERMINAL_PROMPT=0", "GIT_TRACE=0",        NULL};
	struct identity who = {0};
	struct hull_spawn s = {
		.argv = argv, .setenv = env, .cwd = "/", .log_fd = -1, .cancel_fd = -1, .line = line, .ctx = &who};
	struct hull_error err;
	int status = -1;
	/* Without git or these settings there is nothing to pass on. */
	if (hull_spawn_run(&s, &status, &err) < 0 || status != 0) {
		free(who.name);
		free(who.email);
		return;
	}
	*name = who.name;
	*email = who.email;
}

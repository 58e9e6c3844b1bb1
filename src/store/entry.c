/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a sandbox's list of paths, "PATH", "PATH:ro" or "PATH:git"; see store.h. */
#include "store/store.h"

#include "base/text.h"

#include <string.h>

static const char *const suffixes[] = {
	[HULL_PATH_WRITABLE] = "", [HULL_PATH_READONLY] = ":ro", [HULL_PATH_GIT] = ":git"};

size_t hull_entry_split(const char *entry, enum hull_path_mode *mode)
{
	size_t n = strlen(entry);
	enum hull_path_mode m = HULL_PATH_GIT;
	for (; m > HULL_PATH_WRITABLE; m--) {
		size_t s = strlen(suffixes[m]);
		if (n > s && strcmp(entry + n - s, suffixes[m]) == 0) {
			n -= s;
			break;
		}
	}
	if (mode)
		*mode = m;
	return n;
}

char *hull_entry_path(const char *entry)
{
	return strndup(entry, hull_entry_split(entry, NULL));
}

char *hull_entry_make(const char *path, enum hull_path_mode mode)
{
	return hull_fmt("%s%s", path, suffixes[mode]);
}

size_t hull_entry_find(char *const *entries, const char *path)
{
	size_t i = 0, n = strlen(path);
	for (; entries && entries[i]; i++)
		if (strncmp(entries[i], path, n) == 0 && hull_entry_split(entries[i], NULL) == n)
			break;
	return i;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that image building reads: recipes, apt's sources in both formats, and modules.dep. The first byte picks
 * the parser. What comes out must be what it is used as: package names that are no options, addresses without blanks,
 * module paths that stay below their directory. */
#include "image/modules.h"
#include "image/recipe.h"
#include "image/sources.h"
#include "store/store.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int fine)
{
	if (!fine)
		abort();
}

static void address(const char *s)
{
	must(!s || (strncmp(s, "http", 4) == 0 && !strpbrk(s, " \t\n[]\"'")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	char *text = malloc(size);
	must(text != NULL);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	struct hull_error err;
	char **list = NULL;
	const char *const wanted[] = {"a", "b_c", "virtio_blk", NULL};
	struct hull_mirrors m = {0};
	switch (data[0] % 4) {
	case 0:
		if (hull_recipe_parse(text, "recipe", &list, &err) == 0)
			for (char **p = list; *p; p++)
				must((*p)[0] != '-' && !strpbrk(*p, ", \t\n"));
		break;
	case 1:
	case 2:
		must(!strstr(text, "mirror+file") ? hull_sources_parse(text, data[0] % 4 == 1, "file", &m) == 0 : 1);
		address(m.archive);
		address(m.security);
		break;
	default:
		if (hull_modules_order(text, text, wanted, &list, &err) == 0)
			for (char **p = list; *p; p++)
				must((*p)[0] != '/' && !strstr(*p, ".."));
	}
	if (list)
		hull_strv_free(list);
	hull_mirrors_free(&m);
	free(text);
	return 0;
}

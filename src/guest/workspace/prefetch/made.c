/* See made.h. Names made are bits, of which there are enough for COUNT_MAX: then no directory is known to be
 * empty any more, and it begins again. A bit that another name has set costs a question, no more. */
#include "guest/workspace/prefetch/made.h"

#include "guest/workspace/prefetch/hash.h"

#include <limits.h>
#include <string.h>

enum { COUNT_MAX = HULL_MADE_BITS / 8 };

static unsigned slot(uint64_t node)
{
	return hull_hash_node(node) % HULL_MADE_DIRS;
}

static uint64_t bit_of(uint64_t dir, const char *name, size_t n)
{
	return hull_hash_name(dir, name, n) % HULL_MADE_BITS;
}

/* Letters in lower case into `out`: file systems that do not tell cases apart take both for the same. False for a name
 * that one might take for another in some further way (other alphabets, short aliases, ends that are cut off). */
static bool plain_name(const char *name, size_t n, char out[NAME_MAX])
{
	if (n == 0 || n > NAME_MAX || name[n - 1] == '.' || name[n - 1] == ' ')
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)name[i];
		if (c < 0x20 || c > 0x7d)
			return false;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	return true;
}

void hull_made_reset(struct hull_made *m)
{
	memset(m, 0, sizeof(*m));
}

void hull_made_empty(struct hull_made *m, uint64_t node)
{
	m->empty[slot(node)] = node;
}

void hull_made_unknown(struct hull_made *m, uint64_t node)
{
	if (m->empty[slot(node)] == node)
		m->empty[slot(node)] = 0;
}

void hull_made_name(struct hull_made *m, uint64_t dir, const char *name, size_t n)
{
	char plain[NAME_MAX];
	if (!plain_name(name, n, plain)) {
		hull_made_unknown(m, dir);
		return;
	}
	if (m->count == COUNT_MAX)
		hull_made_reset(m);
	m->count++;
	uint64_t bit = bit_of(dir, plain, n);
	m->names[bit / 8] |= (uint8_t)(1 << bit % 8);
}

bool hull_made_absent(const struct hull_made *m, uint64_t dir, const char *name, size_t n)
{
	char plain[NAME_MAX];
	if (dir == 0 || m->empty[slot(dir)] != dir || !plain_name(name, n, plain))
		return false;
	uint64_t bit = bit_of(dir, plain, n);
	return !(m->names[bit / 8] >> bit % 8 & 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A record of /dev/kmsg is "PRIORITY,SEQUENCE,TIME,FLAGS[,...];TEXT\n" and lines of properties. The one that matters is
 *
 *     oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/work,task_memcg=/work,task=python3,pid=123,uid=1000
 *
 * Priority is facility * 8 + level, and facility 0 is the kernel's own, which nobody else can write. A process chooses
 * its name, commas included: what follows it is looked for from the end. */
#include "guest/session/oom.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1024, LEVELS = 8, PID_LIMIT = 4194304 };

static const char *last(const char *text, const char *what)
{
	const char *found = NULL;
	for (const char *p = text; (p = strstr(p, what)); p++)
		found = p;
	return found;
}

static void oom_copy(char *to, size_t cap, const char *from, size_t n)
{
	size_t k = n < cap - 1 ? n : cap - 1;
	memcpy(to, from, k);
	to[k] = '\0';
	for (char *c = to; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

bool hull_oom_record(const char *record, size_t n, struct hull_oom *out)
{
	static const char start[] = "oom-kill:";
	char line[LINE_MAX_BYTES];
	size_t k = n < sizeof(line) - 1 ? n : sizeof(line) - 1;
	memcpy(line, record, k);
	line[k] = '\0';
	line[strcspn(line, "\n")] = '\0';
	char *after;
	unsigned long priority = strtoul(line, &after, 10);
	const char *text = strchr(line, ';');
	if (after == line || *after != ',' || priority >= LEVELS || !text ||
	    strncmp(text + 1, start, sizeof(start) - 1) != 0)
		return false;
	const char *pid = last(text, ",pid="), *task = strstr(text, ",task="), *group = strstr(text, ",oom_memcg=");
	if (!pid || !task || task > pid)
		return false;
	unsigned long number = strtoul(pid + 5, NULL, 10);
	if (number < 2 || number > PID_LIMIT)
		return false;
	*out = (struct hull_oom){.pid = (pid_t)number};
	oom_copy(out->task, sizeof(out->task), task + 6, (size_t)(pid - task - 6));
	if (group && group < task)
		oom_copy(out->group, sizeof(out->group), group + 11, strcspn(group + 11, ","));
	return true;
}

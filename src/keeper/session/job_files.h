/* SPDX-License-Identifier: Apache-2.0 */
/* What is on disk of a job: jobs/ID.json and jobs/ID.log. */
#ifndef HULL_KEEPER_JOB_FILES_H
#define HULL_KEEPER_JOB_FILES_H

#include "keeper/session/jobs.h"

#include <stdbool.h>
#include <time.h>

/* jobs/ID + suffix; owned. NULL when out of memory. */
char *job_file_path(const struct keeper *k, const char *id, const char *suffix);
/* jobs/ID.json, replaced atomically: {id, argv, tty, stdin, session, state, exit, started, ended, error}. Without
 * fsync: the loop would wait for the disk, and a job that a power failure takes away has ended anyway. */
void job_record_write(struct keeper *k, const char *id, const json_t *about);
/* A new reference; NULL when it cannot be read: a damaged record counts as none. */
json_t *job_record_read(const struct keeper *k, const char *id);
void job_files_remove(const struct keeper *k, const char *id);
bool job_files_exist(const struct keeper *k, const char *id); /* also when that cannot be told */

struct job_record {
	char id[JOB_ID + 1];
	struct timespec at;
};
/* All jobs that have a record, by the time it was last replaced, oldest first: how many. *out is to be freed. */
size_t job_records(const struct keeper *k, struct job_record **out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the QEMU Machine Protocol: JSON objects, one per line, over a stream. It does no I/O: the owner feeds it
 * received bytes and sends the bytes from hull_qmp_output().
 *
 * QEMU is not fully trusted, because its guest may have compromised it. A line is limited to HULL_QMP_LINE_MAX bytes,
 * nothing but the current line is kept, and a protocol violation ends the session with an error, never the process.
 * Unknown events and replies are passed on or ignored. */
#ifndef HULL_ENGINE_QMP_H
#define HULL_ENGINE_QMP_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HULL_QMP_LINE_MAX = 1024 * 1024 };

struct hull_qmp;

/* Arguments are borrowed. Callbacks must not call hull_qmp_feed or hull_qmp_free. */
struct hull_qmp_ops {
	/* The greeting was received; capabilities are being negotiated. */
	void (*greeting)(void *ctx, int major, int minor, int micro);
	void (*ready)(void *ctx); /* commands are executed from here on */
	/* data is an object or NULL. */
	void (*event)(void *ctx, const char *name, const json_t *data);
	/* The answer to a command. error is NULL when it succeeded; else result is NULL. */
	void (*reply)(void *ctx, uint64_t id, const json_t *result, const char *error);
};

struct hull_qmp *hull_qmp_new(const struct hull_qmp_ops *ops, void *ctx);
void hull_qmp_free(struct hull_qmp *q);

/* 0, or -EPROTO / -ENOMEM: the session is over, further input is ignored. */
int hull_qmp_feed(struct hull_qmp *q, const void *p, size_t n, struct hull_error *err);
bool hull_qmp_ready(const struct hull_qmp *q);
/* Queue a command (held back until the session is ready). arguments: a JSON object as text, NULL = none. Its id in *id
 * (may be NULL). */
int hull_qmp_command(struct hull_qmp *q, const char *name, const char *arguments, uint64_t *id);
/* The bytes to send; length 0 when there are none. Borrowed until the next call. */
size_t hull_qmp_output(struct hull_qmp *q, const uint8_t **p);
void hull_qmp_sent(struct hull_qmp *q, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Who this machine is: its names and numbers, the person it belongs to, the authorities it trusts. All of it comes from
 * the host, in control's OPEN and in CONFIGURE, and is written into the guest's own root (core/own.h).
 *
 *     name.c     hostname and machine-id            renew.c       a copy becomes a machine of its own
 *     person.c   the person's git, and their paths  authority.c   certificate authorities */
#ifndef HULL_GUEST_IDENTITY_H
#define HULL_GUEST_IDENTITY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- name.c --- */
int hull_set_hostname(const char *name, struct hull_error *err);
/* Make /etc/machine-id when there is none, or anew in any case. After the host has given entropy. */
void hull_machine_id(bool anew);
/* A UUID of version 4. False: there is no random to be had. */
bool hull_random_uuid(uint8_t id[16]);

/* --- renew.c --- */
/* This machine is a copy: make what has to be unique anew, then call `then` (perhaps at once). */
void hull_renew(void (*then)(void));

/* --- person.c --- */
/* The name and email of git, in /etc/gitconfig; either may be NULL. */
void hull_person_git(const char *name, const char *email);
/* A symlink to an absolute target, and the directories it lies in, if there is nothing at `link` yet. */
void hull_person_link(const char *link, const char *target);

/* --- authority.c --- */
#define HULL_CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define HULL_CA_GIVEN  "/etc/ssl/hull-ca.pem" /* all that the host gave, and nothing else */
/* Make the trust store below `root` (a directory descriptor) what it is without Hull, plus the certificates in these
 * fields of control's OPEN; without any, what earlier starts added goes. *there: HULL_CA_GIVEN and the bundle have
 * them. No mount below root is entered: -EXDEV. */
int hull_authority_install(int root, const uint8_t *args, size_t len, bool *there, struct hull_error *err);

#endif

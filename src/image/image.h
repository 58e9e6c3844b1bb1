/* SPDX-License-Identifier: Apache-2.0 */
/* Base images: built by mmdebstrap from a list of packages, kept by the digest of what they contain. The contract.
 *
 *   $HULL_HOME/images/DIGEST/   (DIGEST = first 32 hex digits of the SHA-256 over the parts)
 *       image.json     name, recipe, created, mirror, suite, kernel version, sizes, SHA-256 of every part
 *       base.erofs     the root file system, read-only, shared by all sandboxes through the page cache
 *       vmlinux        uncompressed ELF out of Debian's bzImage
 *       modules.cpio   newc cpio: /modules/NAME.ko, needed before the root is mounted, and /modules.list, their
 *                      absolute paths in load order, one a line
 *       initramfs-HASH cache: modules.cpio with the hull-init of that hash as /init (hull_image_initramfs)
 *       seed.img       sparse 4 GiB ext4, labelled hull-disk, with localhost/debian:trixie already in Docker's
 *                      store; cloned per sandbox; may grow online to 8 TiB
 *       build.log      what the tools said (the log of the last failed build is images/failed-build.log)
 *   $HULL_HOME/images/NAME      symlink to the DIGEST a name stands for ("default")
 *   $HULL_HOME/images/.tmp-*    builds in progress; each holds a flock, leftovers are swept by the next build
 *
 * An image appears by one rename at the very end, so there is never half of one. */
#ifndef HULL_IMAGE_IMAGE_H
#define HULL_IMAGE_IMAGE_H

#include "base/error.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The parts a build makes, NULL-terminated. */
extern const char *const hull_image_parts[];

struct hull_image {
	char *digest;
	char *dir;     /* absolute */
	json_t *about; /* image.json; its "name" is the symlink's that stands for it now, null when none does */
};
void hull_image_free(struct hull_image *im); /* members */

/* By name, digest, or unique digest prefix; NULL = "default". -ENOENT says to run `hull image build`. Checks the
 * parts are there with the sizes image.json gives (-EBADMSG when not). */
int hull_image_find(const struct hull_paths *p, const char *ref, struct hull_image *out, struct hull_error *err);
/* Open a part ("vmlinux", "base.erofs", "seed.img") read-only; the descriptor, or -errno. */
int hull_image_open(const struct hull_image *im, const char *part, struct hull_error *err);
/* Read every part and compare its SHA-256 with image.json: -EBADMSG names the damaged one. Takes seconds. */
int hull_image_verify(const struct hull_image *im, struct hull_error *err);
/* The initramfs for this hull-init: made on first use (atomically; two at once are safe), then the same file. hull-init
 * is not baked into the image, so that updating hull does not rebuild images. *path is owned by the caller. */
int hull_image_initramfs(const struct hull_image *im, const char *init, char **path, struct hull_error *err);
/* The file name that has, without making it; owned by the caller. */
int hull_image_initramfs_name(const char *init, char **name, struct hull_error *err);
/* All images, sorted by name; *list has *count members. Unreadable ones are left out and named in *skipped. */
int hull_image_list(const struct hull_paths *p, struct hull_image **list, size_t *count, char ***skipped,
		    struct hull_error *err);
/* Remove by reference. -EBUSY, naming them, while sandboxes use it, unless force. */
int hull_image_remove(const struct hull_paths *p, const char *ref, bool force, struct hull_error *err);

struct hull_image_build {
	const char *name;   /* NULL = "default" */
	const char *recipe; /* file with the package list; NULL = images/debian-trixie.packages beside the program */
	const char *mirror; /* NULL = HULL_MIRROR, else taken from the host's apt sources */
	const char *init;   /* path of hull-init; NULL = make no initramfs yet */
	bool rebuild;       /* even when an image of the same recipe, scripts, suite and mirror is there */
	/* Progress: a stage began ("installing packages"), or went on (percent 0..100, -1 unknown). */
	void (*progress)(void *ctx, const char *stage, int percent, const char *detail);
	void *ctx;
	/* Fill the seed disk: start a sandbox on it and run docker import. Given by the caller, because it needs the
	 * keeper; `rootfs_tar` is the small Debian to import as localhost/debian:trixie. NULL leaves the disk empty
	 * (image.json says "seeded": false). It returns 1, and leaves the disk alone, when the image has no Docker
	 * (image.json says "docker": false, too). Interrupts are the caller's business while it runs. */
	int (*seed)(void *ctx, const struct hull_image *unfinished, const char *seed_img, const char *rootfs_tar,
		    struct hull_error *err);
};
/* Blocks for a minute or two. SIGINT, SIGTERM and SIGHUP call it off (-ECANCELED) with nothing left behind; their
 * disposition is as before afterwards. Other failures: -ENOSPC, -ENETUNREACH (mirror), -ENOENT (a tool or the
 * keyring), -EPERM (no subordinate ids), -EIO with the tool's last words. */
int hull_image_build(const struct hull_paths *p, const struct hull_image_build *b, struct hull_image *out,
		     struct hull_error *err);

#endif

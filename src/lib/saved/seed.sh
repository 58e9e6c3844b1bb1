#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is done in the seed, as root: seed.sh IMAGE <ROOTFS.tar. What tells one machine from another is not to be in what
# all of them start from: each makes its own when it boots.
docker import - "$1" && : >/etc/machine-id && rm -f /var/lib/docker/engine-id

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What dockerd finds in its PATH as containerd; see docker.c. hull-init puts $cgroup, where containerd is to be, and
# $dir, where this lies, in front.
# shellcheck disable=SC2154
echo $$ 2>/dev/null >"$cgroup/cgroup.procs"
for a; do [ "$before" = --config ] && config=$a; before=$a; done
[ "$config" ] || exec /usr/bin/containerd "$@"
cat >"$dir/containerd.toml" <<END || exec /usr/bin/containerd "$@"
version = 2
imports = ["$config"]
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.0002
  deletion_threshold = 1
END
exec /usr/bin/containerd "$@" --config "$dir/containerd.toml"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is done in a template before it is saved, one part at a time: warmup.sh docker|tidy|identity|shell. See
# template_build.c. A part that fails costs warmth only.
case $1 in
docker)
	docker run --rm localhost/debian:trixie true
	docker ps
	;;
tidy)
	# The pause is the kernel's: it hands free pages to the host two seconds after they became free.
	sync
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	sleep 3
	;;
identity)
	# What hull-init makes anew in a copy (src/guest/identity/renew.c), and reads for it.
	cat /etc/machine-id /etc/hostname /etc/hosts /run/hull/disk/docker/engine-id /etc/passwd /etc/group
	ls /etc/ssh /etc/hull/on-restore.d /var/lib/systemd
	;;
shell)
	bash -lc 'true; ls / >/dev/null; uname -a >/dev/null; git --version >/dev/null'
	;;
esac

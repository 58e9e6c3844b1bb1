#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the private clone, in the guest, as root: clone.sh TOP [WORKDIR] <STREAM. See clone.c; the stream is hull-clone's
# (src/git/git.h).
set -eu
top=$1 work=$2 new=$1.hull-clone
fail() { echo "$*" >&2; exit 1; }
agent() { setpriv --reuid=agent --regid=agent --init-groups -- env -u XDG_CONFIG_HOME HOME=/home/agent "$@"; }
umask 022
if [ -e "$top/.git/hull-clone" ]; then rm -rf -- "$top"
elif [ -e "$top" ] || [ -L "$top" ]; then
	rmdir -- "$top" 2>/dev/null || fail "the sandbox has something else at this path"
fi
rm -rf -- "$new"
mkdir -p -- "$(dirname -- "$top")"
install -d -o agent -g agent -- "$new"
cd -- "$new"
format=sha1 head='' detached='' born='' origin='' upstream='' main='' name='' email='' bundle='' whole=''
while IFS= read -r line; do
	case $line in
	'') whole=1; break ;;
	'format '*) format=${line#format } ;;
	'head '*) head=${line#head } ;;
	'detached '*) detached=${line#detached } ;;
	born) born=1 ;;
	'origin '*) origin=${line#origin } ;;
	'upstream '*) upstream=${line#upstream } ;;
	'origin-head '*) main=${line#origin-head } ;;
	'name '*) name=${line#name } ;;
	'email '*) email=${line#email } ;;
	'shallow '*) echo "${line#shallow }" >>.hull-shallow ;;
	bundle) bundle=1 ;;
	esac
done
[ "$whole" ] || fail 'it arrived in part only'
agent git init -q --object-format="$format" .
case $head in refs/heads/*) agent git symbolic-ref HEAD "$head" ;; esac
[ -e .hull-shallow ] && agent cp .hull-shallow .git/shallow && rm .hull-shallow
if [ "$bundle" ]; then
	agent git bundle unbundle - >.hull-refs
	while read -r id ref; do
		case $ref in
		refs/remotes/origin/HEAD) ;;
		refs/*) echo "create $ref $id" ;;
		esac
	done <.hull-refs | sort -u | agent git update-ref --stdin
	rm .hull-refs
fi
[ -z "$detached" ] || agent git update-ref --no-deref HEAD "$detached"
if [ "$origin" ]; then
	agent git remote add origin "$origin"
	case $main in refs/remotes/origin/*) agent git symbolic-ref refs/remotes/origin/HEAD "$main" ;; esac
	if [ "$upstream" ]; then
		agent git config "branch.${head#refs/heads/}.remote" origin
		agent git config "branch.${head#refs/heads/}.merge" "$upstream"
	fi
fi
[ -z "$name" ] || agent git config user.name "$name"
[ -z "$email" ] || agent git config user.email "$email"
[ -z "$born" ] || agent git reset -q --hard
case $work in "$top"/*) agent mkdir -p -- "$new${work#"$top"}" || : ;; esac
agent touch .git/hull-clone
cd /
sync -f -- "$new"
mv -T -- "$new" "$top"
sync -f -- "$top"

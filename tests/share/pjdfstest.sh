#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pjdfstest.sh: what pjdfstest (github.com/pjd/pjdfstest, BSD licence; not part of this repository) says of a workspace and
# of the sandbox's own disk, each as root and as agent, inside one sandbox. Needs a built hull in PATH, cc, and a checkout:
#     tests/share/pjdfstest.sh CHECKOUT [FILE...]        (FILE: tests to run, as rename/09; default: all)
#
# The sandbox gets a copy of the tests, in which the functions that compare a result and make up names start no processes:
# where processors are emulated that is most of the time. Prints a line for each of the four runs and each file that fails,
# then a line for each kind of assertion that fails in the workspace only. What each file said stays in a directory that the
# last line names.
# docs/internals/workspace.md ("pjdfstest") has the reasons.
#
# On a host where this runs as root, the workspace belongs to a user without further rights, as a person's files do.
set -eu

if [ $# -lt 1 ] || ! [ -e "$1/pjdfstest.c" ]; then sed -n "2,5s/^# \{0,1\}//p" "$0"; exit 2; fi
checkout=$(realpath "$1")
shift
name=pjdfstest-$$
top=$(mktemp -d)
trap 'hull rm -f "$name" >/dev/null 2>&1; rm -rf --one-file-system "$top"' EXIT
trap 'exit 143' TERM
chmod 755 "$top"
mkdir "$top/suite" "$top/work"
out=$(mktemp -d "${TMPDIR:-/tmp}/pjdfstest.XXXXXX")
if [ "$(id -u)" = 0 ]; then chown 54321:54321 "$top/work"; fi

# The program, without automake: what Linux has of what it asks for.
for f in faccessat fchmodat fchownat fstatat linkat mkdirat mkfifoat mknodat openat readlinkat renameat symlinkat utimensat \
	posix_fallocate; do
	echo "#define HAVE_${f^^} 1"
done >"$top/suite/config.h"
cat >>"$top/suite/config.h" <<'END'
#define _GNU_SOURCE 1
#define HAVE_SYS_SYSMACROS_H 1
#define HAVE_STRUCT_STAT_ST_ATIM 1
#define HAVE_STRUCT_STAT_ST_CTIM 1
#define HAVE_STRUCT_STAT_ST_MTIM 1
END
cc -static -w -I "$top/suite" -o "$top/suite/pjdfstest" "$checkout/pjdfstest.c"
cp -r "$checkout/tests" "$top/suite/"
cat >>"$top/suite/tests/misc.sh" <<'END'
expect()
{
	e="${1}"
	shift
	r=`${fstest} $* 2>/dev/null`
	r="${r##*
}"
	case "|${e}|" in
	*"|${r}|"*) true ;;
	*) echo "${r}" | ${GREP} -Eq '^'${e}'$' ;;
	esac
	if [ $? -eq 0 ]; then
		echo "ok ${ntest}${todomsg:+ # TODO ${todomsg}}"
	else
		echo "not ok ${ntest}${todomsg:+ # TODO ${todomsg}} - tried '$*', expected ${e}, got ${r}"
	fi
	todomsg=""
	: $(( ntest += 1 ))
}
namegen()
{
	read -r uuid </proc/sys/kernel/random/uuid
	echo "pjdfstest_${uuid}"
}
namegen_len()
{
	name=
	while [ ${#name} -lt "${1}" ]; do
		read -r uuid </proc/sys/kernel/random/uuid
		name="${name}${uuid}"
	done
	printf "%.${1}s" "${name}"
}
dirgen_max()
{
	complen=$(( `${fstest} pathconf . _PC_NAME_MAX` / 2 ))
	path_max=$(( `${fstest} pathconf . _PC_PATH_MAX` - 1 ))
	path=
	while [ ${#path} -lt ${path_max} ]; do
		path="${path}`namegen_len ${complen}`/"
	done
	path=`printf "%.${path_max}s" "${path}"`
	case "${path}" in
	*/) path="${path%/}x" ;;
	esac
	printf "%s" "${path}"
}
END

# One file in one place as one user: `one PLACE WHO FILE`. The long ones come first.
cat >"$top/suite/one" <<'END'
#!/bin/sh
cd "/run/pjdfstest/$1/$2" || exit 1
sub=$(echo "$3" | tr / -)
mkdir "$sub" && cd "$sub" || exit 1
if [ "$2" = agent ]; then as='setpriv --reuid agent --regid agent --init-groups'; fi
timeout 1800 $as sh "/opt/suite/tests/$3.t" >"/opt/out/$1-$2-$sub" 2>/dev/null || echo "ended with $?" >>"/opt/out/$1-$2-$sub"
END
chmod 755 "$top/suite/one"
(
	cd "$checkout/tests"
	if [ $# -gt 0 ]; then printf '%s.t\n' "$@"; else grep -c expect ./*/*.t | sort -t: -k2rn | cut -d: -f1; fi
) | sed 's,^\./,,; s/\.t$//' >"$top/suite/files"

hull create -q --name "$name" --cpus 2 -m 1g --no-docker shell "$top/work" >/dev/null
hull start -q "$name" >/dev/null
hull cp "$top/suite" "$name:/opt/"
# The disk is below an overlay; a directory of its own file system is bound, so that nothing stands between.
hull exec -u root "$name" sh -ec '
	chown -R root:root /opt/suite && chmod -R go+rX /opt/suite
	mkdir -p /opt/out /run/pjdfstest/workspace /run/pjdfstest/disk /var/lib/docker/pjdfstest
	mount --bind "$1" /run/pjdfstest/workspace && mount --bind /var/lib/docker/pjdfstest /run/pjdfstest/disk
	for place in workspace disk; do
		mkdir /run/pjdfstest/$place/root /run/pjdfstest/$place/agent
		chmod 755 /run/pjdfstest/$place && chown agent:agent /run/pjdfstest/$place/agent
	done
	umask 022
	for who in root agent; do
		while read -r file; do echo "workspace $who $file"; echo "disk $who $file"; done </opt/suite/files
	done | xargs -P 3 -L 1 /opt/suite/one' x "$top/work"
hull cp "$name:/opt/out/." "$out"

python3 - "$out" <<'END'
import collections, glob, os, re, sys
failed = collections.defaultdict(dict)  # (who, file) -> place -> [what was tried]
for who in ("root", "agent"):
    for place in ("workspace", "disk"):
        passed = bad = todo = 0
        ends = []
        for path in sorted(glob.glob(f"{sys.argv[1]}/{place}-{who}-*")):
            name = "/".join(os.path.basename(path).split("-")[2:])
            lines = open(path, errors="replace").read().splitlines()
            no = [l for l in lines if l.startswith("not ok") and "# TODO" not in l]
            todo += sum(l.startswith("not ok") and "# TODO" in l for l in lines)
            passed += sum(l.startswith("ok ") for l in lines)
            bad += len(no)
            ends += [f"{name}: {l}" for l in lines if l.startswith("ended with")]
            failed[who, name][place] = no
        print(f"{who:6}{place:10} {passed} passed, {bad} failed, {todo} known to fail", *ends, sep="\n    ")
kinds = collections.Counter()
for (who, name), places in sorted(failed.items()):
    w, d = places.get("workspace", []), places.get("disk", [])
    if w or d:
        print(f"{who:6}{name:16} workspace {len(w)}, disk {len(d)}")
    if len(w) != len(d):
        words = lambda l: re.sub(r"pjdfstest_[0-9a-f-]+|[0-9a-f]{32,}", "N", re.sub(r"^not ok \d+( - )?", "", l))
        for text, n in (collections.Counter(map(words, w)) - collections.Counter(map(words, d))).items():
            kinds[who, name, text] += n
for (who, name, text), n in sorted(kinds.items()):
    print(f"{who} {name}: {n} x {text[:300]}")
END
echo "$out"

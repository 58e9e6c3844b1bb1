# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts in tools/ (sourced, bash): the files of the project, and counting results.
#
# A result is one line, "ok - NAME" or "not ok - NAME", on the terminal and in the results file. What a failed check
# printed is kept in its own log and shown, its tail, at the end of the run: that is where one looks in CI.

# shellcheck shell=bash
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Every file that belongs to the project: tracked, or new and not ignored. Without git (a tarball) all of them.
project_files() {
	if git -C "$top" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git -C "$top" ls-files --cached --others --exclude-standard --deduplicate | while IFS= read -r f; do
			if [ -f "$top/$f" ]; then printf '%s\n' "$f"; fi
		done
	else
		(cd "$top" && find . -type f ! -path './build*' ! -path './.git/*' ! -path './.cache/*' -printf '%P\n')
	fi
}

# The C files of the project; `c_files headers` has the headers too.
c_files() {
	if [ "${1:-}" = headers ]; then project_files | grep -E '\.[ch]$'; else project_files | grep -E '\.c$'; fi
}

# Shell scripts, by name or by first line.
shell_files() {
	project_files | while IFS= read -r f; do
		case $f in
		*.sh | *.bash | *.bats) printf '%s\n' "$f" ;;
		*.*) ;;
		*) if head -n 1 "$top/$f" 2>/dev/null | tr -d '\0' | grep -qE '^#!.*\b(ba)?sh\b'; then printf '%s\n' "$f"; fi ;;
		esac
	done
}

# The build for sanitizers and fuzzers, set up in DIRECTORY if it is not yet.
setup_clang() { # DIRECTORY
	[ -e "$1/build.ninja" ] ||
		CC=clang meson setup "$1" -Dfuzz=true -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false
}

results=${HULL_RESULTS:-}
logs=${HULL_LOGS:-$top/build/test-logs}

pass() {
	printf 'ok - %s\n' "$1"
	if [ -n "$results" ]; then printf 'ok - %s\n' "$1" >>"$results"; fi
}
fail() { # NAME [LOG]
	printf 'not ok - %s\n' "$1"
	if [ -n "$results" ]; then printf 'not ok - %s\n' "$1" >>"$results"; fi
	if [ -n "${2:-}" ] && [ -s "$2" ]; then tail -n 60 "$2" | sed 's/^/#   /'; fi
	failures=$((${failures:-0} + 1))
}
# The tests of a file for bats, a result each; what one has to say comes out in one piece.
run_bats() { # LABEL LOG FILE
	local block='' line planned ran
	while IFS= read -r line; do
		case $line in
		"ok "* | "not ok "*)
			put_block "$block"
			block=
			sed -E "s/^(ok|not ok) [0-9]+ /\\1 - $1: /" <<<"$line" >>"$results"
			;;
		1..*) continue ;;
		esac
		block+=$line$'\n'
	done < <(bats --tap --timing "$3" 2>&1 </dev/null | tee "$2")
	put_block "$block"
	# Bats that broke off, or a file that does not parse, has announced more tests than it ran.
	planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$2" | head -n 1)
	ran=$(grep -cE '^(not )?ok [0-9]' "$2")
	if [ "${planned:-0}" = 0 ] || [ "$planned" != "$ran" ]; then
		fail "$1: all tests of $3 ran (${planned:-none} planned, $ran ran)" "$2"
	fi
}
put_block() { # TEXT; others may be printing
	[ -z "$1" ] || flock "$results" printf '%s' "$1"
}
# check NAME COMMAND...: one result; what it printed goes to its log.
check() {
	local name=$1 log
	shift
	mkdir -p "$logs"
	log=$logs/${name//[^A-Za-z0-9_.-]/-}.log
	if "$@" >"$log" 2>&1 </dev/null; then pass "$name"; else fail "$name" "$log"; fi
}

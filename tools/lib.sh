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
# check NAME COMMAND...: one result; what it printed goes to its log.
check() {
	local name=$1 log
	shift
	mkdir -p "$logs"
	log=$logs/${name//[^A-Za-z0-9_.-]/-}.log
	if "$@" >"$log" 2>&1 </dev/null; then pass "$name"; else fail "$name" "$log"; fi
}

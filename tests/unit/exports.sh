#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exports.sh HULL_H LIBHULL_SO [LIBHULL_A]: what the libraries export is what the header declares, no more and no less.
set -u
header=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sed -n 's/^[a-z][a-z_0-9 *]*[ *]\(hull_[a-z_0-9]*\)(.*/\1/p' "$header" | sort -u >"$dir/declared"
echo "1..$#"
number=0
for library; do
	number=$((number + 1))
	case $library in
	*.a) nm --defined-only --extern-only "$library" ;;
	*) nm --dynamic --defined-only "$library" ;;
	esac | awk 'NF == 3 && $2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$dir/exported"
	if [ -s "$dir/declared" ] && diff "$dir/declared" "$dir/exported" >"$dir/diff"; then
		echo "ok $number - ${library##*/}"
	else
		sed 's/^/# /' "$dir/diff"
		echo "not ok $number - ${library##*/} (< declared alone, > exported alone)"
	fi
done

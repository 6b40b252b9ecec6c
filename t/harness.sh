# What test scripts share:  . "$SRC/t/harness.sh"
#
#   t_case WHAT COMMAND...    one case: passes if the command does; its output is shown if not
#   t_skip WHAT WHY           one case that cannot be asked here
#   t_end                     last: prints "name: N passed, N failed[, N skipped]" and exits
#
# $tmp is a directory that goes away at the end.  $SRC and $BUILD are the source tree and the directory of the
# programs; a script that is started by hand finds them itself.
# shellcheck shell=bash
set -u
SRC=${SRC:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
BUILD=${BUILD:-$SRC/build}
CC=${CC:-cc}
export SRC BUILD CC
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
t_passed=0 t_failed=0 t_skipped=0

t_case() {
	local what=$1 out=$tmp/.case
	shift
	if "$@" >"$out" 2>&1; then
		echo "ok $what"
		t_passed=$((t_passed + 1))
	else
		echo "not ok $what (status $?)"
		sed 's/^/    /' "$out"
		t_failed=$((t_failed + 1))
	fi
}

t_skip() {
	echo "skip $1: $2"
	t_skipped=$((t_skipped + 1))
}

t_end() {
	local skipped=
	[ $t_skipped = 0 ] || skipped=", $t_skipped skipped"
	echo "$(basename "$0" .sh): $t_passed passed, $t_failed failed$skipped"
	exit $((t_failed != 0))
}

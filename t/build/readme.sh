#!/bin/bash
# The documentation keeps up with what it describes: README's program and commands, the examples and tables of the manual.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"
shopt -s nullglob
readme=$SRC/README
pages=("$SRC"/src/man/*.[1-9])

# The first fenced block of README that opens with the language $1.
block() {
	awk -v fence="\`\`\`$1" '$0 == fence && !n { n = 1; inside = 1; next } /^```$/ { inside = 0 } inside' "$readme"
}

same_as_example() {
	block c | diff "$SRC/src/examples/echo.c" -
}

# The two commands, and the packages of each, one line a command.
commands() {
	grep -E '^apt-get update && apt-get install -y .* && make (run|check)$' "$readme"
}
packages_of() {
	commands | sed -nE "s/.*install -y (.*) && make $1\$/\1/p"
}

# Both are there, once each; what the second installs is what .ci/run installs, and the first all of that
# but what only the tests need.
same_as_ci() {
	local ci run check
	ci=$(sed -nE 's/^packages=\((.*)\)$/\1/p' "$SRC/.ci/run")
	run=$(packages_of run) check=$(packages_of check)
	[ "$(commands | wc -l)" = 2 ] || { echo "not two commands:"; commands; return 1; }
	[ -n "$ci" ] && [ "$check" = "$ci" ] || { echo "make check: '$check', .ci/run: '$ci'"; return 1; }
	[ "$run check curl" = "$ci" ] || { echo "make run: '$run'"; return 1; }
	grep -qx 'run make check' "$SRC/.ci/run" || { echo ".ci/run does not run make check"; return 1; }
}

configuration_is_right() {
	block perlbal >"$tmp/readme.conf"
	[ -s "$tmp/readme.conf" ] && "$BUILD/sconced" --check --config="$tmp/readme.conf"
}

linked() {
	[ "$(readlink "$SRC/README.md")" = README ]
}

# Writes each example of a page to $tmp/PAGE.N.c.  Those of sections 5 and 8 are no programs.
examples() {
	local page
	for page; do
		[[ $page != *.[58] ]] || continue
		awk -v base="$tmp/${page##*/}" '
			/^\.Sh / { wanted = ($2 == "EXAMPLES") }
			wanted && /^\.Bd -literal/ { inside = 1; file = base "." ++n ".c"; printf "" >file; next }
			/^\.Ed/ { inside = 0 }
			inside { sub(/^\\&/, ""); gsub(/\\e/, "\\"); print >file }
		' "$page"
	done
}

compiles() {
	"$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -I"$SRC/include" -c -o /dev/null "$1"
}

# The rows of page $1, which are given as PREFIX COUNT ...: each described once, in order.
has_every_row() {
	local page=$SRC/src/man/$1
	shift
	diff <(while [ $# -gt 0 ]; do seq -f "$1-%.0f" 1 "$2"; shift 2; done) \
		<(sed -nE 's/^\.It ([A-Z]{2}-[0-9]+)$/\1/p' "$page")
}

t_case "README's program is src/examples/echo.c" same_as_example
t_case "README's commands install what .ci/run does" same_as_ci
t_case "README.md is README" linked
if [ -x "$BUILD/sconced" ]; then
	t_case "README's configuration is one" configuration_is_right
else
	t_skip "README's configuration" "there is no $BUILD/sconced"
fi
t_case "danga-socket(7) has every row" has_every_row danga-socket.7 DS 110
t_case "io-eventmux(7) has every row" has_every_row io-eventmux.7 EM 59 IB 10
t_case "io-multiplex(7) has every row" has_every_row io-multiplex.7 IM 24
t_case "net-server-multiplex(7) has every row" has_every_row net-server-multiplex.7 NS 78
t_case "poe-client-tcpmulti(7) has every row" has_every_row poe-client-tcpmulti.7 TM 35
t_case "poe-filters(7) has every row" has_every_row poe-filters.7 RW 15 PF 12 PC 6
t_case "poe-socketfactory(7) has every row" has_every_row poe-socketfactory.7 SF 23
examples "${pages[@]}"
for example in "$tmp"/*.c; do
	t_case "the example of ${example##*/} compiles" compiles "$example"
done
if command -v mandoc >/dev/null; then
	for page in "${pages[@]}"; do
		t_case "${page##*/} is well-formed" mandoc -T lint -W warning "$page"
	done
else
	t_skip "the form of manual pages" "there is no mandoc"
fi
t_end

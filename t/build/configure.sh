#!/bin/bash
# ./configure is optional and leaves no trace: in the tree or out of it, the library builds with what it wrote
# and `git status` stays clean.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"
for tool in autoconf git; do
	command -v $tool >/dev/null || { t_skip "configure" "there is no $tool here"; t_end; }
done
[ -e "$SRC/.git" ] || { t_skip "configure" "this is not a clone"; t_end; }
tree=$tmp/tree
mkdir -p "$tree" "$tmp/out"
git -C "$SRC" ls-files -co --exclude-standard -z >"$tmp/files"
(cd "$SRC" && while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done <"$tmp/files" |
	xargs -0 cp -P --parents -t "$tree")

git_there() {
	git -C "$tree" -c user.name=t -c user.email=t@localhost -c core.hooksPath=/dev/null "$@"
}

clean_status() {
	local status
	status=$(git_there status --porcelain --untracked-files=all)
	[ -z "$status" ] || { echo "$status"; return 1; }
}

configure() {
	cd "$1" && "$tree/configure" -q --prefix=/nowhere CFLAGS="-O0 -DFROM_CONFIGURE" >summary && cat summary
}

# The library, with the flags and the prefix that configure wrote.
build() {
	make -s -C "$1" build/libsconce.a build/flags build/sconce.pc && grep -q FROM_CONFIGURE "$1/build/flags" &&
		grep -q "include $1/config.h" "$1/build/flags" && grep -qx prefix=/nowhere "$1/build/sconce.pc"
}

git_there init -q && git_there add -A && git_there commit -q -m tree >/dev/null
t_case "autoconf" env -C "$tree" autoconf
t_case "configure out of the tree" configure "$tmp/out"
t_case "it ends with a table of what was found" grep -Eq '^ +(zlib|OpenSSL 3) +(yes|no, install )' "$tmp/out/summary"
t_case "make out of the tree" build "$tmp/out"
t_case "configure in a folder of the tree" configure "$(mkdir "$tree/here" && echo "$tree/here")"
t_case "configure in the tree" configure "$tree"
rm -f "$tree/summary"
t_case "make in the tree" build "$tree"
t_case "git status is clean after all that" clean_status
t_end

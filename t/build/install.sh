#!/bin/bash
# What `make install` puts somewhere can be used from there, shows nothing but sconce_*, and `make uninstall`
# takes all of it away again.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"
root=$tmp/root
prefix=/opt/sconce
lib=$root$prefix/lib

make_there() {
	make -s -C "${WHERE:-$SRC}" O="$BUILD" DESTDIR="$root" prefix="$prefix" "$@"
}

# A file that is not ours must survive the uninstall.
mkdir -p "$lib" && touch "$lib/other"

compile() {
	"$CC" -std=c11 -Wall -Werror -I"$root$prefix/include" -o "$tmp/use" "$tmp/use.c" "$@" && "$tmp/use"
}

only_ours() {
	local strange
	strange=$(nm -D --defined-only --format=posix "$lib/libsconce.so" | awk '$1 !~ /^sconce_[a-z]/ { print $1 }')
	[ -z "$strange" ] || { echo "also exported: $strange"; return 1; }
}

pages_found() {
	local page
	for page in "$SRC"/src/man/*.[1-9]; do
		[ -e "$page" ] || continue
		cmp "$page" "$root$prefix/share/man/man${page##*.}/$(basename "$page")" || return
	done
	! find "$root" -xtype l | grep .
}

t_case "make install" make_there install
t_case "headers are all there" diff -r "$SRC/include/sconce" "$root$prefix/include/sconce"
t_case "pages are there and no link dangles" pages_found
t_case "sconce.pc names the prefix" grep -qx "prefix=$prefix" "$lib/pkgconfig/sconce.pc"

version=$(sed -n 's/^Version: //p' "$lib/pkgconfig/sconce.pc")
cat >"$tmp/use.c" <<EOF
#include <sconce/version.h>
#include <string.h>
int main(void) { return strcmp(sconce_version(), "$version"); }
EOF
if nm "$lib/libsconce.a" 2>/dev/null | grep -q ' T sconce_version$'; then
	t_case "a program links with the static library" compile "$lib/libsconce.a" -lev -lm -pthread
	LD_LIBRARY_PATH=$lib t_case "a program links with the shared library" compile -L"$lib" -lsconce
	t_case "the soname has the major version" \
		grep -q "SONAME.*\[libsconce\.so\.${version%%.*}\]" <(readelf -d "$lib/libsconce.so")
	t_case "only sconce_* is exported" only_ours
else
	t_skip "programs link with the libraries" "the library has no sconce_version()"
fi

t_case "make uninstall" make_there uninstall
t_case "nothing of ours is left" diff <(echo "$lib/other") <(find "$root" ! -type d)
t_case "the directory of the headers is gone" test ! -e "$root$prefix/include/sconce"
t_end

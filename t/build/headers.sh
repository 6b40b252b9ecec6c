#!/bin/bash
# Every public header compiles alone, as C11 and as C++17, without a warning.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"
warnings=(-Wall -Wextra -Werror -pedantic -fsyntax-only)

for header in "$SRC"/include/sconce/*.h; do
	[ -e "$header" ] || continue
	name=sconce/$(basename "$header")
	# Twice: the second inclusion must be harmless too.
	printf '#include <%s>\n#include <%s>\nint main(void);\n' "$name" "$name" >"$tmp/alone.c"
	cp "$tmp/alone.c" "$tmp/alone.cc"
	t_case "$name as C11" "$CC" -std=c11 "${warnings[@]}" -I"$SRC/include" "$tmp/alone.c"
	if command -v c++ >/dev/null; then
		t_case "$name as C++17" c++ -std=c++17 "${warnings[@]}" -I"$SRC/include" "$tmp/alone.cc"
	else
		t_skip "$name as C++17" "there is no c++ here"
	fi
done
t_end

#!/bin/bash
# The three lists agree: what the headers declare, what the library exports, what the manual describes.
# Every function is a name of some page (so that `man sconce_write` finds it); every other public name is
# mentioned in one.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"
shopt -s nullglob
headers=("$SRC"/include/sconce/*.h)
pages=("$SRC"/src/man/*.[1-9])
[ ${#headers[@]} -gt 0 ] || { t_skip "symbols" "there are no headers"; t_end; }

# The functions that the headers declare: of the preprocessed text that comes from them, every declaration at
# file level that is not a typedef and has no body.
declared() {
	local header
	for header in "${headers[@]}"; do
		"$CC" -std=c11 -E -I"$SRC/include" "$header"
	done | awk '
		/^# [0-9]+ "/ { ours = ($3 ~ /include\/sconce\//); next }
		!ours { next }
		{
			for (i = 1; i <= length($0); i++) {
				c = substr($0, i, 1)
				if (c == "{") {
					# extern "C" does not nest; nor does what we print depend on it in C
					depth++; body = 1
				} else if (c == "}") {
					depth--
					if (depth == 0 && text ~ /\)[ \t]*$/) { text = ""; body = 0 }
				} else if (depth > 0) {
					continue
				} else if (c == ";") {
					if (!body && text !~ /typedef/ && match(text, /sconce_[a-z0-9_]+[ \t]*\(/)) {
						name = substr(text, RSTART, RLENGTH); sub(/[ \t]*\($/, "", name)
						print name
					}
					text = ""; body = 0
				} else
					text = text c
			}
			text = text " "
		}' | sort -u
}

# Macros that are used like functions.
macros() {
	sed -nE 's/^#[ \t]*define[ \t]+(sconce_[a-z0-9][a-z0-9_]*)\(.*/\1/p' "${headers[@]}" | sort -u
}

# All public names in the headers, comments aside; not include guards, nor what is marked private
# (sconce__x, SCONCE__X), nor the macros of export.h, which only the headers use.
named() {
	awk '
		FNR == 1 { comment = 0 }
		{
			line = $0; text = ""
			while (line != "") {
				if (comment) {
					end = index(line, "*/")
					if (!end) break
					line = substr(line, end + 2); comment = 0
				} else {
					start = index(line, "/*")
					if (!start) { text = text line; break }
					text = text substr(line, 1, start - 1) " "
					line = substr(line, start + 2); comment = 1
				}
			}
			gsub(/"[^"]*"/, " ", text)
			gsub(/<[^>]*>/, " ", text)
			gsub(/[^A-Za-z0-9_]+/, "\n", text)
			print text
		}' "${headers[@]}" | grep -vxFf <(sed -nE 's/^#define (\w+).*/\1/p' "$SRC/include/sconce/export.h") |
		grep -xE 'sconce_[a-z0-9][a-z0-9_]*|SCONCE_[A-Z0-9][A-Z0-9_]*' |
		grep -vE '_H$' | sort -u
}

# Words of the pages (but not their titles, in capitals, nor variables of the environment), and the names that make a page found.
mentioned() {
	cat "${pages[@]}" | sed '/^\.Dt /d; /^\.\(It \)\?Ev /d; s/-width [A-Z_]*//; s/\\&//g' | grep -oE '(sconce|SCONCE)_[A-Za-z0-9_]+' | sort -u
}
name_lines() {
	awk '/^\.Sh / { in_name = ($2 == "NAME") } in_name && $1 == ".Nm" { print $2 }' "${pages[@]}"
}

none() {
	[ ! -s "$1" ] || { cat "$1"; return 1; }
}

declared >"$tmp/declared"
named >"$tmp/named"

library=$BUILD/libsconce.so
if [ -e "$library" ]; then
	nm -D --defined-only --format=posix "$library" | awk '{ print $1 }' | sort -u >"$tmp/exported"
	comm -23 "$tmp/exported" "$tmp/declared" >"$tmp/undeclared"
	t_case "every exported symbol is declared in a public header" none "$tmp/undeclared"
	comm -13 "$tmp/exported" "$tmp/declared" >"$tmp/unexported"
	t_case "every function declared in a public header is exported" none "$tmp/unexported"
else
	t_skip "exports against headers" "there is no $library"
fi

if [ ${#pages[@]} -gt 0 ]; then
	mentioned >"$tmp/mentioned"
	name_lines | sort -u >"$tmp/findable"
	sort -u "$tmp/declared" <(macros) | comm -23 - "$tmp/findable" >"$tmp/unfound"
	t_case "every function is a name of a manual page" none "$tmp/unfound"
	comm -23 "$tmp/named" "$tmp/mentioned" >"$tmp/unmentioned"
	t_case "every public name is mentioned in the manual" none "$tmp/unmentioned"
	# A page may be called after its header.
	printf '%s\n' "${pages[@]##*/}" | sed 's/\.[0-9]$//' | sort -u "$tmp/named" - |
		comm -13 - "$tmp/mentioned" | grep -vE '__|_$' >"$tmp/unknown"
	t_case "the manual names nothing that the headers lack" none "$tmp/unknown"
	name_lines | sort | uniq -d >"$tmp/twice"
	t_case "no name has two pages" none "$tmp/twice"
else
	t_skip "manual against headers" "there are no manual pages"
fi
t_end

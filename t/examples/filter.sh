#!/bin/bash
# The example of a filter of one's own: netstrings come back as netstrings, and what is none ends the connection.
. "$(dirname "$0")/common"

# What comes back for what is on standard input.
answer() {
	timeout 20 "$examples/client" "${address[filter]}" >"$tmp/got"
}

comes_back() {
	printf '%s' "$1" | answer && printf '%s' "${2-$1}" | cmp - "$tmp/got"
}

large() {
	head -c 1000000 /dev/urandom >"$tmp/much"
	{ printf '1000000:'; cat "$tmp/much"; printf ',3:end,'; } >"$tmp/sent"
	answer <"$tmp/sent" && cmp "$tmp/sent" "$tmp/got"
}

# The client may find its connection reset while it still sends.
refused() {
	printf '%s' "$1" | answer
	printf '%s' "$2" | cmp - "$tmp/got" && said filter.err "$3"
}

t_case "it starts" start filter "$examples/filter" 127.0.0.1:0
t_case "netstrings come back" comes_back '5:hello,0:,12:hello world!,'
t_case "so does one of a megabyte" large
t_case "half a netstring does not" comes_back '2:hi,5:hel' '2:hi,'
t_case "one without its comma ends the connection" refused '2:hi,2:hi!2:hi,' '2:hi,' 'without its comma'
t_case "so does one that is too long" refused '1048577:x' '' 'too long'
t_case "so does a length that is none" refused '5;hello,' '' 'malformed'
t_case "SIGINT ends it well" stop filter
wrong_use filter
t_end

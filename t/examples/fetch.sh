#!/bin/bash
# The fetch example: what was fetched and what was not, lists from anywhere, and the partial result at ^C.
. "$(dirname "$0")/common"

# fetched STATUS LINES ARG...: its status, and the sorted lines of its output, times left out.
fetched() {
	local wanted=$1 lines=$2 status=0
	shift 2
	timeout 20 "$examples/fetch" "$@" >"$tmp/got" 2>"$tmp/err" || status=$?
	cat "$tmp/got" "$tmp/err"
	[ $status = "$wanted" ] || { echo "status $status, not $wanted"; return 1; }
	printf "$lines" | diff - <(sed -E "s/ [0-9.]+ s / /; s|$web||" "$tmp/got" | sort)
}

# fails_with TEXT URL
fails_with() {
	fetched 1 '' "$2" >/dev/null
	cat "$tmp/got" "$tmp/err"
	grep -q "^failed $2: $1" "$tmp/got" && grep -q "^1 of 1 done, 1 failed, 0 bytes" "$tmp/err"
}

list_on_standard_input() {
	printf '%s\n' "$web/7" '# a comment' '' "$web/8  " | fetched 0 '200 7 bytes /7\n200 8 bytes /8\n'
}

list_in_a_file() {
	seq -f "$web/%.0f" 1 400 >"$tmp/list"
	timeout 20 "$examples/fetch" -n 20 -f "$tmp/list" "$web/500" >"$tmp/got" 2>"$tmp/err" || return 1
	cat "$tmp/err"
	[ "$(grep -c "^200 " "$tmp/got")" = 401 ] && grep -q "^401 of 401 done, 0 failed, 80700 bytes, .* 99 % " "$tmp/err"
}

partial_result_at_interrupt() {
	local status=0 pid
	timeout --foreground 20 "$examples/fetch" -n 4 "$web/7" "$web/silent" "$web/8" "$web/silent" >"$tmp/got" 2>"$tmp/err" &
	pid=$!
	for _ in {1..500}; do
		[ "$(grep -c "^200 " "$tmp/got")" = 2 ] && break
		sleep 0.01
	done
	kill -INT "$pid"
	wait "$pid" || status=$?
	cat "$tmp/got" "$tmp/err"
	[ $status = 130 ] && grep -q "^interrupted: 2 of 4 done, 0 failed, 15 bytes" "$tmp/err" && [ "$(grep -c "^200 " "$tmp/got")" = 2 ]
}

start httpd "$BUILD/t/examples/httpd"
web=http://${address[httpd]}
t_case "answers of every framing are whole" fetched 0 \
	'200 11 bytes /chunked\n200 2 bytes /early\n200 5 bytes /close\n200 60000 bytes /60000\n404 5 bytes /\n404 5 bytes ?q\n' \
	"$web/chunked" "$web/early" "$web/close" "$web/60000" "$web/" "$web?q"
t_case "nobody there is a failure of its own" fetched 1 \
	"200 7 bytes /7\nfailed http://${address[nobody]}/: connect ${address[nobody]}: Connection refused\n" \
	"http://${address[nobody]}/" "$web/7"
t_case "so is no answer in time" fetched 1 'failed /silent: no answer in 0.2 s\n' -t 0.2 "$web/silent"
t_case "an answer that is cut off" fails_with "filter" "$web/cut"
t_case "one that is no HTTP" fails_with "filter" "$web/junk"
t_case "what is no http:// URL" fetched 1 'failed ftp://x/: this is no http:// URL\nfailed http://: this is no http:// URL\n' \
	ftp://x/ http://
t_case "blanks do not get into a request" fetched 1 'failed /a b: this is no http:// URL\n' "$web/a b"
t_case "the list may come from standard input" list_on_standard_input
t_case "or from a file, more than are fetched at a time" list_in_a_file
t_case "^C gives what there is" partial_result_at_interrupt
t_case "an empty list is nothing to do" fetched 0 '' -f /dev/null
t_case "a file that is not there is named" fails 1 "/no/such/list: No such file" "$examples/fetch" -f /no/such/list
t_case "nothing at a time is refused" fails 2 "fetch: -n is 1 to" "$examples/fetch" -n 0 http://x/
t_case "an unknown option gets the usage line" fails 2 "usage: fetch" "$examples/fetch" --what
t_end

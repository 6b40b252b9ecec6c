#!/bin/bash
# The scan example: open ports are told, closed ones counted, and silly input is refused.
. "$(dirname "$0")/common"

port() {
	echo "${address[$1]#*:}"
}

finds_the_open_one() {
	local p
	p=$(port echo)
	timeout 20 "$examples/scan" 127.0.0.1 "$p" >"$tmp/got" 2>"$tmp/err" || return 1
	cat "$tmp/got" "$tmp/err"
	[ "$(cat "$tmp/got")" = "127.0.0.1:$p open" ] && grep -q "^1 of 1 ports in .*: 1 open, 0 closed, 0 without" "$tmp/err"
}

# More ports than may be tried at a time, and than there are descriptors.
counts_them_all() {
	(ulimit -n 40; timeout 20 "$examples/scan" -n 100 127.0.0.1 1-600 >"$tmp/got" 2>"$tmp/err") || return 1
	cat "$tmp/err"
	grep -q "^600 of 600 ports" "$tmp/err"
}

start echo "$examples/echo" 127.0.0.1:0
t_case "an open port is printed" finds_the_open_one
t_case "every port is counted, with few descriptors too" counts_them_all
t_case "a name is refused" fails 2 "'localhost' is no numeric address" "$examples/scan" localhost 80
t_case "so is an endpoint" fails 2 "is no numeric address" "$examples/scan" unix:///tmp/x 80
t_case "a port that is none" fails 2 "'0' is no port" "$examples/scan" 127.0.0.1 0
t_case "one that is too high" fails 2 "'65536' is no port" "$examples/scan" 127.0.0.1 65536
t_case "a range that goes down" fails 2 "'20-10' is no port or range" "$examples/scan" 127.0.0.1 20-10
t_case "a range with something behind it" fails 2 "'1-2x' is no port or range" "$examples/scan" 127.0.0.1 1-2x
t_case "nothing at a time" fails 2 "scan: -n is 1 to" "$examples/scan" -n 0 127.0.0.1 1
t_case "no time" fails 2 "-t seconds" "$examples/scan" -t 0 127.0.0.1 1
t_case "without arguments there is the usage line" fails 2 "usage: scan" "$examples/scan"
wrong_use scan
t_end

#!/bin/bash
# The client example: what standard input is does not matter, and its status tells how it went.
. "$(dirname "$0")/common"

# Runs the client with standard input from the command given; what it prints must be what was sent.  The small
# send buffer makes it wait for the server now and then.
echoes_from() {
	timeout 20 "$examples/client" "${address[echo]}?sndbuf=4096" < <("$@") >"$tmp/got" && cmp "$tmp/sent" "$tmp/got"
}

echoes_from_file() {
	timeout 20 "$examples/client" "${address[echo]}?sndbuf=4096" <"$tmp/sent" >"$tmp/got" && cmp "$tmp/sent" "$tmp/got"
}

# Starts a client whose input stays open, and sees a line come back: $client, $input, $output.
start_open() {
	local line
	rm -f "$tmp/in" "$tmp/out"
	mkfifo "$tmp/in" "$tmp/out"
	timeout --foreground 10 "$examples/client" "${address[echo]}" <"$tmp/in" >"$tmp/out" &
	client=$!
	exec {input}>"$tmp/in" {output}<"$tmp/out"
	echo hello >&"$input"
	read -r -t 10 line <&"$output"
	[ "$line" = hello ]
}

# Its status.
end_open() {
	local status=0
	wait "$client" || status=$?
	exec {input}>&- {output}<&-
	echo "status $status"
	return $status
}

ends_with_the_server() {
	start_open && stop echo && end_open
}

interrupted() {
	local status=0
	start_open || return 1
	kill -INT "$client"			# timeout passes it on
	end_open || status=$?
	[ $status = 130 ]
}

start echo "$examples/echo" 127.0.0.1:0
seq 200000 >"$tmp/sent"
t_case "a pipe is sent and comes back" echoes_from cat "$tmp/sent"
t_case "so is a file" echoes_from_file
t_case "SIGINT is told in the status" interrupted
t_case "the server's end is the client's" ends_with_the_server
t_case "nobody there: an error that names the address" fails 1 "${address[nobody]}" \
	"$examples/client" "${address[nobody]}"
t_case "a wrong endpoint is an error that names it" fails 1 "nonsense::" "$examples/client" nonsense::
t_case "without an endpoint there is the usage line" fails 2 "usage: client" "$examples/client"
wrong_use client
t_end

#!/bin/bash
# The relay example: bytes, ends and failures pass through.
. "$(dirname "$0")/common"

# The client half-closes and gets its answer all the same.
passes() {
	timeout 20 "$examples/client" "${address[relay]}" <"$tmp/sent" >"$tmp/got" && cmp "$tmp/sent" "$tmp/got"
}

passes_two_at_once() {
	local status=0
	timeout 20 "$examples/client" "${address[relay]}" <"$tmp/sent" >"$tmp/got2" &
	passes || status=1
	wait $! || status=1
	cmp "$tmp/sent" "$tmp/got2" && [ $status = 0 ]
}

start echo "$examples/echo" 127.0.0.1:0
t_case "it starts" start relay "$examples/relay" 127.0.0.1:0 "${address[echo]}"
head -c 3000000 /dev/urandom >"$tmp/sent"
t_case "three megabytes go there and back, past a half-close" passes
t_case "twice at the same time" passes_two_at_once
t_case "a busy port is an error that names it" fails 1 "${address[relay]}" \
	"$examples/relay" "${address[relay]}" "${address[echo]}"
t_case "a wrong target is an error that names it" fails 1 "nonsense::" "$examples/relay" 127.0.0.1:0 nonsense::
t_case "SIGINT ends it well" stop relay
t_case "it has counted each connection" said relay.out "#1: 3000000 bytes to the target, 3000000 back"
t_case "and all of them" said relay.out "3 connections, 9000000 bytes to the target, 9000000 back"

t_case "a target may be a name" start named "$examples/relay" 127.0.0.1:0 "localhost:${address[echo]##*:}"
address[relay]=${address[named]}
t_case "and is reached" passes
t_case "that relay ends well, too" stop named

start lonely "$examples/relay" 127.0.0.1:0 "${address[nobody]}"
t_case "a target that is not there is the client's failure too" fails 1 "client: " \
	"$examples/client" "${address[lonely]}"
t_case "that relay ends well" stop lonely
t_case "and has said whom it did not reach" said lonely.err "${address[nobody]}"
t_case "without a target there is the usage line" fails 2 "usage: relay" "$examples/relay" 127.0.0.1:0
wrong_use relay
stop echo
t_end

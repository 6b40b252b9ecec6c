#!/bin/bash
# The echo example: every byte comes back, and it ends well.
. "$(dirname "$0")/common"

echoes() {
	timeout 20 "$examples/client" "${address[echo]}" <"$tmp/sent" >"$tmp/got" && cmp "$tmp/sent" "$tmp/got"
}

# The first client reads nothing until the second is done, and has sent more by then than buffers hold.
echoes_beside_a_slow_reader() {
	local slow status=0
	exec {slow}<>"/dev/tcp/${address[echo]/://}" || return 1
	timeout 20 cat "$tmp/much" >&"$slow" &
	echoes || status=$?
	timeout 20 head -c 16000000 <&"$slow" | cmp - "$tmp/much" || status=$?
	exec {slow}<&-
	wait $! || status=$?
	return $status
}

t_case "it starts" start echo "$examples/echo" 127.0.0.1:0
head -c 16000000 /dev/urandom >"$tmp/much"
head -c 3000000 "$tmp/much" >"$tmp/sent"
t_case "three megabytes come back" echoes
t_case "so they do beside somebody who does not read" echoes_beside_a_slow_reader
: >"$tmp/sent"
t_case "nothing comes back for nothing" echoes
t_case "a busy port is an error that names it" fails 1 "${address[echo]}" "$examples/echo" "${address[echo]}"
t_case "a wrong endpoint is an error that names it" fails 1 "nonsense::" "$examples/echo" nonsense::
t_case "it listens on a unix path" start unix "$examples/echo" "$tmp/socket"
t_case "whose file goes with it" eval 'stop unix && [ ! -e "$tmp/socket" ]'
t_case "SIGINT ends it well" stop echo
wrong_use echo
t_end

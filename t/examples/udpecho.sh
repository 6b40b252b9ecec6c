#!/bin/bash
# The UDP echo example: datagrams come back whole, and it ends well.
. "$(dirname "$0")/common"

# Asks the server by bash's own UDP sockets: what is read of one is one datagram.
says() {
	local fd line
	exec {fd}<>"/dev/udp/${address[echo]/://}" || return 1
	printf '%s' "$1" >&"$fd"
	read -r -t 10 -N "${#1}" line <&"$fd"
	exec {fd}>&-
	[ "$line" = "$1" ] || { echo "got '$line'"; return 1; }
}

much() {
	says "$(head -c 1400 /dev/zero | tr '\0' x)" && for i in $(seq 50); do says "datagram $i" || return 1; done
}

ends_well() {
	stop echo && said echo.out "received 52 sent 52 errors 0"
}

t_case "it starts" start echo "$examples/udpecho" udp://127.0.0.1:0
t_case "a datagram comes back" says hello
t_case "so do others" much
t_case "a busy port is an error that names it" fails 1 "${address[echo]}" "$examples/udpecho" "udp://${address[echo]}"
t_case "SIGINT ends it well, and it has counted" ends_well
t_case "a stream endpoint is an error" fails 1 "udpecho:" "$examples/udpecho" tcp://127.0.0.1:0
t_case "a wrong endpoint is an error that names it" fails 1 "nonsense::" "$examples/udpecho" udp://nonsense::
wrong_use udpecho
t_end

#!/bin/bash
# The pull example: values are kept, clients do not mix, and what is wrong is answered.
. "$(dirname "$0")/common"

# ask LINES ANSWERS: both with \n.
ask() {
	printf "$1" | timeout 10 "$examples/client" "${address[pull]}" >"$tmp/got"
	printf "$2" | diff - <(tr -d '\r' <"$tmp/got")
}

# Two clients, each half a command at a time.
halves() {
	local a b line
	exec {a}<>"/dev/tcp/${address[pull]/://}" {b}<>"/dev/tcp/${address[pull]/://}" || return 1
	printf 'set x ' >&"$a"
	printf 'get nob' >&"$b"
	printf 'one\n' >&"$a"
	read -r -t 10 line <&"$a" && [ "${line%$'\r'}" = ok ] || return 1
	printf 'ody\n' >&"$b"
	read -r -t 10 line <&"$b" && [ "${line%$'\r'}" = none ] || return 1
	printf 'quit\n' >&"$a"
	! read -r -t 10 line <&"$a"
	exec {a}<&- {b}<&-
}

# Asks and asks, and reads nothing until it was closed.
hopeless() {
	local fd
	exec {fd}<>"/dev/tcp/${address[pull]/://}" || return 1
	yes "get big" | head -n 40000 | timeout 10 cat >&"$fd"
	ask 'count\n' '3\n'
	exec {fd}<&-
}

# A small send buffer, so that little is much to somebody who does not read.
t_case "it starts" start pull "$examples/pull" "127.0.0.1:0?sndbuf=16384"
t_case "values are kept" ask 'set a 1\nset b two words\nget a\nget b\ncount\n' 'ok\nok\n= 1\n= two words\n2\n'
t_case "for other clients too" ask 'get b\r\nset a 2\r\nget a\r\n' '= two words\nok\n= 2\n'
t_case "until they are deleted" ask 'del b\nget b\ndel b\n' 'ok\nnone\nnone\n'
t_case "what it does not know it says" ask 'dance\nset x\n\n' 'what?\nwhat?\nwhat?\n'
t_case "halves of commands do not mix" halves
t_case "a line that is too long is told so" ask "$(printf '%02000d' 0)\n" 'that line is too long\n'
t_case "a long one is kept" ask "set big $(printf '%01000d' 0)\n" 'ok\n'
t_case "who does not read holds up nobody" hopeless
t_case "a busy port is an error that names it" fails 1 "${address[pull]}" "$examples/pull" "${address[pull]}"
t_case "SIGINT ends it well" stop pull
wrong_use pull
t_end

#!/bin/bash
# The chat example: a line reaches everybody else, and a slow reader nobody but itself.
. "$(dirname "$0")/common"

# join NAME: sets ${member[NAME]}, an fd.  After the greeting the server knows the member.
declare -A member=()
join() {
	local fd line
	member[$1]=99				# what does not exist
	exec {fd}<>"/dev/tcp/${address[chat]/://}" || return 1
	member[$1]=$fd
	read -r -t 10 line <&"$fd"
	[[ $line == "* you are guest"* ]]
}

leave() {
	local fd=${member[$1]}
	[ "$fd" = 99 ] || exec {fd}<&-
}

say() {
	printf '%s\n' "$2" >&"${member[$1]}"
}

# Whether a member gets a line that contains the text, among others.
hears() {
	timeout 10 grep -qm1 -- "$2" <&"${member[$1]}"
}

# Somebody says that many lines of 1000 bytes, and leaves when the server has read them all.
flood() {
	yes "$(printf '%0999d' 0)" | head -n "$1" | timeout 20 "$examples/client" "${address[chat]}" >/dev/null
}

# Half a line is nothing yet.
halves() {
	printf 'one ' >&"${member[ann]}"
	say bob "between"
	hears ann "guest2: between" || return 1
	say ann "two"
	hears bob "guest1: one two"
}

# What it was told may have been of a first time that it fell behind; then there is more to read before it has caught up.
served() {
	local what
	for _ in 1 2 3 4 5; do
		say other "welcome back"
		what=$(timeout 10 grep -m1 -oE 'missed [0-9]+ messages|welcome back' <&"${member[slow]}") || return 1
		[ "$what" != "welcome back" ] || return 0
	done
	return 1
}

# A small send buffer, so that few bytes make a reader slow.
t_case "it starts" start chat "$examples/chat" "127.0.0.1:0?sndbuf=16384"
t_case "somebody joins" join ann
t_case "and somebody else" join bob
t_case "which the first is told" hears ann "guest2 joined"
say bob "hello"
t_case "a line reaches the other" hears ann "guest2: hello"
t_case "so does one that comes in two halves" halves
say bob $'bell\a'
t_case "control characters do not" hears ann "guest2: bell?"
leave bob
t_case "who leaves is missed" hears ann "guest2 left"
leave ann
t_case "somebody with much to say joins" join talker
say talker "$(printf '%01025d' 0)"
t_case "and is told how long a line may be" hears talker "at most 1024 bytes"
leave talker

t_case "a slow reader joins" join slow
t_case "and does not hold up the others" flood 900
t_case "it is told how many messages it missed" hears slow "missed [0-9]* messages"
t_case "somebody else joins" join other
t_case "and the slow one is served again" served
t_case "a hopeless one does not hold them up either" eval 'leave slow; join hopeless && flood 3000'
t_case "the chat's end is told" eval 'join last && stop chat && hears last "the chat ends"'
t_case "the hopeless one was closed" said chat.out "closed for being slow"
start busy "$examples/chat" 127.0.0.1:0
t_case "a busy port is an error that names it" fails 1 "${address[busy]}" "$examples/chat" "${address[busy]}"
stop busy
wrong_use chat
t_end

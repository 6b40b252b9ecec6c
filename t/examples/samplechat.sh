#!/bin/bash
# The sample chat: a server of sconce/server.h with a configuration of its own.
. "$(dirname "$0")/service"
chat=$examples/samplechat
port=--port=127.0.0.1:0

not() { ! "$@"; }

# ---- talking ----

commands() {
	say bob "/nick bob" && hears ann "NICK: \(#2\) 127.0.0.1:[0-9]* is bob" || return 1
	say bob "/who" && hears bob "#[12] .*for 0 s \(you\)" || return 1
	say bob "/nick [1 - ann]" && hears bob "a nick has 1 to 16" || return 1
	say bob "/nick abcdefghijklmnopq" && hears bob "a nick has 1 to 16" || return 1
	say bob "/nick" && hears bob "a nick has 1 to 16" || return 1
	say bob "/dance" && hears bob "no such command" || return 1
	say bob "/help" && hears bob "/who, /nick NAME, /quit"
}

# Escape sequences, carriage returns, and lines that look like somebody else's: one line of text arrives.
fakes() {
	printf 'one\033[2J \001 %%\r[1 - ann] two\n' >&"${peer[bob]}"
	hears ann '^\[2 - bob\] one%1B\[2J %01 %$' && hears ann '^\[2 - bob\] \[1 - ann\] two$'
}

halves() {
	printf 'half ' >&"${peer[ann]}"
	say bob "between" && hears ann "between" || return 1
	say ann "whole" && hears bob '\[1 - 127.0.0.1:[0-9]*\] half whole'
}

# The very next line that ann gets is bob's text.
empty() {
	local line
	say bob "" && say bob "text" && read -r -t 10 line <&"${peer[ann]}" && [[ $line == *"] text"* ]]
}

# What waits for somebody who does not read is bounded: he goes, and nobody else.
flood() {
	local lines
	lines=$(yes "$(printf '%0500d' 0)" | head -n 100)
	talk slow chat && logged chat "client 4 " || return 1
	for n in $(seq 20); do
		say bob "$lines" && say bob "flood $n" || return 1
		timeout 10 grep -qm1 "flood $n" <&"${peer[bob]}" || return 1
		timeout 10 grep -qm1 "flood $n" <&"${peer[ann]}" || return 1
	done
	logged chat "left, too slow to read"
}

long_line() {
	talk long chat && hears long "number 5" && say long "$(printf '%0513d' 0)" && ended long || return 1
	leave long
	hears ann "LEFT: \(#5\) .*by a line that was too long"
}

quits() {
	say bob "/quit" && hears bob "good bye" && ended bob || return 1
	leave bob
	hears ann "LEFT: \(#2\) bob"
}

t_case "it starts" serve chat "$chat" --max_wait=64 --motd="be nice" \
	--port="127.0.0.1:0?sndbuf=16384"
t_case "who comes is greeted" eval 'talk ann chat && hears ann "be nice" && hears ann "number 1, of 1 here"'
t_case "and others are told" eval 'talk bob chat && hears bob "number 2, of 2" && hears ann "JOIN: \(#2\) from 127.0.0.1"'
say bob "hello"
t_case "a line reaches everybody" eval 'hears ann "\[2 - 127.0.0.1:[0-9]*\] hello" && hears bob "\[2 - .*hello"'
t_case "half a line is nothing yet" halves
t_case "it knows some commands" commands
t_case "nobody writes to the others' terminals, or in their name" fakes
t_case "an empty line is nothing" empty
t_case "a peer that vanishes is missed" eval 'talk gone chat && hears gone "number 3"; leave gone; hears ann "LEFT: \(#3\)"'
t_case "a slow reader has to go, others do not notice" flood
t_case "who sends a long line has to go" long_line
t_case "/quit says good bye" quits
t_case "TERM tells everybody" eval 'finish chat && hears ann "the chat ends"'
t_case "and leaves a summary" said chat.log "served 5 clients"

# ---- silence ----

silence() {
	talk ann chat && hears ann "number 1" && hears ann "a lot of patience" && hears ann "you should leave" && ended ann
}
crowd() {
	local n
	serve crowd "$chat" "$port" || return 1
	for n in $(seq 52); do
		talk "g$n" crowd || return 1
	done
	hears g52 "number 52, of 52" && say g52 "/who" && hears g52 "^  and 2 more$" && finish crowd
}
t_case "/who does not list a crowd" crowd

patience() {
	talk bob chat && hears bob "a lot of patience" && say bob "hello" && hears bob "a lot of patience"
}
t_case "with a short patience it starts" serve chat "$chat" "$port" --nudge=0.05
t_case "who is silent is nudged, and then has to go" silence
t_case "who speaks again gets as much patience again" patience
t_case "QUIT ends it" finish chat QUIT

# ---- rules, and SIGHUP ----

conf=$tmp/chat.conf
configure() {
	printf '%s\n' "$@" >"$conf"
}

denied() {
	talk carl chat && hears carl "you may not join" && ended carl || return 1
	leave carl
	logged chat "closed after"
}

reloads() {
	configure "hup reload" "motd = second" "cidr_deny 127.0.0.0/8"
	kill -HUP "${pids[chat]}"
	logged chat "new guests are told: second" && say ann "still here" && hears ann "still here"
}

refuses_to_reload() {
	configure "hup reload" "motd = third" "max_wait 1"
	kill -HUP "${pids[chat]}"
	logged chat "chat.conf:3" && denied
}

configure "hup reload" "motd = first  # comment"
t_case "with a file it starts" serve chat "$chat" "$port" --conf_file="$conf"
t_case "the file is in force" eval 'talk ann chat && hears ann "^first$"'
t_case "a reload changes it, and guests stay" reloads
t_case "who may not come in is told, and let go" denied
t_case "nobody else hears of him" eval 'say ann marker && timeout 10 sed "/marker/q" <&"${peer[ann]}" | not grep "LEFT\|JOIN"'
t_case "a reload with an error changes nothing, and says where it is" refuses_to_reload
t_case "INT ends it" finish chat INT

restarts() {
	configure "motd = afterwards"
	kill -HUP "${pids[chat]}"
	hears ann "begins anew" && ended ann && talk bob chat && hears bob "^afterwards$" && hears bob "number 1"
}

configure "motd = before"
t_case "it starts again" serve chat "$chat" "$port" --conf_file="$conf"
t_case "with a guest" eval 'talk ann chat && hears ann "^before$"'
t_case "HUP makes it begin anew, on the same port" restarts
t_case "as the same process, which ends well" finish chat

# ---- in the background ----

in_background() {
	"$chat" "$port" --background --pid_file="$tmp/pid" --log_file="$tmp/log" || return 1
	pids[back]=$(cat "$tmp/pid")
	address[back]=$(sed -n 's/.*listening on //p' "$tmp/log")
	talk ann back && hears ann "number 1"
}

respects() {
	fails 1 "$tmp/pid" "$chat" "$port" --background --pid_file="$tmp/pid"
}

ends_in_background() {
	kill -TERM "${pids[back]}"
	hears ann "the chat ends" && ended ann || return 1
	timeout 10 tail -s 0.02 --pid="${pids[back]}" -f /dev/null || return 1
	unset "pids[back]"
	[ ! -e "$tmp/pid" ] && said log "served 1 client"
}
t_case "in the background it has a pid file and a log" in_background
t_case "a second one respects the pid file" respects
t_case "TERM ends it, and the pid file goes" ends_in_background

# ---- what is wrong ----

serve busy "$chat" "$port"
t_case "a busy port is an error that names it" fails 1 "${address[busy]}" "$chat" --port="${address[busy]}"
t_case "in the background, too" fails 1 "${address[busy]}" "$chat" --port="${address[busy]}" --background
finish busy
t_case "a wrong value is an error that names it" fails 1 "max_line" "$chat" --max_line=0
t_case "several processes are no chat" fails 1 "processes=2" "$chat" "$port" --processes=2
t_case "an unknown option is told" fails 2 "--what" "$chat" --what=1
# The one in the opening comment of the source.
sample_file() {
	sed -n '/^ \* With a file/,/^ \*$/s/^ \*\t//p' "$SRC/src/examples/samplechat.c" >"$tmp/sample.conf"
	grep -q "^motd" "$tmp/sample.conf" && "$chat" --conf_file="$tmp/sample.conf" --check | grep "configuration is good"
}
t_case "the sample configuration is good" sample_file
t_case "there is help" eval '"$chat" --help | grep -q -- "--nudge=SECONDS"'
t_end

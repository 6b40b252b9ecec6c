#!/bin/bash
# The port forwarder: connections and datagrams, their ends and failures, pass through.
. "$(dirname "$0")/service"
fw=$examples/portfw
tcp=--port=127.0.0.1:0 udp=--port=udp://127.0.0.1:0

# ---- TCP ----

# The client half-closes and gets its answer all the same.
passes() {
	timeout 20 "$examples/client" "${address[$1]}" <"$tmp/sent" >"$tmp/got" && cmp "$tmp/sent" "$tmp/got"
}

echoes() {
	talk "$1" "$2" && say "$1" "hello" && hears "$1" "^hello$"
}

vanishes() {
	echoes gone fw || return 1
	leave gone
	logged fw "6 bytes to the target, 6 back"
}

# The relay's own target is not there: its resets are ours.
resets() {
	start broken "$examples/relay" 127.0.0.1:0 "${address[nobody]}" || return 1
	serve to_broken "$fw" "$tcp" --forward="${address[broken]}" || return 1
	fails 1 "client: " "$examples/client" "${address[to_broken]}" || return 1
	logged to_broken "reset" && finish to_broken && stop broken
}

start echo "$examples/echo" 127.0.0.1:0
head -c 3000000 /dev/urandom >"$tmp/sent"
t_case "it starts" serve fw "$fw" "$tcp" --forward="${address[echo]}"
t_case "three megabytes go there and back, past a half-close" passes fw
t_case "they are counted" logged fw "3000000 bytes to the target, 3000000 back"
t_case "a client that vanishes is one that ends" vanishes
t_case "somebody is there at the end" echoes last fw
t_case "TERM ends it, and what is left" eval 'finish fw && ended last'
t_case "it says how many it has served" said fw.log "served 3 clients"
t_case "a target may be a name" serve named "$fw" "$tcp" --forward="localhost:${address[echo]##*:}"
t_case "and is reached" passes named
t_case "QUIT ends that" finish named QUIT
t_case "it starts for nobody" serve lonely "$fw" "$tcp" --forward="${address[nobody]}"
t_case "a target that is not there is the client's failure too" fails 1 "client: " "$examples/client" "${address[lonely]}"
t_case "and is told in the log" logged lonely "${address[nobody]}"
t_case "INT ends that" finish lonely INT
t_case "a target's reset is passed on" resets

few() {
	serve few "$fw" "$tcp" --forward="${address[echo]}" --max_clients=1 && echoes one few || return 1
	talk two few && say two "hello" && leave one && hears two "^hello$" || return 1
	finish few || return 1
	sed -n 's/.*\(client [12]\) .*: \(connected\|closed\).*/\1 \2/p' "$tmp/few.log" >"$tmp/order"
	diff - "$tmp/order" <<-END
		client 1 connected
		client 1 closed
		client 2 connected
		client 2 closed
	END
}
t_case "there is a limit, beyond which clients wait" few

# ---- UDP ----

# ask FD TEXT: what comes back by bash's own UDP socket must be the same datagram.
ask() {
	local line
	printf '%s' "$2" >&"$1"
	read -r -t 10 -N "${#2}" line <&"$1"
	[ "$line" = "$2" ] || { echo "got '$line'"; return 1; }
}

two_senders() {
	local a b
	exec {a}<>"/dev/udp/${address[dg]/://}" {b}<>"/dev/udp/${address[dg]/://}"
	ask "$a" one && ask "$b" two && ask "$a" "$(head -c 1400 /dev/zero | tr '\0' x)" && ask "$b" four
	local status=$?
	exec {a}>&- {b}>&-
	return $status
}

start udpecho "$examples/udpecho" udp://127.0.0.1:0
t_case "it starts for datagrams" serve dg "$fw" "$udp" --forward="${address[udpecho]}"
t_case "each sender gets its own answers" two_senders
finish dg
t_case "and had a session of its own" [ "$(grep -c "2 to the target, 2 back" "$tmp/dg.log")" = 2 ]

silence() {
	local a
	serve idle "$fw" "$udp" --forward="${address[udpecho]}" --udp_idle=0.05 || return 1
	exec {a}<>"/dev/udp/${address[idle]/://}"
	ask "$a" one && logged idle "1 to the target, 1 back" && ask "$a" two && logged idle "1 to the target, 1 back" || return 1
	exec {a}>&-
	finish idle
}
t_case "who is silent is forgotten, and begins anew" silence

too_many() {
	local a b
	serve one "$fw" "$udp" --forward="${address[udpecho]}" --udp_sessions=1 || return 1
	exec {a}<>"/dev/udp/${address[one]/://}" {b}<>"/dev/udp/${address[one]/://}"
	ask "$a" one || return 1
	printf 'dropped' >&"$b"
	logged one "there are 1 sessions" || return 1
	printf 'dropped' >&"$b"
	ask "$a" three || return 1
	exec {a}>&- {b}>&-
	finish one && said one.log "2 to the target, 2 back" || return 1
	[ "$(grep -c "to the target" "$tmp/one.log") $(grep -c "there are 1 sessions" "$tmp/one.log")" = "1 1" ]
}
t_case "there is a limit, beyond which they are dropped" too_many

nobody_listens() {
	local a
	serve refused "$fw" "$udp" --forward="${address[nobody]}" || return 1
	exec {a}<>"/dev/udp/${address[refused]/://}"
	printf 'one' >&"$a"
	logged refused "${address[nobody]}: Connection refused" || return 1
	printf 'two' >&"$a"
	exec {a}>&-
	finish refused && said refused.log "2 to the target, 0 back" || return 1
	[ "$(grep -c "Connection refused" "$tmp/refused.log")" = 1 ]
}
t_case "that nobody is there is told in the log" nobody_listens

# ---- SIGHUP ----

reloads() {
	printf 'hup reload\nforward %s\n' "${address[echo]}" >"$tmp/conf"
	kill -HUP "${pids[change]}"
	logged change "forwarding to ${address[echo]} from now on" && echoes other change
}

printf 'hup reload\nforward %s\n' "${address[nobody]}" >"$tmp/conf"
t_case "with a file it starts" serve change "$fw" "$tcp" --conf_file="$tmp/conf"
t_case "its target can be changed" reloads

refuses_to_reload() {
	printf 'hup reload\nforward nonsense\n' >"$tmp/conf"
	kill -HUP "${pids[change]}"
	logged change "conf:2" && echoes third change
}
t_case "but not to nonsense" refuses_to_reload
t_case "that ends well" finish change

# What was connected before stays with the old process's child, which has the log open until it ends.
restarts() {
	kill -HUP "${pids[again]}"
	logged again "started again, pid ${pids[again]}" && echoes after again || return 1
	say before "still here" && hears before "^still here$"
}

restarts_datagrams() {
	local a
	exec {a}<>"/dev/udp/${address[fresh]/://}"
	ask "$a" one || return 1
	kill -HUP "${pids[fresh]}"
	logged fresh "started again, pid ${pids[fresh]}" && ask "$a" two || return 1
	exec {a}>&-
	finish fresh
}

t_case "it starts again" serve again "$fw" "$tcp" --forward="${address[echo]}" --drain=10
t_case "with a client" echoes before again
t_case "whom a restart leaves alone" restarts
leave before
t_case "that ends well, too" finish again
serve fresh "$fw" "$udp" --forward="${address[udpecho]}"
t_case "datagrams go on after a restart" restarts_datagrams

# ---- what is wrong ----

serve busy "$fw" "$tcp" --forward="${address[echo]}"
t_case "a busy port is an error that names it" fails 1 "${address[busy]}" \
	"$fw" --port="${address[busy]}" --forward="${address[echo]}"
finish busy
t_case "without a target there is an error that says what to do" fails 1 "--forward=HOST:PORT" "$fw" "$tcp"
t_case "a wrong target is an error that names it" fails 1 "nonsense::" "$fw" "$tcp" --forward=nonsense::
t_case "a target has no protocol" fails 1 "say HOST:PORT" "$fw" "$tcp" --forward=tcp://127.0.0.1:80
t_case "a target has a port" fails 1 "forward" "$fw" "$tcp" --forward=127.0.0.1:0
t_case "an unknown option is told" fails 2 "--what" "$fw" --what=1
stop udpecho
stop echo
t_end

# sconced as a daemon: background, pid file, log, users, restart.
. "$(dirname "$0")/../harness.sh"

sconced=$BUILD/sconced
pid=

# config PORT: a service there, without a backend; --check finds nothing wrong.
config() {
	cat >"$tmp/conf" <<-END
		CREATE POOL a
		POOL a ADD 127.0.0.1:1
		CREATE SERVICE web
		SET role = reverse_proxy
		SET listen = 127.0.0.1:$1
		SET pool = a
		ENABLE web
	END
}

# run STATUS ARGUMENT...: runs sconced, which must end, or go to the background, with that status.
run() {
	local wanted=$1 status=0
	shift
	timeout 20 "$sconced" -c "$tmp/conf" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null || status=$?
	[ $status = "$wanted" ] && return 0
	echo "exit status $status, not $wanted"
	cat "$tmp/out" "$tmp/err" "$tmp/log"
	return 1
}

# says FILE TEXT: FILE has it.
says() {
	grep -qF -- "$2" "$1" && return 0
	echo "no \"$2\" in $1:"
	cat "$1"
	return 1
}

# await COMMAND...: tries until it succeeds, for 20 seconds at most.
await() {
	local until=$((SECONDS + 20))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || { echo "never: $*"; cat "$tmp/log"; return 1; }
	done
}

# It has ended; whoever is to reap it may take its time.
gone() {
	! kill -0 "$1" || grep -q '^State:.Z' "/proc/$1/status"
}

# daemon ARGUMENT...: in the background, with pid file and log; $pid and $port are set.
daemon() {
	: >"$tmp/log"
	run 0 --daemon --pid_file="$tmp/pid" --log_file="$tmp/log" "$@" || return 1
	pid=$(cat "$tmp/pid")
	port=$(sed -n 's/^service web: listening on 127\.0\.0\.1:\([1-9][0-9]*\), pool a (1 node)$/\1/p' "$tmp/out")
	[ -n "$pid" ] && [ -n "$port" ]
}

answers() {
	[ "$(curl -s -m 20 -o "$tmp/page" -w '%{http_code}' "http://127.0.0.1:$port/")" = 503 ]
}

# hup: it is restarted.
hup() {
	local before
	before=$(grep -c 'started again' "$tmp/log")
	kill -HUP "$pid" && await eval "[ \$(grep -c 'started again, pid $pid' \"$tmp/log\") -gt $before ]"
}

# end: TERM ends it.
end() {
	kill "$pid" && await gone "$pid"
}

# Both ways of saying it; whoever starts it finds it running, and the pid file with it.
background_serves() {
	config 0 && rm -f "$tmp/log" || return 1
	daemon "$@" && says "$tmp/out" Running. && [ ! -s "$tmp/err" ] && answers &&
		[ "$(readlink "/proc/$pid/fd/0")" = /dev/null ] && [ "$(readlink "/proc/$pid/fd/2")" = "$tmp/log" ] &&
		says "$tmp/log" "started, pid $pid" && says "$tmp/log" "service web: listening on 127.0.0.1:$port" &&
		end && [ ! -e "$tmp/pid" ] && says "$tmp/log" "ended: pid $pid, status 0"
}

session_is_its_own() {
	config 0 && daemon --setsid && [ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f4)" = "$pid" ] && end
}

# The caller learns that it failed, and why; the log has it too.
background_failures_are_seen() {
	local result=0
	config 0 && daemon && config "$port" || return 1
	run 1 --daemon --log_file="$tmp/log2" && says "$tmp/err" "sconced: service web: cannot listen on 127.0.0.1:$port: Address already in use" &&
		says "$tmp/log2" "service web: cannot listen on 127.0.0.1:$port: Address already in use" &&
		run 1 --daemon --pid_file="$tmp/pid" && says "$tmp/err" "$pid" && [ "$(cat "$tmp/pid")" = "$pid" ] &&
		echo FOO >>"$tmp/conf" && run 1 --daemon --log_file="$tmp/log2" &&
		says "$tmp/err" "$tmp/conf:8:1: unknown command: FOO" && says "$tmp/err" "there is an error; not started" || result=1
	end && return $result
}

start_failures_name_the_option() {
	config 0
	run 1 --user=nobody-of-that-name && says "$tmp/err" "nobody-of-that-name" &&
		run 1 --pid_file="$tmp/none/pid" && says "$tmp/err" "sconced: pid file '$tmp/none/pid': there is no such directory" &&
		run 1 --log_file="$tmp/none/log" && says "$tmp/err" "sconced: log_file: cannot write $tmp/none/log: No such file or directory"
}

# HUP: the same process with the same pid file and log; stale pid files are no hindrance.
restart_keeps_pid() {
	config 0 && echo 1 >"$tmp/pid" && daemon || return 1
	hup && hup && [ "$(cat "$tmp/pid")" = "$pid" ] && answers && end && [ ! -e "$tmp/pid" ]
}

wrong_config_serves_on() {
	config 0 && daemon || return 1
	echo 'SET web.lisen = 3' >>"$tmp/conf"
	kill -HUP "$pid" && await grep -F "not restarted: sconced: there is an error; not started" "$tmp/log" &&
		says "$tmp/log" "not restarted: $tmp/conf:8:9: Unknown service parameter 'lisen'; did you mean 'listen'?" &&
		says "$tmp/log" "not restarted:             ^~~~~" && answers && ! grep "started again" "$tmp/log" && end
}

# The new configuration is what counts from then on.
restart_reads_config() {
	config 0 && daemon || return 1
	sed -i 's/^ENABLE/SET server_tokens = 0\n&/' "$tmp/conf"
	curl -s -i "http://127.0.0.1:$port/" | grep -qi '^server:' && hup && ! curl -s -i "http://127.0.0.1:$port/" | grep -i '^server:' && end
}

# A unix socket is taken over with its path.
restart_keeps_unix_socket() {
	config 0 && sed -i "s|^SET listen.*|&\nCREATE SERVICE b\nSET role = reverse_proxy\nSET listen = $tmp/sock\nSET pool = a\nENABLE b\nUSE web|" "$tmp/conf"
	daemon || return 1
	hup && hup && [ "$(curl -s -m 20 -o "$tmp/page" -w '%{http_code}' --unix-socket "$tmp/sock" http://h/)" = 503 ] && answers && end
}

reload_is_restart() {
	config 0 && daemon --hup=reload && hup && answers && end
}

hup_may_be_ignored() {
	config 0 && daemon --hup=ignore && kill -HUP "$pid" && kill -USR1 "$pid" && answers && ! grep "started again" "$tmp/log" && end
}

# USR1: the log is opened again, and stderr with it.
log_is_opened_again() {
	config 0 && daemon && mv "$tmp/log" "$tmp/old" && kill -USR1 "$pid" && await test -e "$tmp/log" && hup &&
		! grep restarting "$tmp/old" && [ "$(readlink "/proc/$pid/fd/2")" = "$tmp/log" ] && end
}

becomes_user() {
	config 0 && chmod 755 "$tmp" && daemon --user=nobody --group="$(id -gn nobody)" || return 1
	[ "$(stat -c %U "/proc/$pid" "$tmp/log" | sort -u)" = nobody ] && [ "$(stat -c %u "$tmp/pid")" = 0 ] && answers && end
}

t_case "--daemon: it serves in the background" background_serves
t_case "--setsid: in a session of its own" session_is_its_own
t_case "failures are seen from the background" background_failures_are_seen
t_case "a start that fails names the option" start_failures_name_the_option
t_case "SIGHUP keeps process and pid file" restart_keeps_pid
t_case "SIGHUP with a wrong configuration serves on" wrong_config_serves_on
t_case "SIGHUP reads the configuration" restart_reads_config
t_case "SIGHUP keeps a unix socket" restart_keeps_unix_socket
t_case "--hup=reload is a restart" reload_is_restart
t_case "--hup=ignore ignores it" hup_may_be_ignored
t_case "SIGUSR1 opens the log again" log_is_opened_again
if [ "$(id -u)" = 0 ]; then
	t_case "it becomes a user" becomes_user
else
	t_skip "it becomes a user" "not root"
fi
[ -z "$pid" ] || kill "$pid" 2>/dev/null
t_end

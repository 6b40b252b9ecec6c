# How sconced starts and stops: options, configurations that fail, a port that is taken, the demonstration.
. "$(dirname "$0")/../harness.sh"

sconced=$BUILD/sconced

# run STATUS ARGUMENT...: runs sconced, which must end with that status; its output is in $tmp/out and $tmp/err.
run() {
	local wanted=$1 status=0
	shift
	timeout 20 "$sconced" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	[ $status = "$wanted" ] && return 0
	echo "exit status $status, not $wanted"
	cat "$tmp/out" "$tmp/err"
	return 1
}

# says FILE TEXT: FILE has it.
says() {
	grep -qF -- "$2" "$1" && return 0
	echo "no \"$2\" in:"
	cat "$1"
	return 1
}

# serve ARGUMENT...: starts sconced in the background and waits until it says that it runs (or, the demonstration,
# until when it serves).
serve() {
	local line
	mkfifo "$tmp/said" || return 1
	"$sconced" "$@" >"$tmp/said" 2>"$tmp/err" &
	pid=$!
	: >"$tmp/out"
	while read -r -t 20 line; do
		echo "$line" >>"$tmp/out"
		[[ $line == Running. || $line == *"until ^C." ]] && break
	done <"$tmp/said"
	rm "$tmp/said"
	[[ $line == Running. || $line == *"until ^C." ]] && return 0
	cat "$tmp/out" "$tmp/err"
	return 1
}

# stop SIGNAL: it ends, with status 0.
stop() {
	kill -"$1" "$pid" || return 1
	wait "$pid"
}

config() {
	cat >"$tmp/conf"
}

good_config() {
	config <<-END
		CREATE POOL a
		POOL a ADD 127.0.0.1:1
		CREATE SERVICE web
		SET role = reverse_proxy
		SET listen = ${1:-127.0.0.1:0}
		SET pool = a
		ENABLE web
	END
}

help_lists_options() {
	run 0 --help && says "$tmp/out" --config && says "$tmp/out" --demo && says "$tmp/out" --check
}

version_is_printed() {
	run 0 --version && says "$tmp/out" "sconced $(sed -n 's/.define SCONCE_VERSION "\(.*\)"/\1/p' "$SRC/include/sconce/version.h")"
}

unknown_option_fails() {
	run 1 --nonsense && says "$tmp/err" --help && run 1 extra && says "$tmp/err" "unexpected argument 'extra'"
}

# DESIGN: no arguments and no configuration: it says so, and names --demo.
nothing_names_demo() {
	[ -e /etc/sconced/sconced.conf ] || [ -e /etc/perlbal/perlbal.conf ] && return 0
	run 1 && says "$tmp/err" /etc/sconced/sconced.conf && says "$tmp/err" --demo
}

missing_file_fails() {
	run 1 --config="$tmp/none" && says "$tmp/err" "$tmp/none: No such file or directory"
}

# PB-... D.1: a line that fails stops the start; all of them are told.
errors_stop_the_start() {
	good_config
	echo 'SET web.lisen = 3' >>"$tmp/conf"
	echo 'FOO' >>"$tmp/conf"
	run 1 -c "$tmp/conf" && says "$tmp/err" "$tmp/conf:8:9: Unknown service parameter 'lisen'; did you mean 'listen'?" &&
		says "$tmp/err" "            ^~~~~" && says "$tmp/err" "$tmp/conf:9:1: unknown command: foo" &&
		says "$tmp/err" "there are errors; not started"
}

check_only_checks() {
	good_config && run 0 --check -c "$tmp/conf" && says "$tmp/out" "ok" || return 1
	echo FOO >>"$tmp/conf"
	run 1 --check -c "$tmp/conf"
}

# Unique prefixes of options work, as Perlbal's do.
prefix_of_option_works() {
	good_config && run 0 --che --con "$tmp/conf"
}

nothing_enabled_fails() {
	echo 'CREATE POOL a' | config
	run 1 -c "$tmp/conf" && says "$tmp/err" "no service is enabled"
}

# The address is named as the operator wrote it.
busy_port_is_named() {
	local address result
	serve --demo || return 1
	address=$(sed -n 's|^ *http://\(127[^ /]*\)/$|\1|p' "$tmp/out")
	good_config "$address"
	run 1 -c "$tmp/conf" && says "$tmp/err" "service web: cannot listen on $address: Address already in use"
	result=$?
	stop TERM && return $result
}

runs_and_stops() {
	good_config && serve --config "$tmp/conf" && says "$tmp/out" "service web: listening on 127.0.0.1:0, pool a (1 nodes)" &&
		stop "$1"
}

unix_socket_is_served() {
	good_config "$tmp/sock" && serve -c "$tmp/conf" || return 1
	curl -s --unix-socket "$tmp/sock" http://h/ >"$tmp/page"
	stop TERM && says "$tmp/page" "<h1>503 - Service Unavailable</h1>" && [ ! -e "$tmp/sock" ]
}

fetch() {
	curl -s -m 20 "$@"
}

# The demonstration does what it prints.
demo_serves() {
	local url
	serve --demo || return 1
	url=$(sed -n 's|^ *\(http://127[^ ]*\)$|\1|p' "$tmp/out")
	{
		fetch "$url" && fetch "$url" >"$tmp/page" && fetch "$url" >>"$tmp/page" &&
			says "$tmp/page" "Backend A" && says "$tmp/page" "Backend B" &&
			[ "$(fetch -d hello "${url}echo")" = hello ] &&
			[ "$(fetch -H 'Transfer-Encoding: chunked' -d hello "${url}echo")" = hello ] &&
			[ "$(fetch "${url}slow" | wc -l)" = 6 ] &&
			[ "$(fetch "${url}big" | wc -c)" = 104857600 ] &&
			! fetch "${url}cut" && fetch "${url}down" && fetch "$url" &&
			[ "$(fetch -o /dev/null -w '%{http_code}' "${url}none")" = 404 ]
	} >"$tmp/log" 2>&1 || {
		cat "$tmp/log" "$tmp/err"
		stop TERM
		return 1
	}
	stop INT
}

# A second one takes the next port.
demo_takes_next_port() {
	local first result
	serve --demo || return 1
	first=$pid
	cp "$tmp/out" "$tmp/first"
	serve --demo
	result=$?
	stop INT
	pid=$first
	stop INT
	[ $result = 0 ] && ! cmp -s <(grep '^ *http' "$tmp/first") <(grep '^ *http' "$tmp/out")
}

t_case "--help lists the options" help_lists_options
t_case "--version prints the version" version_is_printed
t_case "an unknown option fails" unknown_option_fails
t_case "without a configuration it names --demo" nothing_names_demo
t_case "a missing file fails" missing_file_fails
t_case "errors stop the start" errors_stop_the_start
t_case "--check only checks" check_only_checks
t_case "prefixes of options work" prefix_of_option_works
t_case "nothing enabled fails" nothing_enabled_fails
t_case "a busy port is named" busy_port_is_named
t_case "SIGTERM stops it" runs_and_stops TERM
t_case "SIGINT stops it" runs_and_stops INT
t_case "a unix socket is served and removed" unix_socket_is_served
t_case "the demonstration serves" demo_serves
t_case "a second demonstration takes the next port" demo_takes_next_port
t_end

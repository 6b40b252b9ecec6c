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

fetch() {
	curl -s -m 20 "$@"
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
	local option
	run 0 --help || return 1
	for option in config daemon demo check background setsid pid_file user group chroot umask log_file log_level drain hup; do
		says "$tmp/out" "--$option" || return 1
	done
	! grep -e --processes "$tmp/out"	# it is refused
}

version_is_printed() {
	run 0 --version && says "$tmp/out" "sconced $(sed -n 's/.define SCONCE_VERSION "\(.*\)"/\1/p' "$SRC/include/sconce/version.h")"
}

# refused MESSAGE ARGUMENT...: wrong usage: status 2, the message with our name and no other, the usage, nothing on stdout.
refused() {
	local message=$1
	shift
	run 2 "$@" && [ "$(head -n 1 "$tmp/err")" = "sconced: $message" ] && says "$tmp/err" --help && [ ! -s "$tmp/out" ] &&
		return 0
	cat "$tmp/err"
	return 1
}

wrong_usage_fails() {
	refused "unrecognized option '--nonsense'" --nonsense &&
		refused "unexpected argument 'extra'" extra &&
		refused "unexpected argument 'user=x'" user=x &&
		refused "option '--config' requires an argument" --config &&
		refused "--config needs the name of a file" --config= &&
		refused "--config is given twice" -c a --config=b &&
		refused "--demo has no configuration to --check" --check --demo &&
		refused "--demo brings its own configuration: no --config with it" --demo -c a &&
		refused "--demo goes with no other option" --demo --drain=3 &&
		refused "--demo goes with no other option" --demo --daemon
}

# The options of the process are the library's, and told in the same way.
wrong_process_options_fail() {
	refused "the command line: --pid_file needs a value" --pid_file &&
		refused "the command line: drain: 'x' is not a number" --drain=x &&
		refused "the command line: hup: 'no' is none of restart, reload, ignore" --hup no &&
		refused "the command line: umask: '22' is no umask: write an octal number from 0 to 0777 that begins with 0" --umask=22 &&
		refused "--processes is not possible yet: sconced is one process" --processes=2
}

# What stands behind -c is a file, whatever its name.
config_may_be_called_like_an_option() {
	local option
	good_config && cp "$tmp/conf" "$tmp/drain" && cp "$tmp/conf" "$tmp/drain=3" && cd "$tmp" || return 1
	for option in -c --config --conf; do
		run 0 --check $option drain && says "$tmp/out" "drain: ok" &&
			run 0 --check $option drain=3 --drain 4 && says "$tmp/out" "drain=3: ok" || return 1
	done
}

# DESIGN: no arguments and no configuration: it says so, and names --demo.
nothing_names_demo() {
	[ -e /etc/sconced/sconced.conf ] || [ -e /etc/perlbal/perlbal.conf ] && return 0
	run 1 && says "$tmp/err" /etc/sconced/sconced.conf && says "$tmp/err" --demo
}

missing_file_fails() {
	run 1 --config="$tmp/none" && says "$tmp/err" "sconced: $tmp/none: No such file or directory"
}

directory_fails() {
	run 1 --config="$tmp" && says "$tmp/err" "sconced: $tmp: Is a directory"
}

# PB-... D.1: a line that fails stops the start; all of them are told.
errors_stop_the_start() {
	good_config
	echo 'SET web.lisen = 3' >>"$tmp/conf"
	echo 'FOO' >>"$tmp/conf"
	run 1 -c "$tmp/conf" && says "$tmp/err" "$tmp/conf:8:9: Unknown service parameter 'lisen'; did you mean 'listen'?" &&
		says "$tmp/err" "            ^~~~~" && says "$tmp/err" "$tmp/conf:9:1: unknown command: FOO" &&
		says "$tmp/err" "there are errors; not started"
}

check_only_checks() {
	good_config && run 0 --check -c "$tmp/conf" && says "$tmp/out" "ok" || return 1
	echo FOO >>"$tmp/conf"
	run 1 --check -c "$tmp/conf"
}

# The options of the process are looked at as well, and nothing is made.
check_looks_at_options() {
	good_config && run 1 --check -c "$tmp/conf" --user=nobody-of-that-name && says "$tmp/err" "nobody-of-that-name" &&
		run 1 --check -c "$tmp/conf" --pid_file="$tmp/none/pid" && says "$tmp/err" "sconced: pid file '$tmp/none/pid': " &&
		run 0 --check -c "$tmp/conf" --daemon --pid_file="$tmp/pid" --log_file="$tmp/log" && says "$tmp/out" ok &&
		[ ! -e "$tmp/pid" ] && [ ! -e "$tmp/log" ]
}

# Unique prefixes of options work, as Perlbal's do.
prefix_of_option_works() {
	good_config && run 0 --che --con "$tmp/conf"
}

nothing_enabled_fails() {
	local check
	echo 'CREATE POOL a' | config
	for check in "" --check; do
		run 1 ${check:+"$check"} -c "$tmp/conf" &&
			says "$tmp/err" "sconced: $tmp/conf: no service is enabled, so there is nothing to listen on" || return 1
	done
}

# PB-52: two services on one address: found by --check as by the start.
one_address_twice_fails() {
	local check
	good_config 127.0.0.1:1
	printf '%s\n' 'CREATE SERVICE b' 'SET role = reverse_proxy' 'SET listen = 127.0.0.1:1' 'SET pool = a' 'ENABLE b' >>"$tmp/conf"
	for check in "" --check; do
		run 1 ${check:+"$check"} -c "$tmp/conf" &&
			says "$tmp/err" "sconced: $tmp/conf: service b cannot listen on 127.0.0.1:1: service web does" || return 1
	done
}

empty_pool_warns() {
	good_config
	sed -i '/ADD/d' "$tmp/conf"
	run 0 --check -c "$tmp/conf" && says "$tmp/err" "warning: pool a has no nodes" && says "$tmp/out" ok
}

# The address is named as the operator wrote it.
busy_port_is_named() {
	local address result
	serve --demo || return 1
	address=$(sed -n 's|^ *http://\(127[^ /]*\)/$|\1|p' "$tmp/out")
	good_config "$address"
	run 1 -c "$tmp/conf" && grep -qx "sconced: service web: cannot listen on $address: Address already in use" "$tmp/err"
	result=$?
	stop TERM && return $result
}

# It names the port that it has got, and answers there.
runs_and_stops() {
	local address result
	good_config && serve --config "$tmp/conf" || return 1
	address=$(sed -n 's/^service web: listening on \(127\.0\.0\.1:[1-9][0-9]*\), pool a (1 node)$/\1/p' "$tmp/out")
	[ "$(fetch -o /dev/null -w '%{http_code}' "http://$address/")" = 503 ]
	result=$?
	[ $result = 0 ] || cat "$tmp/out"
	stop "$1" && return $result
}

unix_socket_is_served() {
	good_config "$tmp/sock" && serve -c "$tmp/conf" || return 1
	curl -s --unix-socket "$tmp/sock" http://h/ >"$tmp/page"
	stop TERM && says "$tmp/page" "<h1>503 - Service Unavailable</h1>" && [ ! -e "$tmp/sock" ]
}

# echoes BYTES CURL-ARGUMENT...: a body of so many bytes comes back as it was.
echoes() {
	local bytes=$1
	shift
	head -c "$bytes" /dev/urandom >"$tmp/body"
	fetch --data-binary "@$tmp/body" "$@" | cmp - "$tmp/body"
}

# A body that does not fit in what is read, gathered or queued at once.
demo_echoes_large_bodies() {
	local url result
	serve --demo || return 1
	url=$(sed -n 's|^ *\(http://127[^ ]*\)$|\1|p' "$tmp/out")echo
	echoes 16385 "$url" && echoes 70000 "$url" && echoes 3000000 "$url" &&
		echoes 3000000 -H 'Transfer-Encoding: chunked' "$url" && echoes 2000000 --limit-rate 4M "$url"
	result=$?
	stop TERM && return $result
}

# HEAD has the head that GET has, and nothing follows: no connection is given up.
demo_answers_head() {
	local url page result=0
	serve --demo || return 1
	url=$(sed -n 's|^ *\(http://127[^ ]*\)$|\1|p' "$tmp/out")
	for page in "" slow big none; do
		fetch -I "$url$page" -w '%{num_connects}' "$url$page" >"$tmp/page" && [ "$(tail -n 1 "$tmp/page")" = 0 ] || result=1
	done
	fetch -I "${url}cut" >>"$tmp/page" || result=1
	stop TERM || result=1
	[ $result = 0 ] && [ ! -s "$tmp/err" ] && return 0
	cat "$tmp/page" "$tmp/err"
	return 1
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

# The demonstration ends with its terminal.
demo_ends_at_hangup() {
	serve --demo && stop HUP
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
t_case "wrong usage fails" wrong_usage_fails
t_case "wrong options of the process fail" wrong_process_options_fail
t_case "a configuration may be called like an option" config_may_be_called_like_an_option
t_case "without a configuration it names --demo" nothing_names_demo
t_case "a missing file fails" missing_file_fails
t_case "a directory fails" directory_fails
t_case "errors stop the start" errors_stop_the_start
t_case "--check only checks" check_only_checks
t_case "--check looks at the options" check_looks_at_options
t_case "prefixes of options work" prefix_of_option_works
t_case "nothing enabled fails" nothing_enabled_fails
t_case "one address twice fails" one_address_twice_fails
t_case "an empty pool is warned of" empty_pool_warns
t_case "a busy port is named" busy_port_is_named
t_case "SIGTERM stops it" runs_and_stops TERM
t_case "SIGINT stops it" runs_and_stops INT
t_case "a unix socket is served and removed" unix_socket_is_served
t_case "the demonstration serves" demo_serves
t_case "the demonstration echoes large bodies" demo_echoes_large_bodies
t_case "the demonstration answers HEAD" demo_answers_head
t_case "the demonstration ends at SIGHUP" demo_ends_at_hangup
t_case "a second demonstration takes the next port" demo_takes_next_port
t_end

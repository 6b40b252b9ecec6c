#!/bin/bash
# The DNS client example: addresses of right answers, and no harm from wrong ones.
. "$(dirname "$0")/common"

# Starts dnsd in that way as a server of that name.
server() {
	start "$1" "$BUILD/t/examples/dnsd" "$1"
}

asks() {
	local server=$1 status=0
	shift
	timeout 10 "$examples/dns" "${address[$server]}" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	cat "$tmp/out" "$tmp/err"
	return $status
}

gets() {
	local wanted=$1
	shift
	asks "$@" && [ "$(cat "$tmp/out")" = "$wanted" ]
}

says() {
	local status=$1 text=$2 found=0
	shift 2
	asks "$@" || found=$?
	[ $found = "$status" ] && grep -qF -- "$text" "$tmp/err"
}

# In the midst of the last record: the first address is there, and so is the warning.
gets_a_part() {
	asks cut one.test && [ "$(cat "$tmp/out")" = 192.0.2.1 ] && grep -qF "too long" "$tmp/err"
}

# Whatever it makes of them: an address, or an error of one line.
survives() {
	local i status
	for i in {1..110}; do
		status=0
		asks mangled one.test >/dev/null || status=$?
		[ $status -le 1 ] && [ "$(wc -l <"$tmp/err")" -le 1 ] || { echo "turn $i: $status"; cat "$tmp/err"; return 1; }
	done
}

both=$'192.0.2.1\n192.0.2.2'
for way in good deaf silent forged broken mangled cut loop; do
	t_case "the server starts: $way" server $way
done
t_case "IPv4 addresses behind an alias" gets "$both" good one.test
t_case "the same with a last dot and capitals" gets "$both" good ONE.test. A
t_case "the IPv6 address" gets 2001:db8::1 good one.test aaaa
t_case "no such name" says 1 "no such name" good two.test
t_case "a question that got lost is asked again" gets "$both" deaf one.test
t_case "forged answers are ignored" gets "$both" forged one.test
t_case "broken answers do no harm" gets "$both" broken one.test
t_case "so do those with wrong records" survives
t_case "a cut answer gives what is there" gets_a_part
t_case "a name that points to itself does no harm" gets "$both" loop one.test
t_case "silence ends with an error" says 1 "no answer" silent one.test
t_case "nobody there is an error that names it" fails 1 "${address[nobody]}: Connection refused" "$examples/dns" "${address[nobody]}" one.test
for name in "" .. a..b "$(printf 'x%.0s' {1..64})" "$(printf 'abcdefg.%.0s' {1..40})"; do
	t_case "no name: ${name:0:8}" fails 1 "is no name" "$examples/dns" "${address[good]}" "$name"
done
t_case "a wrong endpoint is an error that names it" fails 1 "nonsense::" "$examples/dns" nonsense:: one.test
t_case "another type gets the usage line" fails 2 "usage: dns" "$examples/dns" "${address[good]}" one.test mx
wrong_use dns
t_end

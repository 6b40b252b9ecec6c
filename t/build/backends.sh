#!/bin/bash
# EM-4: the core's suites on a backend of an application's own, over select(2) and over poll(2): what they promise does not depend on
# libev.  Left out are those that ask libev itself.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"
suites=(child close closerace inspect loop oom post postloop queue random read signal sock stream timeout timer transfer transport work
	write)

passes() {
	T_BACKEND=$1 timeout 60 "$BUILD/t/test_$2"
}

for suite in "${suites[@]}"; do
	t_case "test_$suite on select" passes select "$suite"
done
# a thousand fds and more, which select(2) does not know
t_case "test_turn on poll" passes poll turn
t_end

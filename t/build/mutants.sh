#!/bin/bash
# The planted bugs of t/mutants still match the source: `make mutants` takes minutes, this does not.
# shellcheck source=t/harness.sh
. "$(dirname "$0")/../harness.sh"

t_case "every mutant matches" env -u ONLY MATCH_ONLY=1 "$SRC/src/build/mutants" "$SRC" "$tmp/mutants"
t_end

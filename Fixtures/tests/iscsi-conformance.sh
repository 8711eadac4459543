#!/usr/bin/env bash
# Pools on tgt and on an array keep every promise of a pool: the conformance suite, as a driver's author runs it, of both at
# the same time. The array has its own smallest volumes, of 954 MiB.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

start_pools tgt array
declare -A suites=()
for pool in t e; do
    "$sluice_binary" conformance "$pool" >"$work/conformance-$pool.log" &
    suites[$pool]=$!
    children+=("$!")
done
for pool in t e; do
    wait "${suites[$pool]}" || fail "the pool $pool does not keep its promises"
    echo "  $(sluice --json pool info "$pool" | jq --raw-output .kind): $(tail -n 1 "$work/conformance-$pool.log")"
done
left=$(ask_array array ListVolumes | jq '.volumes | length')
[ "$left" -eq 0 ] || fail "$left volumes are left on the array"
echo "  nothing is left on the array"

#!/usr/bin/env bash
# A guest under a verifying load survives kill -9 and restart of `serve` with no error and no lost write: QEMU reconnects
# within the delay that `volume qemu` sets. SLUICE_ROUNDS kills.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

rounds=${SLUICE_ROUNDS:-4}
"$root/Fixtures/debian-guest" >/dev/null
mkdir "$work/pool"
sluice pool add p "dir://$work/pool"
sluice template import p/debian "$cache/template.qcow2" --format qcow2 \
    --checksum "sha256:$(cat "$cache/template.qcow2.sha256")"
sluice volume clone p/debian p/vm
serve p/vm "$work/vm.sock"
sluice volume xml p/vm --reconnect >"$work/xml.log"
grep -q '<reconnect delay=' "$work/xml.log" || fail "volume xml sets no reconnect delay"

log=$work/console.log
: >"$log"
mkfifo "$work/enough.in" "$work/enough.out"
guest_deadline=$((120 * rounds))
boot_volume "$log" p/vm sluice.mode=load -serial "pipe:$work/enough" &
guest=$!
children+=("$guest")

reached() { console "$log" | grep -q "^LOAD-ROUND $1\$"; }
next=1
for ((round = 1; round <= rounds; round++)); do
    wait_until 100 reached "$next" || fail "the guest's load made no progress before kill $round"
    sleep "0.$((RANDOM % 10))"
    kill -0 "$guest" 2>/dev/null || fail "the guest ended before kill $round"
    kill -KILL "$served"
    wait "$served" 2>/dev/null || true
    sleep "$((RANDOM % 3))"
    serve p/vm "$work/vm.sock"
    next=$(($(console "$log" | grep -c '^LOAD-ROUND') + 2))
done
# The load goes on without an error after the last of them, too.
wait_until 100 reached "$next" || fail "the guest's load made no progress after the last kill"
timeout 10 sh -c 'echo >"$1"' sh "$work/enough.in" || fail "QEMU does not read the guest's second serial port"
wait "$guest" || fail "QEMU ended with status $?"
console "$log" | tail -n 3
console "$log" | grep -q '^LOAD-OK' || fail "the guest did not report LOAD-OK"
if console "$log" | grep -E '^LOAD-(ERROR|FAILED)'; then fail "the guest saw an error"; fi
stop "$served"
status=0
qemu-img check -f qcow2 "$(sluice --json volume info p/vm | jq -r .path)" >"$work/check.log" || status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "qemu-img check says $status"
echo "  $rounds kills under a guest: $(console "$log" | grep '^LOAD-OK'), qemu-img check exits with $status"

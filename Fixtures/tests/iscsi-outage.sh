#!/usr/bin/env bash
# A target is killed again and again under a verifying load on a unit of tgt and on an array's volume: no error reaches the
# clients, no acknowledged write is lost, and no session is left over. Then it is killed for good: `timedOut` or
# `connectionLost` at the deadline, while pools on another target and in a directory do not notice.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

rounds=${SLUICE_ROUNDS:-3}
verifier=$root/Fixtures/nbd-verifier
start_pools one array
start_target other
control() { TGT_IPC_SOCKET=$work/$1/tgtd; }
control one

# sessions: how many initiators are logged in at the target.
sessions() { tgtadm --lld iscsi --mode target --op show | grep --count 'I_T nexus:' || true; }
# sees SESSIONS: as many sessions as that at the target.
sees() { [ "$(sessions)" -eq "$1" ]; }
# connections: how many TCP connections there are to the target one.
port=$(printf '%04X' "$(jq --raw-output '.portals[0] | sub(".*:"; "")' "$work/one.json")")
connections() { awk -v port=":$port\$" '$3 ~ port && $4 == "01"' /proc/net/tcp | wc -l; }

declare -A exports
loads=()
for pool in t e; do
    sluice volume create "$pool/v" --size 1000341504 >/dev/null
    serve "$pool/v" "$work/$pool.sock"
    exports[$pool]=$served
    "$verifier" new --size $((64 << 20)) --state "$work/state-$pool"
    "$verifier" load --uri "$(uri "$work/$pool.sock")" --state "$work/state-$pool" --seed $((RANDOM + 1)) --depth 8 \
        --seconds 300 --until "$work/enough" --progress "$work/progress-$pool" >"$work/load-$pool.log" 2>&1 &
    loads+=("$!")
done
children+=("${loads[@]}")
before=$(sessions)
[ "$before" -eq 2 ] && [ "$(connections)" -eq 2 ] || fail "$before sessions, $(connections) connections of two exports"
# acknowledged POOL: how many writes were acknowledged up to now. goes_on T E: more than that.
acknowledged() { cat "$work/progress-$1" 2>/dev/null || echo 0; }
goes_on() { [ "$(acknowledged t)" -gt "$1" ] && [ "$(acknowledged e)" -gt "$2" ]; }
wait_until 20 goes_on 0 0 || fail "the load does not begin"
for ((round = 1; round <= rounds; round++)); do
    sleep "0.$((RANDOM % 10))"
    target one kill
    [ $((round % 2)) -eq 0 ] || sleep 0.5
    target one restart
    wait_until 20 goes_on "$(($(acknowledged t) + 20))" "$(($(acknowledged e) + 20))" || fail "the load does not go on"
done
touch "$work/enough"
for load in "${loads[@]}"; do
    wait "$load" || fail "an error reached the client"
done
after=$(sessions)
[ "$after" -eq 2 ] && [ "$(connections)" -eq 2 ] || fail "$after sessions, $(connections) connections after the kills"
for pool in t e; do
    stop "${exports[$pool]}" || fail "the export of $pool does not end well"
    serve "$pool/v" "$work/read.sock" --read-only
    "$verifier" verify --uri "$(uri "$work/read.sock")" --state "$work/state-$pool" >"$work/verify-$pool.log" 2>&1 ||
        fail "an acknowledged write is lost"
    stop "$served"
done
[ "$(sessions)" -eq 0 ] || fail "$(sessions) sessions are left when all is closed"
echo "  target killed and restarted $rounds times under load on tgt and on an array: no error," \
    "$(awk '{ sum += $1 } END { print sum }' "$work"/load-?.log) acknowledged writes verified," \
    "$before sessions before, $after after, none when closed"

# A host with a short deadline.
export SLUICE_HOME=$work/short
sluice pool add t "$(target_url one short)&deadline=3" >/dev/null
sluice pool add e "${array_url/example:host/example:short}&deadline=3" --secret-file "$work/array/password" >/dev/null
control other
sluice pool add o "$(target_url other)&deadline=3" >/dev/null
mkdir "$work/files"
sluice pool add d "dir://$work/files" >/dev/null
loads=()
writes=()
for pool in o d; do
    sluice volume create "$pool/v" --size 64M >/dev/null
    serve "$pool/v" "$work/$pool.sock"
    fio --name="$pool" --ioengine=nbd --uri="$(uri "$work/$pool.sock")" --rw=randrw --bs=4k --iodepth=4 --size=64M \
        --time_based --runtime=10 --rate_iops=300 --verify=crc32c --do_verify=0 --verify_state_save=0 \
        --output-format=json --output="$work/$pool.json" >"$work/fio-$pool.log" 2>&1 &
    loads+=("$!")
done
children+=("${loads[@]}")
control one
for pool in t e; do
    serve "$pool/v" "$work/$pool.sock"
    exports[$pool]=$served
    sluice volume create "$pool/b" --size 1000341504 >/dev/null
done
# Commands that are at it when the target dies say so.
declare -A benches
for pool in t e; do
    "$sluice_binary" bench "$pool/b" --rw randwrite --bs 4k --iodepth 4 --runtime 60 >"$work/bench-$pool.log" 2>&1 &
    benches[$pool]=$!
    children+=("$!")
done
# writing: nothing is empty any more.
writing() {
    [ -z "$(find "$work/one-units" "$work/array/state" \( -name 'unit-*.img' -o -name 'volume-*' \) -printf '%b\n' |
        awk '$1 == 0')" ]
}
wait_until 20 writing || fail "the commands do not write"
sees 4 || fail "$(sessions) sessions of two exports and two commands"
target one kill
killed=$EPOCHREALTIME
since() { awk -v a="$killed" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
declare -A places=([t]="the unit of tgt" [e]="the array's volume")
for pool in t e; do
    (
        trap - EXIT
        fails_within "a write to ${places[$pool]}" 2.5 10 put "$(uri "$work/$pool.sock")" 34
        # It gives up, too.
        kill -TERM "${exports[$pool]}"
    ) >"$work/write-$pool.log" &
    writes+=("$!")
done
for write in "${writes[@]}"; do
    wait "$write" || fail "a write outlasts its deadline"
done
cat "$work"/write-?.log
for pool in t e; do
    if wait "${benches[$pool]}"; then fail "a command succeeds without its target"; fi
    grep --quiet --extended-regexp '^error: (timedOut|connectionLost): ' "$work/bench-$pool.log" ||
        fail "bench says: $(cat "$work/bench-$pool.log")"
    echo "  a command that was writing to ${places[$pool]}:" \
        "$(sed -nE 's/^error: ([a-zA-Z]*).*/\1/p' "$work/bench-$pool.log"), gone after $(since) s"
done
started=$SECONDS
control other
for pool in o d; do
    sluice volume create "$pool/new" --size 1M >/dev/null
    sluice --json pool info "$pool" | jq --exit-status '.health == "healthy"' >/dev/null || fail "$pool is not healthy"
done
[ $((SECONDS - started)) -le 4 ] || fail "the other pools were delayed"
for pool in t e; do
    wait_until 20 ended "${exports[$pool]}" || fail "the export of ${places[$pool]} does not end"
done
for load in "${loads[@]}"; do
    wait "$load" || fail "fio on another pool failed"
done
for pool in o d; do
    undisturbed "another pool ($pool)" "$work/$pool.json" 3.5
done

# The target comes back after all: nothing late falls on what is written now.
control one
target one restart
for pool in t e; do
    serve "$pool/v" "$work/$pool.sock"
    put "$(uri "$work/$pool.sock")" 51
    qemu_io -r -c 'read -P 0x33 0 4k' "$(uri "$work/$pool.sock")" | { ! grep --quiet 'verification failed'; } ||
        fail "$pool has other bytes than the newest"
    stop "$served"
done
[ "$(sessions)" -eq 0 ] || fail "$(sessions) sessions are left"
for volume in v b; do sluice volume delete "e/$volume" >/dev/null; done
echo "  target back: newer bytes stay, no session is left"

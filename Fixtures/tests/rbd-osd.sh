#!/usr/bin/env bash
# Three OSDs hold three replicas. One of them dies and comes back, and the monitor with it, under a verifying load: no
# error reaches the client and no acknowledged write is lost. Then all OSDs stop: `timedOut` at the deadline, while a
# directory and another cluster do not notice; and once they are back, no late write has fallen on newer bytes.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../ceph.sh"

verifier=$root/Fixtures/nbd-verifier
mkdir "$work/pool"
start_cluster three --osds 3 --replicas 3
start_cluster other
add_pool p three >/dev/null
sluice volume create p/v --size 256M >/dev/null

# Under load: each of two clients writes a half of the volume and knows what was acknowledged.
serve p/v "$work/v.sock"
middle=$((256 * 2048 / 2))
loads=()
for client in 0 1; do
    "$verifier" new --size $((256 << 20)) --state "$work/state$client"
    "$verifier" load --uri "$(uri "$work/v.sock")" --state "$work/state$client" --seed $((RANDOM + 1)) --depth 8 \
        --seconds 30 --first $((client * middle)) --end $(((client + 1) * middle)) >"$work/load$client.log" 2>&1 &
    loads+=("$!")
done
children+=("${loads[@]}")
sleep 3
daemons three kill osd.1
sleep 5
daemons three restart osd.1
settled three
daemons three kill mon.a
sleep 4
daemons three restart mon.a
settled three
# A hang that the cluster has to find out by itself.
daemons three pause osd.2
sleep 3
daemons three resume osd.2
for load in "${loads[@]}"; do
    wait "$load" || fail "an error reached the client"
done
stop "$served"
serve p/v "$work/read.sock" --read-only
for client in 0 1; do
    "$verifier" verify --uri "$(uri "$work/read.sock")" --state "$work/state$client" --first $((client * middle)) \
        --end $(((client + 1) * middle)) >"$work/verify$client.log" 2>&1 || fail "an acknowledged write is lost"
done
stop "$served"
echo "  OSD killed and restarted, monitor killed and restarted, OSD paused, under load: no error," \
    "$(awk '{ sum += $1 } END { print sum }' "$work"/load?.log) acknowledged writes verified"

# A host with a short deadline; the same pool.
export SLUICE_HOME=$work/short
add_pool p three deadline=4 >/dev/null
add_pool q other >/dev/null
sluice pool add d "dir://$work/pool" >/dev/null
for pool in q d; do
    sluice volume create "$pool/v" --size 64M >/dev/null
    serve "$pool/v" "$work/$pool.sock"
done
serve p/v "$work/v.sock"
# Without a flush librbd's cache writes through, so that a write ends when the OSDs have it.
loads=()
for pool in q d; do
    fio --name="$pool" --ioengine=nbd --uri="$(uri "$work/$pool.sock")" --rw=randrw --bs=4k --iodepth=4 --size=64M \
        --time_based --runtime=16 --rate_iops=500 --verify=crc32c --do_verify=0 --verify_state_save=0 \
        --output-format=json --output="$work/$pool.json" >"$work/fio-$pool.log" 2>&1 &
    loads+=("$!")
done
children+=("${loads[@]}")
sleep 1
daemons three kill osd.0 osd.1 osd.2

# The deadline is 4 s.
fails_within "write" 3.9 20 put "$(uri "$work/v.sock")" 34
fails_within "the next write, while the first may still land," 0 6 put "$(uri "$work/v.sock")" 35
fails_within "volume create" 3.5 30 sluice volume create p/new --size 1M
grep -q '^error: timedOut' "$work/failed.log" || fail "volume create says: $(cat "$work/failed.log")"
started=$SECONDS
for pool in q d; do
    sluice volume create "$pool/new" --size 1M >/dev/null
    sluice --json pool info "$pool" | jq --exit-status '.health == "healthy"' >/dev/null || fail "$pool is not healthy"
done
[ $((SECONDS - started)) -le 8 ] || fail "the other pools were delayed"
for load in "${loads[@]}"; do
    wait "$load" || fail "fio on another pool failed"
done
for pool in q d; do
    undisturbed "another pool ($pool)" "$work/$pool.json" 3.9
done

daemons three restart osd.0 osd.1 osd.2
# The volume comes back by itself, and what is written now stays.
wait_until 60 put "$(uri "$work/v.sock")" 51 || fail "the volume does not come back"
settled three
qemu_io -r -c 'read -P 0x33 0 4k' "$(uri "$work/v.sock")" | { ! grep -q 'verification failed'; } ||
    fail "other bytes than the newest"
stop "$served" || true
admin_rbd three export --no-progress v - 2>/dev/null | head --bytes 4096 >"$work/found" || true
[ "$(xxd --plain "$work/found" | fold --width 2 | sort --unique | xargs)" = 33 ] ||
    fail "a late write fell on newer bytes: $(xxd --len 16 "$work/found")"
wait_until 30 sluice volume delete p/new || fail "what was half made cannot be deleted"
sluice volume delete p/v >/dev/null
echo "  all OSDs back: newer bytes stay"

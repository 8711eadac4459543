#!/usr/bin/env bash
# A pool promises no more than its limits, to however many processes on however many hosts: of 200 creations at once from
# two homes exactly as many succeed as there is room for, by bytes and by IOPS, and a killed process keeps no room.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

homes=("$work/home-a" "$work/home-b")

# add_pool NAME OPTION…: registers a new directory as the same pool on both hosts.
add_pool() {
    local name=$1 home
    shift
    mkdir "$work/$name"
    for home in "${homes[@]}"; do
        sluice --home "$home" pool add "$name" "dir://$work/$name" "$@" >/dev/null
    done
}
info() { sluice --home "${homes[0]}" --json pool info "$1" | jq -r "$2"; }

# create_all POOL FIRST LAST OPTION…: creates the volumes from both hosts, many at once; the outcomes go to $work/outcomes.
create_all() {
    local pool=$1 first=$2 last=$3 index
    shift 3
    : >"$work/outcomes"
    for ((index = first; index <= last; index++)); do
        printf '%s\0' "${homes[$((index % 2))]}" "$pool/volume$index"
    done | xargs --null --max-procs=50 --max-args=2 "$BASH" -c '
        if error=$("$0" --home "$2" volume create "$3" $1 2>&1 >/dev/null); then
            echo done
        else
            echo "$error"
        fi >>"$WORK/outcomes"' "$sluice_binary" "$*" || true
}
export WORK=$work
count() { grep --count "$1" "$work/outcomes" || true; }

add_pool bytes --capacity-bytes 1000M
create_all bytes 1 200 --size 10M
[ "$(count '^done$')" -eq 100 ] || fail "$(count '^done$') of 200 creations succeed where 100 have room"
[ "$(count '^error: quotaExceeded: ')" -eq 100 ] || fail "$(grep -v '^done$' "$work/outcomes" | sort | uniq -c)"
[ "$(info bytes .provisionedBytes)" -eq $((1000 << 20)) ] || fail "$(info bytes .provisionedBytes) bytes are promised"
[ "$(sluice --home "${homes[1]}" --json volume list bytes | jq '.volumes | length')" -eq 100 ]
echo "  200 creations of 10 MiB at once from two homes, 1000 MiB to promise:" \
    "$(count '^done$') succeed, $(count quotaExceeded) are refused"
echo "  $(grep --max-count=1 quotaExceeded "$work/outcomes")"

add_pool iops --capacity-iops 1000 --capacity-bytes 1T
create_all iops 1 200 --size 10M --min-iops 10
[ "$(count '^done$')" -eq 100 ] || fail "$(count '^done$') of 200 creations succeed where 100 have IOPS"
[ "$(count '^error: quotaExceeded: ')" -eq 100 ] || fail "$(grep -v '^done$' "$work/outcomes" | sort | uniq -c)"
[ "$(info iops .allocatedIOPS)" -eq 1000 ] || fail "$(info iops .allocatedIOPS) IOPS are promised"
echo "  200 creations with a minimum of 10 IOPS, 1000 to promise:" \
    "$(count '^done$') succeed, $(count quotaExceeded) are refused"

# The same room again for whoever comes next, when its owners die in the middle of it.
add_pool killed --capacity-bytes 1000M
(
    for index in {1..120}; do
        "$sluice_binary" --home "${homes[$((index % 2))]}" volume create "killed/volume$index" --size 10M >/dev/null &
        if ((index % 3 == 0)); then
            sleep "0.0$((RANDOM % 5))"
            ! kill -KILL $! || echo "$index" >>"$work/kills"
        fi
    done
    wait
    true
) 2>/dev/null || true
killed=$(wc -l <"$work/kills")
create_all killed 201 400 --size 10M
made=$(sluice --home "${homes[1]}" --json volume list killed | jq '.volumes | length')
[ "$made" -eq 100 ] || fail "$made volumes where 100 have room, after $killed processes were killed"
[ "$(info killed .provisionedBytes)" -eq $((1000 << 20)) ] || fail "$(info killed .provisionedBytes) are promised"
echo "  $killed of 120 creating processes killed, 200 more creations: $made volumes, 1000 MiB promised"

# A full copy takes all its time with its room taken, and gives that back when it is killed.
add_pool copies --capacity-bytes 5G
qemu-img create -q -f raw "$work/source.raw" 2G
openssl enc -aes-128-ctr -pass pass:sluice -nosalt -pbkdf2 -iter 1 -in /dev/zero 2>/dev/null |
    dd of="$work/source.raw" bs=1M count=1024 iflag=fullblock conv=notrunc status=none || true
sluice --home "${homes[0]}" volume import copies/source "$work/source.raw" --format raw >/dev/null
rm "$work/source.raw"
"$sluice_binary" --home "${homes[0]}" volume clone copies/source copies/copy --full >/dev/null 2>&1 &
copy=$!
takes_room() { [ "$(info copies .provisionedBytes)" -eq $((4 << 30)) ]; }
wait_until 20 takes_room || fail "the copy takes no room"
kill -STOP "$copy" || fail "the copy was too fast"
if sluice --home "${homes[1]}" volume create copies/other --size 2G >/dev/null 2>"$work/refused"; then
    fail "the room of a running copy was given away"
fi
grep --quiet '^error: quotaExceeded: ' "$work/refused" || fail "$(cat "$work/refused")"
kill -KILL "$copy"
wait "$copy" 2>/dev/null || true
sluice --home "${homes[1]}" volume create copies/other --size 2G >/dev/null
[ "$(info copies .provisionedBytes)" -eq $((4 << 30)) ] || fail "$(info copies .provisionedBytes) bytes are promised"
echo "  a full copy of 2 GiB was killed: its room was refused to others before, and was there after that"

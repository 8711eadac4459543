#!/usr/bin/env bash
# A file system that hangs: its pool answers `timedOut` at the deadline, another pool does not notice, and once the file
# system is back nothing late has fallen on newer data. Needs root, to freeze a file system of its own.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
[ "$(id -u)" -eq 0 ] || fail "freezing a file system needs root"

mkdir "$work/mount" "$work/pool"
truncate --size 1G "$work/disk.img"
mkfs.ext4 -q "$work/disk.img"
mount -o loop "$work/disk.img" "$work/mount"
thaw() { fsfreeze --unfreeze "$work/mount" 2>/dev/null || true; }
unmount() {
    local status=$?
    set +e
    thaw
    end_children
    umount "$work/mount"
    (exit "$status")
    finish
}
trap unmount EXIT

sluice pool add stuck "dir://$work/mount?deadline=4" >/dev/null
sluice pool add other "dir://$work/pool" >/dev/null
sluice volume create stuck/v --size 64M >/dev/null
sluice volume create stuck/raw --size 64M --format raw >/dev/null
sluice volume create other/v --size 64M >/dev/null

serve other/v "$work/other.sock"
serve stuck/raw "$work/raw.sock"
serve stuck/v "$work/v.sock"
qemu_io -c 'write -P 0x11 0 1M' -c flush "$(uri "$work/raw.sock")" >/dev/null
qemu_io -c 'write -P 0x11 0 1M' -c flush "$(uri "$work/v.sock")" >/dev/null

fio --name=other --ioengine=nbd --uri="$(uri "$work/other.sock")" --rw=randrw --bs=4k --iodepth=8 --size=64M \
    --time_based --runtime=20 --verify=crc32c --do_verify=0 --verify_state_save=0 \
    --output-format=json --output="$work/fio.json" \
    >"$work/fio.log" 2>&1 &
load=$!

fsfreeze --freeze "$work/mount"

# The deadline is 4 s.
fails_within "write to a raw volume" 3.9 20 put "$(uri "$work/raw.sock")" 34
# The late write may still happen: until it is dead the volume refuses everything, at once.
fails_within "the next write to it" 0 3.5 put "$(uri "$work/raw.sock")" 35
fails_within "write to a QCOW2 volume" 3.9 20 put "$(uri "$work/v.sock")" 34
# A process with a thread in a system call that cannot be interrupted does not go before that returns, but it answers.
started=$EPOCHREALTIME
sluice volume create stuck/new --size 1M >"$work/create.log" 2>&1 &
children+=($!)
wait_until 30 grep -q '^error: timedOut' "$work/create.log" || fail "volume create gives no answer"
echo "  volume create: timedOut after $(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }') s"
# In no time, by a process of its own and by the one that serves both kinds of pool.
started=$SECONDS
sluice volume create other/new --size 1M >/dev/null
sluice pool info other | grep -q 'health.*healthy' || fail "the other pool is not healthy"
[ $((SECONDS - started)) -le 3 ] || fail "the other pool was delayed"

thaw
wait "$load" || fail "fio on the other pool failed"
undisturbed "the other pool" "$work/fio.json" 3.9

# Back: the late write has landed or not, and what is written now stays.
for kind in raw v; do
    wait_until 20 put "$(uri "$work/$kind.sock")" 51 || fail "$kind does not come back"
    qemu_io -r -c 'read -P 0x33 0 4k' -c 'read -P 0x11 4k 508k' "$(uri "$work/$kind.sock")" |
        { ! grep -q 'verification failed'; } || fail "$kind has other bytes"
done
end_children
serve stuck/raw "$work/raw.sock"
qemu_io -r -c 'read -P 0x33 0 4k' "$(uri "$work/raw.sock")" | { ! grep -q 'verification failed'; } ||
    fail "a late write fell on newer bytes"
stop "$served"
sluice volume check stuck/v >/dev/null || [ $? -eq 3 ] || fail "stuck/v is corrupt"
echo "  back after the thaw: newer bytes stay, the image is clean"

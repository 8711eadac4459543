#!/usr/bin/env bash
# What the units of tgt may lie on: where the file system shares blocks, snapshots and clones are made of units in use,
# take no room, and the conformance suite passes; and a block device is a unit as it is, to which none of that happens.
set -euo pipefail
# Mounts of its own, which end with it.
if [ -z "${SLUICE_OWN_MOUNTS:-}" ]; then
    # Not in a container that may do nothing of the kind.
    if ! unshare --mount true 2>/dev/null || ! losetup --find >/dev/null 2>&1; then
        echo "  not shown: this user can mount no file systems"
        exit 0
    fi
    exec env SLUICE_OWN_MOUNTS=1 unshare --mount "$0"
fi
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

start_target tgt
url() { target_url tgt | sed "s|directory=[^&]*|directory=$1|"; }
# no CODE COMMAND…: it is refused with that code.
no() {
    local code=$1
    shift
    if sluice "$@" >"$work/out.log" 2>"$work/error.log"; then fail "sluice $* succeeds"; fi
    grep --quiet "^error: $code: " "$work/error.log" || fail "sluice $*: $(cat "$work/error.log")"
}
# holds VOLUME BYTE: its first 64 MiB.
holds() {
    serve "$1" "$work/read.sock" --read-only
    qemu_io -r -c "read -P $2 0 64M" "$(uri "$work/read.sock")" >"$work/io.log" 2>&1 || fail "qemu-io cannot read $1"
    ! grep --quiet 'verification failed' "$work/io.log" || fail "$1 does not hold $2"
    stop "$served"
}
fill() { qemu_io -c "write -P $1 0 64M" -c flush "$(uri "$work/v.sock")" >"$work/io.log" || fail "cannot write $1"; }
used() { df --block-size=1M --output=used "$shared" | tail -n 1; }

# In these mounts only.
shared=/mnt
truncate --size 8G "$work/disk.img"
mkfs.xfs -q -m reflink=1 "$work/disk.img"
mount -o loop "$work/disk.img" "$shared"
sluice pool add x "$(url "$shared")" >/dev/null
sluice volume create x/v --size 512M >/dev/null
serve x/v "$work/v.sock"
exporter=$served
fill 1
before=$(used)
sluice snapshot create x/v@one >/dev/null
fill 2
sluice volume clone x/v@one x/old >/dev/null
sluice volume clone x/v@one x/older >/dev/null
after=$(used)
# Of 64 MiB in the unit, its snapshot and two clones, what was written anew takes room.
[ $((after - before)) -ge 60 ] && [ $((after - before)) -lt 80 ] || fail "it takes $((after - before)) MiB"
holds x/old 1
qemu_io -r -c 'read -P 2 0 64M' "$(uri "$work/v.sock")" >"$work/io.log"
! grep --quiet 'verification failed' "$work/io.log" || fail "the unit in use does not hold 2"
no busy snapshot revert x/v@one
stop "$exporter"
sluice snapshot revert x/v@one >/dev/null
holds x/v 1
for volume in old older; do sluice volume delete "x/$volume" >/dev/null; done
sluice snapshot delete x/v@one >/dev/null
sluice volume delete x/v >/dev/null
left=$(find "$shared" -name '*.img')
[ -z "$left" ] || fail "left: $left"
echo "  shared blocks: a snapshot and two clones of a unit in use, whose 64 MiB were then overwritten, take" \
    "$((after - before)) MiB; nothing is left"
sluice conformance x >"$work/conformance.log" || fail "the pool does not keep its promises"
echo "  shared blocks: $(tail -n 1 "$work/conformance.log")"

# A block device, under a name in the pool's directory.
truncate --size 1G "$work/device.img"
device=$(losetup --find --show "$work/device.img")
# It goes with the last who has it open.
exec 7<"$device"
losetup --detach "$device"
sluice pool add t "$(url "$work/tgt-units")" >/dev/null
ln -s "$device" "$work/tgt-units/disk"
sluice --json volume list t | jq --exit-status '.volumes[0] | .name == "disk" and .managed == false' >/dev/null ||
    fail "the device is not listed as what it is: $(sluice --json volume list t)"
sluice volume adopt t/disk --format raw >/dev/null
serve t/disk "$work/v.sock"
fill 3
sluice snapshot create t/disk@one >/dev/null
stop "$served"
cmp --bytes 67108864 "$device" <(head --bytes 64M /dev/zero | tr '\0' '\3') || fail "the device does not have the bytes"
sluice volume clone t/disk@one t/copy >/dev/null
holds t/copy 3
no notSupported volume resize t/disk 2G
no notSupported snapshot revert t/disk@one
sluice volume delete t/copy >/dev/null
sluice snapshot delete t/disk@one >/dev/null
target tgt kill
target tgt restart
holds t/disk 3
# Who was logged in before the restart may come back for a while, and keeps it until then.
wait_until 60 sluice volume delete t/disk || fail "the device stays in the pool"
cmp --bytes 67108864 "$device" <(head --bytes 64M /dev/zero | tr '\0' '\3') || fail "deleting has changed the device"
echo "  a block device: adopted, exported, found again by a restarted tgtd, copied; neither grown nor reverted; deleted" \
    "from the pool, it keeps its bytes"

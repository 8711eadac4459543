#!/usr/bin/env bash
# The NBD clients that people use work on an export: nbdinfo, nbdcopy, fio, qemu-io, qemu-img, nbdsh's library.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

mkdir "$work/pool"
socket=$work/vm.sock
uri=$(uri "$socket")
sluice pool add p "dir://$work/pool"
sluice volume create p/vm --size 256M
serve p/vm "$socket"

[ "$(stat --format '%a' "$socket")" = 600 ] || fail "the socket's mode is $(stat --format '%a' "$socket")"

nbdinfo "$uri" >"$work/nbdinfo.log"
[ "$(nbdinfo --size "$uri")" = $((256 << 20)) ] || fail "nbdinfo --size"
nbdinfo --list "$uri" | grep -q 'export="p/vm"' || fail "nbdinfo --list does not name p/vm"
nbdinfo --json "$uri" | jq --exit-status '.exports[0] | .can_flush and .can_fua and .can_trim and .can_zero
    and .can_multi_conn and .can_df and (."contexts" | index("base:allocation") != null)' >/dev/null ||
    fail "nbdinfo lacks a capability: $(nbdinfo --json "$uri")"
echo "  nbdinfo: size, list, flush, FUA, trim, write-zeroes, multi-connection, base:allocation"

# nbdcopy both ways, with data, zeros and holes; and the map that goes with them.
truncate --size 256M "$work/in.raw"
dd if=/dev/urandom of="$work/in.raw" bs=1M count=24 seek=8 conv=notrunc status=none
dd if=/dev/urandom of="$work/in.raw" bs=1000 count=777 seek=123456 conv=notrunc status=none
nbdcopy --flush "$work/in.raw" "$uri"
nbdcopy "$uri" "$work/out.raw"
cmp "$work/in.raw" "$work/out.raw"
nbdcopy "$uri" - | cmp - "$work/in.raw"
nbdinfo --map --json "$uri" >"$work/map.json"
jq --exit-status '(map(.length) | add) == 268435456 and (map(.type) | index(0) != null and index(3) != null)' \
    "$work/map.json" >/dev/null || fail "nbdinfo --map: $(cat "$work/map.json")"
jq --exit-status 'any(.[]; .offset <= 8388608 and .offset + .length >= 33554432 and .type == 0)' \
    "$work/map.json" >/dev/null || fail "the copied data is not one extent: $(cat "$work/map.json")"
echo "  nbdcopy: to the export and back, identical; nbdinfo --map: $(jq length "$work/map.json") extents"

fio --name=verify --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k --iodepth=32 --size=64M --verify=crc32c \
    --do_verify=1 --verify_fatal=1 --verify_state_save=0 --output="$work/fio.log"
fio --name=mixed --ioengine=nbd --uri="$uri" --rw=randrw --bsrange=512-128k --iodepth=32 --size=128M \
    --verify=crc32c --verify_fatal=1 --verify_state_save=0 --verify_backlog=1024 --output="$work/fio-mixed.log"
echo "  fio: random writes of 4 KiB and a mix of 512 B to 128 KiB at depth 32 verified with crc32c"

qemu_io() { qemu-io -f raw "$@" "$uri" >>"$work/qemu-io.log" 2>&1 || fail "qemu-io $*"; }
qemu_io -c 'write -P 0x5a 1M 3M' -c 'read -P 0x5a 1M 3M' -c 'write -z 2M 64k' -c 'read -P 0 2M 64k' \
    -c 'write -z -u 1M 64k' -c 'read -P 0 1M 64k' -c 'discard 3M 512k' -c 'read -P 0 3M 512k' \
    -c 'write -f -P 0x33 7000000 1024' -c 'read -P 0x33 7000000 1024' -c flush \
    -c 'aio_write -P 0x77 10M 64k' -c 'aio_write -P 0x78 11M 64k' -c aio_flush -c 'read -P 0x77 10M 64k'
if grep -i -E 'verification failed|error' "$work/qemu-io.log"; then fail "qemu-io read something else"; fi
qemu-img compare -f raw -F raw "$uri" "$uri" >/dev/null
qemu-img convert -f raw -O qcow2 "$uri" "$work/converted.qcow2"
qemu-img compare -f raw -F qcow2 "$uri" "$work/converted.qcow2" >/dev/null
echo "  qemu-io and qemu-img: write, read, write -z, discard, FUA, aio, convert, compare"

# A snapshot is exported read-only beside the volume and keeps its bytes.
nbdcopy "$uri" "$work/before.raw"
sluice snapshot create p/vm@s1
qemu_io -c 'write -P 0x99 0 8M'
stop "$served"
serve p/vm@s1 "$work/snapshot.sock" --read-only
nbdcopy "$(uri "$work/snapshot.sock")" - | cmp - "$work/before.raw"
if qemu-io -f raw -c 'write 0 4k' "$(uri "$work/snapshot.sock")" >/dev/null 2>&1; then
    fail "a snapshot accepted a write"
fi
stop "$served"
echo "  a snapshot's export: read-only, the old bytes"

# TCP on loopback only, unless told otherwise.
if timeout 10 "$sluice_binary" serve p/vm --listen 0.0.0.0:0 >"$work/insecure.log" 2>&1; then
    fail "serve listened beyond loopback without --insecure"
fi
"$sluice_binary" serve p/vm --listen 127.0.0.1:10931 >>"$work/serve.log" 2>&1 &
served=$!
children+=("$served")
wait_until 20 nbdinfo --size nbd://127.0.0.1:10931 || fail "no answer by TCP"
nbdcopy nbd://127.0.0.1:10931 "$work/tcp.raw"
stop "$served"

image=$(sluice --json volume info p/vm | jq -r .path)
qemu-img check -f qcow2 "$image" >"$work/check.log"
qemu-img compare -f qcow2 -F raw "$image" "$work/tcp.raw" >/dev/null
[ "$(sluice --json volume check p/vm | jq -r .outcome)" = clean ]
echo "  after the exports: qemu-img check and sluice volume check are clean"

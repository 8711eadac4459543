#!/usr/bin/env bash
# The secrets of iSCSI, and an array's password, show nowhere: not in what commands print or log at the level trace, not in
# the arguments of the programs that they start or name, not in metrics, nor in any file of the home but the secret store,
# nor in what the target and the array tell of themselves.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../secrets.sh"
source "$(dirname "$0")/../iscsi.sh"

start_target tgt
openssl rand 4194304 >"$work/random.raw"
works pool add p "$(target_url tgt)"
# The same pool, to which the targets must prove themselves.
works pool add m "$(target_url tgt)&chap=mutual"
# The pool has made them itself, its own and the targets', each in a file that only the owner can read.
secrets=()
while read -r file; do
    secrets+=("$(tr -d '\n' <"$file")")
    [ "${#secrets[-1]}" -ge 12 ] || fail "the secret in $file is short"
done < <(find "$work/tgt-units" -type f -perm 600 -name '*secret*')
[ "${#secrets[@]}" -eq 2 ] || fail "the pool keeps other secrets: $(find "$work/tgt-units" -type f -ls)"
start_array array tgt
secrets+=("$(cat "$work/array/password")")
works pool add e "$array_url" --secret-file "$work/array/password"
works pool add f "$array_url&chap=mutual" --secret-file "$work/array/password"
for direction in initiator target; do
    secrets+=("$(jq -r ".. | .${direction}Secret? // empty" "$work"/array/state/*.json | head -n 1)")
    [ "${#secrets[-1]}" -ge 12 ] || fail "the array has no $direction's secret for the pool"
done
seen pool add x1 "${array_url/user=admin/user=nobody}" --secret-file "$work/array/password"
refused authenticationFailed
address=${array_url#element://}
seen pool add x2 "MVIP=${address%%\?*};SVIP=127.0.0.1;clusterAdminUsername=admin;clusterAdminPassword=${secrets[2]}"
refused authenticationFailed
seen --json pool add x3 "element://admin:${secrets[2]}@${address/user=admin&/}&deadline=5"

# The life of a volume.
works template import p/t "$work/random.raw" --format raw
works --json volume clone p/t p/vm --max-iops 500
works volume create p/empty --size 64M
for command in "pool list" "pool info p" "template list p" "volume list p" "volume info p/vm" "volume map p/vm" \
    "volume xml p/vm" "volume qemu p/vm" "snapshot create p/vm@s" "snapshot list p/vm" "pool info e" \
    "bench m/empty --rw randwrite --count 10" "volume create e/disk --size 1G --min-iops 100 --max-iops 500" \
    "bench f/disk --rw randwrite --count 10" "volume info e/disk" "volume qemu e/disk" "volume xml e/disk" \
    "snapshot create e/disk@s" "volume set-qos e/disk --min-iops 50 --max-iops 500"; do
    # shellcheck disable=SC2086
    works $command
    # shellcheck disable=SC2086
    [[ $command == *create* ]] || works --json $command
done
works volume xml p/vm --secret
# QEMU cannot ask for that.
seen volume qemu m/vm
refused notSupported
serve p/vm "$work/vm.sock" --log-level trace --metrics 127.0.0.1:0
for command in "volume info p/vm" "volume xml p/vm" "volume qemu p/vm" "serve --list" \
    "volume set-qos p/vm --max-iops 600" "snapshot create p/vm@live" "volume resize p/vm 128M"; do
    # shellcheck disable=SC2086
    works $command
done
served_seen
mv "$work/serve.log" "$work/seen/serve.log"
unit_export=$served
serve e/disk "$work/disk.sock" --log-level trace --metrics 127.0.0.1:0
for command in "volume info e/disk" "volume xml e/disk" "volume set-qos e/disk --max-iops 600 --burst-iops 900" \
    "snapshot create e/disk@live" "volume resize e/disk 2G"; do
    # shellcheck disable=SC2086
    works $command
done
served_seen array-
# The session is lost and made anew. Who was logged in to a volume that nobody holds may come back for a while: it is
# deleted before.
works volume delete p/empty
target tgt kill
target tgt restart
for export in vm disk; do
    qemu-io -f raw -c 'write 0 64k' -c flush "$(uri "$work/$export.sock")" >"$work/seen/qemu-io-$export.txt"
done
stop "$served"
stop "$unit_export"
mv "$work/serve.log" "$work/seen/array-serve.log"

# QEMU opens the unit as it is told to, and shows no secret either.
qemu_seen p/vm

works snapshot revert p/vm@s
works snapshot delete p/vm@s
works volume copy p/vm p/copy
works volume export p/vm "$work/out.qcow2" --format qcow2
tgtadm --lld iscsi --mode target --op show >"$work/seen/tgtadm.txt"
cp "$work/tgt/tgtd.out" "$work/seen/tgtd.txt"
cp "$work/array.log" "$work/seen/array.txt"
works volume delete e/disk
works volume flatten p/vm
works volume rename p/copy copied
works volume delete p/copied
seen volume delete p/absent

cp -a "$SLUICE_HOME" "$work/seen/home"
find "$work/tgt-units" -name '*.json' -exec cat {} + >"$work/seen/pool.txt"
nothing_shows
echo "  $runs commands at the level trace: $(cat "$work/scanned") of output, logs, argument lists, catalog, home and" \
    "pool, and no secret in any form"
for place in 1.out 1.err 1.exec serve.log array-serve.log metrics.txt qemu.cmdline home/catalog.sqlite pool.txt tgtadm.txt array.txt; do
    for secret in "${secrets[@]}"; do plant "$place" "$secret"; done
done
nothing_shows
echo "  the scan itself: $planted planted secrets found"

#!/usr/bin/env bash
# The keys of a Ceph cluster show nowhere: not in what commands print or log at the level trace, not in the arguments
# of the programs that they start or name, not in metrics, nor in any file of the home but the secret store, nor in what
# the pool keeps of its volumes.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../secrets.sh"
source "$(dirname "$0")/../ceph.sh"

start_cluster ceph --data-pool
key=$(cat "$(about ceph keyFile)")
secrets=("$key" "$(cat "$(about ceph dataKeyFile)")")
monitor=$(about ceph monHost)
openssl rand 4194304 >"$work/random.raw"
qemu-img convert -f raw -O qcow2 "$work/random.raw" "$work/random.qcow2"

works pool add p "$(about ceph url)" --secret-file "$(about ceph keyFile)"
works pool add c "rbd://cloudstack:$(tr '+/' '-_' <<<"$key")@$monitor/cloudstack"
works pool add d "rbd://data@$monitor/cloudstack?data-pool=data" --secret-file "$(about ceph dataKeyFile)"
# Where keys may come back: in what is refused.
seen pool add x1 "rbd://cloudstack@$monitor/cloudstack?deadline=3" --secret-file "$(about ceph dataKeyFile)"
refused authenticationFailed
seen --json pool add x2 "rbd://cloudstack:$(tr '+/' '-_' <<<"$key")@$monitor/missing?deadline=3"
refused notFound
seen pool add x3 "rbd://cloudstack:$(tr '+/' '-_' <<<"$key")@127.0.0.9:${monitor##*:}/cloudstack?deadline=3"
works pool add x4 "rbd://cloudstack@$monitor/cloudstack?key=$(tr '+/' '-_' <<<"$key")"
seen pool add x5 "rbd://cloudstack:$key@$monitor/cloudstack"
seen pool add x6 "rbd://cloudstack@$monitor:$(tr '+/' '-_' <<<"$key")/cloudstack"

# The life of a volume.
works template import p/t "$work/random.qcow2" --format qcow2
works --json volume clone p/t p/vm --max-iops 500
works volume clone d/t d/separate
works volume create p/empty --size 64M
for command in "pool list" "pool info p" "template list p" "volume list p" "volume info p/vm" "volume map p/vm" \
    "volume xml p/vm" "volume qemu p/vm" "snapshot create p/vm@s" "snapshot list p/vm" "volume qemu p/vm@s"; do
    # shellcheck disable=SC2086
    works $command
    # shellcheck disable=SC2086
    [[ $command == *create* ]] || works --json $command
done
serve p/vm "$work/vm.sock" --log-level trace --metrics 127.0.0.1:0
for command in "volume info p/vm" "volume xml p/vm" "volume qemu p/vm" "serve --list" \
    "volume set-qos p/vm --max-iops 600" "snapshot create p/vm@live" "volume resize p/vm 128M"; do
    # shellcheck disable=SC2086
    works $command
done
served_seen
# The connection is lost and made anew.
daemons ceph kill osd.0 mon.a
daemons ceph restart osd.0 mon.a
settled ceph
qemu-io -f raw -c 'write 0 64k' -c flush "$(uri "$work/vm.sock")" >"$work/seen/qemu-io.txt"
stop "$served"
cp "$work/serve.log" "$work/seen/serve.log"

# QEMU opens the image as it is told to, and shows no key either.
qemu_seen p/vm

works snapshot revert p/vm@s
works snapshot delete p/vm@s
works volume copy p/vm p/copy
works volume export p/vm "$work/out.qcow2" --format qcow2
works volume flatten p/vm
works volume rename p/copy copied
for volume in copied empty; do works volume delete "p/$volume"; done
seen volume delete p/absent

cp -a "$SLUICE_HOME" "$work/seen/home"
admin_rados ceph listomapvals sluice_volumes >"$work/seen/pool.txt" 2>/dev/null
admin_rbd ceph ls --long >>"$work/seen/pool.txt"
nothing_shows
echo "  $runs commands at the level trace: $(cat "$work/scanned") of output, logs, argument lists, catalog, home and" \
    "pool, and neither key in any form"
for place in 1.out 1.err 1.exec serve.log metrics.txt qemu.cmdline home/catalog.sqlite pool.txt; do
    plant "$place" "$key"
    plant "$place" "$(tr '+/' '-_' <<<"$key")"
done
nothing_shows
echo "  the scan itself: $planted planted keys found"

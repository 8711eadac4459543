#!/usr/bin/env bash
# What `volume xml` and `volume qemu` print is accepted by the real programs: virt-xml-validate takes a domain with the
# disk, and QEMU starts with the block device, reads through it, and keeps its limits and its being read-only.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$root/Fixtures/hypervisors.sh"

mkdir "$work/pool,with comma & 'quote'"
sluice pool add p "dir://$work/pool%2Cwith%20comma%20%26%20%27quote%27"
qemu-img create -q -f qcow2 "$work/t.qcow2" 64M
qemu-io -f qcow2 -c 'write -q -P 0x11 0 1M' "$work/t.qcow2"
sluice template import p/t "$work/t.qcow2" --format qcow2
sluice volume clone p/t p/direct
sluice volume create p/raw --size 64M --format raw
sluice volume clone p/t p/limited --max-iops 500 --burst-iops 1500
sluice volume clone p/t p/served --max-iops 500
sluice volume clone p/t p/plain --max-iops 500
sluice snapshot create p/plain@monday

valid "a clone in files" p/direct
has "<format type='qcow2'/>"
has "<backingStore/>"
lacks "<iotune>"
starts "a clone in files" p/direct 0x11
[ "$(state .drv) $(state .ro) $writes" = "qcow2 false yes" ] || fail "a clone in files: $node_state"
echo "  a qcow2 clone, opened as files: libvirt and QEMU take it, QEMU reads the template's bytes and writes"

valid "a raw file" p/raw
has "type='raw'"
starts "a raw file" p/raw 0
[ "$(state .drv) $writes" = "raw yes" ] || fail "a raw file: $node_state"
echo "  a raw volume, opened as a file"

valid "a template" p/t
has "<readonly/>"
starts "a template" p/t 0x11
[ "$(state .ro) $writes" = "true no" ] || fail "a template can be written: $node_state"
echo "  a template: read-only to both"

# Files that QEMU opens itself: nobody but the hypervisor is there to enforce the policy.
valid "a limited clone" p/limited
has "<total_iops_sec>500</total_iops_sec>"
has "<total_iops_sec_max>1500</total_iops_sec_max>"
starts "a limited clone" p/limited 0x11
[ "$(state .drv) $limits $writes" = "throttle 500 1500 4096 yes" ] || fail "a limited clone: $limits $node_state"
echo "  a policy of 500 IOPS, 1500 in a burst: <iotune> for libvirt, a throttle filter for QEMU"

serve p/served "$work/served.sock" --enforce hypervisor
valid "an export with limits" p/served
has "protocol='nbd'"
has "<total_iops_sec>500</total_iops_sec>"
enforcer=$(sluice --json volume info p/served | jq -r .qos.enforcedBy)
[ "$enforcer" = hypervisor ] || fail "volume info says that $enforcer enforces the policy"
starts "an export with limits" p/served 0x11
[ "$(state .drv) $limits $writes" = "throttle 500 0 4096 yes" ] || fail "an export with limits: $limits $node_state"
stop "$served"
echo "  an export that leaves the limits to the hypervisor, over its NBD socket"

serve p/plain "$work/plain.sock"
valid "an export" p/plain
lacks "<iotune>"
starts "an export" p/plain 0x11
[ "$(state .drv) $writes" = "nbd yes" ] || fail "an export: $node_state"
[ "$(sluice --json volume qemu p/plain | jq -r '.arguments[]' | grep -c 'reconnect-delay=300')" = 1 ] ||
    fail "an export has no reconnect delay"
stop "$served"
serve p/plain@monday "$work/monday.sock"
valid "a snapshot's export" p/plain@monday
has "<readonly/>"
starts "a snapshot's export" p/plain@monday 0x11
[ "$(state .drv) $(state .ro) $writes" = "nbd true no" ] || fail "a snapshot's export: $node_state"
stop "$served"
echo "  an export and a snapshot's export: reconnect delay of 300 s, the snapshot read-only to both"

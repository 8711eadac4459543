#!/usr/bin/env bash
# What `volume xml` and `volume qemu` print is accepted by the real programs: virt-xml-validate takes a domain with the
# disk, and QEMU starts with the block device, reads through it, and keeps its limits and its being read-only.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

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

# valid TITLE VOLUME [OPTION…]: the disk in a domain.
valid() {
    local title=$1 volume=$2
    shift 2
    {
        echo "<domain type='kvm'><name>guest</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>"
        echo "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>"
        sluice volume xml "$volume" "$@"
        echo "</devices></domain>"
    } >"$work/domain.xml"
    virt-xml-validate "$work/domain.xml" domain >"$work/validate.log" 2>&1 ||
        { cat "$work/domain.xml" >&2; fail "$title: virt-xml-validate refuses the disk"; }
    xml=$(cat "$work/domain.xml")
}

# starts TITLE VOLUME PATTERN: QEMU opens the block device, a guest disk takes it, and the first bytes are PATTERN.
starts() {
    local title=$1 volume=$2 pattern=$3 description node status=0
    description=$(sluice --json volume qemu "$volume")
    node=$(jq -r .nodeName <<<"$description")
    mapfile -t arguments < <(jq -r '.arguments[]' <<<"$description")
    {
        echo '{"execute": "qmp_capabilities"}'
        echo '{"execute": "query-named-block-nodes", "arguments": {"flat": true}, "id": "nodes"}'
        echo "{\"execute\": \"human-monitor-command\", \"id\": \"read\",
            \"arguments\": {\"command-line\": \"qemu-io $node \\\"read -P $pattern 0 64k\\\"\"}}"
        echo "{\"execute\": \"human-monitor-command\", \"id\": \"write\",
            \"arguments\": {\"command-line\": \"qemu-io -d /machine/peripheral/disk/virtio-backend \\\"write -P 0x77 32M 64k\\\"\"}}"
        echo "{\"execute\": \"qom-get\", \"id\": \"limits\",
            \"arguments\": {\"path\": \"/objects/$node-limits\", \"property\": \"limits\"}}"
        echo '{"execute": "quit"}'
    } | timeout 60 qemu-system-x86_64 -accel tcg -machine q35 -m 64 -nodefaults -display none -S -qmp stdio \
        "${arguments[@]}" -device "virtio-blk-pci,id=disk,drive=$node" >"$work/qmp.log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || fail "$title: QEMU ends with $status for: ${arguments[*]}"
    node_state=$(grep '^{' "$work/qmp.log" |
        jq -c --arg node "$node" 'select(.id == "nodes") | .return[] | select(."node-name" == $node)')
    [ -n "$node_state" ] || fail "$title: QEMU has no block device '$node'"
    grep -q 'read 65536/65536 bytes' "$work/qmp.log" || fail "$title: QEMU did not read the disk"
    if grep -q 'Pattern verification failed' "$work/qmp.log"; then fail "$title: QEMU reads something else"; fi
    limits=$(grep '^{' "$work/qmp.log" | jq -r 'select(.id == "limits") | .return // {} |
        "\(.["iops-total"]) \(.["iops-total-max"]) \(.["iops-size"])"')
    writes=no
    ! grep -q 'wrote 65536/65536 bytes' "$work/qmp.log" || writes=yes
}
state() { jq -r "$1" <<<"$node_state"; }
has() { [[ $xml == *"$1"* ]] || fail "volume xml lacks $1"; }
lacks() { [[ $xml != *"$1"* ]] || fail "volume xml has $1"; }

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

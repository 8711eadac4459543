# shellcheck shell=bash disable=SC2034,SC2154
# What libvirt and QEMU make of a volume. Source it after lib.sh.

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

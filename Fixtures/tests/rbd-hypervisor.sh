#!/usr/bin/env bash
# What `volume xml` and `volume qemu` print of images in a cluster is accepted by the real programs: virt-xml-validate
# takes the disk and the secret, and QEMU's own rbd driver opens the image through whatever monitors and ports the URL
# names. No key is in any of it.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$root/Fixtures/ceph.sh"
source "$root/Fixtures/hypervisors.sh"

start_cluster one
start_cluster six --address ::1
key=$(cat "$(about one keyFile)")
v2=$(about one monHost)
v1=$(about one monHostV1)

dd if=/dev/zero bs=1M count=64 status=none | tr '\0' '\021' >"$work/image"
add_pool p one
sluice template import p/t "$work/image" --format raw
sluice volume clone p/t p/clone --max-iops 500 --burst-iops 1500
sluice snapshot create p/clone@monday
# The same pool, by other URLs.
also() { sluice pool add "$1" "$2" --secret-file "$(about one keyFile)"; }
also v1 "rbd://cloudstack@$v1/cloudstack"
also both "rbd://cloudstack@$v1,$v2/cloudstack"
also dead "rbd://cloudstack@127.0.0.1:9,localhost:${v2##*:}/cloudstack"
also direct "rbd://cloudstack@$v2/cloudstack?cache=0"
also limited "rbd://cloudstack@$v2/cloudstack?qos=none"
also conf "rbd://cloudstack@/cloudstack?conf=$(about one confPath)"
sluice pool add keyring "rbd://cloudstack@/cloudstack?conf=$(about one confPath)"

valid "a clone" p/clone
has "<auth username='cloudstack'>"
has "<source protocol='rbd' name='cloudstack/clone'>"
has "<host name='127.0.0.1' port='${v2##*:}'/>"
has "cache='writeback' discard='unmap'"
# librbd limits it, and nothing else does.
lacks "<iotune>"
starts "a clone" p/clone 0x11
[ "$(state .drv) $(state .ro) $writes" = "raw false yes" ] || fail "a clone: $node_state"
[ "$limits" = "null null null" ] || fail "QEMU limits what librbd limits: $limits"
sluice volume xml p/clone --secret >"$work/secret.xml"
# libvirt takes CloudStack's usage names, and its schema alone allows no slash in them.
sed '/<name>/s,/cloudstack<,-cloudstack<,' "$work/secret.xml" >"$work/schema.xml"
virt-xml-validate "$work/schema.xml" secret >"$work/validate.log" 2>&1 || fail "virt-xml-validate refuses the secret"
grep -q "<name>cloudstack@$v2/cloudstack</name>" "$work/secret.xml" || fail "the secret's usage: $(cat "$work/secret.xml")"
uuid=$(grep -o "uuid='[^']*'" <<<"$xml" | tr -d "'" | cut -d= -f2)
grep -q "<uuid>$uuid</uuid>" "$work/secret.xml" || fail "the disk refers to another secret"
echo "  a clone by the v2 port: libvirt takes disk and secret, QEMU's rbd driver reads the template's bytes and writes"

for pool in v1 both dead conf; do
    valid "by $pool" "$pool/clone"
    starts "by $pool" "$pool/clone" 0x11
    [ "$(state .drv) $writes" = "raw yes" ] || fail "by $pool: $node_state"
done
echo "  by the v1 port, by both, with a first monitor that is dead, by a ceph.conf: QEMU opens each"

starts "by a keyring" keyring/clone 0x11
if sluice volume xml keyring/clone >"$work/out" 2>&1; then fail "libvirt is told of a key that it cannot have"; fi
grep -q '^error: notSupported: ' "$work/out" || fail "$(cat "$work/out")"
echo "  by a keyring that ceph.conf names: QEMU opens it, and for libvirt it is refused with the reason"

valid "without a cache" direct/clone
has "cache='none'"
starts "without a cache" direct/clone 0x11
[ "$(state .cache.direct)" = true ] || fail "QEMU uses a cache: $node_state"
echo "  cache=0: QEMU goes past librbd's cache"

valid "limits that librbd leaves" limited/clone
has "<total_iops_sec>500</total_iops_sec>"
starts "limits that librbd leaves" limited/clone 0x11
[ "$(state .drv) $limits $writes" = "throttle 500 1500 4096 yes" ] || fail "limits: $limits $node_state"
echo "  qos=none: <iotune> for libvirt, a throttle filter for QEMU"

for volume in p/t p/clone@monday; do
    valid "$volume" "$volume"
    has "<readonly/>"
    starts "$volume" "$volume" 0x11
    [ "$(state .ro) $writes" = "true no" ] || fail "$volume can be written: $node_state"
done
echo "  a template and a snapshot: read-only to both"

add_pool six six
sluice template import six/t "$work/image" --format raw
sluice volume clone six/t six/clone
valid "an IPv6 monitor" six/clone
has "<host name='::1' port='"
starts "an IPv6 monitor" six/clone 0x11
[ "$(state .drv) $writes" = "raw yes" ] || fail "an IPv6 monitor: $node_state"
echo "  a monitor at an IPv6 address"

for pool in p v1 both dead direct limited conf six; do
    for format in "" --json; do
        sluice $format volume xml "$pool/clone"
        sluice $format volume qemu "$pool/clone"
        sluice $format volume info "$pool/clone"
    done
done >"$work/printed" 2>&1
if grep -qF "$key" "$work/printed"; then fail "a key is printed"; fi
echo "  no key in any of it"

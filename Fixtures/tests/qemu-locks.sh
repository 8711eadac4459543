#!/usr/bin/env bash
# QEMU and Sluice refuse each other's open images, and both share a template.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

mkdir "$work/pool"
sluice pool add p "dir://$work/pool"
qemu-img create -q -f qcow2 "$work/t.qcow2" 64M
qemu-io -f qcow2 -c 'write -P 0x11 0 4M' "$work/t.qcow2" >/dev/null
sluice template import p/t "$work/t.qcow2" --format qcow2
sluice volume clone p/t p/a
sluice volume clone p/t p/b
image=$(sluice --json volume info p/a | jq -r .path)
other=$(sluice --json volume info p/b | jq -r .path)

# An image that Sluice exports.
serve p/a "$work/a.sock"
refused() {
    if "$@" >"$work/refused.log" 2>&1; then fail "not refused: $*"; fi
}
refused qemu-io -f qcow2 -c 'write 0 4k' "$image"
grep -q 'lock' "$work/refused.log" || fail "QEMU was refused, but by no lock"
refused qemu-io -r -f qcow2 -c 'read 0 4k' "$image"
refused qemu-img check -r all -f qcow2 "$image"
refused qemu-img snapshot -c x "$image"
refused qemu-img resize "$image" 128M
qemu-img info -U "$image" >/dev/null
refused "$sluice_binary" serve p/a --socket "$work/second.sock"
grep -q '^error: busy' "$work/refused.log" || fail "a second serve: $(cat "$work/refused.log")"
refused "$sluice_binary" volume delete p/a
# Its template is shared: QEMU reads it, and nobody may write to it.
qemu-io -r -f qcow2 -c 'read -P 0x11 0 4M' "$(sluice --json volume info p/t | jq -r .path)" >/dev/null
stop "$served"
qemu-io -f qcow2 -c 'write -P 0x22 0 4k' "$image" >/dev/null

# An image that QEMU holds.
qemu-nbd --persistent --format qcow2 --socket "$work/qemu.sock" "$other" &
children+=($!)
wait_until 10 nbdinfo --size "$(uri "$work/qemu.sock")"
refused timeout 20 "$sluice_binary" serve p/b --socket "$work/b.sock"
grep -q '^error: busy' "$work/refused.log" || fail "serve of QEMU's image: $(cat "$work/refused.log")"
refused "$sluice_binary" snapshot create p/b@s
grep -q '^error: busy' "$work/refused.log" || fail "snapshot of QEMU's image: $(cat "$work/refused.log")"
refused "$sluice_binary" volume resize p/b 128M
refused "$sluice_binary" volume check p/b --repair all
end_children
serve p/b "$work/b.sock"
stop "$served"

# Clones made by qemu-img count: their template stays.
sluice volume delete p/a
sluice volume delete p/b
(cd "$work/pool" && qemu-img create -q -f qcow2 -b "$(basename "$(sluice --json volume info p/t | jq -r .path)")" \
    -F qcow2 "$work/pool/by-qemu-img.qcow2")
refused "$sluice_binary" template delete p/t
rm "$work/pool/by-qemu-img.qcow2"
sluice template delete p/t
echo "  each refuses what the other holds; the template is shared; qemu-img's clone keeps its template"

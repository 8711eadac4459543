#!/usr/bin/env bash
# Templates from mirrors that a metalink names: bad mirrors are found out and named, and good ones are read from side by
# side, which is faster than one alone where each is slow.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../web.sh"

# Nothing may be written twice: there is no directory for scratch files.
export TMPDIR=/nonexistent
mkdir "$work/pool" "$work/good" "$work/corrupt" "$work/garbage"
sluice pool add p "dir://$work/pool"
make_certificates
read -r one two corrupt garbage dead <<<"$(free_ports 5)"

head -c 36M /dev/urandom >"$work/good/disk.raw"
cp "$work/good/disk.raw" "$work/corrupt"
# Wrong bytes in each of the first parts that are asked for: it sends some of them, and is good for the rest.
for offset in 100 2500000 4500000 7000000; do
    printf 'not what it was' | dd of="$work/corrupt/disk.raw" bs=1 seek=$offset conv=notrunc status=none
done
head -c 36M /dev/urandom >"$work/garbage/disk.raw"
qemu-img convert -f raw -O qcow2 "$work/good/disk.raw" "$work/good/disk.qcow2"

server() {
    echo "server { listen 127.0.0.1:$1 ssl; root $work/$2; limit_rate 1500k; }"
}
# metalink FILE OPTIONS MIRROR…: version 4, to standard output; MIRROR is PORT[,PRIORITY[,COUNTRY]].
metalink() {
    python3 - "$work/good/$1" "$2" "${@:3}" <<'END'
import hashlib, os, sys
path, options, mirrors = sys.argv[1], sys.argv[2], sys.argv[3:]
data = open(path, "rb").read()
print('<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">')
print(f'<file name="{os.path.basename(path)}"><size>{len(data)}</size>')
if "checksum" in options:
    print(f'<hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash>')
if "pieces" in options:
    print('<pieces length="1048576" type="sha-256">')
    for start in range(0, len(data), 1 << 20):
        print(f"<hash>{hashlib.sha256(data[start:start + (1 << 20)]).hexdigest()}</hash>")
    print("</pieces>")
for mirror in mirrors:
    port, priority, country = (mirror.split(",") + ["1", ""])[:3] if mirror.count(",") < 2 else mirror.split(",")
    location = f' location="{country}"' if country else ""
    print(f'<url priority="{priority}"{location}>https://localhost:{port}/{os.path.basename(path)}</url>')
print("</file></metalink>")
END
}

start_nginx "$(server "$one" good) $(server "$two" good) $(server "$corrupt" corrupt) $(server "$garbage" garbage)"

strict=(--ca-file "$authority" --idle-timeout 5 --max-time 120)
# import NAME SOURCE [OPTION…]: the time it took is in $milliseconds, what it says of each mirror in $said.
import() {
    local name=$1 source=$2 started
    shift 2
    started=$(date +%s%N)
    sluice --json template import "p/$name" "$source" "${strict[@]}" "$@" >"$work/out.json"
    milliseconds=$((($(date +%s%N) - started) / 1000000))
    qemu-img compare -q -f raw -F qcow2 "$work/good/disk.raw" "$(sluice --json volume info "p/$name" | jq -r .path)" ||
        fail "$name: another disk"
}
# state PORT: how often the mirror failed and sent wrong bytes, and whether it was left.
state() {
    jq -r --arg port "$1" '.locations[] | select(.name | contains($port))
        | "\(.failures) failed, \(.checksumFailures) wrong, left: \(.left)"' "$work/out.json"
}
expect() {
    [ "$(state "$1")" = "$2" ] || fail "mirror $1: $(state "$1") instead of $2: $(cat "$work/out.json")"
}

# One mirror, and three of which one is dead and one has wrong bytes.
metalink disk.raw checksum,pieces "$one" >"$work/alone.meta4"
import alone "$work/alone.meta4" --format raw
alone=$milliseconds
metalink disk.raw checksum,pieces "$dead" "$corrupt" "$one" >"$work/three.meta4"
import three "$work/three.meta4" --format raw
expect "$dead" "3 failed, 0 wrong, left: true"
[[ $(state "$corrupt") == "0 failed, "[12]" wrong, left: false" ]] || fail "corrupt: $(state "$corrupt")"
expect "$one" "0 failed, 0 wrong, left: false"
echo "  three mirrors, one dead, one corrupt: $milliseconds ms; one alone: $alone ms"
sluice template delete p/three
sluice template import p/three "$work/three.meta4" --format raw "${strict[@]}" |
    sed -n "s/localhost:$dead/dead/; s/localhost:$corrupt/corrupt/; s/^bad/  bad/p"

# Two good ones out of four; one sends nothing but garbage.
metalink disk.raw checksum,pieces "$garbage" "$dead" "$one" "$two" >"$work/four.meta4"
import four "$work/four.meta4" --format raw
expect "$garbage" "0 failed, 3 wrong, left: true"
echo "  four mirrors, one dead, one full of garbage: $milliseconds ms"

# Without checksums of pieces a mixture does not tell whom to blame: one mirror alone does.
metalink disk.raw checksum "$garbage" "$dead" "$one" >"$work/whole.meta4"
import whole "$work/whole.meta4" --format raw
expect "$dead" "3 failed, 0 wrong, left: true"
expect "$garbage" "0 failed, 2 wrong, left: false"
expect "$one" "0 failed, 0 wrong, left: false"
echo "  without checksums of pieces: found out with the second or third attempt, $milliseconds ms"

# An image that is read in any order comes from several mirrors too.
metalink disk.qcow2 checksum,pieces "$one" "$two" >"$work/image.meta4"
import image "$work/image.meta4" --format qcow2
jq -e '[.locations[] | select(.bytesReceived > 4000000)] | length == 2' "$work/out.json" >/dev/null ||
    fail "not from both: $(cat "$work/out.json")"
echo "  QCOW2 from two mirrors: $milliseconds ms"

# The metalink itself may be on a server; the priority decides, and then where this host is.
metalink disk.raw checksum "$one,2" "$two,1,fr" "$dead,3" "$corrupt,1,de" >"$work/good/order.meta4"
order() { jq -r '.locations[].name' "$work/out.json" | sed 's/.*:\([0-9]*\).*/\1/' | xargs; }
import order "https://localhost:$one/order.meta4" --format raw --location fr --mirrors 1
[ "$(order)" = "$two $corrupt $one $dead" ] || fail "order in fr: $(order)"
[ "$(jq '[.locations[] | select(.bytesReceived > 0)] | length' "$work/out.json")" = 1 ] || fail "not one mirror only"
sluice template delete p/order
sluice template import p/order "https://localhost:$one/order.meta4" --format raw --location de --mirrors 1 \
    "${strict[@]}" --json >"$work/out.json"
[ "$(order)" = "$corrupt $two $one $dead" ] || fail "order in de: $(order)"
echo "  a remote metalink: by priority, then location"

# Once more with the same checksum takes no time, and a checksum that changed at the source is said.
import order "https://localhost:$one/order.meta4" --format raw
jq -e .wasThere "$work/out.json" >/dev/null || fail "imported twice"
sed "s/disk.raw/disk.qcow2/" "$work/image.meta4" >"$work/changed.meta4"
status=0
sluice template import p/order "$work/changed.meta4" --format raw "${strict[@]}" 2>"$work/error.txt" || status=$?
[ "$status" -eq 1 ] || fail "another file has the same name"

# What a metalink must not say.
# refuse CODE WHAT [OPTION…]
refuse() {
    status=0
    sluice template import p/refused "$work/refused.meta4" --format raw "${strict[@]}" "${@:3}" 2>"$work/error.txt" || status=$?
    [ "$status" -eq 1 ] && grep -q "^error: $1: " "$work/error.txt" || fail "$2: $(cat "$work/error.txt")"
    echo "  $2: $(sed "s|$work|…|g" "$work/error.txt")"
}
sed "s|https://localhost:$one|file://$work/good|" "$work/alone.meta4" >"$work/refused.meta4"
refuse unsafeImage "a file of this host"
sed 's|name="disk.raw"|name="../../etc/disk.raw"|' "$work/alone.meta4" >"$work/refused.meta4"
refuse unsafeImage "a path"
sed '2i <!DOCTYPE metalink [<!ENTITY x SYSTEM "file:///etc/passwd">]>' "$work/alone.meta4" >"$work/refused.meta4"
refuse unsafeImage "an entity"
sed '/<hash/s/[0-9a-f]\{10\}</0000000000</' "$work/alone.meta4" >"$work/refused.meta4"
refuse checksumMismatch "wrong checksums"
metalink disk.raw checksum "$dead" "$corrupt" "$garbage" >"$work/refused.meta4"
refuse checksumMismatch "no good mirror" --attempts 1
status=0
sluice template import p/refused "$work/alone.meta4" --format raw "${strict[@]}" --max-metalink 1k \
    2>"$work/error.txt" || status=$?
grep -q "^error: unsafeImage: .*more than 1024 bytes" "$work/error.txt" || fail "limit: $(cat "$work/error.txt")"
[ "$(sluice --json template list p | jq '[.volumes[].name] | join(" ")' -r)" = "alone four image order three whole" ] ||
    fail "left behind: $(sluice template list p)"

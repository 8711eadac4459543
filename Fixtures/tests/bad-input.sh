#!/usr/bin/env bash
# Whatever a command is given, it ends with one error line and the exit code of the contract, and leaves nothing behind.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

mkdir "$work/pool"
sluice pool add p "dir://$work/pool"
sluice volume create p/v --size 16M

# refuse STATUS PATTERN COMMAND…
refuse() {
    local expected=$1 pattern=$2 status=0
    shift 2
    timeout 20 "$sluice_binary" "$@" >"$work/out.log" 2>"$work/error.log" </dev/null || status=$?
    [ "$status" -eq "$expected" ] || fail "exit code $status, not $expected: sluice $*"
    grep -qE "$pattern" "$work/error.log" || fail "no /$pattern/ in: $(cat "$work/error.log") (sluice $*)"
    if [ "$expected" -eq 1 ]; then
        [ "$(wc -l <"$work/error.log")" -eq 1 ] || fail "more than one line: $(cat "$work/error.log")"
    fi
}
refuse 64 . no-such-command
refuse 64 . volume create p/x
refuse 64 . volume create p/x --size 10Q
refuse 64 . volume create p/x --size -5
refuse 64 . volume create p/x --size 99999999999999999999999999
refuse 1 '^error: notFound: ' volume info p/missing
refuse 1 '^error: notFound: ' volume info missing/v
refuse 1 '^error: alreadyExists: ' volume create p/v --size 32M
for name in p/../v p/.. 'p/a/b' p/ /v "p/$(printf 'x%.0s' {1..300})" 'p/-x
y'; do
    for command in "volume create|--size|1M" "volume adopt|--format|raw"; do
        IFS='|' read -r verb option value <<<"$command"
        status=0
        # shellcheck disable=SC2086
        timeout 20 "$sluice_binary" $verb "$name" "$option" "$value" >"$work/out.log" 2>&1 || status=$?
        [ "$status" -eq 1 ] || [ "$status" -eq 64 ] || fail "exit code $status for the name '$name'"
    done
done
refuse 1 '^error: ' pool add q dir:///no/such/folder
refuse 1 '^error: |notSupported' pool add q sharedmountpoint:///tmp
refuse 1 '^error: checksumMismatch: ' template import p/t "$cache/template.qcow2" --format qcow2 \
    --checksum "sha256:$(printf '0%.0s' {1..64})"

# Images that no one should open.
qemu-img create -q -f qcow2 "$work/plain.qcow2" 16M
cd "$work"
qemu-img create -q -f qcow2 -b plain.qcow2 -F qcow2 backed.qcow2
qemu-img create -q -f qcow2 -o data_file=data.raw external.qcow2 16M
qemu-img create -q -f qcow2 --object secret,id=s,data=abc \
    -o encrypt.format=aes,encrypt.key-secret=s encrypted-aes.qcow2 16M
# QEMU times the derivation of LUKS keys, which fails on a machine that reports no CPU time: the header says enough.
cp plain.qcow2 encrypted-luks.qcow2
printf '\0\0\0\2' | dd of=encrypted-luks.qcow2 bs=1 seek=32 conv=notrunc status=none
cp plain.qcow2 incompatible.qcow2
printf '\x80' | dd of=incompatible.qcow2 bs=1 seek=72 conv=notrunc status=none
cp plain.qcow2 truncated.qcow2
truncate --size 1000 truncated.qcow2
cp plain.qcow2 hostile-table.qcow2
printf '\xff\xff\xff\xff' | dd of=hostile-table.qcow2 bs=1 seek=36 conv=notrunc status=none
head -c 1M /dev/urandom >noise.qcow2
: >empty.qcow2
cd - >/dev/null
for image in backed external encrypted-aes encrypted-luks incompatible truncated hostile-table noise empty; do
    refuse 1 '^error: (unsafeImage|corrupt|notSupported): ' \
        template import "p/$image" "$work/$image.qcow2" --format qcow2
done
refuse 1 '^error: unsafeImage: ' template import p/undeclared "$work/plain.qcow2" --format raw

[ "$(sluice --json volume list p | jq -r '.volumes[].name' | xargs)" = v ] ||
    fail "left behind: $(sluice --json volume list p)"
left=$(find "$work/pool" -type f ! -name 'v' ! -name 'v.*' ! -name '.sluice*' ! -path '*/.sluice*' -printf '%f ')
[ -z "$left" ] || fail "left behind: $left"
echo "  wrong usage exits with 64, errors with 1 and one line; nothing is left behind"

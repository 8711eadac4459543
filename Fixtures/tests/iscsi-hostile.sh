#!/usr/bin/env bash
# Arrays and portals that are up to no good: each gets an error with a code, in time, and little memory, and neither of the
# two keeps the command from ending well.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

"$root/Fixtures/hostile-servers" >"$work/ports.json" 2>"$work/hostile.log" &
children+=("$!")
start_target tgt
start_array array tgt
wait_until 20 test -s "$work/ports.json" || fail "the servers do not start"
name=iqn.2026-01.org.example:host

count=0
largest=0
declare -A codes
# refused WHAT ARGUMENT…: the command ends with an error of its own in time, and takes less than 150 MiB.
refused() {
    local what=$1 status=0 code memory
    shift
    timeout 20 /usr/bin/time --format '%M' --output "$work/memory" "$sluice_binary" "$@" >"$work/out.txt" 2>"$work/refused.log" ||
        status=$?
    [ "$status" -eq 1 ] || fail "$what: sluice ends with $status: $(cat "$work/refused.log")"
    code=$(sed -nE 's/^error: ([a-zA-Z]+): .*/\1/p' "$work/refused.log" | tail -n 1)
    case $code in
        inputOutput | connectionLost | timedOut | authenticationFailed | notSupported | permissionDenied) ;;
        *) fail "$what: $(cat "$work/refused.log")" ;;
    esac
    memory=$(tail -n 1 "$work/memory")
    [ "$memory" -lt $((150 << 10)) ] || fail "$what: $((memory >> 10)) MiB"
    [ "$memory" -le "$largest" ] || largest=$memory
    count=$((count + 1))
    codes[$code]=1
    printf '%-36s %s\n' "$what" "$(tail -n 1 "$work/refused.log")"
}
while IFS=$'\t' read -r what port; do
    refused "$what" pool add x "element://127.0.0.1:$port?user=admin&transport=http&deadline=2&initiator=$name" \
        --secret-file "$work/array/password"
done < <(jq --raw-output '.api | to_entries[] | "\(.key)\t\(.value)"' "$work/ports.json")
echo "  $count hostile arrays: ${!codes[*]}; at most $((largest >> 10)) MiB"

count=0
codes=()
sluice pool add good "$array_url&access-group=hosts" --secret-file "$work/array/password" >/dev/null
sluice volume create good/v --size 1G >/dev/null
while IFS=$'\t' read -r what port; do
    sluice pool add x "$(sed -E "s/svip=[^&]*/svip=127.0.0.1:$port/" <<<"$array_url")&access-group=hosts&deadline=2" \
        --secret-file "$work/array/password" >/dev/null
    refused "$what" bench x/v --rw randread --count 1
    sluice pool remove x >/dev/null
done < <(jq --raw-output '.portal | to_entries[] | "\(.key)\t\(.value)"' "$work/ports.json")
sluice bench good/v --rw randread --count 1 >/dev/null
echo "  $count hostile portals: ${!codes[*]}; at most $((largest >> 10)) MiB; the volume works by its own portal"

#!/usr/bin/env bash
# Whoever is still logged in to a volume that was deleted reads nothing of what comes after it, and writes nothing to it;
# and what comes after it reads as zeros. With QEMU's own initiator, and with another host's export, as those who are late.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

start_pools tgt array
SLUICE_HOME=$work/second sluice pool add t "$(target_url tgt second)&deadline=2" >/dev/null
SLUICE_HOME=$work/second sluice pool add e "${array_url/example:host/example:second}&deadline=2" \
    --secret-file "$work/array/password" >/dev/null
# zeros SOCKET: all of the first 64 MiB of what is exported there.
zeros() {
    qemu_io -r -c 'read -P 0 0 64M' "$(uri "$1")" >"$work/zeros.log"
    ! grep --quiet 'verification failed' "$work/zeros.log"
}

# qemu VOLUME: QEMU's initiator logs in as `volume qemu` says, as a third host; it takes commands from descriptor 8, its
# process is $stale, and what it says is in $work/qemu.log.
qemu() {
    local arguments options objects=() index
    mapfile -t arguments < <(sluice --json volume qemu "$1" | jq -r '.arguments[]')
    for ((index = 0; index < ${#arguments[@]}; index += 2)); do
        case ${arguments[index]} in
            -object) objects+=(--object "${arguments[index + 1]}") ;;
            -blockdev) options=${arguments[index + 1]/example:host/example:guest},file.timeout=2 ;;
        esac
    done
    rm -f "$work/commands"
    mkfifo "$work/commands"
    qemu-io "${objects[@]}" --image-opts "$options" <"$work/commands" >"$work/qemu.log" 2>&1 &
    stale=$!
    children+=("$stale")
    exec 8>"$work/commands"
}
# done_by_qemu VERB: how many of its requests succeeded.
done_by_qemu() { grep --count "$1 [0-9]*/[0-9]* bytes" "$work/qemu.log" || true; }
answered() { [ "$(grep --count --extended-regexp '(read|write|wrote) (failed|[0-9]+/)' "$work/qemu.log")" -ge "$1" ]; }

# The sessions at the unit of tgt of a name, as `TARGET SESSION CONNECTION`.
sessions_at() {
    local target
    target=$(tgtadm --lld iscsi --mode target --op show | sed -nE "s|^Target ([0-9]+): $1\$|\1|p")
    tgtadm --lld iscsi --mode conn --op show --tid "$target" |
        awk -v t="$target" '/^Session:/ { s = $2 } /Connection:/ { print t, s, $2 }'
}
# take VOLUME PROCESS: the storage deletes a volume with somebody logged in, as arrays do that are told to. On an array its
# administrator says so. Of tgt's administrator the process, which is stopped meanwhile, loses its session first.
take() {
    local id target session connection
    if [[ $1 == e/* ]]; then
        id=$(ask_array array ListVolumes | jq '.volumes[] | select(.name == "v" and .status == "active") | .volumeID')
        ask_array array DeleteVolume "{\"volumeID\":$id}" >/dev/null
        ask_array array PurgeDeletedVolume "{\"volumeID\":$id}" >/dev/null
        return
    fi
    kill -STOP "$2"
    sluice volume break-lock "$1" >/dev/null
    path=$(path_of "$1")
    while read -r target session connection; do
        tgtadm --lld iscsi --mode conn --op delete --tid "$target" --sid "$session" --cid "$connection"
    done < <(sessions_at "$(cut -d / -f 2 <<<"$path")")
    sluice volume delete "$1" >/dev/null
    kill -CONT "$2"
}
path_of() { sluice --json volume info "$1" | jq --raw-output .path; }

declare -A places=([t]="a unit of tgt" [e]="an array's volume")
for pool in t e; do
    sluice volume create "$pool/v" --size 1000341504 >/dev/null
    serve "$pool/v" "$work/v.sock"
    qemu_io -c 'write -P 0xee 0 64M' -c flush "$(uri "$work/v.sock")" >/dev/null
    stop "$served"
    old=$(path_of "$pool/v")

    # QEMU is late.
    qemu "$pool/v"
    echo 'read -P 0xee 0 4k' >&8
    wait_until 20 answered 1 || fail "QEMU does not read: $(cat "$work/qemu.log")"
    [ "$(done_by_qemu read)" -eq 1 ] || fail "QEMU cannot read: $(cat "$work/qemu.log")"
    if sluice volume delete "$pool/v" 2>"$work/delete.log"; then fail "a volume is deleted while QEMU has it"; fi
    grep --quiet '^error: busy: .*iqn.2026-01.org.example:guest' "$work/delete.log" || fail "$(cat "$work/delete.log")"
    take "$pool/v" "$stale"
    sluice volume create "$pool/v" --size 1000341504 >/dev/null
    new=$(path_of "$pool/v")
    [ "$new" != "$old" ] || fail "the new volume has the old one's path"
    printf 'read 0 4k\nwrite -P 0xdd 0 4k\n' >&8
    serve "$pool/v" "$work/v.sock"
    # Whatever QEMU makes of it: no request of it succeeds in more time than it has for one.
    wait_until 3 answered 3 || true
    [ "$(done_by_qemu read)" -eq 1 ] && [ "$(done_by_qemu wrote)" -eq 0 ] || fail "QEMU: $(cat "$work/qemu.log")"
    zeros "$work/v.sock" || fail "the new volume does not read as zeros"
    { kill -KILL "$stale" && wait "$stale"; } 2>/dev/null || true
    exec 8>&-
    zeros "$work/v.sock" || fail "the new volume does not read as zeros any more"
    stop "$served"
    echo "  ${places[$pool]}, with QEMU logged in: not deleted by Sluice; deleted by the storage, QEMU reads and writes nothing," \
        "and the new volume of that name reads as zeros"

    # Another host's export is late.
    SLUICE_HOME=$work/second serve "$pool/v" "$work/second.sock"
    late=$served
    qemu_io -c 'write -P 0xee 0 64M' -c flush "$(uri "$work/second.sock")" >/dev/null
    take "$pool/v" "$late"
    sluice volume create "$pool/v" --size 1000341504 >/dev/null
    serve "$pool/v" "$work/v.sock"
    qemu_io -r -c 'read 0 4k' "$(uri "$work/second.sock")" >"$work/late.log" 2>&1 &
    reader=$!
    if put "$(uri "$work/second.sock")" 17 2>"$work/put.log"; then fail "a late export writes"; fi
    wait "$reader" || true
    ! grep --quiet 'read 4096/' "$work/late.log" || fail "a late export reads something"
    kill -TERM "$late"
    wait_until 30 ended "$late" || fail "a late export does not end"
    zeros "$work/v.sock" || fail "the new volume does not read as zeros"
    stop "$served"
    echo "  ${places[$pool]}, with another host's export: neither reads nor writes, and the new volume reads as zeros"
    sluice volume delete "$pool/v" >/dev/null
done

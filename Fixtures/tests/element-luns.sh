#!/usr/bin/env bash
# The simulated cluster's volumes are there: as units of a real target, behind the accounts' secrets, with the bytes that
# snapshots, clones and rollbacks promise, also after the target is killed and after the simulator is.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

find_simulator

(umask 077 && head -c 12 /dev/urandom | xxd -p >"$work/password")
mkdir "$work/state"
mkfifo "$work/target.input"
"$root/Fixtures/iscsi" start "$work/target" <"$work/target.input" >"$work/target.json" 2>"$work/target.log" &
children+=("$!")
exec {target_input}>"$work/target.input"
wait_until 40 test -s "$work/target.json" || fail "the target does not start"
portal=$(jq -r '.portals[0]' "$work/target.json")
other=$(jq -r .iqn "$work/target.json")

simulate() {
    : >"$work/addresses"
    "$simulator_binary" --directory "$work/state" --http 127.0.0.1:0 --cluster-id luns --tgt "$work/target/tgtd.0" \
        --password-file "$work/password" --clone-seconds 0.2 >"$work/addresses" 2>>"$work/simulator.log" &
    simulator=$!
    children+=("$simulator")
    wait_until 30 test -s "$work/addresses" || fail "the simulator does not start"
}
# call METHOD [PARAMETERS]: the result.
call() {
    local answer
    # Neither the password nor a secret in the parameters is in an argument list.
    answer=$(printf 'user = "admin:%s"\ndata = %s\n' "$(cat "$work/password")" \
        "$(printf '{"method":"%s","params":%s,"id":7}' "$1" "${2:-{\}}" | jq -Rs .)" |
        curl --silent --show-error --max-time 60 --config - "$(cat "$work/addresses")12.3/")
    jq -e .result <<<"$answer" || fail "$1: $answer"
}
# wait_clone HANDLE
wait_clone() {
    clone_ended() { [ "$(call GetAsyncResult "{\"asyncHandle\":$1,\"keepResult\":true}" | jq -r .status)" != running ]; }
    wait_until 30 clone_ended "$1" || fail "a clone does not end"
}
# with IQN COMMAND…: a qemu-io command on a volume, by its account's secret.
with() {
    local iqn=$1
    shift
    timeout 60 qemu-io --object "secret,id=chap,file=$work/chap" "$@" --image-opts \
        "driver=iscsi,transport=tcp,portal=$portal,target=$iqn,lun=1,user=tenant,password-secret=chap,initiator-name=$initiator"
}
initiator=iqn.2026-01.example:one
holds() { with "$1" -c "read -P $2 ${3:-0} 1M" >>"$work/io.log" 2>&1 || fail "$1 does not hold $2 at ${3:-0}"; }
fill() { with "$1" -c "write -P $2 ${3:-0} 1M" -c flush >>"$work/io.log" 2>&1 || fail "$1 cannot be written"; }
refused() {
    if with "$1" -c 'read 0 4k' >>"$work/refused.log" 2>&1; then fail "$1 lets in whom it should not"; fi
}
logged_in() { call ListISCSISessions | jq -e '.sessions | length > 0' >/dev/null; }
targets() { TGT_IPC_SOCKET=$work/target/tgtd tgtadm --lld iscsi --op show --mode target | sed -n 's/^Target .*: //p'; }

simulate
account=$(call AddAccount '{"username":"tenant","initiatorSecret":"secret-of-one"}' | jq .accountID)
printf 'secret-of-one' >"$work/chap"
chmod 600 "$work/chap"
# create NAME: a volume; $id is its number, $iqn its target.
create() {
    local volume
    volume=$(call CreateVolume "{\"name\":\"$1\",\"accountID\":$account,\"totalSize\":1000000000,\"enable512e\":true}")
    id=$(jq .volumeID <<<"$volume")
    iqn=$(jq -r .volume.iqn <<<"$volume")
}
create first
first=$iqn
first_id=$id
LIBISCSI_CHAP_USERNAME=tenant LIBISCSI_CHAP_PASSWORD=secret-of-one iscsi-inq "iscsi://$portal/$first/1" \
    >"$work/inquiry.txt" 2>&1 || fail "iscsi-inq does not get in"
LIBISCSI_CHAP_USERNAME=tenant LIBISCSI_CHAP_PASSWORD=secret-of-one iscsi-inq -e 1 -c 128 "iscsi://$portal/$first/1" |
    grep -q "$(printf 'luns' | xxd -p)" || fail "the serial number is not the volume's own"
holds "$first" 0
fill "$first" 1

snapshot=$(call CreateSnapshot "{\"volumeID\":$first_id}" | jq .snapshotID)
fill "$first" 2
clone=$(call CloneVolume "{\"volumeID\":$first_id,\"name\":\"clone\",\"newSize\":2000000000}")
old=$(call CloneVolume "{\"volumeID\":$first_id,\"name\":\"old\",\"snapshotID\":$snapshot}")
wait_clone "$(jq .asyncHandle <<<"$clone")"
wait_clone "$(jq .asyncHandle <<<"$old")"
fill "$first" 3
holds "$(jq -r .volume.iqn <<<"$clone")" 2
holds "$(jq -r .volume.iqn <<<"$clone")" 0 1500M
holds "$(jq -r .volume.iqn <<<"$old")" 1
call RollbackToSnapshot "{\"volumeID\":$first_id,\"snapshotID\":$snapshot,\"saveCurrentState\":true}" >/dev/null
holds "$first" 1
call ModifyVolume "{\"volumeID\":$first_id,\"totalSize\":3000000000}" >/dev/null
holds "$first" 1
fill "$first" 4 2500M
# It grows under somebody who is logged in.
with "$first" -c 'write -P 5 0 4k' -c 'sleep 1500' -c 'write -P 5 0 4k' >"$work/growing.log" 2>&1 &
growing=$!
wait_until 20 logged_in || fail "nobody is logged in"
call ModifyVolume "{\"volumeID\":$first_id,\"totalSize\":3200000000}" >/dev/null
wait "$growing" || fail "growth fails the requests of others"
fill "$first" 1
fill "$first" 8 3000M
echo "  snapshot, clones, rollback and growth have the bytes they should"

# While someone reads and writes: a copy is what the volume was at one moment, and no request of theirs fails.
with "$first" -c 'write -P 5 100M 400M' -c 'read -P 5 100M 400M' >"$work/busy.log" 2>&1 &
busy=$!
wait_until 20 logged_in || fail "nobody is logged in"
call CreateSnapshot "{\"volumeID\":$first_id}" >/dev/null
call ModifyVolume "{\"volumeID\":$first_id,\"totalSize\":3300000000}" >/dev/null
wait "$busy" || fail "a snapshot or growth fails the requests of others"
holds "$first" 1

printf 'not-that-one!' >"$work/chap"
refused "$first"
printf 'secret-of-one' >"$work/chap"
group=$(call CreateVolumeAccessGroup "{\"name\":\"g\",\"initiators\":[\"$initiator\"],\"volumes\":[$first_id]}" |
    jq .volumeAccessGroupID)
holds "$first" 1
initiator=iqn.2026-01.example:two
refused "$first"
call DeleteVolumeAccessGroup "{\"volumeAccessGroupID\":$group}" >/dev/null
holds "$first" 1
call ModifyAccount "{\"accountID\":$account,\"initiatorSecret\":\"another-secret\"}" >/dev/null
refused "$first"
printf 'another-secret' >"$work/chap"
holds "$first" 1
call ModifyVolume "{\"volumeID\":$first_id,\"access\":\"readOnly\"}" >/dev/null
if with "$first" -c 'write -P 9 0 4k' >>"$work/refused.log" 2>&1; then fail "a volume that is read-only is written"; fi
call ModifyVolume "{\"volumeID\":$first_id,\"access\":\"readWrite\"}" >/dev/null
echo "  who does not know the secret, or is in no access group, does not get in"

"$root/Fixtures/iscsi" kill "$work/target"
"$root/Fixtures/iscsi" restart "$work/target"
restored() { [ "$(targets | wc -l)" -eq 4 ] && with "$first" -c 'read -P 1 0 1M'; }
wait_until 30 restored || fail "a target that was restarted does not get its volumes back"
{ kill -KILL "$simulator" && wait "$simulator"; } 2>/dev/null || true
simulate
holds "$first" 1
holds "$first" 4 2500M

# The simulator dies in the middle of a copy, for which it has stopped the target: the next one lets it go on.
target_process=$(pgrep -P "${children[0]}" tgtd)
state_of() { cut -d ' ' -f 3 "/proc/$target_process/stat"; }
for attempt in {1..10}; do
    call CreateSnapshot "{\"volumeID\":$first_id,\"name\":\"cut-$attempt\"}" >/dev/null 2>&1 &
    copying=$!
    while kill -0 "$copying" 2>/dev/null && [ "$(state_of)" != T ]; do :; done
    { kill -KILL "$simulator" && wait "$simulator"; } 2>/dev/null || true
    wait "$copying" 2>/dev/null || true
    stopped=$(state_of)
    simulate
    [ "$stopped" != T ] || break
done
[ "$stopped" = T ] || fail "the target is never stopped"
[ "$(state_of)" != T ] || fail "the target does not go on"
holds "$first" 4 2500M
wanted=$( (call ListSnapshots | jq -r '.snapshots[].snapshotID | "snapshot-\(.)"') | sort)
cleaned() { [ "$(cd "$work/state/luns" && compgen -G 'snapshot-*' | sort)" = "$wanted" ]; }
wait_until 20 cleaned || fail "a copy that was cut off is left"
echo "  the same after the target, and after the simulator, is killed, also in the middle of a copy"

# A volume that is deleted while someone is logged in, and another in its place.
writes=()
for _ in {1..100}; do writes+=(-c 'write -P 6 0 64k' -c 'sleep 200'); done
with "$first" "${writes[@]}" >"$work/stale.log" 2>&1 &
stale=$!
wait_until 20 logged_in || fail "nobody is logged in"
used() { [ "$(call GetVolumeStats "{\"volumeID\":$first_id}" | jq .volumeStats.writeOps)" -gt 0 ]; }
wait_until 20 used || fail "statistics show no use"
call DeleteVolume "{\"volumeID\":$first_id}" >/dev/null
call PurgeDeletedVolume "{\"volumeID\":$first_id}" >/dev/null
targets | grep -Fqx "$first" && fail "a deleted volume's target is there"
if compgen -G "$work/state/luns/volume-$first_id-*" >/dev/null; then fail "a purged volume's bytes are there"; fi
create first
holds "$iqn" 0
kill "$stale" 2>/dev/null || true
wait "$stale" 2>/dev/null || true
targets | grep -Fqx "$other" || fail "a target of somebody else's is gone"
for volume in $(call ListVolumes | jq '.volumes[].volumeID'); do
    call DeleteVolume "{\"volumeID\":$volume}" >/dev/null
    call PurgeDeletedVolume "{\"volumeID\":$volume}" >/dev/null
done
[ "$(targets)" = "$other" ] || fail "targets are left"
[ -z "$(ls "$work/state/luns")" ] || fail "bytes are left"
grep -Fq -e another-secret -e secret-of-one "$work/simulator.log" && fail "a secret is in the log"
stop "$simulator" || fail "the simulator does not end well"
exec {target_input}>&-

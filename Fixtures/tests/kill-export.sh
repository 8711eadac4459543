#!/usr/bin/env bash
# kill -9 of an export under load, again and again: every acknowledged write is there afterwards, and the image has at
# most leaks. SLUICE_ROUNDS kills for each kind of volume.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

rounds=${SLUICE_ROUNDS:-6}
seed=${SLUICE_SEED:-$(date +%s)}
RANDOM=$seed
echo "  seed $seed (SLUICE_SEED)"
verifier=$root/Fixtures/nbd-verifier
megabyte=$((1 << 20))
mkdir "$work/pool"
sluice pool add p "dir://$work/pool"

# Two clients write their own halves of the volume while it is killed.
half() { [ "$1" = 1 ] && echo "--first 0 --end $2" || echo "--first $2 --end $(($2 * 2))"; }

# survive NAME SIZE [NEW-OPTION…]: the kills on one volume.
survive() {
    local name=$1 size=$2 round client snapshots socket=$work/$1.sock image format status loaders middle=$(($2 / 1024))
    shift 2
    "$verifier" new --size "$size" --state "$work/$name.1" "$@"
    "$verifier" new --size "$size" --state "$work/$name.2" "$@"
    image=$(sluice --json volume info "p/$name" | jq -r .path)
    format=$(sluice --json volume info "p/$name" | jq -r .format)
    for ((round = 1; round <= rounds; round++)); do
        serve "p/$name" "$socket"
        loaders=()
        snapshots=
        for client in 1 2; do
            # shellcheck disable=SC2046
            "$verifier" load --uri "$(uri "$socket")" --state "$work/$name.$client" --seed "$RANDOM" --depth 16 \
                --seconds 60 --may-break $(half "$client" "$middle") >>"$work/load.log" 2>&1 &
            loaders+=($!)
        done
        children+=("${loaders[@]}")
        # Structural changes while the writes go on: snapshots are made and deleted in every other round.
        if [ "$format" = qcow2 ] && [ $((round % 2)) -eq 0 ]; then
            touch "$work/take-snapshots"
            while [ -e "$work/take-snapshots" ]; do
                sluice snapshot create "p/$name@under-load" || true
                sluice snapshot delete "p/$name@under-load" || true
            done >>"$work/snapshots.log" 2>&1 &
            snapshots=$!
        fi
        sleep "$((RANDOM % 2)).$((RANDOM % 10))"
        kill -KILL "$served"
        wait "$served" 2>/dev/null || true
        rm -f "$work/take-snapshots"
        [ -z "$snapshots" ] || wait "$snapshots"
        for client in "${loaders[@]}"; do
            wait "$client" || fail "$name, round $round: a client saw an error before the kill"
        done
        end_children

        status=0
        if [ "$format" = qcow2 ]; then
            qemu-img check -U -f qcow2 "$image" >"$work/qemu-check.log" 2>&1 || status=$?
            [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "$name, round $round: qemu-img check says $status"
        fi
        serve "p/$name" "$socket"
        for client in 1 2; do
            # shellcheck disable=SC2046
            "$verifier" verify --uri "$(uri "$socket")" --state "$work/$name.$client" \
                $(half "$client" "$middle") >"$work/verify.log" 2>&1 || fail "$name, round $round: lost a write"
        done
        # Half the rounds go on from a killed image, the others from one that was closed.
        if [ $((RANDOM % 2)) -eq 0 ]; then
            stop "$served"
        else
            kill -KILL "$served"
            wait "$served" 2>/dev/null || true
            end_children
        fi
    done

    # Another reader finds the same after a clean close.
    serve "p/$name" "$socket"
    stop "$served"
    status=0
    sluice volume check "p/$name" >"$work/check.log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "$name: volume check says $status"
    if [ "$format" = qcow2 ]; then
        status=0
        qemu-img check -f qcow2 "$image" >"$work/qemu-check.log" 2>&1 || status=$?
        [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "$name: qemu-img check says $status"
    fi
    qemu-nbd --read-only --persistent --format "$format" --socket "$work/qemu.sock" "$image" &
    children+=($!)
    wait_until 10 nbdinfo --size "$(uri "$work/qemu.sock")"
    for client in 1 2; do
        # shellcheck disable=SC2046
        "$verifier" verify --uri "$(uri "$work/qemu.sock")" --state "$work/$name.$client" \
            $(half "$client" "$middle") >"$work/verify.log" 2>&1 || fail "$name: QEMU reads something else"
    done
    end_children
    echo "  $name: $rounds kills, $(grep -o '[0-9]* acknowledged' "$work/verify.log" | cut -d ' ' -f 1) writes" \
        "acknowledged to one of two clients, all there; checks exit with $status"
    sluice volume delete "p/$name"
}

sluice volume create p/thin --size 1G
survive thin $((1024 * megabyte))

sluice volume create p/small --size 64M
survive small $((64 * megabyte))

"$verifier" image "$work/base.raw" --size $((256 * megabyte))
qemu-img convert -f raw -O qcow2 "$work/base.raw" "$work/base.qcow2"
sluice template import p/base "$work/base.qcow2" --format qcow2
sluice volume clone p/base p/clone
survive clone $((256 * megabyte)) --from-image

sluice volume create p/sparse --size 256M --provisioning sparse
survive sparse $((256 * megabyte))

sluice volume create p/raw --size 256M --format raw
survive raw $((256 * megabyte))

qemu-img create -q -f qcow2 -o compat=0.10 "$work/pool/version2" 256M
sluice volume adopt p/version2 --format qcow2
survive version2 $((256 * megabyte))

qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k "$work/pool/extended" 256M
sluice volume adopt p/extended --format qcow2
survive extended $((256 * megabyte))

#!/usr/bin/env bash
# Two hosts clone one fresh template at the same time, sixteen clones each: one base snapshot, protected, and thirty-two
# clones that hold the template's bytes. SLUICE_ROUNDS templates.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../ceph.sh"

rounds=${SLUICE_ROUNDS:-2}
start_cluster ceph
for host in 1 2; do
    SLUICE_HOME=$work/host$host add_pool p ceph
done

# A host's sixteen clones, each a process; what fails says so in the log.
clone_all() {
    local template=$1 host=$2 number pids=() status=0
    for number in {1..16}; do
        SLUICE_HOME=$work/host$host sluice volume clone "p/$template" "p/$template-$host-$number" &
        pids+=("$!")
    done
    for number in "${pids[@]}"; do
        wait "$number" || status=$?
    done
    return "$status"
}

# inspect TEMPLATE FILE: one base snapshot, protected, 32 children of it and nobody else's, each with the same bytes.
inspect() {
    /usr/bin/python3 - "$(about ceph confPath)" "$1" "$2" <<'PYTHON'
import sys
import rados, rbd

conf, template, path = sys.argv[1:]
with open(path, "rb") as file:
    expected = file.read()
with rados.Rados(conffile=conf, name="client.admin") as cluster, cluster.open_ioctx("cloudstack") as context:
    with rbd.Image(context, template, read_only=True) as image:
        snapshots = [snapshot["name"] for snapshot in image.list_snaps()]
        assert snapshots == ["cloudstack-base-snap"], f"snapshots: {snapshots}"
        assert image.is_protected_snap("cloudstack-base-snap"), "the base snapshot is not protected"
        image.set_snap("cloudstack-base-snap")
        children = sorted(name for _, name in image.list_children())
    named = sorted(f"{template}-{host}-{number}" for host in (1, 2) for number in range(1, 17))
    assert children == named, f"children: {children}"
    for name in named:
        with rbd.Image(context, name, read_only=True) as image:
            assert image.size() == len(expected), f"{name} has {image.size()} bytes"
            assert image.parent_info() == ("cloudstack", template, "cloudstack-base-snap"), image.parent_info()
            assert image.read(0, len(expected)) == expected, f"{name} has other bytes"
    names = rbd.RBD().list(context)
    left = [name for name in names if name != template and name not in named and not name.startswith("t")]
    assert not left, f"left over: {left}"
PYTHON
}

openssl rand 8388608 >"$work/random.raw"
qemu-img convert -f raw -O qcow2 "$work/random.raw" "$work/random.qcow2"
for ((round = 1; round <= rounds; round++)); do
    SLUICE_HOME=$work/host1 sluice template import "p/t$round" "$work/random.qcow2" --format qcow2 >/dev/null
    # As CloudStack imports templates, or as a host left it that died while it made the snapshot.
    admin_rbd ceph snap unprotect "t$round@cloudstack-base-snap" >"$work/unprotect.log" 2>&1
    if [ $((round % 2)) -eq 1 ]; then
        admin_rbd ceph snap rm --no-progress "t$round@cloudstack-base-snap" >"$work/remove.log" 2>&1
    fi
    started=$EPOCHREALTIME
    clone_all "t$round" 1 >"$work/clones1.log" 2>&1 &
    first=$!
    clone_all "t$round" 2 >"$work/clones2.log" 2>&1 || fail "a clone of the second host failed"
    wait "$first" || fail "a clone of the first host failed"
    seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    inspect "t$round" "$work/random.raw" >"$work/inspect.log" 2>&1 || fail "round $round: the clones are not right"
    echo "  32 clones by 32 processes of two hosts in $seconds s: one protected base snapshot, the same bytes in all"
done

# Either host deletes what the other made.
for host in 1 2; do
    for number in {1..16}; do
        SLUICE_HOME=$work/host$((3 - host)) sluice volume delete "p/t1-$host-$number" >/dev/null
    done
done
SLUICE_HOME=$work/host2 sluice template delete p/t1 >/dev/null
! admin_rbd ceph ls | grep '^t1' || fail "not all of t1 is gone"

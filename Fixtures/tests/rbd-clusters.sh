#!/usr/bin/env bash
# Two clusters with different keys, used by one process at once; every way to name a cluster: by the ports of both
# messengers, IPv6, several monitors of which one is dead, a name with several addresses, CloudStack's URL with its key,
# a ceph.conf; and what cannot work says so, typed and in time.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../ceph.sh"

start_cluster one --monitors 3
start_cluster two --address ::1
key() { cat "$(about "$1" keyFile)"; }
[ "$(key one)" != "$(key two)" ] || fail "the clusters have the same key"

# Both at once.
add_pool a one >/dev/null
add_pool b two >/dev/null
openssl rand 25165824 >"$work/random.raw"
qemu-img convert -f raw -O qcow2 "$work/random.raw" "$work/random.qcow2"
sluice volume import a/v "$work/random.qcow2" --format qcow2 >/dev/null
sluice volume copy a/v b/v >/dev/null
sluice snapshot create b/v@s >/dev/null
sluice volume copy b/v@s a/back >/dev/null
holds() {
    admin_rbd "$1" export --no-progress "$2" "$work/exported" 2>/dev/null
    cmp "$work/exported" "$work/random.raw" || fail "$2 on the cluster $1 holds other bytes"
    rm "$work/exported"
}
holds one v
holds two v
holds one back
[ "$(admin_rbd one ls | sort | xargs)" = "back v" ] || fail "the cluster has: $(admin_rbd one ls | xargs)"
echo "  volume copy from one cluster to another (IPv6) and back, each with its own key: the same bytes"

# Every way to name a cluster.
name_cluster() {
    local what=$1 url=$2
    shift 2
    sluice pool add "n" "$url" "$@" >"$work/add.log" 2>&1 || fail "$what: $(cat "$work/add.log")"
    sluice --json volume list n | jq --exit-status 'any(.volumes[]; .name == "v")' >/dev/null || fail "$what: no volume"
    sluice --json pool list >>"$work/shown.txt"
    sluice pool list >>"$work/shown.txt"
    sluice pool remove n >/dev/null
    echo "  $what: works"
}
secret=(--secret-file "$(about one keyFile)")
v2=$(about one monHost)
v1=$(about one monHostV1)
name_cluster "the port of messenger v1" "rbd://cloudstack@$v1/cloudstack" "${secret[@]}"
name_cluster "the ports of both" "rbd://cloudstack@$v2,$v1/cloudstack" "${secret[@]}"
name_cluster "a dead monitor before a live one" "rbd://cloudstack@127.0.0.9:${v2##*:},$v2/cloudstack" "${secret[@]}"
name_cluster "CloudStack's URL with its key" "rbd://cloudstack:$(key one | tr '+/' '-_')@$v2/cloudstack"
name_cluster "a ceph.conf and its keyring" "rbd://cloudstack@/cloudstack?conf=$(about one confPath)"
name_cluster "a ceph.conf and a key" "rbd://cloudstack@/cloudstack?conf=$(about one confPath)" "${secret[@]}"

# One name for the three monitors, one of which is dead, and addresses where none is; then it names another.
hosts() { printf '%s storage.test\n' "$@" >"$work/hosts"; }
with_hosts() {
    local how=(--mount)
    [ "$(id -u)" -eq 0 ] || how+=(--map-root-user)
    # shellcheck disable=SC2016
    unshare "${how[@]}" sh -c 'mount --bind "$1" /etc/hosts && shift && exec "$@"' sh "$work/hosts" "$@"
}
hosts 127.0.0.9 127.0.0.1 127.0.0.2 127.0.0.3
daemons one kill mon.a
with_hosts "$sluice_binary" pool add n "rbd://cloudstack@storage.test:${v2##*:}/cloudstack" "${secret[@]}" \
    >"$work/add.log" 2>&1 || fail "a name with several addresses: $(cat "$work/add.log")"
hosts 127.0.0.3
with_hosts "$sluice_binary" volume info n/v >/dev/null || fail "the name is not looked up again"
daemons one restart mon.a
sluice pool remove n >/dev/null 2>&1
echo "  a name with four addresses, two of them dead, and another one later: works"

# What cannot work.
took() {
    local what=$1 expected=$2 most=$3 started=$EPOCHREALTIME seconds
    shift 3
    if timeout 60 "$sluice_binary" "$@" >"$work/took.log" 2>&1; then fail "$what: succeeded"; fi
    seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    grep -q -E "^error: ($expected):" "$work/took.log" || fail "$what: $(cat "$work/took.log")"
    awk -v s="$seconds" -v m="$most" 'BEGIN { exit !(s <= m) }' || fail "$what: took $seconds s, more than $most"
    cat "$work/took.log" >>"$work/shown.txt"
    echo "  $what: $(sed -n 's/^error: \([a-zA-Z]*\):.*/\1/p' "$work/took.log") after $seconds s"
}
took "another cluster's key" authenticationFailed 15 \
    pool add x "$(about one url)?deadline=5" --secret-file "$(about two keyFile)"
took "a user that does not exist" "authenticationFailed|permissionDenied" 15 \
    pool add x "rbd://nobody@$v2/cloudstack?deadline=5" "${secret[@]}"
took "a pool that does not exist" notFound 15 \
    pool add x "rbd://cloudstack@$v2/missing?deadline=5" "${secret[@]}"
took "no monitor there" "timedOut|connectionLost" 15 \
    pool add x "rbd://cloudstack@127.0.0.9:${v2##*:}/cloudstack?deadline=4" "${secret[@]}"
took "a name that is not known" "timedOut|connectionLost|notFound|invalidArgument" 15 \
    pool add x "rbd://cloudstack@no-such-host.invalid/cloudstack?deadline=4" "${secret[@]}"
daemons two pause mon.a
took "a monitor that hangs" timedOut 15 \
    pool add x "$(about two url)?deadline=4" --secret-file "$(about two keyFile)"
started=$SECONDS
sluice volume info a/v >/dev/null
[ $((SECONDS - started)) -le 4 ] || fail "the other cluster was delayed"
daemons two resume mon.a
for cluster in one two; do
    ! grep -q -F -e "$(key "$cluster")" -e "$(key "$cluster" | tr '+/' '-_')" "$work/shown.txt" || fail "a key shows"
done
[ "$(sluice --json pool list | jq '.pools | length')" -eq 2 ] || fail "what failed was registered"

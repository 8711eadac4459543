# shellcheck shell=bash
# Clusters for the scripts. Source it after lib.sh; the clusters of a script end with it.

# start_cluster NAME [OPTION…]: a cluster in $work/NAME, as Fixtures/ceph makes it.
start_cluster() {
    local name=$1
    shift
    setpriv --pdeathsig TERM "$root/Fixtures/ceph" start "$work/$name" "$@" >"$work/$name.json" 2>"$work/$name.log" &
    children+=("$!")
    wait_until 120 cluster_settled "$!" "$name" || true
    [ -s "$work/$name.json" ] || fail "the cluster $name does not start"
}
cluster_settled() { [ -s "$work/$2.json" ] || ended "$1"; }
# about NAME KEY: what Fixtures/ceph says of a cluster: url keyFile confPath monHost …
about() { jq --raw-output --exit-status ".$2" "$work/$1.json"; }
# daemons NAME kill|pause|resume|restart DAEMON…
daemons() {
    local name=$1 action=$2
    shift 2
    "$root/Fixtures/ceph" "$action" "$work/$name" "$@"
}
# settled NAME: waits until every placement group is active and clean.
settled() { "$root/Fixtures/ceph" wait "$work/$1"; }
# As an administrator, who sees what the product must not need to see.
admin_rbd() { rbd --conf "$(about "$1" confPath)" --pool cloudstack "${@:2}"; }
admin_rados() { rados --conf "$(about "$1" confPath)" --pool cloudstack "${@:2}"; }
# remains NAME: the objects of images; none when every image is gone, with what was half made of it.
remains() { admin_rados "$1" ls | grep -E '^rbd_(data|header|id|object_map)\.' || true; }
nothing_remains() { [ -z "$(remains "$1")" ]; }
admin_ceph() { ceph --conf "$(about "$1" confPath)" "${@:2}"; }
# add_pool POOL CLUSTER [PARAMETERS]: registers the cluster's pool with its restricted key.
add_pool() {
    sluice pool add "$1" "$(about "$2" url)${3:+?$3}" --secret-file "$(about "$2" keyFile)"
}

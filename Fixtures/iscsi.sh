# shellcheck shell=bash
# iSCSI targets for the scripts. Source it after lib.sh; the targets of a script end with it.

# start_target NAME: a tgtd without any unit in $work/NAME. Later commands find it as tgtadm would.
start_target() {
    setpriv --pdeathsig TERM "$root/Fixtures/iscsi" start "$work/$1" --luns 0 >"$work/$1.json" 2>"$work/$1.log" &
    children+=("$!")
    wait_until 60 target_settled "$!" "$1" || true
    [ -s "$work/$1.json" ] || fail "the target $1 does not start"
    export TGT_IPC_SOCKET=$work/$1/tgtd
}
target_settled() { [ -s "$work/$2.json" ] || ended "$1"; }
# target NAME kill|pause|resume|restart
target() { "$root/Fixtures/iscsi" "$2" "$work/$1"; }
# target_url NAME [HOST]: the URL of a pool on the target, for a host of that name.
target_url() {
    mkdir -p "$work/$1-units"
    echo "tgt://$(jq --raw-output '.portals[0]' "$work/$1.json")?directory=$work/$1-units" \
        | sed "s/\$/\&initiator=iqn.2026-01.org.example:${2:-host}/"
}
# serves NAME: the names of the targets that its daemon serves.
serves() { tgtadm --lld iscsi --mode target --op show | sed -n 's/^Target [0-9]*: //p' | grep -v demo.volume || true; }
# units NAME: the files of its units and of their snapshots.
units() { find "$work/$1-units" -name '*.img'; }

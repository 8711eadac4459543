# shellcheck shell=bash
# iSCSI targets for the scripts. Source it after lib.sh; the targets of a script end with it.

# start_target NAME [OPTION…]: a tgtd without any unit in $work/NAME. Later commands find it as tgtadm would.
start_target() {
    local name=$1
    shift
    setpriv --pdeathsig TERM "$root/Fixtures/iscsi" start "$work/$name" --luns 0 "$@" >"$work/$name.json" \
        2>"$work/$name.log" &
    children+=("$!")
    wait_until 60 target_settled "$!" "$name" || true
    [ -s "$work/$name.json" ] || fail "the target $name does not start"
    export TGT_IPC_SOCKET=$work/$name/tgtd
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
# start_array NAME TARGET: a simulated Element cluster whose volumes are units of the target; its URL is in $array_url, its
# administrator's password in $work/NAME/password.
start_array() {
    local directory=$work/$1 portal
    find_simulator
    mkdir "$directory" "$directory/state"
    (umask 077 && openssl rand -hex 12 >"$directory/password")
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$directory/key.pem" -out "$directory/cert.pem" -days 30 \
        -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>"$work/openssl.txt"
    "$simulator_binary" --directory "$directory/state" --https 127.0.0.1:0 --certificate "$directory/cert.pem" \
        --key "$directory/key.pem" --password-file "$directory/password" --tgt "$work/$2/tgtd.0" --clone-seconds 0.2 \
        >"$directory/addresses" 2>"$work/$1.log" &
    children+=("$!")
    wait_until 30 test -s "$directory/addresses" || fail "the simulator $1 does not start"
    portal=$(jq --raw-output '.portals | join(",")' "$work/$2.json")
    array_url=$(sed -n 's|^https://\([^/]*\)/.*|element://\1|p' "$directory/addresses" | head -n 1)
    array_url+="?user=admin&svip=$portal&ca=$directory/cert.pem&initiator=iqn.2026-01.org.example:host"
}
# start_pools TARGET ARRAY: both, with a pool t of the target's units and a pool e of the array's volumes.
start_pools() {
    start_target "$1"
    start_array "$2" "$1"
    sluice pool add t "$(target_url "$1")" >/dev/null
    sluice pool add e "$array_url" --secret-file "$work/$2/password" >/dev/null
}
# The simulator is built beside `sluice`, or where it is not, for the scripts' configuration.
find_simulator() {
    simulator_binary=$(dirname "$sluice_binary")/element-simulator
    [ ! -x "$simulator_binary" ] || return 0
    swift build --package-path "$root" -c "$configuration" --product element-simulator >"$work/simulator-build.log" 2>&1
    simulator_binary=$root/.build/$configuration/element-simulator
}
# ask_array NAME METHOD [PARAMETERS]: the result that the array gives its administrator.
ask_array() {
    local answer
    answer=$(printf 'user = "admin:%s"\n' "$(cat "$work/$1/password")" |
        curl --silent --show-error --max-time 30 --config - --cacert "$work/$1/cert.pem" \
            --data "{\"method\":\"$2\",\"params\":${3:-{\}},\"id\":1}" "$(head -n 1 "$work/$1/addresses")12.3/")
    jq --exit-status .result <<<"$answer" || fail "$2: $answer"
}
# serves NAME: the names of the targets that its daemon serves.
serves() { tgtadm --lld iscsi --mode target --op show | sed -n 's/^Target [0-9]*: //p' | grep -v demo.volume || true; }
# units: the files of units and of their snapshots.
units() { find "$work" -name '*.img'; }

#!/usr/bin/env bash
# Portals that fall silent, as behind a switch that died: what is on its way is done by the other portal, without an error,
# and again the other way round. And sessions come back while nobody answers at the array's management address.
set -euo pipefail
# A network of its own, whose packets can be dropped.
if [ -z "${SLUICE_OWN_NETWORK:-}" ]; then
    # Not in a container that may do nothing of the kind.
    if ! unshare --net nft list tables >/dev/null 2>&1; then
        echo "  not shown: this user can drop no packets"
        exit 0
    fi
    exec env SLUICE_OWN_NETWORK=1 unshare --net "$0"
fi
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

ip link set lo up
nft add table ip portals
nft add chain ip portals input '{ type filter hook input priority 0; }'
start_target tgt --portals 2
mapfile -t ports < <(jq --raw-output '.portals[] | sub(".*:"; "")' "$work/tgt.json")
start_array array tgt
simulator=${children[-1]}
sluice pool add e "$array_url&deadline=24" --secret-file "$work/array/password" >/dev/null
# cut PORT: nothing comes from it or gets to it any more. heal: all of them work again.
cut() {
    nft add rule ip portals input tcp sport "$1" drop
    nft add rule ip portals input tcp dport "$1" drop
}
heal() { nft flush chain ip portals input; }

sluice volume create e/v --size 1000341504 >/dev/null
serve e/v "$work/v.sock"
exporter=$served
verifier=$root/Fixtures/nbd-verifier
"$verifier" new --size $((64 << 20)) --state "$work/state"
"$verifier" load --uri "$(uri "$work/v.sock")" --state "$work/state" --seed $((RANDOM + 1)) --depth 8 --seconds 300 \
    --until "$work/enough" --progress "$work/progress" >"$work/load.log" 2>&1 &
load=$!
children+=("$load")
acknowledged() { cat "$work/progress" 2>/dev/null || echo 0; }
goes_on() { [ "$(acknowledged)" -gt "$1" ]; }
# by PORT: a session by that portal.
by() { ss --no-header --tcp --numeric state established "dport = :$1" | grep --quiet .; }
wait_until 20 goes_on 20 || fail "the load does not begin"
by "${ports[0]}" || fail "there is no session by the first portal"
took=()
for turn in 0 1 0; do
    started=$EPOCHREALTIME
    cut "${ports[turn]}"
    wait_until 30 by "${ports[1 - turn]}" || fail "no session by the other portal"
    wait_until 20 goes_on "$(($(acknowledged) + 20))" || fail "the load does not go on by the other portal"
    took+=("$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')")
    heal
done
echo "  a portal that falls silent under load, three times: by the other after ${took[*]} s, within a deadline of 24 s"

# The management address goes away, and then all connections do.
{ kill -KILL "$simulator" && wait "$simulator"; } 2>/dev/null || true
for port in "${ports[@]}"; do
    nft add rule ip portals input tcp dport "$port" reject with tcp reset
done
sleep 1
heal
wait_until 20 goes_on "$(($(acknowledged) + 20))" || fail "the session does not come back without the array's API"
touch "$work/enough"
wait "$load" || fail "an error reached the client"
"$verifier" verify --uri "$(uri "$work/v.sock")" --state "$work/state" >"$work/verify.log" 2>&1 ||
    fail "an acknowledged write is lost"
kill -TERM "$exporter"
wait_until 30 ended "$exporter" || fail "the export does not end"
echo "  connections lost while the array's management is away: they come back; no error," \
    "$(awk '{ print $1 }' "$work/load.log") acknowledged writes verified"

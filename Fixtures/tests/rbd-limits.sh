#!/usr/bin/env bash
# librbd holds an attached image to its policy, a change takes effect while it is attached, and the host's caches are
# counted and capped: a volume beyond the cap is served without one, and says so.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$root/Fixtures/ceph.sh"

start_cluster one
add_pool p one
for volume in a b c; do sluice volume create p/$volume --size 64M; done

# rate: the IOPS of 4 KiB writes through the export, over three seconds.
rate() {
    fio --name=rate --ioengine=nbd --uri="$(uri "$work/a.sock")" --rw=randwrite --bs=4k --iodepth=16 --size=64M \
        --runtime=3 --time_based --output-format=json --output="$work/fio.json" >"$work/fio.log" 2>&1
    jq '.jobs[0].write.iops | floor' "$work/fio.json"
}
# between VALUE LOW HIGH
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }

sluice volume set-qos p/a --max-iops 100
[ "$(sluice --json volume info p/a | jq -r '.qos | "\(.enforcedBy) \(.minimum)"')" = "librbd admissionOnly" ] ||
    fail "who enforces: $(sluice --json volume info p/a)"
serve p/a "$work/a.sock" --cache-limit 64M
first=$(rate)
between "$first" 60 140 || fail "limited to 100 IOPS, it has $first"
sluice volume set-qos p/a --max-iops 40
second=$(rate)
between "$second" 20 60 || fail "limited to 40 IOPS while it is attached, it has $second"
sluice volume set-qos p/a --max-iops 0
third=$(rate)
[ "$third" -gt 140 ] || fail "without a limit, it has $third IOPS"
echo "  100 IOPS asked for: $first; changed live to 40: $second; without a limit: $third"
if sluice serve p/b --socket "$work/b.sock" --enforce hypervisor >"$work/out" 2>&1; then
    fail "two layers limit a volume"
fi
grep -q '^error: notSupported: ' "$work/out" || fail "$(cat "$work/out")"
echo "  a second layer is refused"

# 32 MiB each by default: two fit under 64 MiB.
serve p/b "$work/b.sock" --cache-limit 64M
serve p/c "$work/c.sock" --cache-limit 64M
caches=$(sluice --json serve --list | jq -c '[.cacheBytes, (.exports | map(.cacheBytes))]')
[ "$caches" = "[67108864,[33554432,33554432,0]]" ] || fail "the caches are $caches"
sluice volume info p/c | grep -q '^cache .*none: ' || fail "volume info: $(sluice volume info p/c)"
grep -q 'attached without a cache: those of this host take 67108864 of 67108864 bytes' "$work/serve.log" ||
    fail "nothing is logged of it"
echo "  three volumes under a cap of 64 MiB: 32 MiB, 32 MiB and no cache, shown and logged"

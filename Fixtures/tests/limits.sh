#!/usr/bin/env bash
# Sluice holds a served volume to its policy, a change takes effect while requests wait, `volume info` and the metrics say
# what was held up, and the hypervisor is told of no limits then.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

mkdir "$work/pool"
sluice pool add p "dir://$work/pool"
sluice volume create p/v --size 64M --max-iops 200 >/dev/null
serve p/v "$work/v.sock" --metrics 127.0.0.1:0

# rate: the IOPS of 4 KiB writes through the export, over three seconds.
rate() {
    fio --name=rate --ioengine=nbd --uri="$(uri "$work/v.sock")" --rw=randwrite --bs=4k --iodepth=16 --size=64M \
        --runtime=3 --time_based --output-format=json --output="$work/fio.json" >"$work/fio.log" 2>&1
    jq '.jobs[0].write.iops | floor' "$work/fio.json"
}
# between VALUE LOW HIGH
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }

# A pause before lets a volume make up for a request of 1 MiB: 150 operations, 50 a second over three.
first=$(rate)
between "$first" 140 260 || fail "limited to 200 IOPS, it has $first"
sluice volume set-qos p/v --max-iops 60
second=$(rate)
between "$second" 40 120 || fail "limited to 60 IOPS while it is served, it has $second"
counters=$(sluice --json volume info p/v)
[ "$(jq -r .qos.enforcedBy <<<"$counters")" = sluice ] || fail "who enforces: $counters"
jq --exit-status '.throttle | .throttledRequests > 300 and .normalisedOperations >= .throttledRequests and
    .waitMicrosecondsPercentiles["50"] > 1000 and .limitedMilliseconds > 3000' <<<"$counters" >/dev/null ||
    fail "the counters are $(jq -c .throttle <<<"$counters")"
place=$(sed -nE 's/.*metrics on tcp:(.*)$/\1/p' "$work/serve.log" | tail -n 1)
curl --silent --fail --max-time 10 "http://$place/metrics" >"$work/metrics.txt"
metric=$(sed -n 's/^sluice_volume_throttled_requests_total{volume="p\/v"} //p' "$work/metrics.txt")
[ "$metric" = "$(jq .throttle.throttledRequests <<<"$counters")" ] || fail "the metrics say $metric: $counters"
sluice volume set-qos p/v --max-iops 0
third=$(rate)
[ "$third" -gt 300 ] || fail "without a limit, it has $third IOPS"
echo "  200 IOPS asked for: $first; changed live to 60: $second; without a limit: $third"
echo "  $metric requests waited, half of them up to $(jq '.throttle.waitMicrosecondsPercentiles["50"]' <<<"$counters") µs"
stop "$served"

# What a hypervisor cannot do as the policy says, it is told to do nearly, and that is said.
sluice volume set-qos p/v --min-iops 50 --max-iops 500 --burst-iops 1500
differences=$(sluice --json volume xml p/v | jq '.differences | length')
[ "$differences" -ge 2 ] || fail "of what libvirt does otherwise, $differences are said"
echo "  left to libvirt, $differences things are otherwise, and said"

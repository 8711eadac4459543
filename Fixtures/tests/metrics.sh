#!/usr/bin/env bash
# What `serve --metrics` says is what fio did, in a text that Prometheus itself parses and finds nothing to object to.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

mkdir "$work/pool"
sluice pool add p "dir://$work/pool"
sluice volume create p/vm --size 256M >/dev/null

# served VOLUME SOCKET: the export, and where its metrics are.
serve p/vm "$work/vm.sock" --metrics 127.0.0.1:0
place=$(sed -nE 's/.*metrics on tcp:(.*)$/\1/p' "$work/serve.log" | tail -n 1)
[ -n "$place" ] || fail "serve does not say where the metrics are"
scrape() { curl --silent --show-error --fail --max-time 10 "http://$place/metrics" >"$1"; }
# value FILE NAME [LABEL=VALUE…]: the one series with that name and those labels.
value() {
    local file=$1 pattern=$2 label
    shift 2
    for label in "$@"; do pattern+=".*[{,]${label%%=*}=\"${label#*=}\""; done
    grep -E "^${pattern}[,}]" "$file" | sed 's/.* //'
}

scrape "$work/idle.txt"
promtool check metrics <"$work/idle.txt" >"$work/promtool.log" 2>&1 || fail "promtool objects to the idle metrics"

load() {
    local name=$1
    shift
    fio --name="$name" --ioengine=nbd --uri="$(uri "$work/vm.sock")" --size=256M --iodepth=16 --randrepeat=1 \
        --output-format=json --output="$work/$name.json" "$@"
}
load fill --rw=write --bs=64k
load mixed --rw=randrw --rwmixread=70 --bs=4k --number_ios=60000 --norandommap=1 --time_based=0 --io_size=256M &
fio=$!
children+=("$fio")
deepest=0
while kill -0 "$fio" 2>/dev/null; do
    scrape "$work/busy.txt"
    depth=$(value "$work/busy.txt" sluice_volume_queue_depth volume=p/vm)
    [ "$depth" -le "$deepest" ] || deepest=$depth
    [ "$(value "$work/busy.txt" sluice_export_clients volume=p/vm)" -le 2 ] || fail "more clients than there are"
done
wait "$fio"
children=("${children[@]:0:1}")
scrape "$work/metrics.txt"
promtool check metrics <"$work/metrics.txt" >"$work/promtool.log" 2>&1 || fail "promtool objects to the metrics"

# did FILTER: the sum over both fio runs.
did() { jq -s "[.[].jobs[0] | $1] | add" "$work/fill.json" "$work/mixed.json"; }
for direction in read write; do
    for pair in operation_seconds_count:total_ios bytes_total:io_bytes; do
        metric=$(value "$work/metrics.txt" "sluice_volume_${pair%%:*}" volume=p/vm "operation=$direction")
        expected=$(did ".$direction.${pair#*:}")
        [ "$metric" = "$expected" ] || fail "$direction ${pair%%:*} is $metric, and fio did $expected"
    done
done
[ "$deepest" -ge 1 ] || fail "no request was ever in flight"
[ "$(value "$work/metrics.txt" sluice_volume_queue_depth volume=p/vm)" = 0 ] || fail "requests are in flight at rest"
count=$(value "$work/metrics.txt" sluice_volume_operation_seconds_count volume=p/vm operation=write)
infinite=$(value "$work/metrics.txt" sluice_volume_operation_seconds_bucket volume=p/vm operation=write 'le=\+Inf')
[ "$count" = "$infinite" ] || fail "the histogram's buckets hold $infinite of $count writes"
hits=$(value "$work/metrics.txt" sluice_volume_cache_lookups_total volume=p/vm result=hit)
misses=$(value "$work/metrics.txt" sluice_volume_cache_lookups_total volume=p/vm result=miss)
[ "$hits" -gt "$misses" ] || fail "the cache has $hits hits and $misses misses"
# The mean that the histogram gives and the one that fio saw, which has the way through the socket in it as well.
seconds=$(value "$work/metrics.txt" sluice_volume_operation_seconds_sum volume=p/vm operation=read)
reads=$(value "$work/metrics.txt" sluice_volume_operation_seconds_count volume=p/vm operation=read)
mean=$(awk -v sum="$seconds" -v count="$reads" 'BEGIN { printf "%.1f", sum / count * 1e6 }')
client=$(jq '.jobs[0].read.clat_ns.mean / 1000 | floor' "$work/mixed.json")
awk -v own="$mean" -v all="$client" 'BEGIN { exit !(own > 0 && own <= all) }' ||
    fail "reads take $mean µs on average, and $client µs for the client"
echo "  $reads reads and $count writes: requests and bytes as fio counted them; at most $deepest in flight"
echo "  reads: $mean µs on average inside, $client µs for fio; cache: $hits hits, $misses misses"
echo "  promtool check metrics: $(grep -vc '^#' "$work/metrics.txt") lines, no objection"

# Only what it is for, and only this host.
status() { curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' "$@"; }
[ "$(status "http://$place/")" = 404 ] || fail "another path is not 404"
[ "$(status --request POST --data x "http://$place/metrics")" = 405 ] || fail "POST is not refused"
[ "$(status --head "http://$place/metrics")" = 200 ] || fail "HEAD is not answered"
stop "$served"
if curl --silent --max-time 5 "http://$place/metrics" >/dev/null; then fail "metrics are served after the export"; fi
if timeout 10 "$sluice_binary" serve p/vm --socket "$work/vm.sock" --metrics 0.0.0.0:0 >"$work/insecure.log" 2>&1; then
    fail "metrics beyond loopback without --insecure"
fi
grep -q '^error: permissionDenied' "$work/insecure.log" || fail "refused, but otherwise: $(cat "$work/insecure.log")"
echo "  loopback only, GET and HEAD of /metrics only, gone with the export"

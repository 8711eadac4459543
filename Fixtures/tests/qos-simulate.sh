#!/usr/bin/env bash
# Every scenario in Fixtures/scenarios comes to the figures that it tells of, and to the same bytes when it is run again;
# the plots in its page show them, in a browser, on light and dark screens; and what is wrong with a scenario or a trace is
# said with the line and the key.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

scenarios=("$root"/Fixtures/scenarios/*.yaml)
simulate() {
    local copy=$1 name
    for name in "${scenarios[@]}"; do
        name=$(basename "$name" .yaml)
        "$sluice_binary" --json qos simulate "$root/Fixtures/scenarios/$name.yaml" --output "$work/$copy/$name" \
            >"$work/$copy-$name.json" 2>>"$work/$copy.log" || {
            jq -r '.checks[] | select(.passed | not)' "$work/$copy-$name.json" >>"$work/$copy.log" || true
            echo "$name fails" >>"$work/$copy.log"
            return 1
        }
    done
}
simulate first & first=$!
simulate second || fail "a scenario fails: $(tail -n 20 "$work/second.log")"
wait "$first" || fail "a scenario fails: $(tail -n 20 "$work/first.log")"
diff --recursive --brief "$work/first" "$work/second" >"$work/diff.log" || fail "two runs differ: $(cat "$work/diff.log")"
[ ! -e "$SLUICE_HOME" ] || fail "a simulation made a home"
checks=$(jq --slurp '[.[].checks[]] | length' "$work"/first-*.json)
echo "  ${#scenarios[@]} scenarios: $checks checks passed; twice the same bytes"

# Another seed gives other bytes where something is left to chance.
sluice qos simulate "$root/Fixtures/scenarios/replicated-writes.yaml" --output "$work/seed" --seed 5 >"$work/seed.txt"
if cmp --silent "$work/seed/report.json" "$work/first/replicated-writes/report.json"; then fail "the seed changes nothing"; fi
grep --quiet '^11 checks passed, 0 failed' "$work/seed.txt" || fail "the table does not say that all is well"

# A check that fails, and a report all the same.
sed 's/about: 150k/about: 170k/' "$root/Fixtures/scenarios/spare-capacity.yaml" >"$work/failing.yaml"
status=0
sluice qos simulate "$work/failing.yaml" --output "$work/failing" >"$work/failing.txt" || status=$?
[ "$status" -eq 1 ] || fail "a failed check exits with $status"
grep --quiet 'FAILED' "$work/failing.txt" || fail "the failed check is not named"
[ -s "$work/failing/report.html" ] || fail "a failed check leaves no report"

# --- What is wrong is said.
# refuse PATTERN: the scenario on standard input.
refuse() {
    cat >"$work/wrong.yaml"
    if sluice qos simulate "$work/wrong.yaml" --output "$work/wrong" >"$work/out.txt" 2>"$work/error.txt"; then
        fail "taken although it is wrong: $1"
    fi
    [ "$(wc -l <"$work/error.txt")" -eq 1 ] || fail "not one line: $(cat "$work/error.txt")"
    grep --quiet --extended-regexp "^error: invalidArgument: .*$1" "$work/error.txt" ||
        fail "no /$1/ in: $(cat "$work/error.txt")"
    wrong=$((wrong + 1))
}
wrong=0
# with LINE…: a scenario with the lines in place of its workload, which begins in line 7.
with() {
    printf '%s\n' 'name: x' 'duration: 10s' 'cluster: {nodes: [{name: n, iops: 1k}]}' 'volumes:' '  - name: v' \
        '    policy: {minimum: 10}' "$@"
}
refuse "wrong.yaml:7, volumes\[0\].workload.dept: .*did you mean 'depth'" < <(with '    workload: {kind: closed, dept: 4}')
refuse "wrong.yaml:8, volumes\[0\].workload.kind: .*did you mean 'closed'" < <(with '    workload:' '      kind: cosed')
refuse "wrong.yaml:8, volumes\[0\].workload: the key 'rate' is missing" < <(with '    workload:' '      kind: poisson')
refuse "wrong.yaml:8, volumes\[0\].polcy: .*did you mean 'policy'" < <(with '    workload: {kind: closed}' '    polcy: x')
refuse "wrong.yaml:7, volumes\[0\].workload.size: '4q' is not a size" < <(with '    workload: {kind: closed, size: 4q}')
refuse "wrong.yaml:8, window: '5' is not a time" < <(with '    workload: {kind: closed}' 'window: 5')
refuse "wrong.yaml:8, events\[0\].lose: there is no node 'm'" < <(with '    workload: {kind: closed}' 'events: [{at: 1s, lose: m}]')
refuse "wrong.yaml:9, checks\[0\]: there is no volume 'w'; did you mean 'v'" < <(with '    workload: {kind: closed}' 'checks:' '  - {metric: iops, volume: w, at-least: 1}')
refuse "wrong.yaml:9, .*after the end" < <(with '    workload: {kind: closed}' 'checks:' '  - {metric: iops, during: 20s..30s, at-least: 1}')
refuse "wrong.yaml:[0-9]+, .*twice" < <(with '    workload: {kind: closed}' 'seed: 1' 'seed: 2')
refuse "wrong.yaml:[0-9]+, this is not YAML" < <(with '    workload: {kind: closed')
refuse "wrong.yaml:7, anchors and aliases" < <(with '    workload: &w {kind: closed}')
refuse "wrong.yaml:7, volumes\[0\].workload.file: there is no file" < <(with '    workload: {kind: trace, format: msr, file: none.csv}')
refuse 'wrong.yaml:1, the file is empty' < <(printf '')
refuse 'wrong.yaml:1, ' < <(head -c 100000 /dev/zero | tr '\0' '[')
# Lines of traces.
printf '%s\n' '1 0 0 8 1' '2 0 0 8 7' >"$work/bad.trace"
refuse "bad.trace:2, '7' is neither" < <(with '    workload: {kind: trace, format: mqsim, file: bad.trace}')
printf '%s\n' '419,R,0,4096,10' '419,R,0,99999999999999999999,11' >"$work/bad.trace"
refuse 'bad.trace:2, the length is .*64 bits' < <(with '    workload: {kind: trace, format: alibaba, file: bad.trace}')
echo "  $wrong wrong files, each refused with file, line and key"

# --- The pages in a browser. A script that is added to a copy reads the plots back from what is drawn.
read -r -d '' probe <<'E2' || true
<script>addEventListener("load", () => {
    const figures = [...document.querySelectorAll("figure.plot")].map(figure => {
        const svg = figure.querySelector("svg"), data = Object.fromEntries(
            Object.entries(svg.dataset).map(([key, value]) => [key, Number(value)]));
        const lines = [...svg.querySelectorAll("path")].map(path => {
            const points = [], count = path.getTotalLength() > 0 ? 1200 : 0;
            for (let index = 0; index <= count && count; index++) {
                const point = path.getPointAtLength(path.getTotalLength() * index / count);
                points.push([(point.x - data.left) / (data.right - data.left) * data.end,
                    data.low + (data.bottom - point.y) / (data.bottom - data.top) * (data.high - data.low)]);
            }
            return {name: path.dataset.name, limit: path.classList.contains("limit"), points,
                visible: path.getBoundingClientRect().width > 100 && getComputedStyle(path).stroke != "none"};
        });
        return {id: figure.id, low: data.low, high: data.high, lines};
    });
    const result = {figures, resources: performance.getEntriesByType("resource").length,
        colors: [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]};
    const out = document.createElement("pre");
    out.id = "probe";
    out.textContent = encodeURIComponent(JSON.stringify(result));
    document.body.append(out);
});</script>
E2
# look NAME FLAG…: opens a page and leaves what its plots show in $work/NAME.plots.
look() {
    local name=$1
    shift
    { cat "$work/first/$name/report.html"; echo "$probe"; } >"$work/page.html"
    timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-extensions \
        --user-data-dir="$work/chromium" --enable-logging=stderr --dump-dom "$@" "file://$work/page.html" \
        >"$work/dom.html" 2>"$work/chromium.txt" </dev/null || fail "Chromium fails: $(tail -n 5 "$work/chromium.txt")"
    if grep 'CONSOLE' "$work/chromium.txt"; then fail "the page of $name complains"; fi
    sed -n 's/.*<pre id="probe">\(.*\)<\/pre>.*/\1/p' "$work/dom.html" |
        /usr/bin/python3 -c 'import sys, urllib.parse; print(urllib.parse.unquote(sys.stdin.read()))' >"$work/$name.plots"
    jq --exit-status '.resources == 0 and (.figures | length > 0)' "$work/$name.plots" >/dev/null ||
        fail "the page of $name has no plots, or loads something"
}
plots=0
for scenario in "${scenarios[@]}"; do
    name=$(basename "$scenario" .yaml)
    look "$name"
    report=$work/first/$name/report.json
    # Six plots a run, and in the first of them a line for each volume or group that is plotted.
    jq --exit-status --slurpfile report "$report" '
        (.figures | length) == ($report[0].runs | length) * 6 and
        ([.figures[] | select(.id | endswith("-iops")) | .lines | map(select(.limit | not)) | length] ==
            [$report[0].runs[].series | [length, 8] | min]) and
        ([.figures[] | select(.id | endswith("-iops")) | .lines[] | .visible] | all)' "$work/$name.plots" >/dev/null ||
        fail "the plots of $name are not all there"
    plots=$((plots + $(jq '.figures | length' "$work/$name.plots")))
done
shown=0
missing=()
# shows NAME PLOT LINE X LOW HIGH: the line of the plot is in between at X.
shows() {
    jq --exit-status --arg plot "$2" --arg line "$3" --argjson x "$4" --argjson low "$5" --argjson high "$6" '
        [.figures[] | select(.id == $plot) | .lines[] | select(.name == $line) | .points |
            min_by((.[0] - $x) | fabs) | .[1]] | length == 1 and .[0] >= $low and .[0] <= $high' \
        "$work/$1.plots" >/dev/null || missing+=("$1: $3 in $2 at $4 is not from $5 to $6;")
    shown=$((shown + 1))
}
shows burst-credit run0-iops rested 30 0 10
shows burst-credit run0-credit rested 60 59 60.5
shows burst-credit run0-iops rested 90 1960 2040
shows burst-credit run0-iops rested 150 980 1020
shows burst-credit run0-credit rested 150 -0.1 1
shows node-loss run0-utilisation 'capacity for volumes' 20 99 101
shows node-loss run0-utilisation 'capacity for volumes' 70 55.5 57
shows node-loss run0-utilisation 'capacity for volumes' 150 74 76
shows node-loss run0-attainment database 70 99 106
shows node-loss run0-attainment web 70 99 106
for volumes in large middle small; do shows overload run0-attainment "$volumes" 40 65.5 68; done
shows noisy-neighbour run0-iops quiet-1 10 3000 20000
shows noisy-neighbour run0-iops quiet-1 40 100 500
shows noisy-neighbour run1-iops quiet-1 40 3900 4100
shows alternating-load run0-iops alternating 900 1440 1520
shows alternating-load run1-iops alternating 900 980 1020
shows qemu-burst run0-iops element 90 4900 5100
shows qemu-burst run0-iops qemu-60 90 9900 10100
shows qemu-burst run0-iops qemu-30 90 4900 5100
shows qemu-burst run0-iops qemu-60 150 4900 5100
shows spare-capacity run0-iops large 10 148000 152000
shows mixed-nodes run0-attainment volume 15 98.5 140
shows mixed-nodes run1-attainment volume 15 82 85
shows mixed-nodes run2-attainment volume 15 98.5 140
shows rebalancing run0-utilisation 'capacity for volumes' 200 79 81
shows rebalancing run0-utilisation 'capacity for volumes' 400 99 101
shows rebalancing run1-utilisation 'capacity for volumes' 400 79 81
shows rebalancing run1-utilisation 'capacity for volumes' 900 99 101
shows replicated-writes run0-iops one-at-a-time 30 1740 1830
shows replicated-writes run1-iops forty-at-a-time 30 1900 2100
[ ${#missing[@]} -eq 0 ] || fail "${missing[@]}"
[ "$(jq -r .colors[0] "$work/overload.plots")" = 'rgb(255, 255, 255)' ] || fail "the page is not light on a light screen"
look overload --blink-settings=preferredColorScheme=0
jq -r .colors[] "$work/overload.plots" | tr -dc '0-9\n ' |
    awk 'NR == 1 { dark = $1 + $2 + $3 < 150 } NR == 2 { light = $1 + $2 + $3 > 600 } END { exit !(dark && light) }' ||
    fail "the page is not dark on a dark screen"
echo "  $plots plots in Chromium, no complaint, nothing loaded; $shown figures read back from the lines; light and dark"

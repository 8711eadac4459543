#!/usr/bin/env bash
# With 10,000 volumes in a pool and in the catalog, every command that does not move data stays under 96 MiB of memory and
# answers in under 100 ms (the median of nine runs). What is over 100 ms is named. That is no failure, since the host of a
# virtual machine may leave it little of the processors, but fifty times as long is.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"

volumes=10000
runs=9
aim=100000
limit=5000000
memory=$((96 * 1024))

mkdir "$work/pool"
sluice pool add p "dir://$work/pool" >/dev/null
qemu-img create -q -f qcow2 "$work/template.qcow2" 1G
sluice template import p/template "$work/template.qcow2" --format qcow2 >/dev/null
sluice volume create p/volume --size 1G >/dev/null
sluice volume clone p/template p/clone >/dev/null
# As 10,000 creations and clones leave a pool and a catalog, only faster.
/usr/bin/python3 -c '
import os, sqlite3, sys
pool, home, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
declarations = os.path.join(pool, ".sluice", "volumes")
images = [open(os.path.join(pool, name), "rb").read() for name in ("volume", "clone")]
names = [f"volume{index:05}" for index in range(count)]
for index, name in enumerate(names):
    with open(os.path.join(pool, name), "wb") as file:
        file.write(images[index % 2])
    os.symlink("volume:qcow2:thin:1073741824:10,,", os.path.join(declarations, name))
catalog = sqlite3.connect(os.path.join(home, "catalog.sqlite"))
catalog.executemany(
    "INSERT INTO volume (pool, name, provisioning, tags) VALUES (?, ?, ?, ?)",
    [("p", name, "thin", "[]") for name in names])
catalog.commit()' "$work/pool" "$SLUICE_HOME" "$volumes"
sync --file-system "$work/pool"
[ "$(sluice --json volume list p | jq '.volumes | length')" -eq $((volumes + 2)) ]
[ "$(sluice --json pool info p | jq .allocatedIOPS)" -eq $((volumes * 10)) ]

# What the kernel says of a command: its time, its time on processors, and its most memory. Medians, but of memory.
cat >"$work/measure.py" <<'PYTHON'
import os, statistics, subprocess, sys, time

runs, binary, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
elapsed, busy, resident = [], [], []
for run in range(1, runs + 1):
    start = time.monotonic()
    process = subprocess.Popen(
        [binary] + [argument.replace("%", str(run)) for argument in arguments], stdout=subprocess.DEVNULL)
    status, usage = os.wait4(process.pid, 0)[1:]
    elapsed.append(time.monotonic() - start)
    busy.append(usage.ru_utime + usage.ru_stime)
    resident.append(usage.ru_maxrss)
    if status != 0:
        sys.exit(f"{arguments} fails")
print(int(statistics.median(elapsed) * 1e6), int(statistics.median(busy) * 1e6), max(resident))
PYTHON

late=()
slow=()
# measure COMMAND…: `%` in an argument is the number of the run.
measure() {
    local elapsed busy resident
    read -r elapsed busy resident < <(/usr/bin/python3 "$work/measure.py" "$runs" "$sluice_binary" "$@")
    printf '  %-52s %4d ms %4d ms on processors %3d MiB\n' \
        "$*" $((elapsed / 1000)) $((busy / 1000)) $((resident / 1024))
    [ "$elapsed" -lt "$aim" ] || late+=("$*")
    if [ "$elapsed" -ge "$limit" ] || [ "$resident" -ge "$memory" ]; then slow+=("$*"); fi
}

measure pool list
measure pool info p
measure volume list p
measure --json volume list p
measure template list p
measure volume info p/volume00500
measure volume create p/new% --size 1G
measure volume create p/lazy% --size 1G --lazy --min-iops 10
measure volume create placed% --size 1G --tags ''
measure volume clone p/template p/linked%
measure volume set-qos p/new% --min-iops 20 --max-iops 100
measure volume resize p/new% 2G
measure volume map p/volume00500
measure volume check p/volume00500
measure snapshot create p/new%@first
measure snapshot list p/new1
measure snapshot revert p/new%@first
measure snapshot delete p/new%@first
measure volume flatten p/linked%
measure volume rename p/new% renamed%
measure volume delete p/renamed%
measure volume delete p/lazy%
measure volume delete p/linked%
measure volume xml p/volume00500
measure volume qemu p/volume00501
measure serve --list
echo "  over $((aim / 1000)) ms: ${late[*]:-none}"
[ ${#slow[@]} -eq 0 ] || fail "too slow or too large: $(printf '%s; ' "${slow[@]}")"

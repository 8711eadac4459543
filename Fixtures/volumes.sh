# shellcheck shell=bash
# Pools with many volumes, and what a command takes in them. Source it after lib.sh.

# fill_pool POOL DIRECTORY COUNT: volumes of 1 GiB, as so many creations and clones of $pool/template leave a pool and a
# catalog, only faster.
fill_pool() {
    local pool=$1 directory=$2 count=$3
    sluice volume create "$pool/volume" --size 1G >/dev/null
    sluice volume clone "$pool/template" "$pool/clone" >/dev/null
    /usr/bin/python3 -c '
import os, sqlite3, sys
pool, directory, home, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
declarations = os.path.join(directory, ".sluice", "volumes")
images = [open(os.path.join(directory, name), "rb").read() for name in ("volume", "clone")]
names = [f"volume{index:05}" for index in range(count)]
for index, name in enumerate(names):
    with open(os.path.join(directory, name), "wb") as file:
        file.write(images[index % 2])
    os.symlink("volume:qcow2:thin:1073741824:10,,", os.path.join(declarations, name))
catalog = sqlite3.connect(os.path.join(home, "catalog.sqlite"))
catalog.executemany(
    "INSERT INTO volume (pool, name, provisioning, tags) VALUES (?, ?, ?, ?)",
    [(pool, name, "thin", "[]") for name in names])
catalog.commit()' "$pool" "$directory" "$SLUICE_HOME" "$count"
    sync --file-system "$directory"
}

# measure RUNS COMMAND…: how long a command takes, for how long on processors, both medians in microseconds, and its most
# memory in KiB, as the kernel counts them. `%` in an argument is the number of the run.
measure() {
    /usr/bin/python3 -c '
import os, statistics, subprocess, sys, time
runs, command = int(sys.argv[1]), sys.argv[2:]
elapsed, busy, resident = [], [], []
for run in range(1, runs + 1):
    start = time.monotonic()
    process = subprocess.Popen(
        [argument.replace("%", str(run)) for argument in command], stdout=subprocess.DEVNULL)
    status, usage = os.wait4(process.pid, 0)[1:]
    elapsed.append(time.monotonic() - start)
    busy.append(usage.ru_utime + usage.ru_stime)
    resident.append(usage.ru_maxrss)
    if status != 0:
        sys.exit(f"{command} fails")
print(int(statistics.median(elapsed) * 1e6), int(statistics.median(busy) * 1e6), max(resident))' "$@"
}

#!/usr/bin/env bash
# An OSD stops after a write that was acknowledged from librbd's cache, a flush is asked for, and the OSD is killed and
# started again: a flush that reports success has made the bytes durable. Once the OSD is back within the deadline, and
# once only after it.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../ceph.sh"

start_cluster ceph
add_pool p ceph cache-mode=writeback >/dev/null
# What the cluster holds, whatever Sluice thinks.
stored() {
    admin_rbd ceph export --no-progress "$1" - 2>/dev/null | head --bytes 4096 | xxd --plain --len 1 || true
}

# attempt VOLUME PAUSE: flushes while the OSD is stopped, kills and restarts it after PAUSE seconds; $outcome is what
# the flush said.
attempt() {
    local volume=$1 pause=$2 client
    sluice volume create "p/$volume" --size 64M >/dev/null
    serve "p/$volume" "$work/$volume.sock"
    rm -f "$work"/{written,outcome}
    /usr/bin/python3 - "$(uri "$work/$volume.sock")" "$work" <<'PYTHON' &
import os, sys, time
import nbd

handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
handle.pwrite(b"\x11" * 4096, 0)
handle.flush()  # From here on librbd's cache writes back.


def wait_for(name):
    while True:
        try:
            return open(f"{sys.argv[2]}/{name}").close()
        except FileNotFoundError:
            time.sleep(0.05)


def note(name, text):
    with open(f"{sys.argv[2]}/{name}.new", "w") as file:
        file.write(text)
    os.rename(f"{sys.argv[2]}/{name}.new", f"{sys.argv[2]}/{name}")


note("ready", "")
wait_for("paused")
try:
    handle.pwrite(b"\x22" * 4096, 0)
    note("written", "acknowledged")
except nbd.Error as error:
    note("written", f"failed: {error}")
started = time.monotonic()
try:
    handle.flush()
    note("outcome", "succeeded after %.1f s" % (time.monotonic() - started))
except nbd.Error as error:
    note("outcome", "failed after %.1f s: %s" % (time.monotonic() - started, error.string))
PYTHON
    client=$!
    children+=("$client")
    wait_until 20 test -e "$work/ready" || fail "$volume: the first write does not end"
    daemons ceph pause osd.0
    touch "$work/paused"
    wait_until 30 test -e "$work/written" || fail "$volume: a write neither succeeds nor fails"
    [ "$(cat "$work/written")" = acknowledged ] || fail "$volume: the write was not cached: $(cat "$work/written")"
    sleep "$pause"
    daemons ceph kill osd.0
    daemons ceph restart osd.0
    wait_until 60 test -e "$work/outcome" || fail "$volume: the flush neither succeeds nor fails"
    outcome=$(cat "$work/outcome")
    wait "$client"
    settled ceph
}

attempt quick 2
bytes=$(stored quick)
case $outcome in
    succeeded*) [ "$bytes" = 22 ] || fail "the flush $outcome, and the cluster holds $bytes instead of 22" ;;
    *) fail "the OSD was back inside the deadline, and the flush $outcome" ;;
esac
echo "  OSD back inside the deadline: the flush $outcome, the cluster holds $bytes"
stop "$served"

rm "$work"/{ready,paused}
export SLUICE_HOME=$work/short
add_pool p ceph "cache-mode=writeback&deadline=5" >/dev/null
attempt late 8
bytes=$(stored late)
case $outcome in
    succeeded*) [ "$bytes" = 22 ] || fail "the flush $outcome, and the cluster holds $bytes instead of 22" ;;
esac
echo "  OSD back after the deadline: the flush $outcome, the cluster then held $bytes"
case $outcome in failed*) ;; *) fail "no flush can succeed at a deadline that has passed" ;; esac

# Opened again, it takes newer bytes, and nothing old falls on them.
stop "$served" || true
serve p/late "$work/late.sock"
qemu-io -f raw -c 'write -P 0x33 0 4k' -c flush "$(uri "$work/late.sock")" >"$work/qemu-io.log"
[ "$(stored late)" = 33 ] || fail "the flush succeeded and the cluster holds $(stored late) instead of 33"
stop "$served"
[ "$(stored late)" = 33 ] || fail "an old write fell on a newer one: $(stored late)"
echo "  opened again: a newer write and its flush are there, and stay"
sluice volume delete p/quick >/dev/null
sluice volume delete p/late >/dev/null

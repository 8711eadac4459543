#!/usr/bin/env bash
# Two hosts, each a process with a name of its own as an initiator, and one unit: the second is refused and told who has it;
# when it takes the unit over, the first, which is in the middle of writing, is fenced, and nothing late of it arrives.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

start_target tgt
start_array array tgt
name=iqn.2026-01.org.example
# on HOST COMMAND…: a command of one of the two hosts.
on() {
    local host=$1
    shift
    SLUICE_HOME=$work/$host "$@"
}
for host in first second; do
    on "$host" sluice pool add t "$(target_url tgt "$host")" >/dev/null
    on "$host" sluice pool add e "${array_url/example:host/example:$host}" --secret-file "$work/array/password" >/dev/null
done
# refused HOST COMMAND…: the host is refused as busy, and told that the first one has the volume.
refused() {
    local host=$1
    shift
    if on "$host" sluice "$@" >"$work/refused.log" 2>&1; then fail "on the $host host, sluice $* succeeds"; fi
    grep --quiet "^error: busy: .*$name:first" "$work/refused.log" || fail "sluice $*: $(cat "$work/refused.log")"
}
declare -A places=([t]="a unit of tgt" [e]="an array's volume")
for pool in t e; do
    on first sluice volume create "$pool/v" --size 1000341504 >/dev/null
    on first serve "$pool/v" "$work/first.sock"
    first=$served
    qemu_io -c 'write -P 0x11 0 1M' -c flush "$(uri "$work/first.sock")" >/dev/null
    refused second serve "$pool/v" --socket "$work/second.sock"
    grep --max-count=1 '^error' "$work/refused.log" | sed 's/^error: /  refused: /'
    refused second serve "$pool/v" --socket "$work/second.sock" --read-only
    refused second bench "$pool/v" --rw randwrite --count 1
    refused second volume delete "$pool/v"
    refused second volume rename "$pool/v" w
    # The first host writes without a pause, and counts what was acknowledged.
    /usr/bin/python3 - "$(uri "$work/first.sock")" "$work/progress" >"$work/writer.log" 2>&1 <<'END' &
import nbd, sys
handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
count = 0
try:
    while True:
        handle.pwrite(b"\x22" * 4096, 4096 * (count % 256))
        count += 1
        with open(sys.argv[2], "w") as file:
            file.write(str(count))
except nbd.Error as error:
    print(f"{count} writes acknowledged, then {error}")
END
    writer=$!
    children+=("$writer")
    wait_until 20 test -s "$work/progress" || fail "the first host does not write"
    on second sluice volume break-lock "$pool/v" >/dev/null
    wait_until 20 ended "$writer" || fail "the first host goes on writing: $(cat "$work/progress") writes"
    grep --quiet 'writes acknowledged, then' "$work/writer.log" || fail "$(cat "$work/writer.log")"
    grep --quiet 'error=fenced' "$work/serve.log" || fail "the first host does not say that it is fenced"
    on second serve "$pool/v" "$work/second.sock"
    qemu_io -c 'write -P 0x33 0 1M' -c flush "$(uri "$work/second.sock")" >/dev/null
    # However often it tries.
    for _ in {1..20}; do
        if put "$(uri "$work/first.sock")" 34 >"$work/put.log" 2>&1; then fail "the first host writes again"; fi
    done
    if on first sluice volume resize "$pool/v" 2G >"$work/resize.log" 2>&1; then fail "a fenced host changes the volume"; fi
    stop "$first" || true
    qemu_io -r -c 'read -P 0x33 0 1M' "$(uri "$work/second.sock")" >"$work/io.log"
    ! grep --quiet 'verification failed' "$work/io.log" || fail "the first host's late writes fell on the second's"
    stop "$served"
    echo "  ${places[$pool]} taken over: $(sed 's/, then.*//' "$work/writer.log"), then fenced; 20 more tries fail," \
        "and the second host's bytes stay"
    on first sluice volume delete "$pool/v" >/dev/null
    : >"$work/serve.log"
    rm -f "$work/progress"
done

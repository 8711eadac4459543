# shellcheck shell=bash
# What the fixture scripts share. Source it after `set -euo pipefail`; it makes $work, a temporary directory of the
# script's own, and removes it and ends every process in $children when the script ends.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${SLUICE_FIXTURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
configuration=${SLUICE_CONFIGURATION:-debug}
sluice_binary=${SLUICE:-$root/.build/$configuration/sluice}

# Traits become options of the compiler in the order of a set: where that is another in each process, everything is
# compiled each time.
export SWIFT_DETERMINISTIC_HASHING=1

# How `make test` builds, in the package's directory. Without debug information it takes four fifths of the time.
build_options=()
[ -z "${CI:-}" ] || build_options=(-debug-info-format none)
# What it tests: optimised as for users, and what is internal is open to the suites.
test_options=("${build_options[@]}" -c release -Xswiftc -enable-testing --scratch-path .build-tests)
test_build=(swift build "${test_options[@]}")
test_programs=$root/.build-tests/release
swift_testing=("$test_programs/sluicePackageTests.xctest" --testing-library swift-testing)

work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-$(basename "$0" .sh).XXXXXX")
children=()

# The last to start ends first, since it may need the others to end well; but it ends.
end_children() {
    local index child
    for ((index = ${#children[@]} - 1; index >= 0; index--)); do
        child=${children[index]}
        kill "$child" 2>/dev/null || continue
        wait_until 15 ended "$child" || kill -KILL "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    done
    children=()
}
ended() { ! kill -0 "$1"; }

# On failure the logs' ends are shown, whatever failed.
finish() {
    local status=$? log
    trap - EXIT
    end_children
    if [ "$status" -ne 0 ]; then
        for log in "$work"/*.log; do
            [ -s "$log" ] || continue
            printf -- '--- %s\n' "$(basename "$log")" >&2
            tail -n 15 "$log" >&2
        done
        echo "$(basename "$0"): ${reason:-a command failed}" >&2
    fi
    if [ -n "${SLUICE_KEEP:-}" ]; then
        echo "Kept $work" >&2
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap finish EXIT
# A command that fails says which.
set -E
trap 'reason=${reason:-$BASH_COMMAND (line $LINENO)}' ERR
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    reason=$*
    exit 1
}

# The catalog of a script is its own, so that scripts run beside each other and beside a real host.
export SLUICE_HOME=$work/home
sluice() { "$sluice_binary" "$@"; }

# wait_until SECONDS COMMAND…: until the command succeeds.
wait_until() {
    local limit=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

# serve VOLUME SOCKET [OPTION…]: exports a volume; the process is $served, its log $work/serve.log.
serve() {
    local volume=$1 socket=$2
    shift 2
    "$sluice_binary" serve "$volume" --socket "$socket" "$@" >>"$work/serve.log" 2>&1 &
    served=$!
    children+=("$served")
    wait_until 20 answers "$served" "$socket" || fail "serve $volume does not answer"
}
answers() {
    kill -0 "$1" || exit 1
    nbdinfo --size "$(uri "$2")"
}
uri() { echo "nbd+unix:///?socket=$1"; }
qemu_io() { qemu-io -f raw "$@"; }
# put URI BYTE: writes 4 KiB at 0, and flushes nothing, which after one failed flush would fail for good.
put() {
    /usr/bin/python3 -c 'import nbd, sys
handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
handle.pwrite(bytes([int(sys.argv[2])]) * 4096, 0)' "$@"
}

# fails_within WHAT LEAST MOST COMMAND…: the command fails, after so many seconds; what it said is in $work/failed.log.
fails_within() {
    local what=$1 least=$2 most=$3 started=$EPOCHREALTIME seconds
    shift 3
    if "$@" >"$work/failed.log" 2>&1; then fail "$what succeeded"; fi
    seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    awk -v s="$seconds" -v l="$least" -v m="$most" 'BEGIN { exit !(s >= l && s <= m) }' ||
        fail "$what ended after $seconds s, not $least to $most"
    echo "  $what: failed after $seconds s"
}

# stop PID: SIGTERM, and its exit status.
stop() {
    local pid=$1 status=0 remaining=() child
    kill -TERM "$pid"
    wait "$pid" || status=$?
    for child in "${children[@]}"; do
        [ "$child" = "$pid" ] || remaining+=("$child")
    done
    children=("${remaining[@]}")
    return "$status"
}

# KVM where it works, else QEMU's own translator. Opening the device says little, since nested virtualisation may run
# the firmware and hang in the kernel: the kernel's first message shows that it works.
choose_accelerator() {
    [ -z "${SLUICE_ACCELERATOR:-}" ] || return 0
    export SLUICE_ACCELERATOR=tcg,thread=multi
    [ -w /dev/kvm ] || return 0
    qemu-system-x86_64 -accel kvm -m 128 -nodefaults -display none -no-reboot -serial "file:$work/kvm.console" \
        -kernel "$cache/vmlinuz" -append "console=ttyS0 earlyprintk=ttyS0 panic=-1" >/dev/null 2>&1 </dev/null &
    local pid=$!
    if wait_until 5 grep -q 'Linux version' "$work/kvm.console"; then
        SLUICE_ACCELERATOR=kvm
    fi
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# boot_guest LOG KERNEL-ARGUMENTS QEMU-ARGUMENT…: runs the guest until it powers off; its console goes to LOG.
boot_guest() {
    local log=$1 kernel_arguments=$2
    shift 2
    choose_accelerator
    timeout --kill-after=10 "${guest_deadline:-240}" qemu-system-x86_64 -accel "$SLUICE_ACCELERATOR" -m 512 -smp 1 \
        -nodefaults -display none -no-reboot -serial "file:$log" \
        -kernel "$cache/vmlinuz" -initrd "$cache/initrd" \
        -append "console=ttyS0 root=/dev/vda rw init=/sbin/testinit panic=1 quiet $kernel_arguments" \
        "$@" >"$log.qemu.log" 2>&1 </dev/null
}
# The guest's own lines on the console.
console() { tr -d '\r' <"$1" | grep -E '^(EARLIER-MARK|WROTE-MARK|BOOT-|LOAD-)'; }

# boot_volume LOG VOLUME KERNEL-ARGUMENTS QEMU-ARGUMENT…: boots from a volume as `sluice volume qemu` tells a hypervisor
# to.
boot_volume() {
    local log=$1 volume=$2 kernel_arguments=$3 description arguments
    shift 3
    description=$(sluice --json volume qemu "$volume")
    mapfile -t arguments < <(jq -r '.arguments[]' <<<"$description")
    boot_guest "$log" "$kernel_arguments" "${arguments[@]}" \
        -device "virtio-blk-pci,drive=$(jq -r .nodeName <<<"$description")" "$@"
}

# undisturbed WHAT FILE SECONDS: the slowest request that fio has written to the file took less than that.
undisturbed() {
    local slowest
    slowest=$(jq '[.jobs[0].read.clat_ns.max, .jobs[0].write.clat_ns.max] | max / 1e9' "$2")
    awk -v s="$slowest" -v limit="$3" 'BEGIN { exit !(s < limit) }' || fail "$1: a request took $slowest s"
    echo "  $1: no error, slowest request $(awk -v s="$slowest" 'BEGIN { printf "%.2f", s }') s"
}

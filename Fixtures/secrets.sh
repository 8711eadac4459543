# shellcheck shell=bash
# Runs commands so that everything they show is kept, in $work/seen, and looks for secrets there. Source it after
# lib.sh, and set secrets=(SECRET…).

mkdir "$work/seen"
runs=0
planted=0

# seen [ARGUMENT…]: a command whose output, log and started programs are kept, whatever its outcome. The arguments
# of the command itself are the caller's, and are left out.
seen() {
    runs=$((runs + 1))
    strace --follow-forks --seccomp-bpf -e trace=execve -s 65536 -o "$work/trace" \
        "$sluice_binary" --log-level trace "$@" >"$work/seen/$runs.out" 2>"$work/seen/$runs.err" </dev/null || true
    sed 1d "$work/trace" >"$work/seen/$runs.exec"
}
# refused CODE: the last command's error.
refused() { grep -q "^error: $1" "$work/seen/$runs.err" || fail "run $runs: $(cat "$work/seen/$runs.err")"; }

# worked: the last command did not fail. works [ARGUMENT…]: a command that does not.
worked() { ! grep -q '^error' "$work/seen/$runs.err" || fail "run $runs: $(grep '^error' "$work/seen/$runs.err")"; }
works() {
    seen "$@"
    worked
}
# served_seen [PREFIX]: what the export in $served says and shows of itself.
served_seen() {
    local place prefix=${1:-}
    place=$(sed -nE 's/.*metrics on tcp:(.*)$/\1/p' "$work/serve.log" | tail -n 1)
    curl --silent --fail "http://$place/metrics" >"$work/seen/${prefix}metrics.txt"
    tr '\0' '\n' <"/proc/$served/cmdline" >"$work/seen/${prefix}serve.cmdline"
    tr '\0' '\n' <"/proc/$served/environ" >"$work/seen/${prefix}serve.environ"
}
# qemu_seen VOLUME: QEMU opens the volume as it is told to; its arguments and output are kept.
qemu_seen() {
    local description arguments qemu
    description=$(sluice --json volume qemu "$1")
    mapfile -t arguments < <(jq -r '.arguments[]' <<<"$description")
    qemu-system-x86_64 -nodefaults -display none -S -qmp "unix:$work/qmp.sock,server=on,wait=off" "${arguments[@]}" \
        >"$work/seen/qemu.txt" 2>&1 &
    qemu=$!
    children+=("$qemu")
    wait_until 20 test -S "$work/qmp.sock" || fail "QEMU does not take the arguments: $(cat "$work/seen/qemu.txt")"
    tr '\0' '\n' <"/proc/$qemu/cmdline" >"$work/seen/qemu.cmdline"
    kill "$qemu"
    wait "$qemu" || true
}

# scan: what the kept files hold of $secrets; to standard error, how much was looked at.
scan() { "$root/Fixtures/find-secrets" "$work/seen" "${secrets[@]}"; }

# nothing_shows: the kept files hold no secret.
nothing_shows() {
    scan >"$work/found.log" 2>"$work/scanned" || fail "secrets show: $(cat "$work/found.log")"
}

# plant FILE TEXT: the scan finds what is planted.
plant() {
    printf 'before%sbehind' "$2" >>"$work/seen/$1"
    if scan >"$work/found.log" 2>/dev/null; then fail "the scan overlooks a secret that was planted in $1"; fi
    grep -q "^$1 holds secret" "$work/found.log" || fail "the scan finds it elsewhere than in $1"
    planted=$((planted + 1))
    head -c "-$((12 + $(printf '%s' "$2" | wc -c)))" "$work/seen/$1" >"$work/restored"
    cat "$work/restored" >"$work/seen/$1"
}

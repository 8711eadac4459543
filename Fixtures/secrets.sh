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

#!/usr/bin/env bash
# Every command that the capabilities of a pool allow, on units of tgt and on volumes of a simulated array: what it is to
# do is looked at, and what a pool cannot do is refused as such.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"
source "$(dirname "$0")/../web.sh"

rows=0
order=()
declare -A outcomes
# note COMMAND OUTCOME: a cell of the table at the end, for the pool $p.
note() {
    local cell="$p $1"
    rows=$((rows + 1))
    [ -n "${outcomes["t $1"]:-}${outcomes["e $1"]:-}" ] || order+=("$1")
    case " ${outcomes[$cell]:-} " in
        *" $2 "*) ;;
        *) outcomes[$cell]=${outcomes[$cell]:+${outcomes[$cell]} }$2 ;;
    esac
}
# ok COMMAND [ARGUMENT…]: it succeeds; its output is $out.
ok() {
    out=$(sluice "$@" 2>"$work/error.log") || fail "sluice $*: $(cat "$work/error.log")"
    note "$(named "$@")" ok
}
# no CODE COMMAND [ARGUMENT…]: it is refused with that code, at once.
no() {
    local code=$1
    shift
    if sluice "$@" >"$work/out.log" 2>"$work/error.log"; then fail "sluice $* succeeds"; fi
    grep --quiet "^error: $code: " "$work/error.log" || fail "sluice $*: $(cat "$work/error.log")"
    note "$(named "$@")" "$code"
}
# named COMMAND [ARGUMENT…]: the command without what stands for something else.
named() {
    local word words=()
    for word in "$@"; do
        case $word in
            --json) continue ;;
            "$p/"*@*) word=POOL/NAME@SNAPSHOT ;;
            "$p/"* | tagged | again | new) word=POOL/NAME ;;
            "$p") word=POOL ;;
            d/*) word=OTHER/NAME ;;
            d) word=OTHER ;;
            "$work/"*) word=FILE ;;
            *://*) word=URL ;;
            sha256:*) word=ALG:HEX ;;
            [0-9]*) word=N ;;
        esac
        words+=("$word")
    done
    # What only an array asks for is left out.
    local line=${words[*]}
    echo "${line/ --secret-file FILE/}"
}
# lacks CAPABILITY…: the pool says that it cannot do that.
lacks() {
    local feature
    for feature in "$@"; do
        case " $capabilities " in *" $feature "*) fail "the pool $p says that it has $feature" ;; esac
    done
}
# is FILTER: what the last command printed as JSON is so.
is() { jq --exit-status "$1" <<<"$out" >/dev/null || fail "not $1: $out"; }
info() { sluice --json volume info "$1" | jq --raw-output "$2"; }
# filled VOLUME BYTE: its first MiB holds that byte, as it is read through an export.
filled() {
    serve "$1" "$work/read.sock" --read-only
    qemu_io -r -c "read -P $2 0 1M" "$(uri "$work/read.sock")" >"$work/io.log" 2>&1 || fail "qemu-io cannot read $1"
    ! grep --quiet 'verification failed' "$work/io.log" || fail "$1 does not hold $2"
    stop "$served"
    note "serve $(named "$1") --socket FILE --read-only" ok
}
fill() { qemu_io -c "write -P $1 0 1M" -c flush "$(uri "$work/v.sock")" >"$work/io.log" || fail "cannot write $1"; }
# rate: the IOPS of 4 KiB writes through the export, over a second and a half.
rate() {
    fio --name=rate --ioengine=nbd --uri="$(uri "$work/v.sock")" --rw=randwrite --bs=4k --iodepth=16 --size=64M \
        --offset=64M --runtime=1500ms --time_based --output-format=json --output="$work/fio.json" >"$work/fio.log" 2>&1
    jq '.jobs[0].write.iops | floor' "$work/fio.json"
}
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }

head --bytes 1M /dev/zero | tr '\0' '\101' >"$work/image.raw"
truncate --size 8M "$work/image.raw"
qemu-img convert -f raw -O qcow2 "$work/image.raw" "$work/image.qcow2"
xz --keep "$work/image.raw"
make_certificates
port=$(free_ports 1)
start_nginx "server { listen 127.0.0.1:$port; root $work; }"
start_target tgt
start_array array tgt
mkdir "$work/files"
sluice pool add d "dir://$work/files" >/dev/null

# commands POOL URL SIZE IOPS BYTES [OPTION…]: all of them, on volumes of that size; others' volumes there count as so much.
commands() {
    local url=$2 size=$3 counted=".allocatedIOPS == $4 and .provisionedBytes == $5"
    p=$1
    shift 5
    ok pool add "$p" "$url" --tag fast --tag chosen --capacity-iops 10000 "$@"
    ok pool add "$p" "$url" --tag fast --tag chosen --capacity-iops 10000 "$@"
    no alreadyExists pool add "$p" "$url" "$@"
    ok --json pool list
    ok --json pool info "$p"
    is ".health == \"healthy\" and .capacityIOPS == 10000 and $counted"
    capabilities=$(jq --raw-output '[.capabilities[].name] | join(" ")' <<<"$out")

    ok --json template import "$p/image" "$work/image.raw" --format raw \
        --checksum "sha256:$(sha256sum "$work/image.raw" | cut -d ' ' -f 1)"
    ok --json template import "$p/packed" "$work/image.raw.xz" --format raw
    ok --json template import "$p/cow" "file://$work/image.qcow2" --format qcow2
    ok --json template import "$p/web" "http://127.0.0.1:$port/image.raw" --format raw
    ok --json template list "$p"
    is '[.volumes[].name] | sort == ["cow", "image", "packed", "web"]'
    ok template delete "$p/web"
    ok template delete "$p/packed"
    ok template delete "$p/packed"

    ok --json volume create "$p/v" --size "$size" --min-iops 100 --max-iops 1000 --burst-iops 2000
    is ".virtualSize >= $size and .qos.minIOPS == 100 and .qos.maxIOPS == 1000 and .qos.burstIOPS == 2000"
    ok --json volume create "$p/v" --size "$size" --min-iops 100 --max-iops 1000 --burst-iops 2000
    no alreadyExists volume create "$p/v" --size "$((size * 2))"
    ok --json volume create "$p/qcow" --size "$size" --format qcow2 --provisioning sparse
    is '.format == "qcow2" and .provisioning == "sparse"'
    ok volume create "$p/small" --size 1M
    # What it has got, which an array rounds up.
    [[ $out == *"created $p/small, $(if [ "$p" = e ]; then echo 954.0; else echo 1.0; fi) MiB"* ]] || fail "$out"
    ok volume delete "$p/small"
    ok --json volume create "$p/fat" --size "$size" --provisioning fat
    is ".provisioning == \"fat\" and .allocatedSize >= $size"
    ok volume delete "$p/fat"
    ok --json volume create "$p/later" --size "$size" --lazy
    ok --json volume create tagged --size "$size" --tags fast,chosen
    is ".pool == \"$p\""
    no notFound volume create tagged --size "$size" --tags nothing
    no invalidArgument volume create "$p/bad" --size "$size" --min-iops 500 --max-iops 200
    no quotaExceeded volume create "$p/bad" --size "$size" --min-iops 10001 --max-iops 12000
    ok --json volume list "$p"
    is '[.volumes[] | select(.managed).name] | sort == ["later", "qcow", "tagged", "v"]'
    ok volume delete "$p/tagged"
    ok volume delete "$p/tagged"

    ok --json volume info "$p/later"
    is '.path == null or .path == ""'
    ok bench "$p/later" --rw randwrite --bs 4k --iodepth 4 --count 50
    ok --json volume info "$p/later"
    is '.path | startswith("/iqn.")'
    ok --json bench "$p/later" --rw randrw --bs 4k --iodepth 8 --runtime 0.2 --jobs 2 --rate-iops 200
    ok --json bench "$p/later" --rw write --bs 64k --iodepth 2 --count 20 --sync
    ok --json bench "$p/later" --rw read --bs 64k --iodepth 2 --count 20 --direct
    ok --json bench "$p/later" --rw randread --bs 4k --iodepth 1 --count 20
    is '.jobs[0].read.total_ios == 20'
    ok --json volume check "$p/later"
    is '.outcome == "clean"'
    ok --json volume check "$p/qcow" --repair all
    is '.outcome == "clean"'

    serve "$p/v" "$work/v.sock" --listen 127.0.0.1:0 --metrics 127.0.0.1:0
    note 'serve POOL/NAME --socket FILE --listen HOST:PORT --metrics HOST:PORT' ok
    fill 0x41
    ok --json volume info "$p/v"
    is '.attachment.mode == "exclusive" and .attachment.holder != null and .attachment.since != null'
    ok --json volume map "$p/v"
    is '.extents[0].kind == "data"'
    ok --json snapshot create "$p/v@one"
    fill 0x42
    ok --json volume resize "$p/v" "$((size * 2))"
    is ".virtualSize >= $size * 2"
    [ "$(nbdinfo --size "$(uri "$work/v.sock")")" -ge $((size * 2)) ] || fail "a new client of the export sees the old size"
    ok volume xml "$p/v"
    ok volume qemu "$p/v"
    ok --json serve --list
    is ".exports[0].volume == \"$p/v\""
    for refused in "volume delete $p/v" "snapshot revert $p/v@one" "volume break-lock $p/v" "volume rename $p/v new"; do
        # shellcheck disable=SC2086
        no busy $refused
    done
    policies
    stop "$served"

    ok --json snapshot list "$p/v"
    is '[.snapshots[].name] == ["one"]'
    lacks protect shrink trash
    no notSupported snapshot protect "$p/v@one"
    no notSupported snapshot unprotect "$p/v@one"
    ok --json volume clone "$p/image" "$p/linked" --size "$((size * 2))" --max-iops 700
    is ".qos.maxIOPS == 700 and .virtualSize >= $size * 2 and .template == \"$p/image\""
    ok volume clone "$p/v@one" "$p/old"
    ok volume clone "$p/v" "$p/full" --full
    ok volume clone "$p/v" d/full --full
    no notSupported volume clone "$p/v" d/linked
    for volume in "$p/linked" "$p/old" "$p/v@one"; do filled "$volume" 0x41; done
    filled "$p/full" 0x42
    no busy template delete "$p/image"
    ok volume flatten "$p/linked"
    ok template delete "$p/image"
    ok snapshot revert "$p/v@one"
    filled "$p/v" 0x41
    ok volume break-lock "$p/v"

    ok volume copy "$p/v@one" "$p/copy"
    ok volume copy "$p/v" d/copy --verify
    ok volume copy d/copy "$p/back" --verify
    ok volume migrate "$p/back" d --verify
    ok volume migrate d/back "$p"
    filled "$p/back" 0x41
    ok volume rename "$p/back" again
    ok --json volume import "$p/raw" "$work/image.raw" --format raw
    ok --json volume import "$p/cowraw" "$work/image.qcow2" --format qcow2
    filled "$p/cowraw" 0x41
    ok --json volume export "$p/cowraw" "$work/$p.qcow2" --format qcow2 --compress
    ok --json volume export "$p/v@one" "$work/$p.raw" --format raw
    [ "$(head --bytes 1M "$work/$p.raw" | tr --delete '\101' | wc -c)" -eq 0 ] || fail "the exported bytes are others"
    no alreadyExists volume export "$p/v" "$work/$p.raw" --format raw
    rm "$work/$p.raw" "$work/$p.qcow2"
    ok --json volume list "$p"
    is '[.volumes[] | select(.name == "foreign" and .managed == false)] | length == 1'
    ok --json volume adopt "$p/foreign" --format raw
    is '.format == "raw"'

    no invalidArgument volume resize "$p/v" "$((size / 2))"
    no notSupported volume resize "$p/v" "$((size / 2))" --shrink
    no notSupported volume delete "$p/v" --policy trash
    ok volume delete "$p/full"
    ok snapshot create "$p/old@two"
    ok snapshot delete "$p/old@two"
    ok snapshot delete "$p/old@two"
    no busy volume delete "$p/v"
    ok volume delete "$p/v" --policy flatten
    filled "$p/old" 0x41
    ok volume delete "$p/old" --policy refuse
    ok --json volume list "$p"
    for name in $(jq --raw-output '.volumes[].name' <<<"$out"); do sluice volume delete "$p/$name" >/dev/null; done
    sluice template delete "$p/cow" >/dev/null
    for name in full copy; do sluice volume delete "d/$name" >/dev/null; done
    ok conformance "$p" --list
    ok --json conformance "$p" --only "attachment/exclusive[raw]"
    is '.results | length > 0 and all(.outcome == "passed")'
    ok pool remove "$p"
    ok pool remove "$p"
}

# What the policy of the attached volume $p/v is, and what becomes of it.
policies() {
    ok --json volume set-qos "$p/v" --min-iops 50 --max-iops 800 --burst-iops 800
    is '.qos.minIOPS == 50 and .qos.maxIOPS == 800 and .qos.burstIOPS == 800'
    if [ "$p" = e ]; then
        is '.qos.enforcedBy == "array" and .qos.minimum == "enforced"'
        ask_array array ListVolumes | jq --exit-status '.volumes[] | select(.name == "v") | .qos |
            .minIOPS == 50 and .maxIOPS == 800 and .burstIOPS == 800' >/dev/null || fail "the array has another policy"
        return
    fi
    is '.qos.enforcedBy == "sluice" and .qos.minimum == "admissionOnly"'
    local first second third
    # A pause before lets a volume make up for a request of 1 MiB: 150 operations, 100 a second.
    first=$(rate)
    between "$first" 600 1050 || fail "limited to 800 IOPS, it has $first"
    ok --json volume set-qos "$p/v" --max-iops 200 --burst-iops 200
    second=$(rate)
    between "$second" 140 350 || fail "limited to 200 IOPS while it is attached, it has $second"
    ok --json volume set-qos "$p/v" --min-iops 0 --max-iops 0 --burst-iops 0
    third=$(rate)
    [ "$third" -gt 1000 ] || fail "without a limit, it has $third IOPS"
    measured="800 IOPS asked for: $first; changed live to 200: $second; without a limit: $third"
}

# Something of others': a file in the directory of a pool, and a volume in an array's account.
mkdir --parents "$work/tgt-units"
truncate --size 64M "$work/tgt-units/foreign"
commands t "$(target_url tgt)" $((128 << 20)) 0 0
account=$(ask_array array AddAccount '{"username":"sluice"}' | jq .accountID)
ask_array array CreateVolume "{\"name\":\"foreign\",\"accountID\":$account,\"totalSize\":1000341504,
    \"qos\":{\"minIOPS\":200,\"maxIOPS\":1000,\"burstIOPS\":1000}}" >/dev/null
commands e "$array_url" 1000341504 200 1000341504 --secret-file "$work/array/password"

printf '%-88s  %-16s  %s\n' command 'on units of tgt' 'on an array'
for command in "${order[@]}"; do
    printf '%-88s  %-16s  %s\n' "sluice $command" "${outcomes["t $command"]:-}" "${outcomes["e $command"]:-}"
done
echo "  $rows commands, ${#order[@]} different ones, on units of tgt and on an array: done, or refused as their capabilities say"
echo "  $measured; the array's policy reads back as it was set"

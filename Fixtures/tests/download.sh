#!/usr/bin/env bash
# Templates from a real web server with TLS, behind a proxy that has bad days: every import ends as promised, at once, and
# leaves nothing behind.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../web.sh"

mkdir "$work/pool" "$work/www" "$work/scratch"
export TMPDIR=$work/scratch
sluice pool add p "dir://$work/pool"
make_certificates
read -r secure plain proxy dead <<<"$(free_ports 4)"

# 12 MiB of data in a disk of 20 MiB.
head -c 8M /dev/urandom >"$work/www/disk.raw"
head -c 4M /dev/zero >>"$work/www/disk.raw"
head -c 4M /dev/urandom >>"$work/www/disk.raw"
truncate --size 20M "$work/www/disk.raw"
(
    cd "$work/www"
    qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
    qemu-img convert -c -f raw -O qcow2 disk.raw packed.qcow2
    xz -1 --keep disk.raw
    gzip -1 --keep disk.qcow2
    mkdir iso iso/boot
    head -c 3M /dev/urandom >iso/boot/vmlinuz
    xorriso -as mkisofs -quiet -o install.iso -V INSTALL iso >/dev/null 2>&1
    mkdir private
    cp disk.raw private
    printf 'reader:%s\n' "$(openssl passwd -apr1 opensesame)" >../passwords
)
start_nginx "
    server {
        listen 127.0.0.1:$secure ssl;
        root $work/www;
        location /private/ { auth_basic private; auth_basic_user_file $work/passwords; }
    }"
"$root/Fixtures/fault-proxy" --port "$proxy" --plain-port "$plain" --upstream "$secure" \
    --certificate "$certificate" --key "$key" --authority "$authority" >"$work/requests.txt" 2>"$work/proxy.log" &
children+=("$!")
wait_until 10 grep -q ready "$work/requests.txt" || fail "the proxy does not start"

server=https://localhost:$secure
checksum() { echo "sha256:$(sha256sum "$work/www/$1" | cut -d ' ' -f 1)"; }
disk_checksum=$(checksum disk.raw)
strict=(--ca-file "$authority" --idle-timeout 5 --rate-window 5 --min-rate 10k --max-time 60)
number=0

# import URL [OPTION…]: into p/tN, N being $number; what it prints is in $said.
import() {
    number=$((number + 1))
    timeout 100 "$sluice_binary" template import "p/t$number" "$@" >"$work/out.txt" 2>"$work/error.txt" </dev/null
}
location_of() { sluice --json volume info "p/$1" | jq -r .path; }

# good WHAT FILE URL [OPTION…]: succeeds, and the template is the disk in FILE.
good() {
    local what=$1 file=$2 started=$SECONDS
    shift 2
    import "${strict[@]}" "$@" || fail "$what: $(cat "$work/error.txt")"
    qemu-img compare -q -f raw -F qcow2 "$work/www/$file" "$(location_of "t$number")" || fail "$what: another disk"
    echo "  $what: imported in $((SECONDS - started)) s$(sed -n '2,$s/^/; /p' "$work/out.txt" | tr -d '\n')"
}
# bad WHAT CODE PATTERN URL [OPTION…]: fails with that code and reason, within seconds.
bad() {
    local what=$1 code=$2 pattern=$3 status=0 started=$SECONDS
    shift 3
    import "${strict[@]}" "$@" || status=$?
    [ "$status" -eq 1 ] || fail "$what: exit code $status: $(cat "$work/out.txt" "$work/error.txt")"
    grep -qE "^error: $code: .*$pattern" "$work/error.txt" ||
        fail "$what: no $code /$pattern/ in: $(cat "$work/error.txt")"
    [ "$(wc -l <"$work/error.txt")" -eq 1 ] || fail "$what: more than one line"
    [ $((SECONDS - started)) -le 45 ] || fail "$what: took $((SECONDS - started)) s"
    echo "  $what: $(cat "$work/error.txt")" | sed "s|localhost:[0-9]*|localhost|g; s|$work|…|g"
}
# fault NAME: the URL of the disk on a bad day of its own.
fault() {
    case_number=$((${case_number:-0} + 1))
    echo "https://localhost:$proxy/$1/$number-$case_number/${2:-disk.raw}"
}

# What works. Without a directory for scratch files nothing can be written twice.
export TMPDIR=/nonexistent
good "raw over TLS" disk.raw "$server/disk.raw" --format raw --checksum "$disk_checksum"
good "raw without a checksum" disk.raw "$server/disk.raw" --format raw
good "raw, packed" disk.raw "$server/disk.raw.xz" --format raw --checksum "$(checksum disk.raw.xz)"
good "QCOW2" disk.raw "$server/disk.qcow2" --format qcow2 --checksum "$(checksum disk.qcow2)"
sent=$(awk '/GET \/disk.qcow2 / { sum += $10 } END { print sum }' "$work/access.txt")
size=$(stat -c %s "$work/www/disk.qcow2")
[ "$sent" -lt $((size * 3 / 2)) ] || fail "$sent bytes were sent of a QCOW2 image of $size"
echo "  QCOW2: $sent bytes sent of an image file of $size, checksum included"
good "QCOW2, compressed" disk.raw "$server/packed.qcow2" --format qcow2 --checksum "$(checksum packed.qcow2)"
good "ISO image" install.iso "$server/install.iso" --format raw --checksum "$(checksum install.iso)"
iso=t$number
export TMPDIR=$work/scratch
good "QCOW2, packed" disk.raw "$server/disk.qcow2.gz" --format qcow2 --checksum "$(checksum disk.qcow2.gz)"
good "QCOW2 from a server without ranges" disk.raw "$(fault no-ranges disk.qcow2)" --format qcow2

serve "p/$iso" "$work/iso.sock" --read-only
[ "$(nbdinfo --is read-only "$(uri "$work/iso.sock")" && echo yes)" = yes ] || fail "the ISO image can be written"
nbdcopy "$(uri "$work/iso.sock")" "$work/copy.iso"
cmp -n "$(stat -c %s "$work/www/install.iso")" "$work/copy.iso" "$work/www/install.iso"
stop "$served"
status=0
"$sluice_binary" serve "p/$iso" --socket "$work/iso.sock" >"$work/out.txt" 2>"$work/error.txt" || status=$?
[ "$status" -eq 1 ] || fail "a template is served for writing"
echo "  ISO image: attached read-only, and only so: $(cat "$work/error.txt")"

# Once is forgiven.
good "cut once" disk.raw "$(fault cut-once)" --format raw
good "cut once, without ranges" disk.raw "$(fault no-ranges-cut-once)" --format raw
good "busy once" disk.raw "$(fault busy-once)" --format raw
good "wrong bytes once" disk.raw "$(fault corrupt-once)" --format raw --checksum "$disk_checksum"
good "wrong bytes once, QCOW2" disk.raw "$(fault corrupt-once disk.qcow2)" --format qcow2 \
    --checksum "$(checksum disk.qcow2)"
good "ranges refused" disk.raw "$(fault no-ranges)" --format raw --checksum "$disk_checksum"
good "no length, with a checksum" disk.raw "$(fault no-length)" --format raw --checksum "$disk_checksum"
good "redirect" disk.raw "$(fault redirect)" --format raw
good "redirects that are good for four requests" disk.raw "$(fault expiring)" --format raw
good "a date instead of an ETag" disk.raw "$(fault date)" --format raw

# Always is not.
bad "cut always" connectionLost "3 attempts" "$(fault cut-always)" --format raw
bad "wrong bytes always" checksumMismatch "declared .3 attempts" "$(fault corrupt-always)" --format raw --checksum "$disk_checksum"
bad "slow" timedOut "bytes in .* less than 10240 a second" "$(fault slow)" --format raw
bad "silent" timedOut "says nothing for 5" "$(fault silent)" --format raw
bad "shorter than announced" inputOutput "announces" "$(fault too-long)" --format raw
bad "shorter than asked for" inputOutput "announces" "$(fault too-short)" --format raw
bad "longer than asked for" corrupt "more than" "$(fault too-much)" --format raw
bad "no length" notSupported "give a checksum" "$(fault no-length)" --format raw
bad "10 GiB to a limit of 100 MiB" unsafeImage "10737418240 bytes, and 104857600" "$(fault huge)" --format raw \
    --max-download 100M
bad "never-ending" unsafeImage "more than 104857600" "$(fault endless)" --format raw --max-download 100M \
    --checksum "$disk_checksum"
bad "redirect loop" notSupported "more than 5 redirects" "$(fault loop)" --format raw
bad "redirect to http" permissionDenied "from https to http" "$(fault downgrade)" --format raw
bad "redirect to a file" notSupported "file:" "$(fault leave)" --format raw
bad "new ETag in between" conflict "changed .*ETag was" "$(fault new-etag)" --format raw --checksum "$disk_checksum"
bad "new date in between" conflict "changed .*date was" "$(fault new-date)" --format raw
bad "no HTTP" inputOutput "no HTTP" "$(fault no-http)" --format raw
bad "huge header" notSupported "header" "$(fault header)" --format raw
bad "not there" notFound 404 "$server/missing.raw" --format raw
bad "nobody listens" connectionLost "attempts" "https://localhost:$dead/disk.raw" --format raw
bad "takes too long" timedOut "all of it takes longer" "$(fault slow)" --format raw --min-rate 1 --max-time 3
number=$((number + 1))
status=0
sluice template import "p/t$number" "$server/disk.raw" --format raw 2>"$work/error.txt" || status=$?
grep -q '^error: authenticationFailed: .*TLS' "$work/error.txt" || fail "unknown authority: $(cat "$work/error.txt")"
echo "  unknown authority: $(cat "$work/error.txt")" | sed "s|localhost:[0-9]*|localhost|g"
status=0
"$sluice_binary" template import "p/t$number" "$server/disk.raw" --format raw --ca-file /nonexistent \
    2>"$work/error.txt" || status=$?
grep -q '^error: invalidArgument: read authorities' "$work/error.txt" || fail "$(cat "$work/error.txt")"
! grep -q PLAIN "$work/requests.txt" || fail "a redirect gave up TLS"

# Passwords go to the server that they are for, and nowhere else.
password_url=https://reader:opensesame@localhost
good "password" disk.raw "$password_url:$secure/private/disk.raw" --format raw
(umask 077 && printf 'reader:opensesame\n' >"$work/credentials")
good "password from a file" disk.raw "$server/private/disk.raw" --format raw --credentials-file "$work/credentials"
good "password, redirected elsewhere" disk.raw "$password_url:$proxy/elsewhere/1/disk.raw" --format raw
bad "no password" authenticationFailed 401 "$server/private/disk.raw" --format raw
bad "password, and a fault" connectionLost "" "$password_url:$dead/disk.raw" --format raw
if grep -r opensesame "$work/home" "$work/pool" "$work"/*.txt; then fail "a password was written down"; fi

# A name that is taken: the version decides, else the bytes, and what changed is said.
first=t2
cp "$work/requests.txt" "$work/before.txt"
text=$(sluice template import "p/$first" "$server/disk.raw" --format raw --ca-file "$authority")
[[ $text == "p/$first is there already" ]] || fail "again: $text"
printf x | dd of="$work/www/disk.raw" bs=1 seek=1000 conv=notrunc status=none
status=0
sluice template import "p/$first" "$server/disk.raw" --format raw --ca-file "$authority" 2>"$work/error.txt" || status=$?
grep -q '^error: alreadyExists: .*the source changed: its ETag was' "$work/error.txt" ||
    fail "changed at the source: $(cat "$work/error.txt")"
echo "  changed at the source: $(cat "$work/error.txt")" | sed "s|localhost:[0-9]*|localhost|g"

# A cancelled import leaves nothing either.
number=$((number + 1))
"$sluice_binary" template import "p/t$number" "$(fault slow)" --format raw --ca-file "$authority" --min-rate 1 \
    >"$work/out.txt" 2>&1 &
importer=$!
children+=("$importer")
sleep 2
kill "$importer"
if wait "$importer"; then fail "an interrupted import succeeds"; fi

staged=$(find "$work/pool" "$work/scratch" -type f -name '.*' ! -name '.sluice-pool*' -printf '%P ')
kept=$(sluice --json template list p | jq '.volumes | length')
[ "$kept" -eq 21 ] || fail "$kept templates instead of 21"
echo "  left behind: ${staged:-nothing}"

#!/usr/bin/env bash
# No secret that Sluice is given shows: not in what it prints or logs at the level trace, not in the arguments of the
# programs that it starts or names, not in metrics, nor in any file of its home or pool but the secret store.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../secrets.sh"

# Every way in which a key may be written; the pieces that base64 makes of it at each alignment among them.
secret='pX7+vQ/k2Zr8==&w%"s'\''Tg4Jd'
other='Nq5-hM_c9Yb3RzKe71uL'
percent() { /usr/bin/python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"; }

secrets=("$secret" "$other")
mkdir "$work/pool" "$work/given"
printf '%s\n' "$secret" >"$work/given/key"
printf '%s' "$other" >"$work/given/open"
chmod 600 "$work/given/key"
chmod 644 "$work/given/open"
qemu-img create -q -f qcow2 "$work/given/image.qcow2" 64M

# Wherever a secret can be given, rightly or by mistake.
seen pool add r1 "rbd://admin:$(percent "$secret")@192.0.2.1,192.0.2.2/rbd"
refused invalidArgument
seen pool add r2 "rbd://admin@192.0.2.1/rbd" --secret-file "$work/given/key"
seen --json pool add r3 "rbd://admin:$other@192.0.2.1/rbd?conf=/etc/ceph/absent.conf&deadline=2"
seen pool add r6 "rbd://admin:$secret@192.0.2.1/rbd"
refused invalidArgument
seen pool add r4 "element://192.0.2.1?svip=192.0.2.2:3260&user=admin&password=$(percent "$secret")"
seen pool add r5 "MVIP=192.0.2.1;SVIP=192.0.2.2;clusterAdminUsername=admin;clusterAdminPassword=$other"
seen pool add d1 "dir://user:$(percent "$secret")@$work/pool"
seen pool add d2 "dir://$work/pool?secret=$(percent "$secret")"
seen pool add d3 "dir://$work/pool?key=$other&deadline=$other"
seen pool add d4 "dir://$work/pool?passphrase=$other"
seen pool add d5 "dir://$work/pool" --secret-file "$work/given/key"
refused invalidArgument
seen pool add d6 "dir://$work/pool" --secret-file "$work/given/open"
refused permissionDenied
seen pool add d7 "dir://$work/pool" --secret-file <(printf '%s' "$secret")
seen template import p/t1 "https://user:$(percent "$secret")@127.0.0.1:9/image.qcow2" --format qcow2
seen template import p/t2 "ftp://user:$other@127.0.0.1:9/image.qcow2" --format qcow2
seen template import p/t3 "http://127.0.0.1:9/image.qcow2?X-Amz-Signature=$other" --format qcow2
seen template import p/t4 "http://$other@[::1/image.qcow2" --format qcow2

# The life of a volume beside them, and templates from a web server that asks for a password, sends clients on to
# signed URLs, and repeats to those it refuses what they sent.
seen pool add p "dir://$work/pool"
/usr/bin/python3 - "$work/given" "user:$secret" "$other" >"$work/port" 2>"$work/web.txt" <<'PYTHON' &
import base64, http.server, os, sys, urllib.parse

folder, login, signature = sys.argv[1:]
expected = "Basic " + base64.b64encode(login.encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        given = self.headers.get("Authorization")
        if path == "/signed.qcow2":
            if query != f"signature={signature}":
                return self.answer(403, f"no: {query} {signature}".encode())
        elif given != expected:
            return self.answer(401, f"no: {given} {expected}".encode(), **{"WWW-Authenticate": f"Basic realm={expected}"})
        elif path == "/sent-on.qcow2":
            return self.answer(302, Location=f"/signed.qcow2?signature={signature}")
        elif path == "/loop.qcow2":
            return self.answer(302, Location=f"http://user:{signature}@{self.headers['Host']}/loop.qcow2?{signature}")
        with open(os.path.join(folder, "image.qcow2"), "rb") as file:
            self.answer(200, file.read())

    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
children+=($!)
wait_until 10 test -s "$work/port" || fail "the web server does not start"
web="127.0.0.1:$(cat "$work/port")"
login="user:$(percent "$secret")"
seen template import p/w1 "http://$login@$web/image.qcow2" --format qcow2
! grep -q "^error" "$work/seen/$runs.err" || fail "the password is not sent: $(cat "$work/seen/$runs.err")"
seen --json template import p/w2 "http://$login@$web/sent-on.qcow2" --format qcow2
! grep -q "^error" "$work/seen/$runs.err" || fail "the signed URL is not followed: $(cat "$work/seen/$runs.err")"
seen template import p/w3 "http://user:$other@$web/image.qcow2" --format qcow2
seen template import p/w4 "http://$login@$web/loop.qcow2" --format qcow2
seen template import p/w5 "http://$web/signed.qcow2?signature=$other" --format qcow2
seen template import p/w5 "http://$web/signed.qcow2?signature=${other}x" --format qcow2
cat >"$work/given/images.meta4" <<METALINK
<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="image.qcow2">
<url priority="1">http://user:$other@$web/image.qcow2</url>
<url priority="2">http://$login@$web/image.qcow2</url></file></metalink>
METALINK
seen template import p/w6 "$work/given/images.meta4" --format qcow2
seen template import p/t "$work/given/image.qcow2" --format qcow2
seen volume clone p/t p/vm --max-iops 500
seen volume create p/empty --size 64M
serve p/vm "$work/vm.sock" --log-level trace --metrics 127.0.0.1:0 --enforce hypervisor
place=$(sed -nE 's/.*metrics on tcp:(.*)$/\1/p' "$work/serve.log" | tail -n 1)
seen pool add r7 "rbd://admin:$other@127.0.0.1:9/rbd?deadline=2"
seen snapshot create p/vm@s
seen volume xml p/vm
seen --json volume qemu p/vm
seen --json volume info p/vm
seen serve --list
curl --silent --fail "http://$place/metrics" >"$work/seen/metrics.txt"
tr '\0' '\n' <"/proc/$served/cmdline" >"$work/seen/serve.cmdline"
tr '\0' '\n' <"/proc/$served/environ" >"$work/seen/serve.environ"
stop "$served"
cp "$work/serve.log" "$work/seen/serve.log"
seen volume copy p/vm p/copy
seen volume export p/vm "$work/given/out.qcow2" --format qcow2
seen volume delete p/copy
for command in "pool list" "pool info p" "--json pool list" "--json pool info p" "template list p" "volume list p"; do
    # shellcheck disable=SC2086
    seen $command
done
cp -a "$SLUICE_HOME" "$work/seen/home"
cp -a "$work/pool" "$work/seen/pool"

nothing_shows
echo "  $runs commands at the level trace: $(cat "$work/scanned") of output, logs, argument lists, catalog, home and" \
    "pool, and neither secret in any form"

# The scan finds what is there: each form, in each kind of place.
for place in 1.out 1.err 1.exec serve.log metrics.txt home/catalog.sqlite; do
    plant "$place" "$secret"
    plant "$place" "$(printf '%s' "$other" | base64 --wrap 0)"
    plant "$place" "$(percent "$secret")"
done
scan >"$work/found.log" 2>/dev/null || fail "what was planted is still there"
echo "  the scan itself: $planted planted secrets found, in output, log, argument list, metrics and catalog"

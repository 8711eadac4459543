#!/usr/bin/env bash
# NetApp's own Python library takes the simulated cluster through the life of its volumes over HTTPS; what it did is
# there after kill -9; what clients send that is none of a client's business is refused, and holds nobody else up.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../iscsi.sh"

find_simulator

(umask 077 && head -c 12 /dev/urandom | xxd -p >"$work/password")
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" \
    -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
mkdir "$work/state"

# simulate [OPTION…]: starts the simulator; $simulator is its process, $http and $https its addresses.
simulate() {
    : >"$work/addresses"
    "$simulator_binary" "$@" --directory "$work/state" --http 127.0.0.1:0 --https 127.0.0.1:0 --cluster-id test \
        --certificate "$work/cert.pem" --key "$work/key.pem" --password-file "$work/password" --clone-seconds 0.3 \
        >"$work/addresses" 2>>"$work/simulator.log" &
    simulator=$!
    children+=("$simulator")
    wait_until 30 addressed || fail "the simulator does not start"
    http=$(sed -n 's|^http://\(.*\)/json-rpc/|\1|p' "$work/addresses")
    https=$(sed -n 's|^https://\(.*\)/json-rpc/|\1|p' "$work/addresses")
}
addressed() { [ "$(wc -l <"$work/addresses")" -eq 2 ]; }
# call METHOD PARAMETERS: the answer.
call() {
    printf 'user = "admin:%s"\n' "$(cat "$work/password")" |
        curl --silent --show-error --max-time 30 --config - --cacert "$work/cert.pem" \
            --data "{\"method\":\"$1\",\"params\":${2:-{\}},\"id\":7}" "https://$https/json-rpc/12.3/"
}

simulate
"$cache/solidfire-sdk/bin/python" "$root/Fixtures/element-sdk" "$https" "$work/password"

account=$(call AddAccount '{"username":"tenant"}' | jq .result.accountID)
call CreateVolume "{\"name\":\"kept\",\"accountID\":$account,\"totalSize\":1000000000}" >/dev/null
call ListVolumes >"$work/before.json"
call ListAccounts >>"$work/before.json"
{ kill -KILL "$simulator" && wait "$simulator"; } 2>/dev/null || true
simulate --fault 'ListVolumes:fail=xDBVersionMismatch,after=1,count=2'
call ListVolumes >"$work/after.json"
call ListAccounts >>"$work/after.json"
cmp "$work/before.json" "$work/after.json" || fail "a restart changes what is there"
echo "  the same after kill -9"
for expected in xDBVersionMismatch xDBVersionMismatch null; do
    [ "$(call ListVolumes | jq -r .error.name)" = "$expected" ] || fail "the fault on the command line is not met"
done

# Killed again and again while several clients work: what was answered is there, and what was not is there or is not.
/usr/bin/python3 - "$simulator_binary" "$work" <<'PYTHON' || fail "a kill undoes what was answered"
import base64
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request

binary, work = sys.argv[1:]
state = os.path.join(work, "killed")
os.mkdir(state)
with open(os.path.join(work, "password")) as file:
    token = base64.b64encode(b"admin:" + file.read().strip().encode()).decode()


def start():
    process = subprocess.Popen(
        [binary, "--directory", state, "--http", "127.0.0.1:0", "--password-file", os.path.join(work, "password")],
        stdout=subprocess.PIPE,
    )
    return process, process.stdout.readline().decode().strip() + "12.3/"


def call(url, method, **parameters):
    body = json.dumps({"method": method, "params": parameters, "id": 1}).encode()
    request = urllib.request.Request(url, body, {"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer = json.load(answer)
    return answer.get("result"), answer.get("error")


lock = threading.Lock()
present, absent, doubtful = set(), set(), set()
calls = 0


def client(url, account, number):
    """Creates and purges volumes until the simulator is gone. One that is being created has a name, one that is being
    deleted a number: either is in doubt until the answer comes."""
    global calls
    while True:
        name = f"v-{number}-{random.getrandbits(60):x}"
        with lock:
            doubtful.add(name)
        try:
            made, error = call(url, "CreateVolume", name=name, accountID=account, totalSize=1_000_000_000)
            assert made, error
            with lock:
                doubtful.discard(name)
                present.add(name)
                calls += 1
            if random.random() < 0.5:
                with lock:
                    present.discard(name)
                    doubtful.add(name)
                for method in "DeleteVolume", "PurgeDeletedVolume":
                    result, error = call(url, method, volumeID=made["volumeID"])
                    assert result is not None, error
                with lock:
                    doubtful.discard(name)
                    absent.add(name)
                    calls += 2
        except OSError:
            return


rounds = 12
for turn in range(rounds):
    process, url = start()
    if turn == 0:
        account = call(url, "AddAccount", username="tenant")[0]["accountID"]
    names = [volume["name"] for volume in call(url, "ListVolumes")[0]["volumes"]]
    missing, left = present - set(names), absent & set(names)
    if missing or left or len(names) != len(set(names)):
        sys.exit(f"after kill {turn}: {len(missing)} volumes missing, {len(left)} left")
    if set(names) - present - doubtful:
        sys.exit(f"after kill {turn}: volumes that nobody asked for")
    clients = [threading.Thread(target=client, args=(url, account, number)) for number in range(4)]
    for one in clients:
        one.start()
    time.sleep(random.uniform(0.02, 0.3))
    process.send_signal(signal.SIGKILL)
    process.wait()
    for one in clients:
        one.join()
print(f"  {rounds} kills during {calls} calls undid none that was answered")
PYTHON

# Requests that are none, while others hold connections open and say nothing, and one answer after another.
printf 'Authorization: Basic %s\n' "$(printf 'admin:%s' "$(cat "$work/password")" | base64)" >"$work/header"
chmod 600 "$work/header"
/usr/bin/python3 - "$http" "$work/header" <<'PYTHON' || fail "a hostile client gets through"
import errno
import json
import socket
import sys

host, port = sys.argv[1].split(":")
with open(sys.argv[2], "rb") as file:
    authorization = file.read().strip()
address = (host, int(port))


def exchange(*parts, reads=True):
    with socket.create_connection(address, timeout=20) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                answer += data
        except OSError as error:
            # After a reset `shutdown` says ENOTCONN, which is no ConnectionError.
            if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
                raise
        return answer


def post(body, length=None):
    head = b"POST /json-rpc/12.3/ HTTP/1.1\r\nHost: a\r\n%s\r\nContent-Length: %d\r\n\r\n"
    return exchange(head % (authorization, len(body) if length is None else length), body)


silent = [socket.create_connection(address, timeout=20) for _ in range(100)]
slow = [socket.create_connection(address, timeout=20) for _ in range(50)]
for connection in slow:
    connection.sendall(b"POST /json-rpc/12.3/ HTTP/1.1\r\nHost: a\r\n" + authorization + b"\r\nContent-Length: 500\r\n\r\n{")

cases = {
    "no JSON": (post(b"hello"), b" 400 "),
    "a number": (post(b"5"), b" 400 "),
    "deep nesting": (post(b'{"method":"A","params":{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}}"), b" 400 "),
    "a long body": (post(b"x" * 100, 10 << 30), b" 413 "),
    "a long body that comes": (post(b" " * (2 << 20)), b" 413 "),
    "a long chunked body": (
        exchange(
            b"POST /json-rpc/12.3/ HTTP/1.1\r\nHost: a\r\n" + authorization + b"\r\nTransfer-Encoding: chunked\r\n\r\n",
            *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 40, b"0\r\n\r\n",
        ),
        b" 413 ",
    ),
    "long headers": (exchange(b"GET / HTTP/1.1\r\nA: " + b"a" * 200_000 + b"\r\n\r\n"), b" 400 "),
    "no HTTP": (exchange(b"\x16\x03\x01" + b"\0" * 500 + b"\r\n\r\n"), b" 400 "),
    "another method": (exchange(b"DELETE /json-rpc/12.3/ HTTP/1.1\r\nHost: a\r\n" + authorization + b"\r\n\r\n"), b" 405 "),
    "no password": (exchange(b"GET /json-rpc/12.3/?method=GetAPI HTTP/1.1\r\nHost: a\r\n\r\n"), b" 401 "),
}
for name, (answer, expected) in cases.items():
    status = answer.split(b"\r\n", 1)[0]
    # A server may end the connection before the client has sent all.
    if expected not in status and not (expected in (b" 413 ", b" 400 ") and not answer):
        sys.exit(f"{name}: {answer[:200]!r}")
answer = post(json.dumps({"method": "GetVolumeCount", "id": "still there"}).encode())
if b'"count":1' not in answer or b"still there" not in answer:
    sys.exit(f"nothing works any more: {answer[:200]!r}")
print(f"  {len(cases)} hostile requests, {len(silent) + len(slow)} idle connections")
PYTHON
peak=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$simulator/status")
[ "$peak" -lt 200 ] || fail "the simulator took $peak MiB"
echo "  at most $peak MiB"

if grep -Fq "$(cat "$work/password")" "$work/simulator.log" "$work/state/state.json" || tr '\0' '\n' <"/proc/$simulator/cmdline" | grep -Fq "$(cat "$work/password")"; then
    fail "the password is where it should not be"
fi
# Connections that are open and say nothing do not hold up its end.
exec 9<>"/dev/tcp/${http%:*}/${http##*:}"
stop "$simulator" || fail "the simulator does not end well"

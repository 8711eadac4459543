# shellcheck shell=bash
# A real web server with TLS, and certificates of an authority that only the tests trust. Source it after lib.sh.

# free_ports N: as many TCP ports that nothing listens on.
free_ports() {
    python3 - "$1" <<'END'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
END
}

# make_certificates: $authority, and $certificate with its $key for localhost and 127.0.0.1.
make_certificates() {
    authority=$work/authority.pem certificate=$work/server.pem key=$work/server.key
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=sluice test" \
        -keyout "$work/authority.key" -out "$authority" -addext basicConstraints=critical,CA:TRUE 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
        -keyout "$key" -out "$work/server.csr" 2>/dev/null
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$work/server.ext"
    openssl x509 -req -in "$work/server.csr" -CA "$authority" -CAkey "$work/authority.key" -CAcreateserial -days 2 \
        -extfile "$work/server.ext" -out "$certificate" 2>/dev/null
}

# start_nginx CONFIGURATION: runs nginx with these server blocks.
start_nginx() {
    mkdir -p "$work/nginx"
    cat >"$work/nginx/nginx.conf" <<END
daemon off;
worker_processes 1;
pid $work/nginx/pid;
error_log $work/nginx.log;
events { worker_connections 256; }
http {
    access_log $work/access.txt;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    ssl_certificate $certificate;
    ssl_certificate_key $key;
    $1
}
END
    # The workers of a server that is started as root may read the temporary directory too.
    [ "$(id -u)" -ne 0 ] || sed -i '1i user root;' "$work/nginx/nginx.conf"
    "$(command -v nginx || echo /usr/sbin/nginx)" -e "$work/nginx.log" -p "$work/nginx" -c "$work/nginx/nginx.conf" \
        >>"$work/nginx.log" 2>&1 &
    children+=("$!")
    wait_until 10 test -s "$work/nginx/pid" || fail "nginx does not start"
}

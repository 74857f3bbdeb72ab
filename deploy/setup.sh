#!/bin/sh
# Makes a whole instance in DIR, ready to be started: PKI, secrets, configuration of all parts from deploy/config, users,
# FreeRADIUS and a small intranet. For demonstrations, tests and benchmarks; docs/operations.md says what lies where.
# Safe to run again: secrets, certificates and ports stay as they are, configuration is written anew.
#
#   sh deploy/setup.sh DIR [--transport ipc|tls]
#
# The facts of the instance (ports, names) are left in DIR/instance.env as shell variables; nothing is printed.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "setup: $*" >&2
    exit 1
}

usage() {
    echo 'usage: setup.sh DIR [--transport ipc|tls]' >&2
    exit 64
}

dir=
transport=ipc
while [ $# -gt 0 ]; do
    case $1 in
    --transport)
        [ $# -ge 2 ] || usage
        transport=$2
        shift
        ;;
    -*) usage ;;
    *)
        [ -z "$dir" ] || usage
        dir=$1
        ;;
    esac
    shift
done
[ -n "$dir" ] || usage
case $transport in ipc | tls) ;; *) usage ;; esac

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
case $dir in
*[!A-Za-z0-9._/-]*) fail "the directory's name may hold letters, digits and ._/- only: $dir" ;;
esac
# A Unix socket's path holds 107 bytes; the longest of ours is DIR/run/ticket-resolver-operator.sock.
[ ${#dir} -le 70 ] || fail "the directory's name is too long for Unix sockets (70 bytes at most): $dir"

mkdir -p "$dir/secrets" "$dir/run" "$dir/log" "$dir/shields" "$dir/config" "$dir/freeradius" "$dir/intranet/www"
services='audit radius-bridge key-store ticket-resolver gateway'
for service in $services; do
    mkdir -p "$dir/data/$service"
done

sh "$here/pki.sh" "$dir"

# ---- ports: below the ephemeral range, so that no outgoing connection takes one between now and the start ----

# Reservations of instances that still exist; a symbolic link is made by one process alone. (-n: a link to a directory is
# there already, not a place to put another one into.)
reserved=${TMPDIR:-/tmp}/ticketgate-ports.$(id -u)
mkdir -p "$reserved"

in_use() {
    grep -qi ":$(printf '%04X' "$1") " /proc/net/tcp /proc/net/tcp6 /proc/net/udp 2>/dev/null
}

free_port() {
    tries=0
    while [ $tries -lt 200 ]; do
        tries=$((tries + 1))
        port=$(shuf -i 20000-31999 -n 1)
        if [ -L "$reserved/$port" ] && [ ! -d "$reserved/$port" ]; then
            rm -f "$reserved/$port"
        fi
        if ! in_use "$port" && ln -sn "$dir" "$reserved/$port" 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    fail 'no free TCP port between 20000 and 31999'
}

TG_TRANSPORT='' TG_GATEWAY_PORT='' TG_RADIUS_PORT='' TG_WEB_PORT='' TG_SSH_PORT='' TG_LOCAL_PORTS=''
if [ -f "$dir/instance.env" ]; then
    # shellcheck source=/dev/null
    . "$dir/instance.env"
fi
if [ "$TG_TRANSPORT" != "$transport" ]; then
    # Assigned one by one, so that set -e sees a failure.
    gateway_port=${TG_GATEWAY_PORT:-$(free_port)}
    radius_port=${TG_RADIUS_PORT:-$(free_port)}
    web_port=${TG_WEB_PORT:-$(free_port)}
    ssh_port=${TG_SSH_PORT:-$(free_port)}
    local_ports=$TG_LOCAL_PORTS # for what a client forwards
    while [ "$(echo "$local_ports" | wc -w)" -lt 4 ]; do
        port=$(free_port)
        local_ports="$local_ports $port"
    done
    rpc_ports=
    if [ "$transport" = tls ]; then
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            port=$(free_port)
            rpc_ports="$rpc_ports $port"
        done
    fi
    cat >"$dir/instance.env.new" <<END
TG_DIR=$dir
TG_TRANSPORT=$transport
TG_QKUD_ID=qkud-demo-1
TG_GATEWAY_PORT=$gateway_port
TG_RADIUS_PORT=$radius_port
TG_WEB_PORT=$web_port
TG_SSH_PORT=$ssh_port
TG_LOCAL_PORTS='${local_ports# }'
TG_RPC_PORTS='${rpc_ports# }'
END
    mv "$dir/instance.env.new" "$dir/instance.env"
    # shellcheck source=/dev/null
    . "$dir/instance.env"
fi

# ---- secrets ----

random_secret() {
    [ -s "$dir/secrets/$1" ] && return 0
    openssl rand "$2" >"$dir/secrets/$1.new"
    chmod 0400 "$dir/secrets/$1.new"
    mv "$dir/secrets/$1.new" "$dir/secrets/$1"
}

text_secret() { # for what people type: a line of hex digits
    [ -s "$dir/secrets/$1" ] && return 0
    openssl rand -hex "$2" >"$dir/secrets/$1.new"
    chmod 0400 "$dir/secrets/$1.new"
    mv "$dir/secrets/$1.new" "$dir/secrets/$1"
}

for key in ticket kek audit; do
    random_secret $key.key 32
done
# What signs the audit log: Ed25519, and beside it ML-DSA-44 where OpenSSL (3.5) can make one.
signing_key() { # ALGORITHM NAME
    [ -s "$dir/secrets/$2" ] && return 0
    openssl genpkey -algorithm "$1" -out "$dir/secrets/$2.new" 2>/dev/null || return 1
    chmod 0400 "$dir/secrets/$2.new"
    mv "$dir/secrets/$2.new" "$dir/secrets/$2"
}
signing_key ed25519 audit-log.key || fail 'openssl cannot make an Ed25519 key'
audit_more_keys=
if signing_key ML-DSA-44 audit-log-pq.key; then
    audit_more_keys=", \"$dir/secrets/audit-log-pq.key\""
fi
rm -f "$dir/secrets/audit-log-pq.key.new"
for user in alice bob; do
    text_secret $user.password 10
    text_secret $user.pin 4
done

# ---- configuration ----

# address SERVICE ROLE: where that service listens for callers of that role.
address() {
    if [ "$transport" = ipc ]; then
        echo "ipc://$dir/run/$1-$2.sock"
        return 0
    fi
    place=0
    for pair in gateway/operator ticket-resolver/gateway ticket-resolver/operator key-store/resolver \
        key-store/charger key-store/operator radius-bridge/service radius-bridge/operator audit/service \
        audit/operator; do
        place=$((place + 1))
        if [ "$pair" = "$1/$2" ]; then
            echo "tls+tcp://localhost:$(echo "$TG_RPC_PORTS" | cut -d' ' -f$place)"
            return 0
        fi
    done
    fail "no port for $1/$2"
}

trap 'rm -f "$dir/run/placeholders.sed"' EXIT
cat >"$dir/run/placeholders.sed" <<END
s|@DIR@|$dir|g
s|@AUDIT_MORE_KEYS@|$audit_more_keys|g
s|@GATEWAY_LISTEN@|127.0.0.1:$TG_GATEWAY_PORT|g
s|@GATEWAY_PORT@|$TG_GATEWAY_PORT|g
s|@RADIUS_HOST@|127.0.0.1|g
s|@RADIUS_PORT@|$TG_RADIUS_PORT|g
s|@WEB_PORT@|$TG_WEB_PORT|g
s|@SSH_PORT@|$TG_SSH_PORT|g
s|@QKUD_ID@|$TG_QKUD_ID|g
s|@RESOLVER_GATEWAY@|$(address ticket-resolver gateway)|g
s|@KEYSTORE_RESOLVER@|$(address key-store resolver)|g
s|@KEYSTORE_CHARGER@|$(address key-store charger)|g
s|@BRIDGE_SERVICE@|$(address radius-bridge service)|g
s|@AUDIT_SERVICE@|$(address audit service)|g
s|@GATEWAY_OPERATOR@|$(address gateway operator)|g
s|@RESOLVER_OPERATOR@|$(address ticket-resolver operator)|g
s|@KEYSTORE_OPERATOR@|$(address key-store operator)|g
s|@BRIDGE_OPERATOR@|$(address radius-bridge operator)|g
s|@AUDIT_OPERATOR@|$(address audit operator)|g
s|@ALICE_PASSWORD@|$(cat "$dir/secrets/alice.password")|g
s|@BOB_PASSWORD@|$(cat "$dir/secrets/bob.password")|g
END

# fill_in TEMPLATE TARGET
fill_in() {
    sed -f "$dir/run/placeholders.sed" "$1" >"$2"
    if left=$(grep -no '@[A-Z][A-Z_]*@' "$2"); then
        fail "$1: no value for $left"
    fi
}

for template in "$here"/config/*.yaml; do
    fill_in "$template" "$dir/config/$(basename "$template")"
done
for template in "$here"/freeradius/*; do
    [ -f "$template" ] || continue
    fill_in "$template" "$dir/freeradius/$(basename "$template")"
done
fill_in "$here/intranet/sshd_config" "$dir/intranet/sshd_config"
fill_in "$here/intranet/index.html" "$dir/intranet/www/index.html"

# ---- the intranet's sshd and its one user: who runs this ----

for key in ssh_host_ed25519_key id_ed25519; do
    [ -s "$dir/intranet/$key" ] || ssh-keygen -q -t ed25519 -N '' -C "ticketgate $key" -f "$dir/intranet/$key"
done
cp "$dir/intranet/id_ed25519.pub" "$dir/intranet/authorized_keys"
# Through the gateway the server has a name of its own for ssh (HostKeyAlias).
echo "intranet $(cut -d' ' -f1,2 "$dir/intranet/ssh_host_ed25519_key.pub")" >"$dir/intranet/known_hosts"

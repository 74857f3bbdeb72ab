#!/bin/sh
# Makes the certificates of a development or test instance in DIR/pki (what for: docs/operations.md). Safe to run
# again: what is there and still valid for a month stays, the rest is made anew.
#
#   sh deploy/pki.sh DIR
#
# One small CA per role of caller, so that a listener trusts nobody but its own callers. For real use, let your own CA
# issue certificates with the same names and purposes; nothing but the files matters to the services.
set -eu
umask 077

[ $# -eq 1 ] || {
    echo 'usage: pki.sh DIR' >&2
    exit 64
}
pki=$1/pki
mkdir -p "$pki/ca-keys"

month=2592000
valid() {
    [ -s "$1.crt" ] && openssl x509 -in "$1.crt" -noout -checkend $month >/dev/null
}

new_key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

# ca NAME
ca() {
    if valid "$pki/$1" && [ -s "$pki/ca-keys/$1.key" ]; then
        return 0
    fi
    new_key "$pki/ca-keys/$1.key"
    openssl req -x509 -new -sha256 -days 3650 -key "$pki/ca-keys/$1.key" -out "$pki/$1.crt" \
        -subj "/O=TicketGate test/CN=$1" \
        -addext 'keyUsage=critical,keyCertSign,cRLSign'
}

# leaf CA NAME server|client: server certificates name this host both ways, since mbedTLS 2.28 (under nng 1.5) compares
# the name it was given with DNS names only.
leaf() {
    if valid "$pki/$2" && [ -s "$pki/$2.key" ] &&
        openssl verify -CAfile "$pki/$1.crt" "$pki/$2.crt" >/dev/null 2>&1; then
        return 0
    fi
    new_key "$pki/$2.key"
    {
        echo 'basicConstraints=critical,CA:FALSE'
        echo 'keyUsage=critical,digitalSignature'
        echo "extendedKeyUsage=$3Auth"
        echo 'subjectAltName=DNS:localhost,IP:127.0.0.1'
    } >"$pki/$2.ext"
    openssl req -new -sha256 -key "$pki/$2.key" -subj "/O=TicketGate test/CN=$2" |
        openssl x509 -req -sha256 -days 825 -CA "$pki/$1.crt" -CAkey "$pki/ca-keys/$1.key" -extfile "$pki/$2.ext" \
            -out "$pki/$2.crt" 2>"$pki/$2.log" || {
        cat "$pki/$2.log" >&2
        exit 1
    }
    rm -f "$pki/$2.ext" "$pki/$2.log"
}

for role in gateway resolver charger operator service server public radius sae; do
    ca "$role-ca"
done

for service in gateway ticket-resolver key-store radius-bridge audit; do
    leaf server-ca "rpc-$service" server
done
leaf gateway-ca gateway-as-gateway client
leaf resolver-ca ticket-resolver-as-resolver client
leaf charger-ca charger-as-charger client
leaf operator-ca tgctl-as-operator client
for service in gateway ticket-resolver key-store radius-bridge; do
    leaf service-ca "$service-as-service" client
done

# ETSI GS QKD 014: the key centre as a KME, and two SAEs (docs/etsi014.md).
leaf server-ca kme server
leaf sae-ca charger-as-sae client
leaf sae-ca key-store-as-sae client

leaf public-ca public-gateway server
leaf radius-ca radius-server server
leaf radius-ca radius-client client

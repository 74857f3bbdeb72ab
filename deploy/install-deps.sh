#!/bin/sh
# Installs what TicketGate needs to be built, tested and shown, from Debian's own packages (Debian 12 or later).
# Safe to run again; quick when nothing is missing. Services that the packages bring are not started.
#
#   sh deploy/install-deps.sh          as root, or as a user who may use sudo
set -eu

build='gcc libc6-dev cmake ninja-build pkg-config git protobuf-c-compiler
    libprotobuf-c-dev libnng-dev libmbedtls-dev libssl-dev libradcli-dev libyaml-dev libsqlite3-dev libuv1-dev
    libjansson-dev libseccomp-dev libgnutls28-dev nettle-dev libpq-dev libcurl4-openssl-dev libmicrohttpd-dev libp11-kit-dev'
# clang, llvm and libclang-rt-dev: fuzz targets and readable reports of theirs. Go: checks the audit log independently.
tests='libcmocka-dev clang clang-format clang-tidy llvm libclang-rt-dev shellcheck softhsm2 postgresql
    golang-go golang-golang-x-mod-dev'
# netbase: /etc/services, which radcli reads. help2man: man pages. The others are the demonstration's bank and intranet, and
# tests use them as well.
running='openssl netbase freeradius openssh-server openssh-client curl busybox help2man'

fail() {
    echo "install-deps: $*" >&2
    exit 1
}

missing() {
    # shellcheck disable=SC2086,SC2016 # the lists are meant to be split; dpkg-query has its own ${...}
    dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $build $tests $running 2>/dev/null |
        awk '$1 == "ii" { print $2 }' | sort -u >"$work/installed"
    # shellcheck disable=SC2086
    printf '%s\n' $build $tests $running | sort -u | comm -23 - "$work/installed"
}

command -v apt-get >/dev/null 2>&1 || fail 'there is no apt-get here: TicketGate is built on Debian 12 or later'

work=$(mktemp -d)
policy=
cleanup() {
    [ -z "$policy" ] || $root rm -f "$policy"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

wanted=$(missing | tr '\n' ' ')
[ -n "$wanted" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
        fail "these packages are missing and neither root nor sudo is at hand to install them: $wanted"
    root=sudo
fi

# While packages are being set up, nothing of theirs may start: our own instances of FreeRADIUS and sshd do.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >"$work/policy-rc.d"
    $root install -m 0755 "$work/policy-rc.d" /usr/sbin/policy-rc.d
    policy=/usr/sbin/policy-rc.d
fi

apt() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

install_all() {
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $wanted >"$work/log" 2>&1
}

echo "installing: $wanted"
# The package lists may be missing or old: try with what is there, then with fresh ones.
if ! install_all; then
    apt update >"$work/update" 2>&1 || {
        tail -n 20 "$work/update" >&2
        fail 'apt-get update failed (see above): is a Debian mirror reachable?'
    }
    install_all || {
        tail -n 40 "$work/log" >&2
        fail 'apt-get install failed (see above)'
    }
fi

wanted=$(missing | tr '\n' ' ')
[ -z "$wanted" ] || fail "still missing after the installation: $wanted"

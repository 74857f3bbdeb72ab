#!/bin/sh
# A throw-away PostgreSQL, for tests and measurements. Started by root it runs as user postgres.
#
#   sh tests/postgres.sh check DIR            says by its exit code whether there is one
#   sh tests/postgres.sh init DIR             makes one: superuser ticketgate, trusted on its socket in DIR, over TCP with DIR/password
#   sh tests/postgres.sh copy DIR CONNINFO    makes a standby of the server at CONNINFO
#   sh tests/postgres.sh run DIR [OPTION...]  serves it until it is killed or the program that started it ends
#   sh tests/postgres.sh promote DIR          makes the primary of a standby that is served
#
# Options are the server's own, for instance -c port=5433. Exit code 77: no PostgreSQL is installed here.
set -eu
umask 077

for bin in /usr/lib/postgresql/*/bin; do :; done # Debian keeps them out of PATH
[ -x "$bin/postgres" ] || bin=$(dirname "$(command -v postgres || echo /nowhere)")
[ -x "$bin/postgres" ] || exit 77

# Whoever starts it may be killed: then it must not stay.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        exec setpriv --reuid postgres --regid postgres --clear-groups --pdeathsig KILL env -C / "$@"
    fi
    exec setpriv --pdeathsig KILL env -C / "$@"
}

own() { # DIR
    mkdir -p "$1"
    [ "$(id -u)" -ne 0 ] || chown postgres: "$1"
}

what=${1-} dir=${2-}
[ -n "$dir" ] || what=
case $what in
check) ;;
init)
    own "$dir"
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$dir/password"
    [ "$(id -u)" -ne 0 ] || chown postgres: "$dir/password"
    (as_server "$bin/initdb" -D "$dir/data" -U ticketgate --auth-local=trust \
        --auth-host=scram-sha-256 --pwfile="$dir/password" --encoding=UTF8 --locale=C --no-sync >/dev/null)
    ;;
copy)
    own "$dir"
    (as_server "$bin/pg_basebackup" -D "$dir/data" -d "$3" -R -X stream -c fast --no-sync)
    ;;
run)
    shift 2
    as_server "$bin/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir" "$@"
    ;;
promote)
    (as_server "$bin/pg_ctl" promote -w -D "$dir/data" >/dev/null)
    ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac

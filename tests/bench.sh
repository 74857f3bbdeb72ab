#!/bin/sh
# Measures on this machine, with everything on it (FreeRADIUS included), and ends with one line of key=value pairs.
#
#   sh tests/bench.sh login      complete logins: logins_per_s p50_ms p99_ms cpu_ms_per_login
#   sh tests/bench.sh forward    bytes through one session: up1_mb_s down1_mb_s up8_mb_s down8_mb_s
#   sh tests/bench.sh spend      durable spends with 64 callers: spends_per_s p50_ms p99_ms; with 1 and 8: ..._1, ..._8
#   sh tests/bench.sh audit      durable events with 1, 8 and 64 callers, searching, and verifying: events_per_s p50_ms p99_ms
#                                (64 callers) verify_entries_per_s
#   sh tests/bench.sh start      the key store after kill -9 with BENCH_KEYS (1000000) keys: ready_ms
#
# BENCH_SECONDS (10) and BENCH_CLIENTS (16) change the load; BENCH_DATABASE=postgres measures the key store on a PostgreSQL of
# this machine. TG_INSTALL=no leaves the machine's packages alone.
set -eu
umask 077
cd "$(dirname "$0")/.."

case ${1-} in
login | forward | spend | audit | start) what=$1 ;;
*)
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac
seconds=${BENCH_SECONDS:-10}
clients=${BENCH_CLIENTS:-16}

[ "${TG_INSTALL-}" = no ] || sh deploy/install-deps.sh
mkdir -p build
{
    cmake --preset release && cmake --build --preset release
} >build/release.log 2>&1 || {
    tail -n 40 build/release.log >&2
    exit 1
}

# What is measured is not this machine's disk: shields and state lie in memory where that is possible, but for the audit log
# and the key store, which must be durable.
base=/tmp
dir=$(mktemp -d $base/tg-bench.XXXXXX)
bin=$(pwd)/build/release/bin
finish() {
    code=$?
    trap - EXIT
    [ -z "${part_pids-}" ] || stop_parts
    [ -z "${postgres-}" ] || rm -rf "$postgres"
    if [ "$code" -eq 0 ]; then
        rm -rf "$dir" "$shields"
    else
        echo "bench: failed; logs in $dir/log" >&2
        [ -z "${shields-}" ] || rm -rf "$shields"
    fi
    exit "$code"
}
shields=
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

sh deploy/setup.sh "$dir"
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
    shields=$(mktemp -d /dev/shm/tg-bench.XXXXXX)
    rmdir "$dir/shields"
    ln -s "$shields" "$dir/shields"
fi
# shellcheck source=/dev/null
. "$dir/instance.env"
# shellcheck source=deploy/lib-instance.sh
. deploy/lib-instance.sh
# BENCH_DATABASE=postgres: the key store on a throw-away PostgreSQL instead of SQLite.
if [ "${BENCH_DATABASE-}" = postgres ]; then
    postgres=$(mktemp -d /tmp/tg-bench-pg.XXXXXX)
    sh tests/postgres.sh init "$postgres"
    start_part postgres 'ready to accept connections' sh tests/postgres.sh run "$postgres"
    sed -i "s|^database:.*|postgres: {conninfo: \"host=$postgres user=ticketgate dbname=postgres\"}|" "$dir/config/key-store.yaml"
fi
start_services

bench_login() {
    logins=$((clients * ${BENCH_LOGINS:-200}))
    echo "filling $clients shields with ${BENCH_LOGINS:-200} keys each"
    for number in $(seq "$clients"); do
        fill_shield "bench-$number" alice "$((${BENCH_LOGINS:-200} * 3 / 2))" --owner alice >/dev/null 2>&1
    done
    pids=
    for part in freeradius audit radius-bridge key-store ticket-resolver gateway; do
        pids="$pids,$part=$(cat "$dir/run/$part.pid")"
    done
    echo "$logins logins with $clients clients"
    "$bin/tg-load" --gateway "localhost:$TG_GATEWAY_PORT" --ca "$dir/pki/public-ca.crt" --user alice \
        --password-file "$dir/secrets/alice.password" --pin-file "$dir/secrets/alice.pin" --shields "$shields" \
        --concurrency "$clients" --logins "$logins" --pids "${pids#,}"
}

bench_forward() {
    start_part tg-stream ready "$bin/tg-stream" serve "$TG_SSH_PORT"
    fill_shield bench alice 4 --owner alice >/dev/null
    forward=$(echo "$TG_LOCAL_PORTS" | cut -d' ' -f1)
    start_part ticketgate 'connected as' "$bin/ticketgate" connect --gateway "localhost:$TG_GATEWAY_PORT" \
        --ca "$dir/pki/public-ca.crt" --user alice --shield "$dir/shields/bench" \
        --password-file "$dir/secrets/alice.password" --pin-file "$dir/secrets/alice.pin" \
        -L "$forward:127.0.0.1:$TG_SSH_PORT"
    printf '%-28s %10s\n' 'MB/s' ''
    line=
    for streams in 1 8; do
        for way in up down; do
            raw=$("$bin/tg-stream" measure "$way" "$TG_SSH_PORT" 3 "$streams")
            got=$("$bin/tg-stream" measure "$way" "$forward" "$seconds" "$streams")
            printf '%-4s %d stream%-1s        %10s      (loopback without TicketGate: %s)\n' "$way" "$streams" \
                "$([ "$streams" = 1 ] || echo s)" "$got" "$raw"
            line="$line $way${streams}_mb_s=$got"
        done
    done
    echo "${line# }"
}

spend_with() { # NAME: the figures of the key store as it runs now; the last line, without a line feed, in $dir/run/NAME
    pids=
    for part in key-store audit; do
        pids="$pids,$part=$(cat "$dir/run/$part.pid")"
    done
    tgctl shield add bench --owner alice >/dev/null
    "$bin/tg-spend" --resolver "ipc://$dir/run/key-store-resolver.sock" --charger "ipc://$dir/run/key-store-charger.sock" \
        --qkud "$TG_QKUD_ID" --shield bench --user alice --password-file "$dir/secrets/alice.password" \
        --scratch "$dir/data/key-store" --pids "${pids#,}" --seconds "$seconds" >"$dir/run/spend.out"
    sed '$d' "$dir/run/spend.out"
    tail -n 1 "$dir/run/spend.out" | tr -d '\n' >"$dir/run/$1"
}

use_postgres() { # the same key store, its rows on a PostgreSQL of this machine with everything synced
    chmod 711 "$dir"
    sh tests/postgres.sh init "$dir/pg"
    start_part postgres 'database system is ready' sh tests/postgres.sh run "$dir/pg"
    stop_one key-store
    sed -i "s|^database:.*|postgres: {conninfo: \"host=$dir/pg dbname=postgres user=ticketgate\"}|" "$dir/config/key-store.yaml"
    start_service key-store
    tgctl qkud add "$TG_QKUD_ID" --out "$dir/secrets/qkud-postgres.key" >/dev/null
}

bench_spend() {
    echo 'SQLite'
    spend_with sqlite
    if sh tests/postgres.sh check "$dir"; then
        use_postgres
        echo
        echo 'PostgreSQL, on the same disk'
        spend_with postgres
        echo
        sed 's/^\(spends_per_s=[0-9]*\) \(p50_ms=[0-9.]*\) \(p99_ms=[0-9.]*\).*/ postgres_\1 postgres_\2 postgres_\3/' \
            "$dir/run/postgres" >>"$dir/run/sqlite"
    fi
    cat "$dir/run/sqlite"
    echo
}

bench_audit() {
    "$bin/tg-audit-load" "ipc://$dir/run/audit-service.sock" "$seconds" 1 8 64 | tee "$dir/run/audit-load"
    tgctl audit key >"$dir/run/audit.vkey"
    stop_one audit # all is signed when it has ended
    mkdir "$dir/data/search" # of BENCH_EVENTS events, 600 bytes each
    "$bin/tg-audit-search" "$dir/data/search" "${BENCH_EVENTS:-1000000}"
    verified=$("$bin/tg-audit-verify" --key "$dir/run/audit.vkey" "$dir/data/audit")
    echo "$verified"
    echo "$(tail -n 1 "$dir/run/audit-load") verify_entries_per_s=$(echo "$verified" |
        sed -n 's/.*: \([0-9]*\) entries.*(\([0-9]*\) ms).*/\1 \2/p' | awk '{ printf "%d", $1 * 1000 / ($2 > 0 ? $2 : 1) }')"
}

# From the start of the program to its "ready", by the clock of its log; the log replays what was killed.
bench_start() {
    stop_one key-store
    echo "making ${BENCH_KEYS:-1000000} keys"
    "$bin/tg-keys" "$dir/data/key-store/keys.db" "${BENCH_KEYS:-1000000}" || [ $? -eq 137 ] # kill -9
    du -h "$dir/data/key-store/"keys.db*
    began=$(date +%s%N)
    start_service key-store
    ready=$(date -d "$(sed -n 's/^{"time":"\([^"]*\)".*"event":"service.ready".*/\1/p' "$dir/log/key-store.log")" +%s%N)
    wait_for 'the check of all keys' 6000 grep -qF '"event":"database.checked"' "$dir/log/key-store.log"
    checked=$(date +%s%N)
    echo "checked all keys in the background within $(((checked - began) / 1000000)) ms"
    echo "keys=${BENCH_KEYS:-1000000} ready_ms=$(((ready - began) / 1000000))"
}

stop_one() { # NAME
    stopped=$(cat "$dir/run/$1.pid")
    kill "$stopped"
    wait "$stopped" || true
}

"bench_$what"

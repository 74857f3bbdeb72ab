# shellcheck shell=sh
# Starts and stops the parts of an instance that setup.sh made. Sourced by deploy/demo.sh and tests/bench.sh, which set
# $dir (the instance) and $bin (the programs) and call stop_parts when they end.

: "${dir:?the instance}" "${bin:?where the programs are}"
part_pids= # newest first

# start_part NAME READY COMMAND...: in the background, its output in $dir/log/NAME.log; waits until that says READY. The
# process id is left in $dir/run/NAME.pid.
start_part() {
    part=$1 ready=$2
    shift 2
    part_log=$dir/log/$part.log
    : >"$part_log"
    "$@" >>"$part_log" 2>&1 &
    part_pid=$!
    part_pids="$part_pid $part_pids"
    echo "$part_pid" >"$dir/run/$part.pid"
    [ "$ready" = . ] || wait_for "$part" 300 grep -qF -- "$ready" "$part_log"
}

# wait_for WHAT TENTHS COMMAND...: until the command succeeds, while the newest part lives.
wait_for() {
    waited_for=$1 tenths=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        if [ "$tenths" -le 0 ] || ! kill -0 "$part_pid" 2>/dev/null; then
            echo "$waited_for did not come up; the end of its log, $part_log:" >&2
            tail -n 20 "$part_log" >&2
            return 1
        fi
        tenths=$((tenths - 1))
        sleep 0.1
    done
}

start_service() { # NAME
    start_part "$1" '"event":"service.ready"' "$bin/tg-$1" --config "$dir/config/$1.yaml"
}

tgctl() {
    "$bin/tgctl" --config "$dir/config/tgctl.yaml" "$@"
}

# FreeRADIUS and the five services, and the gateway's registration in between.
start_services() {
    freeradius=$(command -v freeradius || echo /usr/sbin/freeradius)
    start_part freeradius 'Ready to process requests' "$freeradius" -f -l stdout -d "$dir/freeradius" -n radiusd
    for service in audit radius-bridge key-store ticket-resolver; do
        start_service $service
    done
    if [ ! -s "$dir/secrets/qkud.key" ]; then
        tgctl qkud add "$TG_QKUD_ID" --out "$dir/secrets/qkud.key" >/dev/null
    fi
    start_service gateway
    wait_for 'health of all services' 300 tgctl health
}

# The intranet: a web server and an sshd, on loopback.
start_intranet() {
    if [ "$(id -u)" -eq 0 ]; then
        mkdir -p /run/sshd # sshd's own empty directory, which Debian makes when its service starts
    fi
    start_part sshd 'Server listening on' /usr/sbin/sshd -D -e -f "$dir/intranet/sshd_config"
    start_part web . busybox httpd -f -p "127.0.0.1:$TG_WEB_PORT" -h "$dir/intranet/www"
    wait_for 'the intranet web server' 100 curl -sf -o "$dir/run/page" "http://127.0.0.1:$TG_WEB_PORT/"
}

# fill_shield SHIELD USER COUNT [--owner USER]
fill_shield() {
    fill_id=$1 fill_user=$2 fill_count=$3
    shift 3
    tgctl shield add "$fill_id" "$@" >/dev/null
    "$bin/tg-charger" --config "$dir/config/tg-charger.yaml" --shield "$dir/shields/$fill_id" --shield-id "$fill_id" \
        --user "$fill_user" --count "$fill_count" --password-file "$dir/secrets/$fill_user.password" \
        --pin-file "$dir/secrets/$fill_user.pin"
}

stop_parts() {
    for part_pid in $part_pids; do
        kill "$part_pid" 2>/dev/null || true
    done
    for part_pid in $part_pids; do
        wait "$part_pid" 2>/dev/null || true
    done
    part_pids=
}

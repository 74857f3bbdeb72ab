#!/bin/sh
# Shows the whole of TicketGate on this machine: builds it, starts FreeRADIUS (over TLS), the five services, an intranet web
# server and an sshd, fills a shield, logs in, works in the intranet with unmodified curl and ssh, and shows what the
# audit log holds of that login. Then it stays up for trying by hand, until Ctrl-C.
#
#   sh deploy/demo.sh [--once] [--dir DIR]
#
#   --once      end after the show; exit code 0 only if all of it worked
#   --dir DIR   where the instance lies, and stays afterwards (default: a directory under /tmp, removed at the end)
#
# TG_INSTALL=no leaves the machine's packages alone.
set -eu
umask 077
cd "$(dirname "$0")/.."
top=$(pwd)

once=no
dir=
keep=no
while [ $# -gt 0 ]; do
    case $1 in
    --once) once=yes ;;
    --dir)
        [ $# -ge 2 ] || set -- --dir ''
        dir=$2 keep=yes
        shift
        ;;
    *) dir='' keep=yes ;;
    esac
    shift
done
if [ "$keep" = yes ] && [ -z "$dir" ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi

number=0
step() { # TEXT: what is shown next, and why
    number=$((number + 1))
    printf '\n%s%2d. %s%s\n' "$bold" "$number" "$1" "$plain"
}

show() { # the command, as one would type it, and its output
    printf '%s   $ %s%s\n' "$dim" "$1" "$plain"
    shift
    shown=0
    "$@" >"$dir/run/shown" 2>&1 || shown=$?
    sed 's/^/     /' "$dir/run/shown"
    return $shown
}

bold='' dim='' plain=''
if [ -t 1 ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
fi

worked=no
finish() {
    code=$?
    trap - EXIT
    if [ -n "${part_pids-}" ]; then
        printf '\nstopping everything\n'
        stop_parts
    fi
    if [ "$worked" = no ] && [ "$code" -ne 0 ]; then
        printf '%sThe demonstration did not work.%s' "$bold" "$plain"
        [ -z "$dir" ] || printf ' Its logs are in %s/log.' "$dir"
        printf '\n'
    elif [ "$keep" = no ] && [ -n "$dir" ]; then
        rm -rf "$dir"
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

fail() {
    echo "demo: $*" >&2
    exit 1
}

step 'Install what is missing, from Debian packages'
[ "${TG_INSTALL-}" = no ] || sh deploy/install-deps.sh

step 'Build (what is deployed: optimised, hardened)'
mkdir -p build
{
    cmake --preset release && cmake --build --preset release
} >build/release.log 2>&1 || {
    tail -n 40 build/release.log >&2
    fail 'the build failed; the whole of its output is in build/release.log'
}
bin=$top/build/release/bin
echo "   in $top/build/release/bin: $(cd "$bin" && echo tg* ticketgate)"

[ -n "$dir" ] || dir=$(mktemp -d /tmp/ticketgate.XXXXXX)
sh deploy/setup.sh "$dir"
dir=$(cd "$dir" && pwd)
# shellcheck source=/dev/null
. "$dir/instance.env"
# shellcheck source=deploy/lib-instance.sh
. deploy/lib-instance.sh
step 'Make certificates, secrets and configuration, and start the bank'
echo "   all of it lies in $dir"
start_services
start_intranet
show 'tgctl health' tgctl health

shield=shield-$(date +%s)
step 'An operator registers a shield for alice; the charger fills it with fresh quantum keys'
show "tg-charger --shield $shield --user alice --count 20" fill_shield "$shield" alice 20 --owner alice
cp -p "$dir/shields/$shield" "$dir/shields/$shield.copy" # a thief's copy, for step 8

forward=$(echo "$TG_LOCAL_PORTS" | cut -d' ' -f1)
# connect SHIELD OPTION...: what alice types, but for the password and PIN that she would type, too.
connect=$dir/run/connect
cat >"$connect" <<END
#!/bin/sh
shield=\$1
shift
exec $bin/ticketgate connect --gateway localhost:$TG_GATEWAY_PORT --ca $dir/pki/public-ca.crt --user alice \\
    --shield "$dir/shields/\$shield" --password-file $dir/secrets/alice.password --pin-file $dir/secrets/alice.pin "\$@"
END
chmod u+x "$connect"

step 'alice logs in: a key from the shield, then her password, sealed under that key, on to RADIUS'
start_part ticketgate 'connected as' "$connect" "$shield" -L "$forward:127.0.0.1:$TG_WEB_PORT"
sed 's/^/     /' "$dir/log/ticketgate.log"
trace=$(tgctl --json session list | sed -n 's/.*"trace_id":"\([0-9a-f]*\)".*/\1/p' | head -n 1)
[ -n "$trace" ] || fail 'the session is not in the list of sessions'
show 'tgctl session list' tgctl session list

step 'She reads an intranet page through the gateway, with the curl that everybody has'
show "curl http://127.0.0.1:$forward/" curl -sS --fail -o "$dir/run/page" "http://127.0.0.1:$forward/"
cmp "$dir/run/page" "$dir/intranet/www/index.html" || fail 'that is not the intranet page'
sed 's/^/     /' "$dir/run/page"

step 'She runs a command on an intranet server over ssh, ticketgate being its ProxyCommand'
cat >"$dir/run/ssh_config" <<END
Host intranet
    HostName 127.0.0.1
    Port $TG_SSH_PORT
    User $(id -un)
    HostKeyAlias intranet
    IdentityFile $dir/intranet/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile $dir/intranet/known_hosts
    StrictHostKeyChecking yes
    ProxyCommand $connect $shield -W %h:%p
END
said=$(ssh -F "$dir/run/ssh_config" intranet echo hello from the intranet 2>"$dir/log/ssh.log") || {
    cat "$dir/log/ssh.log" >&2
    fail 'ssh did not get through'
}
echo "   \$ ssh intranet echo hello from the intranet"
echo "     $said"
[ "$said" = 'hello from the intranet' ] || fail 'the command said something else'

step 'A thief who copied the shield, PIN and password: each ticket opens once, so this one opens nothing'
if "$connect" "$shield.copy" -W "127.0.0.1:$TG_WEB_PORT" </dev/null >"$dir/log/thief.log" 2>&1; then
    fail 'a ticket was taken twice'
fi
sed 's/^/     /' "$dir/log/thief.log"
tgctl audit list --event login.refused | tail -n 1 | sed 's/^/     /'

step 'What the audit log holds of her login, by the trace id that all parts share'
show "tgctl audit list --trace $trace" tgctl audit list --trace "$trace"
accepted=$(tgctl --json audit list --trace "$trace" --event login.accepted)
[ "$(echo "$accepted" | wc -l)" -eq 1 ] || fail 'the audit log does not hold that login'
show 'tgctl audit verify' tgctl audit verify

step 'Proof of that login for somebody who has nothing but the log'\''s public key'
sequence=$(echo "$accepted" | sed -n 's/.*"sequence":\([0-9]*\).*/\1/p')
tgctl audit key >"$dir/run/log.vkey"
wait_for 'the receipt' 50 tgctl audit receipt "$sequence" # a checkpoint covers an event within a second
tgctl audit receipt "$sequence" >"$dir/run/$sequence.tlog-proof"
show "tgctl audit receipt $sequence >$sequence.tlog-proof; tg-audit-verify --key log.vkey --receipt $sequence.tlog-proof" \
    "$bin/tg-audit-verify" --key "$dir/run/log.vkey" --receipt "$dir/run/$sequence.tlog-proof"

worked=yes
[ "$once" = no ] || exit 0

cat <<END

${bold}Everything is up. To try by hand, in another terminal:${plain}

    cd $dir; PATH=$bin:\$PATH
    curl http://127.0.0.1:$forward/
    ssh -F run/ssh_config intranet
    ticketgate shield status --shield shields/$shield --pin-file secrets/alice.pin
    ticketgate connect --gateway localhost:$TG_GATEWAY_PORT --ca pki/public-ca.crt --user alice --shield shields/$shield \\
        -L 8080:127.0.0.1:$TG_WEB_PORT        (password: cat secrets/alice.password; PIN: cat secrets/alice.pin)
    tgctl --config config/tgctl.yaml audit follow
    tgctl --config config/tgctl.yaml session list

Ctrl-C ends it all.
END
# Until a part dies or the user has had enough.
while :; do
    for pid in $part_pids; do
        kill -0 "$pid" 2>/dev/null || fail "one of the parts ended by itself (process $pid)"
    done
    sleep 1
done

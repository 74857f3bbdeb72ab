#!/bin/sh
# Builds with sanitizers, runs the tests and ends with one line: N passed, N failed, N skipped.
#
#   sh tests/run.sh [unit|integration|lint|fuzz|etsi014|audit|postgres|all]      default: all = lint, unit and integration
#   sh tests/run.sh crash [ROUNDS]       kill -9, power cuts and failing disks under load (200 rounds); ends with
#                                        rounds: N, spent twice: 0, acknowledged lost: 0
#
# A cmocka program counts each of its cases. FUZZ_SECONDS says how long each fuzz target runs (60).
# TG_INSTALL=no leaves the machine's packages alone.
set -eu
cd "$(dirname "$0")/.."

what=${1-all}
case $what in
unit | integration | lint | fuzz | etsi014 | audit | postgres) labels=$what ;;
all) labels='lint|unit|integration' ;;
crash) rounds=${2-200} ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac

# Whatever happens before the tests counts as one failure, so that the last line is always there.
summary='0 passed, 1 failed, 0 skipped'
trap 'echo "$summary"' EXIT
trap 'exit 1' HUP INT TERM

[ "${TG_INSTALL-}" = no ] || sh deploy/install-deps.sh

build() { # PRESET: configures and builds build/PRESET
    launcher=
    if command -v ccache >/dev/null 2>&1; then
        launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache
    fi
    mkdir -p build
    # shellcheck disable=SC2086 # empty or one word
    cmake --preset "$1" $launcher >build/configure.log 2>&1 || {
        cat build/configure.log
        exit 1
    }
    cmake --build --preset "$1" -- --quiet
}

# "passed failed skipped" from ctest's JUnit file.
count() {
    awk '
        function close_case(    name, bad) {
            for (name in failed_names) bad++
            if (status == "notrun" || status == "disabled") skipped++
            else if (status == "fail") { failed += bad > 0 ? bad : 1; passed += good; skipped += skips }
            else { passed += good + skips > 0 ? good : 1; skipped += skips }
            status = ""; good = skips = 0; delete failed_names
        }
        /<testcase / { match($0, /status="[a-z]*"/); status = substr($0, RSTART + 8, RLENGTH - 9) }
        /^\[ +OK \] / { good++ }
        /^\[ +SKIPPED +\] / && !/listed below/ { skips++ }
        /^\[ +FAILED +\] / && !/listed below/ { failed_names[$NF] = 1 }
        /<\/testcase>/ { close_case() }
        END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

run_ctest() {
    build debug
    junit=$(pwd)/build/debug/junit.xml
    rm -f "$junit"
    code=0
    ctest --test-dir build/debug -L "^($labels)\$" -j "$(($(nproc) * 2))" --output-on-failure --no-tests=error \
        --output-junit "$junit" --test-output-size-passed 10000000 --test-output-size-failed 10000000 || code=$?
    [ -s "$junit" ] || exit 1
    counts=$(count "$junit")
}

fuzz_one() { # PROGRAM: its findings stay in build/fuzz/found
    name=$(basename "$1")
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus" build/fuzz/found
    seeds=tests/fuzz/corpus/$name
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086 # empty or one word
    if "$1" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/found/$name-" "$corpus" $seeds >"build/fuzz/$name.log" 2>&1; then
        echo "passed $name: $(sed -n 's/stat::number_of_executed_units: */runs /p' "build/fuzz/$name.log")"
    else
        tail -n 40 "build/fuzz/$name.log"
        echo "failed $name: input in build/fuzz/found, log in build/fuzz/$name.log"
    fi
}

run_fuzz() {
    build fuzz
    results=$(mktemp)
    running=0
    for program in build/fuzz/bin/fuzz_*; do
        [ -x "$program" ] || continue
        fuzz_one "$program" >"$results.$(basename "$program")" &
        running=$((running + 1))
        if [ $running -ge "$(nproc)" ]; then
            wait
            running=0
        fi
    done
    wait
    cat "$results".* 2>/dev/null | tee "$results"
    counts="$(grep -c '^passed ' "$results" || true) $(grep -c '^failed ' "$results" || true) 0"
    code=0
    rm -f "$results" "$results".*
}

# What is deployed is what is tried: the release build. First on disks that lie about having synced: unless that is noticed,
# the rounds after it would prove nothing.
run_crash() {
    build release
    summary='the crash rounds did not come to their end'
    if build/release/bin/tg-crash 30 1 lying-disks >build/crash-lying.log 2>&1 ||
        ! grep -q '^rounds: ' build/crash-lying.log; then
        cat build/crash-lying.log
        echo 'disks that lie about having synced went unnoticed'
        exit 1
    fi
    echo 'disks that lie about having synced were noticed, as they must be'
    lying=$(sed -n 's|^instance: \(/tmp/tg-[A-Za-z0-9]*\)$|\1|p' build/crash-lying.log) # left for a look, as after any failure
    [ -z "$lying" ] || rm -rf "$lying"
    code=0
    build/release/bin/tg-crash "$rounds" || code=$?
    if [ $code -le 1 ]; then
        trap - EXIT # its last line is ours
    fi
    exit $code
}

if [ "$what" = crash ]; then
    run_crash
elif [ "$what" = fuzz ]; then
    run_fuzz
else
    run_ctest
fi
# shellcheck disable=SC2086 # three numbers
set -- $counts
summary="$1 passed, $2 failed, $3 skipped"
if [ "$1" -eq 0 ] && [ "$2" -eq 0 ]; then
    echo 'no test was run'
    exit 1
fi
[ "$2" -eq 0 ] && [ "$code" -eq 0 ]

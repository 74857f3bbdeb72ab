#!/bin/sh
# One check of the sources (ctest runs each as a test of its own; tests/run.sh lint runs them all).
#
#   sh tests/lint.sh format            clang-format over all our C
#   sh tests/lint.sh tidy BUILD_DIR    clang-tidy over what BUILD_DIR has compiled; results are kept there by content
#   sh tests/lint.sh shell             shell scripts
#   sh tests/lint.sh tree              nothing generated, binary or secret under version control, and the pages name only
#                                      files and tests that are there
#   sh tests/lint.sh samples BUILD_DIR every key of a program's configuration stands in its sample
#
# Exit code 77: cannot be checked here (no git work tree).
set -eu
cd "$(dirname "$0")/.."
top=$(pwd)

files() { # PATTERN...: tracked and new files, without the build trees
    if in_git; then
        git -c safe.directory="$top" ls-files --cached --others --exclude-standard -- "$@" | sort -u |
            while IFS= read -r file; do [ ! -f "$file" ] || echo "$file"; done
    else
        for pattern in "$@"; do
            find . -path ./build -prune -o -type f -name "${pattern##*/}" -print | sed 's|^\./||'
        done | sort -u
    fi
}

in_git() {
    git -c safe.directory="$top" rev-parse --is-inside-work-tree >/dev/null 2>&1
}

some() { # a check that looks at nothing must not pass
    [ -s "$1" ] || {
        echo "lint: found no files to check" >&2
        exit 1
    }
}

lint_format() {
    files '*.c' '*.h' >"$list"
    some "$list"
    xargs clang-format --dry-run -Werror <"$list"
}

# Our own files that each object of BUILD_DIR was compiled from, one line an object, the .c first; ninja knows them.
tidy_units() {
    ninja -C "$1" -t deps | awk -v top="$top/" '
        function put() { if (unit != "") print unit }
        /^[^ ]/ { put(); unit = ""; next }
        /^    / {
            path = substr($0, 5)
            sub("^(\\.\\./)+", top, path)
            if (index(path, "/") != 1) path = "BUILD/" path
            if (index(path, top) != 1 && index(path, "BUILD/") != 1) next
            sub(top, "", path)
            unit = unit == "" ? path : unit " " path
        }
        END { put() }' | sed "s| BUILD/| $1/|g" | grep -E '^(common|services|client|tools|tests)/[^ ]*\.c ' | sort -u
}

# tidy_unit BUILD_DIR CACHE SOURCE HEADER...: nothing to do when the same bytes were found good before.
tidy_unit() {
    build=$1 cache=$2
    shift 2
    sum=$(cat .clang-tidy tests/.clang-tidy "$@" | sha256sum | cut -d' ' -f1)
    [ ! -e "$cache/$sum" ] || return 0
    if clang-tidy --quiet -p "$build" "$1" >"$cache/$sum.out" 2>&1; then
        mv "$cache/$sum.out" "$cache/$sum"
    else
        grep -v 'warnings generated' "$cache/$sum.out"
        rm -f "$cache/$sum.out"
        return 1
    fi
}

lint_tidy() {
    build=${1:?the build directory}
    case $build in "$top"/*) build=${build#"$top"/} ;; esac
    cache=$build/tidy
    mkdir -p "$cache"
    find "$cache" -name '*.out' -delete
    tidy_units "$build" >"$list"
    some "$list"
    xargs -P "$(nproc)" -L 1 sh tests/lint.sh tidy-unit "$build" "$cache" <"$list"
}

lint_shell() {
    files '*.sh' '.ci/run' >"$list"
    some "$list"
    while IFS= read -r script; do
        sh -n "$script"
    done <"$list"
    xargs shellcheck -x -S warning <"$list"
}

lint_tree() {
    in_git || exit 77
    git -c safe.directory="$top" ls-files --eol >"$list"
    some "$list"
    bad=$(awk -F'\t' '
        $1 ~ /^i\/-text/ { print $2 ": binary" }
        $2 ~ /(^|\/)build\/|\.(o|a|so|gcda|profraw)$|\.pb-c\.[ch]$/ { print $2 ": generated" }
        $2 ~ /\.(key|pem|crt|p12)$/ { print $2 ": a key or certificate" }' "$list")
    [ -z "$bad" ] || {
        echo "$bad"
        exit 1
    }
    lint_pages
}

# What the pages name in backquotes: paths from the top of the tree, bare names of sources, and in docs/seed.md tests.
lint_pages() {
    files '*' >"$list"
    cases=$(grep -rhoE --include='*.c' '^static void [a-z0-9_]+\(void \*\*' tests | sed 's/.* \([a-z0-9_]*\)(.*/\1/')
    code=0
    seed_cases | while read -r file case; do
        grep -E "(^|/)$file\$" "$list" | xargs grep -q "^static void $case(" || echo "docs/seed.md: no $case in $file"
    done | grep . && code=1
    for page in README.md docs/*.md; do
        for name in $(grep -o '`[^` ]*`' "$page" | tr -d '`' | sort -u); do
            case $name in
            client/* | cmake/* | common/* | deploy/* | docs/* | proto/* | services/* | tests/* | tools/*)
                # shellcheck disable=SC2086 # a pattern, perhaps
                ls -d $name >/dev/null 2>&1
                ;;
            *.c | *.h | *.sh | *.proto) grep -qE "(^|/)$(echo "$name" | sed 's/\./\\./g; s/\*/.*/g')\$" "$list" ;;
            *[!a-z0-9_]*) true ;;
            *_*) [ "$page" != docs/seed.md ] || echo "$cases" | grep -qx "$name" || grep -rqw "$name" services ;;
            esac || {
                echo "$page: names $name, which is not there"
                code=1
            }
        done
    done
    return $code
}

# "FILE CASE" of each `FILE`: `CASE`, `CASE` in docs/seed.md.
seed_cases() {
    awk -F'`' '{
        file = ""
        for (i = 2; i <= NF; i += 2) {
            if (file != "" && $(i - 1) ~ /^(: |, )$/ && $i !~ /\./) print file, $i
            else file = $i ~ /\.c$/ && $(i + 1) == ": " ? $i : ""
        }
    }' docs/seed.md
}

# Keys as --config-help lists them: the last part of each has to stand in the sample, at least as a comment.
lint_samples() {
    build=${1:?the build directory}
    code=0
    for sample in deploy/config/*.yaml; do
        program=tg-$(basename "$sample" .yaml)
        case $program in tg-tg*) program=${program#tg-} ;; esac
        "$build/bin/$program" --config-help | sed -n 's/^\([a-z0-9_.]*\(\[\]\)*[a-z0-9_.]*\): .*/\1/p' >"$list"
        some "$list"
        while IFS= read -r key; do
            grep -qE "(^|[^a-z0-9_])${key##*.}:" "$sample" || {
                echo "$sample: does not show $key"
                code=1
            }
        done <"$list"
    done
    return $code
}

if [ "${1-}" = tidy-unit ]; then
    shift
    tidy_unit "$@"
    exit
fi
list=$(mktemp)
trap 'rm -f "$list"' EXIT
case ${1-} in
format | shell | tree) "lint_$1" ;;
tidy | samples) "lint_$1" "${2-}" ;;
*)
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac

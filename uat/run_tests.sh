#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the checks and every test: beside each other, and then, by
# themselves, those that hold seconds against what was promised.
#   ./uat/run_tests.sh [--no-checks] [--without MARKER] [arguments of pytest: what they select, one after another]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

checks=yes
and_not=""
while :; do
    case "${1:-}" in
        --no-checks) checks=no ;;
        --without)
            and_not="and not ${2:?--without needs the name of a marker}"
            shift
            ;;
        *) break ;;
    esac
    shift
done
./uat/start_server.sh --install-only dev
venv="${LLM_CALLER_VENV:-.venv}"
[ "$checks" = no ] || ./uat/check.sh
pytest=("$venv/bin/python" -m pytest)
if [ $# -gt 0 ]; then
    [ -z "$and_not" ] || set -- -m "${and_not#and }" "$@"
    exec "${pytest[@]}" "$@"
fi
"${pytest[@]}" --numprocesses auto --dist worksteal -m "not alone $and_not"
exec "${pytest[@]}" -m "alone $and_not"

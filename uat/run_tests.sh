#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the checks and every test: beside each other, and then, by
# themselves, those that hold seconds against what was promised.
#   ./uat/run_tests.sh [--no-checks] [arguments of pytest: what they select, one after another]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

checks=yes
if [ "${1:-}" = --no-checks ]; then
    checks=no
    shift
fi
./uat/start_server.sh --install-only dev
venv="${LLM_CALLER_VENV:-.venv}"
[ "$checks" = no ] || ./uat/check.sh
pytest=("$venv/bin/python" -m pytest)
[ $# -eq 0 ] || exec "${pytest[@]}" "$@"
"${pytest[@]}" --numprocesses auto --dist worksteal -m "not alone"
exec "${pytest[@]}" -m alone

#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the checks and every test.
#   ./uat/run_tests.sh [--no-checks] [arguments of pytest]
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
exec "$venv/bin/python" -m pytest "$@"

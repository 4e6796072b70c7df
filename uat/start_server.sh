#!/usr/bin/env bash
# Starts LLM Caller from a bare checkout: makes what is missing, then becomes the server.
#   ./uat/start_server.sh [--local-model]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "llm-caller: Python 3.11 or newer is needed; set PYTHON to its path" >&2
    exit 1
}

exec "$(find_python)" uat/bootstrap.py "$@"

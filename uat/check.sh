#!/usr/bin/env bash
# The check command: style, types, import rules, migrations, deployment, templates, generated pages.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin="${LLM_CALLER_VENV:-.venv}/bin"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
# Django's own checks get settings of their own: secrets made for this run, and nothing of the operator's.
export LLM_CALLER_ENV_FILE="$scratch/check.env" LLM_CALLER_STATE_DIR="$scratch/var" LLM_CALLER_CONFIG_DIR="$scratch/config"
export LLM_CALLER_PUBLIC_URL=https://llm.example.org
unset DATABASE_URL DJANGO_SECRET_KEY LLM_CALLER_TOKEN_PEPPERS LLM_CALLER_ENCRYPTION_KEYS
mkdir "$scratch/var"
"$bin/python" -m gateway.envfile 2>/dev/null || exit 1

failed=()
check() {
    local name="$1"
    shift
    if "$@" >"$scratch/output" 2>&1; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        cat "$scratch/output"
        failed+=("$name")
    fi
}

check "format" "$bin/ruff" format --check .
check "lint" "$bin/ruff" check .
check "types" "$bin/mypy"
check "imports" "$bin/lint-imports"
check "migrations" "$bin/python" manage.py makemigrations --check --dry-run
check "deployment" "$bin/python" manage.py check --deploy --fail-level WARNING
check "templates" "$bin/djlint" --check --lint templates
check "generated pages" "$bin/python" manage.py write_docs --check

if [ "${#failed[@]}" -gt 0 ]; then
    echo "${#failed[@]} failed: ${failed[*]}" >&2
    exit 1
fi

#!/usr/bin/env bash
# Runs a command with DATABASE_URL (and the tests' own setting) naming a PostgreSQL server made for it, and removed after it.
#   ./uat/with_postgresql.sh COMMAND [ARGUMENTS]
set -euo pipefail

for folder in /usr/lib/postgresql/*/bin; do
    [ -x "$folder/initdb" ] && PATH="$folder:$PATH"
done
command -v initdb >/dev/null || {
    echo "with_postgresql: PostgreSQL's server is not installed (Debian: apt-get install postgresql)" >&2
    exit 1
}
data="$(mktemp -d)"
as_owner() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    # The server refuses to run as root.
    chown postgres "$data"
    as_owner() { runuser -u postgres -- env PATH="$PATH" "$@"; }
fi
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
stop() {
    as_owner pg_ctl -D "$data/db" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$data"
}
trap stop EXIT
as_owner initdb -D "$data/db" -U llm -A trust --encoding UTF8 --no-sync >/dev/null
as_owner pg_ctl -D "$data/db" -w -l "$data/log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$data -c fsync=off" start >/dev/null
as_owner createdb -h 127.0.0.1 -p "$port" -U llm llm_caller
export DATABASE_URL="postgres://llm@127.0.0.1:$port/llm_caller"
export LLM_CALLER_TEST_DATABASE_URL="$DATABASE_URL" TEST_REQUIRE_POSTGRESQL=1
"$@"

"""Loaded as a pytest plugin before Django's settings are: tests see no environment file and no state but their own."""

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path

SECRETS = ("DJANGO_SECRET_KEY", "LLM_CALLER_TOKEN_PEPPERS", "LLM_CALLER_ENCRYPTION_KEYS")
DATABASE = os.environ.pop("LLM_CALLER_TEST_DATABASE_URL", os.environ.get("PYTEST_GATEWAY_DATABASE", ""))
"""Tests run on SQLite, or on the server that this names; never on the operator's own. Of tests that run beside each
other, the first process says it to the others."""
os.environ["PYTEST_GATEWAY_DATABASE"] = DATABASE
os.environ["DATABASE_URL"] = DATABASE
if os.environ.get("TEST_REQUIRE_POSTGRESQL") and not DATABASE.startswith("postgres"):
    raise RuntimeError("These tests would run on SQLite; PostgreSQL is wanted (uat/with_postgresql.sh)")

for _name in [name for name in os.environ if name.startswith("LLM_CALLER_") and name not in SECRETS]:
    del os.environ[_name]
for _name in SECRETS:
    os.environ.setdefault(_name, secrets.token_urlsafe(48))
os.environ["LLM_CALLER_ENV_FILE"] = "tests/no-such.env"
os.environ["LLM_CALLER_STATE_DIR"] = tempfile.mkdtemp(prefix="llm-caller-tests-")
atexit.register(shutil.rmtree, os.environ["LLM_CALLER_STATE_DIR"], ignore_errors=True)
(Path(os.environ["LLM_CALLER_STATE_DIR"]) / "static").mkdir()
# Most of the time of most tests is that of processes that start: none of them has to compile what another one did.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

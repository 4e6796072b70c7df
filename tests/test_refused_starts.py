"""Values and places that would start, and then not record, not answer or end in a traceback: refused in one line."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, RunningGateway, provider_entry, running_gateway
from fake_provider import FakeProvider

from gateway.environment import Environment, SettingsError


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[RunningGateway]:
    """Nothing is prepared yet."""
    with closing(RunningGateway(tmp_path, {"LLM_CALLER_ENV_FILE": str(tmp_path / ".env")})) as gateway:
        yield gateway


def refused(gateway: RunningGateway, command: str = "prepare", **env: str) -> str:
    gateway.env |= env
    done = gateway.manage(command, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr.rstrip("\n")


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("LLM_CALLER_PORT", 65_535),
        ("LLM_CALLER_MAX_BODY_BYTES", 1_073_741_824),
        ("LLM_CALLER_DRAIN_S", 86_400),
        ("LLM_CALLER_CONNECT_TIMEOUT_MS", 86_400_000),
        ("LLM_CALLER_FIRST_EVENT_TIMEOUT_MS", 86_400_000),
        ("LLM_CALLER_IDLE_TIMEOUT_MS", 86_400_000),
        ("LLM_CALLER_TOTAL_TIMEOUT_MS", 86_400_000),
        ("LLM_CALLER_STREAM_COMMIT_MS", 86_400_000),
        ("LLM_CALLER_HEALTH_INTERVAL_S", 86_400),
        ("LLM_CALLER_RATE_LIMIT_MAX", 2_147_483_647),
        ("LLM_CALLER_RATE_LIMIT_INTERVAL_MS", 2_147_483_647),
        ("LLM_CALLER_LOG_MAX_BYTES", 1_099_511_627_776),
        ("LLM_CALLER_LOG_MAX_FILES", 10_000),
        ("LLM_CALLER_AUDIT_VERIFY_HOURS", 8_760),
        ("LLM_CALLER_FAILED_AUTH_DAYS", 36_500),
    ],
)
def test_a_number_past_what_clocks_dates_and_disks_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setenv(name, str(most))
    assert Environment()[name] == most
    monkeypatch.setenv(name, str(most + 1))
    with pytest.raises(SettingsError, match=rf"{name} is not a whole number from \d+ to {most}\Z"):
        Environment().require_readable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("LLM_CALLER_PUBLIC_URL", url)
            for url in (
                "https://x.org/path",
                "https://x.org/?a",
                "https://x.org#a",
                "https://x.org:abc",
                "https://x.org:0",
                "https://x.org:70000",
                "https://ada@x.org",
                "https://a b",
                "https://*",
            )
        ),
        *(
            ("LLM_CALLER_ALLOWED_HOSTS", hosts)
            for hosts in ("http://x.org", "a b", "x.org,y.org:4037", "x.org/a", "::1", "**", "[localhost]")
        ),
    ],
)
def test_an_address_that_no_request_could_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} is not") as told:
        Environment().require_readable()
    assert value not in str(told.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLM_CALLER_PUBLIC_URL", "https://llm.example.org"),
        ("LLM_CALLER_PUBLIC_URL", "http://10.0.0.1:8080/"),
        ("LLM_CALLER_PUBLIC_URL", "https://[2001:db8::1]:8443"),
        ("LLM_CALLER_ALLOWED_HOSTS", "llm.example.org, .example.org,[::1],my_host,10.0.0.1"),
        ("LLM_CALLER_ALLOWED_HOSTS", "*"),
    ],
)
def test_an_address_that_requests_have_is_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert Environment()[name] in (value, [part.strip() for part in value.split(",")])


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "DJANGO_SECRET_KEY", "DATABASE_URL"])
def test_a_file_of_a_secret_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"{name}_FILE", "/nowhere/secret")
    with pytest.raises(SettingsError, match=f"{name}_FILE names a file that cannot be read"):
        Environment().require_readable()


@pytest.mark.parametrize("where", ["/proc/x", "rubbish"])
def test_a_signing_key_that_cannot_be_used_is_refused_before_anything_is_made(
    bare: RunningGateway, where: str
) -> None:
    (bare.folder / "rubbish").write_text("no key")
    path = str(bare.folder / where)
    assert f"LLM_CALLER_AUDIT_KEY_PATH: The key that signs the record cannot be used ({path})" in refused(
        bare, LLM_CALLER_AUDIT_KEY_PATH=path
    )
    assert not (bare.folder / "config").exists()


def test_a_broken_signing_key_of_the_state_folder_is_named(bare: RunningGateway) -> None:
    bare.manage("prepare")
    path = bare.folder / "var" / "audit" / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("broken")
    assert f"The key that signs the record cannot be used ({path})" in refused(bare)


def test_a_start_that_makes_another_signing_key_says_so(bare: RunningGateway) -> None:
    assert "signing.key" not in bare.manage("prepare").stderr, "the first one is no news"
    path = bare.folder / "var" / "audit" / "signing.key"
    path.unlink()
    assert f"warning: {path} was missing, though a key has signed the record" in bare.manage("prepare").stderr
    assert "signing.key" not in bare.manage("prepare").stderr


def test_a_server_whose_record_cannot_be_signed_says_so_within_seconds(
    tmp_path: Path, fake: FakeProvider
) -> None:
    with running_gateway(tmp_path, {"providers": {"a": provider_entry(fake.url)}}, start=False) as gateway:
        gateway.env["LLM_CALLER_AUDIT_KEY_PATH"] = "/proc/x"
        gateway.start(ready=False)
        until = time.monotonic() + 30
        gateway.wait_ready()
        audit: dict[str, Any] = {}
        while audit.get("status") != "failed" and time.monotonic() < until:
            parts = gateway.get("/health").json()["components"]
            audit = next(part for part in parts if part["name"] == "audit")
        assert audit["status"] == "failed", audit


PASSWORD = "password-canary"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "is not a postgres:// or sqlite:/// URL"),
        (f"mysql://ada:{PASSWORD}@host/name", "is not a postgres:// or sqlite:/// URL"),
        (f"postgres://ada:{PASSWORD}@host", "does not name a database"),
        (f"postgres://ada:{PASSWORD}/x@host/name", "cannot be read"),
        (f"postgres://ada:{PASSWORD}@127.0.0.1:1/name", "the database cannot be used"),
        ("sqlite:////proc/x/y.db", "the database cannot be used (unable to open database file)"),
    ],
)
@pytest.mark.parametrize("command", ["prepare", "serve"])
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    bare: RunningGateway, command: str, url: str, told: str
) -> None:
    said = refused(bare, command, DATABASE_URL=url)
    assert "DATABASE_URL" in said
    assert told in said
    assert PASSWORD not in said


@pytest.mark.parametrize("command", ["prepare", "serve"])
def test_a_file_that_is_no_database_is_named(bare: RunningGateway, command: str) -> None:
    path = bare.folder / "var" / "llm-caller.sqlite3"
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    told = refused(bare, command, DATABASE_URL="")
    assert f"{path}: the database cannot be used (file is not a database)" in told
    assert path.read_bytes() == b"no database " * 1000


def test_a_state_folder_that_cannot_be_written_is_named(bare: RunningGateway) -> None:
    assert refused(bare, LLM_CALLER_STATE_DIR="/proc/self").startswith(
        "CommandError: LLM_CALLER_STATE_DIR: /proc/self cannot be written ("
    )


def test_a_part_of_the_state_folder_that_cannot_be_written_is_named(bare: RunningGateway) -> None:
    (bare.folder / "var").mkdir()
    (bare.folder / "var" / "static").write_text("a file where a folder should be")
    assert f"{bare.folder / 'var' / 'static'}" in refused(bare)


@pytest.mark.parametrize("path", ["/proc/x/y.log", "/tmp"])
def test_a_log_file_that_cannot_be_written_is_named(bare: RunningGateway, path: str) -> None:
    bare.manage("prepare")
    for command in ("prepare", "serve"):
        said = refused(bare, command, LLM_CALLER_LOG_FILE=path)
        assert f"LLM_CALLER_LOG_FILE: {path} cannot be written (" in said


def test_an_environment_file_that_cannot_be_made_is_named(bare: RunningGateway) -> None:
    bare.env["LLM_CALLER_ENV_FILE"] = "/proc/x/.env"
    command = [sys.executable, "-m", "gateway.envfile"]
    done = subprocess.run(command, env=bare.env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "llm-caller: LLM_CALLER_ENV_FILE: /proc/x/.env cannot be written (No such file or directory)\n"
    )


def test_an_environment_file_that_cannot_be_added_to_keeps_no_token_that_nobody_knows(
    bare: RunningGateway,
) -> None:
    bare.env["LLM_CALLER_ENV_FILE"] = "/proc/x/.env"
    said = bare.manage("prepare").stderr
    assert "warning: no token was issued for the client 'uat': /proc/x/.env cannot be written" in said
    count = "from clients.models import ClientToken; print(ClientToken.objects.count())"
    assert bare.manage("shell", "-v", "0", "-c", count).stdout.strip() == "0"

"""Starts that are refused, and what a first start makes (promise 25, issue's point 10)."""

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, RunningGateway, provider_entry, registry, running_gateway
from disk import full_at
from fake_provider import FakeProvider

from gateway import envfile
from gateway.backups import backups_of
from gateway.environment import GENERATED
from gateway.rendering import CLIENTS


@pytest.fixture
def prepared(tmp_path: Path, fake: FakeProvider) -> Any:
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, start=False
    ) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"DJANGO_SECRET_KEY": ""}, "DJANGO_SECRET_KEY"),
        ({"DJANGO_SECRET_KEY": "django-insecure-0123456789012345678901234567890"}, "DJANGO_SECRET_KEY"),
        ({"LLM_CALLER_TOKEN_PEPPERS": ""}, "LLM_CALLER_TOKEN_PEPPERS"),
        ({"LLM_CALLER_TOKEN_PEPPERS": "short-canary"}, "LLM_CALLER_TOKEN_PEPPERS"),
        ({"LLM_CALLER_TOKEN_PEPPERS": "another-pepper-" + "x1y2" * 10}, "LLM_CALLER_TOKEN_PEPPERS"),
        ({"LLM_CALLER_ENCRYPTION_KEYS": ""}, "LLM_CALLER_ENCRYPTION_KEYS"),
        (
            {"LLM_CALLER_ENCRYPTION_KEYS": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
            "LLM_CALLER_ENCRYPTION_KEYS",
        ),
        ({"DEBUG": "true"}, "DEBUG"),
        ({"LLM_CALLER_HOST": "0.0.0.0", "LLM_CALLER_ALLOWED_HOSTS": "*"}, "LLM_CALLER_ALLOWED_HOSTS"),
        ({"LLM_CALLER_PORT": "canary"}, "LLM_CALLER_PORT"),
        ({"LLM_CALLER_ALLOWED_NETWORKS": "canary"}, "LLM_CALLER_ALLOWED_NETWORKS"),
        ({"LLM_CALLER_EGRESS_ALLOW": "canary"}, "LLM_CALLER_EGRESS_ALLOW"),
        ({"LLM_CALLER_LOG_LEVEL": "canary"}, "LLM_CALLER_LOG_LEVEL"),
    ],
)
def test_an_insecure_or_unreadable_setting_stops_the_start(
    prepared: RunningGateway, env: dict[str, str], named: str
) -> None:
    prepared.env |= env
    done = prepared.manage("serve", check=False)
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert all(value not in done.stderr for value in env.values() if len(value) > 5 and value != "0.0.0.0")
    assert "Traceback" not in done.stderr


BAD = {
    "DEBUG": "1",
    "LLM_CALLER_RETRY_ATTEMPTS": "canary",
    "LLM_CALLER_PUBLIC_URL": "canary",
    "LLM_CALLER_LOG_LEVEL": "canary",
    "LLM_CALLER_TRUSTED_PROXIES": "10.0.0.0/8,canary",
    "LLM_CALLER_EGRESS_ALLOW": "canary",
    "LLM_CALLER_TOKEN_PEPPERS": "canary",
}


@pytest.mark.parametrize("command", ["prepare", "serve", "issue_token"])
def test_every_bad_setting_is_named_at_once_by_every_command(tmp_path: Path, command: str) -> None:
    with closing(RunningGateway(tmp_path, BAD)) as gateway:
        done = gateway.manage(command, check=False)
    assert done.returncode == 2
    assert [name for name in BAD if name not in done.stderr] == []
    assert "canary" not in done.stderr
    assert len(done.stderr.splitlines()) == len(BAD)


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"DEBUG": "1"}, "DEBUG must not be on"),
        (
            {"LLM_CALLER_RETRY_ATTEMPTS": "two"},
            "LLM_CALLER_RETRY_ATTEMPTS is not a whole number of at least 1",
        ),
        (
            {"LLM_CALLER_HOST": "0.0.0.0", "LLM_CALLER_ALLOWED_HOSTS": "*"},
            "LLM_CALLER_ALLOWED_HOSTS must not",
        ),
        (
            {"LLM_CALLER_OTEL_ENDPOINT": "nonsense"},
            "LLM_CALLER_OTEL_ENDPOINT is not an http:// or https:// URL",
        ),
    ],
)
def test_the_documented_start_ends_with_2_for_a_refused_setting(
    tmp_path: Path, env: dict[str, str], named: str
) -> None:
    own = {"LLM_CALLER_VENV": str(Path(sys.prefix)), "PYTHON": sys.executable, **env}
    with closing(RunningGateway(tmp_path, own)) as gateway:
        command = [str(ROOT / "uat" / "start_server.sh")]
        gateway.env["LLM_CALLER_ENV_FILE"] = str(tmp_path / "test.env")
        done = subprocess.run(command, env=gateway.env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "config").exists(), "nothing was prepared"


def test_a_setting_that_is_mistyped_is_told_with_the_name_that_is_near(prepared: RunningGateway) -> None:
    own = prepared.folder / "test.env"
    own.write_text("LLM_CALLER_LOG_LEVL=warn\nLLM_CALLER_DRAIN_S=1\nLLM_CALLER_DRAIN_S=2\n")
    prepared.env |= {"LLM_CALLER_ENV_FILE": str(own), "LLM_CALLER_PROT": "1", "LLM_CALLER_WHATEVER": "canary"}
    told = (
        "LLM_CALLER_LOG_LEVL is not a setting and is not read; LLM_CALLER_LOG_LEVEL is meant?",
        "LLM_CALLER_PROT is not a setting and is not read; LLM_CALLER_PORT is meant?",
        "LLM_CALLER_WHATEVER is not a setting and is not read",
        f"LLM_CALLER_DRAIN_S has several values in {own}, on lines 2, 3; the last counts",
    )
    said = prepared.manage("prepare", "--no-uat-token").stderr
    assert [line for line in said.splitlines() if line.startswith("warning: ")] == [
        f"warning: {t}" for t in told
    ]
    checked = prepared.manage("check").stderr
    assert all(words in checked for words in told)
    prepared.start()
    prepared.stop()
    logged = [line["metadata"] for line in prepared.log_lines() if line["level"] == "warn"]
    assert [metadata["problem"] for metadata in logged if "problem" in metadata] == list(told)
    assert "canary" not in said + checked


def test_a_wrong_encryption_key_stops_the_start(prepared: RunningGateway) -> None:
    seal = (
        "from django.conf import settings; from providers.models import Provider; from providers.secrets import KeyRing;"
        "p = Provider.objects.get(); p.credential_source = 'stored';"
        "p.stored_credential = KeyRing(settings.ENCRYPTION_KEYS).seal('sk-canary', bound_to=str(p.uid)); p.save()"
    )
    prepared.manage("shell", "-c", seal)
    prepared.env["LLM_CALLER_ENCRYPTION_KEYS"] = secrets.token_urlsafe(48)
    done = prepared.manage("serve", check=False)
    assert done.returncode == 2
    assert "LLM_CALLER_ENCRYPTION_KEYS opens none of the credentials stored for lmstudio_a" in done.stderr


def test_deploy_checks_pass_with_a_public_https_url(prepared: RunningGateway) -> None:
    prepared.env["LLM_CALLER_PUBLIC_URL"] = "https://llm.example.org"
    prepared.manage("check", "--deploy", "--fail-level", "WARNING")


def test_an_unprepared_database_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    with closing(RunningGateway(tmp_path, {})) as gateway:
        done = gateway.manage("serve", check=False)
    assert done.returncode == 2
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_plainly(prepared: RunningGateway, fake: FakeProvider) -> None:
    prepared.env["LLM_CALLER_PORT"] = str(fake.port)
    done = prepared.manage("serve", check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{fake.port}" in done.stderr


def test_prepare_makes_an_admin_with_a_generated_password_of_mode_0600(prepared: RunningGateway) -> None:
    path = prepared.folder / "var" / "admin-password.txt"
    assert path.stat().st_mode & 0o777 == 0o600
    check = (
        "from django.contrib.auth import authenticate;"
        f"assert authenticate(username='admin', password={path.read_text().strip()!r}).is_superuser"
    )
    prepared.manage("shell", "-c", check)


def test_prepare_issues_a_uat_token_once(prepared: RunningGateway) -> None:
    env_file = prepared.folder / "test.env"
    prepared.env["LLM_CALLER_ENV_FILE"] = str(env_file)
    prepared.manage("prepare")
    first = env_file.read_text()
    assert first.startswith("UAT_CLIENT_TOKEN=llmc_")
    prepared.manage("prepare")
    assert env_file.read_text() == first


def registry_file(gateway: RunningGateway) -> Path:
    return gateway.folder / "config" / CLIENTS


def differ(gateway: RunningGateway) -> bool:
    return "W002" in gateway.manage("check", "--database", "default").stderr


def test_the_very_first_start_leaves_files_and_database_in_step(tmp_path: Path, fake: FakeProvider) -> None:
    with closing(RunningGateway(tmp_path, {"LLM_CALLER_ENV_FILE": str(tmp_path / "test.env")})) as gateway:
        first = gateway.manage("prepare").stderr
        (backup,) = backups_of(registry_file(gateway))
        assert f"the file as it was is {backup.name}" in first
        assert [c["toolId"] for c in json.loads(registry_file(gateway).read_text())["clients"]] == ["uat"]
        assert json.loads(backup.read_text())["clients"] == []
        assert not differ(gateway)
        gateway.start()
        gateway.stop()
        assert "Configuration and file differ" not in [line["message"] for line in gateway.log_lines()]


def test_what_is_edited_after_the_first_start_is_imported_and_keeps_its_token(
    prepared: RunningGateway,
) -> None:
    prepared.env["LLM_CALLER_ENV_FILE"] = str(prepared.folder / "test.env")
    prepared.manage("prepare")
    path = registry_file(prepared)
    document = json.loads(path.read_text())
    document["clients"].append({"toolId": "dora", "token": "dora's token", "allowedMethods": ["chat"]})
    path.write_text(json.dumps(document))
    again = prepared.manage("prepare").stderr
    assert f"Imported {path}" in again
    assert "warning" not in again


def test_a_file_that_differs_already_is_left_alone_by_the_start(prepared: RunningGateway) -> None:
    prepared.env["LLM_CALLER_ENV_FILE"] = str(prepared.folder / "test.env")
    prepared.manage("issue_token", "dora", "--methods", "chat")
    before = registry_file(prepared).read_bytes()
    prepared.manage("prepare")
    assert registry_file(prepared).read_bytes() == before
    assert backups_of(registry_file(prepared)) == []
    assert differ(prepared)


def test_a_file_that_cannot_be_written_stops_no_start(prepared: RunningGateway) -> None:
    prepared.env["LLM_CALLER_ENV_FILE"] = str(prepared.folder / "test.env")
    path, size = registry_file(prepared), 4 * 1024 * 1024
    path.write_text(path.read_text() + "\n" * size)
    prepared.manage("prepare", "--no-uat-token")
    before = path.read_bytes()
    with full_at(size // 2):  # too little for the backup, enough for the database
        said = prepared.manage("prepare").stderr
    assert f"No backup of {CLIENTS} could be made" in said
    assert "to bring the file up to date: manage.py export_config" in said
    assert path.read_bytes() == before


def test_a_new_env_file_comes_from_the_example_with_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in GENERATED:
        monkeypatch.delenv(name)
    path = tmp_path / ".env"
    example = (ROOT / ".env.example").read_text()
    assert envfile.complete(path, example) == list(GENERATED)
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert text.splitlines()[0] == example.splitlines()[0]
    assert "\nLLM_CALLER_RATE_LIMIT_MAX=5\n" in text
    assert len({line for line in text.splitlines() if line.startswith(GENERATED)}) == 3


def test_an_existing_env_file_keeps_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GENERATED:
        monkeypatch.delenv(name)
    path = tmp_path / ".env"
    own = "# mine\nDJANGO_SECRET_KEY='kept'\nOTHER=1"
    path.write_text(own)
    assert envfile.complete(path, "example") == list(GENERATED[1:])
    assert path.read_text().startswith(own + "\n")
    assert envfile.complete(path, "example") == []


def test_the_process_environment_wins_and_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert envfile.complete(path, "EXAMPLE=1\n") == []
    assert path.read_text() == "EXAMPLE=1\n"


def test_the_server_is_the_process_that_was_started(tmp_path: Path, fake: FakeProvider) -> None:
    """Through the shell script: same pid, and its exit code after Ctrl+C is the server's."""
    own = {
        "LLM_CALLER_VENV": str(Path(sys.prefix)),
        "PYTHON": sys.executable,
        "LLM_CALLER_ENV_FILE": str(tmp_path / "test.env"),
    }
    with closing(RunningGateway(tmp_path, own)) as gateway:
        gateway.configure({"providers": {"lmstudio_a": provider_entry(fake.url)}}, registry())
        gateway.start(command=[str(ROOT / "uat" / "start_server.sh")])
        assert gateway.process is not None
        assert "serve" in Path(f"/proc/{gateway.process.pid}/cmdline").read_text()
        assert gateway.chat().status_code == 200
        assert gateway.stop(signal.SIGINT) == 0
        assert all(line.startswith("{") for line in gateway.stdout.read_text().splitlines())


def test_one_start_at_a_time(tmp_path: Path) -> None:
    """Two would install into the same folder: the second waits for the first."""
    venv = Path(sys.prefix)
    env = {**os.environ, "LLM_CALLER_VENV": str(venv)}
    command = [sys.executable, str(ROOT / "uat" / "bootstrap.py"), "--install-only", "server"]
    with (venv.parent / f".{venv.name.lstrip('.')}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(command, env=env)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1)
    assert second.wait(120) == 0


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "write_docs", "--check"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

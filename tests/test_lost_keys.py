"""An environment file that is lost and made anew: its keys fit nothing that is stored, and the start says so."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT, RunningGateway, provider_entry, registry

from gateway.environment import GENERATED

NOW = "from clients.models import ClientToken; from django.utils import timezone;"
COUNT = f"{NOW} print(ClientToken.objects.count())"
REVOKE = f"{NOW} ClientToken.objects.update(revoked_at=timezone.now())"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    """As the start script leaves it: the secrets are in the environment file alone."""
    with closing(RunningGateway(tmp_path, {"LLM_CALLER_ENV_FILE": str(tmp_path / ".env")})) as made:
        for name in GENERATED:
            del made.env[name]
        make_env_file(made)
        made.configure({"providers": {"a": provider_entry("http://localhost:1/v1")}}, registry())
        made.manage("prepare", "--no-uat-token")
        yield made


def make_env_file(gateway: RunningGateway) -> None:
    subprocess.run([sys.executable, "-m", "gateway.envfile"], env=gateway.env, cwd=ROOT, check=True)


def env_file(gateway: RunningGateway) -> Path:
    return gateway.folder / ".env"


def tokens(gateway: RunningGateway) -> int:
    return int(gateway.manage("shell", "-v", "0", "-c", COUNT).stdout)


def lose(gateway: RunningGateway) -> str:
    was = env_file(gateway).read_text()
    env_file(gateway).unlink()
    make_env_file(gateway)
    return was


def test_a_lost_environment_file_is_told_before_a_token_hides_it(gateway: RunningGateway) -> None:
    had, was = tokens(gateway), lose(gateway)
    new = env_file(gateway).read_text()
    done = gateway.manage("prepare", check=False)
    assert done.returncode == 2
    assert "LLM_CALLER_TOKEN_PEPPERS knows none of the registered tokens" in done.stderr
    assert "Traceback" not in done.stderr
    assert tokens(gateway) == had, "none was issued under the new key"
    assert env_file(gateway).read_text() == new
    env_file(gateway).write_text(was)
    assert "warning" not in gateway.manage("prepare").stderr


def test_a_key_that_is_lost_for_good_is_no_dead_end(gateway: RunningGateway) -> None:
    lose(gateway)
    gateway.manage("issue_token", "bob")
    said = gateway.manage("prepare", "--no-uat-token").stderr
    assert (
        "warning: 2 of 3 tokens are refused: they were made under a key that LLM_CALLER_TOKEN_PEPPERS" in said
    )
    assert "What may this client do?" in said


def test_tokens_that_were_revoked_anyway_hold_up_no_start(gateway: RunningGateway) -> None:
    gateway.manage("shell", "-v", "0", "-c", REVOKE)
    lose(gateway)
    assert "are refused" not in gateway.manage("prepare").stderr

"""A start whose configuration folder is not where it was: nothing that the database holds is lost (contract §3)."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT, RunningGateway, provider_entry, running_gateway

from gateway.rendering import CLIENTS, FILES, PROVIDERS

KEYED = {"providers": {"keyed": provider_entry("http://localhost:1/v1", apiKey={"stored": True})}}
SEAL = (
    "from django.conf import settings; from providers.secrets import KeyRing; from providers.types import Secret;"
    "from providers.stored_keys import keep; keep('keyed', Secret('sk-canary'), KeyRing(settings.ENCRYPTION_KEYS))"
)
ASK = (
    "from providers.models import Provider; from clients.models import Client, ClientToken;"
    "print(*Provider.objects.filter(stored_credential__isnull=False).values_list('name', flat=True),"
    "*Client.objects.order_by('tool_id').values_list('tool_id', flat=True), ClientToken.objects.count())"
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path, KEYED, start=False) as prepared:
        prepared.manage("shell", "-c", SEAL)
        prepared.manage("export_config")
        yield prepared


def held(gateway: RunningGateway) -> str:
    return gateway.manage("shell", "-v", "0", "-c", ASK).stdout.strip()


def config(gateway: RunningGateway) -> Path:
    return gateway.folder / "config"


def test_a_folder_that_is_gone_takes_no_provider_key_client_or_token_with_it(gateway: RunningGateway) -> None:
    shutil.move(config(gateway), gateway.folder / "away")
    said = gateway.manage("prepare", "--no-uat-token").stderr
    assert held(gateway) == "keyed bob charlie 2"
    for name in FILES:
        assert f"warning: {config(gateway) / name} is missing; the database stands" in said
    assert "manage.py export_config" in said
    assert not config(gateway).exists(), "no example is left that the next start would import"
    assert gateway.manage("prepare", "--no-uat-token").stderr == said, "nor does the next start lose anything"


def test_one_file_that_is_gone_is_left_missing_and_the_other_still_imports(gateway: RunningGateway) -> None:
    (config(gateway) / CLIENTS).unlink()
    gateway.configure(
        {"providers": {**KEYED["providers"], "b": provider_entry("http://localhost:1/v1")}}, None
    )
    said = gateway.manage("prepare", "--no-uat-token").stderr
    assert f"Imported {config(gateway) / PROVIDERS}" in said
    assert held(gateway) == "keyed bob charlie 2"
    assert "W002" not in gateway.manage("check", "--database", "default").stderr, (
        "a missing file has not changed"
    )
    gateway.manage("export_config")
    assert gateway.manage("prepare", "--no-uat-token").stderr == ""


def test_another_empty_folder_is_filled_by_an_export_and_not_by_examples(gateway: RunningGateway) -> None:
    gateway.env["LLM_CALLER_CONFIG_DIR"] = str(gateway.folder / "other")
    gateway.manage("prepare", "--no-uat-token")
    gateway.manage("export_config")
    assert gateway.manage("prepare", "--no-uat-token").stderr == ""
    assert held(gateway) == "keyed bob charlie 2"


def test_a_database_put_back_beside_the_examples_of_a_first_start_is_not_told_to_forget(
    gateway: RunningGateway,
) -> None:
    for name in FILES:
        shutil.copy(ROOT / "config" / name.replace(".json", ".example.json"), config(gateway) / name)
    said = gateway.manage("prepare", "--no-uat-token").stderr
    assert held(gateway) == "keyed bob charlie 2"
    assert f"warning: {config(gateway) / CLIENTS} is the example as it came" in said
    gateway.manage("import_config")
    assert held(gateway) == "0", "who wants the examples can have them"


def test_a_database_that_never_met_the_files_but_holds_something_is_not_given_examples(
    tmp_path: Path,
) -> None:
    with closing(RunningGateway(tmp_path, {})) as gateway:
        (tmp_path / "var").mkdir()
        gateway.manage("migrate", "-v", "0")
        gateway.manage("issue_token", "dora", "--methods", "chat")
        said = gateway.manage("prepare", "--no-uat-token").stderr
        assert f"{config(gateway) / CLIENTS} is missing" in said
        assert f"Copied providers.example.json to {config(gateway) / PROVIDERS}" in said
        assert held(gateway).endswith("dora 1")


def test_a_state_folder_that_is_gone_is_made_anew_from_the_files(gateway: RunningGateway) -> None:
    if gateway.env["DATABASE_URL"]:
        pytest.skip("the database is not in the state folder")
    shutil.rmtree(gateway.folder / "var")
    said = gateway.manage("prepare", "--no-uat-token").stderr
    assert f"Imported {config(gateway) / PROVIDERS}" in said
    assert f"Imported {config(gateway) / CLIENTS}" in said
    assert held(gateway) == "bob charlie 2", "what no file holds is gone: the stored key"


def test_a_folder_that_cannot_be_read_or_made_is_said_plainly(gateway: RunningGateway) -> None:
    (gateway.folder / "file").write_text("")
    gateway.env["LLM_CALLER_CONFIG_DIR"] = str(gateway.folder / "file")
    done = gateway.manage("prepare", "--no-uat-token", check=False)
    assert done.returncode == 2
    assert "cannot be read (Not a directory)" in done.stderr
    assert "Traceback" not in done.stderr

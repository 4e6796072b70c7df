"""`manage.py backups`, and the change log of what is removed, by the command or by a save (contract §3)."""

import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from gateway.attribution import attributed
from gateway.changelog import operating_system_user
from gateway.configfile import CLIENTS, FILES, PROVIDERS, export_file
from gateway.management.commands.backups import age
from gateway.models import ConfigChange

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The configuration's folder, with four backups of providers.json and the operator's own copy."""
    before, settings.CONFIG_DIR = settings.CONFIG_DIR, tmp_path
    now = time.time_ns() // 1_000_000
    for n in range(4):
        (tmp_path / f"{PROVIDERS}.{now - n * 3_600_000}.bak").write_text("x" * (n + 1))
    (tmp_path / f"{PROVIDERS}.bkup").write_text("mine")
    (tmp_path / f"{PROVIDERS}.old.bak").write_text("mine too")
    yield tmp_path
    settings.CONFIG_DIR = before


def backups(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("backups", *arguments, stdout=out)
    return out.getvalue().splitlines()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_backups_are_listed_newest_first_with_age_and_size(folder: Path) -> None:
    head, *listed, own, last = backups()
    assert head == f"{folder / PROVIDERS}: 4 backups"
    assert [line.partition(".bak")[2].strip() for line in listed] == [
        "0 s old, 1 bytes",
        "1 h old, 2 bytes",
        "2 h old, 3 bytes",
        "3 h old, 4 bytes",
    ]
    assert own.split() == [f"{PROVIDERS}.bkup", "your", "own,", "4", "bytes;", "never", "touched"]
    assert last == f"{folder / CLIENTS}: no backups"


def test_prune_keeps_two_and_each_one_removed_is_told_and_logged(folder: Path) -> None:
    oldest = sorted(path.name for path in folder.glob(f"{PROVIDERS}.[0-9]*.bak"))[:2]
    before = names(folder)
    told = backups("--prune", "--author", "ada", "--reason", "CHG-7: validated")
    assert told == [f"removed {name}" for name in reversed(oldest)]
    assert before - names(folder) == set(oldest)
    rows = ConfigChange.objects.order_by("row").values_list(
        "author", "reason", "table", "row", "action", "before", "after"
    )
    assert list(rows) == [
        ("ada", "CHG-7: validated", "backups", name, "removed", {"file": name, "bytes": size}, {})
        for name, size in zip(oldest, (4, 3), strict=True)
    ]
    assert backups("--prune") == ["nothing to remove: no file has more than 2 backups"]
    assert ConfigChange.objects.count() == 2


def test_a_dry_run_tells_and_removes_nothing(folder: Path) -> None:
    before = names(folder)
    told = backups("--prune", "--dry-run")
    assert [line.startswith(f"would remove {PROVIDERS}.") for line in told] == [True, True]
    assert backups("--dry-run") == told
    assert names(folder) == before
    assert not ConfigChange.objects.exists()


def test_without_a_name_the_operating_system_s_user_removed_them(folder: Path) -> None:
    backups("--prune")
    authors = set(ConfigChange.objects.values_list("author", "reason"))
    assert authors == {(operating_system_user(), f"more than 2 of {PROVIDERS}")}


def test_a_folder_that_cannot_be_read_is_an_error_with_code_2(folder: Path) -> None:
    settings.CONFIG_DIR = folder / f"{PROVIDERS}.bkup"
    with pytest.raises(CommandError, match=r"Not a directory.*LLM_CALLER_CONFIG_DIR") as error:
        backups()
    assert error.value.returncode == 2


def test_what_a_save_removes_is_logged_too(folder: Path) -> None:
    (folder / PROVIDERS).write_text("{}")
    with attributed("ada", "weekly export"):
        removed = [old.name for name in FILES for old in export_file(name, folder).removed]
    assert len(removed) == 3
    rows = list(ConfigChange.objects.order_by("pk").values_list("author", "reason", "row", "before__bytes"))
    assert rows == [
        ("ada", "weekly export", name, size) for name, size in zip(removed, (2, 3, 4), strict=True)
    ]
    (folder / PROVIDERS).write_text("{}")
    export_file(PROVIDERS, folder)
    assert ConfigChange.objects.count() == 4
    assert ConfigChange.objects.latest("pk").author == operating_system_user()


def test_ages_have_two_units_at_most() -> None:
    assert [age(s) for s in (-5, 0.2, 59, 60, 3_661, 90_061, 864_000)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min",
        "1 h 1 min",
        "1 d 1 h",
        "10 d",
    ]


def test_a_prune_with_nothing_to_remove_says_so(folder: Path) -> None:
    backups("--prune")
    said = ["nothing to remove: no file has more than 2 backups"]
    assert backups("--prune") == backups("--prune", "--dry-run") == said

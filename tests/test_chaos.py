"""Promises 1, 2 and 22 on a shorter run than `uat/chaos.py`, which measures the full ones; the figures are shown.

SQLite, whatever the other tests run on.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "uat"))
import chaos_kills
import chaos_storage
from chaos_stage import NoMount, Stage, staged
from chaos_verdict import Figure, print_table

pytestmark = [pytest.mark.alone, pytest.mark.chaos]
Shown = Callable[[str, Sequence[Figure]], dict[str, float]]
ALWAYS = (
    "... without a row",
    "... without a row `ok` of their call id",
    "... too many for their call",
    "... more or fewer than the roll-ups tell",
    "calls cut off at the provider and not UNKNOWN",
    "files left in the journal's folder",
    "integrity_check not ok at the end",
    "findings of audit_verify",
)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("DATABASE_URL", "")
    with staged() as made:
        yield made


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    def show(title: str, figures: Sequence[Figure]) -> dict[str, float]:
        with capsys.disabled():
            print_table(title, figures)
        told = {figure.name: figure.value for figure in figures}
        assert {name: told[name] for name in ALWAYS} == dict.fromkeys(ALWAYS, 0)
        assert [figure for figure in figures if figure.missed] == []
        return told

    return show


def test_kills_under_load_lose_no_call_and_harm_no_table(stage: Stage, shown: Shown) -> None:
    rounds = int(os.environ.get("CHAOS_ROUNDS") or 10)
    figures = chaos_kills.kills(stage, rounds=rounds, calls=100 * rounds, seed=4037)
    told = shown(f"promises 1 and 22: {rounds} kills", figures)
    assert told["integrity_check not ok after a kill"] == 0
    assert told["answers other than 200"] == 0
    assert told["... UNKNOWN"] > 0, "no kill hit a call"
    assert told["answers received whole"] >= 50 * rounds


def test_calls_that_lie_in_the_journal_alone_are_replayed_after_a_kill(stage: Stage, shown: Shown) -> None:
    told = shown("promise 1: replay", chaos_kills.replay(stage, calls=1000))
    assert told["rows stored before the restart"] == 0
    assert told["calls that reached the provider"] >= 900


def test_a_locked_database_stops_no_call_and_no_row_is_lost(stage: Stage, shown: Shown) -> None:
    told = shown("promise 2: database locked", chaos_storage.locked(stage, seconds=5))
    assert told["errors while locked"] == 0
    assert told["rows"] == told["calls sent"] == 350


def test_a_full_journal_refuses_every_call_and_recovers(stage: Stage, shown: Shown) -> None:
    try:
        figures = chaos_storage.full(stage, calls=200)
    except NoMount as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    told = shown("promise 2: journal full", figures)
    assert told["calls while full"] == 200
    assert told["... not answered with AUDIT_UNAVAILABLE"] == 0
    assert told["... that reached the provider"] == 0


def test_a_backup_taken_under_load_is_whole_and_serves_again(stage: Stage, shown: Shown) -> None:
    told = shown("promise 22: backup", chaos_storage.backup(stage, seconds=8))
    assert told["integrity_check of backups not ok"] == 0
    assert told["rows missing that were there when they began"] == 0
    assert told["restored: rows missing or too many"] == 0


def test_the_guide_names_the_command_that_is_tested() -> None:
    assert chaos_storage.BACKUP in (ROOT / "docs" / "operators.md").read_text()

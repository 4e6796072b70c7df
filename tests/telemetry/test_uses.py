"""When each client last called each method: kept with the record, rebuilt from it, and not for ever."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from recorded import AT, call, outcome, writer

from telemetry import uses
from telemetry.journal import Journal
from telemetry.models import MethodUse

pytestmark = pytest.mark.django_db(transaction=True)
MOMENT = datetime.fromtimestamp(AT, UTC)


def called(folder: Path, *calls: Any) -> None:
    journal = Journal(folder)
    for record in calls:
        journal.outcome(record)
    writer(folder).run_once()
    journal.close()


def kept() -> dict[tuple[str, str], float]:
    return {(use.tool_id, use.method): use.last_at.timestamp() for use in MethodUse.objects.all()}


def test_the_writer_keeps_the_last_use_of_each_grant(tmp_path: Path) -> None:
    called(tmp_path, outcome(call(1)), outcome(call(2), method="embed"), outcome(call(3), tool_id="ada"))
    called(
        tmp_path, outcome(call(4), started_at=AT + 60), outcome(call(5), method="embed", started_at=AT - 60)
    )
    assert kept() == {("bob", "chat"): AT + 60, ("bob", "embed"): AT, ("ada", "chat"): AT}
    assert uses.since(MOMENT + timedelta(seconds=1)) == {("bob", "chat")}


def test_a_call_that_failed_uses_its_grant_and_one_that_was_forbidden_none(tmp_path: Path) -> None:
    forbidden = outcome(call(1), tool_id="charlie", method="embed", outcome="FORBIDDEN", status=403)
    called(tmp_path, forbidden, outcome(call(2), outcome="TEMPORARY", status=503))
    assert kept() == {("bob", "chat"): AT}


def test_a_record_without_uses_is_looked_through_once(tmp_path: Path) -> None:
    forbidden = outcome(call(1), tool_id="charlie", outcome="FORBIDDEN", status=403)
    called(tmp_path, outcome(call(2)), outcome(call(3), started_at=AT + 5), forbidden)
    before = kept()
    MethodUse.objects.all().delete()
    writer(tmp_path).keep_up(MOMENT)
    assert kept() == before == {("bob", "chat"): AT + 5}


def test_uses_of_long_ago_go(tmp_path: Path) -> None:
    called(tmp_path, outcome(call(1)), outcome(call(2), method="embed", started_at=AT - 401 * 86_400))
    uses.prune(MOMENT)
    assert kept() == {("bob", "chat"): AT}


def test_no_call_no_use(tmp_path: Path) -> None:
    uses.rebuild(MOMENT)
    uses.add([])
    assert kept() == {}

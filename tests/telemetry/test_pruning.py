"""Old calls go as the rules say, held ones stay, and what is left still verifies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recorded import AT, audit, call, outcome, writer

from telemetry.audit.keys import signatures
from telemetry.audit.pack import EvidencePack
from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.audit.verification import verify
from telemetry.journal import Journal
from telemetry.models import AuditTombstone, LegalHold, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime.fromtimestamp(AT, UTC) + timedelta(days=100)
DAYS = 40


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """One call a day for forty days, the first a hundred days old. Every fourth is Charlie's, every tenth refused."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, DAYS + 1):
        facts = {
            "tool_id": "charlie" if n % 4 == 0 else "bob",
            "outcome": "RATE_LIMIT" if n % 10 == 0 else "ok",
        }
        journal.outcome(outcome(call(n), started_at=AT + (n - 1) * 86_400, **facts))
        if n % 3 == 0:
            moving.run_once()
    moving.run_once()
    journal.close()
    return folder


def rule(days: int | None, tool_id: str = "", outcome: str = "") -> None:
    RetentionRule.objects.create(days=days, tool_id=tool_id, outcome=outcome)


def left() -> set[int]:
    return {row.call_id.int for row in RequestLog.objects.all()}


def pruned(folder: Path) -> int:
    return prune(audit(folder).signer(), NOW, by="ada")


def findings(folder: Path) -> list[str]:
    place = audit(folder)
    return [str(finding) for finding in verify(signatures(place.public_keys()), place.copies).findings]


def test_without_rules_nothing_goes(recorded: Path) -> None:
    assert pruned(recorded) == 0
    assert len(left()) == DAYS


def test_a_rule_removes_what_is_older_and_the_rest_verifies(recorded: Path) -> None:
    rule(80)
    assert pruned(recorded) == 20
    assert left() == set(range(21, 41))
    assert findings(recorded) == []
    (stone,) = AuditTombstone.objects.all()
    assert (stone.first, stone.last, stone.rows) == (1, 20, 20)
    assert stone.entry()["reason"] == "every client, every outcome: 80 days"


def test_the_narrower_rule_applies_and_scattered_rows_leave_runs(recorded: Path) -> None:
    rule(80)
    rule(None, tool_id="charlie")
    rule(95, outcome="RATE_LIMIT")
    rule(70, tool_id="bob", outcome="RATE_LIMIT")
    pruned(recorded)
    gone = {n for n in range(1, 21) if n % 4 and n % 10} | {n for n in (10, 30) if n <= 30}
    assert left() == set(range(1, 41)) - gone
    assert findings(recorded) == []


def test_a_legal_hold_stops_pruning_until_it_is_released(recorded: Path) -> None:
    rule(1)
    first = datetime.fromtimestamp(AT, UTC)
    hold = LegalHold.objects.create(
        reason="case 7", since=first + timedelta(days=4), until=first + timedelta(days=9)
    )
    LegalHold.objects.create(reason="case 8", tool_id="charlie")
    pruned(recorded)
    assert left() == set(range(5, 10)) | {n for n in range(1, 41) if n % 4 == 0}
    assert findings(recorded) == []
    LegalHold.objects.create(reason="everything")
    hold.released_at = NOW
    hold.save()
    assert pruned(recorded) == 0
    LegalHold.objects.filter(reason="everything").update(released_at=NOW)
    pruned(recorded)
    assert left() == {n for n in range(1, 41) if n % 4 == 0}


def test_the_chain_goes_on_behind_rows_that_all_went(recorded: Path) -> None:
    rule(1)
    assert pruned(recorded) == DAYS
    journal = Journal(recorded)
    journal.outcome(outcome(call(41), started_at=AT))
    writer(recorded).run_once()
    journal.close()
    assert RequestLog.objects.get().sequence == DAYS + 1, "the same chain, resumed by another writer"
    assert findings(recorded) == []


def test_the_writer_prunes_by_itself(recorded: Path) -> None:
    rule(80)
    writer(recorded).keep_up(NOW)
    assert left() == set(range(21, 41))
    assert AuditTombstone.objects.get().entry()["by"] == "schedule"


def test_rows_removed_without_a_tombstone_are_still_found(recorded: Path) -> None:
    rule(80)
    pruned(recorded)
    RequestLog.objects.filter(sequence=25).delete()
    assert [finding[:11].strip() for finding in findings(recorded)] == ["deleted"]


def test_a_forged_tombstone_covers_nothing(recorded: Path) -> None:
    rule(80)
    pruned(recorded)
    stone = AuditTombstone.objects.get()
    stone.line = stone.line.replace('"rows":20', '"rows":21')
    stone.save()
    assert {finding[:11].strip() for finding in findings(recorded)} == {
        "tombstone",
        "deleted",
        "checkpoint",
        "restored",
    }


def test_a_pack_of_a_pruned_period_verifies(recorded: Path, tmp_path: Path) -> None:
    import sys

    from telemetry.audit.verifier import Pack
    from telemetry.audit.verifier import verify as verify_pack

    rule(80, tool_id="bob")
    pruned(recorded)
    for number, selection in enumerate((Selection(), Selection(tool_id="charlie"), Selection(tool_id="bob"))):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(b"".join(EvidencePack(selection, audit(recorded).public_keys()).stream()))
        told = verify_pack(Pack(path), audit(recorded).public_keys())
        assert (told.rows > 0, told.findings.kept) == (True, []), sys.version

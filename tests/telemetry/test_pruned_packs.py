"""Packs of a record from which calls were removed for their age."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from packs import findings, packed, recorded, rows_of, seal_anew, told_of, unpacked  # noqa: F401 - a fixture
from recorded import AT, audit, call, outcome, writer

from telemetry.audit.canonical import stamp
from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import encoded
from telemetry.journal import Journal
from telemetry.models import AuditTombstone, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
BEGAN = datetime.fromtimestamp(AT, UTC)


@pytest.fixture
def one_a_second(tmp_path: Path) -> Path:
    """Thirty calls, of which twelve of Charlie's at the beginning and twelve of another client's at the end went."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 31):
        client = "charlie" if n <= 12 else "bob" if n <= 18 else "bob\nall is well"
        journal.outcome(outcome(call(n), tool_id=client, started_at=AT + n))
        if n % 6 == 0:
            moving.run_once()
    journal.close()
    RetentionRule.objects.create(days=1, tool_id="bob\nall is well")
    RetentionRule.objects.create(days=1, tool_id="charlie")
    for at_once in (20, 4):
        prune(audit(folder).signer(), timezone.now(), by="ada", most=at_once)
    return folder


@pytest.mark.parametrize(
    "selection",
    [Selection(), Selection(tool_id="bob"), *(Selection(call_id=call(n)) for n in (1, 3, 4, 28))],
    ids=["all", "client", "first", "third", "fourth", "last batch"],
)
def test_packs_of_what_pruning_has_left_are_found_genuine(recorded: Path, selection: Selection) -> None:
    """Also where the row that was signed went, and only the tombstone says what stood before it."""
    RetentionRule.objects.create(days=1, tool_id="charlie")
    assert prune(audit(recorded).signer(), timezone.now(), by="ada") == 15
    pack = unpacked(recorded, selection)
    assert rows_of(pack)
    assert findings(recorded, pack) == set()
    rows = rows_of(pack)
    rows[-1] = rows[-1] | {"bodyHash": "0" * 64} if "bodyHash" in rows[-1] else rows[-1] | {"status": 418}
    seal_anew(pack, rows)
    assert findings(recorded, pack) != set()


REMOVED = "%d rows were removed for their age, under %s: %s (by ada), from "


@pytest.mark.parametrize(
    ("selection", "around"),
    [
        (Selection(), "rows 13 to 18, whose calls began at 2023-11-14T22:13:33.250000Z and"),
        (Selection(), "; 1 to 12 are gone, as tombstones tell; 19 to 30 are gone, as tombstones tell"),
        (
            Selection(since=BEGAN),
            "; 1 to 12 are gone, as tombstones tell; 19 to 30 are gone, as tombstones tell",
        ),
    ],
    ids=["first and last", "around", "a period"],
)
def test_a_whole_pack_tells_of_the_rows_that_are_removed_for_their_age(
    one_a_second: Path, selection: Selection, around: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of those before its first row and behind its last, which no row that is left leads to."""
    code, told = told_of(one_a_second, packed(one_a_second, selection), capsys)
    assert (code, around in told) == (0, True), told
    removed = [line for line in told.splitlines() if " removed for their age, under " in line]
    assert sorted(line.partition(" from 20")[0] + " from " for line in removed) == [
        REMOVED % (12, "1 tombstone", "bob\\nall is well, every outcome: 1 day"),
        REMOVED % (12, "2 tombstones", "charlie, every outcome: 1 day"),
    ]


def test_of_rows_that_went_before_the_period_a_pack_does_not_tell(
    one_a_second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    period = Selection(since=BEGAN + timedelta(seconds=14), until=BEGAN + timedelta(seconds=16))
    code, told = told_of(one_a_second, packed(one_a_second, period), capsys)
    assert (code, "rows 14 to 15, whose" in told, "charlie" in told) == (0, True, False), told


def test_a_record_of_which_nothing_is_left_tells_so(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RetentionRule.objects.create(days=1)
    assert prune(audit(recorded).signer(), timezone.now(), by="ada") == 30
    for selection in (Selection(), Selection(since=BEGAN - timedelta(days=1), until=BEGAN)):
        code, told = told_of(recorded, packed(recorded, selection), capsys)
        assert (code, "0 rows of" in told) == (0, True), told
        assert REMOVED % (30, "1 tombstone", "every client, every outcome: 1 day") in told
    later = Selection(since=timezone.now() + timedelta(days=1))
    assert "removed" not in told_of(recorded, packed(recorded, later), capsys)[1]


def test_only_genuine_tombstones_tell_and_each_once(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RetentionRule.objects.create(days=1, tool_id="charlie")
    prune(audit(recorded).signer(), timezone.now(), by="ada")
    pack = unpacked(recorded, Selection())
    (line,) = (pack / "tombstones.jsonl").read_bytes().splitlines(keepends=True)
    forged = encoded(json.loads(line) | {"reason": "all is well"}) + b"\n"
    (pack / "tombstones.jsonl").write_bytes(line + forged + line)
    code, told = told_of(recorded, pack, capsys)
    assert (code, "all is well" in told) == (1, False), told
    assert REMOVED % (15, "1 tombstone", "charlie, every outcome: 1 day") in told


def test_rows_that_a_restored_database_lacks_are_told_as_lost(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator has signed that: a tombstone over what came behind the last row that is left."""
    newest = RequestLog.objects.get(sequence=30)
    told = {
        "chain": newest.chain,
        "runs": [[31, 33, "0" * 64, newest.hash]],
        "rows": 3,
        "lost": {"first": 6, "last": 6},
        "reason": "restored: the disk was full",
        "by": "ada",
        "signedAt": stamp(timezone.now()),
    }
    line = audit(recorded).signer().sign("tombstone", told)
    AuditTombstone.objects.create(
        chain=newest.chain, signed_at=timezone.now(), line=line, first=31, last=33, rows=3
    )
    code, said = told_of(recorded, packed(recorded, Selection()), capsys)
    assert (code, "; 31 to 33 are gone, as tombstones tell" in said) == (0, True), said
    lost = "3 rows were lost with a restored database, under 1 tombstone: restored: the disk was full (by ada), from "
    assert lost in said

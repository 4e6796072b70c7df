"""Where rows went for their age, nobody can put others into a pack."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from django.utils import timezone
from packs import Rows, findings, recorded, rows_of, seal_anew, unpacked
from recorded import AT, audit, call, outcome, writer

from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import encoded, row_hash
from telemetry.journal import Journal
from telemetry.models import RetentionRule

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)


def hashed_anew(rows: Iterable[dict[str, object]], previous: str) -> None:
    for row in rows:
        row.pop("hash", None)
        body = {name: value for name, value in row.items() if name != "previousHash"}
        previous = row["hash"] = row_hash(previous, encoded(body))


def invented(like: dict[str, object], sequence: int) -> dict[str, object]:
    told = {name: value for name, value in like.items() if name not in ("hash", "previousHash")}
    return told | {"sequence": sequence, "callId": call(900 + sequence), "toolId": "mallory"}


@pytest.mark.parametrize("selection", [Selection(), Selection(tool_id="bob")], ids=["whole", "client"])
def test_an_altered_row_and_an_invented_one_behind_it_lead_to_no_signature(
    recorded: Path, selection: Selection
) -> None:
    RetentionRule.objects.create(days=1, tool_id="charlie")
    prune(audit(recorded).signer(), timezone.now(), by="ada")
    pack = unpacked(recorded, selection)
    assert findings(recorded, pack) == set()
    rows = rows_of(pack)
    at = next(place for place, row in enumerate(rows) if row["sequence"] == 4)
    previous = str(rows[at].get("previousHash") or rows[at - 1]["hash"])
    rows[at] |= {"status": 500, "model": "never called"}
    rows.insert(at + 1, invented(rows[at], 5))
    hashed_anew(rows[at : at + 2], previous)
    seal_anew(pack, rows)
    assert findings(recorded, pack) == {("unsigned", 5)}


def without_hashes(rows: Rows) -> None:
    """As if they had not been selected."""
    for row in rows:
        body = {name: value for name, value in row.items() if name not in ("hash", "previousHash")}
        kept = {name: row[name] for name in ("chain", "sequence", "previousHash") if name in row}
        row.clear()
        row |= kept | {"bodyHash": encoded(body).hex()[:64]}


@pytest.mark.parametrize("as_stand_ins", [0, 1])
def test_rows_invented_before_the_first_one_that_is_left_lead_to_no_signature(
    tmp_path: Path, as_stand_ins: int
) -> None:
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 31):
        journal.outcome(outcome(call(n), started_at=AT if n <= 18 else timezone.now().timestamp()))
        if n % 6 == 0:
            moving.run_once()
    journal.close()
    RetentionRule.objects.create(days=30)
    assert prune(audit(folder).signer(), timezone.now(), by="schedule") == 18
    pack = unpacked(folder, Selection())
    rows = rows_of(pack)
    made = [invented(rows[0], sequence) for sequence in (7, 8, 9)]
    made[0]["previousHash"] = "ab" * 32
    hashed_anew(made, "ab" * 32)
    without_hashes(made[3 - as_stand_ins :])
    rows[0].pop("previousHash")
    seal_anew(pack, made + rows)
    assert ("unsigned", 9) in findings(folder, pack)

"""Packs that somebody made anew after they left the product: hashes and counts of the manifest are done again too."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from recorded import audit, call, outcome, writer

from telemetry.audit.pack import EvidencePack
from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import Pack, Unreadable, encoded, main, verify
from telemetry.journal import Journal
from telemetry.models import RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
Rows = list[dict[str, Any]]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Thirty calls signed in batches of six; of each batch the second, the fifth and the last are Charlie's."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 31):
        journal.outcome(outcome(call(n), tool_id="charlie" if n % 3 == 2 or n % 6 == 0 else "bob"))
        if n % 6 == 0:
            moving.run_once()
    journal.close()
    moving.run_once()
    return folder


def unpacked(folder: Path, selection: Selection) -> Path:
    made = folder.parent / "pack"
    path = folder.parent / "pack.zip"
    path.write_bytes(b"".join(EvidencePack(selection, audit(folder).public_keys()).stream()))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(made)
    return made


def rows_of(pack: Path) -> Rows:
    return [json.loads(line) for line in (pack / "rows.jsonl").read_text().splitlines()]


def seal_anew(pack: Path, rows: Rows) -> None:
    data = b"".join(encoded(row) + b"\n" for row in rows)
    (pack / "rows.jsonl").write_bytes(data)
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["files"]["rows.jsonl"] = hashlib.sha256(data).hexdigest()
    manifest["rows"] = sum("bodyHash" not in row for row in rows)
    (pack / "manifest.json").write_text(json.dumps(manifest))


def findings(folder: Path, pack: Path) -> set[tuple[str, int]]:
    keys = audit(folder).public_keys()
    return {(finding.kind, finding.sequence) for finding in verify(Pack(pack), keys)[2]}


def no_row_before_the_first(rows: Rows) -> Rows:
    rows[0] |= {"previousHash": None, "toolId": "mallory"}
    return rows


def a_beginning_after_a_signature(rows: Rows) -> Rows:
    rows[6] |= {"previousHash": None, "toolId": "mallory"}
    return rows


def a_part_between_signatures_cut_out(rows: Rows) -> Rows:
    rows[18]["previousHash"] = rows[17]["hash"]
    return rows[:6] + rows[18:]


def a_row_hidden_behind_its_hash(rows: Rows) -> Rows:
    body = {name: value for name, value in rows[8].items() if name != "hash"}
    stand_in = {"chain": body["chain"], "sequence": 9, "bodyHash": hashlib.sha256(encoded(body)).hexdigest()}
    return [*rows[:8], stand_in, *rows[9:]]


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        (no_row_before_the_first, {("changed", 1)}),
        (a_beginning_after_a_signature, {("deleted", 7), ("changed", 7)}),
        (a_part_between_signatures_cut_out, {("deleted", 19)}),
        (a_row_hidden_behind_its_hash, {("deleted", 10)}),
    ],
)
def test_a_whole_pack_that_was_forged_is_found_out(
    recorded: Path, forge: Callable[[Rows], Rows], expected: set[tuple[str, int]]
) -> None:
    pack = unpacked(recorded, Selection())
    assert findings(recorded, pack) == set()
    seal_anew(pack, forge(rows_of(pack)))
    assert findings(recorded, pack) == expected


def test_a_pack_of_one_call_cannot_be_given_another_row(recorded: Path) -> None:
    pack = unpacked(recorded, Selection(call_id=call(9)))
    assert findings(recorded, pack) == set()
    rows = rows_of(pack)
    rows[0] |= {"previousHash": None, "outputTokens": 99999}
    seal_anew(pack, rows)
    assert ("changed", 9) in findings(recorded, pack)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("checkpoints.jsonl", "[]\n"),
        ("rows.jsonl", '{"chain":"a","sequence":null}\n'),
        ("rows.jsonl", "[" * 100_000 + "\n"),
        ("manifest.json", "[]"),
    ],
)
def test_what_is_no_pack_is_said_to_be_none(
    recorded: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    (pack / name).write_text(text)
    key = recorded.parent / "mine.pub"
    key.write_text(base64.b64encode(audit(recorded).public_keys()[0]).decode())
    assert main([str(pack), "--public-key", str(key)]) == 2
    assert "no evidence pack that can be read" in capsys.readouterr().err


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


def test_a_pack_without_its_rows_is_unreadable(recorded: Path) -> None:
    pack = unpacked(recorded, Selection())
    (pack / "rows.jsonl").unlink()
    with pytest.raises(Unreadable, match=r"rows\.jsonl is missing"):
        verify(Pack(pack))

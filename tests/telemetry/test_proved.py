"""What a pack is said to prove: no more than it does."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.utils import timezone
from packs import Rows, findings, packed, recorded, rows_of, seal_anew, told_of, unpacked  # noqa: F401 - a fixture
from recorded import audit, call, outcome, writer

from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import main
from telemetry.journal import Journal
from telemetry.models import RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
GENUINE = "A selection: these rows are genuine, which does not say that they are all there were."
NOTHING = "No row is in this pack, so it proves nothing of any call"
BOB = Selection(tool_id="bob")


def test_rows_of_a_selection_are_called_genuine_with_a_key_that_was_named(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert GENUINE in told_of(recorded, packed(recorded, BOB), capsys)[1]


def test_without_one_they_are_as_the_keys_in_the_pack_signed_them(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(packed(recorded, BOB))]) == 0
    told = capsys.readouterr().out
    assert "A selection: these rows are as they were signed with the keys in the pack, which does not" in told
    assert "genuine" not in told


def altered(rows: Rows) -> Rows:
    rows[0]["status"] = 500
    return rows


def test_altered_rows_are_not(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = unpacked(recorded, BOB)
    seal_anew(pack, altered(rows_of(pack)))
    code, told = told_of(recorded, pack, capsys)
    assert (code, "genuine" in told) == (1, False), told


def test_nor_are_they_under_another_key(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(recorded, BOB)
    (tmp_path / "other.pub").write_text("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert main([str(path), "--public-key", str(tmp_path / "other.pub")]) == 1
    assert "genuine" not in capsys.readouterr().out


def emptied(pack: Path) -> None:
    """As if of a period without a call: everything that was signed is gone."""
    manifest = json.loads((pack / "manifest.json").read_text()) | {"rows": 0, "chains": []}
    for name in ("rows.jsonl", "checkpoints.jsonl", "tombstones.jsonl"):
        (pack / name).write_bytes(b"")
        manifest["files"][name] = hashlib.sha256(b"").hexdigest()
    (pack / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("selection", [Selection(), BOB], ids=["whole", "selection"])
def test_an_emptied_pack_is_said_to_prove_nothing(
    recorded: Path, selection: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, selection)
    emptied(pack)
    code, told = told_of(recorded, pack, capsys)
    assert (code, "0 rows of" in told, NOTHING in told) == (0, True, True), told
    assert not {word for word in ("genuine", "Signatures checked") if word in told}


def test_so_is_an_honest_one_of_a_period_without_a_call(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = packed(recorded, Selection(until=datetime(2020, 1, 1, tzinfo=UTC)))
    code, told = told_of(recorded, pack, capsys)
    assert (code, NOTHING in told) == (0, True), told


def test_of_rows_that_were_removed_their_tombstones_still_tell(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RetentionRule.objects.create(days=1)
    assert prune(audit(recorded).signer(), timezone.now(), by="ada") == 30
    code, told = told_of(recorded, packed(recorded, Selection()), capsys)
    assert (code, NOTHING in told, "Signatures checked" in told) == (0, True, True), told
    assert "30 rows were removed for their age" in told


def test_one_row_is_a_row(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "1 row of the call" in told_of(recorded, packed(recorded, Selection(call_id=call(7))), capsys)[1]


@pytest.fixture
def two_passes(recorded: Path) -> Path:
    """A second writer, with a chain of its own and the same signing key."""
    second = recorded.with_name("second")
    place = audit(second)
    place.folder.mkdir(parents=True)
    for name in ("signing.key", "believed"):
        (place.folder / name).symlink_to(audit(recorded).folder / name)
    journal, moving = Journal(second), writer(second)
    for n in range(31, 37):
        journal.outcome(outcome(call(n)))
    journal.close()
    moving.run_once()
    return recorded


def without_a_chain(pack: Path) -> str:
    rows = rows_of(pack)
    dropped = str(rows[-1]["chain"])
    seal_anew(pack, [row for row in rows if row["chain"] != dropped])
    lines = (pack / "checkpoints.jsonl").read_bytes().splitlines(keepends=True)
    data = b"".join(line for line in lines if dropped.encode() not in line)
    (pack / "checkpoints.jsonl").write_bytes(data)
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["files"]["checkpoints.jsonl"] = hashlib.sha256(data).hexdigest()
    (pack / "manifest.json").write_text(json.dumps(manifest))
    return dropped


def test_a_chain_that_was_left_out_of_two_is_found_by_the_manifest(
    two_passes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(two_passes, Selection())
    assert findings(two_passes, pack) == set()
    dropped = without_a_chain(pack)
    code, told = told_of(two_passes, pack, capsys)
    line = f"cut off     chain {dropped} #0: the manifest lists this chain, and no row of it is here"
    assert (code, line in told) == (1, True), told


@pytest.mark.parametrize("chains", ["all", ["x"], [{"chain": 7}], [{}]], ids=range(4))
def test_a_manifest_whose_chains_cannot_be_read_lets_none_pass(
    recorded: Path, chains: object, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    seal_anew(pack, rows_of(pack), chains=chains)
    assert told_of(recorded, pack, capsys)[0] == (2 if chains == "all" else 1)

"""Packs that somebody made anew after they left the product: hashes and counts of the manifest are done again too."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packs import Rows, findings, packed, recorded, rows_of, seal_anew, seal_lines, told_of, unpacked  # noqa: F401 - a fixture
from recorded import audit, call

from telemetry.audit.selection import Selection
from telemetry.audit.verifier import Pack, encoded, verify

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_a_part_of_a_client_s_pack_that_is_there_twice_is_found(recorded: Path) -> None:
    pack = unpacked(recorded, Selection(tool_id="bob"))
    rows = rows_of(pack)
    seal_anew(pack, rows + rows[:6])
    told = verify(Pack(pack), audit(recorded).public_keys())
    assert {("duplicate", n) for n in range(1, 7)} <= {(f.kind, f.sequence) for f in told.findings.kept}
    assert told.rows == 15, "a row counts once"


def test_many_findings_of_a_kind_do_not_hide_another(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    rows = rows_of(pack)
    seal_anew(pack, [*rows[:8], *rows[:8] * 130, rows[8] | {"status": 500}, *rows[9:]])
    code, told = told_of(recorded, pack, capsys)
    assert (code, told.count("there twice"), "and 40 more" in told) == (1, 1000, True)
    assert "#9: the row is not the one that was recorded" in told


@pytest.mark.parametrize("field", ["toolId", "outcome", "hash", "callId"])
def test_a_row_that_stands_in_by_its_hash_says_nothing_else(recorded: Path, field: str) -> None:
    pack = unpacked(recorded, Selection(tool_id="bob"))
    rows = rows_of(pack)
    assert rows[1].keys() == {"chain", "sequence", "bodyHash"}
    rows[1][field] = "bob"
    seal_anew(pack, rows)
    assert findings(recorded, pack) == {("forged", 2)}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (b'{"', b'{"status":500,"', "a name is there twice"),
        (b'"status":200', b'"status":NaN', "NaN is no number"),
        (b'"status":200', b'"status":-Infinity', "-Infinity is no number"),
        (b'"status":200', b'"status":{"a":1,"a":2}', "a name is there twice"),
    ],
)
def test_a_line_that_readers_read_differently_is_refused_and_named(
    recorded: Path, before: bytes, after: bytes, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    lines = (pack / "rows.jsonl").read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(before, after, 1)
    seal_lines(pack, b"".join(lines))
    code, told = told_of(recorded, pack, capsys)
    assert (code, f"line 5 of rows.jsonl is no JSON object: {says}" in told) == (2, True), told


def test_the_manifest_too_says_nothing_twice(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = unpacked(recorded, Selection())
    text = (pack / "manifest.json").read_text()
    (pack / "manifest.json").write_text(text.replace("{", '{"about": "everything",', 1))
    assert told_of(recorded, pack, capsys)[0] == 2


@pytest.mark.parametrize(
    ("add", "says"),
    [
        ("rows.jsonl", "rows.jsonl is there 2 times"),
        ("manifest.json", "manifest.json is there 2 times"),
        ("summary.csv", "summary.csv is no part of a pack"),
        ("more/rows.jsonl", "more/rows.jsonl is no part of a pack"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_has_each_file_once_and_nothing_else(
    recorded: Path, add: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(recorded, Selection())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(add, archive.read(add) if add in archive.namelist() else b"forged")
    code, told = told_of(recorded, path, capsys)
    assert (code, says in told) == (1, True), told


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (lambda files: {}, "rows.jsonl is not listed"),
        (lambda files: {n: d for n, d in files.items() if n != "keys.jsonl"}, "keys.jsonl is not listed"),
        (lambda files: files | {"../mine.pub": "0"}, "lists ../mine.pub, which is no part of a pack"),
        (lambda files: files | {"rows.jsonl": None}, "rows.jsonl is not the file that the manifest lists"),
    ],
    ids=["none", "one missing", "one outside", "no digest"],
)
def test_the_manifest_lists_what_a_pack_has(
    recorded: Path,
    listed: Callable[[dict[str, str]], dict[str, str]],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pack = unpacked(recorded, Selection())
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["files"] = listed(manifest["files"])
    (pack / "manifest.json").write_text(json.dumps(manifest))
    code, told = told_of(recorded, pack, capsys)
    assert (code, says in told) == (1, True), told


def test_beside_an_unpacked_pack_may_lie_what_likes(recorded: Path) -> None:
    pack = unpacked(recorded, Selection())
    (pack / "notes.txt").write_text("my own")
    assert findings(recorded, pack) == set()


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (slice(6, None), "rows 7 to 30, whose calls began at 2023-11-14T22:13:20.250000Z and 2023-"),
        (slice(6, None), "; 1 to 6 are not in the pack"),
        (slice(None, 24), "rows 1 to 24, whose calls"),
    ],
    ids=["first batch", "how many before", "last batch"],
)
def test_how_far_a_pack_reaches_is_told(
    recorded: Path, kept: slice, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left is genuine: that it is not all can be seen, not found."""
    pack = unpacked(recorded, Selection())
    rows = rows_of(pack)
    if kept.start:
        rows[kept.start]["previousHash"] = rows[kept.start - 1]["hash"]
    seal_anew(pack, rows[kept])
    code, told = told_of(recorded, pack, capsys)
    assert (code, says in told) == (0, True), told


def test_rows_at_the_end_that_are_hidden_behind_their_hashes_are_told(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    rows = rows_of(pack)
    for n, row in enumerate(rows[27:], 28):
        body = {name: value for name, value in row.items() if name != "hash"}
        digest = hashlib.sha256(encoded(body)).hexdigest()
        rows[n - 1] = {"chain": body["chain"], "sequence": n, "bodyHash": digest}
    seal_anew(pack, rows)
    code, told = told_of(recorded, pack, capsys)
    assert (code, "; 28 to 30 are here as hashes alone" in told) == (0, True), told

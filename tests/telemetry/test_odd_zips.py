"""ZIP files that hold more than their directory names, or that programs read in different ways; and honest ones."""

import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from packs import findings, packed, recorded, told_of, unpacked  # noqa: F401 - a fixture
from recorded import call, outcome, writer

from telemetry.audit.selection import Selection
from telemetry.journal import Journal

pytestmark = pytest.mark.django_db(transaction=True)
Files = dict[str, bytes]


def files_of(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: Path, files: Files, **of_the_readme: object) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if name == "README.txt":
                for attribute, value in of_the_readme.items():
                    setattr(entry, attribute, value)
            archive.writestr(entry, data)
    return path.read_bytes()


def forged_entries(files: Files, scratch: Path) -> bytes:
    """Bob's calls as another's, without a directory."""
    forged = zipped(scratch, files | {"rows.jsonl": files["rows.jsonl"].replace(b'"bob"', b'"eve"')})
    return forged[: forged.index(b"PK\1\2")]


def moved(data: bytes, by: int) -> bytes:
    """The end record, when the directory begins later."""
    (start,) = struct.unpack("<L", data[-6:-2])
    return data[:-6] + struct.pack("<L", start + by) + data[-2:]


def in_front(good: bytes, files: Files, scratch: Path) -> bytes:
    return forged_entries(files, scratch) + good


def before_the_directory(good: bytes, files: Files, scratch: Path) -> bytes:
    at, forged = good.index(b"PK\1\2"), forged_entries(files, scratch)
    return moved(good[:at] + forged + good[at:], len(forged))


def a_whole_one_in_front(good: bytes, files: Files, scratch: Path) -> bytes:
    return zipped(scratch, files | {"rows.jsonl": b""}) + good


def behind(good: bytes, files: Files, scratch: Path) -> bytes:
    return good + bytes(10)


def a_comment(good: bytes, files: Files, scratch: Path) -> bytes:
    text = b"All calls verified by the notary"
    return good[:-2] + struct.pack("<H", len(text)) + text


def a_comment_on_a_file(good: bytes, files: Files, scratch: Path) -> bytes:
    return zipped(scratch, files, comment=b"verified")


def a_link(good: bytes, files: Files, scratch: Path) -> bytes:
    return zipped(scratch, files, external_attr=0o120777 << 16)


def a_link_on_windows(good: bytes, files: Files, scratch: Path) -> bytes:
    return zipped(scratch, files, external_attr=0x400)


def a_folder(good: bytes, files: Files, scratch: Path) -> bytes:
    return zipped(scratch, files, external_attr=0x10)


def encrypted_at_its_place(good: bytes, files: Files, scratch: Path) -> bytes:
    data = bytearray(good)
    data[data.index(b"README.txt") - 24] |= 1
    return bytes(data)


def another_size_at_its_place(good: bytes, files: Files, scratch: Path) -> bytes:
    data = bytearray(good)
    data[data.index(b"README.txt") - 12] ^= 1
    return bytes(data)


def behind_the_packed_bytes(good: bytes, files: Files, scratch: Path) -> bytes:
    """Within what the directory says is the file's: unpacking ends before it."""
    readme, packer = files["README.txt"], zlib.compressobj(wbits=-15)
    packed_readme = packer.compress(readme) + packer.flush() + forged_entries(files, scratch)
    with zipfile.ZipFile(scratch, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, packed_readme if name == "README.txt" else data)
    data, size = bytearray(scratch.read_bytes()), len(packed_readme)
    local, directory = data.index(b"README.txt") - 30, data.rindex(b"README.txt") - 46
    for at, method, sums in ((local, 8, 14), (directory, 10, 16)):
        struct.pack_into("<H", data, at + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<3L", data, at + sums, zlib.crc32(readme), size, len(readme))
    return bytes(data)


def read_to_another_end(good: bytes, files: Files, scratch: Path) -> bytes:
    """Whoever reads it from a pipe takes the first sizes that fit for the end of the file, and what follows for others.
    Nothing here is hidden: how a file is stored decides it."""
    with scratch.open("wb") as file, zipfile.ZipFile(_Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data, zipfile.ZIP_STORED if name == "README.txt" else zipfile.ZIP_DEFLATED)
    return scratch.read_bytes()


class _Pipe:
    """Where nobody can go back to write how long a file was."""

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush = file.write, file.flush


@pytest.mark.parametrize(
    "spoil",
    [
        read_to_another_end, in_front, before_the_directory, a_whole_one_in_front, behind, a_comment, a_comment_on_a_file, a_link,
        a_link_on_windows, a_folder, encrypted_at_its_place, another_size_at_its_place, behind_the_packed_bytes,
    ],
)  # fmt: skip
def test_a_zip_file_that_can_be_read_in_another_way_is_found(
    recorded: Path,
    tmp_path: Path,
    spoil: Callable[[bytes, Files, Path], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = packed(recorded, Selection())
    files = files_of(path)
    good = zipped(path, files)
    assert told_of(recorded, path, capsys)[0] == 0
    path.write_bytes(spoil(good, files, tmp_path / "scratch.zip"))
    assert files_of(path) == files, "its directory names what was signed"
    code, told = told_of(recorded, path, capsys)
    assert (code, told.count("the ZIP file can be read in more than one way")) == (1, 1), told


def test_a_file_with_another_name_for_some_is_found(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Info-ZIP's Unicode path: that program unpacks the file under it, and later Pythons know it by no other."""
    path, name = packed(recorded, Selection()), b"report.txt"
    field = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zlib.crc32(b"README.txt")) + name
    path.write_bytes(zipped(tmp_path / "scratch.zip", files_of(path), extra=field))
    expected = 2, "README.txt is missing"
    if "report.txt" not in files_of(path):
        expected = 1, "the ZIP file can be read in more than one way"
    code, told = told_of(recorded, path, capsys)
    assert (code, told.count(expected[1])) == (expected[0], 1), told


def test_a_pack_of_some_megabytes_is_as_its_directory_says(tmp_path: Path) -> None:
    """One that was streamed: the sizes stand behind each file."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 401):
        journal.outcome(outcome(call(n), decision={"noise": os.urandom(10_000).hex()}))
    journal.close()
    moving.run_once()
    path = packed(folder, Selection())
    assert path.stat().st_size > 4 << 20
    with zipfile.ZipFile(path) as archive:
        assert {entry.flag_bits for entry in archive.infolist()} == {8}
    assert findings(folder, path) == set()


def test_a_pack_so_large_that_its_end_needs_64_bits_is_too(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python writes the forms of a file of 2 GiB from whatever limit it is told."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    path = packed(recorded, Selection())
    assert path.read_bytes().count(b"PK\6\6") == 1
    assert findings(recorded, path) == set()
    path.write_bytes(path.read_bytes() + b"\0")
    assert findings(recorded, path) == {("file", 0)}


def test_a_pack_may_be_unpacked_and_zipped_anew(recorded: Path, tmp_path: Path) -> None:
    pack, files = unpacked(recorded, Selection()), files_of(packed(recorded, Selection()))
    path = tmp_path / "anew.zip"
    zipped(path, files)
    assert findings(recorded, path) == set()
    made = shutil.make_archive(str(tmp_path / "again"), "zip", pack)
    assert findings(recorded, Path(made)) == set()


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP")
def test_one_that_info_zip_made_verifies(recorded: Path, tmp_path: Path) -> None:
    """It adds times and owners."""
    pack, path = unpacked(recorded, Selection()), tmp_path / "anew.zip"
    names = [each.name for each in pack.iterdir()]
    subprocess.run(["zip", "-q", "-9", str(path), *names], cwd=pack, check=True)
    assert findings(recorded, path) == set()
    piped = subprocess.run(["zip", "-q", "-", *names], cwd=pack, check=True, stdout=subprocess.PIPE)
    path.write_bytes(piped.stdout)
    with zipfile.ZipFile(path) as archive:
        (empty,) = [entry for entry in archive.infolist() if not entry.file_size]
    assert (empty.filename, empty.flag_bits & 8) == ("tombstones.jsonl", 8)
    assert findings(recorded, path) == set()

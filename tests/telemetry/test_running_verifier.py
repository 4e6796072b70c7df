"""The verifier as a script on an auditor's machine: whose code runs, and what its exit code says."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from packs import packed, recorded, rows_of, seal_anew, unpacked  # noqa: F401 - a fixture
from recorded import audit

from telemetry.audit import verifier
from telemetry.audit.selection import Selection

pytestmark = pytest.mark.django_db(transaction=True)
SCRIPT = Path(verifier.__file__)
PLANTED = "print('the code of whoever forged this ran'); import os; os._exit(0)"
OLDER = sorted(Path("~/.pyenv/versions").expanduser().glob("3.[89].*/bin/python"))
OLDER += sorted(Path("~/.pyenv/versions").expanduser().glob("3.10.*/bin/python"))


def run(*arguments: object, cwd: Path | None = None, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=os.environ | env
    )
    return done.returncode, done.stdout + done.stderr


def key(folder: Path) -> Path:
    path = folder.parent / "mine.pub"
    path.write_text(base64.b64encode(audit(folder).public_keys()[0]).decode())
    return path


@pytest.fixture
def trapped(recorded: Path) -> Path:
    """A forged pack: beside a genuine verifier lies a module for each name of the standard library."""
    pack = unpacked(recorded, Selection())
    for name in sys.stdlib_module_names:
        (pack / f"{name}.py").write_text(PLANTED)
    return pack


def test_what_lies_beside_the_verifier_is_not_run(trapped: Path, recorded: Path) -> None:
    for arguments, folder in (
        (("pack/verifier.py", "pack"), trapped.parent),
        (("verifier.py", "."), trapped),
    ):
        code, told = run(*arguments, "--public-key", key(recorded), cwd=folder)
        assert (code, "30 rows of the whole record: no findings" in told) == (0, True), told


def test_isolated_it_takes_nothing_from_the_environment_either(trapped: Path) -> None:
    code, told = run("-I", SCRIPT, ".", cwd=trapped, PYTHONPATH=str(trapped))
    assert (code, "no findings" in told) == (0, True), told


@pytest.mark.parametrize("python", OLDER, ids=lambda path: path.parts[-3])
def test_an_older_python_is_told_in_a_line(python: Path) -> None:
    done = subprocess.run([python, SCRIPT, "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"This needs Python 3\.11 or newer; it was run with 3\.\d+\.\n", done.stderr)


def broken() -> int:
    """A pipe whose reader has gone, as of `| head`."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("forged", [False, True], ids=["genuine", "forged"])
@pytest.mark.parametrize("buffering", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("into", [broken, full])
def test_what_cannot_be_told_is_neither_good_nor_bad(
    recorded: Path, forged: bool, buffering: str, into: Callable[[], int]
) -> None:
    pack = unpacked(recorded, Selection())
    if forged:
        seal_anew(pack, rows_of(pack)[:-1])
    out, err = into(), into()
    env = os.environ | {"PYTHONUNBUFFERED": buffering}
    command = [sys.executable, SCRIPT, pack]
    told = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, env=env)
    nothing = subprocess.run(command, stdout=out, stderr=err, env=env)
    os.close(out)
    os.close(err)
    assert (told.returncode, nothing.returncode) == (2, 2)
    assert re.fullmatch(r"What was found cannot be told: .+\n", told.stderr)


def test_a_key_that_an_editor_marked_is_read(recorded: Path) -> None:
    pack, path = packed(recorded, Selection()), key(recorded)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    code, told = run(SCRIPT, pack, "--public-key", path)
    assert (code, "the key you named" in told) == (0, True), told


def test_a_key_in_utf_16_is_named_as_one_that_cannot_be_read(recorded: Path) -> None:
    path = key(recorded)
    path.write_text(path.read_text(), encoding="utf-16")
    code, told = run(SCRIPT, packed(recorded, Selection()), "--public-key", path)
    assert (code, "No public key can be read from" in told) == (2, True), told

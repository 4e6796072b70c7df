"""The environment file at a start: what is missing is added, what is there stays, byte for byte."""

import os
import re
import subprocess
import sys
from pathlib import Path

import environ
import pytest
from disk import full_at

from gateway import envfile
from gateway.environment import GENERATED, render_example

KEY, PEPPERS, KEYS = GENERATED
SECRET = r"[A-Za-z0-9_-]{64}"


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GENERATED:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / ".env"


def given(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def as_read(path: Path) -> dict[str, str]:
    """As django-environ reads the file, in an environment of its own."""

    class Reader(environ.Env):
        ENVIRON: dict[str, str] = {}

    Reader.read_env(str(path))
    return Reader.ENVIRON


def test_a_first_start_makes_the_file_from_the_example_with_each_secret_in_its_place(path: Path) -> None:
    example = render_example()
    assert envfile.complete(path, example) == list(GENERATED)
    written, shown = path.read_text().splitlines(), example.splitlines()
    assert len(written) == len(shown)
    changed = [line for line, before in zip(written, shown, strict=True) if line != before]
    assert all(re.fullmatch(f"{name}={SECRET}", line) for name, line in zip(GENERATED, changed, strict=True))
    assert len({as_read(path)[name] for name in GENERATED}) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [".env"]


def test_a_second_start_changes_nothing(path: Path) -> None:
    envfile.complete(path, render_example())
    before = (path.read_bytes(), path.stat().st_ino)
    assert envfile.complete(path, render_example()) == []
    assert (path.read_bytes(), path.stat().st_ino) == before


@pytest.mark.parametrize(
    ("own", "ending"),
    [
        (b"# mine\nOTHER=1\n", b"\n"),
        (b"# mine\nOTHER=1", b"\n"),
        (b"OTHER=1\r\nX=2\r\n", b"\r\n"),
        (b"OTHER=1\r\nX=2", b"\r\n"),
        (b"", b"\n"),
        ("# ümläut 🙂\nODD LINE\n  INDENTED=1\n".encode(), b"\n"),
        (b"# DJANGO_SECRET_KEY=\n# LLM_CALLER_TOKEN_PEPPERS=x\n", b"\n"),
    ],
)
def test_what_is_there_stays_and_what_is_missing_follows(path: Path, own: bytes, ending: bytes) -> None:
    assert envfile.complete(given(path, own), "EXAMPLE=1\n") == list(GENERATED)
    data = path.read_bytes()
    assert data.startswith(own)
    added = data[len(own) :].removeprefix(b"" if not own or own.endswith(b"\n") else ending)
    assert re.fullmatch(b"".join(f"{name}={SECRET}".encode() + ending for name in GENERATED), added)
    assert path.stat().st_mode & 0o777 == 0o600
    assert envfile.complete(path, "EXAMPLE=1\n") == []


@pytest.mark.parametrize("empty", ["", " ", "''", '""', '" "', "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
@pytest.mark.parametrize("prefix", ["", "export "])
def test_an_empty_assignment_is_filled_where_it_stands(
    path: Path, empty: str, ending: str, prefix: str
) -> None:
    before = f"A=1\n{prefix}{KEY}={empty}"
    after = f"B=2{ending}" if ending else ""
    given(path, f"{before}{ending}{after}".encode())
    assert KEY in envfile.complete(path, "")
    lines = path.read_bytes().decode().splitlines(keepends=True)
    assert lines[0] == "A=1\n"
    assert re.fullmatch(f"{prefix}{KEY}={SECRET}{ending or chr(10)}", lines[1])
    assert [line for line in lines if KEY in line] == lines[1:2]
    assert re.fullmatch(SECRET, as_read(path)[KEY])
    assert envfile.complete(path, "") == []


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY}=\n{KEY}=kept\n",
        f"{KEY}=kept\n",
        f"{KEY}='kept'\n",
        f'export {KEY}="kept"\n',
        f"{KEY}=kept\r\n{PEPPERS}=\r\n",
    ],
)
def test_a_value_that_django_environ_reads_is_present(path: Path, text: str) -> None:
    assert KEY not in envfile.complete(given(path, text.encode()), "")
    assert as_read(path)[KEY] == "kept"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "text", [f"{KEY} = lost\n", f" {KEY}=lost\n", f"{KEY}=lost\n{KEY}=\n", f"#{KEY}=lost\n"]
)
def test_a_value_that_django_environ_does_not_read_is_missing(path: Path, text: str) -> None:
    assert KEY in envfile.complete(given(path, text.encode()), "")
    assert re.fullmatch(SECRET, as_read(path)[KEY])
    assert envfile.complete(path, "") == []


def test_an_empty_assignment_is_not_given_the_next_line_s_value(path: Path) -> None:
    given(path, f"{KEY}=\nOTHER=1\n".encode())
    assert envfile.assigned(path.read_text()) == {"OTHER"}


def test_the_process_environment_wins_and_a_file_of_its_own_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "from the process")
    monkeypatch.setenv(f"{PEPPERS}_FILE", "/run/secrets/peppers")
    assert envfile.complete(path, "EXAMPLE=1\n") == [KEYS]
    monkeypatch.setenv(KEY, "")
    given(path, f"{KEYS}_FILE=/run/secrets/keys\n{KEY}_FILE=\n".encode())
    assert envfile.complete(path, "") == [KEY]


def test_a_token_is_added_once_or_put_into_its_empty_place(path: Path) -> None:
    given(path, b"A=1")
    envfile.add(path, "UAT_CLIENT_TOKEN", "first")
    assert path.read_bytes() == b"A=1\nUAT_CLIENT_TOKEN=first\n"
    given(path, b"UAT_CLIENT_TOKEN=\nA=1\n")
    envfile.add(path, "UAT_CLIENT_TOKEN", "second")
    assert path.read_bytes() == b"UAT_CLIENT_TOKEN=second\nA=1\n"
    path.unlink()
    envfile.add(path, "UAT_CLIENT_TOKEN", "third")
    assert path.read_bytes() == b"UAT_CLIENT_TOKEN=third\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_the_file_as_it_was_and_nothing_beside_it(path: Path) -> None:
    given(path, b"OWN=1\n" * 10)
    with full_at(100), pytest.raises(OSError):
        envfile.complete(path, "")
    assert path.read_bytes() == b"OWN=1\n" * 10
    assert list(path.parent.iterdir()) == [path]


def test_the_command_names_what_it_made_and_shows_no_secret(path: Path) -> None:
    environment = os.environ | {"LLM_CALLER_ENV_FILE": str(path)}
    command = [sys.executable, "-m", "gateway.envfile"]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)
    )
    assert first.stderr == f"Made {', '.join(GENERATED)} in {path}\n"
    assert (first.stdout, second.stdout, second.stderr) == ("", "", "")


def test_a_secret_behind_the_mark_of_an_editor_is_neither_lost_nor_made_twice(path: Path) -> None:
    given(path, f"\ufeff{KEY}=kept\r\n{PEPPERS}=\r\n".encode())
    assert envfile.complete(path, "") == [PEPPERS, KEYS]
    given(path, f"\ufeff{KEY}=\n".encode())
    assert KEY in envfile.complete(path, "")
    assert path.read_bytes().count(KEY.encode()) == 1

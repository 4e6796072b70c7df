"""Pages' files are made where they are not as the last start left them, and only there."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from gateway.static_files import COLLECTED, collect


@pytest.fixture
def state(tmp_path: Path) -> Any:
    own = tmp_path / "own"
    own.mkdir()
    (own / "page.css").write_text("p { color: red }")
    places = {"STATE_DIR": tmp_path, "STATIC_ROOT": tmp_path / "static", "STATICFILES_DIRS": [own]}
    with override_settings(**places):
        collect(sys.stderr)
        yield tmp_path


def made(state: Path) -> dict[str, int]:
    """By name, which file it is: one that is made anew is another."""
    return {path.name: path.stat().st_ino for path in (state / "static").rglob("*") if path.is_file()}


def test_the_second_start_makes_nothing(state: Path) -> None:
    before, told = made(state), (state / COLLECTED).stat()
    assert {"page.css", "page.css.gz", "staticfiles.json"} & set(before) >= {"page.css", "staticfiles.json"}
    collect(sys.stderr)
    assert made(state) == before
    assert (state / COLLECTED).stat() == told
    assert told.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["page.css", "staticfiles.json"])
def test_what_was_removed_is_made_again(state: Path, name: str) -> None:
    before = set(made(state))
    (state / "static" / name).unlink()
    collect(sys.stderr)
    assert set(made(state)) == before


def test_a_new_version_of_a_file_is_given_out(state: Path) -> None:
    (state / "own" / "page.css").write_text("p { color: sienna }")
    later = time.time() + 10  # Django goes by whole seconds
    os.utime(state / "own" / "page.css", (later, later))
    collect(sys.stderr)
    assert "sienna" in (state / "static" / "page.css").read_text()
    assert sum(name.startswith("page.") and name.endswith(".css") for name in made(state)) == 3, (
        "of both versions"
    )


def test_a_file_more_is_given_out(state: Path) -> None:
    (state / "own" / "more.css").write_text("b { }")
    collect(sys.stderr)
    assert "more.css" in made(state)


def test_what_somebody_wrote_over_is_made_anew_where_its_time_says_so(state: Path) -> None:
    (state / "static" / "page.css").write_text("changed")
    os.utime(state / "static" / "page.css", (1, 1))
    collect(sys.stderr)
    assert "red" in (state / "static" / "page.css").read_text()


def test_what_an_editor_leaves_beside_the_files_is_passed_over(state: Path) -> None:
    (state / "own" / ".#page.css").symlink_to("ada@desk.1234")
    before = made(state)
    collect(sys.stderr)
    assert made(state) == before


def test_a_folder_that_is_gone_is_made(state: Path) -> None:
    shutil.rmtree(state / "static")
    collect(sys.stderr)
    assert "page.css" in made(state)


def test_one_that_was_broken_off_is_gone_on_with(state: Path) -> None:
    """As a kill leaves it: files in part, and nothing that says that they are whole."""
    (state / COLLECTED).unlink()
    (state / "static" / "staticfiles.json").unlink()
    collect(sys.stderr)
    assert "staticfiles.json" in made(state)
    assert (state / COLLECTED).exists()

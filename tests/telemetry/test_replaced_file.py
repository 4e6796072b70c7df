"""Small files that are written anew in one step."""

import os
from pathlib import Path

import pytest
from disk import full_at

from telemetry.replaced_file import replace_file


@pytest.mark.parametrize("durable", [False, True])
def test_the_new_file_is_there_for_its_owner_only_and_nothing_beside_it(
    tmp_path: Path, durable: bool
) -> None:
    target = tmp_path / "told.json"
    for text in (b"the first", b"the second"):
        replace_file(target, text, durable=durable)
        assert target.read_bytes() == text
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["told.json"]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "told.json"
    replace_file(target, b"as it was")
    with full_at(4), pytest.raises(OSError, match="large"):
        replace_file(target, b"longer than that")
    assert target.read_bytes() == b"as it was"
    assert os.listdir(tmp_path) == ["told.json"]


def test_what_cannot_be_put_in_its_place_is_not_left_lying(tmp_path: Path) -> None:
    (tmp_path / "told.json" / "folder").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "told.json", b"x")
    assert os.listdir(tmp_path) == ["told.json"]

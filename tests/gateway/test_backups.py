"""Configuration files are replaced in one step, with a copy of what they were (contract §3, backups)."""

import re
import time
from pathlib import Path

import pytest
from disk import full_at

from gateway.backups import SaveError, backups_of, prune, save


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_first_save_has_nothing_to_back_up(tmp_path: Path) -> None:
    path = tmp_path / "new" / "providers.json"
    assert save(path, b"one") == []
    assert path.read_bytes() == b"one"
    assert names(path.parent) == {"providers.json"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_there_is_kept_under_the_time_of_the_save(tmp_path: Path) -> None:
    path = tmp_path / "providers.json"
    path.write_bytes(b"the operator's \xff")
    path.chmod(0o644)
    before = time.time_ns() // 1_000_000
    assert save(path, b"new") == []
    (backup,) = backups_of(path)
    match = re.fullmatch(r"providers\.json\.(\d+)\.bak", backup.name)
    assert match is not None
    assert before <= int(match[1]) <= time.time_ns() // 1_000_000
    assert (path.read_bytes(), backup.read_bytes()) == (b"new", b"the operator's \xff")
    assert {p.stat().st_mode & 0o777 for p in (path, backup)} == {0o600}


def test_the_two_newest_are_kept_and_each_one_removed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "providers.json"
    removed = [save(path, b"%d" % n) for n in range(6)]
    assert [len(gone) for gone in removed] == [0, 0, 0, 1, 1, 1]
    assert [backup.read_bytes() for backup in backups_of(path)] == [b"4", b"3"]
    assert not any(gone.exists() for some in removed for gone in some)


def test_saves_within_one_millisecond_each_keep_their_backup(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for n in range(50):
        save(path, b"%d" % n)
        assert backups_of(path)[:1] == [] or backups_of(path)[0].read_bytes() == b"%d" % (n - 1)


def test_a_backup_made_after_the_clock_was_set_back_is_still_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for name in ("f", "f.99999999999998.bak", "f.99999999999999.bak"):
        (tmp_path / name).write_bytes(name.encode())
    removed = save(path, b"new")
    assert [backup.read_bytes() for backup in backups_of(path)] == [b"f", b"f.99999999999999.bak"]
    assert [gone.name for gone in removed] == ["f.99999999999998.bak"]


def test_newest_is_by_number_not_by_spelling(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for stamp in ("9", "10", "0100", "99999999999999"):
        (tmp_path / f"f.{stamp}.bak").write_bytes(b"")
    assert [backup.name for backup in backups_of(path)] == [
        "f.99999999999999.bak",
        "f.0100.bak",
        "f.10.bak",
        "f.9.bak",
    ]
    assert [gone.name for gone in prune(path)] == ["f.10.bak", "f.9.bak"]


def test_the_operator_s_own_files_are_never_touched(tmp_path: Path) -> None:
    own = [
        "f.bkup",
        "f.bak",
        "f.x.bak",
        "f.1.bak.old",
        "f.1.bkup",
        "xf.1.bak",
        "f_1.bak",
        "f.-1.bak",
        ".f.1.bak",
        "g.1.bak",
    ]
    for name in own:
        (tmp_path / name).write_text(name)
    for n in range(5):
        save(tmp_path / "f", b"%d" % n)
    assert {name: (tmp_path / name).read_text() for name in own} == {name: name for name in own}
    assert len(names(tmp_path) - set(own)) == 3


def test_a_name_is_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "aXb.1.bak").write_text("")
    assert backups_of(tmp_path / "a.b") == []


def test_a_save_that_fails_leaves_the_old_file_and_its_backup(tmp_path: Path) -> None:
    path = tmp_path / "providers.json"
    save(path, b"old")
    with full_at(10), pytest.raises(SaveError) as error:
        save(path, b"far too much for this disk")
    (backup,) = backups_of(path)
    assert (path.read_bytes(), backup.read_bytes()) == (b"old", b"old")
    assert names(tmp_path) == {path.name, backup.name}
    assert (
        str(error.value)
        == f"providers.json could not be written (File too large); its backup is {backup.name}"
    )


def test_a_backup_that_cannot_be_made_stops_the_save_and_leaves_no_part_of_it(tmp_path: Path) -> None:
    """A cut backup would later push a good one out."""
    path = tmp_path / "providers.json"
    path.write_bytes(b"x" * 100)
    with full_at(50), pytest.raises(SaveError, match="No backup of"):
        save(path, b"new")
    assert names(tmp_path) == {path.name}
    assert path.read_bytes() == b"x" * 100


def test_a_folder_in_the_file_s_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(SaveError, match="f could not be read for its backup"):
        save(tmp_path / "f", b"new")
    (tmp_path / "g").write_text("a file")
    with pytest.raises(SaveError, match="could not be"):
        save(tmp_path / "g" / "f", b"new")

"""What crashes left in the journal's folder goes at the next start, and nothing else does."""

import os
from pathlib import Path

from recorded import call, intent

from telemetry.journal import Journal
from telemetry.orphans import YOUNG_S, tidy
from telemetry.progress import PROGRESS_FILE

DEAD = "000000000000001-1"


def put(folder: Path, *names: str, age_s: float = YOUNG_S + 1) -> None:
    for name in names:
        (folder / name).write_bytes(b"left")
        at = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (at, at))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_dead_process_left_without_a_segment_goes(tmp_path: Path) -> None:
    put(tmp_path, f"{DEAD}.lock", f"{DEAD}.locking", f"{DEAD}.ballast", f".{PROGRESS_FILE}.77.tmp")
    tidy(tmp_path)
    assert names(tmp_path) == []


def test_a_lock_that_nobody_holds_is_enough(tmp_path: Path) -> None:
    put(tmp_path, f"{DEAD}.lock", f"{DEAD}.ballast", age_s=0)
    tidy(tmp_path)
    assert names(tmp_path) == []


def test_what_is_young_alive_in_use_or_foreign_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent(call(1)))
    mine = names(tmp_path)
    for name in mine:
        os.utime(tmp_path / name, (0, 0))
    foreign = ["writer.lock", PROGRESS_FILE, "set-aside.jsonl", "notes.ballast", "x.tmp"]
    put(tmp_path, *foreign)
    put(tmp_path, "000000000000002-2.locking", ".standing.json.78.tmp", age_s=0)
    put(tmp_path, f"{DEAD}.lock", f"{DEAD}.ballast", f"{DEAD}-000001.spool")
    (tmp_path / "000000000000003-3.ballast").mkdir()
    before = names(tmp_path)
    tidy(tmp_path)
    assert names(tmp_path) == before
    journal.close()


def test_a_process_without_a_segment_that_holds_its_lock_keeps_its_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (segment,) = tmp_path.glob("*.spool")
    segment.unlink()
    for name in names(tmp_path):
        os.utime(tmp_path / name, (0, 0))
    tidy(tmp_path)
    assert len(names(tmp_path)) == 2
    journal.close()


def test_a_folder_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    tidy(tmp_path / "nowhere")

"""The journal: whole lines or none, a new segment when one is full, and a clear refusal when nothing can be written."""

import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from disk import full_at
from hypothesis import given
from hypothesis import strategies as st
from recorded import intent, outcome, segments

from telemetry.captured import SealedContent
from telemetry.failures import FailureCounts
from telemetry.journal import Entry, Journal, JournalError, is_alive, parse
from telemetry.types import CallRecord, Intent, unknown_outcome

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


SEALED = SealedContent(
    call_id="c-1", tool_id="bob", key_id="0a", sealed=b"sealed", stored_at=1.0, expires_at=2.0
)


def written(folder: Path) -> list[Entry]:
    return [entry for path in segments(folder) for entry in parse(path.read_bytes())]


def lines_of(folder: Path, *entries: Intent | CallRecord) -> list[bytes]:
    journal = Journal(folder)
    for entry in entries:
        journal.intent(entry) if isinstance(entry, Intent) else journal.outcome(entry)
    journal.close()
    return b"".join(path.read_bytes() for path in segments(folder)).splitlines(keepends=True)


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    attempt = msgspec.Raw(b'{"provider":"a","model":"m","durationMs":5}')
    entries = [
        intent(claimed_tool="other\n", bytes_in=9),
        outcome(attempts=(attempt,), sanitised={"removed": 2}, first_event_ms=0, model="µ\u2028🙂"),
        intent("c-2"),
    ]
    assert len(lines_of(tmp_path, *entries)) == 3
    assert written(tmp_path) == entries


@given(st.lists(st.tuples(TEXT, TEXT, st.booleans()), max_size=20))
def test_any_text_makes_one_line_an_entry(tmp_path_factory: Any, told: list[tuple[str, str, bool]]) -> None:
    entries = [
        intent(call_id, request_id=text) if is_intent else outcome(call_id, trace_id=text)
        for call_id, text, is_intent in told
    ]
    folder = tmp_path_factory.mktemp("journal")
    assert len(lines_of(folder, *entries)) == len(entries)
    assert written(folder) == entries


def test_every_damaged_byte_costs_its_line_and_no_other(tmp_path: Path) -> None:
    first, middle, last = lines_of(tmp_path, intent("c-1"), outcome("c-1"), intent("c-2"))
    for at in range(len(middle) - 1):
        damaged = middle[:at] + bytes([middle[at] ^ 0x01]) + middle[at + 1 :]
        told: list[bytes] = []
        assert list(parse(first + damaged + last, told.append)) == [intent("c-1"), intent("c-2")]
        assert told == [damaged[:-1]]


def test_a_torn_last_line_is_passed_over_wherever_it_was_torn(tmp_path: Path) -> None:
    first, second = lines_of(tmp_path, intent("c-1"), outcome("c-1"))
    told: list[bytes] = []
    for at in range(len(second) - 1):
        assert list(parse(first + second[:at], told.append)) == [intent("c-1")]
    assert told == []


def test_a_line_that_lost_its_end_is_told_where_others_follow(tmp_path: Path) -> None:
    """An append that a crash cut off has no line end, and one that found no room is taken back."""
    first, second = lines_of(tmp_path, intent("c-1"), outcome("c-1"))
    for at in range(1, len(second) - 1):
        told: list[bytes] = []
        followed = first + second[:at] + b"\n" + second
        assert list(parse(followed, told.append)) == [intent("c-1"), outcome("c-1")]
        assert told == [second[:at]]


@given(st.binary(max_size=200))
def test_foreign_bytes_are_passed_over(noise: bytes) -> None:
    assert list(parse(noise)) == []
    good = b'I {"call_id":"c","request_id":"r","tool_id":"b","token_id":"t","method":"m","peer":"p",'
    good += b'"started_at":1.0,"config_version":1}'
    line = b"%08x %b\n" % (zlib.crc32(good), good)
    (entry,) = parse(noise + b"\n" + line + noise)
    assert entry.call_id == "c"


NO_ENTRIES = (
    *(b"", b"I", b"I {}", b"O null", b"O {]", b"X 1", b"X {}", b'I {"call_id": 1}', b'I {"call_id": "\xff"}'),
    b'O {"decision": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
)


@pytest.mark.parametrize("text", NO_ENTRIES, ids=lambda text: repr(text[:20]))
def test_a_line_with_a_good_checksum_but_no_entry_is_passed_over_and_told(text: bytes) -> None:
    told: list[bytes] = []
    line = b"%08x %b" % (zlib.crc32(text), text)
    assert list(parse(line + b"\n", told.append)) == []
    assert told == [line]


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=400)
    entries = [intent(f"c-{n}") for n in range(20)]
    for entry in entries:
        journal.intent(entry)
    journal.close()
    assert len(segments(tmp_path)) > 5
    assert max(path.stat().st_size for path in segments(tmp_path)) < 400 + 250
    assert written(tmp_path) == entries


def test_files_and_folder_are_the_operator_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "journal"
    Journal(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]


def lock_of(folder: Path) -> Path:
    (lock,) = folder.glob("*.lock")
    return lock


def test_a_journal_is_alive_until_it_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert is_alive(lock_of(tmp_path))
    assert is_alive(lock_of(tmp_path)), "asking does not take the lock"
    journal.close()
    assert not is_alive(lock_of(tmp_path))
    assert not is_alive(tmp_path / "nobody.lock")


@pytest.mark.chaos
def test_a_killed_process_is_dead_and_its_lines_are_whole(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from telemetry.journal import Journal; import msgspec;"
        "from telemetry.types import Intent; journal = Journal(Path(sys.argv[1]));"
        "journal.intent(msgspec.json.decode(sys.argv[2], type=Intent)); print('written', flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), msgspec.json.encode(intent()).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert is_alive(lock_of(tmp_path))
        process.kill()
        process.wait()
        assert not is_alive(lock_of(tmp_path))
    assert written(tmp_path) == [intent()]


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "file" / "journal")


def test_a_call_that_ends_after_the_close_is_recorded_all_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    journal.outcome(outcome())
    journal.close()
    assert written(tmp_path) == [outcome()]


def test_a_full_disk_refuses_and_leaves_whole_lines_once_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent("before"))
    for room in (60, 60, 61, 62):
        with full_at(room), pytest.raises(JournalError, match="cannot be written"):
            journal.outcome(outcome("refused"))
    journal.outcome(outcome("after"))
    journal.intent(intent("later"))
    journal.close()
    assert written(tmp_path) == [intent("before"), outcome("after"), intent("later")]


def test_a_journal_deleted_under_the_process_is_begun_anew_within_a_second(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    journal.intent(intent("lost"))
    descriptors = len(os.listdir("/proc/self/fd"))
    shutil.rmtree(folder)
    until = time.monotonic() + 3
    while not written(folder) and time.monotonic() < until:
        journal.intent(intent("kept"))
    assert written(folder) == [intent("kept")]
    assert is_alive(lock_of(folder))
    assert len(os.listdir("/proc/self/fd")) == descriptors
    journal.close()


def test_a_folder_that_is_gone_for_good_refuses_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, segment_bytes=1)
    journal.intent(intent("c-1"))
    shutil.rmtree(folder)
    folder.write_text("a file where the folder was")
    with pytest.raises(JournalError, match="cannot be opened"):
        journal.intent(intent("c-2"))
    folder.unlink()
    journal.intent(intent("c-3"))
    journal.close()
    assert written(folder) == [intent("c-3")]


def test_a_lost_call_is_recorded_with_all_that_its_intent_knew() -> None:
    lost = unknown_outcome(intent(claimed_tool="other", bytes_in=5))
    assert (lost.outcome, lost.status, lost.duration_ms) == ("UNKNOWN", 0, 0)
    assert (lost.call_id, lost.claimed_tool, lost.bytes_in, lost.config_version) == ("c-1", "other", 5, 3)


def test_an_outcome_finds_room_on_a_disk_that_filled_up_and_the_next_intent_does_not(tmp_path: Path) -> None:
    """The disk is a mebibyte of memory, full but for the journal's own ballast."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"needs a mount: {mounted.stderr.decode().strip()}")
    try:
        journal = Journal(disk)
        journal.intent(intent("under way"))
        with suppress(OSError), (disk / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(4096))
                filler.flush()
        journal.outcome(outcome("under way", model="m" * 5000))
        for refused in (
            lambda: journal.intent(intent("next")),
            lambda: journal.content(SEALED),
            lambda: journal.failed_authentication(FailureCounts(process="p", counts=())),
        ):
            with pytest.raises(JournalError, match="no room"):
                refused()
        assert journal.failing
        (disk / "filler").unlink()
        journal.intent(intent("next"))
        journal.close()
        assert [getattr(entry, "call_id", "") for entry in written(disk)] == [
            "under way",
            "under way",
            "next",
        ]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "append", [Journal.content, Journal.failed_authentication], ids=lambda append: append.__name__
)
def test_what_is_no_outcome_does_not_get_the_room_of_the_ballast(
    tmp_path: Path, append: Callable[..., None]
) -> None:
    entry = SEALED if append is Journal.content else FailureCounts(process="p", counts=())
    journal = Journal(tmp_path)
    journal.intent(intent())
    with full_at(60), pytest.raises(JournalError):
        journal.outcome(outcome())
    with full_at(1000):
        with pytest.raises(JournalError, match="no room"):
            append(journal, entry)
        journal.outcome(outcome())
    append(journal, entry)
    journal.close()
    assert written(tmp_path)[1:] == [outcome(), entry]


def test_after_a_refusal_a_new_segment_begins_so_that_the_full_one_can_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent())
    with full_at(60), pytest.raises(JournalError):
        journal.outcome(outcome())
    journal.outcome(outcome())
    journal.close()
    assert [len(list(parse(path.read_bytes()))) for path in segments(tmp_path)] == [1, 1]


def test_closing_a_journal_whose_folder_became_a_file_fails_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    shutil.rmtree(folder)
    folder.write_text("a file where the folder was")
    journal.close()


def test_a_segment_is_left_when_it_has_become_old_though_no_call_comes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_s=0)
    journal.tend()
    assert len(segments(tmp_path)) == 1, "an empty one hides nothing"
    journal.intent(intent())
    journal.tend()
    journal.tend()
    assert len(segments(tmp_path)) == 2
    journal.outcome(outcome())
    journal.close()
    journal.tend()
    assert [len(list(parse(path.read_bytes()))) for path in segments(tmp_path)] == [1, 1]


def test_a_young_segment_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent())
    journal.tend()
    assert len(segments(tmp_path)) == 1
    journal.close()


def test_an_old_segment_is_written_to_while_there_can_be_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_s=0)
    journal.intent(intent())
    (path,) = segments(tmp_path)
    in_the_way = path.with_name(path.name.replace("-000001", "-000002"))
    in_the_way.mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        journal.tend()
    journal.outcome(outcome())
    assert not journal.failing
    in_the_way.rmdir()
    journal.tend()
    journal.close()
    assert len(segments(tmp_path)) == 2
    assert written(tmp_path) == [intent(), outcome()]

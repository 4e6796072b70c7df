"""The log's file: rotated by size, shared by processes, and no more than reported when it cannot be written."""

import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from disk import full_at
from logged import CONTROL, lines, logging_to

from telemetry.log_file import LARGE_BYTES, LOCK_WAIT_S, RotatingFile
from telemetry.metrics import METRICS
from telemetry.whole_lines import READER_WAIT_S


def rotating(path: Path, *, max_bytes: int = 1000, max_files: int = 3) -> RotatingFile:
    return RotatingFile(path, max_bytes=max_bytes, max_files=max_files)


def paths_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("log*") if path.suffix != ".lock"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths_in(folder)}


def test_the_file_is_rotated_before_it_would_pass_its_size(tmp_path: Path) -> None:
    file = rotating(tmp_path / "log", max_bytes=20)
    for n in range(5):
        file.write(b"line %03d\n" % n)
    assert files(tmp_path) == {
        "log": b"line 004\n", "log.1": b"line 002\nline 003\n", "log.2": b"line 000\nline 001\n",
    }  # fmt: skip


def test_files_that_were_there_before_are_closed_to_others(tmp_path: Path) -> None:
    for name in ("log", "log.1"):
        (tmp_path / name).write_bytes(b"written by an earlier version\n")
        (tmp_path / name).chmod(0o644)
    file = rotating(tmp_path / "log", max_bytes=40)
    file.write(b"1\n")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    file.write(b"one more line\n")
    assert {path.name: path.stat().st_mode & 0o777 for path in paths_in(tmp_path)} == dict.fromkeys(
        ("log", "log.1", "log.2"), 0o600
    )


def test_a_batch_is_spread_over_files_at_its_line_ends_and_the_oldest_is_forgotten(tmp_path: Path) -> None:
    rotating(tmp_path / "log", max_bytes=20, max_files=2).write(
        b"".join(b"line %03d\n" % n for n in range(9))
    )
    assert files(tmp_path) == {
        "log": b"line 008\n", "log.1": b"line 006\nline 007\n", "log.2": b"line 004\nline 005\n",
    }  # fmt: skip


@pytest.mark.parametrize(("max_files", "kept"), [(0, {"log"}), (1, {"log", "log.1"})])
def test_as_many_rotated_files_as_wanted_are_kept(tmp_path: Path, max_files: int, kept: set[str]) -> None:
    rotating(tmp_path / "log", max_bytes=20, max_files=max_files).write(b"0123456789\n" * 10)
    assert set(files(tmp_path)) == kept


def test_a_line_larger_than_a_file_is_written_whole_into_its_own(tmp_path: Path) -> None:
    file = rotating(tmp_path / "log", max_bytes=20)
    for line in (b"short\n", b"x" * 100 + b"\n", b"short\n"):
        file.write(line)
    assert files(tmp_path) == {"log": b"short\n", "log.1": b"x" * 100 + b"\n", "log.2": b"short\n"}


def test_every_file_is_the_operator_s_alone(tmp_path: Path) -> None:
    rotating(tmp_path / "new" / "log", max_bytes=20).write(b"0123456789\n" * 10)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}


WRITE = """
import sys
from pathlib import Path
from telemetry.log_file import RotatingFile
from telemetry.logs import JsonLog
log = JsonLog()
log.start(file=RotatingFile(Path(sys.argv[1]), max_bytes=64 * 1024, max_files=500))
for n in range(int(sys.argv[3])):
    odd = "\\r\\n\\x1b[31m\\x00\\x7f\\x9b\\u2028" if n % 10 == 0 else ""
    log.info("line" + odd, metadata={"who": sys.argv[2], "n": n, "filling": odd + "x" * (n % 97)})
log.stop()
"""


def test_two_processes_share_a_rotating_file_and_tear_or_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "log")]
    writers = [
        subprocess.Popen(
            [*command, who, "20000"], stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.getcwd()}
        )
        for who in ("ada", "olga")
    ]
    assert [process.wait(120) for process in writers] == [0, 0]
    paths = paths_in(tmp_path)
    raw = sum(len(CONTROL.findall(path.read_bytes())) for path in paths)
    found = [(line["metadata"]["who"], line["metadata"]["n"]) for line in lines(*paths)]
    print(
        f"promise 18: {len(found)} lines of 2 processes in {len(paths)} files, 0 torn, "
        f"{40_000 - len(set(found))} lost, {raw} raw control bytes"
    )
    assert len(found) == len(set(found)) == 40_000
    assert raw == 0
    assert len(paths) > 50
    assert max(path.stat().st_size for path in paths) <= 64 * 1024
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    for who in ("ada", "olga"):
        oldest_first = [
            n for path in sorted(paths, key=_number, reverse=True) for name, n in _of(path) if name == who
        ]
        assert oldest_first == sorted(oldest_first), "each process' lines stay in order"


def _number(path: Path) -> int:
    return int(path.suffix[1:] or 0)


def _of(path: Path) -> list[tuple[Any, Any]]:
    return [(line["metadata"]["who"], line["metadata"]["n"]) for line in lines(path)]


def wait_for(path: Path, text: bytes) -> None:
    until = time.monotonic() + 5
    while text not in (path.read_bytes() if path.exists() else b""):
        assert time.monotonic() < until, f"{text!r} never came"


def test_a_file_that_cannot_be_written_is_reported_once_and_then_again_only_after_it_was_well(
    tmp_path: Path,
) -> None:
    out, folder = tmp_path / "out", tmp_path / "folder"
    folder.write_text("in the way")
    with logging_to(out, file=rotating(folder / "log", max_bytes=10**6)) as log:
        for n in range(3):
            log.info(f"lost {n}")
            wait_for(out, b"lost %d" % n)
        folder.unlink()
        log.info("well again")
        wait_for(folder / "log", b"well again")
        (folder / "log").unlink()
        (folder / "log").mkdir()
        log.info("lost 3")
    written = [line["message"] for line in lines(out)]
    assert [m for m in written if m != "Log file cannot be written"] == [
        "lost 0",
        "lost 1",
        "lost 2",
        "well again",
        "lost 3",
    ]
    assert written.count("Log file cannot be written") == 2
    assert written[1] == "Log file cannot be written"
    assert lines(out)[1]["metadata"] == {
        "file": str(folder / "log"),
        "setting": "LLM_CALLER_LOG_FILE",
        "error": "File exists",
    }


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with logging_to(tmp_path / "out", file=rotating(path)) as log:
        log.info("first")
        wait_for(path, b"first")
        path.unlink()
        log.info("second")
    assert [line["message"] for line in lines(path)] == ["second"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_tears_no_line(tmp_path: Path) -> None:
    path, file = tmp_path / "log", rotating(tmp_path / "log", max_bytes=10**6)
    file.write(b"before\n")
    with full_at(20), pytest.raises(OSError):
        file.write(b"cut off\n" * 10)
    file.write(b"after\n")
    assert path.read_bytes() == b"before\nafter\n"


TORN = b'{"message":"one"}\n{"message":"tw'
"""Somebody's process was killed, or the power failed, in the midst of a write."""


def test_what_a_killed_process_left_in_the_midst_of_a_line_costs_no_line_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(TORN)
    ada, olga = rotating(tmp_path / "log"), rotating(tmp_path / "log")
    ada.write(b"1\n2\n")
    olga.write(b"3\n")
    with (tmp_path / "log").open("ab") as other:
        other.write(b"killed bes")
    ada.write(b"4\n")
    assert files(tmp_path) == {"log": TORN + b"\n1\n2\n3\nkilled bes\n4\n"}


def test_a_torn_line_is_ended_before_the_file_is_rotated_or_its_disk_was_full(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(TORN)
    file = rotating(tmp_path / "log", max_bytes=len(TORN) + 5)
    with full_at(len(TORN) + 3), pytest.raises(OSError):
        file.write(b"123\n")
    assert files(tmp_path) == {"log": TORN}
    file.write(b"123\n4\n")
    assert files(tmp_path) == {"log": b"4\n", "log.1": TORN + b"\n123\n"}
    (tmp_path / "log").write_bytes(TORN)
    file.write(b"12345\n")
    assert files(tmp_path) == {"log": b"12345\n", "log.1": TORN + b"\n", "log.2": TORN + b"\n123\n"}


def test_neither_a_closed_stdout_nor_a_bad_file_stops_the_log(tmp_path: Path) -> None:
    """The reader of stdout ends, the file cannot be written: the log goes on and writes what it can."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    (tmp_path / "blocked").write_text("in the way")
    for path in (tmp_path / "blocked" / "log", tmp_path / "log"):
        command = [
            sys.executable,
            "-c",
            WRITE,
            str(path),
            "ada",
            "5000",
        ]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writing)
    assert len(lines(*paths_in(tmp_path))) == 5000


def messages(file: RotatingFile, data: bytes) -> list[str]:
    return [notice.event for notice in file.write(data)]


def test_a_file_past_5_mib_is_told_of_once_until_it_was_smaller_again(tmp_path: Path) -> None:
    file = rotating(tmp_path / "log", max_bytes=3 * LARGE_BYTES)
    mib = b"x" * (1024 * 1024 - 1) + b"\n"
    told = [messages(file, mib) for _ in range(16)]
    assert [n for n, found in enumerate(told) if found] == [5]
    assert told[5] == ["log_file_large"]
    assert [bool(messages(file, mib)) for _ in range(6)] == [False] * 4 + [True, False]


def test_only_the_process_that_makes_the_file_large_tells_of_it(tmp_path: Path) -> None:
    ada, olga = (rotating(tmp_path / "log", max_bytes=3 * LARGE_BYTES) for _ in range(2))
    assert messages(ada, b"x" * LARGE_BYTES + b"\n") == ["log_file_large"]
    assert messages(olga, b"y\n") == messages(ada, b"z\n") == []


def test_the_ceiling_is_told_of_once_until_files_were_taken_away(tmp_path: Path) -> None:
    file = rotating(tmp_path / "log", max_bytes=20, max_files=2)
    line = b"0123456789\n"
    assert [messages(file, line) for _ in range(6)] == [[], [], ["log_file_ceiling"], [], [], []]
    assert file.standing() == (11, 2, 2)
    for number in (1, 2):
        (tmp_path / f"log.{number}").unlink()
    assert file.standing() == (11, 0, 2)
    assert [messages(file, line) for _ in range(3)] == [[], ["log_file_ceiling"], []]


def test_what_is_told_of_the_file_is_a_warning_in_both_places_and_counted(tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "log"
    before = METRICS.counters["log_file_ceiling"]
    with logging_to(out, file=rotating(path, max_bytes=200, max_files=1)) as log:
        for n in range(10):
            log.info(f"line {n}")
    (warned,) = [line for line in lines(out) if line["level"] == "warn"]
    assert warned["message"].startswith("All rotated log files are in use")
    assert warned["metadata"] == {"file": str(path), "maxFiles": 1}
    assert METRICS.counters["log_file_ceiling"] == before + 1
    assert len(lines(out)) == 11


def test_the_lock_deleted_with_the_file_leaves_processes_apart_no_longer_than_a_batch(tmp_path: Path) -> None:
    ada, olga = rotating(tmp_path / "log"), rotating(tmp_path / "log")
    ada.write(b"first\n")
    for path in tmp_path.iterdir():
        path.unlink()
    held = ada._locked()
    (tmp_path / "log.lock").unlink()
    with ThreadPoolExecutor(1) as other:
        written = other.submit(olga.write, b"second\n")
        assert written.result(10) == []
        waiting = ada._locked()
        blocked = other.submit(olga.write, b"third\n")
        with pytest.raises(TimeoutError):
            blocked.result(0.2)
        os.close(waiting)
        assert blocked.result(10) == []
    os.close(held)
    assert files(tmp_path) == {"log": b"second\nthird\n"}


def test_a_device_keeps_its_rights(tmp_path: Path) -> None:
    device = tmp_path / "null"
    made = subprocess.run(["mknod", "-m", "666", str(device), "c", "1", "3"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs the right to make a device: {made.stderr.strip()}")
    rotating(device).write(b"1\n")
    assert device.stat().st_mode & 0o777 == 0o666


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    file = rotating(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        file.require_writable()
    with pytest.raises(OSError, match="No such device"):
        file.write(b"1\n")


def test_a_pipe_with_a_reader_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    rotating(tmp_path / "log").write(b"1\n")
    assert os.read(reader, 10) == b"1\n"
    os.close(reader)


def test_a_pipe_whose_reader_pauses_has_whole_lines_behind_the_one_that_was_cut(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    file = rotating(tmp_path / "log", max_bytes=10**6)
    line, began = b"x" * 999 + b"\n", time.monotonic()
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            file.write(line * 200)
    assert time.monotonic() - began < 2 * READER_WAIT_S, "it is waited for once"
    before = os.read(reader, 10**6)
    file.write(line)
    *whole, cut = before.split(b"\n")
    assert 0 < len(cut) < len(line)
    assert {piece + b"\n" for piece in whole} == {line}
    assert os.read(reader, 10**6) == b"\n" + line
    os.close(reader)


def test_a_lock_that_somebody_keeps_is_an_error_and_waited_for_once(tmp_path: Path) -> None:
    file = rotating(tmp_path / "log")
    file.write(b"1\n")
    with (tmp_path / "log.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(OSError, match="holds its lock file"):
                file.write(b"lost\n")
        assert time.monotonic() - began < 2 * LOCK_WAIT_S
    file.write(b"2\n")
    assert files(tmp_path) == {"log": b"1\n2\n"}

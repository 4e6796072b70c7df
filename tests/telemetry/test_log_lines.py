"""Whatever is logged: one line, no raw control bytes, and never a call that waits for it (promise 18)."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import CONTROL, lines, logging_to, one_line

from telemetry.logs import QUEUE_LINES, JsonLog
from telemetry.metrics import METRICS

NASTY = "a\r\nb\x1b[31mc\x00d\x7fe\x9b2Jf\x85g\u2028h\u2029i\tj\u202ek🙂"


def test_control_characters_in_any_field_stay_inside_their_line(tmp_path: Path) -> None:
    metadata = {NASTY: NASTY, "list": [NASTY]}
    line = one_line(tmp_path, NASTY, request_id=NASTY, trace_id=NASTY, metadata=metadata)
    assert [line[key] for key in ("message", "requestId", "traceId", "metadata")] == [NASTY] * 3 + [metadata]
    raw = (tmp_path / "out").read_bytes()
    assert raw.count(b"\n") == 1
    assert not CONTROL.search(raw)


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_any_text_makes_one_line_that_is_json(
    tmp_path_factory: Any, message: str, request_id: str, key: str
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with logging_to(folder / "out") as log:
        log.info(message, request_id=request_id, trace_id=request_id, metadata={f"x{key}": [message]})
        log.info("the next line")
    raw = (folder / "out").read_bytes()
    assert not CONTROL.search(raw)
    assert lines(folder / "out")[-1]["message"] == "the next line"


class Odd(str):
    """As Django's safe strings are."""


@pytest.mark.parametrize(
    "parts",
    [
        {"message": "half \ud83d a pair\x7f\x9b"},
        {"request_id": "\udcff"},
        {"trace_id": "\udcff"},
        {"metadata": {"\udcff": 1}},
        {"metadata": {"value": ["\ud800"]}},
        {"metadata": {"value": 2**80, "odd": float("nan"), "far": float("inf")}},
        {"message": Odd("safe"), "metadata": {Odd("key"): Odd("value")}},
        {"metadata": {"flag": type("Flag", (int,), {})(3)}},
    ],
)
def test_what_cannot_be_encoded_is_shown_as_far_as_possible_and_stops_nothing(
    tmp_path: Path, parts: Any
) -> None:
    with logging_to(tmp_path / "out") as log:
        log.info(**({"message": "said"} | parts))
        log.info("the next line")
    assert [line["message"] for line in lines(tmp_path / "out")][1:] == ["the next line"]
    assert not CONTROL.search((tmp_path / "out").read_bytes())


def test_a_line_that_fails_altogether_is_told_and_the_log_goes_on(tmp_path: Path) -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise LookupError("canary")

    with logging_to(tmp_path / "out") as log:
        log.info("said", metadata={Unreadable(): 1})  # type: ignore[dict-item]
        log.info("the next line")
    failed, following = lines(tmp_path / "out")
    assert (failed["level"], failed["metadata"]["errorType"]) == ("error", "LookupError")
    assert following["message"] == "the next line"
    assert b"canary" not in (tmp_path / "out").read_bytes()


def test_an_overflowing_queue_drops_counts_and_reports(tmp_path: Path) -> None:
    log, dropped = JsonLog(), METRICS.counters["log_lines_dropped"]
    for n in range(QUEUE_LINES + 7):
        log.info(f"line {n}")
    assert METRICS.counters["log_lines_dropped"] - dropped == 7
    with logging_to(tmp_path / "out", log):
        pass
    written = lines(tmp_path / "out")
    (report,) = [line for line in written if line["message"] == "Log lines dropped"]
    assert (report["level"], report["metadata"]) == ("warn", {"lines": 7})
    assert len(written) == QUEUE_LINES + 1


def test_a_reader_that_stops_reading_holds_up_no_call_and_nothing_goes_uncounted() -> None:
    reading, writing = os.pipe()
    log, dropped = JsonLog(), METRICS.counters["log_lines_dropped"]
    with os.fdopen(writing, "w") as out, os.fdopen(reading, "rb") as pipe:
        with redirect_stdout(out):
            log.start()
        began = time.perf_counter()
        for _ in range(QUEUE_LINES + 5000):
            log.info("x" * 100)
        took = time.perf_counter() - began
        reader = ThreadPoolExecutor(1).submit(pipe.read)
        log.stop()
        out.close()
        written = [json.loads(line) for line in reader.result().splitlines()]
    assert took < 5, "seconds for 25,000 lines that could not be written"
    dropped = METRICS.counters["log_lines_dropped"] - dropped
    assert dropped > 0
    told = sum(line["metadata"]["lines"] for line in written if line["message"] == "Log lines dropped")
    assert told == dropped
    assert sum(line["message"].startswith("xxx") for line in written) + dropped == QUEUE_LINES + 5000

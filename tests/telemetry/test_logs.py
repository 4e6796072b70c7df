"""One log line is one JSON object, redacted at any depth (contract §5, promise 18)."""

import json
import os
import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import lines, logging_to, one_line
from scraped import wait_until

from telemetry.log_file import RotatingFile
from telemetry.logs import LEVELS, JsonLog, Redactor
from telemetry.metrics import METRICS
from telemetry.whole_lines import READER_WAIT_S

PAYLOAD_KEYS = [
    "prompt", "systemPrompt", "PROMPT_TOKENS_TEXT", "content", "Content-Type", "payload", "rawPayload", "body",
    "requestBody", "transcript", "delta", "Deltas", "messages", "completion", "rawError", "rawResponse",
]  # fmt: skip
CREDENTIAL_KEYS = [
    "authorization", "Authorization", "apiKey", "api_key", "API-KEY", "openaiApiKey", "password", "secret",
    "clientSecret", "cookie", "Set-Cookie", "credential", "storedCredentials", "pepper", "privateKey", "sessionId",
    "token", "Token", "clientToken", "access_token", "refreshToken", "bearerToken", "X-LLM-Caller-Token",
]  # fmt: skip
PLAIN_KEYS = [
    "message", "Messages", "MESSAGES", "completions", "rawerror", "provider", "tokenHash", "tokenId", "inputTokens",
    "requestId", "maxTokens", "monkey",
]  # fmt: skip


def redacted(value: Any, **options: Any) -> tuple[Any, list[str]]:
    found: set[str] = set()
    return Redactor(**options).apply(value, found), sorted(found)


@pytest.mark.parametrize("key", PAYLOAD_KEYS)
def test_a_payload_is_redacted_unless_that_is_lifted(key: str) -> None:
    assert redacted({key: "canary"}) == ({key: "[redacted]"}, [key])
    assert redacted({key: "canary"}, payloads=False) == ({key: "canary"}, [])


@pytest.mark.parametrize("key", CREDENTIAL_KEYS)
def test_a_credential_is_redacted_whatever_is_lifted(key: str) -> None:
    assert redacted({key: ["canary"]}) == ({key: "[redacted]"}, [key])
    assert redacted({key: {"a": 1}}, payloads=False) == ({key: "[redacted]"}, [key])


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_what_is_no_secret_stays(key: str) -> None:
    assert redacted({key: 1}) == ({key: 1}, [])


@given(
    st.lists(st.sampled_from(["dict", "list", "tuple", "set"]), max_size=25),
    st.sampled_from(PAYLOAD_KEYS + CREDENTIAL_KEYS),
)
def test_no_depth_hides_a_secret(nesting: list[str], key: str) -> None:
    value: Any = {key: "canary", "kept": 1}
    for kind in nesting:
        value = {"dict": {"inner": value}, "list": [0, value], "tuple": (value,), "set": [value, {"x"}]}[kind]
    clean, found = redacted(value)
    assert found == [key]
    assert "canary" not in json.dumps(clean)
    assert '"kept": 1' in json.dumps(clean)


def test_what_is_deeper_than_the_limit_is_redacted_whole() -> None:
    value: Any = {"kept": "canary"}
    for _ in range(40):
        value = {"inner": [value]}
    clean, _ = redacted(value)
    assert "canary" not in json.dumps(clean)
    endless: dict[str, Any] = {}
    endless["self"] = endless
    assert "[redacted]" in json.dumps(redacted(endless)[0])


def test_objects_are_told_by_their_type_and_the_caller_s_value_is_left_alone() -> None:
    value = {"error": ValueError("canary"), "bytes": b"canary", 5: None, "inner": {"body": "x"}}
    assert redacted(value)[0] == {
        "error": "<ValueError>",
        "bytes": "<bytes>",
        "5": None,
        "inner": {"body": "[redacted]"},
    }
    assert value["inner"] == {"body": "x"}


def test_a_line_has_the_contract_s_members(tmp_path: Path) -> None:
    line = one_line(
        tmp_path, "chat request completed", request_id="r", trace_id="t", metadata={"a": {"b": [1.5, None]}}
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info", "message": "chat request completed", "requestId": "r", "traceId": "t",
        "metadata": {"a": {"b": [1.5, None]}},
    }  # fmt: skip


def test_a_warn_line_names_the_keys_that_were_redacted(tmp_path: Path) -> None:
    with logging_to(tmp_path / "out") as log:
        log.info(
            "said", request_id="r", trace_id="t", metadata={"b": [{"prompt": 1}], "apiKey": 2, "fine": 3}
        )
    said, warned = lines(tmp_path / "out")
    assert said["metadata"] == {"b": [{"prompt": "[redacted]"}], "apiKey": "[redacted]", "fine": 3}
    assert (warned["level"], warned["message"]) == ("warn", "Sensitive log metadata redacted")
    assert (warned["metadata"], warned["requestId"]) == ({"keys": ["apiKey", "prompt"]}, "r")


@contextmanager
def paused_stdout() -> Iterator[tuple[JsonLog, int]]:
    """A log whose standard output is a pipe that keeps nobody waiting (`O_NONBLOCK`), and the end to read from."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    log = JsonLog()
    with open(writing, "w") as out, open(reading, "rb"):
        with redirect_stdout(out):
            log.start()
        try:
            yield log, reading
        finally:
            log.stop()


def read_until(reading: int, end: bytes) -> bytes:
    data = b""
    while end not in data:
        assert select.select([reading], [], [], 5)[0], "no more came"
        data += os.read(reading, 65536)
    return data


def test_a_reader_of_stdout_that_pauses_for_a_moment_loses_nothing() -> None:
    with paused_stdout() as (log, reading):
        for n in range(2000):
            log.info("said", metadata={"n": n, "filling": "x" * 100})
        wait_until(lambda: not writable(log))
        time.sleep(READER_WAIT_S / 4)  # the pause
        data = read_until(reading, b'"n":1999,')
    assert [json.loads(line)["metadata"]["n"] for line in data.splitlines()[:2000]] == list(range(2000))


def test_a_reader_of_stdout_that_pauses_for_long_has_whole_lines_behind_the_one_that_was_cut(
    tmp_path: Path,
) -> None:
    """And a file beside it has all of them, without waiting for each."""
    began, before = time.monotonic(), METRICS.counters["log_stdout_failures"]
    with paused_stdout() as (log, reading):
        log._file = RotatingFile(tmp_path / "log", max_bytes=10**7, max_files=1)
        for n in range(4000):
            log.info("said", metadata={"n": n, "filling": "x" * 100})
        wait_until(lambda: (tmp_path / "log").exists() and b'"n":3999,' in (tmp_path / "log").read_bytes())
        assert time.monotonic() - began < 2 * READER_WAIT_S
        first = os.read(reading, 10**6)
        log.info("after")
        wait_until(lambda: b'"after"' in (tmp_path / "log").read_bytes())
        second = os.read(reading, 10**6)
    assert len(lines(tmp_path / "log")) == 4001
    *whole, cut = first.split(b"\n")
    assert [json.loads(line)["metadata"]["n"] for line in whole] == list(range(len(whole)))
    assert cut
    assert second.startswith(b"\n")
    assert [json.loads(line)["message"] for line in second.splitlines()[1:]] == ["after"]
    assert METRICS.counters["log_stdout_failures"] > before


def writable(log: JsonLog) -> bool:
    return bool(select.select([], [log._stdout_fd], [], 0)[1])


@pytest.mark.parametrize("level", LEVELS)
def test_only_lines_of_the_level_and_above_are_written(tmp_path: Path, level: str) -> None:
    with logging_to(tmp_path / "out", level=level) as log:
        for name in LEVELS:
            getattr(log, name)("said")
    assert [line["level"] for line in lines(tmp_path / "out")] == list(LEVELS)[: LEVELS[level] + 1]

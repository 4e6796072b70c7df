"""The log of real gateways (contract §5, promise 18): one line for each call, whole, whatever the call says."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import BOB, RunningGateway, chat_body, provider_entry, running_gateway
from fake_provider import FakeProvider
from logged import CONTROL, lines
from scraped import second_process, told_by, wait_until

CALLS = 150
"""Of each of the two gateways."""
NASTY = "a\r\nb\x1b[31mc\x7fd\x9b2Je\x85f\u2028g\u2029h\tj\u202ek🙂"


class Pair:
    """Two gateways that write one log file, rotated every few dozen lines."""

    def __init__(self, first: RunningGateway, second: RunningGateway, path: Path) -> None:
        self.gateways, self.path = (first, second), path

    def files(self) -> list[Path]:
        return [path for path in self.path.parent.glob("gateway.log*") if path.suffix != ".lock"]

    def stdouts(self) -> list[Path]:
        return [gateway.stdout for gateway in self.gateways]

    def wait_for(self, call_ids: set[str]) -> None:
        """Until the log has a line of each."""
        wait_until(lambda: call_ids <= set(call_lines(self.files())))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, shared_fake: FakeProvider) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("logs")
    env = {"LLM_CALLER_LOG_FILE": str(folder / "gateway.log"), "LLM_CALLER_LOG_MAX_BYTES": str(16 * 1024)}
    env |= {"LLM_CALLER_LOG_MAX_FILES": "500"}
    providers = {"providers": {"lmstudio_a": provider_entry(shared_fake.url)}}
    with (
        running_gateway(folder, providers, env=env) as first,
        second_process(first, folder / "second") as second,
    ):
        yield Pair(first, second, folder / "gateway.log")


def call_lines(paths: list[Path]) -> Counter[str]:
    """Call id → lines that tell how the call ended."""
    told = (line["metadata"] for line in lines(*(path for path in paths if path.exists())))
    return Counter(metadata["callId"] for metadata in told if "durationMs" in metadata)


def odd_call(gateway: RunningGateway, n: int) -> str:
    """One of every kind of oddity that a client can put into a call; returns the call's id."""
    odd: list[dict[str, Any]] = [
        {},
        {"callerTool": NASTY},
        {"model": NASTY},
        {"provider": NASTY},
        {"requestId": "u\u2028v\u2029w\u202ex"},
        {"requestId": "r\r\n{}"},
        {"callerTool": "nul\x00nul"},
        {"messages": [{"role": "user", "content": NASTY}]},
        {"messages": [{"role": "user", "content": "x"}], NASTY: 1},
    ]
    body = chat_body(f"call {n}", **odd[n % len(odd)])
    answer = gateway.post("/mcp/chat", body)
    assert answer.status_code in (200, 400, 404), answer.text
    return answer.headers["x-llm-caller-call-id"]


def test_every_call_is_one_whole_line_in_the_file_and_on_stdout(pair: Pair) -> None:
    with ThreadPoolExecutor(8) as callers:
        jobs = [callers.submit(odd_call, pair.gateways[n % 2], n // 2) for n in range(2 * CALLS)]
        call_ids = {job.result() for job in jobs}
    assert len(call_ids) == 2 * CALLS
    pair.wait_for(call_ids)
    paths = pair.files()
    raw = sum(len(CONTROL.findall(path.read_bytes())) for path in [*paths, *pair.stdouts()])
    in_file, on_stdout = call_lines(paths), call_lines(pair.stdouts())
    print(
        f"promise 18: {len(call_ids)} calls of 2 gateways, {sum(in_file.values())} lines about them in "
        f"{len(paths)} files, {len(call_ids - set(in_file))} lost, {raw} raw control bytes"
    )
    assert {in_file[call_id] for call_id in call_ids} == {on_stdout[call_id] for call_id in call_ids} == {1}
    assert raw == 0
    assert len(paths) > 5
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    claimed = {line["metadata"].get("callerTool") for line in lines(*paths)}
    assert NASTY in claimed, "what was claimed is told as it was, escaped"


def test_nothing_before_a_body_breaks_a_line_either(pair: Pair) -> None:
    """Path, query, headers and token, as no well-behaved client could send them."""
    (gateway, _) = pair.gateways
    odd = "\x1b[31m\x9b\x85\x7f\t".encode("latin-1") + "\u2028".encode()
    body = json.dumps(chat_body("odd")).encode()
    for name in (b"X-LLM-Caller-Token", b"User-Agent", b"X-Forwarded-For", b"traceparent"):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                b"POST /mcp/chat?a=%0d%0a%1b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: "
                + str(len(body)).encode()
                + b"\r\n"
                + (b"" if name == b"X-LLM-Caller-Token" else b"X-LLM-Caller-Token: " + BOB.encode() + b"\r\n")
                + (name + b": " + odd + b"\r\n\r\n" + body)
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")
    call_id = gateway.chat("after").headers["x-llm-caller-call-id"]
    pair.wait_for({call_id})
    assert not [path for path in [*pair.files(), *pair.stdouts()] if CONTROL.search(path.read_bytes())]


def test_a_file_deleted_while_both_write_is_made_again(pair: Pair) -> None:
    for path in (pair.path, pair.path.with_name("gateway.log.lock")):
        path.unlink()
    call_ids = {gateway.chat().headers["x-llm-caller-call-id"] for gateway in pair.gateways}
    pair.wait_for(call_ids)
    assert pair.path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_told_of_once_and_holds_up_no_call(pair: Pair) -> None:
    (gateway, _) = pair.gateways
    aside = pair.path.with_name("aside")
    pair.path.rename(aside)
    pair.path.mkdir()
    call_ids = {gateway.chat().headers["x-llm-caller-call-id"] for _ in range(5)}
    wait_until(lambda: call_ids <= set(call_lines([gateway.stdout])))
    assert told_by(gateway)["log_write_failures_total", "file"] >= 1
    pair.path.rmdir()
    pair.wait_for({gateway.chat().headers["x-llm-caller-call-id"]})
    told = [line["message"] for line in lines(gateway.stdout)]
    assert told.count("Log file cannot be written") == 1
    assert told_by(gateway)["log_lines_dropped_total",] == 0

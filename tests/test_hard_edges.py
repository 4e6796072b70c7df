"""What a reviewer with ill will found: each edge stays blunt."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import BOB, RunningGateway, chat_body, provider_entry, running_gateway
from fake_provider import FakeProvider

from gateway.edge.json_body import require_json
from gateway.edge.native import is_timestamp
from gateway.errors import Refusal


def test_a_string_that_never_ends_costs_no_more_than_its_length() -> None:
    began = time.monotonic()
    for body in (b"[" * 65 + b'"' + b'\\"' * 2_000_000, b"[" * 65 + b'"' + b"x" * 4_000_000):
        with pytest.raises(Refusal):
            require_json(body)
    seconds = time.monotonic() - began
    print(f"8 MB of strings that never end were refused in {seconds * 1000:.0f} ms")
    assert seconds < 2


def test_brackets_in_strings_are_no_depth() -> None:
    inside = b'"' + b'[\\"' * 100 + b'"'
    assert require_json(b"[" * 10 + inside + b"]" * 10)
    with pytest.raises(Refusal, match="nested"):
        require_json(b"[" * 65 + b'"]]]\\\\"' + b"]" * 65)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("2026-01-31T12:00:00Z", True), ("2026-01-31T12:00:00.123+02:00", True), ("20260131T120000Z", True),
        ("2026-01-31", True), ("2026-01-31T24:00:00Z", True), ("2026-06-30T23:59:60Z", True),
        ("2026-02-30T12:00:00Z", False), ("2026-01-31x10:00", False), ("2026-01-31T25:00Z", False),
        ("2026-01-31T24:00:01Z", False), ("yesterday", False), ("", False), ("2026-01-31T12:00:00Z\n", False),
    ],
)  # fmt: skip
def test_which_timestamps_are_iso_8601(text: str, good: bool) -> None:
    assert is_timestamp(text) is good


def raw(gateway: RunningGateway, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
            if b"\r\n\r\n" in received and b"}" in received:
                break
        return received


def test_a_length_of_thousands_of_digits_is_a_bad_request(shared: RunningGateway) -> None:
    head = b"POST /mcp/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n"
    assert raw(shared, head).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/mcp/models?" + "a&" * 1001, {"X-LLM-Caller-Token": BOB}, 400),
        ("OPTIONS", "/", {}, 405),
        ("POST", "/metrics", {}, 401),
        ("DELETE", "/metrics", {"X-LLM-Caller-Token": BOB}, 405),
        ("POST", "/mcp/models", {"X-LLM-Caller-Token": BOB}, 405),
        ("GET", "/mcp/models", {"X-LLM-Caller-Token": BOB, "Content-Encoding": "gzip"}, 415),
    ],
)
def test_odd_requests_get_the_json_of_their_mistake(
    shared: RunningGateway, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = shared.client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert set(answer.json()) >= {"error", "message", "traceId"}


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Encoding: gzip\r\nContent-Encoding: \r\nContent-Type: application/json\r\n",
        b"Content-Type: text/plain\r\nContent-Type: application/json\r\n",
    ],
)
def test_of_two_headers_none_hides_the_other(shared: RunningGateway, lines: bytes) -> None:
    head = b"POST /mcp/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n" + lines
    answer = raw(shared, head + b"X-LLM-Caller-Token: " + BOB.encode() + b"\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"requestId": "a\x85b"}, "requestId"),
        ({"responseFormat": {"type": "json_object", "name": "x"}}, "responseFormat.name"),
        ({"responseFormat": {"type": "text", "strict": True}}, "responseFormat.strict"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ],
)
def test_a_mistake_is_named_with_its_place(shared: RunningGateway, more: dict[str, Any], path: str) -> None:
    answer = shared.chat(**more)
    assert (answer.status_code, answer.json()["details"][0]["path"]) == (400, path), answer.text


@pytest.mark.parametrize(
    "image",
    [
        {"url": "https://x/y.png", "mediaType": "image/png"},
        {"data": "***", "mediaType": "image/png"},
        {"data": "QUJD", "mediaType": "text/html"},
        {"url": "data:image/png,abc"},
        {"url": "data:text/html;base64,QUJD"},
        {"url": "file:///etc/passwd"},
    ],
)
def test_what_is_no_image_is_not_passed_on(shared: RunningGateway, image: dict[str, str]) -> None:
    content = [{"type": "image", **image}]
    assert shared.chat(messages=[{"role": "user", "content": content}]).status_code == 400


def test_a_request_that_is_not_valid_is_recorded_as_who_it_said_it_was(shared: RunningGateway) -> None:
    answer = shared.chat(colour="red", requestId="half-good", callerTool="me")
    (row,) = shared.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    assert (row["request_id"], row["claimed_tool"], row["outcome"]) == ("half-good", "me", "BAD_REQUEST")


def test_a_token_count_beyond_all_columns_does_not_stop_the_record(shared: RunningGateway) -> None:
    answer = shared.chat(provider="lmstudio_fake", model="usage-9223372036854775808")
    assert answer.status_code == 200
    (row,) = shared.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    assert row["input_tokens"] == 2**53 - 1
    later = shared.chat()
    assert shared.wait_for_records(1, call_id=later.headers["x-llm-caller-call-id"])


def test_a_call_left_before_its_answer_is_recorded_with_whom_it_was_asking(shared: RunningGateway) -> None:
    body = chat_body(provider="lmstudio_fake", model="slow-2s", requestId="left-early")
    with pytest.raises(Exception, match="timed out"):
        shared.client.post("/mcp/chat", json=body, headers={"X-LLM-Caller-Token": BOB}, timeout=0.3)
    (row,) = shared.wait_for_records(1, request_id="left-early")
    assert (row["outcome"], row["provider"], row["model"]) == ("CLIENT_CLOSED", "lmstudio_fake", "slow-2s")
    assert row["attempts"][0]["classification"] == "CANCELLED"


def test_health_answers_and_tells_it_when_the_journal_cannot_be_written(
    tmp_path: Path, fake: FakeProvider
) -> None:
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as gateway:
        journal = tmp_path / "var" / "journal"
        journal.rename(tmp_path / "away")
        journal.write_text("a file where a folder should be")
        until = time.monotonic() + 10
        while gateway.chat().status_code != 503 and time.monotonic() < until:
            time.sleep(0.05)
        audit: dict[str, Any] = {}
        while audit.get("status") != "failed" and time.monotonic() < until:
            answer = gateway.get("/health")
            assert answer.status_code == 200
            audit = next(part for part in answer.json()["components"] if part["name"] == "audit")
        assert "cannot be written" in audit["details"]
        assert gateway.get("/metrics").status_code == 200
        assert gateway.client.delete("/metrics", headers={"X-LLM-Caller-Token": BOB}).status_code == 405
        journal.unlink()
        (tmp_path / "away").rename(journal)
        while gateway.chat().status_code != 200 and time.monotonic() < until:
            time.sleep(0.05)
        assert gateway.chat().status_code == 200
